//! What the keeper knows of its brain, through a new beginning of its program.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use serde::{Deserialize, Serialize};

use super::{Brain, Link};
use crate::clock;
use crate::pool::{Key, Pool, inode_of};
use crate::wire::Then;

/// What goes through to the next program of the keeper.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    pid: Option<i32>,
    /// The socket's inode, whether it said `Hello`, and whether that is answered.
    link: Option<(u64, bool, bool)>,
    ready: u64,
    served: bool,
    served_last: bool,
    stable: bool,
    renewing: bool,
    futile: u32,
    backoff_ms: u64,
    start_in_ms: Option<u64>,
    kill_in_ms: Option<u64>,
    farewell: Option<i32>,
    then: Then,
    kill_left_in_ms: Option<u64>,
    leave_in_ms: Option<u64>,
}

impl Brain {
    /// What the next program is to know.
    pub(crate) fn pass_on(&self) -> Passed {
        let link = self.link.as_ref();
        let left = |at: Option<Instant>| {
            at.map(|it| it.saturating_duration_since(clock::now()).as_millis() as u64)
        };
        Passed {
            pid: self.pid,
            link: link.map(|it| (inode_of(&it.socket), it.hello.is_some(), it.unanswered)),
            ready: self.ready.as_ref().map_or(0, inode_of),
            served: self.served,
            served_last: self.served_last,
            stable: self.stable,
            renewing: self.renewing,
            futile: self.futile,
            backoff_ms: self.backoff.as_millis() as u64,
            start_in_ms: left(self.start_at),
            kill_in_ms: left(self.kill_at),
            farewell: self.farewell,
            then: self.then,
            kill_left_in_ms: left(self.kill_left_at),
            leave_in_ms: left(self.leave_at),
        }
    }

    /// Goes on where the program before has stopped.
    pub(crate) fn go_on(&mut self, passed: Passed, pool: &mut Pool) {
        let at = |ms: Option<u64>| ms.map(|it| clock::now() + Duration::from_millis(it));
        let link = passed.link.and_then(|(inode, hello, unanswered)| {
            let socket = pool.take(Key::Reads(inode))?;
            let hello = hello.then(clock::now);
            Some(Link { socket, hello, unanswered, full: false, interest: EpollFlags::EPOLLIN })
        });
        self.pid = passed.pid;
        self.link = link;
        self.ready = pool.take(Key::Writes(passed.ready));
        (self.served, self.served_last) = (passed.served, passed.served_last);
        (self.stable, self.renewing) = (passed.stable, passed.renewing);
        self.futile = passed.futile;
        self.backoff = Duration::from_millis(passed.backoff_ms);
        (self.start_at, self.kill_at) = (at(passed.start_in_ms), at(passed.kill_in_ms));
        (self.farewell, self.then) = (passed.farewell, passed.then);
        self.kill_left_at = at(passed.kill_left_in_ms);
        self.leave_at = at(passed.leave_in_ms);
    }

    /// The services have had one before this keeper.
    pub(crate) fn goes_on_serving(&mut self) {
        self.served = true;
    }

    /// Whether there is one already, or will be, or there is to be none any more.
    pub(crate) fn goes_on(&self) -> bool {
        self.pid.is_some() || self.start_at.is_some() || self.farewell.is_some()
    }

    /// What the next program is to have of it.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.link.iter().map(|it| &it.socket).chain(&self.ready)
    }
}

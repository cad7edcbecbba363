//! What a process says through `NOTIFY_SOCKET`, as `sd_notify(3)` has it.
//!
//! Anybody can write there, so it only counts from a process of the service; and a service can write
//! as much as it likes, so what it says is passed on four times a second at most, the last word first.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::Teller;
use super::datagram::{Datagram, receive};
use super::member::Membership;
use crate::clock::instant;
use crate::event::Happening;
use crate::machine::complain;
use crate::name::ServiceName;

/// Datagrams that are read before everything else has its turn again.
const READ_MAX: usize = 64;

/// Longer statuses are cut.
const STATUS_MAX: usize = 200;

/// Who listens to one incarnation.
pub(super) struct Ear {
    pub(super) service: ServiceName,
    incarnation: u64,
    members: Membership,
    teller: Teller,
    ready: bool,
    complained: bool,
    status: Paced<String>,
    alive: Paced<()>,
}

impl Ear {
    pub(super) fn new(
        service: ServiceName,
        incarnation: u64,
        members: Membership,
        teller: Teller,
    ) -> Self {
        let (status, alive) = (Paced::default(), Paced::default());
        let (ready, complained) = (false, false);
        Self { service, incarnation, members, teller, ready, complained, status, alive }
    }

    /// Listens until somebody aborts it.
    pub(super) async fn listen(mut self, socket: AsyncFd<OwnedFd>) {
        loop {
            let readable = socket.readable();
            let due = [self.status.due(), self.alive.due()].into_iter().flatten().min();
            let came = match due {
                Some(due) => timeout_at(due, readable).await.ok(),
                None => Some(readable.await),
            };
            if let Some(came) = came {
                let Ok(mut came) = came else { return };
                if self.hear_some(socket.get_ref()) {
                    came.clear_ready();
                }
            }
            self.tell();
            yield_now().await;
        }
    }

    /// Reads some datagrams; whether there were no more.
    fn hear_some(&mut self, socket: &OwnedFd) -> bool {
        for _ in 0..READ_MAX {
            match receive(socket) {
                Ok(datagram) => self.hear(&datagram),
                Err(errno) => return errno != Errno::EINTR,
            }
        }
        false
    }

    fn hear(&mut self, datagram: &Datagram) {
        if !self.members.includes(datagram) {
            return self.complain_of(datagram.pid);
        }
        for line in datagram.text.lines() {
            match line.trim_end_matches('\0').split_once('=') {
                Some(("READY", "1")) => self.is_ready(),
                Some(("WATCHDOG", "1")) => self.alive.put(()),
                Some(("STATUS", text)) => self.status.put(clean(text)),
                _ => {}
            }
        }
    }

    fn is_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.tell_ready();
        }
    }

    /// Tells that the service is ready.
    pub(super) fn tell_ready(&self) {
        let what = Happening::Ready { incarnation: self.incarnation };
        self.teller.happened(&self.service, what);
    }

    fn tell(&mut self) {
        let (now, incarnation) = (Instant::from_std(instant()), self.incarnation);
        if let Some(status) = self.status.take(now) {
            self.teller.happened(&self.service, Happening::Said { incarnation, status });
        }
        if self.alive.take(now).is_some() {
            self.teller.happened(&self.service, Happening::Pinged { incarnation });
        }
    }

    fn complain_of(&mut self, pid: i32) {
        if !std::mem::replace(&mut self.complained, true) {
            let service = &self.service;
            let who = match Path::new(&format!("/proc/{pid}")).exists() {
                true => "is none of its processes",
                false => "ended before anybody could see whether it belongs there",
            };
            complain(&format!(
                "process {pid} writes to the NOTIFY_SOCKET of `{service}`, but {who}: that does not count"
            ));
        }
    }
}

/// The last word of many, told four times a second at most.
struct Paced<T> {
    waiting: Option<T>,
    not_before: Option<Instant>,
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self { waiting: None, not_before: None }
    }
}

impl<T> Paced<T> {
    const GAP: Duration = Duration::from_millis(250);

    fn put(&mut self, word: T) {
        self.waiting = Some(word);
    }

    /// When something can be told.
    fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.waiting.is_some())
    }

    fn take(&mut self, now: Instant) -> Option<T> {
        if self.not_before.is_some_and(|it| now < it) {
            return None;
        }
        let word = self.waiting.take()?;
        self.not_before = Some(now + Self::GAP);
        Some(word)
    }
}

fn clean(status: &str) -> String {
    status.chars().filter(|it| !it.is_control()).take(STATUS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_words_the_last_is_told_and_not_more_than_four_times_a_second() {
        let begin = Instant::from_std(instant());
        let (mut paced, mut told) = (Paced::default(), Vec::new());
        for ms in 0..=1000 {
            paced.put(ms);
            told.extend(paced.take(begin + Duration::from_millis(ms)));
        }
        assert_eq!(told, [0, 250, 500, 750, 1000]);
        paced.put(1001);
        assert_eq!(paced.due(), Some(begin + Duration::from_millis(1250)));
    }

    #[test]
    fn a_status_is_cut_and_cannot_control_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\tc\r"), "a[31mbc");
        assert_eq!(clean(&"ä".repeat(1000)), "ä".repeat(200));
    }
}

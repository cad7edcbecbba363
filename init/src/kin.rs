//! Whose process is it, where there are no cgroups to ask?
//!
//! The keeper is the reaper of all its descendants: who loses its parents becomes a child of the
//! keeper. So all that an incarnation has left are trees whose roots are the main process, while it
//! lives, and *orphans*: children of the keeper that lead no slot. When there is no orphan of an
//! incarnation, it is over; and as orphans are children, each of their deaths is heard.
//!
//! Whose an orphan is says the mark in its environment ([`MARK`]), else the group or the session that
//! it shares with somebody known, else that it was seen below somebody known ([`Kin::remember`]).

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::libc;
use nix::unistd::{getpid, getsid};
use serde::{Deserialize, Serialize};

use crate::proc::{Says, Stat, children, environ_says, everybody, own_children, stat};
use crate::reap;
use crate::who::has_ended;

/// The variable that marks the processes of a service: whose keeper, which incarnation, its name.
const MARK: &str = "ZINIT_KEEPER_MARK";

/// A look at who is there, to stop them before they are killed, is repeated so often while it still
/// finds somebody new.
const LOOKS_MAX: usize = 64;

/// A process that was looked at: its number, and what that names nobody else by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    start: u64,
    pub(crate) group: i32,
}

/// What goes through to the next program of the keeper.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    /// The numbers of orphans, when they began, and whose they are.
    orphans: Vec<(i32, u64, String)>,
    /// The same of those who may become orphans.
    seen: Vec<(i32, u64, String)>,
}

struct Orphan {
    owner: Option<Rc<str>>,
    group: i32,
    session: i32,
    dead: bool,
}

/// The orphans, and what helps to tell whose they are.
pub(crate) struct Kin {
    /// What the mark of all our services begins with, up to the incarnation.
    mark: String,
    me: i32,
    session: i32,
    /// `/proc` speaks of the processes that we number likewise. Otherwise nobody is looked for: what it
    /// says would be about strangers.
    has_proc: bool,
    orphans: HashMap<i32, Orphan>,
    /// Processes without parents of their own as yet, which were seen below a main process.
    seen: HashMap<(i32, u64), Rc<str>>,
    /// Those who carry a mark and are not our children: who they are, whose, and what names them.
    strays: HashMap<i32, Stray>,
    /// Strays of which it is not waited for the end yet.
    unwatched: Vec<i32>,
    /// The list of children was read after the last event.
    pub(crate) fresh: bool,
}

struct Stray {
    owner: Rc<str>,
    start: u64,
    group: i32,
    pidfd: OwnedFd,
}

impl Kin {
    pub(crate) fn new() -> Self {
        let me = getpid().as_raw();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.get(..8).unwrap_or("-");
        let born = stat(me).map_or(0, |it| it.start);
        let mark = format!("{MARK}={boot}-{me}-{born}:");
        let session = getsid(None).map_or(0, nix::unistd::Pid::as_raw);
        let has_proc =
            fs::read_link("/proc/self").is_ok_and(|it| it.as_os_str() == &*me.to_string());
        Self {
            mark,
            me,
            session,
            has_proc,
            orphans: HashMap::new(),
            seen: HashMap::new(),
            strays: HashMap::new(),
            unwatched: Vec::new(),
            fresh: false,
        }
    }

    /// The same for who goes on with the services of another keeper, and their marks.
    pub(crate) fn after(mark: &str) -> Self {
        let own = Self::new();
        Self { mark: mark.to_owned(), ..own }
    }

    /// What the next program is to know of who is whose.
    pub(crate) fn pass_on(&self) -> Passed {
        let living = self.orphans.iter().filter(|(_, it)| !it.dead);
        let owned = living.filter_map(|(pid, it)| {
            Some((*pid, stat(*pid)?.start, it.owner.as_deref()?.to_owned()))
        });
        let seen = self.seen.iter().map(|((pid, start), it)| (*pid, *start, it.to_string()));
        Passed { orphans: owned.collect(), seen: seen.collect() }
    }

    /// Goes on with what the program before has known: whoever it was, is seen again as an orphan.
    pub(crate) fn go_on(&mut self, passed: &Passed) {
        for (pid, start, owner) in passed.orphans.iter().chain(&passed.seen) {
            self.seen.insert((*pid, *start), owner.as_str().into());
        }
    }

    /// What the mark of all services begins with.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether it can be told whose a process is.
    pub(crate) fn has_proc(&self) -> bool {
        self.has_proc
    }

    /// The variable that an incarnation's processes have in their environment.
    pub(crate) fn mark_of(&self, service: &str, incarnation: u64) -> String {
        format!("{}{incarnation}:{service}", self.mark)
    }

    /// Reads who has come to be an orphan; false when that cannot be said of each yet, unless it `must`
    /// be. `leads` tells of a child that it is none; `led` whose group this number names or has just
    /// named.
    pub(crate) fn look(
        &mut self,
        must: bool,
        leads: impl Fn(i32) -> bool,
        led: impl Fn(i32) -> Option<Rc<str>>,
    ) -> bool {
        let mut sure = true;
        let children = if self.has_proc { own_children(self.me) } else { Vec::new() };
        for pid in children {
            if leads(pid) || self.orphans.get(&pid).is_some_and(|it| !it.dead) {
                continue;
            }
            let Some(found) = stat(pid) else { continue };
            let owner = match environ_says(pid, &self.mark) {
                Says::This(mark) => mark.split_once(':').map(|it| it.1.into()),
                says => {
                    let owner = self.likely_owner(pid, &found, &led);
                    if says == Says::Later && owner.is_none() && !must {
                        sure = false;
                        continue;
                    }
                    owner
                }
            };
            let Stat { group, session, dead, .. } = found;
            self.orphans.insert(pid, Orphan { owner, group, session, dead });
        }
        self.fresh = sure;
        sure
    }

    /// Reads who carries the mark of one of these services among all processes.
    pub(crate) fn look_wide(&mut self, services: &[Rc<str>], leads: impl Fn(i32) -> bool) {
        self.strays.retain(|_, it| !has_ended(&it.pidfd) && services.contains(&it.owner));
        for pid in everybody().filter(|_| !services.is_empty() && self.has_proc) {
            let known = self.strays.contains_key(&pid) || self.orphans.contains_key(&pid);
            if known || leads(pid) {
                continue;
            }
            let Says::This(mark) = environ_says(pid, &self.mark) else { continue };
            let Some((_, service)) = mark.split_once(':') else { continue };
            let Some(owner) = services.iter().find(|it| ***it == *service) else { continue };
            // Who said it is alive still, so the number is that one's.
            if let (Ok(pidfd), Some(it)) = (reap::pidfd_of(pid), stat(pid))
                && environ_says(pid, &self.mark) == Says::This(mark.clone())
                && !it.dead
            {
                let owner = Rc::clone(owner);
                self.strays.insert(pid, Stray { owner, start: it.start, group: it.group, pidfd });
                self.unwatched.push(pid);
            }
        }
    }

    /// Whether any are known.
    pub(crate) fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    /// The living strays of a service.
    pub(crate) fn marked(&self, service: &str) -> Vec<Process> {
        let its = self.strays.iter().filter(|(_, it)| &*it.owner == service);
        let living = its.filter(|(_, it)| !has_ended(&it.pidfd));
        living.map(|(pid, it)| Process { pid: *pid, start: it.start, group: it.group }).collect()
    }

    /// What names the strays whose ends nobody waits for yet.
    pub(crate) fn take_unwatched(&mut self) -> Vec<&OwnedFd> {
        let new = std::mem::take(&mut self.unwatched);
        new.iter().filter_map(|it| Some(&self.strays.get(it)?.pidfd)).collect()
    }

    fn likely_owner(
        &self,
        pid: i32,
        found: &Stat,
        led: impl Fn(i32) -> Option<Rc<str>>,
    ) -> Option<Rc<str>> {
        let alike = |it: &&Orphan| {
            let sessions = it.session == found.session && it.session != self.session;
            it.group == found.group || sessions
        };
        let seen = self.seen.get(&(pid, found.start)).cloned();
        seen.or_else(|| led(found.group))
            .or_else(|| self.orphans.values().filter(alike).find_map(|it| it.owner.clone()))
    }

    /// A child that led no slot was reaped. It is remembered until [`forget_dead`](Self::forget_dead),
    /// as it may tell whose others are.
    pub(crate) fn died(&mut self, pid: i32) {
        if let Some(orphan) = self.orphans.get_mut(&pid) {
            orphan.dead = true;
        }
    }

    /// Forgets the dead.
    pub(crate) fn forget_dead(&mut self) {
        self.orphans.retain(|_, it| !it.dead);
    }

    /// Forgets those of whom it is not known whose they are, so that they are looked at again.
    pub(crate) fn forget_strangers(&mut self) {
        self.orphans.retain(|_, it| it.owner.is_some());
    }

    /// The living orphans of a service.
    pub(crate) fn orphans(&self, service: &str) -> Vec<i32> {
        let its = |it: &Orphan| !it.dead && it.owner.as_deref() == Some(service);
        self.orphans.iter().filter(|(_, it)| its(it)).map(|(pid, _)| *pid).collect()
    }

    /// The living orphans of all services.
    pub(crate) fn owned(&self) -> Vec<i32> {
        let living = self.orphans.iter().filter(|(_, it)| !it.dead && it.owner.is_some());
        living.map(|(pid, _)| *pid).collect()
    }

    /// These children of ours, and all below them.
    pub(crate) fn tree(&self, roots: Vec<i32>) -> Vec<Process> {
        if !self.has_proc {
            return Vec::new();
        }
        tree(roots.into_iter().map(|it| (self.me, it)).collect())
    }

    /// Remembers whose these are, should they become orphans. What was remembered of the service before
    /// is either among them, or an orphan by now, or gone.
    pub(crate) fn remember<'a>(
        &mut self,
        service: &Rc<str>,
        processes: impl Iterator<Item = &'a Process>,
    ) {
        self.forget(service);
        self.seen.extend(processes.map(|it| ((it.pid, it.start), Rc::clone(service))));
    }

    /// Nothing is left of an incarnation: what was remembered for it is void.
    pub(crate) fn forget(&mut self, service: &str) {
        if !self.seen.is_empty() {
            self.seen.retain(|_, it| **it != *service);
        }
    }
}

/// This process and all below it.
pub(crate) fn below(pid: i32) -> Vec<Process> {
    stat(pid).map_or(Vec::new(), |it| tree(vec![(it.parent, pid)]))
}

/// These, each with the number of its parent, and all below them.
fn tree(mut next: Vec<(i32, i32)>) -> Vec<Process> {
    let mut found = Vec::new();
    while let Some((parent, pid)) = next.pop() {
        let Some(it) = stat(pid).filter(|it| it.parent == parent && !it.dead) else { continue };
        found.push(Process { pid, start: it.start, group: it.group });
        next.extend(children(pid).into_iter().map(|it| (pid, it)));
    }
    found
}

impl Process {
    /// Its identity, while it is alive.
    fn hold(&self) -> Option<OwnedFd> {
        let pidfd = reap::pidfd_of(self.pid).ok()?;
        (stat(self.pid)?.start == self.start).then_some(pidfd)
    }

    /// Signals it, and nobody who has its number now.
    pub(crate) fn signal(&self, signal: i32) {
        if let Some(pidfd) = self.hold() {
            reap::signal_one(pidfd.as_fd(), signal);
        }
    }
}

/// Kills everybody that `look` finds: they are stopped first, so that none makes another meanwhile.
pub(crate) fn kill_all(mut look: impl FnMut() -> Vec<Process>) {
    let mut stopped: HashMap<Process, OwnedFd> = HashMap::new();
    for _ in 0..LOOKS_MAX {
        let before = stopped.len();
        for process in look() {
            if !stopped.contains_key(&process)
                && let Some(pidfd) = process.hold()
            {
                reap::signal_one(pidfd.as_fd(), libc::SIGSTOP);
                stopped.insert(process, pidfd);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    for pidfd in stopped.values() {
        reap::signal_one(pidfd.as_fd(), libc::SIGKILL);
    }
}

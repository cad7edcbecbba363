//! Programs that have the terminal while the shell waits for them, a pager or an editor, when the shell is
//! ended in the middle.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};
use zinit_host::interrupt::Deadline;

/// How long they have to end by themselves, and how often it is looked whether they have.
const GRACE: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(5);

/// What was begun here and has the terminal.
pub(super) struct Offspring {
    /// Those that wait for another one of them.
    waiting: Vec<Pid>,
    /// Those that do not.
    last: Vec<Pid>,
}

impl Offspring {
    /// All that there are just now.
    pub(super) fn now() -> Self {
        let mut it = Self { waiting: Vec::new(), last: Vec::new() };
        it.add_below(Pid::this());
        it
    }

    /// Adds what a process has begun, but what has left the terminal to this shell: a server has.
    fn add_below(&mut self, pid: Pid) {
        for child in children(pid).into_iter().filter(|it| getpgid(Some(*it)) == Ok(getpgrp())) {
            let before = self.last.len();
            self.add_below(child);
            let own = if self.last.len() > before { &mut self.waiting } else { &mut self.last };
            own.push(child);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Ends those that have the terminal: they may set it right, if that does not take long. Whoever waits
    /// for them does not learn of it, since it would go on.
    pub(super) fn end(&self) {
        send(&self.waiting, Signal::SIGSTOP);
        send(&self.last, Signal::SIGTERM);
        let limit = Deadline::within(GRACE);
        while self.last.iter().any(is_alive) && !limit.has_passed() {
            thread::park_timeout(LOOK);
        }
        send(&self.last, Signal::SIGKILL);
    }

    /// Ends those that waited, too.
    pub(super) fn end_waiting(&self) {
        send(&self.waiting, Signal::SIGKILL);
    }
}

fn send(all: &[Pid], signal: Signal) {
    for it in all {
        // It may be gone by now.
        let _ = kill(*it, signal);
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let all = tasks.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let pids = |it: String| it.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    all.flat_map(|it| -> Vec<i32> { pids(it) }).map(Pid::from_raw).collect()
}

/// Whether a process runs; one that nobody has asked for yet does not.
fn is_alive(pid: &Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, it)| !it.starts_with(['Z', 'X']))
}

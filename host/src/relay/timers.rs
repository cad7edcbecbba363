//! What is to be looked at when. Nothing is taken back: who is woken sees whether it is still time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slots::Key;

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A client has waited for long enough.
    Client(Key),
    /// A proxy's backend is tried again.
    Backend(Key),
    /// A listener accepts again.
    Accept(Key),
    /// It is tried again to listen for a proxy.
    Listen(Key),
    /// Who was reset waits again.
    Return,
    /// Somebody may have waited for a first answer for long.
    Askers,
    /// Nothing may have happened at a service for a while.
    Idle(Key),
}

/// All of them, by time in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(i64, Due)>>);

impl Timers {
    pub(super) fn set(&mut self, at: i64, due: Due) {
        self.0.push(Reverse((at, due)));
    }

    /// The next one whose time has come, and when that was.
    pub(super) fn due(&mut self, now: i64) -> Option<(i64, Due)> {
        let Reverse(first) = self.0.peek()?;
        if first.0 <= now { self.0.pop().map(|it| it.0) } else { None }
    }

    /// For how long to wait for the next one.
    pub(super) fn wait_ms(&self, now: i64) -> Option<i64> {
        self.0.peek().map(|it| (it.0.0 - now).max(0))
    }
}

//! When a pipe is read next.
//!
//! A pipe that somebody writes to now and then is watched: the kernel says when there is something. One
//! that is written to all the time is not; it is looked at again after a few milliseconds, when it
//! holds many lines. So a busy service costs a few hundred reads a second and not one per line, and
//! an idle one nothing. All that are due within the same few milliseconds are looked at together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The pipes that are looked at again, by the time of that in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Hot(BinaryHeap<Reverse<(i64, u64)>>);

/// How a pipe is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When something was read last.
    last_ms: i64,
    /// How often in a row there was much to read.
    floods: u16,
    /// How long it was left alone before it was looked at again.
    pause_ms: u16,
}

/// What is done about a pipe that was just read until it was empty, or for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is watched.
    Watch,
    /// It is looked at then.
    Look(i64),
    /// The same, and it may hold more meanwhile.
    Grow(i64),
}

/// Busy pipes are left alone for 1 millisecond, then for 2, 4 and so on up to this. Those that have got
/// there are looked at together.
const PAUSE_MAX_MS: u16 = 16;
/// Who writes less often is waited for.
const BUSY_MS: i64 = 50;
/// So much at once is a flood: half of what a pipe holds.
const FLOOD: usize = 32 * 1024;
/// So many floods in a row are worth a larger pipe.
const FLOODS: u16 = 2;

impl Hot {
    pub(super) fn add(&mut self, at_ms: i64, key: u64) {
        self.0.push(Reverse((at_ms, key)));
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now_ms: i64) -> Option<u64> {
        let Reverse((at_ms, key)) = *self.0.peek()?;
        (at_ms <= now_ms).then(|| {
            self.0.pop();
            key
        })
    }

    /// How long to wait for the next; `None` when there is none.
    pub(super) fn wait_ms(&self, now_ms: i64) -> Option<i64> {
        self.0.peek().map(|Reverse((at_ms, _))| (at_ms - now_ms).max(0))
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { last_ms: i64::MIN / 2, floods: 0, pause_ms: 0 }
    }

    /// So many bytes were read just now; `rest` when more are there.
    pub(super) fn next(&mut self, now_ms: i64, count: usize, rest: bool) -> Next {
        if count == 0 {
            return Next::Watch;
        }
        let is_busy = now_ms - self.last_ms < BUSY_MS;
        self.last_ms = now_ms;
        let floods = count >= FLOOD;
        self.floods = if floods { self.floods.saturating_add(1) } else { 0 };
        let longer = (2 * self.pause_ms).clamp(1, PAUSE_MAX_MS);
        self.pause_ms = if floods || !is_busy { 1 } else { longer };
        let at_ms = match rest {
            true => now_ms,
            false if !is_busy && !floods => return Next::Watch,
            false => after(now_ms, i64::from(self.pause_ms)),
        };
        if self.floods == FLOODS { Next::Grow(at_ms) } else { Next::Look(at_ms) }
    }
}

/// The next moment that is a multiple of this pause.
fn after(now_ms: i64, pause_ms: i64) -> i64 {
    (now_ms / pause_ms + 1) * pause_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_rarely_is_watched() {
        let mut pace = Pace::new();
        for now_ms in [1000, 1100, 1200] {
            assert_eq!(pace.next(now_ms, 80, false), Next::Watch);
        }
    }

    #[test]
    fn who_writes_all_the_time_is_looked_at_now_and_then_until_nothing_comes() {
        let mut pace = Pace::new();
        assert_eq!(pace.next(1001, 80, false), Next::Watch);
        assert_eq!(pace.next(1001, 80, false), Next::Look(1002));
        assert_eq!(pace.next(1002, 80, false), Next::Look(1004));
        assert_eq!(pace.next(1004, 0, false), Next::Watch);
        assert_eq!(pace.next(1010, 80, false), Next::Look(1016), "it is known to be busy");
        assert_eq!(pace.next(1016, 800, false), Next::Look(1024));
        assert_eq!(pace.next(1024, 800, false), Next::Look(1040));
        assert_eq!(pace.next(1040, FLOOD, false), Next::Look(1041), "as often as it takes");
    }

    #[test]
    fn who_floods_gets_a_larger_pipe_once() {
        let mut pace = Pace::new();
        let next = (0..6).map(|it| pace.next(1000 + it, 64 * 1024, true)).collect::<Vec<_>>();
        assert_eq!(next.iter().filter(|it| matches!(it, Next::Grow(_))).count(), 1);
    }

    #[test]
    fn those_that_are_due_come_in_their_order() {
        let mut hot = Hot::default();
        [(20, 1), (10, 2), (30, 3)].into_iter().for_each(|(at, key)| hot.add(at, key));
        assert_eq!(hot.wait_ms(4), Some(6));
        assert_eq!((hot.due(20), hot.due(20), hot.due(20)), (Some(2), Some(1), None));
        assert_eq!(hot.wait_ms(40), Some(0));
    }
}

//! What happened lately: each change of a service's state or reason, in a ring of bounded size.
//!
//! The core's machine writes, clients read; neither waits for the other. The numbers of entries increase,
//! within one server without gaps, so that a reader who comes back with the number of the last one that
//! it has seen misses none and sees none twice. What earlier servers have told comes back from the
//! [`journal`](crate::journal) with its numbers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use nix::time::ClockId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::board::Status;
use crate::clock::milliseconds;
use crate::name::ServiceName;

/// A change of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which service.
    pub service: ServiceName,
    /// The state before; empty when it is new.
    pub from: Cow<'static, str>,
    /// The state now; empty when it is forgotten.
    pub to: Cow<'static, str>,
    /// Why, as half a sentence.
    pub why: Arc<str>,
    /// The process id of its main process, 0 when there is none.
    pub pid: i32,
    /// How its latest process ended; empty if none did.
    pub exit: String,
}

/// A change, when it was, and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// One more than that of the entry before; more than that where another server begins.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// What follows a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// The cursor to come back with.
    pub cursor: u64,
    /// How many entries after the earlier cursor were forgotten before somebody asked for them.
    pub lost: u64,
}

/// The ring.
#[derive(Debug)]
pub struct Chronicle {
    ring: Mutex<Ring>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the first entry of this server.
    first: u64,
    /// The number of the next one.
    next: u64,
}

impl Change {
    /// A change to what the board now shows.
    pub fn of(from: Cow<'static, str>, now: &Status) -> Self {
        Self {
            service: now.name.clone(),
            from,
            to: now.state.clone(),
            why: Arc::clone(&now.reason),
            pid: now.pid,
            exit: now.last_exit.clone(),
        }
    }

    /// A service that is forgotten.
    pub fn forgotten(from: Cow<'static, str>, service: ServiceName) -> Self {
        let why = "it is deleted".into();
        Self { service, from, to: "".into(), why, pid: 0, exit: String::new() }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.change.why.len() + self.change.exit.len()
    }
}

impl Chronicle {
    /// How many entries there are at most.
    pub const ENTRIES_MAX: usize = 1024;
    const BYTES_MAX: usize = 256 << 10;
    /// How many entries one answer has at most.
    pub const NEWS_MAX: usize = 1000;

    /// An empty ring, the first number of which is the time in milliseconds: so no number is used
    /// again by the server that follows this one, and its clients may keep their cursors.
    pub fn new() -> Self {
        Self::from(milliseconds(ClockId::CLOCK_REALTIME).unsigned_abs())
    }

    fn from(first: u64) -> Self {
        let ring = Ring { entries: VecDeque::new(), bytes: 0, first, next: first };
        Self { ring: Mutex::new(ring), changed: watch::Sender::new(first) }
    }

    /// Writes a change down, and says how.
    pub fn add(&self, at_ms: i64, change: Change) -> Entry {
        self.lock().push(at_ms, change)
    }

    /// Takes in what earlier servers have told, oldest first, as far as there is room before what this
    /// one has told.
    pub fn refill(&self, earlier: Vec<Entry>) {
        let mut ring = self.lock();
        for entry in earlier.into_iter().rev() {
            let next = ring.entries.front().map_or(ring.first, |it| it.seq.min(ring.first));
            let (count, bytes) = (ring.entries.len() + 1, ring.bytes + entry.bytes());
            if count > Self::ENTRIES_MAX || bytes > Self::BYTES_MAX {
                break;
            }
            // Numbers that do not increase are from before the clock was set back.
            if entry.seq < next {
                ring.bytes = bytes;
                ring.entries.push_front(entry);
            }
        }
    }

    /// Tells the waiting that something has changed. Called once per batch of changes.
    pub fn announce(&self) {
        self.changed.send_replace(self.lock().next);
    }

    /// Something to wait on for the next change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The newest `count` entries, oldest first: those of one service if it is named, not older than
    /// a moment in milliseconds since 1970.
    pub fn latest(&self, service: Option<&str>, since_ms: i64, count: usize) -> Vec<Entry> {
        let ring = self.lock();
        let newest = ring.entries.iter().rev().take_while(|it| it.at_ms >= since_ms);
        let mut found: Vec<Entry> =
            newest.filter(|it| it.is_of(service)).take(count).cloned().collect();
        found.reverse();
        found
    }

    /// The number of the newest entry.
    pub fn cursor(&self) -> u64 {
        self.lock().next - 1
    }

    /// What came after the entry of this number, of one service if it is named. The number may come
    /// from an earlier server; then it is all that there is behind it.
    pub fn after(&self, cursor: u64, service: Option<&str>) -> News {
        let ring = self.lock();
        let wanted = (cursor.saturating_add(1)).clamp(ring.first, ring.next);
        // Who knows how many an earlier server has told?
        let oldest = ring.entries.front().map_or(ring.next, |it| it.seq.max(ring.first));
        let lost = oldest.saturating_sub(wanted);
        let skipped = ring.entries.partition_point(|it| it.seq <= cursor);
        let mut news = News { entries: Vec::new(), cursor: ring.next - 1, lost };
        for entry in ring.entries.iter().skip(skipped).filter(|it| it.is_of(service)) {
            if news.entries.len() == Self::NEWS_MAX {
                news.cursor = entry.seq - 1;
                break;
            }
            news.entries.push(entry.clone());
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("nothing panics while it holds the ring")
    }
}

impl Default for Chronicle {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    fn is_of(&self, service: Option<&str>) -> bool {
        service.is_none_or(|it| self.change.service.as_str() == it)
    }
}

impl Ring {
    fn push(&mut self, at_ms: i64, change: Change) -> Entry {
        let entry = Entry { seq: self.next, at_ms, change };
        self.next += 1;
        self.bytes += entry.bytes();
        self.entries.push_back(entry.clone());
        let is_over = |ring: &Self| {
            ring.entries.len() > Chronicle::ENTRIES_MAX || ring.bytes > Chronicle::BYTES_MAX
        };
        while self.entries.len() > 1 && is_over(self) {
            self.bytes -= self.entries.pop_front().map_or(0, |it| it.bytes());
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(service: &str, why: &str) -> Change {
        let service = ServiceName::parse(service).unwrap();
        let [from, to] = ["Spawned", "Running"].map(Into::into);
        Change { service, from, to, why: why.into(), pid: 7, exit: String::new() }
    }

    fn numbers(news: &News) -> Vec<u64> {
        news.entries.iter().map(|it| it.seq).collect()
    }

    #[test]
    fn a_reader_who_comes_back_with_its_cursor_misses_none_and_sees_none_twice() {
        let chronicle = Chronicle::from(100);
        let mut cursor = chronicle.cursor();
        let mut seen = Vec::new();
        for round in 0..50 {
            (0..round % 7).for_each(|it| drop(chronicle.add(it, change("web", "so"))));
            let news = chronicle.after(cursor, None);
            assert_eq!(news.lost, 0);
            seen.extend(numbers(&news));
            cursor = news.cursor;
        }
        assert_eq!(seen, (100..chronicle.cursor() + 1).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_overrun_is_counted_and_an_answer_has_a_bound() {
        let chronicle = Chronicle::from(1);
        (0..5000).for_each(|it| drop(chronicle.add(it, change("web", "so"))));
        let news = chronicle.after(10, None);
        assert_eq!((news.lost, news.entries.len()), (5000 - 1024 - 10, Chronicle::NEWS_MAX));
        assert_eq!(news.entries[0].seq, 3977);
        let next = chronicle.after(news.cursor, None);
        assert_eq!((next.lost, next.entries[0].seq), (0, 4977));
        assert_eq!(chronicle.after(5000, None), News { entries: vec![], cursor: 5000, lost: 0 });
        assert_eq!(chronicle.after(u64::MAX, None).entries, [], "nobody has seen the future");
    }

    #[test]
    fn long_reasons_count_as_well_and_the_newest_always_stays() {
        let chronicle = Chronicle::from(1);
        let long = "x".repeat(80_000);
        (0..10).for_each(|it| drop(chronicle.add(it, change("web", &long))));
        assert_eq!(numbers(&chronicle.after(0, None)), [8, 9, 10]);
        chronicle.add(11, change("web", &"x".repeat(3_000_000)));
        assert_eq!(numbers(&chronicle.after(0, None)), [11]);
    }

    #[test]
    fn one_service_and_a_moment_can_be_asked_for() {
        let chronicle = Chronicle::from(1);
        for (at_ms, name) in [(10, "web"), (20, "db"), (30, "web"), (40, "web")] {
            chronicle.add(at_ms, change(name, "so"));
        }
        let times = |name, since, count| {
            let found = chronicle.latest(name, since, count);
            found.iter().map(|it| it.at_ms).collect::<Vec<_>>()
        };
        assert_eq!(times(None, 0, 100), [10, 20, 30, 40]);
        assert_eq!(times(Some("web"), 0, 2), [30, 40]);
        assert_eq!(times(Some("web"), 35, 9), [40]);
        let news = chronicle.after(0, Some("db"));
        assert_eq!((numbers(&news), news.cursor), (vec![2], 4), "the others need no second look");
    }

    #[test]
    fn a_cursor_of_an_earlier_server_begins_at_the_beginning() {
        let chronicle = Chronicle::from(1000);
        chronicle.add(1, change("web", "so"));
        let news = chronicle.after(7, None);
        assert_eq!((numbers(&news), news.lost), (vec![1000], 0));
    }

    #[test]
    fn what_an_earlier_server_told_comes_back_with_its_numbers() {
        let (before, after) = (Chronicle::from(100), Chronicle::from(1_000));
        let told: Vec<Entry> = (0..9).map(|it| before.add(it, change("web", "so"))).collect();
        after.add(50, change("web", "so"));
        after.refill(told);
        assert_eq!(numbers(&after.after(105, None)), [106, 107, 108, 1000]);
        assert_eq!(after.after(105, None).lost, 0);
        assert_eq!(numbers(&after.after(0, None)).len(), 10);
        assert_eq!(numbers(&after.after(500, None)), [1000], "its last words were never written");
        assert_eq!(after.after(1000, None).entries, []);
        assert_eq!(after.latest(Some("web"), 7, 9).len(), 3);
    }

    #[test]
    fn what_came_back_makes_room_for_what_is_new() {
        let (before, after) = (Chronicle::from(1), Chronicle::from(10_000));
        let told: Vec<Entry> = (0..2_000).map(|it| before.add(it, change("web", "so"))).collect();
        (0..24).for_each(|it| drop(after.add(it, change("web", "so"))));
        after.refill(told);
        assert_eq!(after.after(0, None).entries[0].seq, 1_001);
        (0..1_500).for_each(|it| drop(after.add(it, change("web", "so"))));
        let news = after.after(0, None);
        assert_eq!((news.entries[0].seq, news.lost), (10_500, 500));
    }

    #[test]
    fn numbers_of_a_clock_that_was_set_back_do_not_come_back() {
        let (before, after) = (Chronicle::from(5_000), Chronicle::from(1_000));
        let told: Vec<Entry> = (0..3).map(|it| before.add(it, change("web", "so"))).collect();
        after.add(9, change("web", "so"));
        after.refill(told);
        assert_eq!(numbers(&after.after(0, None)), [1000]);
    }
}

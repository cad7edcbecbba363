//! The lines of a page while it is made: the oldest or the newest of all that come.

use std::collections::BTreeMap;

use super::{Found, TEXT_MAX};
use crate::logs::line::Head;
use crate::name::ServiceName;

/// The oldest or the newest lines, at most so many and so much text.
#[derive(Debug)]
pub(super) struct Picked {
    /// By time and source, so a line that comes twice is there once.
    lines: BTreeMap<(i64, usize), Found>,
    bytes: usize,
    count_max: usize,
    /// Which of them go when there are too many.
    wants: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Oldest,
    Newest,
}

impl Picked {
    /// The oldest lines.
    pub(super) fn oldest(count_max: usize) -> Self {
        Self { lines: BTreeMap::new(), bytes: 0, count_max: count_max.max(1), wants: End::Oldest }
    }

    /// The newest lines.
    pub(super) fn newest(count_max: usize) -> Self {
        Self { wants: End::Newest, ..Self::oldest(count_max) }
    }

    /// Whether a line that comes must push out another.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.count_max || self.bytes >= TEXT_MAX
    }

    /// The time from which on lines are not wanted any more: later ones than this where the oldest
    /// are wanted, and earlier ones where the newest are.
    pub(super) fn bound(&self) -> i64 {
        let edge = self.edge().filter(|_| self.is_full());
        match self.wants {
            End::Oldest => edge.map_or(i64::MAX, |(at_ns, _)| at_ns),
            End::Newest => edge.map_or(i64::MIN, |(at_ns, _)| at_ns),
        }
    }

    /// Adds a line, if it belongs to those that are wanted.
    pub(super) fn put(&mut self, service: &ServiceName, index: usize, head: Head, text: &[u8]) {
        let key = (head.at_ns, index);
        let is_beyond = self.edge().is_some_and(|edge| match self.wants {
            End::Oldest => key > edge,
            End::Newest => key < edge,
        });
        if self.is_full() && is_beyond || self.lines.contains_key(&key) {
            return;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        self.bytes += text.len();
        self.lines.insert(key, Found { service: service.clone(), head, text });
        while self.is_full_without_edge() {
            self.drop_edge();
        }
    }

    /// Leaves out the lines that are later than this.
    pub(super) fn cut(&mut self, at_ns: i64) {
        self.lines.retain(|(line_ns, _), _| *line_ns <= at_ns);
    }

    /// The lines, oldest first.
    pub(super) fn lines(self) -> Vec<Found> {
        self.lines.into_values().collect()
    }

    /// The line that goes first.
    fn edge(&self) -> Option<(i64, usize)> {
        let edge = match self.wants {
            End::Oldest => self.lines.last_key_value(),
            End::Newest => self.lines.first_key_value(),
        };
        edge.map(|(key, _)| *key)
    }

    fn is_full_without_edge(&self) -> bool {
        let edge = self.edge().and_then(|it| self.lines.get(&it));
        self.lines.len() > self.count_max
            || edge.is_some_and(|it| self.bytes - it.text.len() >= TEXT_MAX)
    }

    fn drop_edge(&mut self) {
        let edge = match self.wants {
            End::Oldest => self.lines.pop_last(),
            End::Newest => self.lines.pop_first(),
        };
        self.bytes -= edge.map_or(0, |(_, it)| it.text.len());
    }
}

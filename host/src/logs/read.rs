//! Reads what services have printed, from the files, and disturbs nobody who writes them.
//!
//! ```text
//! forward: source after source, the one that is furthest behind first, each for a share
//!          of what one page may cost ----> Picked: the oldest lines so far
//! latest:  source after source, the one that wrote last first, each from its end
//!          until what comes is too old ---> Picked: the newest lines so far
//! ```
//!
//! At most two files are open at a time and a few buffers of 64 KiB exist, however many services are
//! read: nothing is merged from a thousand open files, but what is picked is kept in order, and the
//! fuller a page the less of the next source needs to be looked at. A time is all that is remembered
//! between two pages.
//!
//! Files may be closed, compressed and removed meanwhile (`read/shelf.rs` says why nothing is missed).
//! Whoever reads while lines are written asks at most for those up to
//! [`Trails::newest_ns`](super::trails::Trails::newest_ns), taken before: only up to there every
//! service's lines are all in their files, and a cursor over several services has no gaps.

mod back;
pub(super) mod blocks;
mod fields;
mod frames;
mod picked;
mod plain;
mod shelf;
mod tape;
#[cfg(test)]
pub(super) mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::Ordering;

use regex::bytes::Regex;

use super::line::Head;
use super::trails::Source;
use crate::name::ServiceName;
use blocks::BLOCK;
use picked::Picked;

pub use fields::Where;

/// Which lines are wanted. The default is every line.
#[derive(Clone, Debug)]
pub struct Query {
    /// Only later ones than this time, in nanoseconds since 1970.
    pub after_ns: i64,
    /// None that are later than this time, in nanoseconds since 1970.
    pub until_ns: i64,
    /// What their texts must match.
    pub grep: Option<Regex>,
    /// Whether they must have come from stderr, or must not.
    pub stderr: Option<bool>,
    /// Which process of the service must have written them.
    pub incarnation: Option<u64>,
    /// What must hold for the fields of their texts.
    pub wheres: Vec<Where>,
}

/// A line that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose line it is.
    pub service: ServiceName,
    /// Its time and the other columns.
    pub head: Head,
    /// What was printed. What is no UTF-8 in it is replaced by U+FFFD.
    pub text: String,
}

/// Some lines, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The lines.
    pub lines: Vec<Found>,
    /// The time up to which everything was looked at. Whoever goes on with `after_ns` so misses
    /// nothing and sees nothing twice.
    pub cursor_ns: i64,
    /// Whether there may be more lines now: later ones after [`forward`], earlier ones after
    /// [`latest`].
    pub more: bool,
    /// Which logs cannot be read, and why, a sentence each; the others are.
    pub unread: Vec<String>,
}

/// How much text a page has, but for its last line.
const TEXT_MAX: usize = 1024 * 1024;

/// How much is looked through for a page.
const LOOK_MAX: usize = 64 * 1024 * 1024;

/// The first turn of a source is this part of what there is for each.
const FIRST_TURN: usize = 4;

impl Default for Query {
    fn default() -> Self {
        Self {
            after_ns: 0,
            until_ns: i64::MAX,
            grep: None,
            stderr: None,
            incarnation: None,
            wheres: Vec::new(),
        }
    }
}

impl Query {
    /// The columns and the text of a line that is wanted, whatever its time.
    fn pick<'a>(&self, line: &'a [u8]) -> Option<(Head, &'a [u8])> {
        // Most lines are refused here, so the columns are not read before.
        if let Some(grep) = &self.grep
            && !grep.is_match(blocks::text_of(line)?)
        {
            return None;
        }
        let (head, text) = Head::parse(line)?;
        let is_wanted = self.stderr.is_none_or(|it| it == head.stderr)
            && self.incarnation.is_none_or(|it| it == head.incarnation)
            && self.wheres.iter().all(|it| it.holds(text));
        is_wanted.then_some((head, text))
    }
}

/// The oldest lines that are wanted, of all sources in the order of time. A page ends at
/// `count_max` lines (at least 1), at 1 MiB of text, or after about 64 MiB were looked through.
///
/// # Errors
/// When none of the sources can be read, with the first one's name.
pub fn forward(sources: &[Source], query: &Query, count_max: usize) -> io::Result<Page> {
    let mut picked = Picked::oldest(count_max);
    let mut buffer = vec![0; BLOCK];
    let mut left = LOOK_MAX;
    let (mut reached_ns, mut unread) = (query.after_ns, Vec::new());
    // Who has been read up to where, the one furthest behind first.
    let changed = (0..sources.len()).filter(|it| sources[*it].trail.has_after(query.after_ns));
    let mut behind: BinaryHeap<_> = changed.map(|it| Reverse((query.after_ns, it))).collect();
    while let Some(Reverse((from_ns, index))) = behind.pop() {
        if from_ns >= picked.bound().min(query.until_ns) {
            break;
        }
        // Every source must have had a turn before the page ends, or it would never get on.
        if left == 0 && from_ns > query.after_ns {
            picked.cut(from_ns);
            let lines = picked.lines();
            return Page { lines, cursor_ns: from_ns, more: true, unread }.of(sources);
        }
        let share = left / (FIRST_TURN * (behind.len() + 1));
        let source = &sources[index];
        let turn = tape::Turn { source, index, query, from_ns, bytes_max: share.max(BLOCK) };
        let took = match turn.take(&mut picked, &mut buffer) {
            Ok(took) => took,
            Err(error) => {
                unread.push(unreadable(source, &error));
                continue;
            }
        };
        left = left.saturating_sub(took.bytes);
        reached_ns = reached_ns.max(took.reached_ns);
        if !took.is_all {
            behind.push(Reverse((took.reached_ns, index)));
        }
    }
    let more = picked.is_full();
    let cursor_ns = reached_ns.min(picked.bound());
    Page { lines: picked.lines(), cursor_ns, more, unread }.of(sources)
}

/// The newest lines that are wanted, at most `count` and 1 MiB of text, oldest first. With `grep`
/// and the like it may go through all files. Whoever wants still earlier ones asks again, with
/// `until_ns` just before the first.
///
/// # Errors
/// When none of the sources can be read, with the first one's name.
pub fn latest(sources: &[Source], query: &Query, count: usize) -> io::Result<Page> {
    let mut picked = Picked::newest(count);
    let mut buffer = vec![0; BLOCK];
    let (mut reached_ns, mut unread) = (query.after_ns, Vec::new());
    let last_ns = |it: &usize| sources[*it].trail.last_ns.load(Ordering::Acquire);
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_cached_key(|it| Reverse(last_ns(it)));
    for index in order {
        let source = &sources[index];
        if !source.trail.has_after(query.after_ns.max(picked.bound())) {
            continue;
        }
        let turn = back::Turn { source, index, query };
        match turn.take(&mut picked, &mut buffer) {
            Ok(seen_ns) => reached_ns = reached_ns.max(seen_ns),
            Err(error) => unread.push(unreadable(source, &error)),
        }
    }
    let more = picked.is_full();
    let mut lines = picked.lines();
    // Nobody needs none, but whoever asks for none gets a cursor.
    lines.truncate(count);
    Page { lines, cursor_ns: reached_ns, more, unread }.of(sources)
}

impl Page {
    /// A page that says of each source only that it cannot be read is none.
    fn of(self, sources: &[Source]) -> io::Result<Self> {
        match self.unread.first() {
            Some(why) if self.unread.len() == sources.len() => Err(io::Error::other(why.clone())),
            _ => Ok(self),
        }
    }
}

fn unreadable(source: &Source, error: &io::Error) -> String {
    format!("the log of `{}` cannot be read: {error}", source.service)
}

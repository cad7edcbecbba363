//! One service's files from a time on, oldest first.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::ControlFlow;

use super::Query;
use super::blocks::{each_block, first_ns, last_ns, lines, time_of};
use super::picked::Picked;
use super::plain::around;
use super::shelf::{Open, Shelf};
use crate::logs::trails::Source;

/// What is to be read of one source.
pub(super) struct Turn<'a> {
    /// Whose lines.
    pub(super) source: &'a Source,
    /// Its number among the sources.
    pub(super) index: usize,
    /// Which lines.
    pub(super) query: &'a Query,
    /// Later ones than this.
    pub(super) from_ns: i64,
    /// How much is to be looked through about.
    pub(super) bytes_max: usize,
}

/// How far it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    /// The time up to which everything was looked at.
    pub(super) reached_ns: i64,
    /// Whether that is all there is, or all that could be wanted.
    pub(super) is_all: bool,
    /// How much was looked through.
    pub(super) bytes: usize,
}

impl Turn<'_> {
    /// Picks lines.
    pub(super) fn take(&self, picked: &mut Picked, buffer: &mut [u8]) -> io::Result<Took> {
        let shelf = Shelf::look(&self.source.trail.dir)?;
        let mut took = Took { reached_ns: self.from_ns, is_all: true, bytes: 0 };
        for index in 0..shelf.len() {
            if shelf.start_ns(index) > self.bound(picked) {
                break;
            }
            if !shelf.has_after(index, self.from_ns) {
                continue;
            }
            let Some(file) = shelf.open(index)? else { continue };
            // Before the next file was looked at, what is known ends where that begins.
            let next_ns = shelf.start_ns(index + 1);
            let take = |block: &[u8]| self.take_block(block, next_ns, picked, &mut took);
            match file {
                Open::Plain(file) => each_block(seek(file, self.from_ns)?, buffer, take)?,
                Open::Zstd(frames) => {
                    let begin = frames.around(self.from_ns).start;
                    each_block(frames.text(begin..frames.len()), buffer, take)?;
                }
            }
            if !took.is_all {
                break;
            }
        }
        Ok(took)
    }

    fn take_block(
        &self,
        block: &[u8],
        next_ns: i64,
        picked: &mut Picked,
        took: &mut Took,
    ) -> ControlFlow<()> {
        let block = self.later(block);
        if first_ns(block).is_some_and(|it| it > self.bound(picked)) {
            took.reached_ns = took.reached_ns.max(self.bound(picked));
            return ControlFlow::Break(());
        }
        for (head, text) in lines(block).filter_map(|it| self.query.pick(it)) {
            if head.at_ns > self.bound(picked) {
                took.reached_ns = took.reached_ns.max(self.bound(picked));
                return ControlFlow::Break(());
            }
            if head.at_ns > self.from_ns {
                picked.put(&self.source.service, self.index, head, text);
            }
        }
        took.bytes += block.len();
        let seen_ns = last_ns(block).unwrap_or(self.from_ns).min(self.bound(picked));
        took.reached_ns = took.reached_ns.max(seen_ns);
        let safe_ns = took.reached_ns.min(next_ns.saturating_sub(1));
        // Without having got on at all it would be at the same place again the next time.
        if took.bytes < self.bytes_max || safe_ns <= self.from_ns {
            return ControlFlow::Continue(());
        }
        (took.reached_ns, took.is_all) = (safe_ns, false);
        ControlFlow::Break(())
    }

    /// The lines of a block from the first one on that is late enough.
    fn later<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        let mut start = 0;
        for line in lines(block) {
            if time_of(line).is_some_and(|it| it > self.from_ns) {
                break;
            }
            start += line.len() + 1;
        }
        &block[start..]
    }

    fn bound(&self, picked: &Picked) -> i64 {
        picked.bound().min(self.query.until_ns)
    }
}

fn seek(mut file: File, at_ns: i64) -> io::Result<File> {
    let from = around(&file, at_ns)?.from;
    file.seek(SeekFrom::Start(from))?;
    Ok(file)
}

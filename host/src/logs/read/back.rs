//! One service's files from the end, newest first.

use std::io;
use std::ops::ControlFlow;

use super::Query;
use super::blocks::{each_block, first_ns, lines, lines_back, time_of};
use super::frames::Frames;
use super::picked::Picked;
use super::plain::{around, each_block_back};
use super::shelf::{Open, Shelf};
use crate::logs::line::Head;
use crate::logs::trails::Source;

/// What is to be read of one source.
pub(super) struct Turn<'a> {
    /// Whose lines.
    pub(super) source: &'a Source,
    /// Its number among the sources.
    pub(super) index: usize,
    /// Which lines.
    pub(super) query: &'a Query,
}

impl Turn<'_> {
    /// Picks lines until those that come are too old. Returns the time of the newest line that was
    /// looked at.
    pub(super) fn take(&self, picked: &mut Picked, buffer: &mut [u8]) -> io::Result<i64> {
        let shelf = Shelf::look(&self.source.trail.dir)?;
        let mut newest_ns = self.query.after_ns;
        for index in (0..shelf.len()).rev() {
            if shelf.start_ns(index) > self.query.until_ns
                || !shelf.has_after(index, self.bound(picked))
            {
                continue;
            }
            match shelf.open(index)? {
                None => {}
                Some(Open::Plain(file)) => {
                    let end = around(&file, self.query.until_ns)?.to;
                    each_block_back(&file, end, buffer, |block| {
                        self.take_block(block, picked, &mut newest_ns)
                    })?;
                }
                Some(Open::Zstd(frames)) => {
                    self.take_frames(&frames, picked, buffer, &mut newest_ns)?;
                }
            }
        }
        Ok(newest_ns)
    }

    fn take_block(
        &self,
        block: &[u8],
        picked: &mut Picked,
        newest_ns: &mut i64,
    ) -> ControlFlow<()> {
        self.note_newest(block, newest_ns);
        for (head, text) in lines_back(block).filter_map(|it| self.query.pick(it)) {
            self.is_enough(Some(head.at_ns), picked)?;
            self.put(head, text, picked);
        }
        self.is_enough(first_ns(block), picked)
    }

    /// Frames are taken from the last to the first, but each of them forward.
    fn take_frames(
        &self,
        frames: &Frames,
        picked: &mut Picked,
        buffer: &mut [u8],
        newest_ns: &mut i64,
    ) -> io::Result<()> {
        for index in (0..frames.around(self.query.until_ns).end).rev() {
            each_block(frames.text(index..index + 1), buffer, |block| {
                self.note_newest(block, newest_ns);
                let wanted = lines(block).filter_map(|it| self.query.pick(it));
                wanted.for_each(|(head, text)| self.put(head, text, picked));
                ControlFlow::Continue(())
            })?;
            if self.is_enough(frames.first_ns(index), picked).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn put(&self, head: Head, text: &[u8], picked: &mut Picked) {
        if head.at_ns > self.query.after_ns && head.at_ns <= self.query.until_ns {
            picked.put(&self.source.service, self.index, head, text);
        }
    }

    fn note_newest(&self, block: &[u8], newest_ns: &mut i64) {
        let in_time = lines_back(block).filter_map(time_of).find(|it| *it <= self.query.until_ns);
        *newest_ns = in_time.map_or(*newest_ns, |it| it.max(*newest_ns));
    }

    fn is_enough(&self, first_ns: Option<i64>, picked: &Picked) -> ControlFlow<()> {
        match first_ns {
            Some(it) if it <= self.bound(picked) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Lines of this time and earlier ones are not wanted.
    fn bound(&self, picked: &Picked) -> i64 {
        self.query.after_ns.max(picked.bound())
    }
}

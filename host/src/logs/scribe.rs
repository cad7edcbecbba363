//! Moves what is in the berths into files, in steps that can be done again.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::{LogFile, Packer};
use super::format::{Made, Task};
use super::intake::{Berth, Intake, Number, State, Text};
use super::line::{Head, Mark};
use super::plan::Plan;
use super::segments::{CURRENT, open_plain};
use crate::clock::wall_ns;

/// When the clock is set back by more than this, the times of lines go back with it. Until then they
/// wait for it, one nanosecond after the other.
const BACK_MAX_NS: i64 = 60_000_000_000;

/// Everything that writing needs.
pub(super) struct Scribe {
    pub(super) intake: Intake,
    packer: Packer,
    /// The lines that are being written.
    out: Vec<u8>,
    /// The time of the newest line.
    last_ns: i64,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// The lines of this piece.
    pub(super) made: Made,
    /// The time of the last of them; 0 when there is none.
    pub(super) last_ns: i64,
}

impl Scribe {
    /// Finishes what an earlier server has begun. Answers the berths that hold something.
    pub(super) fn begin(mut intake: Intake) -> (Self, Vec<Berth>) {
        for berth in intake.taken() {
            intake.settle_reading(berth);
        }
        let last_ns = intake.last_ns();
        let mut it = Self { intake, packer: Packer::default(), out: Vec::new(), last_ns };
        let mut held = it.intake.taken();
        for berth in &held {
            it.finish(*berth);
        }
        held.retain(|it_| !it.leave_if_empty(*it_));
        (it, held)
    }

    /// The time of the newest line.
    pub(super) fn last_ns(&self) -> i64 {
        self.last_ns
    }

    /// The lines of the last piece, as they stand in the file.
    pub(super) fn written(&self) -> &[u8] {
        &self.out
    }

    /// Gives memory back that only a flood needs.
    pub(super) fn rest(&mut self) {
        if self.out.capacity() > 16 * 1024 {
            self.out = Vec::new();
        }
    }

    /// Gives a berth back that nothing is left in; answers whether it did.
    pub(super) fn leave_if_empty(&mut self, berth: Berth) -> bool {
        let State { len, skipping, .. } = self.intake.state(berth);
        let empty = len == 0 && !skipping && self.intake.get(berth, Number::DroppedLines) == 0;
        if empty {
            self.intake.leave(berth);
        }
        empty
    }

    /// Writes whole lines out of a berth, at most a piece of them; with `flush`, also one that has only
    /// begun. Nothing is made when there are none.
    ///
    /// # Errors
    /// When they cannot be written. They are still there, and [`written`](Self::written) has them.
    pub(super) fn write(
        &mut self,
        berth: Berth,
        file: &mut LogFile,
        plan: &Plan,
        flush: bool,
    ) -> io::Result<Step> {
        let mut made = self.make(berth, plan.rotate_size, flush);
        if made.lines == 0 {
            self.consume(berth, made);
            return Ok(Step { made, last_ns: 0 });
        }
        if self.intake.get(berth, Number::DroppedLines) > 0 {
            let told = self.tell_dropped(berth, file, plan);
            made = self.make(berth, plan.rotate_size, flush);
            told?;
        }
        let first_ns = self.intake.get(berth, Number::Stamp).cast_signed();
        let last_ns = first_ns + i64::try_from(made.lines).unwrap_or(i64::MAX) - 1;
        self.announce(berth, file, plan, first_ns, last_ns)?;
        let state = self.intake.state(berth);
        self.intake.set_state(berth, State { writing: true, ..state });
        match file.write(&self.out, first_ns, last_ns) {
            // That they are written and that they are gone from here is one change.
            Ok(()) => self.consume(berth, made),
            Err(error) => {
                self.intake.set_state(berth, state);
                return Err(error);
            }
        }
        Ok(Step { made, last_ns })
    }

    /// Drops what the last step could not write, and counts it.
    pub(super) fn drop_lines(&mut self, berth: Berth, plan: &Plan, flush: bool) -> Made {
        let made = self.make(berth, plan.rotate_size, flush);
        let lines = self.intake.get(berth, Number::DroppedLines) + made.lines;
        let bytes = self.intake.get(berth, Number::DroppedBytes) + made.bytes;
        self.intake.set(berth, Number::NextLines, lines);
        self.intake.set(berth, Number::NextBytes, bytes);
        self.intake.set(berth, Number::Extent, made.consumed as u64);
        let state = self.intake.state(berth);
        let state = State { dropping: true, skipping: made.skipping, ..state };
        self.intake.set_state(berth, state);
        self.end_dropping(berth);
        made
    }

    /// Writes into the log how much is missing there.
    pub(super) fn tell_dropped(
        &mut self,
        berth: Berth,
        file: &mut LogFile,
        plan: &Plan,
    ) -> io::Result<i64> {
        let at_ns = self.next_ns();
        self.intake.set(berth, Number::Stamp, at_ns.cast_unsigned());
        self.announce(berth, file, plan, at_ns, at_ns)?;
        self.make_notice(berth);
        for number in [Number::NextLines, Number::NextBytes, Number::Extent] {
            self.intake.set(berth, number, 0);
        }
        let state = self.intake.state(berth);
        self.intake.set_state(berth, State { writing: true, dropping: true, ..state });
        let written = file.write(&self.out, at_ns, at_ns);
        self.intake.set_state(berth, State { dropping: written.is_ok(), ..state });
        written?;
        self.end_dropping(berth);
        Ok(at_ns)
    }

    /// Makes the lines that the berth's numbers describe.
    fn make(&mut self, berth: Berth, bytes_max: u64, flush: bool) -> Made {
        self.intake.set(berth, Number::Stamp, self.next_ns().cast_unsigned());
        self.intake.set(berth, Number::Extent, bytes_max);
        self.intake.set(berth, Number::Flush, u64::from(flush));
        self.make_again(berth)
    }

    fn make_again(&mut self, berth: Berth) -> Made {
        let task = Task {
            head: self.head(berth, Mark::None),
            flush: self.intake.get(berth, Number::Flush) == 1,
            skipping: self.intake.state(berth).skipping,
            bytes_max: self.intake.get(berth, Number::Extent).try_into().unwrap_or(usize::MAX),
        };
        self.out.clear();
        task.make(self.intake.held(berth), &mut self.out)
    }

    fn make_notice(&mut self, berth: Berth) {
        let lines = self.intake.get(berth, Number::DroppedLines);
        let bytes = self.intake.get(berth, Number::DroppedBytes);
        self.out.clear();
        self.head(berth, Mark::Zinit).write(&mut self.out);
        let text = format!("{lines} lines ({bytes} bytes) were dropped here: there was no room\n");
        self.out.extend_from_slice(text.as_bytes());
    }

    fn head(&self, berth: Berth, mark: Mark) -> Head {
        Head {
            at_ns: self.intake.get(berth, Number::Stamp).cast_signed(),
            stderr: self.intake.get(berth, Number::Stderr) == 1,
            incarnation: self.intake.get(berth, Number::Incarnation),
            mark,
        }
    }

    /// Leaves in the berth where the lines go. From here on their times are taken.
    fn announce(
        &mut self,
        berth: Berth,
        file: &mut LogFile,
        plan: &Plan,
        first_ns: i64,
        last_ns: i64,
    ) -> io::Result<()> {
        let offset = file.prepare(plan, first_ns, &self.packer)?;
        let dir = file.trail().dir.to_string_lossy();
        self.intake.set_text(berth, Text::Dir, &dir);
        self.intake.set(berth, Number::Offset, offset);
        self.last_ns = last_ns;
        self.intake.set_last_ns(last_ns);
        Ok(())
    }

    fn consume(&mut self, berth: Berth, made: Made) {
        let state = self.intake.state(berth);
        let (start, len) = (state.start + made.consumed, state.len - made.consumed);
        let state = State { start, len, skipping: made.skipping, writing: false, ..state };
        self.intake.set_state(berth, state);
    }

    fn end_dropping(&mut self, berth: Berth) {
        let next = [Number::NextLines, Number::NextBytes].map(|it| self.intake.get(berth, it));
        self.intake.set(berth, Number::DroppedLines, next[0]);
        self.intake.set(berth, Number::DroppedBytes, next[1]);
        let state = self.intake.state(berth);
        let consumed = usize::try_from(self.intake.get(berth, Number::Extent)).unwrap_or(0);
        let (start, len) = (state.start + consumed, state.len - consumed);
        self.intake.set_state(berth, State { start, len, dropping: false, ..state });
    }

    /// Does a step again during which a server has died. Done twice it is the same as once.
    fn finish(&mut self, berth: Berth) {
        let state = self.intake.state(berth);
        let State { writing, dropping, .. } = state;
        if writing && dropping {
            self.make_notice(berth);
            let written = self.write_again(berth).is_ok();
            self.intake.set_state(berth, State { writing: false, dropping: written, ..state });
        } else if writing {
            let made = self.make_again(berth);
            match self.write_again(berth) {
                Ok(()) => self.consume(berth, made),
                // It stays for the next occasion.
                Err(_) => self.intake.set_state(berth, State { writing: false, ..state }),
            }
        }
        if self.intake.state(berth).dropping {
            self.end_dropping(berth);
        }
    }

    fn write_again(&mut self, berth: Berth) -> io::Result<()> {
        let dir = self.intake.text(berth, Text::Dir);
        let path = Path::new(&dir).join(CURRENT);
        let file = open_plain(OpenOptions::new().write(true), &path)?;
        file.write_all_at(&self.out, self.intake.get(berth, Number::Offset))
    }

    /// The time for the next line: now, or right behind the newest one.
    fn next_ns(&self) -> i64 {
        let now_ns = wall_ns();
        let is_back = now_ns < self.last_ns - BACK_MAX_NS;
        if is_back { now_ns } else { now_ns.max(self.last_ns + 1) }
    }
}

//! A file of text: where a time is in it, and its blocks from the end.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use memchr::{memchr, memrchr};

use super::blocks::{BLOCK, HEAD_MAX, time_of};

/// How much is read to look for one line.
const PROBE: usize = 4096;

/// Around which offsets the lines of a time are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// A line begins here, and none that is later ends before. It is less than a block away.
    pub(super) from: u64,
    /// No line that begins here or behind is of this time or earlier.
    pub(super) to: u64,
}

/// Where lines that are later than this time begin.
pub(super) fn around(file: &File, at_ns: i64) -> io::Result<Around> {
    let size = file.metadata()?.len();
    let mut found = Around { from: 0, to: size };
    let mut high = size;
    while high - found.from > BLOCK as u64 {
        let middle = found.from + (high - found.from) / 2;
        match line_behind(file, middle, high)? {
            Some((start, line_ns)) if line_ns <= at_ns => found.from = start,
            Some((start, _)) => (high, found.to) = (middle, start),
            // There is nothing but damage between the two.
            None => high = middle,
        }
    }
    Ok(found)
}

/// Calls with block after block of whole lines, the last one first, until it is enough.
pub(super) fn each_block_back(
    file: &File,
    mut end: u64,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let room = usize::try_from(end - start).expect("it is at most the buffer's length");
        let read = read_at(file, &mut buffer[..room], start)?;
        let block = &buffer[..read];
        let first = match memchr(b'\n', block) {
            _ if start == 0 => 0,
            Some(newline) => newline + 1,
            None => read,
        };
        let last = memrchr(b'\n', block).map_or(0, |it| it + 1);
        if first < last && take(&block[first..last]).is_break() {
            return Ok(());
        }
        // Where not one line begins, a long one goes on before.
        let next = start + first as u64;
        end = if next < end { next } else { start };
        if start == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where the first line behind this offset and before that begins, and its time.
fn line_behind(file: &File, mut at: u64, to: u64) -> io::Result<Option<(u64, i64)>> {
    let mut probe = [0; PROBE];
    while at < to {
        let read = read_at(file, &mut probe, at)?;
        let Some(newline) = memchr(b'\n', &probe[..read]) else {
            if read < PROBE {
                break;
            }
            at += PROBE as u64;
            continue;
        };
        let start = at + newline as u64 + 1;
        if start >= to {
            break;
        }
        let line = &probe[newline + 1..read];
        if line.len() < HEAD_MAX && read == PROBE {
            // The columns may go on behind what was read.
            at = start - 1;
            continue;
        }
        if let Some(line_ns) = time_of(line) {
            return Ok(Some((start, line_ns)));
        }
        at = start;
    }
    Ok(None)
}

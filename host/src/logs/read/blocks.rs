//! Blocks of whole lines, whatever they come from. A line that is longer than a block no server
//! wrote; it is passed over, so memory never follows it.

use std::io::{self, ErrorKind, Read};
use std::ops::ControlFlow;

use memchr::{memchr, memchr_iter, memrchr, memrchr_iter};

use crate::logs::line::Head;
use crate::logs::stamp;

/// How much is read at once.
pub(super) const BLOCK: usize = 64 * 1024;

/// The columns of a line are never longer than this.
pub(super) const HEAD_MAX: usize = 96;

/// Where the tag begins, behind `TIME stdout `.
const TAG: usize = stamp::LEN + " stdout ".len();

/// Calls with block after block of whole lines until it is enough or the end. What is behind the
/// last newline is not there yet. `InvalidData` says that something is missing here: what has come
/// of the line before is dropped, and reading goes on.
pub(super) fn each_block(
    mut from: impl Read,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let (mut filled, mut is_inside_long) = (0, false);
    loop {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                (filled, is_inside_long) = (0, false);
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut start = 0;
        if is_inside_long {
            let end = memchr(b'\n', &buffer[..filled]);
            is_inside_long = end.is_none();
            start = end.map_or(filled, |it| it + 1);
        }
        if let Some(last) = memrchr(b'\n', &buffer[start..filled]) {
            let end = start + last + 1;
            if take(&buffer[start..end]).is_break() {
                return Ok(());
            }
            start = end;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            (filled, is_inside_long) = (0, true);
        }
    }
}

/// The lines of a block, without their newlines.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', block).map(move |end| &block[std::mem::replace(&mut start, end + 1)..end])
}

/// The lines of a block, the last one first.
pub(super) fn lines_back(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts =
        memrchr_iter(b'\n', block).skip(1).map(|it| it + 1).chain((!block.is_empty()).then_some(0));
    let mut end = block.len();
    starts.map(move |start| &block[start..std::mem::replace(&mut end, start) - 1])
}

/// The time of the first line that is one. The first of all may be cut off.
pub(super) fn first_ns(block: &[u8]) -> Option<i64> {
    time_of(block).or_else(|| lines(block).find_map(time_of))
}

/// The time of the last line that is one.
pub(in crate::logs) fn last_ns(block: &[u8]) -> Option<i64> {
    lines_back(block).find_map(time_of)
}

/// The time of a line of which the columns are there at least.
pub(super) fn time_of(line: &[u8]) -> Option<i64> {
    let columns = &line[..line.len().min(HEAD_MAX)];
    let columns = memchr(b'\n', columns).map_or(columns, |it| &columns[..it]);
    Head::parse(columns).map(|(head, _)| head.at_ns)
}

/// Where the text of a line would begin, if it is one: cheaper than to read the columns.
pub(super) fn text_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.get(TAG..)?;
    memchr(b' ', rest).map(|it| &rest[it + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_both_directions() {
        let there: Vec<_> = lines(b"a\n\nbc\n").collect();
        assert_eq!(there, [&b"a"[..], b"", b"bc"]);
        let mut back: Vec<_> = lines_back(b"a\n\nbc\n").collect();
        back.reverse();
        assert_eq!(back, there);
        assert_eq!(lines_back(b"\n").collect::<Vec<_>>(), [b""]);
        assert_eq!(lines_back(b"").count(), 0);
    }

    #[test]
    fn a_line_that_is_longer_than_a_block_is_passed_over() {
        let text =
            ["one\n", &"x".repeat(100), "\ntwo\n", &"y".repeat(15), "\nthree\nunfin"].concat();
        for size in 16..40 {
            let mut seen = Vec::new();
            each_block(text.as_bytes(), &mut vec![0; size], |block| {
                seen.extend(lines(block).map(<[u8]>::to_vec));
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(seen, [&b"one"[..], b"two", &[b'y'; 15], b"three"], "{size}");
        }
    }
}

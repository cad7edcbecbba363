//! From the bytes of a pipe to lines as they stand in a file.

use super::intake::LINE_MAX;
use super::line::{Head, Mark};
use super::stamp;

/// What is written at once, at least, when there is so much.
const PIECE: usize = 256 * 1024;

/// What lines are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// The columns of the first line; each further one has the next nanosecond.
    pub(super) head: Head,
    /// A line that has begun is ended as well.
    pub(super) flush: bool,
    /// What comes before the next newline belongs to a line that was cut.
    pub(super) skipping: bool,
    /// How many bytes of lines are made at most, beside the last one.
    pub(super) bytes_max: usize,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// So many are done with.
    pub(super) consumed: usize,
    /// Into so many lines.
    pub(super) lines: u64,
    /// With so many bytes of text.
    pub(super) bytes: u64,
    /// The last of them was cut, and goes on.
    pub(super) skipping: bool,
}

impl Task {
    /// Appends the lines of these bytes to `out`. The same bytes make the same lines, whenever that is
    /// done.
    pub(super) fn make(self, bytes: &[u8], out: &mut Vec<u8>) -> Made {
        let mut made = Made { skipping: self.skipping, ..Made::default() };
        let mut columns = Columns::new(self.head);
        let limit = out.len() + self.bytes_max.min(PIECE);
        while out.len() < limit && made.consumed < bytes.len() {
            let rest = &bytes[made.consumed..];
            let newline = memchr::memchr(b'\n', rest);
            if made.skipping {
                made.consumed += newline.map_or(rest.len(), |it| it + 1);
                made.skipping = newline.is_none();
                continue;
            }
            let (text, mark, consumed) = match newline {
                Some(at) if at <= LINE_MAX => (&rest[..at], Mark::None, at + 1),
                None if rest.len() <= LINE_MAX && !self.flush => break,
                None if rest.len() <= LINE_MAX => (rest, Mark::None, rest.len()),
                Some(_) | None => (&rest[..LINE_MAX], Mark::Cut, LINE_MAX),
            };
            columns.append(mark, out);
            out.extend_from_slice(text);
            out.push(b'\n');
            made.consumed += consumed;
            made.lines += 1;
            made.bytes += text.len() as u64;
            made.skipping = mark == Mark::Cut;
        }
        // The end of what wrote it is the end of its line.
        made.skipping &= !(self.flush && made.consumed == bytes.len());
        made
    }
}

/// The columns of one line after the other.
struct Columns {
    head: Head,
    text: Vec<u8>,
    /// Where the text ends when there is no mark.
    plain: usize,
}

impl Columns {
    fn new(head: Head) -> Self {
        let mut it = Self { head, text: Vec::with_capacity(64), plain: 0 };
        it.write();
        it
    }

    fn write(&mut self) {
        self.text.clear();
        Head { mark: Mark::None, ..self.head }.write(&mut self.text);
        self.plain = self.text.len();
    }

    fn append(&mut self, mark: Mark, out: &mut Vec<u8>) {
        if mark == Mark::None {
            out.extend_from_slice(&self.text[..self.plain]);
        } else {
            Head { mark, ..self.head }.write(out);
        }
        self.head.at_ns += 1;
        if !next(&mut self.text[NANOS..stamp::LEN - 1]) {
            self.write();
        }
    }
}

/// Where the nanoseconds of a time are.
const NANOS: usize = 20;

/// Counts on by one in the text itself; false when there are not enough digits.
fn next(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return true;
        }
        *digit = b'0';
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        let at_ns = 1_795_438_329_999_999_998;
        let head = Head { at_ns, stderr: false, incarnation: 7, mark: Mark::None };
        Task { head, flush: false, skipping: false, bytes_max: usize::MAX }
    }

    fn lines(out: &[u8]) -> Vec<(i64, Mark, String)> {
        let lines = out.split_inclusive(|it| *it == b'\n');
        lines
            .map(|it| {
                let (head, text) = Head::parse(&it[..it.len() - 1]).expect("a line of ours");
                (head.at_ns, head.mark, String::from_utf8_lossy(text).into_owned())
            })
            .collect()
    }

    #[test]
    fn whole_lines_are_made_and_what_has_begun_stays() {
        let mut out = Vec::new();
        let made = task().make(b"one\n\nthree\nfo", &mut out);
        assert_eq!(made, Made { consumed: 11, lines: 3, bytes: 8, skipping: false });
        let first = task().head.at_ns;
        let expected = [(first, "one"), (first + 1, ""), (first + 2, "three")];
        let expected = expected.map(|(at, text)| (at, Mark::None, text.to_owned()));
        assert_eq!(lines(&out), expected, "the seconds go on as well");
    }

    #[test]
    fn a_line_that_has_begun_is_ended_when_nobody_can() {
        let mut out = Vec::new();
        let made = Task { flush: true, ..task() }.make(b"one\ntwo", &mut out);
        assert_eq!((made.consumed, made.lines), (7, 2));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_once_and_the_next_is_whole() {
        let long = [vec![b'x'; 3 * LINE_MAX], b"\nnext\n".to_vec()].concat();
        let mut out = Vec::new();
        let made = task().make(&long, &mut out);
        assert_eq!((made.consumed, made.lines, made.skipping), (long.len(), 2, false));
        let lines = lines(&out);
        assert_eq!((lines[0].1, lines[0].2.len()), (Mark::Cut, LINE_MAX));
        assert_eq!((lines[1].1, lines[1].2.as_str()), (Mark::None, "next"));
        let made = task().make(&long[..2 * LINE_MAX], &mut out);
        assert_eq!((made.consumed, made.lines, made.skipping), (2 * LINE_MAX, 1, true));
    }

    #[test]
    fn a_line_of_the_greatest_length_is_not_cut() {
        let line = [vec![b'x'; LINE_MAX], b"\n".to_vec()].concat();
        let mut out = Vec::new();
        let made = task().make(&line[..LINE_MAX], &mut out);
        assert_eq!(made.lines, 0, "its newline may be the next byte");
        let made = task().make(&line, &mut out);
        assert_eq!((made.lines, lines(&out)[0].1), (1, Mark::None));
    }

    #[test]
    fn no_more_is_made_than_was_asked_for() {
        let mut out = Vec::new();
        let made = Task { bytes_max: 100, ..task() }.make(&b"0123456789\n".repeat(50), &mut out);
        assert_eq!(made.lines, 2);
    }
}

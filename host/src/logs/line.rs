//! A line as it stands in a file: `TIME STREAM TAG TEXT`.
//!
//! ```text
//! 2026-11-23T12:52:09.123456789Z stdout F:12 listening on 8080
//! 2026-11-23T12:52:09.123456790Z stderr F:12:cut xxxxxxxx
//! 2026-11-23T12:52:11.000000000Z stderr F:12:zinit 17 lines (1700 bytes) were dropped
//! ```
//!
//! These are the columns that container runtimes write (CRI), so what reads those reads this. The tag
//! is `F` for a full line, the number of the process that wrote it, and perhaps a mark. The time is
//! unique: of all lines of a server no two have the same, and later ones have later times. So the
//! time of a line is all that is needed to go on behind it.

use super::stamp;

/// The columns before the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// When it was read, in nanoseconds since 1970.
    pub at_ns: i64,
    /// Whether it came from stderr.
    pub stderr: bool,
    /// Which process of the service wrote it.
    pub incarnation: u64,
    /// What is special about it.
    pub mark: Mark,
}

/// What is special about a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// It was longer.
    Cut,
    /// Not the service wrote it but Zinit, about the service's output.
    Zinit,
}

impl Mark {
    const WORDS: [(&str, Self); 3] =
        [("", Self::None), (":cut", Self::Cut), (":zinit", Self::Zinit)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, it)| *it == self).expect("every mark has its word").0
    }
}

/// How long a line's time and stream are, with the spaces behind them.
const FIXED: usize = stamp::LEN + 1 + "stdout ".len();

impl Head {
    /// Appends the columns and the space before the text.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut time = [0; stamp::LEN];
        stamp::write(self.at_ns, &mut time);
        out.extend_from_slice(&time);
        out.extend_from_slice(if self.stderr { b" stderr F:" } else { b" stdout F:" });
        out.extend_from_slice(self.incarnation.to_string().as_bytes());
        out.extend_from_slice(self.mark.word().as_bytes());
        out.push(b' ');
    }

    /// Reads a line without its newline: the columns and the text. `None` for what no server wrote.
    pub fn parse(line: &[u8]) -> Option<(Self, &[u8])> {
        let at_ns = stamp::parse(line)?;
        let stderr = match line.get(stamp::LEN..FIXED)? {
            b" stdout " => false,
            b" stderr " => true,
            _ => return None,
        };
        let rest = line[FIXED..].strip_prefix(b"F:")?;
        let space = rest.iter().position(|it| *it == b' ')?;
        let tag = std::str::from_utf8(&rest[..space]).ok()?;
        let digits = tag.find(':').unwrap_or(tag.len());
        let (number, word) = tag.split_at(digits);
        let mark = Mark::WORDS.iter().find(|(it, _)| *it == word)?.1;
        let incarnation = number.parse().ok()?;
        Some((Self { at_ns, stderr, incarnation, mark }, &rest[space + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (mark, stderr) in [(Mark::None, false), (Mark::Cut, true), (Mark::Zinit, true)] {
            let head = Head { at_ns: 1_795_438_329_123_456_789, stderr, incarnation: 12, mark };
            let mut line = Vec::new();
            head.write(&mut line);
            line.extend_from_slice(b"a text: with spaces");
            assert_eq!(Head::parse(&line), Some((head, &b"a text: with spaces"[..])));
        }
    }

    #[test]
    fn the_columns_are_those_that_others_know() {
        let at_ns = 1_795_438_329_000_000_001;
        let head = Head { at_ns, stderr: false, incarnation: 3, mark: Mark::None };
        let mut line = Vec::new();
        head.write(&mut line);
        assert_eq!(line, b"2026-11-23T12:52:09.000000001Z stdout F:3 ");
    }

    #[test]
    fn what_no_server_wrote_is_no_line() {
        for line in ["", "hello", "2026-11-23T12:52:09.000000001Z stdout P hello"] {
            assert_eq!(Head::parse(line.as_bytes()), None, "{line}");
        }
    }
}

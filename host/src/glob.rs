//! Patterns that names fit: `web-*`, `db[1-3]`.

/// A pattern: `*` is any text, `?` any letter, `[a-c]` one of these, `[!a-c]` none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text,
    Letter,
    Is(char),
    Among { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// `None` when a `[` has no end.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut letters = text.chars().peekable();
        let mut pieces = Vec::new();
        while let Some(letter) = letters.next() {
            pieces.push(match letter {
                '*' => Piece::Text,
                '?' => Piece::Letter,
                '[' => {
                    let not = letters.next_if(|it| "!^".contains(*it)).is_some();
                    Piece::Among { not, ranges: ranges(&mut letters)? }
                }
                other => Piece::Is(other),
            });
        }
        Some(Self(pieces))
    }

    /// Whether the whole text fits. Only the last `*` is ever tried again, so it takes at most the
    /// product of both lengths.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        let (mut at, mut piece) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < letters.len() {
            match self.0.get(piece) {
                Some(Piece::Text) => {
                    retry = Some((at, piece));
                    piece += 1;
                }
                Some(it) if it.takes(letters[at]) => (at, piece) = (at + 1, piece + 1),
                _ => {
                    let Some((from, star)) = retry else { return false };
                    retry = Some((from + 1, star));
                    (at, piece) = (from + 1, star + 1);
                }
            }
        }
        self.0[piece..].iter().all(|it| *it == Piece::Text)
    }
}

impl Piece {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Text | Self::Letter => true,
            Self::Is(it) => *it == letter,
            Self::Among { not, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *not
            }
        }
    }
}

/// What stands between brackets. A `]` that comes first is a letter like others.
fn ranges(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Vec<(char, char)>> {
    let mut ranges = Vec::new();
    loop {
        let from = letters.next()?;
        if from == ']' && !ranges.is_empty() {
            return Some(ranges);
        }
        let mut ahead = letters.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                *letters = ahead;
                ranges.push((from, to));
            }
            _ => ranges.push((from, from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_the_whole_name_or_not_at_all() {
        for (glob, text, fits) in [
            ("web-*", "web-1", true),
            ("web-*", "web-", true),
            ("web-*", "xweb-1", false),
            ("*-web-*", "a-web-web-b", true),
            ("*", "", true),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("db[1-3]", "db2", true),
            ("db[1-3]", "db4", false),
            ("db[!1-3]", "db4", true),
            ("db[13-]", "db-", true),
            ("db[]x]", "db]", true),
            ("*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(Glob::parse(glob).unwrap().fits(text), fits, "{glob} {text}");
        }
        assert_eq!(Glob::parse("db[1-"), None);
        assert_eq!(Glob::parse("db["), None);
    }
}

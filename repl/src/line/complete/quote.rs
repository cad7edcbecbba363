//! What stands around a text that is being said, and so how its letters are written there.

use crate::show::text::has_control;

/// What stands around a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// Nothing: it is an argument of a command of the shell.
    Bare,
    /// `"`.
    Double,
    /// A backtick.
    Back,
}

impl Quote {
    /// That of a token which is a text that is still open.
    pub(super) fn of(token: &str) -> Self {
        if token.starts_with('"') { Self::Double } else { Self::Back }
    }

    /// How a text is written; none if that cannot be, or would do something to the terminal.
    pub(super) fn written(self, text: &str) -> Option<String> {
        if has_control(text) {
            return None;
        }
        match self {
            Self::Bare => Some(text.to_owned()),
            Self::Double => Some(text.replace('\\', "\\\\").replace('"', "\\\"")),
            // Nothing takes the meaning of these.
            Self::Back if text.contains("${") => None,
            Self::Back => Some(text.replace('`', "``")),
        }
    }

    /// The text that was written so far.
    pub(super) fn read(self, written: &str) -> String {
        match self {
            Self::Bare => written.to_owned(),
            Self::Back => written.replace("``", "`"),
            Self::Double => {
                let mut letters = written.chars();
                let mut text = String::with_capacity(written.len());
                while let Some(it) = letters.next() {
                    text.extend(if it == '\\' { letters.next() } else { Some(it) });
                }
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["plain", "a\"b", "a\\b", "a`b", "a b", "é"] {
            for quote in [Quote::Bare, Quote::Double, Quote::Back] {
                let written = quote.written(text).expect("it can be written");
                assert_eq!(quote.read(&written), text, "{quote:?}");
            }
        }
        assert_eq!(Quote::Double.written("a\"\\").as_deref(), Some("a\\\"\\\\"));
        assert_eq!(Quote::Back.written("a`").as_deref(), Some("a``"));
    }

    #[test]
    fn what_would_be_something_else_is_not_written() {
        assert_eq!(Quote::Double.written("a\x1b[2J"), None);
        assert_eq!(Quote::Bare.written("a\n"), None);
        assert_eq!(Quote::Back.written("${exit()}"), None);
    }
}

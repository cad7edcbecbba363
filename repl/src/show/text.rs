//! Plain texts: how wide they are, what of them may reach a terminal, and how they are cut, filled up and
//! wrapped.

use unicode_width::UnicodeWidthStr;

use crate::shell::look::Look;

/// How many columns a text takes that has no colours.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// How many columns a text takes that may have colours.
pub(crate) fn painted_width(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let plain = parts.next().map_or(0, width);
    plain + parts.map(|it| width(it.split_once('m').map_or(it, |it| it.1))).sum::<usize>()
}

/// A text of which each character is one that a terminal draws: others are written as Rhai escapes them,
/// and so is what is not ASCII where only that is understood.
pub(crate) fn clean(text: &str, look: Look) -> String {
    escaped(text, |it| is_control(it) || !look.is_utf8 && !it.is_ascii())
}

/// The same where any letter is understood.
pub(crate) fn visible(text: &str) -> String {
    escaped(text, is_control)
}

/// The same of several lines: where they end, and their tabs, stay.
pub(crate) fn visible_lines(text: &str) -> String {
    escaped(text, |it| is_control(it) && !matches!(it, '\n' | '\t'))
}

fn escaped(text: &str, is_meant: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            it if is_meant(it) => out.extend(it.escape_default()),
            it => out.push(it),
        }
    }
    out
}

/// Whether any character of a text does something else than to be drawn.
pub(crate) fn has_control(text: &str) -> bool {
    text.contains(is_control)
}

/// Whether a character does something else than to be drawn: also those that turn the direction of writing.
fn is_control(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What stands for what was left out.
pub(crate) fn ellipsis(look: Look) -> &'static str {
    if look.is_utf8 { "…" } else { "..." }
}

/// A text that is at most so wide, and ends with an ellipsis if something of it was left out.
pub(crate) fn cut(text: &str, room: usize, look: Look) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let end = ellipsis(look);
    let left = room.saturating_sub(width(end));
    let mut out = first(text, left).to_owned();
    out.push_str(if room < width(end) { "" } else { end });
    out
}

/// The begin of a text that is at most so wide.
fn first(text: &str, room: usize) -> &str {
    let (mut used, mut buffer) = (0, [0; 4]);
    for (at, it) in text.char_indices() {
        used += width(it.encode_utf8(&mut buffer));
        if used > room {
            return &text[..at];
        }
    }
    text
}

/// Blanks that fill up what is so wide.
pub(crate) fn fill(used: usize, room: usize) -> String {
    " ".repeat(room.saturating_sub(used))
}

/// A text in lines of at most `room` columns. A word that is wider is not broken.
pub(crate) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the begin");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A number with commas between the thousands.
pub(crate) fn count(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something: `1 map`, `2 maps`, `3 entries`.
pub(crate) fn so_many(number: usize, noun: &str) -> String {
    let many = match (number, noun) {
        (1, _) => noun.to_owned(),
        (_, "entry") => "entries".to_owned(),
        _ => format!("{noun}s"),
    };
    format!("{} {many}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{ASCII, NARROW};

    #[test]
    fn wide_characters_take_two_columns_and_colours_none() {
        assert_eq!([width("abc"), width("日本"), width("e\u{301}")], [3, 4, 1]);
        assert_eq!(painted_width("a\x1b[31mb\x1b[0mc"), 3);
        assert_eq!(painted_width("abc"), 3);
    }

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(clean("a\x1b[2Jb\n\u{9b}\u{202e}é", NARROW), "a\\u{1b}[2Jb\\n\\u{9b}\\u{202e}é");
        assert_eq!(clean("é", ASCII), "\\u{e9}");
        assert_eq!(visible("é\t\x1b"), "é\\t\\u{1b}");
        assert_eq!(visible_lines("a\n\tb\r\x07"), "a\n\tb\\r\\u{7}");
    }

    #[test]
    fn what_is_cut_ends_with_an_ellipsis_and_is_never_too_wide() {
        assert_eq!(cut("abcdef", 6, NARROW), "abcdef");
        assert_eq!(cut("abcdefg", 6, NARROW), "abcde…");
        assert_eq!(cut("abcdefg", 6, ASCII), "abc...");
        assert_eq!(cut("日本語", 4, NARROW), "日…");
        for room in 0..8 {
            assert!(width(&cut("日本語abc", room, ASCII)) <= room, "{room}");
        }
    }

    #[test]
    fn lines_are_filled_with_whole_words() {
        assert_eq!(wrapped("a bc  def\nghij k", 6), ["a bc", "def", "ghij k"]);
        assert_eq!(wrapped("abcdefgh i", 3), ["abcdefgh", "i"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    #[test]
    fn large_numbers_are_told_in_groups() {
        assert_eq!([0, 999, 1000, 1_234_567_u64].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([so_many(1, "map"), so_many(2, "entry")], ["1 map", "2 entries"]);
    }
}

//! The pieces of a script, each with its place: what finds functions in a text, and what colours it.
//! Texts that do not compile have pieces as well.

use std::ops::Range;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A comment that documents what follows: `///` or `//!`.
    Doc,
    /// Any other comment.
    Comment,
    /// A string or a character, or what stands around `${...}` in one.
    Text,
    /// A number.
    Number,
    /// A name or a keyword.
    Word,
    /// One character of anything else.
    Symbol,
}

/// The pieces of a text in order; what is between them is blank.
pub fn pieces(text: &str) -> Vec<(Piece, Range<usize>)> {
    let mut scan = Scan { text, at: 0, open: Vec::new() };
    let mut pieces = Vec::new();
    while let Some(next) = scan.next() {
        pieces.push(next);
    }
    pieces
}

/// Whether a word is one of Rhai's own.
pub fn is_keyword(word: &str) -> bool {
    rhai::Token::lookup_symbol_from_syntax(word).is_some()
}

/// Where the reading of a text stands.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// How many braces are open in each `${` that is not closed yet.
    open: Vec<usize>,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<(Piece, Range<usize>)> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        let (begin, rest) = (self.at, &self.text[self.at..]);
        let first = rest.chars().next()?;
        let (piece, len) = match first {
            '/' if rest.starts_with("//") => (comment(rest), line(rest)),
            '/' if rest.starts_with("/*") => (Piece::Comment, block(rest)),
            '"' => (Piece::Text, quoted(rest, '"')),
            '\'' => (Piece::Text, quoted(rest, '\'')),
            '`' => (Piece::Text, 1 + self.text_of(&rest[1..])),
            '}' if self.open.last() == Some(&0) => {
                self.open.pop();
                (Piece::Text, 1 + self.text_of(&rest[1..]))
            }
            it if it.is_ascii_digit() => (Piece::Number, number(rest)),
            it if is_of_word(it) => (Piece::Word, span(rest, is_of_word)),
            it => (Piece::Symbol, it.len_utf8()),
        };
        if let (Piece::Symbol, Some(open)) = (piece, self.open.last_mut()) {
            *open += usize::from(first == '{');
            *open -= usize::from(first == '}');
        }
        self.at = begin + len;
        Some((piece, begin..self.at))
    }

    /// How long the text is that ends with a backtick or goes on in a `${`.
    fn text_of(&mut self, rest: &str) -> usize {
        let end = rest.find('`');
        match rest.find("${") {
            Some(at) if end.is_none_or(|end| at < end) => {
                self.open.push(0);
                at + 2
            }
            _ => end.map_or(rest.len(), |it| it + 1),
        }
    }
}

fn comment(rest: &str) -> Piece {
    let documents = rest.starts_with("//!") || rest.starts_with("///") && !rest.starts_with("////");
    if documents { Piece::Doc } else { Piece::Comment }
}

fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// Comments of this kind may stand in each other.
fn block(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A text between these marks, which a backslash takes the meaning of.
fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, it) in rest.char_indices().skip(1) {
        if !escaped && (it == mark || it == '\n') {
            return at + usize::from(it == mark);
        }
        escaped = it == '\\' && !escaped;
    }
    rest.len()
}

/// A number ends before a range or a method.
fn number(rest: &str) -> usize {
    let whole = span(rest, is_of_word);
    let tail = &rest[whole..];
    let fraction =
        tail.strip_prefix('.').filter(|it| it.starts_with(|it: char| it.is_ascii_digit()));
    whole + fraction.map_or(0, |it| 1 + span(it, is_of_word))
}

fn span(rest: &str, is_in: impl Fn(char) -> bool) -> usize {
    rest.find(|it| !is_in(it)).unwrap_or(rest.len())
}

fn is_of_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(Piece, &str)> {
        pieces(text).into_iter().map(|(piece, at)| (piece, &text[at])).collect()
    }

    #[test]
    fn comments_texts_and_numbers_are_whole() {
        let text = "/// doc\nlet a = \"x \\\" // no\"; // yes\n1.5 + 0x1f /* a /* b */ c */ 'x'";
        let found = told(text);
        assert_eq!(found[0], (Piece::Doc, "/// doc"));
        assert!(found.contains(&(Piece::Text, "\"x \\\" // no\"")));
        assert!(found.contains(&(Piece::Comment, "// yes")));
        assert!(
            found.contains(&(Piece::Number, "1.5")) && found.contains(&(Piece::Number, "0x1f"))
        );
        assert!(found.contains(&(Piece::Comment, "/* a /* b */ c */")));
        assert_eq!(found.last(), Some(&(Piece::Text, "'x'")));
    }

    #[test]
    fn what_stands_in_a_text_is_no_text() {
        let found = told("`a ${b + #{ c: 1 }.c} d` }");
        let texts: Vec<_> = found.iter().filter(|it| it.0 == Piece::Text).map(|it| it.1).collect();
        assert_eq!(texts, ["`a ${", "} d`"]);
        assert_eq!(found.last(), Some(&(Piece::Symbol, "}")));
    }

    #[test]
    fn a_text_without_an_end_has_pieces() {
        for text in ["\"abc", "`abc ${ d", "/* abc", "'", "}", "1.", "ü /"] {
            assert!(!told(text).is_empty());
        }
    }
}

//! Whether a text is complete, or its next line is still to come.

use std::ops::Range;

use reedline::{ValidationResult, Validator};
use rhai::{Engine, LexError, OptimizationLevel, ParseError, ParseErrorType, Position};
use zinit_host::policy::pieces::{Piece, pieces};

use crate::shell::slash;

/// Above this many bytes a text that is open at its end is not searched for mistakes before that.
const SHORT: usize = 8 << 10;

/// What the end of a text is still short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Nothing,
    /// The rest of an expression or a statement.
    More,
    /// The end of a block, a string or a comment.
    End,
}

/// Whether a text is complete, so that it can be run; one with mistakes is, since they are to be told.
pub(crate) fn is_whole(text: &str) -> bool {
    wants(text) == Wants::Nothing
}

/// Lets Enter begin another line while a text is not complete.
///
/// An empty line ends a text that only lacks the rest of an expression; it does not end a block.
pub(crate) struct Whole;

impl Validator for Whole {
    fn validate(&self, text: &str) -> ValidationResult {
        let is_blank = || text.rsplit('\n').next().is_some_and(|it| it.trim().is_empty());
        match wants(text) {
            Wants::Nothing => ValidationResult::Complete,
            Wants::More if is_blank() => ValidationResult::Complete,
            Wants::More | Wants::End => ValidationResult::Incomplete,
        }
    }
}

fn wants(text: &str) -> Wants {
    if text.trim().is_empty() || !matches!(slash::parse(text), Ok(None)) {
        return Wants::Nothing;
    }
    let pieces = pieces(text);
    let end = match openness(text, &pieces) {
        Openness::Mistaken => return Wants::Nothing,
        Openness::Open if text.len() > SHORT => return Wants::End,
        Openness::Open => Wants::End,
        Openness::Closed => Wants::More,
    };
    let is_comment = |it: &Piece| matches!(it, Piece::Comment | Piece::Doc);
    let last = pieces.iter().rev().find(|it| !is_comment(&it.0));
    match mistake(text) {
        // Rhai takes a comment that does not end for one that does.
        None if end == Wants::End => end,
        None => Wants::Nothing,
        Some(error) if end == Wants::End && is_open_text(&error) => end,
        Some(error) if is_at_end(&error, text, last.map_or(0, |it| it.1.end)) => end,
        Some(_) => Wants::Nothing,
    }
}

/// What brackets, strings and comments say.
enum Openness {
    Closed,
    Open,
    Mistaken,
}

fn openness(text: &str, pieces: &[(Piece, Range<usize>)]) -> Openness {
    let mut open = Vec::new();
    match still_open(&mut open, text, pieces) {
        Openness::Closed if !open.is_empty() => Openness::Open,
        openness => openness,
    }
}

/// Opens and closes brackets; `Open` is a piece that does not end.
fn still_open(open: &mut Vec<char>, text: &str, pieces: &[(Piece, Range<usize>)]) -> Openness {
    for (piece, at) in pieces {
        let word = &text[at.clone()];
        let closes = match (piece, word) {
            (Piece::Open, _) if word.starts_with(['"', '\'']) && !word.ends_with('\\') => {
                return Openness::Mistaken;
            }
            (Piece::Open, _) => return Openness::Open,
            (Piece::Text, _) if word.starts_with('}') => Some('{'),
            (Piece::Symbol, "}") => Some('{'),
            (Piece::Symbol, ")") => Some('('),
            (Piece::Symbol, "]") => Some('['),
            _ => None,
        };
        if closes.is_some() && open.pop() != closes {
            return Openness::Mistaken;
        }
        match (piece, word) {
            (Piece::Symbol, "{") => open.push('{'),
            (Piece::Symbol, "(") => open.push('('),
            (Piece::Symbol, "[") => open.push('['),
            (Piece::Text, _) if word.starts_with(['`', '}']) && word.ends_with("${") => {
                open.push('{');
            }
            _ => {}
        }
    }
    Openness::Closed
}

/// A text that comes line by line: each is looked at once, so that a long one takes no longer for each of
/// its lines.
#[derive(Default)]
pub(crate) struct Growing {
    text: String,
    /// Up to here the brackets are known that are open.
    known: usize,
    open: Vec<char>,
}

impl Growing {
    /// Whether nothing was said yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &str) {
        self.text += line;
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// As [`is_whole`]; to be asked after each line.
    pub(crate) fn is_whole(&mut self) -> bool {
        if self.text.len() <= SHORT {
            return is_whole(&self.text);
        }
        // What is for the shell itself is whole with its first line.
        let is_first = self.text.trim_end().lines().nth(1).is_none();
        (is_first || !self.lacks_brackets()) && is_whole(&self.text)
    }

    fn lacks_brackets(&mut self) -> bool {
        let rest = &self.text[self.known..];
        let pieces = pieces(rest);
        let mut open = self.open.clone();
        match still_open(&mut open, rest, &pieces) {
            Openness::Mistaken => return false,
            // It may end in the next line.
            Openness::Open => return true,
            Openness::Closed => {}
        }
        // The brace that ends a `${` is known by what is before it.
        let is_in_text = pieces.iter().fold(0_isize, |depth, (piece, at)| match piece {
            Piece::Text => {
                let word = &rest[at.clone()];
                depth + isize::from(word.ends_with("${") && word.starts_with(['`', '}']))
                    - isize::from(word.starts_with('}'))
            }
            _ => depth,
        });
        let lacks = !open.is_empty();
        if is_in_text == 0 {
            (self.known, self.open) = (self.text.len(), open);
        }
        lacks
    }
}

fn mistake(text: &str) -> Option<ParseError> {
    // An engine without words costs nothing to make, and the grammar needs none.
    let mut engine = Engine::new_raw();
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_max_expr_depths(256, 128);
    engine.compile(text).err()
}

fn is_open_text(error: &ParseError) -> bool {
    matches!(error.err_type(), ParseErrorType::BadInput(LexError::UnterminatedString))
}

/// Whether what is wrong is that nothing follows.
fn is_at_end(error: &ParseError, text: &str, end: usize) -> bool {
    let lacks = matches!(
        error.err_type(),
        ParseErrorType::UnexpectedEOF
            | ParseErrorType::MissingToken(..)
            | ParseErrorType::MissingSymbol(_)
            | ParseErrorType::ExprExpected(_)
            | ParseErrorType::VariableExpected
            | ParseErrorType::PropertyExpected
            | ParseErrorType::FnMissingName
            | ParseErrorType::FnMissingParams(_)
            | ParseErrorType::FnMissingBody(_)
    );
    lacks && offset(text, error.position()) >= end
}

/// Where in a text a place is; the end of it if the place is nowhere.
fn offset(text: &str, place: Position) -> usize {
    let (Some(line), Some(column)) = (place.line(), place.position()) else { return text.len() };
    let before = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let rest = &text[before.min(text.len())..];
    before + rest.char_indices().nth(column - 1).map_or(rest.len(), |it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_an_open_block_string_or_comment_goes_on() {
        for text in [
            "fn f() {",
            "if a {\n  b",
            "[1, 2",
            "f(1,",
            "#{ a: 1,",
            "`a",
            "`a\nb",
            "`a ${b",
            "`a ${b} c",
            "/* a",
            "a /* b */ + (",
            "\"a\\",
            "let f = |a| {",
            "switch a {\n 1 => 2,",
        ] {
            assert_eq!(wants(text), Wants::End, "{text:?}");
        }
    }

    #[test]
    fn an_expression_without_its_rest_goes_on_until_an_empty_line() {
        let complete = |text: &str| matches!(Whole.validate(text), ValidationResult::Complete);
        for text in ["1 +", "let a =", "a.", "x = // why", "if", "fn f()", "foo(1) &&"] {
            assert_eq!(wants(text), Wants::More, "{text:?}");
            assert!(!complete(text), "{text:?}");
            assert!(complete(&format!("{text}\n")), "{text:?}");
        }
        assert!(!complete("fn f() {\n"));
    }

    #[test]
    fn a_complete_text_is_whole() {
        for text in [
            "",
            "  ",
            "1 + 1",
            "let a = 1;",
            "fn f() { 1 }",
            "\"{\"",
            "'('",
            "// {",
            "/* ( */ 1",
            "`{`",
            "`${`a${b}`}`",
            "// `",
            "f(\"`\")",
            "let x",
        ] {
            assert!(is_whole(text), "{text:?}");
        }
    }

    #[test]
    fn a_mistake_is_told_at_once() {
        for text in
            ["let = 1", "1 + )", "\"abc", "}", "(]", "f(\"a", "let = {", "a b", "fn f(1", "'"]
        {
            assert!(is_whole(text), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_comes_line_by_line_is_whole_where_all_of_it_is() {
        let long = "a(b); // (\n".repeat(SHORT);
        for (text, end) in [
            ("fn f() {\n", "}\n"),
            ("fn f() {\nlet a = `${\n1}`;\n/* ( \n*/\n", "}\n"),
            ("let a = `\n{", "\n`;\n"),
            ("fn f() {\n", "let a = `(${g(\n`}`\n)} )`;\n}\n"),
            ("fn f() {\n", ")\n"),
            ("", ""),
        ] {
            let text = format!("{text}{long}{end}");
            let mut growing = Growing::default();
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let begins = lines.len().min(SHORT / 11);
            for (at, line) in lines.iter().enumerate() {
                growing.add(line);
                // Otherwise this test is as slow as what it is about.
                if at >= begins && (at < begins + 50 || at > lines.len() - 5) {
                    assert_eq!(growing.is_whole(), is_whole(&growing.text), "{at} {line}");
                }
            }
        }
    }

    #[test]
    fn what_the_shell_is_asked_is_whole() {
        for text in ["/help", "/load (", "/nosuch {", "zinit_list?", "/time {"] {
            assert!(is_whole(text), "{text:?}");
        }
    }
}

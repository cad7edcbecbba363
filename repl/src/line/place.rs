//! Where in a script the cursor stands: in a word, after a dot, in a string of a call, or in a comment.

use std::ops::Range;

use zinit_host::policy::pieces::{Piece, pieces};

/// Above this many bytes a text is only kept: to look at it takes longer than to press a key.
pub(super) const LONG: usize = 256 << 10;

/// The pieces of a text without its comments.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    all: Vec<(Piece, Range<usize>)>,
}

impl<'a> Tokens<'a> {
    /// The tokens of a text.
    pub(crate) fn of(text: &'a str) -> Self {
        let is_comment = |it: &Piece| matches!(it, Piece::Comment | Piece::Doc);
        let all = pieces(text).into_iter().filter(|it| !is_comment(&it.0)).collect();
        Self { text, all }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What a token is.
    pub(crate) fn piece(&self, at: usize) -> Option<Piece> {
        self.all.get(at).map(|it| it.0)
    }

    /// The text of a token; of one that is not there, nothing.
    pub(crate) fn word(&self, at: usize) -> &'a str {
        self.all.get(at).map_or("", |it| &self.text[it.1.clone()])
    }

    /// The text of the token before this one.
    pub(crate) fn before(&self, at: usize) -> &'a str {
        at.checked_sub(1).map_or("", |it| self.word(it))
    }

    /// Whether a token is a name.
    pub(crate) fn is_name(&self, at: usize) -> bool {
        self.piece(at) == Some(Piece::Word)
    }

    /// Where a token begins.
    pub(crate) fn begin(&self, at: usize) -> usize {
        self.all.get(at).map_or(self.text.len(), |it| it.1.start)
    }

    /// The token that opens what this one closes.
    pub(crate) fn opener(&self, closer: usize) -> Option<usize> {
        let mut depth = 0;
        (0..=closer).rev().find(|at| {
            depth += self.closes(*at);
            depth -= self.opens(*at);
            depth == 0
        })
    }

    fn opens(&self, at: usize) -> isize {
        let word = self.word(at);
        isize::from(match self.piece(at) {
            Some(Piece::Symbol) => matches!(word, "(" | "[" | "{"),
            Some(Piece::Text) => word.starts_with(['`', '}']) && word.ends_with("${"),
            _ => false,
        })
    }

    fn closes(&self, at: usize) -> isize {
        let word = self.word(at);
        isize::from(match self.piece(at) {
            Some(Piece::Symbol) => matches!(word, ")" | "]" | "}"),
            Some(Piece::Text | Piece::Open) => word.starts_with('}'),
            _ => false,
        })
    }

    /// The brackets that are open before a token, outermost first, each with the commas after it.
    fn open(&self, end: usize) -> Vec<(usize, usize)> {
        let mut open: Vec<(usize, usize)> = Vec::new();
        for at in 0..end {
            if self.closes(at) > 0 {
                open.pop();
            }
            if self.opens(at) > 0 {
                open.push((at, 0));
            } else if self.word(at) == "," {
                open.last_mut().into_iter().for_each(|it| it.1 += 1);
            }
        }
        open
    }

    /// Whether a token ends a value, so that a bracket after it takes something of it.
    fn is_value(&self, at: usize) -> bool {
        match self.piece(at) {
            Some(Piece::Word) => !matches!(self.word(at), "return" | "in" | "if" | "switch"),
            Some(Piece::Symbol) => matches!(self.word(at), ")" | "]"),
            piece => piece.is_some(),
        }
    }

    /// The call whose argument begins with a token, or would.
    pub(crate) fn call(&self, end: usize) -> Option<Call> {
        for (at, index) in self.open(end).into_iter().rev() {
            let named = at.checked_sub(1).filter(|it| self.is_value(*it));
            match (self.word(at), named) {
                ("(", Some(name)) if self.is_name(name) => {
                    return Some(Call { name, index, is_direct: self.open_is_last(at, end) });
                }
                // A list of what is meant is as good as what is meant.
                ("[", None) => {}
                _ => return None,
            }
        }
        None
    }

    fn open_is_last(&self, opener: usize, end: usize) -> bool {
        self.open(end).last().is_some_and(|it| it.0 == opener)
    }

    /// The value that a bracket before this token takes an element of: `m["`.
    pub(crate) fn indexed(&self, end: usize) -> Option<usize> {
        let bracket = end.checked_sub(1).filter(|it| self.word(*it) == "[")?;
        bracket.checked_sub(1).filter(|it| self.is_value(*it))
    }
}

/// A call whose argument is being said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The token that names the function.
    pub(crate) name: usize,
    /// How many arguments stand before this one.
    pub(crate) index: usize,
    /// Whether the argument is not inside a list.
    pub(crate) is_direct: bool,
}

/// What is being said at the end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A comment or a number.
    Nothing,
    /// The name of a function, a variable or a keyword; it begins here.
    Word(usize),
    /// What belongs to the value that this token ends; it begins there.
    Member(usize, usize),
    /// Something of the module that this token names; it begins there.
    Path(usize, usize),
    /// A string, which is this token.
    Text(usize),
}

impl Place {
    /// The place at the end of a text.
    pub(crate) fn at_end(text: &str, tokens: &Tokens<'_>) -> Self {
        if let Some((piece, place)) = pieces(text).last() {
            let is_last = place.end == text.len();
            match piece {
                Piece::Comment | Piece::Doc if is_last && !text.ends_with("*/") => {
                    return Self::Nothing;
                }
                Piece::Open if text[place.clone()].starts_with("/*") => return Self::Nothing,
                Piece::Number | Piece::Text if is_last && !text.ends_with("${") => {
                    return Self::Nothing;
                }
                Piece::Open if is_last => return Self::Text(tokens.len() - 1),
                _ => {}
            }
        }
        let last = tokens.len().checked_sub(1);
        let is_said = |at: &usize| {
            tokens.is_name(*at) && tokens.begin(*at) + tokens.word(*at).len() == text.len()
        };
        let end = last.filter(is_said).unwrap_or(tokens.len());
        let begin = tokens.begin(end).min(text.len());
        let is_path = tokens.before(end) == ":" && end >= 3 && tokens.word(end - 2) == ":";
        match tokens.before(end) {
            _ if is_path => Self::Path(end - 3, begin),
            // Two dots are a range.
            "." if end >= 2 && tokens.word(end - 2) != "." => Self::Member(end - 2, begin),
            _ => Self::Word(begin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::at_end(text, &Tokens::of(text))
    }

    #[test]
    fn the_place_of_the_cursor_is_told() {
        assert_eq!(place(""), Place::Word(0));
        assert_eq!(place("1 + zin"), Place::Word(4));
        assert_eq!(place("status."), Place::Member(0, 7));
        assert_eq!(place("status.na"), Place::Member(0, 7));
        assert_eq!(place("0..n"), Place::Word(3));
        assert_eq!(place("host::tc"), Place::Path(0, 6));
        assert_eq!(place("f(\"we"), Place::Text(2));
        assert_eq!(place("`a ${b"), Place::Word(5));
        for text in ["// a", "/* a", "12", "\"a\"", "`a` // b"] {
            assert_eq!(place(text), Place::Nothing, "{text}");
        }
    }

    fn call(text: &str) -> Option<(&str, usize, bool)> {
        let tokens = Tokens::of(text);
        let call = tokens.call(tokens.len())?;
        Some((tokens.word(call.name), call.index, call.is_direct))
    }

    #[test]
    fn the_call_around_the_cursor_is_found() {
        assert_eq!(call("zinit_kill("), Some(("zinit_kill", 0, true)));
        assert_eq!(call("zinit_kill(\"a,b\", "), Some(("zinit_kill", 1, true)));
        assert_eq!(call("f(g(1, 2), "), Some(("f", 1, true)));
        assert_eq!(call("f([1, "), Some(("f", 0, false)));
        assert_eq!(call("f(a["), None);
        assert_eq!(call("f(#{ a: "), None);
        assert_eq!(call("f(1)"), None);
        assert_eq!(call("`${f("), Some(("f", 0, true)));
    }
}

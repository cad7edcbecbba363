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
    /// A string or a comment that does not end where it has to.
    Open,
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
            '/' if rest.starts_with("/*") => ended(Piece::Comment, block(rest), rest),
            '"' => ended(Piece::Text, quoted(rest, '"'), rest),
            '\'' => ended(Piece::Text, quoted(rest, '\''), rest),
            '#' if rest.trim_start_matches('#').starts_with('"') => {
                ended(Piece::Text, raw(rest), rest)
            }
            '`' => ended(Piece::Text, self.text_of(rest), rest),
            '}' if self.open.last() == Some(&0) => {
                self.open.pop();
                ended(Piece::Text, self.text_of(rest), rest)
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

    /// How long the text is that begins here and ends with a backtick or goes on in a `${`.
    fn text_of(&mut self, rest: &str) -> Option<usize> {
        let mut escaped = false;
        let mut letters = rest.char_indices().skip(1).peekable();
        while let Some((at, it)) = letters.next() {
            match it {
                // Two of them stand for one.
                '`' if letters.next_if(|it| it.1 == '`').is_some() => {}
                '`' => return Some(at + 1),
                '$' if !escaped && rest[at..].starts_with("${") => {
                    self.open.push(0);
                    return Some(at + 2);
                }
                _ => escaped = it == '\\',
            }
        }
        None
    }
}

/// What ends after so many bytes, or else not at all: then it is all of the line, or of the text.
fn ended(piece: Piece, len: Option<usize>, rest: &str) -> (Piece, usize) {
    match len {
        Some(len) => (piece, len),
        None if rest.starts_with(['"', '\'']) => (Piece::Open, lines(rest)),
        None => (Piece::Open, rest.len()),
    }
}

fn comment(rest: &str) -> Piece {
    let documents = rest.starts_with("//!") || rest.starts_with("///") && !rest.starts_with("////");
    if documents { Piece::Doc } else { Piece::Comment }
}

fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// The line, and each one after it that the backslash at the end of the one before continues.
fn lines(rest: &str) -> usize {
    let mut ends = rest.match_indices('\n').map(|it| it.0);
    ends.find(|at| !rest[..*at].ends_with('\\')).unwrap_or(rest.len())
}

/// Comments of this kind may stand in each other.
fn block(rest: &str) -> Option<usize> {
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
            return Some(at);
        }
    }
    None
}

/// A text between these marks, which a backslash takes the meaning of.
fn quoted(rest: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, it) in rest.char_indices().skip(1) {
        if !escaped && it == mark {
            return Some(at + 1);
        }
        if !escaped && it == '\n' {
            return None;
        }
        escaped = it == '\\' && !escaped;
    }
    None
}

/// A text between quotes with as many `#` before and after, which nothing in it has a meaning of.
fn raw(rest: &str) -> Option<usize> {
    let marks = span(rest, |it| it == '#');
    let end = format!("\"{}", &rest[..marks]);
    let begin = marks + 1;
    Some(begin + rest[begin..].find(&end)? + end.len())
}

/// A number ends before a range or a method.
fn number(rest: &str) -> usize {
    let whole = span(rest, is_of_word);
    let tail = &rest[whole..];
    let fraction =
        tail.strip_prefix('.').filter(|it| it.starts_with(|it: char| it.is_ascii_digit()));
    let len = whole + fraction.map_or(0, |it| 1 + span(it, is_of_word));
    let is_power = !rest.starts_with("0x") && rest[..len].ends_with(['e', 'E']);
    match rest[len..].strip_prefix(['+', '-']) {
        Some(power) if is_power => len + 1 + span(power, is_of_word),
        _ => len,
    }
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
        for text in ["\"abc", "\"abc\\\ndef", "`abc\n", "/* abc /* */\n", "#\"a\"b\n", "'"] {
            assert_eq!(told(text), [(Piece::Open, text)]);
        }
        assert_eq!(told("\"abc\ndef")[0], (Piece::Open, "\"abc"));
        assert_eq!(told("`a ${b} c").last(), Some(&(Piece::Open, "} c")));
    }

    #[test]
    fn what_takes_a_meaning_is_seen() {
        assert_eq!(told(r##"#"a "b" c"#"##).len(), 1);
        assert_eq!(told(r"`a \${b}`").len(), 1);
        assert_eq!(told("```a ${b}`` and ``c ${d}`` e`").len(), 5);
        assert_eq!(told("1e-5 + 0x1e-5").len(), 5);
    }

    /// The places of words, numbers and texts as Rhai's own lexer sees them.
    fn lexed(text: &str) -> Vec<(Piece, usize)> {
        use rhai::Token;
        let begins: Vec<usize> = text
            .split_inclusive('\n')
            .scan(0, |at, line| {
                *at += line.len();
                Some(*at - line.len())
            })
            .collect();
        let engine = rhai::Engine::new_raw();
        let (tokens, control) = engine.lex([&text]);
        let (mut open, mut found) = (Vec::<usize>::new(), Vec::new());
        for (token, place) in tokens.take_while(|it| it.0 != Token::EOF) {
            let (Some(line), Some(column)) = (place.line(), place.position()) else { continue };
            let begin = begins.get(line - 1).copied().unwrap_or(text.len());
            let rest = &text[begin.min(text.len())..];
            let at = begin + rest.char_indices().nth(column - 1).map_or(rest.len(), |it| it.0);
            match &token {
                Token::InterpolatedString(_) => open.push(0),
                Token::LeftBrace | Token::MapStart => {
                    open.last_mut().into_iter().for_each(|it| *it += 1);
                }
                Token::RightBrace => {
                    open.last_mut().into_iter().for_each(|it| *it -= 1);
                    if open.last() == Some(&0) {
                        open.pop();
                        control.borrow_mut().is_within_text = true;
                    }
                }
                _ => {}
            }
            match token {
                Token::Identifier(_) | Token::Reserved(_) => found.push((Piece::Word, at)),
                Token::IntegerConstant(_) | Token::FloatConstant(_) => {
                    found.push((Piece::Number, at + usize::from(text[at..].starts_with('-'))));
                }
                Token::LexError(error) => panic!("{error} at {place:?}"),
                Token::Switch | Token::Underscore => found.push((Piece::Word, at)),
                other if other.is_standard_keyword() => found.push((Piece::Word, at)),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn the_pieces_of_every_script_here_are_those_that_rhai_sees() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let examples = std::fs::read_dir(root.join("rhaiexamples")).expect("there are examples");
        let examples = examples.map(|it| it.expect("an entry").path());
        let mut texts: Vec<String> = examples
            .filter(|it| it.extension().is_some_and(|it| it == "rhai"))
            .map(|it| std::fs::read_to_string(it).expect("a text"))
            .collect();
        let bundled = zinit_stdlib::POLICY.iter().chain(&zinit_stdlib::SCRIPT);
        texts.extend(bundled.chain(&zinit_stdlib::STRATEGIES).map(|it| it.source.to_owned()));
        assert!(texts.len() > 20, "{}", texts.len());
        for text in texts {
            let text = text.strip_prefix("#!").map_or(text.as_str(), |it| &it[line(it)..]);
            let told = pieces(text).into_iter().map(|it| (it.0, it.1.start));
            let told: Vec<_> =
                told.filter(|it| matches!(it.0, Piece::Word | Piece::Number)).collect();
            if text.contains("}``") {
                // Without its parser, the lexer loses its way there.
                continue;
            }
            let lexed = lexed(text);
            let other = told.iter().zip(&lexed).find(|it| it.0 != it.1);
            assert_eq!(other, None);
            assert_eq!(told.len(), lexed.len());
        }
    }
}

//! Scripts and commands in colours.

use std::collections::HashSet;
use std::ops::Range;

use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};
use zinit_host::policy::pieces::{Piece, is_keyword, pieces};

use super::place::LONG;
use crate::shell::lexicon::{Lexicon, Shared};
use crate::shell::slash;

/// The pieces of a script with their styles; `is_known` says whether there is a function of a name.
pub(crate) fn styles(
    text: &str,
    is_known: impl Fn(&str) -> bool,
) -> Vec<(Piece, Style, Range<usize>)> {
    let all = pieces(text);
    let word = |at: usize| all.get(at).map_or("", |(_, place)| &text[place.clone()]);
    let mut styles = Vec::with_capacity(all.len());
    for (at, (piece, place)) in all.iter().enumerate() {
        let style = match piece {
            Piece::Doc => Color::Cyan.normal(),
            Piece::Comment => Color::DarkGray.normal(),
            Piece::Text => Color::Green.normal(),
            Piece::Open => Color::Green.underline(),
            Piece::Number => Color::Yellow.normal(),
            Piece::Symbol => Style::new(),
            Piece::Word if is_keyword(word(at)) => Color::Purple.normal(),
            Piece::Word if word(at + 1) != "(" => Style::new(),
            // A function of another module, or a method: it depends on what stands before.
            Piece::Word if at > 0 && matches!(word(at - 1), "." | ":" | "fn") => {
                Color::Blue.normal()
            }
            Piece::Word if is_known(word(at)) => Color::Blue.normal(),
            Piece::Word => Color::Red.underline(),
        };
        styles.push((*piece, style, place.clone()));
    }
    styles
}

/// Colours what is typed.
pub(crate) struct Colours {
    pub(crate) lexicon: Shared,
    pub(crate) is_on: bool,
}

impl Highlighter for Colours {
    fn highlight(&self, line: &str, cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        if self.is_on && line.len() <= LONG {
            styled.buffer = painted(line, cursor, &self.lexicon.open());
        } else {
            styled.push((Style::new(), line.to_owned()));
        }
        styled
    }
}

/// A line in as few parts as there are changes of style.
fn painted(line: &str, cursor: usize, lexicon: &Lexicon) -> Vec<(Style, String)> {
    let (head, script) = head(line, lexicon);
    let begin = line.len() - script.len();
    let names = Names::of(script, lexicon);
    let mut pieces = styles(script, |it| names.has(it));
    if let Some(cursor) = cursor.checked_sub(begin) {
        for at in pair(script, cursor, &pieces).into_iter().flatten() {
            pieces[at].1 = Color::Cyan.bold().underline();
        }
    }
    let mut parts: Vec<(Style, String)> = Vec::new();
    let mut push = |style: Style, text: &str| match parts.last_mut() {
        Some(last) if last.0 == style => last.1 += text,
        _ if text.is_empty() => {}
        _ => parts.push((style, text.to_owned())),
    };
    head.into_iter().for_each(|(style, text)| push(style, text));
    let mut end = 0;
    let shown = window(script, cursor.saturating_sub(begin));
    for (_, style, place) in pieces.into_iter().filter(|it| shown.contains(&it.2.start)) {
        push(Style::new(), &script[end..place.start]);
        push(style, &script[place.clone()]);
        end = place.end;
    }
    push(Style::new(), &script[end..]);
    parts
}

/// More lines than a terminal shows on one side of the cursor. What is not seen is not worth the time that
/// it takes to paint.
const SEEN: usize = 200;

/// What of a text can be seen when the cursor is in a place of it.
fn window(text: &str, cursor: usize) -> Range<usize> {
    let (before, after) = text.split_at(text.floor_char_boundary(cursor));
    let begin = before.rmatch_indices('\n').nth(SEEN).map_or(0, |it| it.0);
    let end = after.match_indices('\n').nth(SEEN).map_or(after.len(), |it| it.0);
    begin..before.len() + end
}

/// What of a line is a command of the shell, in colour, and what of it a script.
fn head<'a>(line: &'a str, lexicon: &Lexicon) -> (Vec<(Style, &'a str)>, &'a str) {
    if let Some(name) = line.trim_end().strip_suffix('?')
        && let Ok(Some(_)) = slash::parse(line)
    {
        let name = name.trim().rsplit(['.', ':']).next().unwrap_or_default();
        let is_known = lexicon.functions().any(|it| it.name == name.trim_end_matches("()"));
        let style = if is_known { Color::Blue.normal() } else { Color::Red.underline() };
        return (vec![(style, line)], "");
    }
    if !slash::is_slash(line) {
        return (Vec::new(), line);
    }
    let begin = line.len() - line.trim_start().len();
    let end = line[begin..].find(char::is_whitespace).map_or(line.len(), |it| begin + it);
    let (command, rest) = line.split_at(end);
    let entry = slash::find(&command[begin + 1..]);
    let style = if entry.is_some() { Color::Cyan.bold() } else { Color::Red.underline() };
    if entry.is_some_and(|it| it.args.ends_with("TEXT")) {
        (vec![(style, command)], rest)
    } else {
        (vec![(style, command), (Style::new(), rest)], "")
    }
}

/// What can be called.
struct Names<'a>(HashSet<&'a str>);

impl<'a> Names<'a> {
    /// Functions, and those that this script itself defines. A variable that holds one is called by its
    /// method `call`.
    fn of(script: &'a str, lexicon: &'a Lexicon) -> Self {
        let mut names: HashSet<&str> = lexicon.functions().map(|it| it.name.as_str()).collect();
        names.extend(script.match_indices("fn ").map(|(at, begin)| {
            let rest = script[at + begin.len()..].trim_start();
            let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
            &rest[..end.unwrap_or(rest.len())]
        }));
        Self(names)
    }

    fn has(&self, name: &str) -> bool {
        // What Rhai reserves for itself is among its keywords, or among its own functions.
        self.0.contains(name) || rhai::Token::lookup_symbol_from_syntax(name).is_some()
    }
}

/// The bracket at the cursor or before it, and the one that belongs to it.
fn pair(text: &str, cursor: usize, pieces: &[(Piece, Style, Range<usize>)]) -> Option<[usize; 2]> {
    let sign = |at: usize| match pieces.get(at) {
        Some((Piece::Symbol, _, place)) => text[place.clone()].chars().next(),
        _ => None,
    };
    let is_bracket = |at: &usize| sign(*at).is_some_and(|it| "()[]{}".contains(it));
    let after = pieces.partition_point(|it| it.2.start < cursor);
    let here = pieces.get(after).filter(|it| it.2.start == cursor).map(|_| after);
    let before = after.checked_sub(1).filter(|it| pieces[*it].2.end == cursor);
    let begin = here.filter(is_bracket).or(before.filter(is_bracket))?;
    let opens = sign(begin).is_some_and(|it| "([{".contains(it));
    let mut depth = 0_isize;
    let mut ends = |at: &usize| {
        depth += match sign(*at) {
            Some('(' | '[' | '{') => 1,
            Some(')' | ']' | '}') => -1,
            _ => 0,
        };
        depth == 0
    };
    let end = if opens {
        (begin..pieces.len()).find(&mut ends)
    } else {
        (0..=begin).rev().find(&mut ends)
    };
    Some([begin, end?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use zinit_host::words::Word;

    fn lexicon() -> Lexicon {
        let word = |name: &str| Word {
            name: name.to_owned(),
            of: None,
            params: Vec::new(),
            returns: None,
            doc: String::new(),
            module: "zinit".to_owned(),
        };
        Lexicon { words: vec![word("zinit_list")], ..Lexicon::default() }
    }

    fn style(line: &str, part: &str) -> Style {
        let parts = painted(line, usize::MAX, &lexicon());
        let whole: String = parts.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(whole, line);
        parts.iter().find(|it| it.1.contains(part)).expect("it is there").0
    }

    #[test]
    fn functions_that_there_are_look_different_from_others() {
        assert_eq!(style("zinit_list()", "zinit_list"), Color::Blue.normal());
        assert_eq!(style("zinit_lits()", "zinit_lits"), Color::Red.underline());
        assert_eq!(style("zinit_lits", "zinit_lits"), Style::new());
        assert_eq!(style("fn own() {} own()", "own"), Color::Blue.normal());
        assert_eq!(style("let own = |x| x; own.call(1)", "own"), Style::new());
        assert_eq!(style("a.nosuch()", "nosuch"), Color::Blue.normal());
    }

    #[test]
    fn commands_are_known_or_not() {
        assert_eq!(style("/vars", "/vars"), Color::Cyan.bold());
        assert_eq!(style("/vras", "/vras"), Color::Red.underline());
        assert_eq!(style("/time zinit_list()", "zinit_list"), Color::Blue.normal());
        assert_eq!(style("zinit_list?", "zinit_list"), Color::Blue.normal());
        assert_eq!(style("nosuch?", "nosuch"), Color::Red.underline());
    }

    #[test]
    fn texts_have_code_in_them() {
        assert_eq!(style("`a ${let b} c`", "let"), Color::Purple.normal());
        assert_eq!(style("\"abc", "abc"), Color::Green.underline());
    }

    #[test]
    fn a_very_long_text_is_not_coloured() {
        let shared = Shared::default();
        let colours = Colours { lexicon: shared, is_on: true };
        let count = |text: &str| colours.highlight(text, 0).buffer.len();
        assert_eq!(count(&"let a = 1;\n".repeat(LONG / 11 + 1)), 1);
        assert!(count("let a = 1;\n") > 1);
    }

    #[test]
    fn of_a_long_text_what_can_be_seen_is_coloured() {
        let text = "let a = 1;\n".repeat(2_000);
        let of = |cursor| painted(&text, cursor, &lexicon());
        for cursor in [0, text.len() / 2, text.len()] {
            let parts = of(cursor);
            assert!(parts.len() < 6 * SEEN * 2, "{}", parts.len());
            assert_eq!(parts.iter().map(|it| it.1.as_str()).collect::<String>(), text);
            let at = |parts: &[(Style, String)], place: usize| {
                let mut end = 0;
                let found = parts.iter().find(|it| {
                    end += it.1.len();
                    end > place
                });
                found.map(|it| it.0)
            };
            let here = cursor.min(text.len() - 11) / 11 * 11;
            assert_eq!(at(&parts, here), Some(Color::Purple.normal()));
        }
    }

    fn paired(text: &str, cursor: usize) -> Vec<usize> {
        let all = styles(text, |_| true);
        pair(text, cursor, &all).map_or(Vec::new(), |it| it.map(|at| all[at].2.start).to_vec())
    }

    #[test]
    fn brackets_at_the_cursor_have_their_other_half_shown() {
        assert_eq!(paired("f(a[0])", 1), [1, 6]);
        assert_eq!(paired("f(a[0])", 7), [6, 1]);
        assert_eq!(paired("f(a[0])", 3), [3, 5]);
        assert_eq!(paired("f(\")\")", 1), [1, 5]);
        assert!(paired("f(a", 1).is_empty());
        assert!(paired("abc", 1).is_empty());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "how long it takes is printed")]
    fn of_a_long_paste_what_is_seen_is_painted() {
        let line = "let service_12 = new_service(`web ${1 + 2}`).exec(\"sleep 9\"); // why\n";
        let (text, lexicon) = (line.repeat(2_000), lexicon());
        for cursor in [0, text.len()] {
            let begun = std::time::Instant::now();
            let parts = painted(&text, cursor, &lexicon);
            println!("2,000 lines, {} parts: {:?}", parts.len(), begun.elapsed());
            assert!(parts.len() > 1_000 && parts.len() < 10_000, "{}", parts.len());
        }
        let begun = std::time::Instant::now();
        assert!(super::super::whole::is_whole(&text));
        println!("whole: {:?}", begun.elapsed());
    }
}

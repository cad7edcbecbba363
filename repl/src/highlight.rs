//! Scripts in colours.

use nu_ansi_term::Color;
use zinit_host::policy::pieces::{Piece, is_keyword, pieces};

use crate::render::Paint;

/// A script with its keywords, texts, numbers, comments and calls in colours; the same text where none
/// are wanted.
pub(crate) fn highlighted(text: &str, paint: Paint) -> String {
    if !paint.is_on() {
        return text.to_owned();
    }
    let (mut out, mut end) = (String::new(), 0);
    for (piece, at) in pieces(text) {
        out += &text[end..at.start];
        let word = &text[at.clone()];
        out += &match colour(piece, word, &text[at.end..]) {
            Some(colour) => paint.on(colour.normal(), word),
            None => word.to_owned(),
        };
        end = at.end;
    }
    out + &text[end..]
}

fn colour(piece: Piece, word: &str, rest: &str) -> Option<Color> {
    match piece {
        Piece::Doc => Some(Color::Cyan),
        Piece::Comment => Some(Color::DarkGray),
        Piece::Text => Some(Color::Green),
        Piece::Number => Some(Color::Yellow),
        Piece::Word if is_keyword(word) => Some(Color::Purple),
        Piece::Word if rest.starts_with('(') => Some(Color::Blue),
        Piece::Word | Piece::Symbol => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    const TEXT: &str = "fn a(b) { // c\n    \"d\" + `e ${f(1)}`\n}\n";

    #[test]
    fn without_colours_a_script_is_as_it_was() {
        assert_eq!(highlighted(TEXT, PLAIN), TEXT);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let shown = highlighted(TEXT, Paint(true));
        assert!(shown.contains("\u{1b}[35mfn\u{1b}[0m"), "{shown:?}");
        assert!(shown.contains("\u{1b}[32m`e ${\u{1b}[0m\u{1b}[34mf\u{1b}[0m("), "{shown:?}");
        let mut bare = String::new();
        for part in shown.split('\u{1b}') {
            bare +=
                part.strip_prefix('[').and_then(|it| it.split_once('m')).map_or(part, |it| it.1);
        }
        assert_eq!(bare, TEXT);
    }
}

//! Scripts in colours.

use crate::line::colour::styles;
use crate::render::Paint;

/// A script with its keywords, texts, numbers, comments and calls in colours; the same text where none
/// are wanted.
pub(crate) fn highlighted(text: &str, paint: Paint) -> String {
    if !paint.is_on() {
        return text.to_owned();
    }
    let (mut out, mut end) = (String::new(), 0);
    for (_, style, at) in styles(text, |_| true) {
        out += &text[end..at.start];
        let word = &text[at.clone()];
        out += &if style.is_plain() { word.to_owned() } else { paint.on(style, word) };
        end = at.end;
    }
    out + &text[end..]
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

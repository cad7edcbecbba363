//! The line that a refusal is about, with a mark below the place.

use std::io::{IsTerminal, stderr};

use serde_json::Value;
use zinit_host::refusal::Refusal;

use crate::shell::look::Look;
use crate::show::text::{clean, ellipsis, fill, width};
use zinit_host::sitting::INPUT;

/// How wide a line is shown where nobody tells how much room there is.
const WIDTH: usize = 160;

/// How much of a long line stands before the place.
const BEFORE: usize = 30;

/// The place where messages are shown.
pub(super) fn look() -> Look {
    let look = Look::now();
    if stderr().is_terminal() { look } else { Look { width: WIDTH, ..look } }
}

/// Where it is, the line, and the mark.
pub(super) fn drawn(refusal: &Refusal, look: Look) -> String {
    let number = |key: &str| refusal.data.get(key).and_then(Value::as_u64);
    let word = |key: &str| refusal.data.get(key).and_then(Value::as_str);
    let (Some(path), Some(line)) = (word("path"), number("line")) else {
        return String::new();
    };
    let column = number("column").unwrap_or(1).max(1);
    let mut text = String::new();
    // What was just said needs no name.
    if path != INPUT && !refusal.message.starts_with(&format!("{path}:{line}:")) {
        text += &format!("  --> {path}:{line}:{column}\n");
    }
    if let Some(source) = word("source") {
        let count = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        let place = count(column) - 1;
        let token = count(number("width").unwrap_or(1)).max(1);
        let number = line.to_string();
        let gutter = fill(0, number.len());
        let room = look.width.saturating_sub(number.len() + 4);
        let (source, mark) = marked(source.trim_end(), place, token, room, look);
        text += &format!(" {number} | {source}\n {gutter} | {mark}\n");
    }
    text
}

/// A line and the mark below `token` characters of it from `place` on; of a line without room, what is around
/// the place.
fn marked(line: &str, place: usize, token: usize, room: usize, look: Look) -> (String, String) {
    let shown = |it: char| if it == '\t' { it.to_string() } else { clean(&it.to_string(), look) };
    let mut pieces: Vec<String> = line.chars().map(shown).collect();
    let wide = |it: &[String]| it.iter().map(|it| width(it)).sum::<usize>();
    let mut place = place.min(pieces.len());
    if wide(&pieces) > room {
        // The width of a tab depends on where it stands.
        pieces.iter_mut().filter(|it| *it == "\t").for_each(|it| *it = " ".to_owned());
        let end = ellipsis(look).to_owned();
        let first = if place > BEFORE.min(room / 2) { place - BEFORE.min(room / 2) } else { 0 };
        let mut kept = if first > 0 { vec![end.clone()] } else { Vec::new() };
        place = place - first + kept.len();
        let rest = &pieces[first..];
        let left = room.saturating_sub(wide(&kept));
        kept.extend(begin(rest, left, &end));
        pieces = kept;
    }
    let before = pieces[..place.min(pieces.len())].iter();
    let blank = |it: &String| if it == "\t" { it.clone() } else { fill(0, width(it)) };
    let mut mark: String = before.map(blank).collect();
    let under = pieces.iter().skip(place).take(token);
    mark += &"^".repeat(under.map(|it| width(it)).sum::<usize>().max(1));
    (pieces.concat(), mark)
}

/// As much from the begin as there is room for, and an ellipsis if that is not all.
fn begin(pieces: &[String], room: usize, end: &str) -> Vec<String> {
    let widths = || pieces.iter().map(|it| width(it));
    if widths().sum::<usize>() <= room {
        return pieces.to_vec();
    }
    let mut left = room.saturating_sub(width(end));
    let fits = widths().take_while(|it| {
        let has_room = *it <= left;
        left = left.saturating_sub(*it);
        has_room
    });
    let count = fits.count();
    let mut kept = pieces[..count].to_vec();
    kept.push(end.to_owned());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{ASCII, NARROW};
    use zinit_host::refusal::Kind;

    fn at(path: &str, source: &str, column: usize, width: Option<usize>, look: Look) -> String {
        let it = Refusal::new(Kind::Internal, "no")
            .with("path", path)
            .with("line", 7)
            .with("column", column)
            .with("source", source);
        drawn(&width.into_iter().fold(it, |it, width| it.with("width", width)), look)
    }

    #[test]
    fn the_mark_is_as_wide_as_the_token() {
        let told = at("a.rhai", "let x = abc(1);", 9, Some(3), NARROW);
        assert_eq!(told, "  --> a.rhai:7:9\n 7 | let x = abc(1);\n   |         ^^^\n");
        let told = at("input", "let x = abc(1);", 9, None, NARROW);
        assert_eq!(told, " 7 | let x = abc(1);\n   |         ^\n");
        assert!(at("input", "ab", 3, Some(9), NARROW).ends_with("   |   ^\n"), "past the end");
    }

    #[test]
    fn tabs_and_wide_characters_before_the_place_are_counted() {
        let told = at("input", "\t\"日本\" + ab", 9, Some(2), NARROW);
        assert_eq!(told, " 7 | \t\"日本\" + ab\n   | \t         ^^\n");
        let told = at("input", "日本", 1, Some(2), NARROW);
        assert!(told.ends_with("   | ^^^^\n"), "{told}");
        let told = at("input", "a\x1b[2Jb", 6, None, NARROW);
        assert_eq!(told, " 7 | a\\u{1b}[2Jb\n   |           ^\n");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("{}abc{}", "x".repeat(2_500), "y".repeat(2_500));
        for look in [NARROW, ASCII] {
            let told = at("input", &source, 2_501, Some(3), look);
            let lines: Vec<&str> = told.lines().collect();
            assert!(lines.iter().all(|it| width(it) <= 80), "{told}");
            let mark = lines[1].find('^').expect("a mark");
            let begin: String = lines[0].chars().skip(mark).take(3).collect();
            assert_eq!((begin.as_str(), &lines[1][mark..]), ("abc", "^^^"), "{told}");
        }
        let told = at("input", &source, 2, None, NARROW);
        assert!(told.starts_with(" 7 | xxx") && told.contains("x…\n   |  ^\n"), "{told}");
        let told = at("input", &source, 5_003, None, NARROW);
        assert!(told.contains(" 7 | …") && told.contains("yy\n"), "{told}");
        let huge = at("input", &source, 99_999, None, Look { width: 3, ..NARROW });
        assert!(huge.contains('^'), "{huge}");
    }
}

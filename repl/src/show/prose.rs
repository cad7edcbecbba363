//! Documentation, which is written in Markdown, as it is read on a terminal.

use nu_ansi_term::Color;

use super::text::{clean, fill, width, wrapped};
use crate::highlight::highlighted;
use crate::render::Paint;
use crate::shell::look::Look;

/// A part of a documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// A paragraph, or an entry of a list.
    Text(String),
    /// A heading.
    Head(&'a str),
    /// Lines of code.
    Code(Vec<&'a str>),
}

/// A documentation with its examples, `indent` columns from the left.
pub(crate) fn drawn(doc: &str, indent: usize, look: Look) -> String {
    let mut out = String::new();
    for part in parts(doc) {
        let gap = if out.is_empty() { "" } else { "\n" };
        match part {
            Part::Text(text) => {
                out += gap;
                out += &paragraph(&text, indent, look);
            }
            // What is said of examples is said by a heading of our own.
            Part::Head(head) if head.to_lowercase().starts_with("example") => {}
            Part::Head(head) => {
                let head = look.paint.bold(&clean(head, look));
                out += &format!("{gap}{}{head}\n", fill(0, indent));
            }
            Part::Code(lines) => {
                let code = clean_lines(&lines, look);
                let margin = fill(0, indent);
                out += &format!("{gap}{margin}{}\n", look.paint.bold("Examples:"));
                for line in highlighted(&code, look.paint).lines() {
                    out += &format!("{margin}  {line}\n");
                }
            }
        }
    }
    out
}

fn parts(doc: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut text, mut code) = (String::new(), None);
    for line in doc.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let is_entry = line.trim_start().starts_with("* ") || line.trim_start().starts_with("- ");
        if is_fence || line.trim().is_empty() || line.starts_with('#') || is_entry {
            let whole = std::mem::take(&mut text);
            parts.extend(Some(Part::Text(whole)).filter(|it| *it != Part::Text(String::new())));
        }
        match &mut code {
            Some(_) if is_fence => parts.extend(code.take().map(Part::Code)),
            Some(lines) => lines.push(line),
            None if is_fence => code = Some(Vec::new()),
            None if line.starts_with('#') => parts.push(Part::Head(line.trim_matches(['#', ' ']))),
            None if line.trim().is_empty() => {}
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    parts.extend(Some(Part::Text(text)).filter(|it| *it != Part::Text(String::new())));
    parts.extend(code.map(Part::Code));
    parts
}

fn clean_lines(lines: &[&str], look: Look) -> String {
    lines.iter().map(|it| clean(it, look) + "\n").collect()
}

/// A paragraph in lines. What comes after the mark of a list stands below its begin.
fn paragraph(text: &str, indent: usize, look: Look) -> String {
    let text = clean(&text.split_whitespace().collect::<Vec<_>>().join(" "), look);
    let hang = if text.starts_with("* ") || text.starts_with("- ") { 2 } else { 0 };
    let lines = wrapped(&text, look.width.saturating_sub(indent + hang + 1));
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        out += &fill(0, if at > 0 { indent + hang } else { indent });
        out += line;
        out.push('\n');
    }
    spans(&out, look.paint)
}

/// A text in which what stands between backticks is in a colour; without colours it keeps the backticks.
pub(crate) fn spans(text: &str, paint: Paint) -> String {
    if !paint.is_on() || !text.matches('`').count().is_multiple_of(2) {
        return text.to_owned();
    }
    let is_code = |at: usize| at % 2 == 1;
    let part = |(at, it): (usize, &str)| match it {
        it if is_code(at) => {
            // A colour does not reach over the margin of the next line.
            let lines = it.split('\n').map(|it| {
                let margin = it.len() - it.trim_start().len();
                format!("{}{}", &it[..margin], paint.on(Color::Cyan.normal(), &it[margin..]))
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        it => it.to_owned(),
    };
    text.split('`').enumerate().map(part).collect()
}

/// A text beside what has been written already in `used` columns: its lines begin at column `at`.
pub(crate) fn beside(text: &str, used: usize, at: usize, look: Look) -> String {
    let lines = wrapped(&clean(text, look), look.width.saturating_sub(at + 1).max(20));
    let mut out = if used + 2 > at { format!("\n{}", fill(0, at)) } else { fill(used, at) };
    out += &lines.join(&format!("\n{}", fill(0, at)));
    debug_assert!(width(&out) >= width(text), "nothing is left out");
    spans(&out, look.paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{COLOUR, NARROW};

    const DOC: &str = "Says `one`. And\nmore:\n\n* a list\n  of two\n* lines\n\n# Errors\nNone.\n\
        # Example\n\n```rhai\nlet x = 1;\n  x\n```\n";

    #[test]
    fn a_documentation_is_text_lists_headings_and_examples() {
        let expected = "  Says `one`. And more:\n\n  * a list of two\n\n  * lines\n\n  Errors\n\n  \
            None.\n\n  Examples:\n    let x = 1;\n      x\n";
        assert_eq!(drawn(DOC, 2, NARROW), expected);
    }

    #[test]
    fn code_in_a_text_has_a_colour_instead_of_its_marks() {
        assert_eq!(spans("a `b` c", COLOUR.paint), "a \x1b[36mb\x1b[0m c");
        assert_eq!(spans("a `b\n  c`", COLOUR.paint), "a \x1b[36mb\x1b[0m\n  \x1b[36mc\x1b[0m");
        assert_eq!(spans("a ` b", COLOUR.paint), "a ` b");
        assert_eq!(spans("a `b` c", NARROW.paint), "a `b` c");
        let examples = "\x1b[1mExamples:\x1b[0m\n    \x1b[35mlet\x1b[0m";
        assert!(drawn(DOC, 2, COLOUR).contains(examples), "{}", drawn(DOC, 2, COLOUR));
    }
}

//! The keys and the commands of the shell.

use super::cell::{Ink, painted};
use super::prose::beside;
use super::text::{clean, fill, width};
use crate::shell::look::Look;
use crate::shell::slash;

/// Keys and commands, with what they do.
pub(crate) fn help(keys: &[(&str, &str)], look: Look) -> String {
    let mut out = heading("Commands", look);
    let head = |it: &slash::Entry| format!("/{} {}", it.name, it.args).trim_end().to_owned();
    let entries: Vec<(String, &str)> =
        slash::ENTRIES.iter().map(|it| (head(it), it.help)).collect();
    let wide = entries.iter().map(|it| width(&it.0)).max().unwrap_or(0);
    for (name, help) in &entries {
        out += &fill(0, 2);
        out += &painted(name, Ink::Head, look.paint);
        out += &beside(help, 2 + width(name), 2 + wide + 2, look);
        out.push('\n');
    }
    if !keys.is_empty() {
        out += &heading("Keys", look);
        out += &in_columns(keys, look);
    }
    out
}

fn heading(text: &str, look: Look) -> String {
    painted(text, Ink::Faint, look.paint) + "\n"
}

/// Keys beside each other, as many as fit.
fn in_columns(keys: &[(&str, &str)], look: Look) -> String {
    let columns = (1..=keys.len()).map(|down| keys.chunks(down).map(Column::new).collect());
    let fits = |it: &Vec<Column<'_>>| it.iter().map(Column::width).sum::<usize>() <= look.width;
    let all: Vec<Column<'_>> =
        columns.into_iter().find(fits).unwrap_or_else(|| vec![Column::new(keys)]);
    let rows = all.iter().map(|it| it.keys.len()).max().unwrap_or(0);
    let mut out = String::new();
    for row in 0..rows {
        let mut blank = String::new();
        for column in &all {
            let Some((key, help)) = column.keys.get(row) else { continue };
            let head = painted(&clean(key, look), Ink::Head, look.paint);
            let rest = fill(width(key), column.key + 2);
            out += &format!("{blank}  {head}{rest}{}", clean(help, look));
            blank = fill(width(help), column.help);
        }
        out.push('\n');
    }
    out
}

/// Keys below each other, and how wide they are.
struct Column<'a> {
    keys: &'a [(&'a str, &'a str)],
    key: usize,
    help: usize,
}

impl<'a> Column<'a> {
    fn new(keys: &'a [(&'a str, &'a str)]) -> Self {
        let widest = |of: fn(&(&str, &str)) -> usize| keys.iter().map(of).max().unwrap_or(0);
        Self { keys, key: widest(|it| width(it.0)), help: widest(|it| width(it.1)) }
    }

    fn width(&self) -> usize {
        self.key + self.help + 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{NARROW, WIDE};

    const KEYS: [(&str, &str); 8] = [
        ("Tab", "completes what is said"),
        ("Up, Down", "what was said before"),
        ("Ctrl+R", "searches that"),
        ("Ctrl+O", "opens $EDITOR"),
        ("Alt+Enter", "begins a new line"),
        ("Ctrl+C", "gives up the text, or ends it"),
        ("Ctrl+L", "clears the screen"),
        ("Ctrl+D", "leaves"),
    ];

    #[test]
    fn the_help_fits_a_small_terminal_whole() {
        let text = help(&KEYS, NARROW);
        assert!(text.lines().count() < NARROW.height, "{text}");
        assert!(text.lines().all(|it| width(it) <= NARROW.width), "{text}");
        for entry in slash::ENTRIES {
            assert!(text.contains(&format!("  /{}", entry.name)), "{}", entry.name);
        }
        assert!(KEYS.iter().all(|it| text.contains(it.0) && text.contains(it.1)), "{text}");
        assert!(help(&KEYS, WIDE).lines().count() < text.lines().count());
    }
}

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
    let wide_key = keys.iter().map(|it| width(it.0)).max().unwrap_or(0);
    let wide_help = keys.iter().map(|it| width(it.1)).max().unwrap_or(0);
    let wide = wide_key + 2 + wide_help;
    let across = (look.width / (wide + 2)).max(1);
    let down = keys.len().div_ceil(across);
    let mut out = String::new();
    for row in 0..down {
        let mut blank = String::new();
        for (key, help) in keys.iter().skip(row).step_by(down) {
            let head = painted(&clean(key, look), Ink::Head, look.paint);
            let rest = fill(width(key), wide_key + 2);
            out += &format!("{blank}  {head}{rest}{}", clean(help, look));
            blank = fill(width(help), wide_help);
        }
        out.push('\n');
    }
    out
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

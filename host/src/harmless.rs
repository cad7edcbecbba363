//! Text of services on a terminal.

/// What a service wrote, as a terminal may see it: it may colour its own line, and nothing else. What
/// would move the cursor, clear the screen or set a title is shown as `^[` and the like.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.trim_end_matches('\r');
    while let Some(it) = rest.chars().next() {
        let length = colour_len(rest).unwrap_or(it.len_utf8());
        match it {
            '\t' => out.push(it),
            '\u{1b}' if length > 1 => out += &rest[..length],
            '\0'..='\u{1f}' | '\u{7f}' => {
                out.push('^');
                out.push(char::from(it as u8 ^ 0x40));
            }
            '\u{80}'..='\u{9f}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(it),
        }
        rest = &rest[length..];
    }
    out
}

/// How long the sequence is that begins here, if all it does is to change the colour.
fn colour_len(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|it: char| !(it.is_ascii_digit() || it == ';' || it == ':'))?;
    inner[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_can_colour_its_line_and_do_nothing_else_to_the_terminal() {
        let red = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(harmless(red), red);
        assert_eq!(harmless("a\tb\r"), "a\tb");
        assert_eq!(harmless("10%\r100%"), "10%^M100%");
        assert_eq!(harmless("\u{1b}[2J\u{1b}]0;title\u{7}"), "^[[2J^[]0;title^G");
        assert_eq!(harmless("\u{9b}2J \u{7f} \u{1b}[31"), "\u{fffd}2J ^? ^[[31");
    }
}

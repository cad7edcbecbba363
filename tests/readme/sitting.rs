//! What the README shows of the prompt: each line is typed in a terminal, and the screen is compared.

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::session::is_like;

/// What goes on a line that goes on.
const MORE: &str = "   ... ";

/// Types each line of a session that follows a prompt; the screen must then be as the session is shown.
pub(crate) fn follows(home: &Home, session: &str) -> Result<(), String> {
    let screen = Screen::new(home, 100, 200);
    screen.enters("clear; zinit").prompts();
    let mut count = 0;
    for line in session.lines() {
        if let Some(text) = line.strip_prefix(MORE) {
            screen.shows(MORE.trim_end()).enters(text);
        } else if let Some(text) = typed(line) {
            // The prompt before it stands there until what was typed last is taken.
            count += 1;
            // The screen has no blanks at the end of a line.
            let is_prompt = |it: &&str| it.starts_with("zinit") && it.contains('>');
            let is_there = |it: &Screen| it.text().lines().filter(is_prompt).count() >= count;
            screen.until("the next prompt", is_there).prompts().enters(text);
        }
    }
    screen.is_left();
    let seen: String = screen.text().trim_end().lines().map(|it| left_of(it) + "\n").collect();
    let seen = seen.rsplit_once("around$").map_or(seen.as_str(), |(it, _)| it).to_owned();
    if is_like(&seen, session) { Ok(()) } else { Err(format!("the screen is:\n{seen}")) }
}

/// What is typed in this line, if it begins with a prompt.
fn typed(line: &str) -> Option<&str> {
    line.starts_with("zinit").then(|| line.split_once("> "))?.map(|(_, text)| text)
}

/// A line without the duration at its right.
fn left_of(line: &str) -> String {
    let prompted = line.starts_with("zinit") && typed(line).is_some();
    let end = line.find("      ").filter(|_| prompted).unwrap_or(line.len());
    line[..end].trim_end().to_owned()
}

#[test]
fn a_session_is_typed_and_compared() {
    let home = Home::new();
    let banner = "\
╔═══════════════════════════════════════════════════════════╗
...
";
    let quits = "zinit(no server)> /quit\nGoodbye!\n";
    assert_eq!(follows(&home, &format!("{banner}{quits}")), Ok(()));
    assert!(follows(&home, &format!("nothing like it\n{quits}")).is_err());
}

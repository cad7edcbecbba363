//! What was said before, and in other sessions.

use std::fs;

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::alone;

#[test]
fn what_was_said_is_there_in_the_next_session() {
    let (home, screen) = alone();
    screen.runs("40 + 2");
    screen.runs(" 1000 + 1 // a secret");
    screen.runs("44 + 4");
    screen.enters("/quit").is_left();
    let file = fs::read_to_string(home.root.join("var/zinit/history")).expect("there is a history");
    assert!(file.contains("40 + 2") && !file.contains("secret"), "{file}");
    screen.enters("clear; zinit").prompts().presses("Up").shows("> /quit");
    screen.presses("Up").shows("> 44 + 4").presses("Up").shows("> 40 + 2").presses("Enter");
    screen.shows("=> 42").prompts();
    let said = screen.runs("/history 4");
    assert!(said.contains("40 + 2") && said.contains("44 + 4"), "{said}");
    assert!(!said.contains("secret") && !said.contains("/quit"), "{said}");
}

#[test]
fn who_is_killed_has_a_history_all_the_same() {
    let (home, screen) = alone();
    screen.runs("40 + 2");
    screen.signals(nix::sys::signal::Signal::SIGKILL).is_left();
    let screen = Screen::zinit(&home, 80, 24);
    screen.presses("Up").shows("> 40 + 2");
}

#[test]
fn ctrl_r_searches() {
    let (_home, screen) = alone();
    screen.runs("let needle = 42");
    screen.runs("1 + 1");
    screen.presses("C-r").says("need").shows("let needle = 42").presses("Enter");
    screen.until("taken", |it| {
        it.presses("Enter");
        it.runs("needle") == "=> 42"
    });
}

#[test]
fn the_history_hints_and_right_takes_the_hint() {
    let (_home, screen) = alone();
    screen.runs("let first_of_all = 42");
    screen.enters("/clear").prompts().says("let fir").shows("let first_of_all = 42");
    screen.presses("Right").presses("Enter").prompts();
    assert_eq!(screen.runs("first_of_all"), "=> 42");
}

#[test]
fn two_sessions_share_the_history() {
    let home = Home::new();
    let (one, other) = (Screen::zinit(&home, 80, 24), Screen::zinit(&home, 80, 24));
    for number in 0..5 {
        one.runs(&format!("\"one {number}\""));
        other.runs(&format!("\"other {number}\""));
    }
    one.enters("/quit").is_left();
    other.enters("/quit").is_left();
    let file = fs::read_to_string(home.root.join("var/zinit/history")).expect("there is a history");
    for number in 0..5 {
        for said in [format!("\"one {number}\""), format!("\"other {number}\"")] {
            assert_eq!(file.lines().filter(|it| **it == said).count(), 1, "{said}: {file}");
        }
    }
}

#[test]
fn a_text_of_several_lines_comes_back_whole() {
    let (_home, screen) = alone();
    screen.enters("fn late(a) {").shows("   ...").enters("a + 2").enters("}").prompts();
    screen.enters("/clear").prompts().presses("Up Up").shows("fn late(a) {").shows("a + 2");
    screen.presses("Enter").prompts();
    assert_eq!(screen.runs("late(40)"), "=> 42");
}

//! What is drawn: tables, colours, pages.

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::{alone, served};

/// Whether a screen has an escape sequence that sets a colour; bold and the like are none.
fn has_colours(seen: &str) -> bool {
    let sequences = seen.split("\x1b[").skip(1).filter_map(|it| it.split_once('m'));
    let mut numbers = sequences.flat_map(|(it, _)| it.split([';', ':']));
    numbers.any(|it| it.parse().is_ok_and(|it: u32| matches!(it, 30..=38 | 40..=48 | 90..=107)))
}

#[test]
fn an_array_of_maps_is_a_table() {
    let (_home, screen) = served();
    let said = screen.runs("zinit_status_all()");
    let rows: Vec<&str> = said.lines().collect();
    let row = |name: &str| rows.iter().position(|it| it.contains(name) && it.contains("Running"));
    let head = rows.iter().position(|it| it.contains("name") && it.contains("state"));
    assert!(head.is_some() && head < row("web") && row("web") < row("worker"), "{said}");
    assert!(!said.contains("#{"), "{said}");
    assert!(rows.iter().all(|it| it.chars().count() <= 80), "{said}");
    screen.resizes(200, 50);
    let said = screen.runs("zinit_status_all()");
    assert!(said.contains("web") && said.contains("worker"), "{said}");
}

#[test]
fn states_have_colours_unless_nobody_wants_them() {
    let (home, screen) = served();
    screen.runs("zinit_status_all()");
    assert!(has_colours(&screen.with_colours()), "{}", screen.with_colours());
    let pale = Screen::with(&home, 80, 24, &[("NO_COLOR", "1")]);
    pale.enters("zinit").prompts();
    pale.runs("let a = zinit_status_all(); a");
    pale.runs("throw `${a.len()}`");
    pale.says("fn f() { \"text\" }").shows("text");
    assert!(!has_colours(&pale.with_colours()), "{:?}", pale.with_colours());
}

#[test]
fn what_is_typed_has_colours() {
    let (_home, screen) = alone();
    screen.enters("/clear").prompts().says("let a = \"text\"; 42").shows("42");
    let seen = screen.with_colours();
    let line = seen.lines().find(|it| it.contains("let")).expect("it is shown");
    let (_, typed) = line.split_once("> ").unwrap_or(("", line));
    assert!(typed.matches("\x1b[").count() >= 3, "{line:?}");
}

#[test]
fn a_long_result_is_shown_a_page_at_a_time() {
    let (_home, screen) = alone();
    screen.runs("let rows = []; for i in 100..400 { rows.push(#{ number: i, twice: i * 2 }) }");
    screen.enters("/clear").prompts().enters("rows").shows("105");
    screen.lacks("399").presses("Space").shows("125");
    screen.presses("q").prompts();
    assert_eq!(screen.runs("rows.len()"), "=> 300");
}

#[test]
fn a_short_value_stands_after_an_arrow() {
    let (_home, screen) = alone();
    for (text, shown) in
        [("40 + 2", "42"), ("\"word\"", "word"), ("true", "true"), ("[1, 2]", "[1, 2]")]
    {
        assert_eq!(screen.runs(text).replace('"', ""), format!("=> {shown}"), "{text}");
    }
    assert_eq!(screen.runs("()"), "");
}

#[test]
fn it_is_drawn_on_a_large_terminal_as_well() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    home.up("web");
    let screen = Screen::zinit(&home, 200, 50);
    let said = screen.runs("zinit_status(\"web\")");
    assert!(said.contains("Running") && said.contains("web"), "{said}");
}

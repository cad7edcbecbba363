//! What is drawn: tables, colours, pages.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

/// The colour in which a part of what is being typed is written, as the number of its escape sequence.
fn colour(seen: &str, part: &str) -> Option<u32> {
    // What was typed before there was a prompt is on the screen as well, as the terminal has shown it.
    let line = seen.lines().rfind(|it| it.contains("zinit(")).unwrap_or_default();
    let (before, _) = line.split_once(part)?;
    let sequences = before.split("\x1b[").skip(1).filter_map(|it| it.split_once('m'));
    let numbers = sequences.flat_map(|(it, _)| it.split(';')).map(|it| it.parse().unwrap_or(0));
    numbers.fold(None, |colour, it| match it {
        0 | 39 => None,
        30..=37 | 90..=97 => Some(it),
        _ => colour,
    })
}

#[test]
fn what_is_typed_has_colours() {
    let (_home, screen) = alone();
    let typed = "let odd = \"text\" + zinit_list() + nosuch(42)";
    screen.enters("/clear").prompts().says(typed).shows("nosuch(42)");
    screen.until("colours", |it| colour(&it.with_colours(), "nosuch") == Some(31));
    let seen = screen.with_colours();
    let told = ["let", "odd", "\"text", "zinit_list", "42"].map(|it| colour(&seen, it));
    assert_eq!(told, [Some(35), None, Some(32), Some(34), Some(33)], "{seen:?}");
    // A variable is no function, whatever it holds.
    screen.presses("C-c").prompts().runs("let closure = |it| it");
    screen.enters("/clear").prompts().says("closure(1)").shows("closure(1)");
    screen.until("colours", |it| colour(&it.with_colours(), "closure") == Some(31));
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
fn a_pager_of_ones_own_shows_a_long_result() {
    let home = Home::new();
    home.write("mine", "#!/bin/sh\ncat > paged\necho \"paged by $1\"\n");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.root.join("mine"), mode).expect("the home is writable");
    let pager = format!("{} me", home.root.join("mine").display());
    let rows = "let rows = []; for i in 100..400 { rows.push(#{ number: i, twice: i * 2 }) }";
    let screen = Screen::with(&home, 80, 24, &[("PAGER", &pager)]);
    screen.enters("zinit").prompts().runs(rows);
    assert_eq!(screen.runs("rows"), "paged by me");
    let paged = fs::read_to_string(home.root.join("paged")).expect("the pager has run");
    assert!((100..400).all(|it| paged.contains(&it.to_string())), "{paged}");
    assert_eq!(screen.runs("rows.len()"), "=> 300", "what fits needs none");

    let screen = Screen::with(&home, 80, 24, &[("PAGER", "no-such-pager")]);
    screen.enters("zinit").prompts().runs(rows);
    assert!(screen.runs("rows").contains("399"), "without a pager it is printed");
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

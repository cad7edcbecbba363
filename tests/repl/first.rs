//! The script that is run before the first prompt.

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::alone;

/// A home in which this is run first, and `zinit` in a terminal in it.
fn first(script: &str) -> (Home, Screen) {
    let home = Home::new();
    home.write("cfg/zinit_repl.rhai", script);
    let screen = Screen::zinit(&home, 80, 24);
    (home, screen)
}

#[test]
fn what_the_first_script_leaves_is_there() {
    let (_home, screen) = first("fn twice(n) { n * 2 }\nlet base = 20;\nprint(`set ${\"up\"}`);\n");
    screen.shows("set up").lacks("error").lacks("=> ");
    assert_eq!(screen.runs("twice(base) + 2"), "=> 42");
}

#[test]
fn a_first_script_that_fails_tells_the_place_and_keeps_nobody_out() {
    let (_home, screen) = first("let base = 40;\nlet wrong = nothing;\nlet never = 1;\n");
    screen.shows("there is no variable `nothing`").shows(" 2 | let wrong = nothing;");
    assert!(screen.all().replace('\n', "").contains("zinit_repl.rhai:2:13"), "{}", screen.all());
    assert_eq!(screen.runs("base + 2"), "=> 42");
    let (_home, screen) = first("let base = ;\n");
    screen.shows(" 1 | let base = ;");
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

#[test]
fn a_first_script_that_is_missing_is_not_missed() {
    let (_home, screen) = alone();
    screen.lacks("zinit_repl").lacks("error");
}

#[test]
fn a_first_script_that_never_ends_is_interrupted() {
    let home = Home::new();
    home.write("cfg/zinit_repl.rhai", "print(`beg${\"un\"}`); loop {}\n");
    let screen = Screen::new(&home, 80, 24);
    screen.enters("zinit").shows("begun").presses("C-c").prompts();
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

//! The session as a script: it does what the session did.

use std::fs;

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::alone;

/// Saves the session, runs the script, and compares what it prints.
#[track_caller]
fn does(home: &Home, screen: &Screen, expected: &str) {
    let said = screen.runs("/save made.rhai");
    assert!(said.contains("made.rhai") && !said.contains("error"), "{said}");
    let script = fs::read_to_string(home.root.join("made.rhai")).expect("it was saved");
    let out = home.run("zinit", ["made.rhai"]);
    let said = zinit_tests::daemon::text(&out.stdout);
    assert_eq!(said, expected, "{}\n{script}", zinit_tests::daemon::text(&out.stderr));
}

#[test]
fn a_function_that_was_defined_again_is_saved() {
    let (home, screen) = alone();
    screen.runs("fn answer() { 41 }");
    screen.runs("fn twice() { answer() * 2 }");
    screen.runs("fn answer() { 42 }");
    screen.runs("print(answer())");
    screen.runs("print(twice())");
    does(&home, &screen, "42\n84\n");
}

#[test]
fn what_a_text_left_that_failed_half_way_is_saved() {
    let (home, screen) = alone();
    assert!(screen.runs("let base = 40; let wrong = nothing; let never = 1").contains("nothing"));
    screen.runs("print(base + 2)");
    does(&home, &screen, "42\n");
}

#[test]
fn what_was_loaded_is_saved() {
    let (home, screen) = alone();
    home.write("near.rhai", "fn twice(n) { n * 2 }\n");
    let lib =
        "#!/usr/bin/env zinit\nimport \"near\" as near;\nfn thrice(n) { n * 3 }\nlet base = 14;\n";
    home.write("lib.rhai", lib);
    assert_eq!(screen.runs("/load lib.rhai"), "");
    screen.runs("print(thrice(base))");
    screen.runs("print(near::twice(22))");
    does(&home, &screen, "42\n44\n");
}

#[test]
fn what_the_first_script_left_is_saved() {
    let home = Home::new();
    home.write("cfg/zinit_repl.rhai", "fn twice(n) { n * 2 }\nlet base = 21;\n");
    let screen = Screen::zinit(&home, 80, 24);
    screen.runs("print(twice(base))");
    does(&home, &screen, "42\n");
}

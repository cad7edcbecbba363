//! The commands of the shell itself.

use std::fs;
use std::path::Path;

use zinit_tests::screen::Screen;

use crate::{alone, served};

/// Waits until a script was written there, and returns it.
fn saved(file: &Path) -> String {
    fs::read_to_string(file).expect("it was saved")
}

/// Asks for something that may be shown a page at a time, and returns what was seen first.
fn first_page(screen: &zinit_tests::screen::Screen, text: &str, part: &str) -> String {
    screen.prompts().enters("/clear").prompts().enters(text).shows(part);
    let seen = screen.text();
    screen.until("the prompt", |it| {
        let seen = it.text();
        let last = seen.trim_end().lines().last().unwrap_or_default();
        if !last.starts_with("zinit(") {
            it.presses("q");
        }
        last.starts_with("zinit(")
    });
    screen.presses("C-c").prompts();
    seen
}

#[test]
fn help_lists_every_command() {
    let (_home, screen) = alone();
    screen.resizes(200, 60).enters("/clear").prompts();
    let seen = first_page(&screen, "/help", "/quit");
    let commands =
        "help functions builder doc source vars history load save time watch edit clear quit";
    for command in commands.split(' ') {
        assert!(seen.contains(&format!("/{command}")), "/{command}: {seen}");
    }
}

#[test]
fn functions_are_listed_and_filtered() {
    let (_home, screen) = alone();
    let seen = first_page(&screen, "/functions zinit_st", "zinit_status_all");
    assert!(seen.contains("zinit_start") && !seen.contains("xinit_"), "{seen}");
    let seen = first_page(&screen, "/functions nothing_like_it", "error");
    assert!(seen.contains("nothing_like_it"), "{seen}");
    first_page(&screen, "/builder", "Service.after");
}

#[test]
fn a_function_is_explained_with_its_examples() {
    let (_home, screen) = alone();
    for ask in ["/doc zinit_is_running", "zinit_is_running?"] {
        let seen = first_page(&screen, ask, "zinit_is_running(name");
        assert!(
            seen.matches("zinit_is_running").count() > 2,
            "the text, the head, an example: {seen}"
        );
    }
    let seen = first_page(&screen, "/doc zinit_is_runing", "error");
    assert!(seen.contains("zinit_is_running"), "what may have been meant: {seen}");
}

#[test]
fn the_text_of_a_function_is_shown() {
    let (_home, screen) = alone();
    first_page(&screen, "/source zinit_is_running", "fn zinit_is_running(name)");
    screen.runs("fn mine(a) { a + 40 }");
    first_page(&screen, "/source mine", "a + 40");
}

#[test]
fn variables_are_listed_with_their_values() {
    let (_home, screen) = alone();
    screen.runs("let number = 42; let name = \"web\"; const FIXED = true;");
    let said = screen.runs("/vars");
    for part in ["number", "42", "name", "web", "FIXED", "true"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn clear_leaves_the_prompt_alone() {
    let (_home, screen) = alone();
    screen.runs("40 + 2");
    screen.enters("/clear").loses("=> 42").prompts();
    assert_eq!(screen.text().trim().lines().count(), 1, "{}", screen.text());
}

#[test]
fn what_was_said_is_saved_as_a_script_that_does_the_same() {
    let (home, screen) = alone();
    screen.runs("fn twice(n) { n * 2 }");
    screen.runs("let x = 20");
    screen.runs("throw \"this fails\"");
    screen.says("x + ").presses("C-c").prompts();
    screen.runs("x += 1");
    screen.runs("print(`x is ${twice(x)}`)");
    screen.runs("if x > 1 { print(\"more\") }");
    assert!(screen.runs("/save made.rhai").contains("made.rhai"));
    let script = saved(&home.root.join("made.rhai"));
    assert!(script.starts_with("#!/usr/bin/env zinit\n"), "{script}");
    assert_eq!(home.zinit(["made.rhai"]), "x is 42\nmore\n", "{script}");
    assert_eq!(home.zinit(["check", "made.rhai"]).matches("error").count(), 0);
    assert!(screen.runs("/save /no/such/place").contains("error"));
}

#[test]
fn a_script_is_loaded_and_leaves_its_functions_and_variables() {
    let (home, screen) = alone();
    home.write("lib.rhai", "#!/usr/bin/env zinit\nfn thrice(n) { n * 3 }\nlet base = 14;\n");
    screen.runs("/load ~/lib.rhai");
    assert_eq!(screen.runs("thrice(base)"), "=> 42");
    home.write("bad.rhai", "let fine = 1;\nlet wrong = nothing;\n");
    let said = screen.runs("/load bad.rhai");
    assert!(said.contains("nothing") && said.contains("2"), "{said}");
    assert!(screen.runs("/load absent.rhai").contains("absent.rhai"));
}

#[test]
fn a_text_is_timed() {
    let (_home, screen) = alone();
    let said = screen.runs("/time sleep_ms(300); 40 + 2");
    assert!(said.contains("=> 42") && said.contains("It took ") && said.ends_with('s'), "{said}");
}

#[test]
fn a_text_is_watched_until_ctrl_c() {
    let (home, screen) = alone();
    // What stands behind the last such word.
    let number = |it: &Screen, word: &str| {
        let text = it.text();
        let digits = text.rsplit_once(word)?.1.split(|it: char| !it.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    };
    let is_past = |word: &'static str, least: u32| {
        screen.until("a later time", |it| number(it, word).is_some_and(|it| it >= least));
    };
    screen.runs("let round = 0");
    screen.enters("/watch 100ms round += 1; `round ${round}`");
    is_past("round ", 3);
    screen.presses("C-c").prompts();
    assert_eq!(screen.runs("40 + 2"), "=> 42");
    // A failure may be over the next time.
    screen.enters("/watch 100ms round += 1; throw `oh ${round}`");
    is_past("error: oh ", 8);
    screen.presses("C-c").prompts();
    screen.runs("/save watched.rhai");
    let saved = std::fs::read_to_string(home.root.join("watched.rhai")).expect("it is saved");
    assert!(saved.contains("40 + 2") && !saved.contains("round +="), "{saved}");
}

#[test]
fn services_are_watched() {
    let (home, screen) = served();
    screen.enters("/watch 200ms zinit_status_all()").shows("worker").shows("Running");
    home.zinit(["stop", "web"]);
    screen.until("the change", |it| it.text().matches("Running").count() == 1);
    screen.presses("C-c").prompts();
}

#[test]
fn an_unknown_command_is_told_with_the_nearest_one() {
    let (_home, screen) = alone();
    let said = screen.runs("/fnuctions");
    assert!(said.contains("did you mean `/functions`?"), "{said}");
    assert!(screen.runs("/edit ed").contains("emacs"));
}

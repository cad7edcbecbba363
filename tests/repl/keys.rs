//! Keys that edit a line, and what is pasted.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::alone;

#[test]
fn the_keys_of_emacs_edit() {
    let (_home, screen) = alone();
    screen.says("+ 2 wrong").presses("C-w C-a").says("40 ").presses("C-e Enter").shows("=> 42");
    screen.prompts().says("1 + 1").presses("C-u").stands("zinit(no server)> ");
}

#[test]
fn the_keys_of_vi_edit() {
    let (_home, screen) = alone();
    screen.runs("/edit vi");
    screen.says("1 + 1").shows("> 1 + 1").presses("Escape").shows(": 1 + 1");
    screen.presses("0 i").says("40 + ").presses("Enter").shows("=> 42").prompts();
    screen.runs("/edit emacs");
    screen.says("+ 4").presses("C-a").says("44 ").presses("Enter").shows("=> 48");
}

#[test]
fn vi_is_chosen_from_outside_too() {
    let home = Home::new();
    for (command, env) in [("zinit repl --vi", ""), ("zinit", "vi")] {
        let screen = Screen::with(&home, 80, 24, &[("ZINIT_EDIT", env)]);
        screen.enters(command).prompts().says("+ 2").shows("> + 2");
        screen.presses("Escape").shows(": + 2");
        screen.presses("I").says("40 ").presses("Enter").shows("=> 42");
    }
}

#[test]
fn a_pasted_script_runs_as_one_text() {
    let (_home, screen) = alone();
    let mut script = String::from("let sum = 0;\n");
    for line in 0..1_998 {
        script += &format!("sum += {line}; // {{ \"quoted ${{1}} {line}\n");
    }
    script += "sum\n";
    screen.pastes(&script).shows("quoted ${1} 1997").presses("Enter");
    screen.shows(&format!("=> {}", (0..1_998).sum::<i32>())).prompts();
    assert_eq!(screen.all().matches("=> ").count(), 1, "it is one text");
}

#[test]
fn pasted_functions_are_there() {
    let (_home, screen) = alone();
    screen.pastes("fn inner(a) {\n\ta + 1\n}\n\nfn outer(a) {\n\tinner(a) * 2\n}\n").shows("* 2");
    screen.presses("Enter").prompts();
    assert_eq!(screen.runs("outer(20)"), "=> 42");
}

#[test]
fn an_editor_of_ones_own_writes_the_text() {
    let home = Home::new();
    home.write("ed", "#!/bin/sh\nsed -i 's/wrong/40 + 2/' \"$1\"\n");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.root.join("ed"), mode).expect("the home is writable");
    let editor = home.root.join("ed").display().to_string();
    let screen = Screen::with(&home, 80, 24, &[("EDITOR", &editor)]);
    screen.enters("zinit").prompts().says("wrong").shows("> wrong").presses("C-o").shows("40 + 2");
    screen.presses("Enter").shows("=> 42").prompts();
}

#[test]
fn alt_enter_begins_a_line_where_enter_would_run_the_text() {
    let (_home, screen) = alone();
    screen.says("40").presses("M-Enter").shows("   ...").says("+ 2").shows("+ 2");
    screen.lacks("=> ").presses("Enter").shows("=> 42").prompts();
}

#[test]
fn alt_f_takes_a_word_of_the_hint() {
    let (_home, screen) = alone();
    screen.runs("let first_of_all = 40 + 2");
    screen.enters("/clear").prompts().says("let fir").shows("> let first_of_all = 40 + 2");
    screen.presses("M-f").stands("zinit(no server)> let first_of_all");
    screen.presses("M-f").stands("zinit(no server)> let first_of_all = 40");
    screen.says(" + 1").presses("Enter").prompts();
    assert_eq!(screen.runs("first_of_all"), "=> 41");
}

#[test]
fn ctrl_l_clears_the_screen_and_keeps_the_line() {
    let (_home, screen) = alone();
    screen.runs("40 + 2");
    screen.says("44 + 4").shows("> 44 + 4").presses("C-l").loses("=> 42").shows("> 44 + 4");
    screen.presses("Enter").shows("=> 48").prompts();
}

/// The name that is marked in the menu of completions, if one is.
fn marked(screen: &Screen) -> Option<String> {
    let seen = screen.with_colours();
    let is_reverse =
        |it: &str| it.split_once('m').is_some_and(|(it, _)| it.split(';').any(|it| it == "7"));
    let line = seen.lines().find(|it| it.split("\x1b[").skip(1).any(is_reverse))?;
    let plain = line.split("\x1b[").enumerate();
    let plain: String =
        plain.map(|(at, it)| it.split_once('m').filter(|_| at > 0).map_or(it, |it| it.1)).collect();
    plain.split_whitespace().next().map(str::to_owned)
}

#[test]
fn tab_goes_on_in_the_menu_and_shift_tab_back() {
    let (_home, screen) = alone();
    screen.enters("/clear").prompts().says("zinit_sta").shows("> zinit_sta").presses("Tab");
    let mut before = None;
    // Each key is pressed when the one before it is seen to have worked.
    let names = ["", "Tab", "Tab", "BTab", "BTab"].map(|key| {
        if !key.is_empty() {
            screen.presses(key);
        }
        screen.until("another one is marked", |it| {
            let now = marked(it);
            now.is_some() && now != before
        });
        before = marked(&screen);
        before.clone().expect("one is marked")
    });
    assert_eq!([&names[3], &names[4]], [&names[1], &names[0]], "{names:?}");
    assert_ne!(names[0], names[2], "{names:?}");
    screen.presses("Enter").shows(&format!("> {}(", names[0])).presses("C-c").prompts();
}

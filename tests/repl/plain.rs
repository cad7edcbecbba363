//! Places where nothing can be drawn: a dumb terminal, a pipe.

use std::fs;
use std::fs::File;

use zinit_tests::daemon::{Home, text};
use zinit_tests::screen::Screen;

#[test]
fn on_a_dumb_terminal_there_is_not_one_escape_byte() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    home.up("web");
    let screen = Screen::with(&home, 80, 24, &[("TERM", "dumb")]);
    let record = home.root.join("record");
    screen.records(&record).enters("zinit").prompts();
    assert_eq!(screen.runs("40 + 2"), "=> 42");
    screen.enters("fn f() {").shows("   ...").enters("1").enters("}").prompts();
    screen.runs("zinit_status_all()");
    screen.runs("throw \"oh\"");
    screen.enters("/clear").prompts();
    screen.enters("/vars").prompts();
    screen.enters("print(\"begun \" + 1); loop {}").shows("begun 1").presses("C-c");
    screen.shows("interrupted").prompts();
    screen.enters("sleep_ms(1); \"the \" + \"end\"").shows("the end").prompts();
    screen.presses("C-d").shows("Goodbye!").is_left();
    home.until("it is recorded", || recorded(&record).contains("Goodbye!"));
    let seen = recorded(&record);
    assert!(!seen.contains('\x1b'), "{seen:?}");
}

fn recorded(file: &std::path::Path) -> String {
    text(&fs::read(file).unwrap_or_default())
}

/// The exit code of `zinit repl < file`, and what it said.
fn piped(home: &Home, script: &str) -> (Option<i32>, String, String) {
    home.write("said", script);
    let file = File::open(home.root.join("said")).expect("it was written");
    let out = home.command("zinit").arg("repl").stdin(file).output().expect("our programs run");
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_pipe_has_values_and_nothing_else() {
    let home = Home::new();
    let script =
        "let x = 40\nx + 2\nfn f(a) {\n  a + 1\n}\nf(1)\nprint(\"said\")\n[#{ a: 1 }]\n\"last\"";
    let (code, said, complained) = piped(&home, script);
    assert_eq!(said, "=> 42\n=> 2\nsaid\n=> [#{\"a\": 1}]\n=> \"last\"\n", "{complained}");
    assert_eq!((code, complained.as_str()), (Some(0), ""));
}

#[test]
fn a_pipe_in_which_something_failed_ends_with_1() {
    let home = Home::new();
    let (code, said, complained) = piped(&home, "throw \"oh\"\n40 + 2\n");
    assert_eq!((code, said.as_str()), (Some(1), "=> 42\n"));
    assert!(complained.contains("oh") && !complained.contains('\x1b'), "{complained}");
    let (code, ..) = piped(&home, "exit(7)\n40 + 2\n");
    assert_eq!(code, Some(7));
}

#[test]
fn a_pipe_may_hold_what_is_no_text() {
    let home = Home::new();
    fs::write(home.root.join("said"), b"\"\xff\xfe\".len() > 0\n40 + 2\n").expect("it is writable");
    let file = File::open(home.root.join("said")).expect("it was written");
    let out = home.command("zinit").arg("repl").stdin(file).output().expect("our programs run");
    assert!(text(&out.stdout).ends_with("=> 42\n"), "{out:?}");
}

/// What is asked of the shell, and a part of the answer.
const ASKED: [(&str, &str); 7] = [
    ("/help", "/functions [FILTER]"),
    ("/functions zinit_is_run", "zinit_is_running(name)"),
    ("/builder", "Service.after(names)"),
    ("/doc zinit_is_running", "zinit_is_running(name)"),
    ("zinit_is_running?", "zinit_is_running(name)"),
    ("/source zinit_is_running", "fn zinit_is_running(name)"),
    ("mine?", "mine(odd_parameter)"),
];

#[test]
fn what_is_asked_through_a_pipe_is_answered() {
    let home = Home::new();
    for (asked, part) in ASKED {
        let script = format!("fn mine(odd_parameter) {{ 1 }}\n{asked}\n");
        let (code, said, complained) = piped(&home, &script);
        assert!(said.contains(part) && !said.contains('\x1b'), "{asked}: {said}{complained}");
        assert_eq!((code, complained.as_str()), (Some(0), ""), "{asked}");
    }
    let (code, said, complained) = piped(&home, "zinit_is_runing?\n");
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(complained.contains("did you mean `zinit_is_running`?"), "{complained}");
}

#[test]
fn what_is_asked_on_a_dumb_terminal_is_answered() {
    let home = Home::new();
    // All of it is on the screen: a dumb terminal has no pages.
    let screen = Screen::with(&home, 80, 50, &[("TERM", "dumb")]);
    let record = home.root.join("record");
    screen.records(&record).enters("zinit").prompts().runs("fn mine(odd_parameter) { 1 }");
    for (asked, part) in ASKED {
        let said = screen.runs(asked);
        assert!(said.contains(part) && !said.contains("error"), "{asked}: {said}");
    }
    assert!(screen.runs("zinit_is_runing?").contains("did you mean `zinit_is_running`?"));
    screen.enters("/quit").shows("Goodbye!").is_left();
    home.until("it is recorded", || recorded(&record).contains("Goodbye!"));
    assert!(!recorded(&record).contains('\x1b'), "{:?}", recorded(&record));
}

#[test]
fn without_a_terminal_and_without_words_it_says_how_it_is_used() {
    let home = Home::new();
    let out = home.run("zinit", [""; 0]);
    assert!(out.status.success() && text(&out.stdout).starts_with("Usage: zinit"), "{out:?}");
}

#[test]
fn a_command_without_its_slash_is_told_with_it() {
    let (_, _, complaints) = piped(&Home::new(), "quit\nlet help = 1; help\n");
    let told = "error: there is no variable `quit`\n 1 | quit\n   | ^^^^\nhint: `/quit` leaves";
    assert!(complaints.starts_with(told), "{complaints}");
    assert_eq!(complaints.matches("error").count(), 1, "{complaints}");
}

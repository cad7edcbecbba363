//! How the shell is left, and how the terminal is afterwards.

use std::fs;

use nix::sys::signal::Signal;
use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

/// A terminal in which `zinit` runs, and a script around it that notes how the terminal was before and after,
/// and the exit code. The shell of the terminal itself would set it right.
fn noted(home: &Home) -> Screen {
    let screen = Screen::new(home, 80, 24);
    home.write("noted", "stty -a > before; zinit; echo $? > code; stty -a > after; stty sane\n");
    screen.enters("sh noted").prompts();
    screen
}

/// The exit code of `zinit`; the terminal must be as it was.
fn code(home: &Home, screen: &Screen) -> i32 {
    screen.is_left();
    let read = |file: &str| fs::read_to_string(home.root.join(file)).expect("it was noted");
    assert_eq!(read("before"), read("after"), "the terminal is another one; {}", screen.text());
    read("code").trim().parse().expect("a code is a number")
}

#[test]
fn each_way_out_leaves_the_terminal_as_it_was() {
    let home = Home::new();
    for (way, by) in [("/quit", true), ("/exit", true), ("/q", true), ("C-d", false)] {
        let screen = noted(&home);
        if by {
            screen.enters(way)
        } else {
            screen.presses(way)
        };
        screen.shows("Goodbye!");
        assert_eq!(code(&home, &screen), 0, "{way}");
    }
}

#[test]
fn exit_leaves_with_its_code() {
    let home = Home::new();
    let screen = noted(&home);
    screen.enters("throw 1").shows("error").prompts().enters("exit(7)");
    assert_eq!(code(&home, &screen), 7);
}

#[test]
fn ctrl_d_in_a_line_does_not_leave() {
    let home = Home::new();
    let screen = noted(&home);
    screen.says("40 + 2x").presses("Left C-d Enter").shows("=> 42");
    screen.prompts().presses("C-d").shows("Goodbye!");
    assert_eq!(code(&home, &screen), 0);
}

#[test]
fn a_signal_that_ends_it_leaves_the_terminal_as_it_was() {
    let home = Home::new();
    for (signal, expected) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let screen = noted(&home);
        screen.signals(signal);
        assert_eq!(code(&home, &screen), expected, "{signal}");
    }
}

#[test]
fn a_signal_that_ends_it_ends_what_runs_as_well() {
    let home = Home::new();
    for text in ["loop {}", "sleep(600)"] {
        let screen = noted(&home);
        screen.enters(&format!("print(\"begun \" + 1); {text}")).shows("begun 1");
        screen.signals(Signal::SIGTERM);
        assert_eq!(code(&home, &screen), 143, "{text}");
    }
}

#[test]
fn a_signal_ends_it_also_while_its_output_is_stopped() {
    let home = Home::new();
    for (signal, expected) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let screen = noted(&home);
        let pid = screen.process().expect("it runs");
        screen.enters("loop { print(\"more\") }").shows("more").presses("C-s");
        home.until("it waits for the terminal", || {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
            tasks.flatten().any(|it| {
                let waits = fs::read_to_string(it.path().join("wchan")).unwrap_or_default();
                let call = fs::read_to_string(it.path().join("syscall")).unwrap_or_default();
                waits.contains("n_tty_write") || waits == "wait_woken" || call.starts_with("1 0x1 ")
            })
        });
        screen.signals(signal);
        assert_eq!(code(&home, &screen), expected, "{signal}");
    }
}

/// The names of the programs that a process has begun, and that those have begun.
fn below(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let all = tasks.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let all: String = all.collect();
    let names = |pid: &str| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let more = pid.parse().map_or(Vec::new(), below);
        [vec![name.trim().to_owned()], more].concat()
    };
    all.split_whitespace().flat_map(names).collect()
}

#[test]
fn a_signal_that_ends_it_ends_a_pager_and_an_editor_as_well() {
    let home = Home::new();
    home.write("editor", "stty raw -echo; printf begun; exec sleep 600\n");
    for (keys, program) in [("", "less"), ("abc", "sleep")] {
        let screen = Screen::with(&home, 80, 24, &[("EDITOR", "sh editor")]);
        home.write(
            "noted",
            "stty -a > before; zinit; echo $? > code; stty -a > after; stty sane\n",
        );
        screen.enters("sh noted").prompts();
        match keys {
            "" => screen.enters("/functions"),
            keys => screen.says(keys).presses("C-o"),
        };
        let pid = screen.process().expect("it runs");
        home.until(program, || below(pid).iter().any(|it| it == program));
        screen.signals(Signal::SIGTERM);
        assert_eq!(code(&home, &screen), 143, "{program}");
    }
}

#[test]
fn sigint_from_elsewhere_ends_nothing_at_the_prompt() {
    let home = Home::new();
    let screen = noted(&home);
    screen.signals(Signal::SIGINT);
    assert_eq!(screen.runs("40 + 2"), "=> 42");
    assert_eq!(screen.runs("sleep_ms(10); 44 + 4"), "=> 48");
    screen.presses("C-d").shows("Goodbye!");
    assert_eq!(code(&home, &screen), 0);
}

#[test]
fn after_sigkill_stty_sane_is_enough() {
    let home = Home::new();
    let screen = noted(&home);
    screen.runs("40 + 2");
    screen.signals(Signal::SIGKILL).is_left();
    screen.enters("clear; echo is $((40 + 3))").shows("is 43").is_left();
}

#[test]
fn a_terminal_that_is_closed_ends_it_whatever_it_does() {
    let home = Home::new();
    for text in ["", "loop {}", "sleep(600)", "loop { print(\"more\") }", "/watch 100ms 1"] {
        let screen = Screen::zinit(&home, 80, 24);
        let pid = screen.process().expect("it runs");
        if text.starts_with("loop") || text.starts_with("sleep") {
            screen.enters(&format!("print(\"begun \" + 1); {text}"));
            screen
                .until("it runs", |it| it.text().contains("begun 1") || it.text().contains("more"));
        } else if !text.is_empty() {
            screen.enters(text).shows("=> 1");
        }
        screen.closes();
        home.until(&format!("`{text}` is gone"), || {
            !fs::exists(format!("/proc/{pid}")).expect("/proc can be read")
        });
    }
}

//! Ctrl-C, and Ctrl-Z.

#![expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::{alone, served};

/// Far more than it may take: the machine may be busy.
const SOON: Duration = Duration::from_secs(5);

/// Stops a text that says when it has begun, and tells how long it took until the screen said so.
fn stops(screen: &Screen, text: &str) {
    screen.prompts().enters("/clear").prompts();
    screen.enters(&format!("print(\"begun \" + 1); {text}")).shows("begun 1");
    let begin = Instant::now();
    screen.presses("C-c").shows("interrupted");
    let took = begin.elapsed();
    println!("Ctrl-C ends `{text}` within {took:?}, as the screen has it");
    assert!(took < SOON, "`{text}` took {took:?}");
    screen.prompts();
}

#[test]
fn ctrl_c_gives_up_a_line() {
    let (_home, screen) = alone();
    screen.says("let half = ").presses("C-c").prompts();
    screen.enters("fn f() {").presses("C-c").prompts();
    screen.enters("40 + 2").shows("=> 42").prompts();
}

#[test]
fn ctrl_c_ends_what_computes_and_what_sleeps_and_variables_stay() {
    let (_home, screen) = alone();
    screen.runs("let kept = 42");
    stops(&screen, "loop {}");
    stops(&screen, "sleep(100)");
    stops(&screen, "loop { try { loop {} } catch { } }");
    stops(&screen, "[1, 2].filter(|it| { loop {} })");
    assert_eq!(screen.runs("kept"), "=> 42");
}

#[test]
fn ctrl_c_ends_a_wait_for_a_service_that_never_comes_up() {
    let home = Home::new().service("never", "exec: sleep 1000\nready_log: ^never\n").start();
    let screen = Screen::zinit(&home, 80, 24);
    stops(&screen, "zinit_wait_for(\"never\", 100)");
    assert!(!screen.runs("zinit_list()").contains("error"), "the connection is of use");
}

/// A server that does not answer, for so long.
struct Hung<'a>(&'a Home);

impl<'a> Hung<'a> {
    fn new(home: &'a Home) -> Self {
        home.signal_brain(Signal::SIGSTOP);
        Self(home)
    }
}

impl Drop for Hung<'_> {
    fn drop(&mut self) {
        self.0.signal_brain(Signal::SIGCONT);
    }
}

#[test]
fn ctrl_c_ends_a_call_of_a_server_that_hangs() {
    let (home, screen) = served();
    let hung = Hung::new(&home);
    stops(&screen, "zinit_list()");
    assert_eq!(screen.runs("40 + 2"), "=> 42", "the prompt does not wait for it");
    drop(hung);
    screen.until("it answers", |it| it.runs("zinit_list().len() + 40").contains("=> 42"));
}

#[test]
fn a_server_that_hangs_does_not_keep_the_first_prompt_back() {
    let home = Home::new().start();
    let hung = Hung::new(&home);
    let screen = Screen::zinit(&home, 80, 24);
    assert_eq!(screen.runs("40 + 2"), "=> 42");
    drop(hung);
}

#[test]
fn ctrl_z_suspends_what_runs_and_fg_resumes_it() {
    let (_home, screen) = alone();
    screen.enters("print(\"begun \" + 1); sleep_ms(3000); 40 + 2").shows("begun 1");
    screen.presses("C-z").is_left();
    screen.enters("fg").shows("=> 42").prompts();
    assert_eq!(screen.runs("44 + 4"), "=> 48");
    screen.enters("/quit").shows("Goodbye!").is_left();
}

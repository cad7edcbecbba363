//! The banner, the prompt, and the server that is there or not.

#![expect(clippy::disallowed_methods, reason = "how long it takes is printed")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

use crate::{alone, served};

#[test]
fn without_a_server_it_says_so_and_how_to_start_one() {
    let (_home, screen) = alone();
    let seen = screen.all();
    for part in ["╔═══", "Zinit Interactive Shell", "Tab: completion", "/help", "/functions"]
    {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(seen.contains("no server answers"), "{seen}");
    assert!(seen.replace('\n', "").contains("zinit server start"), "{seen}");
    screen.stands("zinit(no server)> ");
    assert_eq!(screen.runs("40 + 2"), "=> 42", "it is of use all the same");
}

#[test]
fn the_prompt_counts_what_is_up_and_what_has_failed() {
    let home = Home::new()
        .service("web", "exec: sleep 1000\n")
        .service("bad", "exec: sh -c 'exit 3'\noneshot: true\nmax_restarts: 0\nrestart: never\n")
        .start();
    home.up("web");
    home.until("it has failed", || home.status("bad").state == "Failed");
    let screen = Screen::zinit(&home, 200, 50);
    screen.shows("Connected to zinit server: pong v").stands("zinit(1 up, 1 failed)> ");
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

#[test]
fn a_server_that_starts_meanwhile_is_found_by_the_next_prompt() {
    let (home, screen) = alone();
    screen.stands("zinit(no server)> ");
    let home = home.service("web", "exec: sleep 1000\n").start();
    home.up("web");
    // The prompt does not wait for an answer that is late; the next one has it.
    screen.until("connected", |it| {
        it.enters("").prompts();
        it.text().contains("zinit(1 up)>")
    });
    assert_eq!(screen.runs("zinit_list()"), r#"=> ["web"]"#);
}

#[test]
fn a_server_that_was_killed_is_found_again() {
    let (home, screen) = served();
    assert_eq!(screen.runs("zinit_list().len()"), "=> 2");
    let before = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some_and(|it| Some(it) != before));
    home.until("it answers", || home.client_if_any().is_some());
    screen.until("connected", |it| it.runs("zinit_list().len() + 40").contains("=> 42"));
    screen.until("counts", |it| {
        it.enters("").prompts();
        it.text().trim_end().ends_with("zinit(2 up)>")
    });
}

#[test]
fn a_narrow_terminal_has_a_short_banner() {
    let home = Home::new();
    let screen = Screen::zinit(&home, 40, 12);
    screen.shows("Zinit Interactive Shell").lacks("═");
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

#[test]
fn without_utf_8_the_banner_is_of_ascii_and_odd_bytes_do_no_harm() {
    let home = Home::new();
    let screen = Screen::with(&home, 80, 24, &[("LANG", "C")]);
    screen.enters("zinit").prompts();
    let seen = screen.text();
    assert!(seen.contains("+-----") && seen.is_ascii(), "{seen}");
    screen.types(&[0xff, 0xc3, 0x28, 0x80, 0xfe]).says("x").shows("x").presses("C-c").prompts();
    assert_eq!(screen.runs("40 + 2"), "=> 42");
}

#[test]
fn the_first_prompt_comes_with_a_server_and_without() {
    let home = Home::new().service("web", "exec: sleep 1000\n");
    let alone = begins(&home);
    println!("start to the first prompt without a server: {alone:?}, as the screen has it");
    let home = home.start();
    home.up("web");
    let served = begins(&home);
    println!("start to the first prompt with a server: {served:?}, as the screen has it");
}

/// How long it takes from Enter to the prompt, at best.
fn begins(home: &Home) -> Duration {
    let screen = Screen::new(home, 80, 24);
    let begin = |_| {
        screen.is_left().says("clear; zinit").shows("zinit");
        let begin = Instant::now();
        screen.presses("Enter").prompts();
        let took = begin.elapsed();
        screen.enters("/quit").is_left();
        took
    };
    (0..5).map(begin).min().expect("it is begun five times")
}

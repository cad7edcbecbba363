//! The keeper is expendable as well.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::daemon::Home;

fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
}

fn kill_both(home: &Home) {
    let brain = home.brain();
    kill_hard(home.keeper());
    brain.into_iter().for_each(kill_hard);
    home.until("nobody answers", || !home.run("zinit", ["ping"]).status.success());
}

/// A service that counts, and says where it has come to when it is told to end.
const COUNTER: &str = "exec: sh -c 'n=0; trap \"echo end \\$n; exit 7\" TERM; \
                       while :; do n=$((n + 1)); echo $n; sleep 0.02; done'\nlog: file\n";

/// The numbers that a counter has written, of all its lives.
fn counted(home: &Home, name: &str) -> Vec<u64> {
    let lines = home.zinit(["logs", name, "--stdout"]);
    lines.lines().filter_map(|it| it.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn the_brain_of_a_keeper_that_is_killed_becomes_the_next_one() {
    let home = Home::new().service("a", COUNTER).service("b", "exec: sleep 1000\n").start();
    let (a, b) = (home.up("a"), home.up("b"));
    for _ in 0..3 {
        let keeper = home.keeper();
        kill_hard(keeper);
        home.until("another keeper", || home.brain().is_some() && home.keeper() != keeper);
        home.until("it answers", || home.run("zinit", ["ping"]).status.success());
        let (after, other) = (home.up("a"), home.up("b"));
        assert_eq!((after.pid, after.restarts, other.pid), (a.pid, 0, b.pid));
    }
    // Its end is told, though it is nobody's child here.
    kill(Pid::from_raw(a.pid), Signal::SIGTERM).expect("it lives");
    home.until("it is started again", || home.status("a").restarts == 1);
    let after = home.up("a");
    assert_eq!(after.last_exit, "exit 7");
    home.zinit(["stop", "a"]);
    let numbers = counted(&home, "a");
    // What it says last, it says twice: as a number, and with its end.
    let lives: Vec<&[u64]> = numbers.chunk_by(|_, next| *next != 1).collect();
    assert_eq!(lives.len(), 2, "{numbers:?}");
    for life in lives {
        let (last, before) = life.split_last().expect("it said something");
        assert_eq!(before, (1..=*last).collect::<Vec<_>>(), "each number once");
    }
}

#[test]
fn a_server_that_is_started_again_takes_over_what_runs() {
    let home = Home::new()
        .service("a", COUNTER)
        .service("stopped", "exec: sleep 1000\n")
        .service("job", "exec: 'true'\noneshot: true\n")
        .start();
    let before = home.up("a");
    home.up("job");
    home.zinit(["stop", "stopped"]);
    kill_both(&home);
    let lock = fs::read_to_string(home.root.join("var/zinit/lock")).expect("a lock");
    assert!(lock.starts_with("pid "));
    let home = home.start();
    let after = home.up("a");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    assert_eq!(home.status("stopped").state, "Stopped", "what was wanted is remembered");
    assert_eq!(home.status("job").state, "Success", "and what is done");
    home.zinit(["restart", "a"]);
    assert_ne!(home.up("a").pid, before.pid);
    let state = fs::read_to_string(format!("/proc/{}/stat", before.pid)).unwrap_or_default();
    // It may wait for whoever is to reap it.
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    // A server that has ended well leaves nothing to take over.
    home.zinit(["server", "stop"]);
    let home = home.start();
    home.up("stopped");
}

#[test]
fn a_shutdown_that_was_killed_is_not_what_the_next_server_begins_with() {
    let deaf = "exec: sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nshutdown_timeout: 3\n";
    let home = Home::new().service("a", deaf).service("b", "exec: sleep 1000\n").start();
    let before = home.up("a");
    home.up("b");
    home.ask("system.shutdown", json!([]));
    home.until("it stops", || home.status("b").state == "Stopped");
    kill_both(&home);
    let home = home.start();
    // What was being stopped is stopped first; then everything is up, as ever.
    let after = home.up("a");
    assert_ne!(after.pid, before.pid);
    home.up("b");
}

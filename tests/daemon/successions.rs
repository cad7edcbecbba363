//! The keeper is expendable as well.

use std::fs;
use std::process::{Command, Stdio};

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

/// What a counter has written, of all its lives.
fn counted(home: &Home, name: &str) -> Vec<String> {
    let lines = home.zinit(["logs", name, "--stdout"]);
    lines.lines().filter_map(|it| Some(it.split_once(": ")?.1.to_owned())).collect()
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
    let lines = counted(&home, "a");
    let lives: Vec<&[String]> = lines.split_inclusive(|it| it.starts_with("end ")).collect();
    assert_eq!(lives.len(), 2, "{lines:?}");
    for life in lives {
        let (end, numbers) = life.split_last().expect("it said something");
        let wanted: Vec<String> = (1..=numbers.len()).map(|it| it.to_string()).collect();
        assert_eq!(numbers, wanted, "each number once");
        assert_eq!(*end, format!("end {}", numbers.len()));
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
    // Who has gone down comes up again, and who has not is up as ever.
    assert_eq!((home.up("a").pid, home.up("b").state.as_ref()), (before.pid, "Running"));
    home.until("and stays so", || home.status("b").restarts == 1);
}

#[test]
fn a_keeper_that_is_no_first_process_is_succeeded_too_and_its_home_has_one() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    let keeper = home.command("zinit-updater").arg("--init").stdout(Stdio::null()).spawn();
    let mut keeper = keeper.expect("it runs");
    home.until("it serves", || home.run("zinit", ["ping"]).status.success());
    let before = home.up("a");
    let second = home.run("zinit-updater", ["--init"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains(&format!("a server is already running here: process {}", keeper.id())));
    keeper.kill().and_then(|()| keeper.wait()).expect("it is ours");
    let dead = keeper.id() as i32;
    home.until("another keeper", || home.keeper() != dead && home.brain().is_some());
    home.until("it answers", || home.run("zinit", ["ping"]).status.success());
    assert_eq!(home.up("a").pid, before.pid);
}

#[test]
fn a_brain_whose_program_was_replaced_becomes_the_keeper_all_the_same() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    let programs = home.root.join("bin");
    fs::create_dir_all(&programs).expect("a directory");
    let program = programs.join("zinit-server");
    let original = zinit_tests::daemon::programs().join("zinit-server");
    fs::copy(&original, &program).expect("a copy");
    #[expect(clippy::disallowed_methods, reason = "a server in a file of its own")]
    let mut server = Command::new(&program);
    let status = server.arg("-bg").env("ZINIT_HOME", &home.root).stdout(Stdio::null()).status();
    assert!(status.expect("it runs").success());
    let before = home.up("a");
    // As an update does it: the file that runs has no name any more.
    fs::copy(&original, programs.join("new")).expect("a copy");
    fs::rename(programs.join("new"), &program).expect("replaced");
    let keeper = home.keeper();
    kill_hard(keeper);
    home.until("another keeper", || home.keeper() != keeper && home.brain().is_some());
    home.until("it answers", || home.run("zinit", ["ping"]).status.success());
    assert_eq!(home.up("a").pid, before.pid);
    let runs = fs::read_link(format!("/proc/{}/exe", home.keeper())).expect("it lives");
    assert_eq!(runs, program, "the new program");
}

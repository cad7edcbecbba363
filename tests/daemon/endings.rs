//! How a server ends, what it ends with, and how another one takes over instead.

use std::fs;
use std::process::{Child, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::daemon::{Home, text};

/// A server in the foreground, which ends while the test looks.
fn foreground(home: &Home, args: &[&str]) -> Child {
    let server = home.command("zinit-server").args(args).spawn().expect("it runs");
    home.until("it answers", || home.client_if_any().is_some());
    server
}

fn code(status: ExitStatus) -> Option<i32> {
    status.code()
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

fn lives(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

/// It ends by SIGKILL alone, and has an hour for anything else.
const DEAF: &str =
    "exec: sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nshutdown_timeout: 1h\n";

#[test]
fn a_server_ends_with_the_status_of_its_essential_service() {
    let main = "exec: sh -c 'read line < go; exit 3'\nrestart: never\nessential: true\n";
    let home = Home::new().service("other", "exec: sleep 1000\n");
    let go = home.root.join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("the home is writable");
    let dir = format!("dir: {}\n", home.root.display());
    let home = home.service("main", &format!("{main}{dir}"));
    let mut server = foreground(&home, &[]);
    let (other, main) = (home.up("other").pid, home.up("main"));
    assert!(main.essential && home.zinit(["status", "main"]).contains("\n  Essential: yes\n"));
    fs::write(&go, "now\n").expect("it reads");
    assert_eq!(code(server.wait().expect("it is our child")), Some(3));
    assert!(!lives(other));
}

#[test]
fn the_status_is_kept_over_brains_that_are_killed_meanwhile() {
    let main = "exec: sh -c 'exit 7'\noneshot: true\nessential: true\nafter: deaf\n";
    let home = Home::new().service("main", main).service("deaf", DEAF);
    let mut server = home.command("zinit-server").spawn().expect("it runs");
    let keeper = i32::try_from(server.id()).expect("pids are small");
    home.until("it is told to stop", || {
        home.client_if_any().is_some_and(|mut it| {
            let status = it.call("service.status", json!(["deaf"]));
            status.is_ok_and(|it| it["state"] == "Stopping")
        })
    });
    for _ in 0..3 {
        let brain = home.brain();
        home.signal_brain(Signal::SIGKILL);
        home.until("another brain", || home.brain().is_some() && home.brain() != brain);
        home.until("it answers", || home.client_if_any().is_some());
    }
    home.until("it is hurried", || {
        // Two signals that come at once are one to the kernel.
        if lives(keeper) {
            signal(keeper, Signal::SIGTERM);
        }
        server.try_wait().expect("it is our child").is_some()
    });
    assert_eq!(code(server.wait().expect("it is our child")), Some(7));
}

#[test]
fn a_second_signal_hurries_and_one_that_a_new_brain_hears_of_is_no_second_one() {
    let home = Home::new().service("deaf", DEAF);
    let mut server = foreground(&home, &[]);
    let keeper = i32::try_from(server.id()).expect("pids are small");
    let deaf = home.up("deaf").pid;
    let is_stopping = || {
        home.client_if_any().is_some_and(|mut it| {
            let status = it.call("service.status", json!(["deaf"]));
            status.is_ok_and(|it| it["state"] == "Stopping")
        })
    };
    signal(keeper, Signal::SIGTERM);
    home.until("it is told to stop", is_stopping);
    for _ in 0..5 {
        let brain = home.brain();
        home.signal_brain(Signal::SIGKILL);
        home.until("another brain", || home.brain().is_some() && home.brain() != brain);
        home.until("it goes on", is_stopping);
        let status = home.status("deaf");
        assert!(!status.reason.contains("no time"), "{}", status.reason);
    }
    assert!(lives(deaf));
    signal(keeper, Signal::SIGTERM);
    assert!(server.wait().expect("it is our child").success());
    assert!(!lives(deaf));
}

#[test]
fn a_server_that_is_renewed_is_another_one_with_the_same_services() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let before = home.up("a").pid;
    for args in [&["server", "renew"][..], &["server", "renew", "--no-keeper"]] {
        let brain = home.ask("system.ping", json!([]))["pid"].clone();
        assert_eq!(home.zinit(args), "Server renewed\n");
        assert_ne!(home.ask("system.ping", json!([]))["pid"], brain);
        assert_eq!(home.up("a").pid, before);
    }
    let told = home.zinit(["server", "renew", "--json"]);
    assert_eq!(told, "{\n  \"server\": \"renewed\"\n}\n");
}

#[test]
fn what_is_no_machine_is_not_rebooted() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let pid = home.up("a").pid;
    for (command, verb) in [("reboot", "reboot"), ("poweroff", "power off")] {
        let out = home.run("zinit", [command]);
        assert_eq!(code(out.status), Some(1));
        let expected = format!(
            "error: cannot {verb}: Zinit is not the first process of this machine\n\
             hint: `zinit shutdown` stops all services and the server\n"
        );
        assert_eq!(text(&out.stderr), expected);
    }
    assert_eq!(home.up("a").pid, pid);
}

#[test]
fn mistakes_are_told_without_a_server_a_line_each() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    let fine = home.run("zinit-server", ["--check"]);
    assert!(fine.status.success() && fine.stderr.is_empty(), "{}", text(&fine.stderr));
    let home = home.service("b", "exce: ls\n").service("c", "exec: ls\nafter: c\n");
    home.write("cfg/zinit/policy.rhai", "fn may_start() { true }");
    let wrong = home.run("zinit-server", ["--check"]);
    assert_eq!(code(wrong.status), Some(1));
    let told = text(&wrong.stderr).replace(&format!("{}/cfg/zinit/", home.root.display()), "");
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "b.yaml:1:1: unknown key `exce`",
        "`c` waits for itself: c -> c",
        "policy.rhai:1:1: `may_start` takes 1 parameters, this one takes 0",
    ];
    assert_eq!(lines, expected);
    let elsewhere = home.run("zinit-server", ["--check", "--config-dir", "/no/such/place"]);
    assert!(elsewhere.status.success(), "{}", text(&elsewhere.stderr));
    assert!(!home.root.join("var").exists(), "it changes nothing");
}

#[test]
fn the_service_that_looks_for_updates_is_there_once_and_over_brains() {
    let home = Home::new();
    let program = home.root.join("an updater");
    home.write("an updater", "#!/bin/sh\necho $1\nexec sleep 1000\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("it is ours");
    let args = ["--updates", program.to_str().expect("it is text")];
    let mut server = foreground(&home, &args);
    let pid = home.up("zinit-updater").pid;
    home.zinit(["server", "renew"]);
    home.zinit(["reload"]);
    assert_eq!((home.up("zinit-updater").pid, home.zinit(["ls"]).lines().count()), (pid, 2));
    home.until("it was told what to do", || home.zinit(["logs"]) == "[+] zinit-updater: watch\n");
    assert!(!home.root.join("cfg/zinit/zinit-updater.yaml").exists());
    home.zinit(["shutdown"]);
    assert!(server.wait().expect("it is our child").success());
}

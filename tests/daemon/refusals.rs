//! Bad input gets a sentence, and nothing that ran before stops running because of it.

use std::os::unix::net::UnixListener;

use expect_test::{Expect, expect};
use zinit_tests::daemon::{Home, text};

/// What `zinit` or another program says when it refuses, with the home's path as HOME.
fn check(home: &Home, program: &str, args: &[&str], expected: Expect) {
    let out = home.run(program, args);
    let root = home.root.display().to_string();
    let code = out.status.code().unwrap_or(-1);
    let said = format!("{}{}exit {code}\n", text(&out.stdout), text(&out.stderr));
    expected.assert_eq(&said.replace(&root, "HOME").replace(&home_pid(home), "PID"));
}

fn home_pid(home: &Home) -> String {
    if home.root.join("var/zinit/lock").exists() {
        format!("process {}", home.keeper())
    } else {
        "no process".to_owned()
    }
}

#[test]
fn one_bad_file_does_not_keep_the_others_from_starting() {
    let home = Home::new()
        .service("good", "exec: sleep 1000\n")
        .service("typo", "exce: sleep 1000\n")
        .service("quotes", "exec: \"sh -c 'sleep\"\n")
        .service("broken", "exec: [sleep\n")
        .start();
    assert_eq!(home.up("good").state, "Running");
    let log = home.server_log();
    for sentence in [
        "typo.yaml:1:1: unknown key `exce`",
        "hint: did you mean `exec`?",
        "quotes.yaml:1:7: the quotes of `exec` are unbalanced",
        "broken.yaml:",
    ] {
        assert!(log.contains(sentence), "the log does not say {sentence}:\n{log}");
    }
}

#[test]
fn a_missing_program_is_failed_with_the_step_and_tried_again() {
    let home = Home::new().service("a", "exec: /no/such/program\n").start();
    home.until("a second try", || home.status("a").restarts >= 1);
    home.until("it is Failed", || home.status("a").state == "Failed");
    let reason = home.status("a").reason;
    let begins =
        "it cannot start: exec /no/such/program: No such file or directory (ENOENT); attempt";
    assert!(reason.starts_with(begins), "{reason}");
}

#[test]
fn a_second_server_says_who_holds_the_home() {
    let home = Home::new().start();
    check(
        &home,
        "zinit-server",
        &[],
        expect![[r#"
        error: a server is already running here: PID, socket HOME/var/zinit.sock
        hint: `zinit server stop` stops it; ZINIT_HOME names another home
        exit 1
    "#]],
    );
    check(
        &home,
        "zinit-server",
        &["-bg"],
        expect![[r#"
        Zinit server is already running
        exit 0
    "#]],
    );
}

#[test]
fn a_stale_socket_is_replaced() {
    let home = Home::new();
    home.write("var/mark", "");
    drop(UnixListener::bind(home.socket()).expect("it can be bound"));
    let home = home.start();
    assert_eq!(
        home.zinit(["ping"]),
        format!("Server: pong (version {})\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_socket_that_somebody_else_serves_is_left_alone() {
    let home = Home::new();
    home.write("var/mark", "");
    let _other = UnixListener::bind(home.socket()).expect("it can be bound");
    check(
        &home,
        "zinit-server",
        &[],
        expect![[r#"
        error: a server answers at HOME/var/zinit.sock already
        hint: `zinit server stop` stops it
        exit 1
    "#]],
    );
}

#[test]
fn without_a_server_a_command_says_what_starts_one() {
    let home = Home::new();
    check(
        &home,
        "zinit",
        &["list"],
        expect![[r#"
        error: no server answers at HOME/var/zinit.sock; `zinit server start` starts one
        exit 3
    "#]],
    );
    check(
        &home,
        "zinit",
        &["-c", "zinit_list()"],
        expect![[r#"
        error: no server answers at HOME/var/zinit.sock; `zinit server start` starts one
        exit 3
    "#]],
    );
}

#[test]
fn an_unknown_service_and_a_bad_name_are_refused() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    check(
        &home,
        "zinit",
        &["status", "wbe"],
        expect![[r#"
        error: there is no service `wbe`
        hint: did you mean `web`?
        exit 1
    "#]],
    );
    check(
        &home,
        "zinit",
        &["start", "nothing-like-it"],
        expect![[r#"
        error: there is no service `nothing-like-it`
        hint: `zinit list` shows the services there are
        exit 1
    "#]],
    );
    let evil = r#"new_service("../../evil").exec("true").register()"#;
    check(
        &home,
        "zinit",
        &["-c", evil],
        expect![[r#"
        error: `../../evil` is no service name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, starting with a letter or a digit
          --> -c:1:40
         1 | new_service("../../evil").exec("true").register()
           |                                        ^^^^^^^^
        exit 1
    "#]],
    );
    let quotes = r#"new_service("a").exec("sh -c 'oops").register()"#;
    check(
        &home,
        "zinit",
        &["-c", quotes],
        expect![[r#"
        error: the quotes of `exec` are unbalanced: sh -c 'oops
          --> -c:1:38
         1 | new_service("a").exec("sh -c 'oops").register()
           |                                      ^^^^^^^^
        hint: close the quote, or put a backslash before it
        exit 1
    "#]],
    );
    check(
        &home,
        "zinit",
        &["kill", "web", "SIGNOPE"],
        expect![[r#"
        error: cannot call `service.kill`: `signal` must be the name or the number of a signal
        exit 1
    "#]],
    );
}

#[test]
fn a_launch_that_no_kernel_would_take_fails_in_the_open_and_can_be_stopped() {
    let huge = "x".repeat(120 * 1024);
    let home =
        Home::new().service("a", &format!("exec: sleep 1000\nenv:\n  HUGE: {huge}\n")).start();
    home.until("it is Failed", || home.status("a").state == "Failed");
    let reason = home.status("a").reason;
    assert!(reason.contains("its command line and environment are too large"), "{reason}");
    assert_eq!(home.zinit(["stop", "a"]), "Stopped service: a\n");
}

#[test]
fn a_file_that_was_not_read_yet_is_named() {
    let home = Home::new().start().service("late", "exec: sleep 1000\n");
    check(
        &home,
        "zinit",
        &["start", "late"],
        expect![[r#"
            error: there is no service `late`
            hint: its file has not been read: `zinit reload late` does it
            exit 1
        "#]],
    );
}

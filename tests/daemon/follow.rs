//! Whoever follows the logs of a real server sees every line once, whatever becomes of the server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zinit_tests::daemon::Home;

/// Counts, a line for each number, and goes on where it stood when it is started again.
const COUNTER: &str = "
exec: sh -c 'n=$(cat n 2>/dev/null || echo 0); while :; do echo $n; n=$((n + 1)); echo $n > n; sleep 0.003; done'
";

/// A server with that service.
fn counting() -> Home {
    let home = Home::new();
    let dir = format!("dir: {}\n", home.root.display());
    home.write("cfg/zinit/counter.yaml", &format!("{COUNTER}{dir}"));
    let home = home.start();
    home.up("counter");
    home
}

#[test]
fn no_line_is_missed_or_seen_twice_while_servers_are_killed_and_restarted() {
    let home = counting();
    let mut zinit = home.command("zinit");
    zinit.args(["logs", "-f", "-n", "100000", "counter"]);
    let mut child = zinit.stdout(Stdio::piped()).spawn().expect("our programs run");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let mut number = 0;
    let mut read = |count: u32| {
        for _ in 0..count {
            let line = lines.next().expect("it goes on").expect("it is text");
            assert_eq!(line, format!("[+] counter: {number}"));
            number += 1;
        }
    };
    for _ in 0..3 {
        read(100);
        home.signal_brain(Signal::SIGKILL);
        home.until("there is another server", || home.client_if_any().is_some());
    }
    read(200);
    kill(Pid::from_raw(i32::try_from(child.id()).expect("it is a pid")), Signal::SIGINT)
        .expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_script_that_follows_goes_on_with_the_next_server() {
    let home = counting();
    let mut zinit = home.command("zinit");
    zinit.args(["-c", "zinit_logs_follow_filter(\"counter\", 60)"]);
    let mut child = zinit.stdout(Stdio::piped()).spawn().expect("our programs run");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let mut last = None;
    for round in 0..3 {
        for _ in 0..100 {
            let line = lines.next().expect("it goes on").expect("it is text");
            let number: u64 = line["[+] counter: ".len()..].parse().expect("a number");
            assert!(last.is_none_or(|it: u64| it + 1 == number), "{last:?}, {number}");
            last = Some(number);
        }
        if round < 2 {
            home.signal_brain(Signal::SIGKILL);
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

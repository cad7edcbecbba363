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

#[test]
fn no_line_is_missed_or_seen_twice_while_servers_are_killed_and_restarted() {
    let home = Home::new();
    let dir = format!("dir: {}\n", home.root.display());
    home.write("cfg/zinit/counter.yaml", &format!("{COUNTER}{dir}"));
    let home = home.start();
    home.up("counter");
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

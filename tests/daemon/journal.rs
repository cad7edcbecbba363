//! The journal of a real server: what was, is told by the next one, and can be asked again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_tests::daemon::{Home, text};

fn kill_brain(home: &Home) {
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    home.until("it answers", || home.client_if_any().is_some());
}

fn events(home: &Home, name: &str) -> Vec<Value> {
    let all = home.ask("events.get", json!([name, 0, 100]));
    all.as_array().cloned().unwrap_or_default()
}

#[test]
fn events_and_causes_are_still_told_after_a_crash() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    home.up("a");
    let before = events(&home, "a");
    assert!(before.len() >= 2, "{before:?}");
    kill_brain(&home);
    assert_eq!(events(&home, "a")[..before.len()], before);
    let why = home.ask("service.why", json!(["a"]));
    assert!(!why["events"].as_array().expect("a list").is_empty(), "{why}");
    // What this one tells comes behind that, with greater numbers.
    home.zinit(["restart", "a"]);
    let after = events(&home, "a");
    assert!(after.len() > before.len());
    assert!(after.is_sorted_by_key(|it| it["seq"].as_u64()), "{after:?}");
}

#[test]
fn whoever_follows_the_events_misses_none_while_servers_are_killed() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    home.up("a");
    let mut zinit = home.command("zinit");
    zinit.args(["events", "-f", "--json", "-n", "1"]);
    let mut child = zinit.stdout(Stdio::piped()).spawn().expect("our programs run");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("it is text");
        serde_json::from_str(&line).expect("it is JSON")
    };
    let mut seen = vec![next()];
    for _ in 0..3 {
        home.zinit(["restart", "a"]);
        kill_brain(&home);
    }
    home.zinit(["stop", "a"]);
    while seen.last().is_none_or(|it| it["to"] != "Stopped" || it["why"] == Value::Null) {
        seen.push(next());
    }
    let told = events(&home, "a");
    let from = told.iter().position(|it| *it == seen[0]).expect("it is still told");
    assert_eq!(seen[..], told[from..from + seen.len()]);
    kill(Pid::from_raw(i32::try_from(child.id()).expect("it is a pid")), Signal::SIGINT)
        .expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_server_can_be_replayed_over_its_crashes_and_another_policy_differs() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    home.write("cfg/zinit/policy.rhai", "fn restart_delay(service, attempt) { 20 }\n");
    let home = home.service("b", "exec: 'false'\nmax_restarts: 4\n").start();
    home.up("a");
    kill_brain(&home);
    home.until("it gives up", || home.status("b").state == "Failed");
    home.zinit(["server", "stop"]);
    let said = home.zinit(["replay"]);
    assert!(said.contains("none differs"), "{said}");
    home.write("other.rhai", "fn restart_delay(service, attempt) { 21 }\n");
    let out = home.run("zinit", ["replay", "--policy", "other.rhai", "--service", "b"]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("b exited") && said.contains("would be: "), "{said}");
    let out = home.run("zinit", ["replay", "--policy", "other.rhai", "--service", "a", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
    home.write("moves", "g 4\nservice.name\nrestart_delay(service, 3)\nnonsense\nd\np\nq\nn\n");
    let moves = fs::File::open(home.root.join("moves")).expect("it was just written");
    let mut zinit = home.command("zinit");
    zinit.args(["replay", "--step", "--service", "b"]).stdin(moves);
    let said = text(&zinit.output().expect("our programs run").stdout);
    let mut rest = said.as_str();
    for expected in ["[1/", "b want_up", "[4/", "\"b\"\n20\nerror: ", "there is none", "[3/"] {
        let at = rest.find(expected).unwrap_or_else(|| panic!("no {expected} in {said}"));
        rest = &rest[at + expected.len()..];
    }
    assert!(!rest.contains("[4/"), "it goes on after its end: {said}");
}

#[test]
fn the_policy_that_was_in_force_outlives_a_file_that_is_broken_meanwhile() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    let policy = "fn restart_delay(service, attempt) { 20 }\n";
    home.write("cfg/zinit/policy.rhai", policy);
    let home = home.start();
    home.up("a");
    home.write("cfg/zinit/policy.rhai", "fn restart_delay(service { }\n");
    for _ in 0..2 {
        kill_brain(&home);
        let told = "the policy goes on that was in force";
        home.until("it says so", || home.server_log().contains(told));
    }
    let dir = home.root.join("var/zinit");
    let files = zinit_host::journal::last_policy(&dir).expect("there is one");
    assert_eq!(files.into_iter().map(|it| it.1).collect::<Vec<_>>(), [policy]);
}

#[test]
fn a_full_disk_costs_records_and_no_supervision() {
    let home = Home::new();
    let home = home.service("a", "exec: sleep 0.01\nrestart_delay: 10ms\n");
    if !home.start_with_disk("var/zinit/journal", 16 << 10) {
        // Nobody may mount here; the laws of the journal itself cover the rest.
        return;
    }
    home.until("it is full", || home.server_log().contains("the journal is incomplete"));
    let before = home.status("a").restarts;
    home.until("it goes on", || home.status("a").restarts > before + 3);
    assert_eq!(home.server_log().matches("the journal is incomplete").count(), 1);
}

#[test]
fn the_journal_is_nobody_elses_and_one_line_for_each_thing() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    home.up("a");
    kill_brain(&home);
    let file = home.root.join("var/zinit/journal/current.jsonl");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = fs::read_to_string(&file).expect("it is text");
    for line in lines.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|it| panic!("{it}: {line}"));
    }
    assert!(
        lines.lines().any(|it| it.contains("\"service\":\"a\",\"event\":{\"kind\":\"started\""))
    );
}

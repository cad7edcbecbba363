//! Who may come in, how many, and for how long they wait.

#![expect(clippy::disallowed_methods, reason = "what takes how long is what is tried")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use zinit_tests::clients::{Client, free_address, let_pass};
use zinit_tests::daemon::{Home, text};

use super::{Family, NAME, Stand};

/// Waits until there is an event of the service with these words.
fn until_told(home: &Home, words: &str) {
    home.until(words, || {
        let events = home.ask("events.get", json!([NAME, 0, 50]));
        let events = events.as_array().expect("a list");
        events.iter().any(|it| it["why"].as_str().is_some_and(|it| it.contains(words)))
    });
}

fn each_has_its_end_after_the_time(family: Family) {
    let words = ["connect_timeout: 1"];
    let stand = Stand::new(family, "delay=ever", "", &words);
    let begin = Instant::now();
    let mut clients: Vec<Client> = (0..5).map(|_| stand.client()).collect();
    for client in &mut clients {
        client.say("anybody there?\n");
    }
    for client in &mut clients {
        assert!(["end", "reset"].contains(&client.fate()));
    }
    let took = begin.elapsed();
    assert!((1_000..1_500).contains(&took.as_millis()), "{took:?}");
    until_told(&stand.home, "clients have waited in vain: ");
    let proxy = stand.proxy();
    assert_eq!((&proxy["timed_out"], &proxy["waiting"]), (&json!(5), &json!(0)), "{proxy}");
    assert_eq!(stand.starts(), 1);
}

#[test]
fn who_waits_in_vain_at_a_port_has_its_end_after_the_time() {
    each_has_its_end_after_the_time(Family::Tcp);
}

#[test]
fn who_waits_in_vain_at_a_path_has_its_end_after_the_time() {
    each_has_its_end_after_the_time(Family::Unix);
}

#[test]
fn who_waits_for_a_service_that_never_becomes_ready_is_told_why() {
    let words = ["connect_timeout: 1"];
    let stand = Stand::new(Family::Tcp, "delay=ever", "notify: true\n", &words);
    assert_eq!(stand.client().fate(), "reset");
    until_told(&stand.home, "clients have waited in vain: `svc` was not up for 1s");
}

#[test]
fn who_waits_for_a_service_that_is_given_up_is_sent_away() {
    let front = free_address();
    let yaml = format!(
        "exec: 'false'\nmax_restarts: 1\nrestart_delay: 0\nxinit:\n  enabled: true\n  \
         listen: {front}\n  backend: {}\n",
        free_address()
    );
    let home = Home::new().service(NAME, &yaml).start();
    assert_eq!(Client::to(&front).fate(), "reset");
    until_told(&home, "clients are sent away: `svc` is down and is not started for them");
    assert_eq!(home.status(NAME).state, "Failed");
}

#[test]
fn who_comes_when_as_many_wait_as_may_is_refused_and_the_others_are_served() {
    let stand = Stand::new(Family::Tcp, "delay=1500 greet", "notify: true\n", &["max_waiting: 2"]);
    let mut waiting = [stand.client(), stand.client()];
    stand.until_waiting(2);
    for _ in 0..3 {
        assert_eq!(stand.client().fate(), "reset");
    }
    until_told(&stand.home, "clients are refused: 2 wait already (`max_waiting`)");
    assert_eq!(stand.proxy()["refused"], 3);
    for (number, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.line(), number.to_string());
    }
}

#[test]
fn one_at_a_time_is_served_when_that_is_wished_and_the_others_wait() {
    for words in ["max_connections: 1", "single_connection: true"] {
        let stand = Stand::new(Family::Unix, "greet", "notify: true\n", &[words]);
        let mut first = stand.client();
        assert_eq!(first.line(), "0");
        let mut others = [stand.client(), stand.client()];
        stand.until_waiting(2);
        assert_eq!(first.asks("hello"), "hello");
        assert_eq!((stand.proxy()["active_connections"]).as_u64(), Some(1));
        drop(first);
        assert_eq!(others[0].line(), "1");
        assert_eq!(stand.proxy()["waiting"], 1);
        let [second, mut third] = others;
        drop(second);
        assert_eq!(third.line(), "2");
    }
}

/// What a client says and hears that runs as another user.
fn as_another_user(path: &str) -> String {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut client = Command::new("setpriv");
    client.args(nobody).args(["sh", "-c", "echo hello | nc -N -U \"$0\"", path]);
    text(&client.output().expect(".ci/run installs setpriv and nc").stdout)
}

#[test]
fn only_these_users_may_connect() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    for (user, answer) in [("daemon", ""), ("65534", "hello\n"), ("nobody", "hello\n")] {
        let users = format!("users: [{user}]");
        let stand = Stand::new(Family::Unix, "", "notify: true\n", &[&users]);
        fs::set_permissions(&stand.home.root, fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        assert_eq!(as_another_user(&stand.front), answer, "{users}");
        if answer.is_empty() {
            until_told(&stand.home, "user 65534 may not connect: `users` does not name them");
            assert_eq!((stand.proxy()["refused"].as_u64(), stand.starts()), (Some(1), 0));
        }
        assert_eq!(stand.client().asks("root"), "root", "who may always");
    }
}

#[test]
fn the_permissions_of_a_path_are_as_wished() {
    for (words, mode) in [("", 0o666), ("socket_mode: \"0600\"", 0o600)] {
        let stand = Stand::new(Family::Unix, "", "", &[words]);
        let there = fs::metadata(&stand.front).expect("it is there");
        assert_eq!(there.permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_client_that_is_gone_before_its_turn_is_nobody() {
    let stand = Stand::new(Family::Tcp, "delay=1500 greet", "notify: true\n", &[]);
    let (gone, mut stays) = (stand.client(), stand.client());
    stand.until_waiting(2);
    drop(gone);
    stand.until_waiting(1);
    assert_eq!(stays.line(), "0");
}

#[test]
fn silence_costs_nothing() {
    let stand = Stand::new(Family::Tcp, "", "notify: true\n", &[]);
    let mut clients: Vec<Client> = (0..20).map(|_| stand.client()).collect();
    for client in &mut clients {
        assert_eq!(client.asks("hello"), "hello");
    }
    let brain = stand.home.brain().expect("it runs");
    let relay = || {
        let tasks = fs::read_dir(format!("/proc/{brain}/task")).expect("it lives");
        let mut tasks = tasks.flatten().map(|it| it.path());
        let is_relay = |name: String| name.trim() == "relay";
        let relay = tasks.find(|it| fs::read_to_string(it.join("comm")).is_ok_and(is_relay));
        let status = fs::read_to_string(relay.expect("it runs").join("status")).expect("it lives");
        let waits = status.lines().find(|it| it.starts_with("voluntary_ctxt_switches"));
        waits.expect("it is told").to_owned()
    };
    // What was said is over and done with when the same is seen twice.
    stand.home.until("it rests", || {
        let before = relay();
        let_pass(Duration::from_millis(200));
        relay() == before
    });
    let before = relay();
    let_pass(Duration::from_secs(2));
    assert_eq!(relay(), before, "nobody has woken it");
}

//! Services that get the listening sockets themselves.

use nix::sys::signal::Signal;
use serde_json::json;
use zinit_tests::clients::{Client, Crowd, free_address};
use zinit_tests::daemon::Home;

use super::{NAME, backend, kill_brain, number, starts, until_another_brain};

/// A server with such a service, and where clients connect to: a port and a path.
fn stand(words: &str, more: &str) -> (Home, [String; 2]) {
    let home = Home::new();
    let root = home.root.display();
    let fronts = [free_address(), format!("{root}/front.sock")];
    let yaml = format!(
        "exec: {} fds starts={root}/starts {words}\nnotify: true\n{more}\
         xinit:\n  enabled: true\n  mode: pass\n  listen: [{}, {}]\n  fd_names: [port, path]\n",
        backend(),
        fronts[0],
        fronts[1]
    );
    (home.service(NAME, &yaml).start(), fronts)
}

#[test]
fn it_is_told_which_sockets_it_gets() {
    let (home, fronts) = stand("", "");
    assert_eq!(home.status(NAME).state, "Stopped");
    for front in &fronts {
        assert_eq!(Client::to(front).asks("env"), "2 port:path ours=true");
    }
    assert_eq!(starts(&home), 1);
    let proxy = home.ask("xinit.status", json!([NAME]));
    assert_eq!((&proxy["mode"], &proxy["starts"]), (&json!("pass"), &json!(1)), "{proxy}");
}

#[test]
fn clients_wait_in_the_kernel_while_it_is_restarted() {
    let (home, fronts) = stand("finish", "");
    let crowds: Vec<Crowd> = fronts.iter().map(|it| Crowd::of(8, it)).collect();
    let count = || crowds.iter().map(Crowd::count).sum::<usize>();
    for k in 1..=number(10, 100) {
        home.until("clients come", || count() >= k * 50);
        let before = home.status(NAME).incarnation;
        home.ask("service.restart", json!([NAME]));
        home.until("it is started again", || home.status(NAME).incarnation > before);
    }
    for crowd in crowds {
        let outcomes = crowd.over();
        assert_eq!(outcomes.keys().copied().collect::<Vec<_>>(), ["served"], "{outcomes:?}");
    }
}

#[test]
fn one_that_has_ended_because_nobody_came_is_started_by_the_next_client() {
    let (home, fronts) = stand("idle=100", "restart: on-failure\n");
    for round in 1..=3 {
        assert_eq!(Client::to(&fronts[round % 2]).asks("hello"), "hello");
        assert_eq!(starts(&home), round);
        home.ask("service.wait", json!([NAME, 30, "down"]));
    }
}

#[test]
fn its_clients_do_not_notice_what_becomes_of_the_server() {
    let (home, fronts) = stand("", "");
    let mut connected: Vec<Client> = (0..50).map(|k| Client::to(&fronts[k % 2])).collect();
    let pid = connected[0].asks("pid");
    kill_brain(&home);
    let brain = home.brain();
    home.signal_brain(Signal::SIGUSR1);
    until_another_brain(&home, brain);
    for client in &mut connected {
        assert_eq!(client.asks("pid"), pid);
    }
    assert_eq!(Client::to(&fronts[0]).asks("env"), "2 port:path ours=true");
    home.ask("service.restart", json!([NAME]));
    home.until("another process", || starts(&home) == 2);
    assert_ne!(Client::to(&fronts[1]).asks("pid"), pid);
}

#[test]
fn who_knocked_before_the_brain_was_killed_is_served_after_it() {
    let (home, fronts) = stand("delay=2000", "");
    let mut waiting: Vec<Client> = (0..50).map(|k| Client::to(&fronts[k % 2])).collect();
    for client in &mut waiting {
        client.say("hello\n");
    }
    home.until("it is started", || starts(&home) == 1);
    kill_brain(&home);
    for client in &mut waiting {
        assert_eq!(client.line(), "hello");
    }
    assert_eq!(starts(&home), 1);
}

//! Proxies stand until somebody takes them away.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::clients::{Client, free_address};
use zinit_tests::daemon::Home;

use super::{Family, NAME, Stand, backend, freeze_brain, kill_brain};

/// A server with a proxy that was registered while it ran.
fn registered() -> (Home, [String; 2]) {
    let (back, front) = (free_address(), free_address());
    let home = Home::new();
    let path = home.root.join("front.sock").display().to_string();
    let yaml = format!("exec: {} {back}\nnotify: true\nstatus: stop\n", backend());
    let home = home.service(NAME, &yaml).start();
    let proxy = json!({
        "name": "door", "listen": [front, path], "backend": back, "service": NAME, "idle_timeout": 60,
    });
    home.ask("xinit.register", proxy);
    (home, [front, path])
}

fn stands(home: &Home, fronts: &[String; 2]) {
    let proxy = home.ask("xinit.status", json!(["door"]));
    assert_eq!((&proxy["running"], &proxy["idle_timeout"]), (&json!(true), &json!(60)), "{proxy}");
    for front in fronts {
        assert_eq!(Client::to(front).asks("hello"), "hello");
    }
}

#[test]
fn one_that_was_registered_is_there_after_the_server_was_started_again() {
    let (home, fronts) = registered();
    stands(&home, &fronts);
    home.zinit(["server", "stop"]);
    assert!(Client::connect(&fronts[0]).is_err() && Client::connect(&fronts[1]).is_err());
    let home = home.start();
    assert_eq!(home.status(NAME).state, "Stopped", "it waits for somebody");
    stands(&home, &fronts);
}

#[test]
fn one_that_was_registered_is_there_after_everything_was_killed() {
    let (home, fronts) = registered();
    stands(&home, &fronts);
    kill_brain(&home);
    stands(&home, &fronts);
    let (brain, keeper) = (home.brain().expect("it runs"), home.keeper());
    kill(Pid::from_raw(keeper), Signal::SIGKILL).expect("it lives");
    // It may have become the next keeper, and another one its brain.
    let _ = kill(Pid::from_raw(brain), Signal::SIGKILL);
    home.until("nobody answers", || home.client_if_any().is_none());
    let home = home.start();
    home.until("it answers", || home.client_if_any().is_some());
    stands(&home, &fronts);
    home.zinit(["xinit", "remove", "door"]);
    kill_brain(&home);
    assert_eq!(home.ask("xinit.list", json!([])), json!([]));
    assert!(Client::connect(&fronts[0]).is_err() && Client::connect(&fronts[1]).is_err());
}

#[test]
fn clients_that_come_while_no_brain_is_there_are_served_by_the_next() {
    let (home, fronts) = registered();
    let brain = freeze_brain(&home);
    let mut clients: Vec<Client> = (0..20).map(|k| Client::to(&fronts[k % 2])).collect();
    for client in &mut clients {
        client.say("hello\n");
    }
    kill(brain, Signal::SIGKILL).expect("it lives");
    for client in &mut clients {
        assert_eq!(client.line(), "hello");
    }
}

#[test]
fn a_service_of_a_proxy_that_ran_when_the_brain_was_killed_is_stopped_when_it_is_idle() {
    let stand = Stand::new(Family::Tcp, "", "notify: true\n", &["idle_timeout: 500ms"]);
    assert_eq!(stand.client().asks("hello"), "hello");
    kill_brain(&stand.home);
    stand.until_down();
    assert_eq!(stand.client().asks("hello"), "hello");
    assert_eq!(stand.starts(), 2);
}

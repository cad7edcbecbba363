//! Clients who are there when the server is killed, or replaced.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::clients::Client;

use super::{Family, NAME, Stand, freeze_brain, kill_brain, until_another_brain};

const CLIENTS: usize = 50;

/// A second service, whose clients are connected when the clients of the first one wait.
fn with_connected(stand: &Stand) -> (Vec<Client>, String) {
    let front = zinit_tests::clients::free_address();
    let back = zinit_tests::clients::free_address();
    let config = json!({ "exec": format!("{} {back}", super::backend()), "notify": true });
    stand.home.ask("service.register", json!(["quick", config]));
    stand.home.ask("service.start", json!(["quick"]));
    stand.home.up("quick");
    let proxy = json!({ "name": "door", "listen": front, "backend": back, "service": "quick" });
    stand.home.ask("xinit.register", proxy);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::to(&front)).collect();
    for client in &mut clients {
        assert_eq!(client.asks("hello"), "hello");
    }
    (clients, front)
}

/// So many who wait for the first service, in order; each has said something, and the keeper has them: one
/// who has come in the very moment of a kill may be lost.
fn with_waiting(stand: &Stand) -> Vec<Client> {
    let fds =
        || fs::read_dir(format!("/proc/{}/fd", stand.home.keeper())).map_or(0, Iterator::count);
    let before = fds();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| stand.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("client {number}\n"));
    }
    stand.until_waiting(CLIENTS as u64);
    stand.home.until("the keeper has them", || fds() >= before + CLIENTS);
    clients
}

fn are_served_in_order(clients: &mut [Client], first: usize) {
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), (first + number).to_string(), "in order");
        assert_eq!(client.line(), format!("client {number}"));
    }
}

/// They wait while the first brain is killed, others come while there is none, and those who are
/// connected see their end.
fn nobody_who_waits_is_lost(family: Family) {
    let stand = Stand::new(family, "delay=2500 greet", "notify: true\n", &[]);
    let (mut connected, front) = with_connected(&stand);
    let mut waiting = with_waiting(&stand);
    let brain = freeze_brain(&stand.home);
    let mut late: Vec<Client> = (0..CLIENTS).map(|_| stand.client()).collect();
    for (number, client) in late.iter_mut().enumerate() {
        client.say(&format!("client {number}\n"));
    }
    let mut other = Client::to(&front);
    other.say("anybody there?\n");
    kill(brain, Signal::SIGKILL).expect("it lives");
    until_another_brain(&stand.home, Some(brain.as_raw()));
    are_served_in_order(&mut waiting, 0);
    are_served_in_order(&mut late, CLIENTS);
    assert_eq!(other.line(), "anybody there?");
    for client in &mut connected {
        assert!(["end", "reset"].contains(&client.fate()));
    }
    assert_eq!(stand.starts(), 1);
    assert_eq!(stand.home.status(NAME).incarnation, 1);
}

#[test]
fn who_waits_at_a_port_is_served_by_the_next_brain() {
    nobody_who_waits_is_lost(Family::Tcp);
}

#[test]
fn who_waits_at_a_path_is_served_by_the_next_brain() {
    nobody_who_waits_is_lost(Family::Unix);
}

#[test]
fn who_waits_is_served_after_brain_upon_brain_was_killed() {
    let stand = Stand::new(Family::Unix, "delay=4000 greet", "notify: true\n", &[]);
    let mut waiting = with_waiting(&stand);
    for _ in 0..3 {
        kill_brain(&stand.home);
    }
    are_served_in_order(&mut waiting, 0);
    assert_eq!(stand.starts(), 1);
}

/// All go on, whoever takes over in order.
fn nobody_notices(renew: &dyn Fn(&Stand)) {
    let stand = Stand::new(Family::Tcp, "delay=2500 greet", "notify: true\n", &[]);
    let (mut connected, _) = with_connected(&stand);
    let mut waiting = with_waiting(&stand);
    let brain = stand.home.brain();
    renew(&stand);
    until_another_brain(&stand.home, brain);
    are_served_in_order(&mut waiting, 0);
    for client in &mut connected {
        assert_eq!(client.asks("still there"), "still there");
    }
    let door = stand.home.ask("xinit.status", json!(["door"]));
    assert_eq!(door["active_connections"], CLIENTS, "{door}");
    assert_eq!(stand.starts(), 1);
}

#[test]
fn nobody_notices_that_the_server_is_renewed() {
    nobody_notices(&|stand| drop(stand.home.zinit(["server", "renew"])));
}

#[test]
fn nobody_notices_a_soft_restart_of_the_brain() {
    nobody_notices(&|stand| stand.home.signal_brain(Signal::SIGUSR1));
}

#[test]
fn who_waits_or_is_connected_outlives_hand_overs_one_after_the_other() {
    let stand = Stand::new(Family::Unix, "", "notify: true\n", &[]);
    let mut client = stand.client();
    let pid = client.asks("pid");
    for _ in 0..5 {
        let brain = stand.home.brain();
        stand.home.signal_brain(Signal::SIGUSR1);
        until_another_brain(&stand.home, brain);
        assert_eq!(client.asks("pid"), pid);
    }
}

#[test]
fn who_is_killed_with_the_keeper_loses_clients_and_no_sockets() {
    let stand = Stand::new(Family::Tcp, "", "notify: true\n", &[]);
    let pid = stand.client().asks("pid");
    let keeper = stand.home.keeper();
    kill(Pid::from_raw(keeper), Signal::SIGKILL).expect("it lives");
    // Its brain becomes the next one.
    stand
        .home
        .until("another keeper", || stand.home.brain().is_some() && stand.home.keeper() != keeper);
    assert_eq!(stand.client().asks("pid"), pid);
    kill_brain(&stand.home);
    assert_eq!(stand.client().asks("pid"), pid);
}

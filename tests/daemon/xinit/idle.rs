//! Clients that come at the moment at which their service is stopped, for nobody has come.

use std::time::Duration;

use serde_json::json;
use zinit_tests::clients::{Client, let_pass, outcome};

use super::{Family, NAME, Stand, number};

/// In each round a client comes a little later after the one before it, around the moment of the stop.
fn is_nobody_lost(family: Family) {
    let stand = Stand::new(family, "", "notify: true\n", &["idle_timeout: 20ms"]);
    let rounds = number(100, 1_000);
    for round in 0..rounds {
        let said = outcome(&stand.front);
        assert_eq!(said, "served", "round {round}: {}", stand.proxy());
        let late = Duration::from_micros(17_000 + 8_000 * (round % 50) as u64 / 50);
        let_pass(late);
    }
    let (starts, proxy) = (stand.starts(), stand.proxy());
    eprintln!("{rounds} rounds, {starts} starts: {proxy}");
    assert!(starts > 1, "it was never stopped");
    assert_eq!(proxy["total_connections"], rounds, "{proxy}");
    assert_eq!((proxy["refused"].as_u64(), proxy["timed_out"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn nobody_at_a_port_is_lost_to_an_idle_stop() {
    is_nobody_lost(Family::Tcp);
}

#[test]
fn nobody_at_a_path_is_lost_to_an_idle_stop() {
    is_nobody_lost(Family::Unix);
}

#[test]
fn who_comes_while_it_is_stopping_waits_for_the_next_start() {
    let stand = Stand::new(Family::Tcp, "finish", "notify: true\nshutdown_timeout: 60\n", &[]);
    let mut first = stand.client();
    let pid = first.asks("pid");
    // It ends when nobody is connected, which is not yet so.
    stand.home.ask("service.stop", json!([NAME, false]));
    stand.home.until("it stops", || stand.home.status(NAME).state == "Stopping");
    let mut second = stand.client();
    second.say("pid\n");
    stand.until_waiting(1);
    assert_eq!(first.asks("pid"), pid, "the first one goes on");
    drop(first);
    assert_ne!(second.line(), pid);
    assert_eq!(stand.starts(), 2);
}

#[test]
fn a_service_with_a_silent_client_is_not_idle() {
    let stand = Stand::new(Family::Tcp, "", "notify: true\n", &["idle_timeout: 50ms"]);
    let mut silent = stand.client();
    let pid = silent.asks("pid");
    let_pass(Duration::from_millis(500));
    assert_eq!(silent.asks("pid"), pid);
    drop(silent);
    stand.until_down();
    assert_ne!(Client::to(&stand.front).asks("pid"), pid);
}

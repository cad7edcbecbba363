//! Clients that come while their service is restarted, or killed, again and again.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::clients::Crowd;

use super::{Family, NAME, Stand, number};

const AT_ONCE: usize = 32;

/// Lets clients come during so many ends of their service, at least a hundred for each, and says what has
/// become of them.
fn come_during(stand: &Stand, ends: usize, end: &dyn Fn(&Stand)) -> BTreeMap<&'static str, usize> {
    let crowd = Crowd::of(AT_ONCE, &stand.front);
    for k in 1..=ends {
        stand.home.until("clients come", || crowd.count() >= k * 100);
        let before = stand.home.status(NAME).incarnation;
        end(stand);
        stand.home.until("it is started again", || {
            let now = stand.home.status(NAME);
            now.incarnation > before && now.state == "Running"
        });
    }
    let count = crowd.count();
    stand.home.until("clients come", || crowd.count() > count + 100);
    let outcomes = crowd.over();
    eprintln!("{ends} ends: {outcomes:?}; {}", stand.proxy());
    assert!(outcomes.values().sum::<usize>() >= ends * 100);
    assert!(stand.starts() > ends, "it was started {} times", stand.starts());
    outcomes
}

fn are_all_served_during_restarts(family: Family, words: &str) {
    let stand = Stand::new(family, words, "notify: true\n", &[]);
    let restart = |stand: &Stand| drop(stand.home.ask("service.restart", json!([NAME])));
    let outcomes = come_during(&stand, number(20, 100), &restart);
    assert_eq!(outcomes.keys().copied().collect::<Vec<_>>(), ["served"], "{outcomes:?}");
}

#[test]
fn nobody_at_a_port_notices_restarts() {
    are_all_served_during_restarts(Family::Tcp, "");
}

#[test]
fn nobody_at_a_path_notices_restarts() {
    are_all_served_during_restarts(Family::Unix, "");
}

#[test]
fn nobody_notices_restarts_of_a_service_that_finishes_what_it_has_begun() {
    are_all_served_during_restarts(Family::Tcp, "finish");
}

/// One that was killed may have read what a client said. That client sees an orderly end, as the service's
/// socket had: whoever repeated its words might have them done twice. Nobody else notices.
fn are_not_reset_when_it_is_killed(family: Family) {
    let stand = Stand::new(family, "", "notify: true\nrestart_delay: 0\n", &[]);
    let crash = |stand: &Stand| {
        let pid = stand.home.status(NAME).pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    };
    let ends = number(20, 100);
    let mut outcomes = come_during(&stand, ends, &crash);
    let served = outcomes.remove("served").unwrap_or_default();
    let ended = outcomes.remove("ended").unwrap_or_default();
    assert!(outcomes.is_empty(), "{outcomes:?}");
    assert!(ended <= ends * AT_ONCE && served > 0, "{ended} ended without an answer");
}

#[test]
fn nobody_at_a_port_is_reset_when_its_service_is_killed() {
    are_not_reset_when_it_is_killed(Family::Tcp);
}

#[test]
fn nobody_at_a_path_is_reset_when_its_service_is_killed() {
    are_not_reset_when_it_is_killed(Family::Unix);
}

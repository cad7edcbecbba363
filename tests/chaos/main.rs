//! Servers are killed at any moment, and their services must not notice, nor may anybody else.
//!
//! `ZINIT_CHAOS_SECS=600` makes the long run of the same. A run that fails prints its seed and what was
//! done, to be given back as `ZINIT_CHAOS_SEED` and `ZINIT_CHAOS_PLAN`. Each service writes down its own
//! life (`service.rs`); what is there in the end must agree with the laws in `record.rs` and `lines.rs`.

mod dice;
mod lines;
mod plan;
mod procs;
mod record;
mod reuse;
mod stage;
mod watch;

use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use plan::Pace;
use stage::{Cast, Stage};

/// Runs one after the other: each wants the whole machine.
static TURN: Mutex<()> = Mutex::new(());

/// How long a run takes, in milliseconds, when nobody says otherwise.
fn total_ms(usual_secs: u64) -> u64 {
    let given = std::env::var("ZINIT_CHAOS_SECS").ok();
    given.map_or(usual_secs, |it| it.parse().expect("ZINIT_CHAOS_SECS is a number")) * 1000
}

/// Plays what was pasted, or what the dice say.
fn play(stage: &mut Stage, seed: u64, pace: Pace) {
    let steps = match std::env::var("ZINIT_CHAOS_PLAN") {
        Ok(text) => plan::parse(&text),
        Err(_) => plan::plan(seed, pace, &stage.lasting()),
    };
    stage.play(&steps);
}

fn run(what: &str, cast: &[Cast], pace: Pace) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = stage::seed();
    let mut stage = Stage::new(seed, cast);
    stage.begin();
    play(&mut stage, seed, pace);
    stage.end(what);
}

/// The faults of a run in which this is done by hand to the process of the only service.
fn faults_after(does: impl Fn(&Stage, &str)) -> String {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stage = Stage::new(1, &[Cast { role: "sleep", count: 1, times_ms: (0, 0) }]);
    stage.begin();
    does(&stage, "sleep-000");
    stage.look();
    stage.faults.join("\n")
}

#[test]
fn a_run_in_which_nothing_happens_has_no_faults() {
    assert_eq!(faults_after(|_, _| {}), "");
}

#[test]
fn a_second_process_of_a_service_is_noticed() {
    let faults = faults_after(|stage, name| stage.run_a_second(name));
    assert!(faults.contains("a second process"), "{faults}");
}

#[test]
fn a_service_that_is_killed_and_started_again_is_noticed() {
    let faults = faults_after(|stage, name| {
        let pid = stage.home.up(name).pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
        stage.home.until("it runs again", || {
            let now = stage.home.status(name);
            now.state == "Running" && now.pid != pid
        });
    });
    assert!(faults.contains("has not ended by itself"), "{faults}");
    assert!(faults.contains("no process has ended so"), "{faults}");
}

#[test]
fn a_signal_to_a_service_is_noticed() {
    let faults = faults_after(|stage, name| {
        kill(Pid::from_raw(stage.home.up(name).pid), Signal::SIGHUP).expect("it lives");
    });
    assert!(faults.contains("nobody asked for"), "{faults}");
}

#[test]
fn two_hundred_services_outlive_every_server() {
    let cast = [
        Cast { role: "sleep", count: 105, times_ms: (0, 0) },
        Cast { role: "crash", count: 40, times_ms: (300, 3000) },
        Cast { role: "write", count: 20, times_ms: (5, 40) },
        Cast { role: "fork", count: 15, times_ms: (0, 0) },
        Cast { role: "once", count: 20, times_ms: (100, 5000) },
    ];
    let total_ms = total_ms(20);
    run("chaos", &cast, Pace { total_ms, every_ms: 1000, kills_one_in: 1, asks_one_in: 3 });
}

#[test]
fn every_line_of_twenty_writers_is_in_its_log_once() {
    let cast = [Cast { role: "write", count: 20, times_ms: (0, 3) }];
    let pace = Pace { total_ms: total_ms(6), every_ms: 400, kills_one_in: 1, asks_one_in: 5 };
    run("lines", &cast, pace);
}

//! Where there are few process ids, and each is somebody else's a moment later, no stranger is sent a
//! signal.

#![expect(clippy::disallowed_methods, reason = "it runs programs")]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use zinit_tests::daemon::programs;

use crate::plan::Pace;
use crate::record;
use crate::stage::{self, Cast, Stage};
use crate::{TURN, play, total_ms};

/// Set where there is a PID namespace of our own.
const INSIDE: &str = "ZINIT_CHAOS_INSIDE";

/// The kernel gives numbers below 300 once only.
const PID_MAX: &str = "560";

/// How many strangers there are at a time, and how long they live at most, in milliseconds.
const STRANGERS: (u64, u64) = (80, 60);

#[test]
fn no_stranger_is_signalled_where_process_ids_are_reused() {
    if std::env::var_os(INSIDE).is_some() {
        return among_strangers();
    }
    if record::kernel() < (6, 14) {
        return println!("the limit of process ids would be everybody's here");
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    programs();
    let status = ["-pf", "-Urpf"].into_iter().map(inside).find(|it| *it != Some(99));
    match status {
        Some(status) => assert_eq!(status, Some(0), "it has failed in there"),
        None => println!("nobody may make a PID namespace here"),
    }
}

/// Runs this test in a PID namespace; 99 when there can be none.
fn inside(flags: &str) -> Option<i32> {
    let itself = std::env::current_exe().expect("a test has a file");
    let name = "reuse::no_stranger_is_signalled_where_process_ids_are_reused";
    // The shell is the first process there, which reaps whatever has lost its parents.
    let script = format!(
        "echo {PID_MAX} > /proc/sys/kernel/pid_max || exit 99; \
         \"$0\" --exact {name} --nocapture; exit $?"
    );
    let mut unshare = Command::new("unshare");
    unshare.args([flags, "--mount-proc", "--kill-child", "sh", "-c", &script]).arg(itself);
    let ran = unshare.env(INSIDE, "yes").stdin(Stdio::null()).status();
    let code = ran.expect("unshare runs").code();
    // Where there can be no namespace, `unshare` itself ends with 1 before anything runs.
    let can = Command::new("unshare").args([flags, "--mount-proc", "true"]).status();
    if can.is_ok_and(|it| it.success()) { code } else { Some(99) }
}

fn among_strangers() {
    let seed = stage::seed();
    let cast = [
        Cast { role: "crash", count: 15, times_ms: (20, 300) },
        Cast { role: "sleep", count: 10, times_ms: (0, 0) },
        Cast { role: "fork", count: 5, times_ms: (0, 0) },
        Cast { role: "write", count: 5, times_ms: (5, 40) },
    ];
    let mut stage = Stage::new(seed, &cast);
    stage.begin();
    let mut breeder = Command::new(env!("CARGO_BIN_EXE_chaos-service"));
    breeder.arg("breed").arg(&stage.home.root).arg("strangers").arg(seed.to_string());
    breeder.args([STRANGERS.1.to_string(), STRANGERS.0.to_string()]).stdin(Stdio::piped());
    let mut breeder = breeder.spawn().expect("it runs");
    let pace = Pace { total_ms: total_ms(12), every_ms: 150, kills_one_in: 6, asks_one_in: 1 };
    play(&mut stage, seed, pace);
    drop(breeder.stdin.take());
    let status = breeder.wait().expect("it is our child");
    let told = fs::read_to_string(stage.home.root.join("strangers")).expect("they have written");
    if !status.success() || told.lines().count() != 1 {
        stage.faults.push(format!("strangers: {status}: {told}"));
    }
    let bred = told.rsplit(' ').next().and_then(|it| it.trim().parse::<u64>().ok());
    println!("{bred:?} strangers were born and died");
    assert!(bred > Some(2_000), "so few reuse nothing: {told}");
    stage.end("reuse");
}

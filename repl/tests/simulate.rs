//! `zinit simulate` as it is run: the same answer from two processes, mistakes, and Ctrl-C.

#![expect(clippy::disallowed_methods, reason = "it runs the command and waits for it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A directory of services of its own for one test.
struct Fleet(PathBuf);

impl Fleet {
    fn with(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("zinit-fleet-{}-{count}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("a file");
        }
        Self(dir)
    }

    fn simulate(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zinit"));
        command.args(["simulate", "--services", "."]).args(args).current_dir(&self.0);
        command.env("ZINIT_HOME", "/nowhere").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        told(self.simulate(args).output().expect("zinit runs"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |it| String::from_utf8(it).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn three() -> Fleet {
    Fleet::with(&[
        ("db.yaml", "exec: sleep 1000\n"),
        ("web.yaml", "exec: sleep 1000\nafter: [db]\n"),
        ("setup.yaml", "exec: 'true'\noneshot: true\n"),
        ("spare.yaml", "exec: sleep 1000\nstatus: stop\n"),
    ])
}

#[test]
fn two_processes_give_the_same_answer_to_the_byte_and_a_policy_changes_it() {
    let fleet = three();
    let args = ["--crash", "*=1/h", "--outage", "db=10m@2h", "--seed", "5", "--json"];
    let first = fleet.run(&args);
    assert_eq!(first.0, Some(0), "{first:?}");
    assert_eq!(first, fleet.run(&args));
    let report: Value = serde_json::from_str(&first.1).expect("JSON");
    assert_eq!(report["services"][0]["name"], "db");
    assert_eq!(report["unused"], serde_json::json!(["spare"]));
    fs::write(fleet.0.join("slow.rhai"), "fn restart_delay(service, attempt) { 600_000 }")
        .expect("a file");
    let other = fleet.run(&[&args[..], &["--policy", "slow.rhai"]].concat());
    let other: Value = serde_json::from_str(&other.1).expect("JSON");
    assert!(other["restarts"].as_u64() < report["restarts"].as_u64(), "{other}");
}

#[test]
fn the_chart_is_80_columns_wide_where_no_terminal_says_otherwise() {
    let (code, out, err) = three().run(&["--outage", "db=2h@2h"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let rows: Vec<&str> = out.lines().filter(|it| it.contains('━')).collect();
    assert!(rows.len() == 4 && rows.iter().all(|it| it.chars().count() <= 80), "{out}");
    assert!(rows[0].starts_with("db    ━━") && rows[0].contains('░'), "{out}");
    assert!(out.contains("not started: spare\n"), "{out}");
    assert!(out.trim_end().lines().last().is_some_and(|it| it.starts_with("24 h of 3 services: ")));
}

#[test]
fn mistakes_are_told_with_what_was_meant() {
    let fleet = three();
    let (code, _, err) = fleet.run(&["--crash", "wbe=1/h"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "error: there is no service `wbe`\nhint: did you mean `web`?\n")
    );
    assert_eq!(fleet.run(&["--crash", "web=often"]).0, Some(2));
    let (code, _, err) = fleet.run(&["--policy", "none.rhai"]);
    assert!(code == Some(1) && err.contains("cannot read the policy none.rhai"), "{err}");
    fs::write(fleet.0.join("typo.yaml"), "exce: sleep 1\n").expect("a file");
    fs::write(fleet.0.join("policy.rhai"), "fn restart_delay(service) {").expect("a file");
    let (code, _, err) = fleet.run(&[]);
    assert!(code == Some(1) && err.contains("nothing is simulated: 2 problems"), "{err}");
    assert!(err.contains("unknown key `exce`") && err.contains("policy.rhai:1"), "{err}");
}

#[test]
fn ctrl_c_ends_it() {
    let fleet = three();
    let args = ["--crash", "*=60/m", "--hours", "8000"];
    let mut command = fleet.simulate(&args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("zinit runs");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    until_it_listens(pid);
    kill(pid, Signal::SIGINT).expect("it runs");
    let (code, out, err) = told(child.wait_with_output().expect("it ends"));
    assert_eq!((code, out.as_str()), (Some(130), ""), "{err}");
}

/// Waits until it simulates: one of its threads does that, one listens to SIGINT, one waits for both.
fn until_it_listens(pid: Pid) {
    let end = Instant::now() + Duration::from_secs(20);
    let threads = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let threads = status.lines().find_map(|it| it.strip_prefix("Threads:"));
        threads.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
    };
    while threads() < 3 {
        assert!(Instant::now() < end, "it does not listen to SIGINT");
        std::thread::yield_now();
    }
}

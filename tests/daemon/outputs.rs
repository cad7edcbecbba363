//! What services write to one another, and what is said on their behalf.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::daemon::Home;

/// Appends what it reads to a file, line by line.
fn logger(out: &Path) -> String {
    format!("exec: \"sh -c 'while read it; do echo $it >> {}; done'\"\n", out.display())
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn numbers(upto: usize) -> Vec<String> {
    (1..=upto).map(|it| it.to_string()).collect()
}

#[test]
fn what_one_service_writes_another_reads_whoever_is_killed_in_between() {
    let home = Home::new();
    let (out, go) = (home.root.join("out"), home.root.join("go"));
    let web = format!(
        "exec: \"sh -c 'seq 1 50; while [ ! -e {} ]; do sleep 0.01; done; seq 51 100 >&2; exec \
         sleep 1000'\"\nlog_to: logger\n",
        go.display()
    );
    let home = home.service("logger", &logger(&out)).service("web", &web).start();
    home.until("half of it is read", || lines(&out).len() == 50);
    let (first, writer) = (home.status("logger"), home.status("web").pid);
    home.signal_brain(Signal::SIGKILL);
    kill(Pid::from_raw(first.pid), Signal::SIGKILL).expect("it lives");
    // While it dies it may still take half of a line with it.
    let proc = Path::new("/proc").join(first.pid.to_string());
    home.until("it is gone", || !proc.exists());
    fs::write(&go, "").expect("written");
    home.until("all of it is read", || lines(&out).len() == 100);
    assert_eq!(lines(&out), numbers(100));
    assert_eq!(home.status("web").pid, writer, "who writes has noticed nothing");
}

#[test]
fn a_service_can_begin_to_write_to_one_that_runs() {
    let home = Home::new();
    let out = home.root.join("out");
    // Without an input it would end at once.
    let idle = format!("{}restart: never\noneshot: true\n", logger(&out));
    let home = home
        .service("logger", &logger(&out).replace("sh -c '", "sh -c 'sleep 1 < /dev/null; "))
        .service("idle", &idle)
        .start();
    home.until("it has nothing to read", || home.status("idle").state == "Success");
    home.zinit([
        "-c",
        r#"new_service("web").exec("seq 1 9").oneshot(true).log_to("logger").start(10)"#,
    ]);
    home.until("all of it is read", || lines(&out).len() == 9);
    assert_eq!(lines(&out), numbers(9));
    let config = home.ask("service.get", json!(["web"]));
    assert_eq!((&config["log_to"], &config["log"]), (&json!("logger"), &json!("ring")));
}

#[test]
fn what_a_stop_command_says_is_in_the_log_of_its_service() {
    let stop = "exec: sleep 1000\nstop_cmd: sh -c 'echo it goes down; kill $MAINPID'\n";
    let fail = "exec: sh -c 'exit 1'\nmax_restarts: 1\non_give_up: sh -c 'echo it is given up'\n";
    let home = Home::new().service("a", stop).service("b", fail).start();
    home.up("a");
    home.zinit(["stop", "a"]);
    let said = |name: &str, what: &str| {
        home.until(what, || home.ask("logs.filter", json!([name])).to_string().contains(what));
    };
    said("a", "it goes down");
    said("b", "it is given up");
}

#[test]
fn outputs_that_cannot_be_are_told_when_the_server_begins() {
    let home = Home::new();
    let dir = home.root.join("logs").display().to_string();
    let log = format!("exec: sleep 1000\nlog: {{ mode: ring, dir: {dir} }}\n");
    let home = home
        .service("a", &log)
        .service("b", &log)
        .service("c", "exec: sleep 1000\nlog_to: nobody\n")
        .start();
    home.up("a");
    home.up("c");
    home.until("who is second is refused", || {
        home.status("b").reason.contains(&format!("`a` logs to `{dir}` as well"))
    });
    let said = home.server_log();
    assert!(said.contains("`log_to` of `c` names `nobody`, which does not exist"), "{said}");
}

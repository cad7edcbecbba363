//! A server and its services, from the first start to the last stop.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_tests::daemon::{Home, children, text};

#[test]
fn services_start_in_the_order_of_their_dependencies() {
    let home = Home::new();
    let order = home.root.join("order");
    let say = |word: &str| format!("sh -c 'echo {word} >> {}; exec sleep 1000'", order.display());
    let home = home
        .service("web", &format!("exec: \"{}\"\nafter: [db, init]\n", say("web")))
        .service("db", &format!("exec: \"{}\"\nafter: init\n", say("db")))
        .service(
            "init",
            &format!("exec: sh -c 'echo init >> {}'\noneshot: true\n", order.display()),
        )
        .start();
    home.up("web");
    assert_eq!(home.status("init").state, "Success");
    home.until("web has written", || {
        fs::read_to_string(&order).unwrap_or_default().contains("web")
    });
    assert_eq!(fs::read_to_string(&order).expect("it was written"), "init\ndb\nweb\n");
}

#[test]
fn the_process_list_shows_one_server_and_its_keeper() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(name(home.keeper()), "zinit-keeper\n");
    assert_eq!(home.children("zinit-server").len(), 1);
}

#[test]
fn a_service_that_dies_is_started_again_and_its_end_is_known() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let first = home.up("a");
    kill(Pid::from_raw(first.pid), Signal::SIGSEGV).expect("it lives");
    home.until("another process", || {
        let now = home.status("a");
        now.state == "Running" && now.pid != first.pid
    });
    let second = home.status("a");
    assert_eq!(second.restarts, 1);
    assert!(second.last_exit.starts_with("SIGSEGV"), "{}", second.last_exit);
}

#[test]
fn a_stop_waits_until_a_deaf_service_is_killed() {
    let deaf = "exec: sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nshutdown_timeout: 200ms\n";
    let home = Home::new().service("deaf", deaf).start();
    let pid = home.up("deaf").pid;
    assert_eq!(home.zinit(["stop", "deaf"]), "Stopped service: deaf\n");
    assert!(!fs::exists(format!("/proc/{pid}")).expect("/proc is readable"));
    let status = home.status("deaf");
    assert_eq!((&*status.state, &*status.target), ("Stopped", "Down"));
}

#[test]
fn what_a_script_registers_persists_over_a_restart_of_the_server() {
    let home = Home::new().start();
    home.zinit(["-c", r#"new_service("kept").exec("sleep 1000").env("A", "b c").start(10)"#]);
    home.zinit(["server", "restart"]);
    assert_eq!(home.up("kept").state, "Running");
    let kept = home.ask("service.get", json!(["kept"]));
    assert_eq!(kept["env"], json!({ "A": "b c" }));
}

#[test]
fn labels_and_policy_change_and_are_shown_while_the_service_runs() {
    let home = Home::new().service("a", "exec: sleep 1000\nlabels: { tier: web }\n").start();
    let pid = home.up("a").pid;
    let yaml = "exec: sleep 1000\nlabels: { tier: db, n: 7 }\npolicy: { settle_ms: my::time }\n";
    home.write("cfg/zinit/policy/my.rhai", "fn time(service) { 20 }");
    home.zinit(["reload"]);
    fs::write(home.root.join("cfg/zinit/a.yaml"), yaml).expect("it can be written");
    home.zinit(["reload", "a"]);
    home.until("it is shown", || home.status("a").labels.len() == 2);
    assert_eq!(home.up("a").pid, pid, "the process goes on");
    let shown = home.zinit(["status", "a"]);
    assert!(shown.contains("  Labels: n=7, tier=db\n  Policy: settle_ms=my::time\n"), "{shown}");
}

#[test]
fn a_deleted_service_is_gone_with_its_file() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let pid = home.up("a").pid;
    assert_eq!(home.zinit(["delete", "a"]), "Deleted service: a\n");
    assert!(!home.root.join("cfg/zinit/a.yaml").exists());
    assert!(!children(home.keeper()).contains(&pid));
}

#[test]
fn output_is_kept_and_both_streams_are_told_apart() {
    let yaml = "exec: sh -c 'echo out; echo err >&2; exec sleep 1000'\n";
    let home = Home::new().service("a", yaml).start();
    home.up("a");
    let mut lines: Vec<String> = Vec::new();
    home.until("both lines", || {
        lines = home.zinit(["logs", "a"]).lines().map(str::to_owned).collect();
        lines.len() >= 2
    });
    lines.sort();
    assert_eq!(lines, ["[+] a: out", "[-] a: err"]);
}

#[test]
fn a_server_in_the_foreground_ends_in_order_when_it_is_told_to() {
    let home = Home::new().service("a", "exec: sleep 1000\n");
    let mut server = home.command("zinit-server").stdout(Stdio::piped()).spawn().expect("it runs");
    let mut said = [0; 64];
    let count = server.stdout.as_mut().expect("it is piped").read(&mut said).expect("it says so");
    assert!(text(&said[..count]).starts_with("Zinit server running"));
    let pid = home.up("a").pid;
    let server_pid = i32::try_from(server.id()).expect("pids are small");
    kill(Pid::from_raw(server_pid), Signal::SIGTERM).expect("it lives");
    assert!(server.wait().expect("it is our child").success());
    assert!(!fs::exists(format!("/proc/{pid}")).expect("/proc is readable"));
    assert!(!home.socket().exists());
}

#[test]
fn a_users_policy_decides_and_goes_on_when_its_file_is_broken() {
    let policy = "fn is_failure(service, exit) { exit.code != 7 }";
    let home = Home::new().service("job", "exec: sh -c 'exit 7'\noneshot: true\n");
    home.write("cfg/zinit/policy.rhai", policy);
    let home = home.start();
    assert_eq!(home.up("job").state, "Success");
    home.zinit(["server", "stop"]);
    home.write("cfg/zinit/policy.rhai", "fn is_failure(service) { false }");
    let home = home.start();
    // The bundled policy would take 7 for a failure.
    assert_eq!(home.ask("service.wait", json!(["job", 30, "up"])), json!(true));
    assert!(home.server_log().contains("`is_failure` takes 2 parameters, this one takes 1"));
}

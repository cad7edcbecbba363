//! Looking: at states, causes, events, plans and numbers.

use std::fs;
use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{World, names, told};

#[test]
fn a_status_shows_what_comes_next_and_how_it_is() {
    let world = World::new();
    world.post("web", "Backoff", |it| {
        it.since_ms = -1;
        (it.next, it.next_ms) = ("attempt 3".into(), 1);
        it.waits_for = names(&["db"]);
        it.health = "http: 503".into();
        it.says = "draining".into();
        it.requires = names(&["db"]);
        it.groups = vec!["jobs".into()];
    });
    let expected = "Service: web\n  State: Backoff\n  Target: Up\n  \
        Reason: the test says so\n  Restarts: 0\n  Next: attempt 3 now\n  Waits for: db\n  \
        Health: http: 503\n  Says: draining\n  Requires: db\n  Groups: jobs\n";
    assert_eq!(world.says(&["status", "web"]), expected);
    let listed = "Services:\n  web Backoff (the test says so) unhealthy: http: 503\n";
    assert_eq!(world.says(&["list"]), listed);
}

#[test]
fn survivors_of_a_stop_are_named() {
    let world = World::new();
    let own = std::process::id();
    world.board.cgroup.set(world.dir.join("cgroup")).unwrap();
    fs::create_dir_all(world.dir.join("cgroup/stuck")).unwrap();
    fs::write(world.dir.join("cgroup/stuck/cgroup.procs"), format!("{own}\n")).unwrap();
    world.post("stuck", "Stopping", |_| ());
    let said = world.says(&["status", "stuck"]);
    assert!(said.contains(&format!("\n  Survivors: {own} served")), "{said}");
    world.post("stuck", "Spawned", |_| ());
    let said = world.says(&["status", "stuck"]);
    assert!(!said.contains("Survivors"), "it has just been launched: {said}");
    world.post("stuck", "Stopping", |_| ());
    let (code, _, err) = world.run(&["stop", "stuck", "--timeout", "0"]);
    assert_eq!(code, 4);
    assert!(err.starts_with(&format!("error: `stuck` ({own} served")), "{err}");
}

#[test]
fn the_causes_of_a_state_are_told_down_to_the_first() {
    let world = World::new();
    let waits = |name: &str, state: &str, waits_for: &[&str]| {
        world.post(name, state, |it| (it.since_ms, it.waits_for) = (-1, names(waits_for)));
    };
    waits("web", "Blocked", &["db"]);
    waits("db", "Failed", &[]);
    let expected = "web is Blocked: the test says so\n\
        `-- because db is Failed: the test says so\n";
    assert_eq!(world.says(&["why", "web"]), expected);
    let json: Value = serde_json::from_str(&world.says(&["--json", "why", "web"])).unwrap();
    assert_eq!(json["because"][0]["name"], "db");
    let (code, _, err) = world.run(&["why", "wbe"]);
    assert_eq!(code, 1);
    assert!(err.ends_with("hint: did you mean `web`?\n"), "{err}");
}

#[test]
fn the_tree_begins_where_it_is_told() {
    let world = World::new();
    world.post("web", "Running", |it| it.after = names(&["db"]));
    world.post("db", "Running", |_| ());
    assert_eq!(world.says(&["tree"]), "web Running\n`-- db Running [after]\n");
    assert_eq!(world.says(&["tree", "db"]), "db Running\n");
    assert!(world.says(&["tree", "--dot"]).contains("\"web\" -> \"db\""));
    assert_eq!(world.run(&["tree", "dbb"]).0, 1);
}

#[test]
fn events_are_told_and_then_followed() {
    let world = World::new();
    world.change("web", "Spawned", "Running", "it is up");
    world.change("db", "Running", "Failed", "exit 1");
    let expected = "1970-01-01T00:00:01.000Z web Spawned -> Running: it is up\n\
        1970-01-01T00:00:01.000Z db Running -> Failed: exit 1\n";
    assert_eq!(world.says(&["events"]), expected);
    assert_eq!(
        world.says(&["events", "-n", "1", "web"]),
        expected.lines().next().unwrap().to_owned() + "\n"
    );
    assert_eq!(world.run(&["events", "nobody"]).0, 1);
    let mut child = world.zinit(&["events", "-f", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut why = || {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert_eq!([why(), why()], ["it is up", "exit 1"]);
    for number in 0..20 {
        world.change("web", "Running", "Running", &number.to_string());
        assert_eq!(why(), number.to_string());
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(told(child.wait_with_output().unwrap()), (130, String::new(), String::new()));
}

#[test]
fn a_reload_shows_its_plan_or_all_that_is_wrong() {
    let world = World::new();
    fs::create_dir_all(world.dir.join("cfg/zinit")).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(world.dir.join(format!("cfg/zinit/{name}.yaml")), text).unwrap();
    };
    write("web", "exec: sleep 1\n");
    world.post("old", "Running", |_| ());
    let plan = "+ start web: new file\n- delete old: its file is gone\n";
    let said = world.says(&["reload", "--dry-run"]);
    assert_eq!(said, format!("{plan}2 would be changed, 0 unchanged\n"));
    assert_eq!(world.says(&["reload"]), format!("{plan}2 changed, 0 unchanged\n"));
    let said = world.says(&["reload", "-v", "web"]);
    assert_eq!(said, "= keep web: its file says the same\n0 changed, 1 unchanged\n");
    let json: Value = serde_json::from_str(&world.says(&["--json", "reload"])).unwrap();
    assert_eq!(json[0]["verb"], "unchanged");
    write("a", "exce: sleep 1\n");
    write("b", "exec: [\n");
    let (code, _, err) = world.run(&["reload"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: nothing is reloaded: 2 files are not fine\nerror: "), "{err}");
    assert!(err.contains("a.yaml:1:1: unknown key `exce`") && err.contains("exce: sleep"), "{err}");
    assert!(err.contains("hint: did you mean `exec`?") && err.contains("b.yaml:"), "{err}");
}

#[test]
fn what_services_use_is_a_table_with_the_busiest_first() {
    let world = World::new();
    let own = i32::try_from(std::process::id()).unwrap();
    world.post("web", "Running", |it| it.pid = own);
    world.post("db", "Stopped", |_| ());
    let table = world.says(&["stats"]);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("SERVICE      PID   CPU%"), "{table}");
    assert!(lines.next().unwrap().starts_with(&format!("web     {own:>8}")), "{table}");
    assert_eq!(lines.next(), None);
    let one = world.says(&["stats", "web"]);
    assert!(one.starts_with(&format!("Service: web\n  PID: {own}\n  Memory: ")), "{one}");
    assert!(one.contains("\n  Descriptors: "), "{one}");
    let (code, _, err) = world.run(&["stats", "db"]);
    assert_eq!((code, err.as_str()), (1, "error: `db` is down, so it uses nothing\n"));
    let mut child = world.zinit(&["stats", "--watch", "0.2", "--json", "web"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line[0]["name"], "web");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn programs_get_the_errors_of_scripts_as_json_too() {
    let world = World::new();
    let (code, _, err) = world.run(&["--json", "-c", "zinit_start(\"nobody\")"]);
    assert_eq!(code, 1);
    let error: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(error["error"]["code"], "unknown_service");
}

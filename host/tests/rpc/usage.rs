//! What services use: one in full, or all that run in one call.

#![expect(clippy::disallowed_methods, reason = "processes to look at, and the time it takes")]

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::world::World;

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn sleepers(count: usize) -> Vec<Child> {
    (0..count).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect()
}

fn end(children: Vec<Child>) {
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn one_service_is_told_in_full() {
    let world = World::new();
    let children = sleepers(1);
    world.post_with("web", "Running", |it| (it.pid, it.restarts) = (pid(&children[0]), 3));
    let stats = world.client().result("service.stats", json!(["web"]));
    assert_eq!((&stats["name"], &stats["restarts"]), (&json!("web"), &json!(3)));
    assert_eq!((&stats["processes"], &stats["threads"]), (&json!(1), &json!(1)));
    assert_eq!(stats["memory_total"], stats["memory_usage"]);
    for key in ["pss_total", "fds", "uptime_ms"] {
        assert!(stats[key].as_u64().unwrap() > 0, "{key}: {stats}");
    }
    end(children);
}

#[test]
fn all_that_run_are_told_in_one_call_however_many_there_are() {
    let world = World::new();
    let children = sleepers(200);
    for (number, child) in children.iter().enumerate() {
        world.post(&format!("s{number:03}"), "Running", pid(child));
    }
    world.post("down", "Stopped", 0);
    world.post("gone", "Running", i32::MAX);
    let mut client = world.client();
    let begin = Instant::now();
    let all = client.result("service.stats", json!([]));
    let took = begin.elapsed();
    println!("200 services took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 200);
    assert_eq!((&all[7]["name"], &all[7]["pid"]), (&json!("s007"), &json!(pid(&children[7]))));
    assert!(all.iter().all(|it| it["pss_total"].is_null()), "that would take too long");
    end(children);
}

#[test]
fn the_cpu_that_is_used_now_is_told_and_not_the_mean_of_a_lifetime() {
    let world = World::new();
    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    world.post("busy", "Running", pid(&busy));
    let mut client = world.client();
    let mut percent = || client.result("service.stats", json!(["busy"]))["cpu_usage"].as_f64();
    // The machine may be busy with other tests; that it runs at all shows within any time.
    while percent().unwrap() < 5.0 {}
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid(&busy)),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .unwrap();
    while percent().unwrap() > 0.0 {}
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn what_is_left_of_a_service_is_named_by_its_cgroup() {
    let world = World::new();
    let children = sleepers(1);
    world.board.cgroup.set(world.dir.join("cgroup")).unwrap();
    fs::create_dir_all(world.dir.join("cgroup/web")).unwrap();
    let left = format!("{}\n", pid(&children[0]));
    fs::write(world.dir.join("cgroup/web/cgroup.procs"), left).unwrap();
    world.post("web", "Stopping", 0);
    let tree = &world.client().result("service.status", json!(["web"]))["process_tree"];
    assert_eq!(tree["root"], 0);
    assert_eq!(tree["processes"][pid(&children[0]).to_string()]["name"], "sleep");
    end(children);
}

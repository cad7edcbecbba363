//! An updater that is killed, at whatever moment, leaves whole programs, and the next one goes on.

use std::process::{Child, Stdio};

use crate::brain::{Brain, Temper};
use crate::world::{PROGRAMS, World, target, until, version_in};

fn begun(world: &World, args: &[&str]) -> Child {
    let mut updater = world.command();
    updater.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    updater.spawn().expect("it runs")
}

fn kill(mut updater: Child) {
    updater.kill().expect("it is ours");
    updater.wait().expect("it ends");
}

#[test]
fn who_is_killed_while_the_new_server_is_watched_is_followed_by_one_who_goes_on() {
    let world = World::new();
    world.publish("0.4.1", "");
    let brain = Brain::start(&world, Temper::Well);
    let updater = begun(&world, &["update", "--settle", "600"]);
    brain.is_asked("system.renew");

    world.refuses(&["update"], "another update is under way");
    kill(updater);
    assert!(world.path("bin/.zinit-update.json").exists());
    let said = world.does(&["update", "--settle", "1"]);
    assert!(said.contains("going on with an interrupted update to 0.4.1\n"), "{said}");
    world.is_all("0.4.1");
    assert_eq!(brain.version(), "0.4.1");
    assert!(world.state().contains("version = \"0.4.1\"\nprevious = \"0.4.0\"\n"));
}

#[test]
fn who_is_killed_while_it_fetches_leaves_nothing_that_stays() {
    let world = World::new();
    world.publish("0.4.1", "");
    let stalls = format!("{}.stalls", world.published("zinit-server", "0.4.1").display());
    std::fs::write(&stalls, "").expect("it is writable");
    let updater = begun(&world, &["update"]);
    let aside = world.path("bin/.zinit-server.new");
    until("the download", || aside.exists());
    kill(updater);
    assert_eq!(version_in(&world.path("bin/zinit-server")), "0.4.0");
    assert!(!world.has_run("0.4.1"));
    std::fs::remove_file(&stalls).expect("it is there");
    world.does(&["update"]);
    world.is_all("0.4.1");
}

#[test]
fn who_is_killed_between_two_renames_is_followed_by_one_who_takes_them_back() {
    let world = World::new();
    world.publish("0.4.1", "");
    let manifest: serde_json::Value =
        serde_json::from_str(&world.read("web/manifest.json")).expect("JSON");
    let programs = &manifest["targets"][target()];
    let program = |it: &&str| serde_json::json!({ "name": it, "sha256": programs[it]["sha256"] });
    let record = serde_json::json!({
        "version": "0.4.1", "previous": "0.4.0", "manifest": "",
        "programs": PROGRAMS.iter().map(program).collect::<Vec<_>>(),
    });
    // As it is after the first of three.
    world.write("bin/.zinit-update.json", &record.to_string());
    std::fs::copy(world.path("bin/zinit"), world.path("bin/zinit.old")).expect("it can be copied");
    world.program("bin/zinit", &world.read(&format!("web/zinit-0.4.1-{}", target())));

    let gone = "http://127.0.0.1:9";
    let out = world.run(&["update", "--url", gone]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("an update to 0.4.1 was interrupted; 0.4.0 is back in place"), "{said}");
    assert_eq!(out.status.code(), Some(1));
    world.is_all("0.4.0");
    world.does(&["update"]);
    world.is_all("0.4.1");
}

//! Updates that go well.

use std::fs;

use serde_json::json;

use crate::brain::{Brain, Temper};
use crate::world::{PROGRAMS, World, version_in};

#[test]
fn an_update_puts_all_programs_in_place_and_keeps_the_ones_before() {
    let world = World::new();
    world.publish("0.4.1", "");
    let answer = world.answers(&["update"]);
    let expected =
        json!({ "from": "0.4.0", "to": "0.4.1", "programs": PROGRAMS, "server": "not_running" });
    assert_eq!(answer["zinit"], expected);
    world.is_all("0.4.1");
    for name in PROGRAMS {
        assert_eq!(version_in(&world.path(&format!("bin/{name}.old"))), "0.4.0");
    }
    let state = world.state();
    assert!(state.contains("version = \"0.4.1\"\nprevious = \"0.4.0\"\n"), "{state}");

    let again = world.does(&["update"]);
    assert_eq!(again, "Checking zinit updates...\n  zinit: up to date (0.4.1)\n");
}

#[test]
fn check_says_what_there_is_and_changes_nothing() {
    let world = World::new();
    world.publish("0.4.1", "");
    let said = world.does(&["check"]);
    let expected = "Checking zinit updates...\n  zinit: UPDATE AVAILABLE\n    current: 0.4.0\n    \
                    latest:  0.4.1\n";
    assert_eq!(said, expected);
    let answer = world.answers(&["check"]);
    assert_eq!((&answer["update"], &answer["latest"]), (&json!(true), &json!("0.4.1")));
    assert_eq!(answer["programs"]["zinit-server"], "0.4.0");
    world.is_all("0.4.0");
    assert!(!world.has_run("0.4.1"));

    world.install("0.4.1", "");
    assert!(world.does(&["check"]).contains("  zinit: up to date (0.4.1)\n"));
    world.install("0.5.0", "");
    let newer = "  zinit: 0.5.0 is newer than the release (0.4.1)\n";
    assert!(world.does(&["check"]).contains(newer));
    assert_eq!(world.answers(&["check"])["update"], json!(false));
}

#[test]
fn a_server_that_runs_begins_anew_as_the_new_version() {
    let world = World::new();
    world.publish("0.4.1", "");
    let brain = Brain::start(&world, Temper::Well);
    let said = world.does(&["update", "--settle", "1"]);
    assert!(said.contains("  zinit: updated from 0.4.0 to 0.4.1 ("), "{said}");
    assert!(said.ends_with("  the server runs as the new version\n"), "{said}");
    assert_eq!((brain.version().as_str(), brain.lives()), ("0.4.1", 1));
    world.is_all("0.4.1");
}

#[test]
fn a_server_that_is_too_old_to_begin_anew_is_left_to_its_user() {
    let world = World::new();
    world.publish("0.4.1", "");
    let brain = Brain::start(&world, Temper::TooOld);
    let said = world.does(&["update"]);
    assert!(said.contains("`zinit server restart` restarts it"), "{said}");
    assert_eq!(brain.lives(), 0);
    world.is_all("0.4.1");
}

#[test]
fn an_older_release_comes_only_when_it_is_asked_for() {
    let world = World::new();
    world.publish("0.4.0", "");
    world.install("0.4.1", "");
    let no = "error: cannot update to 0.4.0: 0.4.1, which is here, is newer\nhint: ";
    world.refuses(&["update"], no);
    world.is_all("0.4.1");
    assert!(!world.has_run("0.4.0"));

    let brain = Brain::start(&world, Temper::Well);
    world.does(&["update", "--allow-downgrade", "--settle", "1"]);
    world.is_all("0.4.0");
    assert_eq!((brain.version().as_str(), brain.lives()), ("0.4.0", 1));
}

#[test]
fn only_what_is_installed_is_updated_and_a_link_is_left_alone() {
    let world = World::new();
    world.publish("0.4.1", "");
    fs::remove_file(world.path("bin/zinit")).expect("it is there");
    fs::remove_file(world.path("bin/zinit-updater")).expect("it is there");
    std::os::unix::fs::symlink("zinit-server", world.path("bin/zinit")).expect("it can be made");
    let answer = world.answers(&["update"]);
    assert_eq!(answer["zinit"]["programs"], json!(["zinit-server"]));
    assert!(world.path("bin/zinit").is_symlink());
    assert!(!world.path("bin/zinit-updater").exists());
}

#[test]
fn programs_of_two_versions_become_one() {
    let world = World::new();
    world.publish("0.4.1", "");
    let newer = world.published("zinit-server", "0.4.1");
    let text = fs::read_to_string(newer).expect("it is published");
    world.program("bin/zinit-server", &text);
    let said = world.does(&["check"]);
    let current = "current: zinit 0.4.0, zinit-server 0.4.1, zinit-updater 0.4.0\n";
    assert!(said.contains(current), "{said}");
    let answer = world.answers(&["update"]);
    // What is there already is not touched.
    assert_eq!(answer["zinit"]["programs"], json!(["zinit", "zinit-updater"]));
    assert!(!world.path("bin/zinit-server.old").exists());
    world.is_all("0.4.1");
}

#[test]
fn a_release_can_come_from_a_directory() {
    let world = World::new();
    world.publish("0.4.1", "");
    let url = format!("file://{}", world.path("web").display());
    world.does(&["update", "--url", &url]);
    world.is_all("0.4.1");
}

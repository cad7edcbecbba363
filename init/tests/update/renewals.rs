//! Servers that do not do as the new version, and are taken back.

use crate::brain::{Brain, Temper};
use crate::world::World;

/// The update is taken back for this reason, and the old server runs from the old programs.
#[track_caller]
fn taken_back(temper: Temper, why: &str) {
    let world = World::new();
    world.publish("0.4.1", "");
    let brain = Brain::start(&world, temper);
    let words = format!("error: cannot update to 0.4.1: the new server does not do: {why}\n");
    world.refuses(&["update", "--settle", "1"], &words);
    world.is_all("0.4.0");
    assert_eq!(brain.version(), "0.4.0");
    let state = world.state();
    assert!(state.contains("[failed]\nversion = \"0.4.1\"\n"), "{state}");
    assert!(!state.contains("\nversion = \"0.4.1\"\nprevious"), "{state}");
}

#[test]
fn a_server_that_never_comes_is_taken_back() {
    taken_back(Temper::NeverComes, "nobody listens on its socket\nhint: 0.4.0 is back in place");
}

#[test]
fn a_server_that_ends_after_its_first_answer_is_taken_back() {
    taken_back(Temper::EndsSoon, "it ended again\nhint: 0.4.0 is back in place");
}

#[test]
fn a_server_that_is_started_again_and_again_is_taken_back() {
    taken_back(Temper::Flaps, "it ended again, and another one is in its place");
}

#[test]
fn a_server_that_says_no_keeps_running_from_the_old_programs() {
    taken_back(Temper::Refuses, "not today\nhint: 0.4.0 is back in place");
}

#[test]
fn a_server_that_says_nothing_gets_the_old_programs_back() {
    let world = World::new();
    world.publish("0.4.1", "");
    let _brain = Brain::start(&world, Temper::Silent);
    let words = "the new server does not do: it does not answer\nhint: 0.4.0 is back in place; the \
                 old server is not back yet: it does not answer";
    world.refuses(&["update", "--settle", "1"], words);
    world.is_all("0.4.0");
}

#[test]
fn a_server_that_does_not_answer_is_no_place_to_begin() {
    let world = World::new();
    world.publish("0.4.1", "");
    let socket = std::os::unix::net::UnixListener::bind(world.path("home/var/zinit.sock"));
    let _held = socket.expect("it can be made");
    world.refuses(&["update"], "cannot update: the server is not well: it does not answer\n");
    world.is_all("0.4.0");
}

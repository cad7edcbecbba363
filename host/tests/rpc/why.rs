//! Why a service is where it is, down to the first cause.

use serde_json::{Value, json};
use zinit_host::name::ServiceName;

use crate::world::World;

fn waits(world: &World, name: &str, state: &str, waits_for: &[&str]) {
    let names = waits_for.iter().map(|it| ServiceName::parse(it).unwrap()).collect();
    world.post_with(name, state, |it| it.waits_for = names);
}

/// The names, nested as the causes are.
fn shape(it: &Value) -> Value {
    let because: Vec<Value> = it["because"].as_array().unwrap().iter().map(shape).collect();
    json!([it["name"], because])
}

#[test]
fn the_chain_of_causes_is_told_with_the_facts_of_each() {
    let world = World::new();
    waits(&world, "web", "Blocked", &["api"]);
    waits(&world, "api", "Blocked", &["db", "gone"]);
    world.post_with("db", "Backoff", |it| {
        it.last_exit = "exit 1".into();
        (it.next, it.next_ms) = ("attempt 3".into(), 77);
    });
    world.change("db", "Running", "Backoff", "exit 1");
    for line in ["1", "2", "3", "4", "5", "no space left"] {
        world.writes("db", line);
    }
    let mut client = world.client();
    let why = client.result("service.why", json!(["web"]));
    let chain = json!(["web", [["api", [["db", []], ["gone", []]]]]]);
    assert_eq!(shape(&why), chain);
    let db = &why["because"][0]["because"][0];
    assert_eq!((&db["last_exit"], &db["next"]), (&json!("exit 1"), &json!("attempt 3")));
    assert_eq!(db["last_lines"], json!(["2", "3", "4", "5", "no space left"]));
    assert_eq!(db["events"][0]["why"], "exit 1");
    assert_eq!(why["last_lines"], json!([]), "lines that name it are not its own");
    let gone = &why["because"][0]["because"][1];
    assert_eq!(gone["state"], "Unknown");
    assert_eq!(client.error("service.why", json!(["wbe"])).0, -32000);
}

#[test]
fn a_cycle_ends_and_a_knot_stays_short() {
    let world = World::new();
    waits(&world, "a", "Blocked", &["b"]);
    waits(&world, "b", "Blocked", &["a"]);
    let mut client = world.client();
    let why = client.result("service.why", json!(["a"]));
    assert_eq!(shape(&why), json!(["a", [["b", [["a", []]]]]]));
    assert!(why["because"][0]["because"][0]["since_ms"].is_null(), "told of before");
    let layer = |number: usize| (0..8).map(|it| format!("l{number}-{it}")).collect::<Vec<_>>();
    for number in 0..20 {
        let below = layer(number + 1);
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        layer(number).iter().for_each(|it| waits(&world, it, "Blocked", &below));
    }
    let why = client.result("service.why", json!(["l0-0"])).to_string();
    assert!(why.len() < 200_000, "{} bytes", why.len());
}

//! What happened, and what happens next.

use serde_json::{Value, json};

use crate::world::World;

fn numbers(entries: &Value) -> Vec<u64> {
    entries.as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect()
}

#[test]
fn what_happened_is_told_of_all_or_of_one() {
    let world = World::new();
    world.change("web", "Spawned", "Running", "it is up");
    world.change("db", "Running", "Failed", "exit 1");
    let mut client = world.client();
    let all = client.result("events.get", json!([]));
    let mut web = all[0].clone();
    let seq = web["seq"].take().as_u64().unwrap();
    let told = json!({ "seq": null, "at_ms": 1000, "service": "web", "from": "Spawned",
        "to": "Running", "why": "it is up", "pid": 7, "exit": "" });
    assert_eq!(web, told);
    assert_eq!(numbers(&all), [seq, seq + 1]);
    assert_eq!(numbers(&client.result("events.get", json!(["db"]))), [seq + 1]);
    assert_eq!(numbers(&client.result("events.get", json!({ "n": 1 }))), [seq + 1]);
    assert_eq!(client.result("events.get", json!({ "since": 1001 })), json!([]));
}

#[test]
fn whoever_follows_misses_nothing_and_sees_nothing_twice() {
    let world = World::new();
    world.change("web", "", "Blocked", "before anybody looked");
    let mut client = world.client();
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "events.wait", "params": [] });
    let none = client.result("events.wait", json!([null, 0.01]));
    assert_eq!((&none["entries"], &none["lost"]), (&json!([]), &json!(0)));
    client.send(format!("{request}\n"));
    assert_eq!(client.ask("system.ping", json!([]))["result"]["message"], "pong", "it waits");
    world.change("web", "Blocked", "Running", "it is up");
    let news = client.reply()["result"].take();
    assert_eq!(news["entries"][0]["to"], "Running");
    world.change("db", "Running", "Failed", "exit 1");
    world.change("web", "Running", "Stopped", "asked to");
    let next = client.result("events.wait", json!([news["cursor"]]));
    let first = numbers(&news["entries"])[0];
    assert_eq!(numbers(&next["entries"]), [first + 1, first + 2]);
    let of_db = client.result("events.wait", json!([first, 5, "db"]));
    assert_eq!((numbers(&of_db["entries"]), &of_db["cursor"]), (vec![first + 1], &next["cursor"]));
    let all = client.result("events.wait", json!({ "cursor": 0 }));
    assert_eq!(all["entries"].as_array().unwrap().len(), 4);
}

#[test]
fn what_was_overrun_is_said_to_be_lost() {
    let world = World::new();
    let mut client = world.client();
    let cursor = client.result("events.wait", json!([null, 0]))["cursor"].clone();
    (0..5000).for_each(|it| world.change("web", "", "Running", &it.to_string()));
    let news = client.result("events.wait", json!([cursor]));
    assert_eq!((&news["lost"], &news["entries"][0]["why"]), (&json!(3976), &json!("3976")));
}

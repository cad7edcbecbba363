//! Names, globs and groups: one command for all that are meant.

use serde_json::json;
use zinit_host::desk::Command;
use zinit_host::name::ServiceName;

use crate::world::World;

fn names(all: &[&str]) -> Vec<ServiceName> {
    all.iter().map(|it| ServiceName::parse(it).unwrap()).collect()
}

fn world() -> World {
    let world = World::new();
    for name in ["web-1", "web-2", "web-10", "db"] {
        world.post(name, "Stopped", 0);
    }
    world.post_with("cleanup", "Stopped", |it| it.groups = vec!["jobs".to_owned()]);
    world.post_with("mail", "Stopped", |it| it.groups = vec!["jobs".into(), "net".into()]);
    world
}

#[test]
fn globs_groups_and_lists_are_one_command_and_answer_the_names() {
    let world = world();
    let mut client = world.client();
    let all = json!(["web-1", "web-10", "web-2"]);
    assert_eq!(client.result("service.start", json!(["web-*"])), all);
    let all = names(&["web-1", "web-10", "web-2"]);
    assert_eq!(world.heard(), [Command::Start { names: all, deps: true }]);
    let params = json!({ "name": ["db", "web-?", "@jobs", "web-1"] });
    let all = json!(["db", "web-1", "web-2", "cleanup", "mail"]);
    assert_eq!(client.result("service.stop", params), all);
    let all = names(&["db", "web-1", "web-2", "cleanup", "mail"]);
    assert_eq!(world.heard(), [Command::Stop(all)]);
    assert_eq!(client.result("service.restart", json!([["db"]])), json!(["db"]));
    assert_eq!(client.result("service.delete", json!(["@net"])), json!(["mail"]));
    assert_eq!(world.heard()[1..], [Command::Delete(names(&["mail"]))]);
}

#[test]
fn one_plain_name_answers_true_as_it_always_did() {
    let world = world();
    let mut client = world.client();
    for method in ["service.start", "service.restart", "service.stop", "service.delete"] {
        assert_eq!(client.result(method, json!(["db"])), true, "{method}");
    }
    assert_eq!(client.result("service.start", json!({ "name": "web-1", "deps": false })), true);
    let alone = Command::Start { names: names(&["web-1"]), deps: false };
    assert_eq!(world.heard().pop(), Some(alone));
}

#[test]
fn when_one_of_several_is_not_there_nothing_is_done() {
    let world = world();
    let mut client = world.client();
    for (picks, code, says) in [
        (json!([["db", "web-3"]]), -32000, "there is no service `web-3`"),
        (json!(["api-*"]), -32000, "no service matches `api-*`"),
        (json!(["@job"]), -32000, "there is no group `job`"),
        (json!([["db", "a/b"]]), -32602, "`a/b` is no service name"),
        (json!(["web[1"]), -32602, "`web[1` is no pattern"),
        (json!([[]]), -32602, "cannot call `service.stop`: `name` must be a name, a glob"),
        (json!([[7]]), -32602, "cannot call `service.stop`: `name` must be a name, a glob"),
    ] {
        let (told, sentence) = client.error("service.stop", picks.clone());
        assert!(told == code && sentence.starts_with(says), "{picks}: {told} {sentence}");
    }
    let reply = client.ask("service.stop", json!(["@job"]));
    assert_eq!(reply["error"]["data"]["hint"], "did you mean `@jobs`?");
    assert_eq!(world.heard(), []);
}

#[test]
fn a_stop_of_several_is_answered_when_nothing_of_any_runs_unless_nobody_waits() {
    let world = world();
    world.post("stuck", "Running", 1);
    let (mut client, mut other) = (world.client(), world.client());
    world.post("stuck-2", "Running", 1);
    assert_eq!(client.result("service.stop", json!([["stuck-2"], false])), json!(["stuck-2"]));
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "service.stop",
        "params": [["stuck", "db"]] });
    client.send(format!("{request}\n"));
    while other.result("service.status", json!(["stuck"]))["state"] != "Stopping" {}
    world.post("stuck", "Stopped", 0);
    assert_eq!(client.reply()["result"], json!(["stuck", "db"]));
}

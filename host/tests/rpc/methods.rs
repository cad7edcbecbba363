//! Each method does what its row in the table says.

use std::fs;

use serde_json::json;

use crate::world::World;

#[test]
fn status_list_and_is_running_tell_what_the_board_shows() {
    let world = World::new();
    let pid = i32::try_from(std::process::id()).unwrap();
    world.post("web", "Running", pid);
    world.post("db", "Stopped", 0);
    let mut client = world.client();
    assert_eq!(client.result("service.list", json!([])), json!(["db", "web"]));
    let status = client.result("service.status", json!(["web"]));
    assert_eq!((&status["state"], &status["pid"]), (&json!("Running"), &json!(pid)));
    assert_eq!(status["process_tree"]["root"], pid);
    assert_eq!(status["process_tree"]["processes"][pid.to_string()]["pid"], pid);
    assert_eq!(client.result("service.status", json!({ "name": "web" }))["name"], "web");
    let down = client.result("service.status", json!(["db"]));
    assert_eq!(down["process_tree"], json!({ "root": 0, "processes": {} }));
    world.post("web", "Backoff", 0);
    assert_eq!(client.result("service.status", json!(["web"]))["state"], "Backoff");
    for (name, running) in [("db", false), ("web", false), ("nobody", false)] {
        assert_eq!(client.result("service.is_running", json!([name])), running);
    }
    let all = client.result("service.status_all", json!([]));
    assert_eq!((&all[0]["name"], &all[1]["state"]), (&json!("db"), &json!("Backoff")));
}

#[test]
fn stats_are_those_of_the_process_and_a_refusal_when_there_is_none() {
    let world = World::new();
    world.post("web", "Running", i32::try_from(std::process::id()).unwrap());
    world.post("db", "Stopped", 0);
    let mut client = world.client();
    let stats = client.result("service.stats", json!(["web"]));
    assert!(stats["memory_usage"].as_u64().unwrap() > 100_000, "{stats}");
    assert!(stats["cpu_usage"].is_f64() && stats["children"].is_array(), "{stats}");
    assert_eq!(client.error("service.stats", json!(["db"])).0, -32002);
}

#[test]
fn start_stop_and_wait_follow_the_board() {
    let world = World::new();
    world.post("web", "Stopped", 0);
    world.post("stuck", "Running", 1);
    let mut client = world.client();
    assert_eq!(client.result("service.wait", json!(["web"])), false);
    assert_eq!(client.result("service.start", json!(["web"])), true);
    assert_eq!(client.result("service.wait", json!(["web", 5])), true);
    assert_eq!(client.result("service.stop", json!(["web"])), true);
    assert_eq!(client.result("service.wait", json!(["web", 5, "down"])), true);
    assert_eq!(client.result("service.stop", json!({ "name": "stuck", "wait": false })), true);
    let (code, message) = client.error("service.wait", json!(["stuck", 0.01, "down"]));
    assert_eq!(code, -32004);
    assert_eq!(message, "`stuck` is not down after 0.01 s: it is Stopping: the test says so");
    assert_eq!(client.result("service.start_all", json!([])), true);
    assert_eq!(client.result("service.stop_all", json!([])), true);
    assert_eq!(client.result("service.is_running", json!(["stuck"])), false);
}

#[test]
fn a_stop_is_answered_when_nothing_runs_any_more() {
    let world = World::new();
    world.post("stuck", "Running", 1);
    let (mut client, mut other) = (world.client(), world.client());
    client.send(
        "{\"jsonrpc\":\"2.0\",\"id\":\"s\",\"method\":\"service.stop\",\"params\":[\"stuck\"]}\n",
    );
    while other.result("service.status", json!(["stuck"]))["state"] != "Stopping" {}
    assert_eq!(client.result("system.ping", json!([]))["message"], "pong", "overtakes the stop");
    world.post("stuck", "Stopped", 0);
    assert_eq!(client.reply(), json!({ "jsonrpc": "2.0", "result": true, "id": "s" }));
}

#[test]
fn labels_and_policy_are_registered_written_and_told() {
    let world = World::new();
    let mut client = world.client();
    for policy in [json!("one_for_all"), json!({ "gives_up": "decaying_score::gives_up" })] {
        let config = json!({ "exec": "sleep 9", "labels": { "shard": 7 }, "policy": policy });
        assert_eq!(client.result("service.register", json!(["web", config])), true);
        let told = client.result("service.get", json!(["web"]));
        assert_eq!((&told["labels"], &told["policy"]), (&json!({ "shard": "7" }), &policy));
        assert_eq!(client.result("service.register", json!(["other", told])), true);
        let read = |name: &str| fs::read_to_string(world.dir.join(name)).unwrap();
        assert_eq!(read("cfg/web.yaml"), read("cfg/other.yaml"));
        assert!(read("cfg/web.yaml").contains("labels:\n  shard: \"7\"\n"));
    }
    let bad = json!(["web", { "exec": "sleep 9", "policy": { "give_up": "f" } }]);
    let (code, message) = client.error("service.register", bad);
    assert_eq!((code, message.as_str()), (-32011, "there is no hook `give_up`"));
}

#[test]
fn what_is_registered_has_a_file_until_it_is_deleted() {
    let world = World::new();
    let mut client = world.client();
    let file = world.dir.join("cfg/web.yaml");
    assert_eq!(client.result("service.register", json!(["web", { "exec": "sleep 9" }])), true);
    assert!(fs::read_to_string(&file).unwrap().contains("sleep 9"));
    assert_eq!(client.result("service.get", json!(["web"]))["exec"], "sleep 9");
    assert_eq!(client.result("service.reload", json!(["web"])), true);
    assert_eq!(client.result("service.delete", json!(["web"])), true);
    assert!(!file.exists());
    assert_eq!(client.error("service.get", json!(["web"])).0, -32000);
    assert_eq!(client.error("service.delete", json!(["web"])).0, -32000);
    assert_eq!(client.result("service.monitor", json!(["tmp", { "exec": "true" }])), true);
    assert!(!world.dir.join("cfg/tmp.yaml").exists());
    assert_eq!(client.result("service.register", json!(["web", { "exec": "sleep 9" }])), true);
    assert_eq!(client.result("service.delete_all", json!([])), true);
    assert!(!file.exists());
    assert_eq!(client.result("service.list", json!([])), json!([]));
}

#[test]
fn refusals_have_their_code_a_sentence_and_facts() {
    let world = World::new();
    world.post("web", "Stopped", 0);
    let mut client = world.client();
    let reply = client.ask("service.status", json!(["wbe"]));
    let data =
        json!({ "service": "wbe", "reason": "unknown_service", "hint": "did you mean `web`?" });
    let error = json!({ "code": -32000, "message": "there is no service `wbe`", "data": data });
    assert_eq!(reply["error"], error);
    for (method, params, code) in [
        ("service.sttus", json!(["web"]), -32601),
        ("service.status", json!([]), -32602),
        ("service.status", json!({ "nme": "web" }), -32602),
        ("service.start", json!(["../../evil"]), -32602),
        ("service.register", json!(["a/b", { "exec": "x" }]), -32602),
        ("service.register", json!(["a", { "exec": "" }]), -32011),
        ("service.register", json!(["a", { "exce": "x" }]), -32011),
        ("service.kill", json!(["web", "SIGNOPE"]), -32602),
        ("service.kill", json!(["web", "hup"]), -32002),
        ("service.wait", json!(["web", 1, "sideways"]), -32602),
        ("system.reboot", json!([]), -32001),
        ("system.poweroff", json!([]), -32001),
    ] {
        assert_eq!(client.error(method, params.clone()).0, code, "{method} {params}");
    }
}

#[test]
fn ping_discover_and_shutdown() {
    let mut world = World::new();
    let mut client = world.client();
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    let pong = json!({ "message": "pong", "version": version, "pid": pid });
    assert_eq!(client.result("system.ping", json!([])), pong);
    let document = client.result("rpc.discover", json!([]));
    assert_eq!(document["methods"].as_array().unwrap().len(), 43);
    assert_eq!(client.result("system.shutdown", json!([])), true);
    assert_eq!(client.line(), "", "the server closes its connections");
    world.stop();
    assert!(!world.socket.exists(), "and removes its socket");
}

//! Reloads: the files as they are, all at once or not at all.

use std::fs;

use serde_json::{Value, json};
use zinit_host::desk::{Command, Reload};

use crate::world::World;

fn with_files(files: &[(&str, &str)]) -> World {
    let world = World::new();
    fs::create_dir_all(world.dir.join("cfg")).unwrap();
    for (name, text) in files {
        fs::write(world.dir.join(format!("cfg/{name}.yaml")), text).unwrap();
    }
    world
}

fn steps(plan: &Value) -> Vec<String> {
    let step = |it: &Value| format!("{} {}", it["verb"].as_str().unwrap(), it["service"]);
    plan.as_array().unwrap().iter().map(step).collect()
}

fn last_reload(world: &World) -> Reload {
    match world.heard().pop() {
        Some(Command::Reload(reload)) => reload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_name_all_files_are_reloaded_and_the_plan_is_told() {
    let world = with_files(&[("web", "exec: sleep 1"), ("db", "exec: sleep 2")]);
    world.post("db", "Running", 1);
    world.post("old", "Running", 1);
    let mut client = world.client();
    let plan = client.result("service.reload", json!({ "dry_run": true }));
    let expected = ["unchanged \"db\"", "start \"web\"", "delete \"old\""];
    assert_eq!(steps(&plan), expected);
    assert_eq!(plan[1]["why"], "new file");
    let reload = last_reload(&world);
    assert!(reload.dry_run && reload.only.is_none() && reload.files.len() == 2);
    assert_eq!(client.result("service.list", json!([])), json!(["db", "old"]));
    assert_eq!(steps(&client.result("service.reload", json!([]))), expected);
    assert_eq!(client.result("service.list", json!([])), json!(["db", "web"]));
}

#[test]
fn with_names_or_globs_only_those_are_looked_at() {
    let world = with_files(&[("web-1", "exec: a"), ("web-2", "exec: b"), ("bad", "exce: c")]);
    world.post("web-3", "Running", 1);
    let mut client = world.client();
    let plan = client.result("service.reload", json!(["web-*"]));
    assert_eq!(steps(&plan), ["start \"web-1\"", "start \"web-2\""]);
    assert_eq!(last_reload(&world).only.unwrap().len(), 2, "the third has no file");
    assert_eq!(client.result("service.reload", json!(["web-1"])), true);
    let plan = client.result("service.reload", json!(["web-1", true]));
    assert_eq!(steps(&plan), ["unchanged \"web-1\""]);
    assert_eq!(client.error("service.reload", json!(["web-9"])).0, -32000);
    let (code, message) = client.error("service.reload", json!([["web-1", "web-3"]]));
    assert_eq!(code, -32014);
    assert!(message.starts_with("cannot reload `web-3`: there is no /"), "{message}");
}

#[test]
fn one_bad_file_refuses_the_whole_reload_with_all_problems() {
    let world = with_files(&[
        ("fine", "exec: sleep 1"),
        ("typo", "exce: sleep 1"),
        ("quotes", "exec: \"sh 'x\""),
    ]);
    let mut client = world.client();
    let reply = client.ask("service.reload", json!([]));
    let error = &reply["error"];
    assert_eq!(error["code"], -32011);
    assert_eq!(error["message"], "nothing is reloaded: 2 files are not fine");
    let problems = error["data"]["problems"].as_array().unwrap();
    let facts = problems.iter().map(|it| (&it["service"], &it["line"])).collect::<Vec<_>>();
    assert_eq!(facts, [(&json!("quotes"), &json!(1)), (&json!("typo"), &json!(1))]);
    assert_eq!(problems[1]["hint"], "did you mean `exec`?");
    assert_eq!(world.heard(), []);
    let (code, message) = client.error("service.reload", json!(["typo"]));
    assert!(code == -32011 && message.contains("unknown key `exce`"), "{message}");
    let plan = client.result("service.reload", json!([["fine"]]));
    assert_eq!(steps(&plan), ["start \"fine\""]);
}

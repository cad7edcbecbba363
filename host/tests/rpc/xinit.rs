//! Proxies that are registered, told of, and taken over from their files.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use zinit_host::desk::Command;
use zinit_host::name::ServiceName;
use zinit_host::proxy::Proxy;
use zinit_host::spec::Spec;

use crate::world::World;

/// A server with a service `web` that listens, one `db` with a proxy in its own file, and `bare` without
/// a file.
fn world() -> World {
    let world = World::new();
    write(&world, "web", "exec: sleep 1\nhealth: { tcp: \"localhost:80\" }\n");
    let db = "exec: sleep 1\nxinit: { enabled: true, listen: /run/db, backend: /run/b }\n";
    write(&world, "db", db);
    for name in ["web", "db", "bare"] {
        world.post(name, "Stopped", 0);
    }
    world
}

fn write(world: &World, name: &str, text: &str) {
    let path = world.dir.join(format!("cfg/{name}.yaml"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn file(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.dir.join(format!("cfg/xinit/{name}.yaml"))).ok()
}

fn told(reply: &Value) -> (&str, &str) {
    let error = &reply["error"];
    (error["message"].as_str().unwrap(), error["data"]["hint"].as_str().unwrap_or_default())
}

#[test]
fn what_is_registered_listens_has_a_file_and_is_told_of() {
    let world = world();
    let mut client = world.client();
    let params = json!(["front", ["/run/web.sock", "127.0.0.1:81"], "", "web", 300, 10]);
    assert_eq!(client.result("xinit.register", params), true);
    let yaml = "service: web\nlisten:\n  - /run/web.sock\n  - \"127.0.0.1:81\"\nconnect_timeout: 10\nidle_timeout: 300\n";
    assert_eq!(file(&world, "front").unwrap(), yaml, "its backend is that of the service");
    let Some(Command::DefineProxy(proxy)) = world.heard().pop() else { panic!("nothing stands") };
    assert_eq!(proxy.xinit.backend.as_ref().unwrap().to_string(), "localhost:80");

    let params =
        json!({ "name": "web", "listen": "/run/a", "mode": "pass", "socket_mode": "0600" });
    assert_eq!(client.result("xinit.register", params), true);
    assert_eq!(client.result("xinit.list", json!([])), json!(["front", "web"]));
    let face = world.faces.get("front").unwrap();
    face.counts.total.store(7, Ordering::Relaxed);
    face.counts.to_backend.store(1 << 40, Ordering::Relaxed);
    face.counts.started(250);
    let status = json!({
        "name": "front", "listen": "unix:/run/web.sock, tcp:127.0.0.1:81",
        "backend": "tcp:localhost:80", "service": "web", "running": true,
        "total_connections": 7, "active_connections": 0, "bytes_to_backend": 1_u64 << 40,
        "bytes_from_backend": 0, "mode": "proxy", "waiting": 0, "refused": 0, "timed_out": 0,
        "starts": 1, "cold_start_ms": { "last": 250, "median": 250, "worst": 250 },
        "idle_timeout": 300, "connect_timeout": 10, "max_connections": 0, "max_waiting": 1024,
        "users": [], "socket_mode": "0666", "proxy_protocol": "none", "state": "Stopped",
        "error": null,
    });
    assert_eq!(client.result("xinit.status", json!(["front"])), status);
    let all = client.result("xinit.status_all", json!([]));
    assert_eq!(all[0], status);
    assert_eq!((&all[1]["backend"], &all[1]["cold_start_ms"]), (&json!(""), &Value::Null));

    assert_eq!(client.result("xinit.unregister", json!(["front"])), true);
    assert_eq!(file(&world, "front"), None);
    assert_eq!(client.result("xinit.list", json!([])), json!(["web"]));
    let reply = client.ask("xinit.status", json!(["wbe"]));
    assert_eq!(reply["error"]["code"], -32015);
    assert_eq!(told(&reply), ("there is no proxy `wbe`", "did you mean `web`?"));
    assert_eq!(client.error("xinit.unregister", json!(["front"])).0, -32015);
}

#[test]
fn another_proxy_of_the_name_gives_way_only_when_that_is_said() {
    let world = world();
    let mut client = world.client();
    let mut params = json!({ "name": "front", "listen": "/run/a", "service": "web" });
    assert_eq!(client.result("xinit.register", params.clone()), true);
    let _ = world.heard();
    assert_eq!(client.result("xinit.register", params.clone()), true);
    assert_eq!(world.heard(), [], "the same again is fine, and nothing is done");
    params["listen"] = json!("/run/b");
    let reply = client.ask("xinit.register", params.clone());
    let (message, hint) = told(&reply);
    assert_eq!(message, "there is already a proxy `front`, with another listen");
    assert!(hint.contains("--replace"), "{hint}");
    params["replace"] = json!(true);
    assert_eq!(client.result("xinit.register", params), true);
    assert!(file(&world, "front").unwrap().contains("/run/b"));
    assert_eq!(client.result("xinit.list", json!([])), json!(["front"]));
}

#[test]
fn what_cannot_listen_leaves_everything_as_it_was() {
    let world = world();
    let mut client = world.client();
    let mut params = json!({ "name": "front", "listen": "/run/busy", "service": "web" });
    let reply = client.ask("xinit.register", params.clone());
    assert_eq!(told(&reply).0, "cannot listen: somebody else does");
    assert!(world.faces.all().is_empty() && file(&world, "front").is_none());
    params["listen"] = json!("/run/a");
    client.result("xinit.register", params.clone());
    let before = file(&world, "front");
    params["listen"] = json!(["/run/a", "/run/busy"]);
    params["replace"] = json!(true);
    assert_eq!(told(&client.ask("xinit.register", params)).0, "cannot listen: somebody else does");
    assert_eq!(world.faces.get("front").unwrap().proxy.listen_text(), "unix:/run/a");
    assert_eq!(file(&world, "front"), before);
}

#[test]
fn what_cannot_stand_is_refused_with_a_way_out() {
    let world = world();
    let db = fs::read_to_string(world.dir.join("cfg/db.yaml")).unwrap();
    let spec = Spec::from_yaml(&db, "db.yaml".as_ref()).unwrap();
    let own = Proxy::of(&ServiceName::parse("db").unwrap(), &spec).unwrap();
    drop(world.faces.show(Arc::new(own), None));
    let mut client = world.client();
    client.result("xinit.register", json!(["other", "/run/o", "/run/b", "web"]));
    let told_of = [
        (json!(["f", "/a", "/b", "wbe"]), "there is no service `wbe`", "did you mean `web`?"),
        (
            json!(["f", "/a", "/b", "bare"]),
            "no proxy can be registered for `bare`, which has no file",
            "register `bare`, or give it an `xinit` of its own",
        ),
        (
            json!(["db", "/a", "/b"]),
            "the proxy `db` stands in the configuration of the service `db`",
            "change `xinit` there, then `zinit reload db`",
        ),
        (json!(["f", "web", "/b"]), "in `listen`: `web` is no address: it has no port", "`127."),
        (json!(["f", "/run/o", "", "web"]), "cannot listen at /run/o: the proxy `other` does", ""),
        (
            json!(["f", "/f", "/run/f2", "web", "5 years"]),
            "`idle_timeout` must be a duration, and `5 years` is not",
            "a number is seconds",
        ),
        (json!(["f", "/f", "/f", "web"]), "the proxy `f` would connect to itself", "it would go f"),
    ];
    for (params, message, hint) in told_of {
        let reply = client.ask("xinit.register", params.clone());
        let said = told(&reply);
        assert!(said.0.starts_with(message) && said.1.starts_with(hint), "{params}: {said:?}");
    }
    let reply = client.ask("xinit.unregister", json!(["db"]));
    assert_eq!(told(&reply).1, "change `xinit` there, then `zinit reload db`");
    assert_eq!(client.result("xinit.list", json!([])), json!(["db", "other"]));
    assert!(!world.heard().iter().any(|it| matches!(it, Command::ForgetProxy(_))));
}

#[test]
fn a_reload_takes_over_the_files_of_proxies() {
    let world = world();
    let mut client = world.client();
    client.result("xinit.register", json!(["gone", "/run/gone", "", "web"]));
    client.result("xinit.register", json!(["still", "/run/still", "", "web"]));
    client.result("xinit.register", json!(["other", "/run/other", "", "web"]));
    write(&world, "xinit/new", "service: web\nlisten: /run/new\n");
    write(&world, "xinit/other", "service: web\nlisten: /run/busy\nidle_timeout: 5\n");
    fs::remove_file(world.dir.join("cfg/xinit/gone.yaml")).unwrap();
    let steps = |plan: &Value| -> Vec<String> {
        let of_proxies = plan.as_array().unwrap().iter().filter(|it| it.get("proxy").is_some());
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        let line = |it: &Value| [&it["verb"], &it["proxy"], &it["why"]].map(text).join(" ");
        of_proxies.map(line).collect()
    };
    let _ = world.heard();
    let plan = client.result("service.reload", json!({ "dry_run": true }));
    let same = "unchanged still its file says the same";
    let expected = ["delete gone its file is gone", "start new new file"];
    let update = "update other listen, idle_timeout changed";
    assert_eq!(steps(&plan), [expected[0], expected[1], update, same]);
    assert_eq!(plan[plan.as_array().unwrap().len() - 1]["service"], "web");
    assert_eq!(world.heard().len(), 1, "nothing is done");
    let done = client.result("service.reload", json!([]));
    let update = format!("{update}; but cannot listen: somebody else does");
    assert_eq!(steps(&done), [expected[0], expected[1], &update, same]);
    assert_eq!(client.result("xinit.list", json!([])), json!(["new", "other", "still"]));
    let status = client.result("xinit.status", json!(["other"]));
    assert_eq!((&status["running"], &status["idle_timeout"]), (&json!(false), &json!(5)));
    assert_eq!(status["error"], "cannot listen: somebody else does");

    write(&world, "xinit/bad", "service: wbe\nlisten: /run/bad\n");
    let reply = client.ask("service.reload", json!([]));
    let problem = &reply["error"]["data"]["problems"][0];
    assert_eq!(
        (&problem["proxy"], &problem["hint"]),
        (&json!("bad"), &json!("did you mean `web`?"))
    );
    assert_eq!(client.result("service.reload", json!(["web"])), true, "that is not about proxies");
}

#[test]
fn with_a_service_its_proxies_go() {
    let world = world();
    let mut client = world.client();
    client.result("xinit.register", json!(["one", "/run/one", "", "web"]));
    client.result("xinit.register", json!(["two", "/run/two", "/run/b", "db"]));
    assert_eq!(client.result("service.delete", json!(["web"])), true);
    assert_eq!(client.result("xinit.list", json!([])), json!(["two"]));
    assert!(file(&world, "one").is_none() && file(&world, "two").is_some());
}

#[test]
fn a_proxy_moves_between_its_own_file_and_that_of_its_service() {
    let world = world();
    let mut client = world.client();
    client.result("xinit.register", json!(["front", "/run/front", "/run/b", "web"]));
    client.result("xinit.register", json!(["web", "/run/web", "/run/b"]));
    let _ = world.heard();
    let on = "xinit: { enabled: true, listen: [/run/front, /run/web], backend: /run/b }";
    write(&world, "web", &format!("exec: sleep 1\n{on}\n"));
    fs::remove_file(world.dir.join("cfg/xinit/front.yaml")).unwrap();
    fs::remove_file(world.dir.join("cfg/xinit/web.yaml")).unwrap();
    client.result("service.reload", json!([]));
    let forgotten = world.heard().into_iter().filter_map(|it| match it {
        Command::ForgetProxy(name) => Some(name.to_string()),
        _ => None,
    });
    assert_eq!(
        forgotten.collect::<Vec<_>>(),
        ["front"],
        "the service has one in place of the other"
    );
}

#[test]
fn a_service_that_listens_elsewhere_has_its_proxies_go_there() {
    let world = world();
    let mut client = world.client();
    client.result("xinit.register", json!(["front", "/run/front", "", "web"]));
    client.result("xinit.register", json!(["fixed", "/run/fixed", "localhost:80", "web"]));
    let backend = |name: &str| {
        let face = world.faces.get(name).unwrap();
        face.proxy.xinit.backend.as_ref().unwrap().to_string()
    };
    write(&world, "web", "exec: sleep 1\nhealth: { tcp: \"localhost:81\" }\n");
    client.result("service.reload", json!(["web"]));
    assert_eq!([backend("front"), backend("fixed")], ["localhost:81", "localhost:80"]);
    let config = json!({ "exec": "sleep 1", "health": { "tcp": "localhost:82" } });
    client.result("service.register", json!(["web", config]));
    assert_eq!(backend("front"), "localhost:82");
    let reply = client.ask("service.register", json!(["web", { "exec": "sleep 1" }]));
    assert_eq!(told(&reply).0, "the proxy `front` has no backend");
    assert!(fs::read_to_string(world.dir.join("cfg/web.yaml")).unwrap().contains(":82"));
    client.result("service.delete", json!(["web", true, true]));
    assert!(file(&world, "front").is_some(), "a service of this name is to come");
}

//! Proxies: added, shown and removed.

use std::fs;

use crate::world::World;

fn world() -> World {
    let world = World::new();
    let dir = world.dir.join("cfg/zinit");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("web.yaml"), "exec: sleep 1\nhealth: { tcp: \"localhost:80\" }\n").unwrap();
    world.post("web", "Stopped", |it| it.since_ms = -1);
    world
}

#[test]
fn a_proxy_is_added_shown_and_removed() {
    let world = world();
    assert_eq!(world.says(&["xinit", "list"]), "No proxies registered\n");
    let added = world.says(&[
        "xinit",
        "add",
        "front",
        "--listen",
        "/run/web.sock",
        "--listen",
        ":81",
        "--service",
        "web",
        "--idle-timeout",
        "5m",
        "--connect-timeout",
        "10",
        "--max-connections",
        "7",
        "--replace",
    ]);
    let at = "unix:/run/web.sock, tcp::81";
    assert_eq!(added, format!("Added proxy: front, which listens at {at} for web\n"));
    let file = fs::read_to_string(world.dir.join("cfg/zinit/xinit/front.yaml")).unwrap();
    assert!(file.contains("idle_timeout: 300\nmax_connections: 7\n"), "{file}");
    let listed = world.says(&["xinit", "list"]);
    assert!(
        listed.ends_with(&format!("front web     Stopped       0       0       0 {at}\n")),
        "{listed}"
    );
    let status = world.says(&["xinit", "status"]);
    assert_eq!(status, world.says(&["xinit", "status", "front"]));
    assert!(status.contains("  Idle: stops after 5m 0s\n  Waits: at most 10s\n"), "{status}");
    let status = world.says(&["status", "web"]);
    assert!(status.contains(&format!("\n  Listens: {at}\n")), "{status}");
    let json = world.says(&["xinit", "status", "front", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["max_connections"], &json["running"]), (&7.into(), &true.into()));
    assert!(!world.says(&["status", "web", "--json"]).contains("listens"));
    assert_eq!(world.says(&["xinit", "remove", "front"]), "Removed proxy: front\n");
    assert_eq!(world.says(&["xinit", "list"]), "No proxies registered\n");
    assert!(!world.says(&["status", "web"]).contains("Listens"));
}

#[test]
fn what_cannot_be_is_told_with_a_way_out() {
    let world = world();
    world.says(&[
        "xinit",
        "add",
        "web",
        "--listen",
        "/run/a",
        "--mode",
        "pass",
        "--fd-name",
        "http",
    ]);
    let (code, _, err) = world.run(&["xinit", "status", "wbe"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "error: there is no proxy `wbe`\nhint: did you mean `web`?\n")
    );
    let (code, _, err) = world.run(&["xinit", "add", "web", "--listen", "/run/b"]);
    let told = "error: there is already a proxy `web`, with another listen, backend, mode, fd_names\n\
        hint: `--replace`, in a script `.reset()`, in a call `replace: true`, puts this one in its place\n";
    assert_eq!((code, err.as_str()), (1, told));
    let (code, out, err) = world.run(&["xinit", "remove", "nobody", "web"]);
    assert_eq!((code, out.as_str()), (1, "Removed proxy: web\n"));
    assert!(err.starts_with("error: there is no proxy `nobody`\n"), "{err}");
    let (code, _, err) = world.run(&["xinit", "add", "f", "--listen", "/f", "--service", "wbe"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "error: there is no service `wbe`\nhint: did you mean `web`?\n")
    );
    let (_, _, err) = world.run(&["xinit", "add", "wbe", "--listen", "/f", "--single-connection"]);
    assert!(err.contains("`--service` names another") && err.contains("mean `web`"), "{err}");
    assert_eq!(world.run(&["xinit", "add", "f"]).0, 2, "it listens nowhere");
}

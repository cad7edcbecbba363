//! Proxies that cannot be: each gets a sentence, and what stands goes on.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use serde_json::json;
use zinit_tests::clients::{Client, free_address, free_port};
use zinit_tests::daemon::{Home, text};

use super::{NAME, backend, kill_brain};

/// A server with a service that proxies can be put before.
fn with_service() -> (Home, String) {
    let back = free_address();
    let yaml = format!("exec: {} {back}\nnotify: true\nstatus: stop\n", backend());
    (Home::new().service(NAME, &yaml).start(), back)
}

/// What `zinit xinit add` says when it refuses.
fn add(home: &Home, args: &[&str]) -> String {
    let out = home.run("zinit", [&["xinit", "add"], args].concat());
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    text(&out.stderr)
}

fn says(said: &str, sentences: &[&str]) {
    for it in sentences {
        assert!(said.contains(it), "it does not say `{it}`:\n{said}");
    }
}

#[test]
fn an_address_that_somebody_has_is_refused_with_who() {
    let (home, back) = with_service();
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let at = taken.local_addr().expect("it has one").to_string();
    let ours = std::process::id();
    let said = add(&home, &["door", "--listen", &at, "--service", NAME, "--backend", &back]);
    says(&said, &[&format!("error: cannot listen at {at}: process {ours} (`")]);
    says(&said, &["`) listens there\n", "hint: end it, or name another address"]);
    assert_eq!(home.ask("xinit.list", json!([])), json!([]));
    assert!(!home.root.join("cfg/zinit/xinit/door.yaml").exists());
    // The same in a service's file: it stands, and listens as soon as it can.
    let yaml = format!(
        "exec: {} {back}\nxinit:\n  enabled: true\n  listen: {at}\n  backend: {back}\n",
        backend()
    );
    let home = home.service(NAME, &yaml);
    home.zinit(["reload"]);
    let proxy = home.ask("xinit.status", json!([NAME]));
    assert_eq!(proxy["running"], false, "{proxy}");
    says(proxy["error"].as_str().expect("it says why"), &[&format!("process {ours}")]);
    drop(taken);
    home.until("it listens", || home.ask("xinit.status", json!([NAME]))["running"] == true);
    assert_eq!(Client::to(&at).asks("hello"), "hello");
}

#[test]
fn a_path_that_is_too_long_or_leads_nowhere_is_refused() {
    let (home, back) = with_service();
    let long = format!("/tmp/{}", "x".repeat(120));
    let said = add(&home, &["door", "--listen", &long, "--service", NAME, "--backend", &back]);
    says(&said, &["the path of a socket has at most 107 bytes"]);
    let missing = home.root.join("no/such/dir.sock").display().to_string();
    let said = add(&home, &["door", "--listen", &missing, "--service", NAME, "--backend", &back]);
    let root = home.root.display();
    says(&said, &[&format!("cannot listen at {missing}: there is no directory {root}/no/such\n")]);
    says(&said, &[&format!("hint: make it first: `mkdir -p {root}/no/such`\n")]);
}

#[test]
fn a_stale_socket_gives_way_and_a_living_one_or_a_file_does_not() {
    let (home, back) = with_service();
    let path = home.root.join("front.sock");
    let front = path.display().to_string();
    let args = ["door", "--listen", &front, "--service", NAME, "--backend", &back];
    fs::write(&path, "precious").expect("the home is writable");
    says(&add(&home, &args), &["something that is no socket is there", "hint: move it away"]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
    fs::remove_file(&path).expect("it is ours");
    let living = UnixListener::bind(&path).expect("it is free");
    says(&add(&home, &args), &[&format!("process {} (`", std::process::id())]);
    assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    drop(living);
    home.zinit([&["xinit", "add"], &args[..]].concat());
    assert_eq!(Client::to(&front).asks("hello"), "hello");
    home.zinit(["xinit", "remove", "door"]);
    assert!(!path.exists(), "its file goes with it");
}

#[test]
fn an_unknown_service_is_refused_with_the_nearest_one() {
    let (home, back) = with_service();
    let front = free_address();
    let said = add(&home, &["door", "--listen", &front, "--service", "svd", "--backend", &back]);
    says(&said, &["svd", "hint: did you mean `svc`?"]);
    let said = home.run("zinit", ["xinit", "status", "dor"]);
    says(&text(&said.stderr), &["there is no proxy `dor`"]);
    assert_eq!(home.run("zinit", ["xinit", "remove", "dor"]).status.code(), Some(1));
}

#[test]
fn a_proxy_that_would_connect_to_itself_is_refused() {
    let (home, _) = with_service();
    let port = free_port();
    let (front, same) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
    let said = add(&home, &["door", "--listen", &front, "--service", NAME, "--backend", &same]);
    says(&said, &["the proxy `door` would connect to itself"]);
    // By way of another one.
    let other = free_address();
    home.zinit(["xinit", "add", "one", "--listen", &front, "--service", NAME, "--backend", &other]);
    let said = add(&home, &["two", "--listen", &other, "--service", NAME, "--backend", &same]);
    says(&said, &["two -> one -> two"]);
    assert_eq!(home.ask("xinit.list", json!([])), json!(["one"]));
}

#[test]
fn a_second_proxy_of_one_name_needs_to_be_told_that_it_replaces_the_first() {
    let (home, back) = with_service();
    let (front, other) = (free_address(), free_address());
    let common = ["--service", NAME, "--backend", &back];
    let named = |at| [&["door", "--listen", at], &common[..]].concat();
    let added = |args: &[&str]| home.zinit([&["xinit", "add"], args].concat());
    added(&named(&front));
    added(&named(&front)); // The same again is fine.
    let mut client = Client::to(&front);
    assert_eq!(client.asks("hello"), "hello");
    let said = add(&home, &named(&other));
    says(&said, &["there is already a proxy `door`, with another listen", ".reset()", "--replace"]);
    assert_eq!(Client::to(&front).asks("hello"), "hello", "the first one stands");
    added(&[&named(&other)[..], &["--replace"]].concat());
    assert!(Client::connect(&front).is_err());
    assert_eq!(Client::to(&other).asks("hello"), "hello");
    assert_eq!(client.asks("still"), "still", "who is connected goes on");
    // The same in a script.
    let builder = |at: &str, reset: &str| {
        format!(
            "xinit_proxy_new().name(\"door\").listen(\"{at}\").backend(\"{back}\").service(\"{NAME}\")\
             {reset}.register();"
        )
    };
    let out = home.run("zinit", ["-c", &builder(&front, "")]);
    says(&text(&out.stderr), &["there is already a proxy `door`"]);
    home.zinit(["-c", &builder(&front, ".reset()")]);
    assert_eq!(Client::to(&front).asks("hello"), "hello");
}

#[test]
fn one_that_listens_nowhere_leaves_the_next_brain_nothing_to_complain_of_but_that() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let at = taken.local_addr().expect("it has one").to_string();
    let yaml = format!(
        "exec: {} {1}\nxinit:\n  enabled: true\n  listen: {at}\n  backend: {1}\n",
        backend(),
        free_address()
    );
    let home = Home::new().service(NAME, &yaml).start();
    kill_brain(&home);
    let log = home.server_log();
    assert_eq!(log.matches(&format!("cannot listen at {at}")).count(), 2, "{log}");
    assert!(!log.contains("no room"), "{log}");
}

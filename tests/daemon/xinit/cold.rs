//! First clients of services that are down.

#![expect(clippy::disallowed_methods, reason = "clients are programs, and are timed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use zinit_tests::clients::{Client, free_port};
use zinit_tests::daemon::{Home, text};

use super::{Family, NAME, Stand, open_directory};

/// For how long nobody may connect before a service is stopped, and how exactly that is kept.
const IDLE: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(500);

/// What a client program prints; it must succeed.
fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|why| panic!("{program}: {why}; .ci/run installs it"));
    assert!(out.status.success(), "{program}: {} {}", out.status, text(&out.stderr));
    text(&out.stdout)
}

/// A client is served cold; the service stops in time; the next client is served as well.
fn is_there_on_demand(home: &Home, request: &dyn Fn() -> String, answer: &str) {
    assert_eq!(home.status(NAME).state, "Stopped", "nobody has asked for it");
    for round in 1..=2 {
        let said = request();
        assert!(said.contains(answer), "{said}");
        let end = Instant::now();
        assert_eq!(home.status(NAME).state, "Running");
        home.until("it is stopped", || home.status(NAME).state.starts_with("Stop"));
        let quiet = end.elapsed();
        assert!(quiet + LATE > IDLE && quiet < IDLE + LATE, "it stopped after {quiet:?}");
        home.ask("service.wait", json!([NAME, 30, "down"]));
        let proxy = home.ask("xinit.status", json!([NAME]));
        assert_eq!((&proxy["starts"], &proxy["waiting"]), (&json!(round), &json!(0)), "{proxy}");
        assert_eq!((&proxy["refused"], &proxy["timed_out"]), (&json!(0), &json!(0)), "{proxy}");
    }
}

#[test]
fn redis_answers_its_first_client_and_the_one_after_it_was_idle() {
    let (front, back) = (free_port(), free_port());
    let yaml = format!(
        "exec: redis-server --port {back} --bind 127.0.0.1 --save '' --appendonly no\n\
         health:\n  tcp: 127.0.0.1:{back}\n\
         xinit:\n  enabled: true\n  listen: 127.0.0.1:{front}\n  idle_timeout: 1\n"
    );
    let home = Home::new().service(NAME, &yaml).start();
    let port = front.to_string();
    is_there_on_demand(&home, &|| run("redis-cli", &["-p", &port, "set", "a", "1"]), "OK");
    let said = run("redis-benchmark", &["-p", &port, "-n", "2000", "-c", "20", "-q", "-t", "get"]);
    assert!(said.contains("GET"), "{said}");
}

#[test]
fn a_web_server_answers_its_first_client_and_the_one_after_it_was_idle() {
    let (front, back) = (free_port(), free_port());
    let home = Home::new();
    let www = open_directory(&home, "www");
    home.write("www/index.html", "hello from behind\n");
    let yaml = format!(
        "exec: python3 -m http.server {back} --bind 127.0.0.1 --directory {}\n\
         xinit:\n  enabled: true\n  listen: 127.0.0.1:{front}\n  backend: 127.0.0.1:{back}\n  \
         idle_timeout: 1\n",
        www.display()
    );
    let home = home.service(NAME, &yaml).start();
    let url = format!("http://127.0.0.1:{front}/");
    is_there_on_demand(&home, &|| run("curl", &["-sS", &url]), "hello from behind");
}

/// The directory of PostgreSQL's programs.
fn postgres() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect(".ci/run installs PostgreSQL");
    let bins = versions.flatten().map(|it| it.path().join("bin"));
    bins.filter(|it| it.join("initdb").exists()).max().expect("a version is there")
}

#[test]
fn postgres_answers_its_first_client_and_the_one_after_it_was_idle() {
    let (home, bin) = (Home::new(), postgres());
    let is_root = nix::unistd::geteuid().is_root();
    let as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"];
    let (back, front) = (open_directory(&home, "pg"), open_directory(&home, "front"));
    if is_root {
        run("chown", &["postgres", &back.display().to_string()]);
    }
    let before: &[&str] = if is_root { &as_postgres } else { &["env"] };
    let initdb = bin.join("initdb").display().to_string();
    let data = back.join("data").display().to_string();
    let args = [&initdb, "-D", &data, "-U", "postgres", "-A", "trust", "--no-sync"];
    run(before[0], &[&before[1..], &args].concat());
    let socket = |dir: &Path| dir.join(".s.PGSQL.5432").display().to_string();
    let (bin, at) = (bin.display(), back.display());
    let yaml = format!(
        "exec: {} {bin}/postgres -D {data} -k {at} -c listen_addresses= -c fsync=off\n\
         health:\n  test_cmd: {bin}/pg_isready -q -h {at}\n\
         xinit:\n  enabled: true\n  listen: {}\n  backend: {}\n  idle_timeout: 1\n",
        before.join(" "),
        socket(&front),
        socket(&back),
    );
    let home = home.service(NAME, &yaml).start();
    let host = front.display().to_string();
    let ask =
        ["-h", &host, "-U", "postgres", "-Atc", "select sum(n) from generate_series(1, 100) n"];
    is_there_on_demand(&home, &|| run("psql", &ask), "5050");
}

/// A hundred come at once to a service that takes two seconds to listen.
fn a_hundred_first_clients(family: Family) {
    let stand = Stand::new(family, "delay=2000 greet", "", &["idle_timeout: 60"]);
    let mut clients: Vec<Client> = (0..100).map(|_| stand.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("client {number}\n"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), number.to_string(), "they come in the order in which they came");
        assert_eq!(client.line(), format!("client {number}"));
    }
    assert_eq!(stand.starts(), 1);
    let status = stand.home.status(NAME);
    assert_eq!((status.incarnation, status.restarts), (1, 0));
    let proxy = stand.proxy();
    assert_eq!(proxy["total_connections"], 100, "{proxy}");
    assert_eq!(proxy["active_connections"], 100, "{proxy}");
    assert_eq!(proxy["starts"], 1, "{proxy}");
    let cold = proxy["cold_start_ms"]["last"].as_u64().expect("one was cold");
    assert!((1_900..6_000).contains(&cold), "{proxy}");
}

#[test]
fn a_hundred_first_clients_at_a_port_cause_one_start_and_are_served_in_order() {
    a_hundred_first_clients(Family::Tcp);
}

#[test]
fn a_hundred_first_clients_at_a_path_cause_one_start_and_are_served_in_order() {
    a_hundred_first_clients(Family::Unix);
}

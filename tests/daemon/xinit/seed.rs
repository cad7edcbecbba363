//! What the README of zinit 0.3 says of Xinit does what it says. Its addresses are put where nobody is:
//! the tests run beside other things.

use std::fs;

use serde_json::json;
use zinit_tests::clients::{Client, free_port};
use zinit_tests::daemon::Home;

use super::backend;

const WHOLE: &str = r#"
exec: "postgres -D /var/lib/postgresql/data"
# Health check - used as default backend if xinit.backend not set
health:
  tcp: "localhost:5432"
# Xinit configuration
xinit:
  enabled: true
  listen: "/tmp/pg-proxy.sock"      # Proxy socket (Unix or TCP)
  backend: "localhost:5432"         # Backend address (optional, defaults to health.tcp)
  connect_timeout: 30               # Seconds to wait for backend after service start
  idle_timeout: 300                 # Stop service after N seconds of inactivity (0=never)
  single_connection: false          # Allow only one connection at a time
"#;

const UNIX: &str = r#"
exec: "postgres -D /var/lib/postgresql/data"
health:
  tcp: "localhost:5432"
xinit:
  enabled: true
  listen: "/tmp/pg-proxy.sock"
  idle_timeout: 300
"#;

const TCP: &str = r#"
exec: "redis-server --port 6379"
health:
  tcp: "localhost:6379"
xinit:
  enabled: true
  listen: "0.0.0.0:16379"       # External proxy port
  backend: "localhost:6379"     # Internal backend
  idle_timeout: 600
"#;

const BUILDER: &str = r#"
// 1. First, create the backend service (not started yet)
zinit_service_new()
    .name("echo_server")
    .exec("socat TCP-LISTEN:9999,reuseaddr,fork EXEC:cat")
    .test_tcp("localhost:9999")
    .register();

// 2. Create xinit proxy that starts the service on demand
xinit_proxy_new()
    .name("echo_proxy")
    .listen("unix:///tmp/echo.sock")    // Listen on Unix socket or "tcp://0.0.0.0:8080"
    .backend("tcp://127.0.0.1:9999")    // Forward to backend
    .service("echo_server")             // Service to start on connection
    .idle_timeout(60)                   // Stop after 60s idle (0=never)
    .connect_timeout(10)                // Wait 10s for backend
    .reset()                            // Delete existing proxy first
    .register();
"#;

const USE: &str = r#"
// Proxy management
print(xinit_list());                    // List all proxies
print(xinit_status("echo_proxy").name); // Get proxy status
print(xinit_status_all().len);
xinit_unregister("echo_proxy");         // Remove proxy
xinit_register("echo_proxy", "/tmp/echo.sock", "localhost:9999", "echo_server");
print(xinit_list());
xinit_unregister("echo_proxy");
print(xinit_list());
"#;

/// The text with these words in place of those.
fn put(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "there is no {from} in {text}");
        text.replace(from, to)
    })
}

#[test]
fn its_service_files_run() {
    for (text, at_path) in [(WHOLE, true), (UNIX, true), (TCP, false)] {
        let (home, back, port) = (Home::new(), free_port(), free_port());
        let path = home.root.join("front.sock").display().to_string();
        let (exec, front) = if at_path {
            ("postgres -D /var/lib/postgresql/data", path)
        } else {
            ("redis-server --port 6379", format!("127.0.0.1:{port}"))
        };
        let mut yaml = put(text, &[(exec, &format!("{} 127.0.0.1:{back}", backend()))]);
        let (old, new) = if at_path {
            ("/tmp/pg-proxy.sock", front.clone())
        } else {
            yaml = put(&yaml, &[("localhost:6379", &format!("localhost:{back}"))]);
            ("16379", port.to_string())
        };
        yaml = put(&yaml, &[(old, &new)]).replace("localhost:5432", &format!("localhost:{back}"));
        let home = home.service("postgres", &yaml).start();
        assert_eq!(home.status("postgres").state, "Stopped", "it does not start by itself");
        assert_eq!(Client::to(&front).asks("hello"), "hello");
        assert_eq!(home.status("postgres").state, "Running");
    }
}

#[test]
fn its_builder_runs_and_the_functions_beside_it() {
    let (home, port) = (Home::new().start(), free_port());
    let path = home.root.join("echo.sock").display().to_string();
    let back = format!("127.0.0.1:{port}");
    let script = put(
        BUILDER,
        &[
            ("socat TCP-LISTEN:9999,reuseaddr,fork EXEC:cat", &format!("{} {back}", backend())),
            ("localhost:9999", &format!("localhost:{port}")),
            ("127.0.0.1:9999", &back),
            ("/tmp/echo.sock", &path),
        ],
    );
    home.write("echo.rhai", &script);
    for _ in 0..2 {
        home.zinit(["echo.rhai"]);
        assert_eq!(Client::to(&path).asks("hello"), "hello");
    }
    let proxy = home.ask("xinit.status", json!(["echo_proxy"]));
    assert_eq!((&proxy["idle_timeout"], &proxy["connect_timeout"]), (&json!(60), &json!(10)));
    let script = put(USE, &[("/tmp/echo.sock", &path), ("9999", &port.to_string())]);
    home.write("use.rhai", &script);
    assert_eq!(
        home.zinit(["use.rhai"]),
        "[\"echo_proxy\"]\necho_proxy\n1\nUnregistered xinit proxy: echo_proxy\n\
         Registered xinit proxy: echo_proxy\n[\"echo_proxy\"]\n\
         Unregistered xinit proxy: echo_proxy\n[]\n"
    );
    assert!(!fs::exists(&path).expect("the home can be read"));
}

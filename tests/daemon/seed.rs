//! Every snippet of the README of zinit 0.3 that is not about Xinit, the REPL, the TUI or the
//! updater runs as it stands.
//!
//! What the snippets take for granted is provided: a server, a service `database`, a service `myapp`
//! where it is only asked about, and the directory `/var/www`. They all use port 8080, so they take
//! turns.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use serde_json::json;
use zinit_tests::daemon::{Home, programs, text};

const INLINE: &str = r#"
# Simple ping
zinit -c 'zinit_ping()'

# List services
zinit -c 'print(zinit_list())'

# Create and start a service
zinit -c '
  let svc = new_service("myapp")
    .exec("python3 -m http.server 8080")
    .oneshot(false);
  start(svc, 5);
'
"#;

const STANDARD_INPUT: &str = r#"
echo 'zinit_list()' | zinit -i

zinit -i << 'EOF'
let status = zinit_status("myapp");
print("State: " + status.state);
print("PID: " + status.pid);
EOF
"#;

const FILE: &str = r#"
// myservice.rhai
let svc = new_service("webserver")
    .exec("python3 -m http.server 8080")
    .dir("/var/www")
    .env("PORT", "8080")
    .after("database")
    .oneshot(false);

start(svc, 10);  // Start and wait up to 10s

print("Webserver started!");
print("State: " + zinit_status("webserver").state);
"#;

const BUILDER: &str = r#"
// Create and register a service
let svc = zinit_service_new()
    .name("myapp")                          // Service name
    .exec("python3 -m http.server 8080")    // Required: command to run
    .test_cmd("curl -s localhost:8080")     // Command-based health check
    .test_tcp("localhost:8080")             // TCP port health check
    .test_http("http://localhost:8080/")    // HTTP health check
    .tcp_kill()                             // Kill processes on port before starting
    .oneshot(false)                         // Restart on exit (default)
    .after("database")                      // Wait for dependency
    .env("PORT", "8080")                    // Environment variable
    .dir("/var/www")                        // Working directory
    .log("ring")                            // Logging: "ring", "stdout", "none"
    .shutdown_timeout(10)                   // Seconds before SIGKILL
    .signal_stop("SIGTERM")                 // Stop signal
    .register();                            // Register with zinit

// Wait for service to start
svc.wait(30);  // Wait up to 30 seconds
"#;

/// `<name>` and `[sig]` are the reader's to fill in.
const COMMANDS: &str = "
zinit ping
zinit list                    # List all services
zinit status myapp            # Get service status
zinit start myapp             # Start a service
zinit stop myapp              # Stop a service
zinit restart myapp           # Restart a service
zinit kill myapp SIGCONT      # Send signal to service
zinit stats myapp             # Get resource usage
zinit logs                    # Show all logs
zinit logs myapp              # Show logs for service
zinit script.rhai             # Run a Rhai script file
zinit scripts/                # Run all .rhai files in directory
zinit delete myapp            # Delete a service
";

const SERVER: &str = "
# Run in background (daemon mode)
zinit-server -bg
zinit-server --help           # Show help
# Check connection
zinit ping
# List services
zinit list
";

/// The calls of the function reference, with `myapp` for the names, and a wait for it to be up again.
const FUNCTIONS: &str = r#"
zinit_start("myapp");
zinit_stop("myapp");
zinit_restart("myapp");
zinit_wait_for("myapp", 5);
zinit_kill("myapp", "SIGCONT");
print(type_of(zinit_list()));
print(zinit_status("myapp").keys().filter(|it| it in ["name", "pid", "state", "target"]));
print(zinit_stats("myapp").keys().filter(|it| it in ["pid", "memory_usage", "cpu_usage"]));
print(zinit_is_running("myapp"));
print(type_of(zinit_logs()));
print(type_of(zinit_logs_filter("myapp")));
zinit_stop_all();
zinit_start_all();
print(zinit_ping().message);
sleep(0);
sleep_ms(1);
set_env("COLOUR", "red");
print(get_env("COLOUR"));
print(file_exists("/"));
print(check_tcp("127.0.0.1:1"));
print(check_http("http://127.0.0.1:1/"));
print(kill_port(1));
zinit_delete("myapp");
zinit_shutdown();
"#;

const SAID_BY_FUNCTIONS: &str = "\
Started: myapp
Stopped: myapp
Restarted: myapp
Sent SIGCONT to: myapp
array
[\"name\", \"pid\", \"state\", \"target\"]
[\"cpu_usage\", \"memory_usage\", \"pid\"]
true
array
array
Stopped all services
Started all services
pong
red
true
false
false
0
Deleted: myapp
Shutting down
";

const MYAPP: &str = "exec: sleep 1000\n";

fn turn() -> MutexGuard<'static, ()> {
    static PORT_8080: Mutex<()> = Mutex::new(());
    // One that failed has let go of the port all the same.
    PORT_8080.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs it as its reader would, and returns what it printed.
fn bash(home: &Home, script: &str) -> String {
    let mut bash = home.command("/usr/bin/env");
    let path = std::env::var("PATH").expect("there is a PATH");
    bash.env("PATH", format!("{}:{path}", programs().display()));
    let out =
        bash.args(["bash", "-euo", "pipefail", "-c", script]).output().expect("there is a bash");
    let (said, complained) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{script}: {}: {said}{complained}", out.status);
    said
}

/// The script with a directory that is there: who may not make `/var/www` uses the home instead.
fn with_dir(home: &Home, script: &str) -> String {
    if fs::create_dir_all("/var/www").is_ok() || Path::new("/var/www").is_dir() {
        return script.to_owned();
    }
    script.replace("/var/www", &home.root.display().to_string())
}

fn with_database() -> Home {
    Home::new().service("database", "exec: sleep 1000\n").start()
}

fn answers(home: &Home) {
    let check = r#"check_http("http://localhost:8080/")"#;
    home.until("port 8080 answers", || home.zinit(["-c", check]) == "=> true\n");
}

#[test]
fn the_inline_scripts_and_those_from_standard_input() {
    let _turn = turn();
    let home = Home::new().start();
    let said = bash(&home, INLINE);
    assert!(said.starts_with("=> #{") && said.contains("\n[]\n"), "{said}");
    answers(&home);
    let said = bash(&home, STANDARD_INPUT);
    let pid = home.status("myapp").pid;
    assert_eq!(said, format!("=> [\"myapp\"]\nState: Running\nPID: {pid}\n"));
}

#[test]
fn the_script_file() {
    let _turn = turn();
    let home = with_database();
    home.write("myservice.rhai", &with_dir(&home, FILE));
    let said = bash(&home, "zinit run myservice.rhai");
    assert!(said.ends_with("Webserver started!\nState: Running\n"), "{said}");
    answers(&home);
}

#[test]
fn the_builder_with_every_method() {
    let _turn = turn();
    let home = with_database();
    let said = home.zinit(["-c", &with_dir(&home, BUILDER)]);
    assert!(said.starts_with("Registered: myapp\n"), "{said}");
    assert_eq!(home.status("myapp").state, "Running");
    answers(&home);
    let kept = home.ask("service.get", json!(["myapp"]));
    assert_eq!(kept["health"]["test_tcp"], json!(["localhost:8080"]));
    assert_eq!(kept["health"]["tcp_kill"], true);
}

#[test]
fn the_commands() {
    let home = Home::new().service("myapp", MYAPP).start();
    home.up("myapp");
    home.write("script.rhai", "print(\"a script\");");
    home.write("scripts/one.rhai", "print(\"one of them\");");
    let said = bash(&home, COMMANDS);
    for line in [
        "Server: pong",
        "  myapp Running (pid: ",
        "  State: Running\n  Target: Up\n  PID: ",
        "Started service: myapp",
        "Stopped service: myapp",
        "Restarted service: myapp",
        "Sent SIGCONT to service: myapp",
        "  Memory: ",
        "a script",
        "one of them",
        "Deleted service: myapp",
    ] {
        assert!(said.contains(line), "it does not say `{line}`:\n{said}");
    }
}

#[test]
fn the_server_in_the_background() {
    let home = Home::new();
    let said = bash(&home, SERVER);
    assert!(said.starts_with("Zinit server started in background\n"), "{said}");
    assert!(said.ends_with("No services registered\n"), "{said}");
}

#[test]
fn the_functions_of_its_reference() {
    let home = Home::new().service("myapp", MYAPP).start();
    home.up("myapp");
    assert_eq!(home.zinit(["-c", FUNCTIONS]), SAID_BY_FUNCTIONS);
}

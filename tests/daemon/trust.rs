//! What an operator relies on: a stop leaves nothing, a check that fails is acted on, a process runs
//! as whom it is to, and a reload that cannot be costs nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use serde_json::{Value, json};
use zinit_host::refusal::Kind;
use zinit_tests::daemon::{Home, text};

/// What services leave behind that other supervisors miss, each as a command line.
const LITTER: [(&str, &str); 4] = [
    ("deaf", "sh -c '(trap \"\" TERM; while :; do sleep 1; done) & exec sleep 1000'"),
    ("session", "sh -c 'setsid sleep 1000 & exec sleep 1000'"),
    ("daemon", "sh -c '(setsid sh -c \"sleep 1000 & wait\" &) ; exec sleep 1000'"),
    (
        "bomb",
        "sh -c 'i=0; while [ $i -lt 100 ]; do setsid sleep 1000 & sleep 1000 & i=$((i+1)); done; \
         exec sleep 1000'",
    ),
];

/// How many processes of this home's services there are, by a variable that all of them have.
fn alive(home: &Home) -> usize {
    let mark = format!("LITTER_OF={}", home.root.display());
    let has_mark = |pid: String| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|it| *it == 0).any(|it| it == mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").expect("it is there").flatten();
    entries
        .filter_map(|it| it.file_name().into_string().ok())
        .filter(|it| has_mark(it.clone()))
        .count()
}

fn litter(home: Home) -> Home {
    let mark = home.root.display().to_string();
    LITTER.iter().fold(home, |home, (name, line)| {
        let exec = Value::String((*line).to_owned());
        let yaml = format!("exec: {exec}\nshutdown_timeout: 300ms\nenv: {{ LITTER_OF: {mark} }}\n");
        home.service(name, &yaml)
    })
}

fn nothing_survives(home: &Home) {
    for (name, _) in LITTER {
        home.up(name);
    }
    // Two or three of the first three, and two hundred of the last.
    home.until("all of them are there", || alive(home) >= 208);
    for (name, _) in LITTER {
        home.zinit(["stop", name]);
    }
    assert_eq!(alive(home), 0);
    for (name, _) in LITTER {
        assert_eq!(home.status(name).state, "Stopped");
    }
}

#[test]
fn nothing_survives_a_stop() {
    nothing_survives(&litter(Home::new()).start());
}

#[test]
fn nothing_survives_a_stop_where_no_cgroups_are() {
    let home = litter(Home::new());
    let out = home.command("zinit-server").env("ZINIT_CGROUP", "off").arg("-bg").output();
    assert!(out.expect("our programs run").status.success());
    nothing_survives(&home);
}

#[test]
fn nothing_survives_a_shutdown() {
    let home = litter(Home::new()).start();
    home.until("all of them are there", || alive(&home) >= 208);
    home.zinit(["server", "stop"]);
    assert_eq!(alive(&home), 0);
}

#[test]
fn a_leader_that_leaves_others_behind_is_started_again_when_they_are_gone() {
    let mark = "sh -c 'sleep 1000 & exec sleep 1000'";
    let home = Home::new().service("a", &format!("exec: {mark}\nshutdown_timeout: 2\n")).start();
    let first = home.up("a").pid;
    home.zinit(["kill", "a", "SIGKILL"]);
    home.until("another process", || {
        let now = home.status("a");
        now.state == "Running" && now.pid != first
    });
}

/// A server on loopback that answers each request by this text, after so many requests another one.
fn web(answer: impl Fn(usize) -> &'static str + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let mut stream: TcpStream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer(count).as_bytes());
        }
    });
    port
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn with_health(home: Home, port: u16, more: &str) -> Home {
    let health = format!("{{ test_http: http://127.0.0.1:{port}/, period: 50ms, {more} }}");
    home.service("a", &format!("exec: sleep 1000\nhealth: {health}\n"))
}

#[test]
fn a_service_is_up_when_its_url_answers_well() {
    let home =
        with_health(Home::new(), web(|count| if count < 3 { BAD } else { GOOD }), "").start();
    assert_eq!(home.up("a").restarts, 0);
    home.until("it is well", || &*home.status("a").health == "ok");
}

#[test]
fn a_service_whose_checks_fail_again_and_again_is_restarted_with_the_reason() {
    // The first answers are good.
    let port = web(|count| if count < 4 { GOOD } else { BAD });
    let home = with_health(Home::new(), port, "retry: 2").start();
    let first = home.up("a").pid;
    home.until("another process", || home.status("a").restarts >= 1);
    assert!(home.status("a").pid != first);
    let events = home.ask("events.get", json!(["a"])).to_string();
    assert!(events.contains("status 503, 2 times in a row"), "{events}");
}

#[test]
fn a_url_that_redirects_for_ever_or_never_answers_is_named_in_the_reason() {
    static PORT: AtomicU16 = AtomicU16::new(0);
    let answer = |_| {
        let port = PORT.load(Ordering::Relaxed);
        let to = format!("http://127.0.0.1:{port}/");
        let text = format!(
            "HTTP/1.1 302 No\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        &*Box::leak(text.into_boxed_str())
    };
    let port = web(answer);
    PORT.store(port, Ordering::Relaxed);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let mute = silent.local_addr().expect("it is bound").port();
    let yaml = |port: u16| {
        format!("exec: sleep 1000\nhealth: {{ http: http://127.0.0.1:{port}/, timeout: 300ms }}\n")
    };
    let home = Home::new().service("a", &yaml(port)).service("b", &yaml(mute)).start();
    home.until("a has failed", || home.status("a").health.contains("too many redirects"));
    home.until("b has failed", || home.status("b").health.contains("no answer within 300 ms"));
    assert_eq!(
        (home.status("a").state, home.status("b").state),
        ("Spawned".into(), "Spawned".into())
    );
}

#[test]
fn commands_that_check_are_run_by_the_keeper_and_killed_when_their_time_is_up() {
    let home = Home::new();
    let flag = home.root.join("well");
    let yaml = |test: String| {
        let test = Value::String(test);
        format!("exec: sleep 1000\nhealth: {{ cmd: {test}, period: 50ms, timeout: 500ms }}\n")
    };
    let home = home
        .service("a", &yaml(format!("test -e {}", flag.display())))
        .service("b", &yaml("sleep 1000".to_owned()))
        .start();
    home.until("a has failed", || home.status("a").health.contains("exit 1"));
    home.until("b was not waited for", || home.status("b").health.contains("500 ms"));
    home.write("well", "");
    home.up("a");
    home.zinit(["stop", "b"]);
    home.until("its check is gone", || home.children("sleep").len() == 1);
}

#[test]
fn a_process_runs_as_whom_it_is_to() {
    let show =
        "sh -c 'id -u; id -g; umask; nice; ulimit -n; echo $USER $GREETING; exec sleep 1000'";
    let home = Home::new();
    home.write("vars", "# greets\nexport GREETING='good day'\n");
    let yaml = format!(
        "exec: \"{show}\"\nuser: nobody\numask: 027\nnice: 3\nlimits: {{ nofile: 99 }}\n\
         env_file: {}\n",
        home.root.join("vars").display()
    );
    // Only root may become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let home = home.service("a", &yaml).start();
    home.up("a");
    home.until("it has told", || home.zinit(["logs", "a"]).lines().count() == 6);
    let told = home.zinit(["logs", "a"]).replace("[+] a: ", "");
    assert_eq!(told.lines().collect::<Vec<_>>()[2..], ["0027", "3", "99", "nobody good day"]);
    assert!(told.starts_with("65534\n"), "{told}");
}

#[test]
fn whom_it_cannot_run_as_is_named_and_so_is_the_limit_that_the_kernel_refuses() {
    let home = Home::new()
        .service("a", "exec: sleep 1000\nuser: no-such-user\n")
        .service("b", "exec: sleep 1000\nlimits: { nofile: 99999999999 }\n")
        .start();
    home.until("both have failed", || {
        home.status("a").state == "Failed" && home.status("b").state == "Failed"
    });
    let reason = |name: &str| home.status(name).reason.to_string();
    assert!(reason("a").contains("there is no user `no-such-user`"), "{}", reason("a"));
    assert!(reason("b").contains("rlimit"), "{}", reason("b"));
}

#[test]
fn a_reload_that_closes_a_cycle_is_refused_and_everything_runs_on() {
    let home = Home::new()
        .service("a", "exec: sleep 1000\n")
        .service("b", "exec: sleep 1000\nafter: a\n")
        .start();
    let (a, b) = (home.up("a").pid, home.up("b").pid);
    home.write("cfg/zinit/a.yaml", "exec: sleep 2000\nafter: b\n");
    let out = home.run("zinit", ["reload"]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("a -> b -> a"), "{said}");
    assert_eq!((home.status("a").pid, home.status("b").pid), (a, b));
    home.write("cfg/zinit/a.yaml", "exec: sleep 1000\nshutdown_timeout: 3\n");
    home.write("cfg/zinit/b.yaml", "exec: sleep 3000\nafter: a\n");
    let plan = home.ask("service.reload", json!({ "dry_run": true }));
    assert_eq!((&plan[0]["verb"], &plan[1]["verb"]), (&json!("update"), &json!("restart")));
    assert_eq!(home.status("b").pid, b);
    home.zinit(["reload"]);
    home.until("b is another process", || ![0, b].contains(&home.up("b").pid));
    assert_eq!(home.status("a").pid, a);
}

#[test]
fn a_file_that_is_not_fine_keeps_the_whole_reload_from_happening() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let pid = home.up("a").pid;
    home.write("cfg/zinit/a.yaml", "exec: sleep 2000\n");
    home.write("cfg/zinit/c.yaml", "exec: sleep 1\nready_log: '('\n");
    let refused = home.client().call("service.reload", json!([])).expect_err("c is not fine");
    assert_eq!(refused.kind, Kind::BadConfig, "{refused}");
    let out = home.run("zinit", ["reload"]);
    let said = text(&out.stderr);
    assert!(said.contains("c.yaml:2:") && said.contains("ready_log"), "{said}");
    assert_eq!(home.status("a").pid, pid);
}

#[test]
fn a_stop_command_that_hangs_is_ended_with_what_it_was_to_stop() {
    let yaml = "exec: sleep 1000\nstop_cmd: sleep 2000\nshutdown_timeout: 200ms\n";
    let home = Home::new().service("a", yaml).start();
    home.up("a");
    home.zinit(["stop", "a"]);
    home.until("the command is gone", || home.children("sleep").is_empty());
    assert_eq!(home.status("a").last_exit, "SIGTERM");
}

#[test]
fn a_service_that_is_deleted_while_somebody_waits_for_it_ends_the_wait() {
    let home = Home::new().service("a", "exec: sleep 1000\nnotify: true\n").start();
    let mut waiting = home.client();
    let waits = thread::spawn(move || waiting.call("service.wait", json!(["a", 60, "up"])));
    home.until("it has a process", || home.status("a").pid != 0);
    home.zinit(["delete", "a"]);
    assert_eq!(waits.join().expect("no panic"), Ok(json!(false)));
}

#[test]
fn a_process_that_says_it_is_ready_by_descriptor_or_line_is_up_then() {
    let home = Home::new();
    let go = home.root.join("go");
    let wait = format!("while ! test -e {}; do sleep 0.01; done", go.display());
    let home = home
        .service("a", &format!("exec: \"sh -c '{wait}; echo >&4; exec sleep 1000'\"\nready_fd: 4\n"))
        .service(
            "b",
            &format!("exec: \"sh -c '{wait}; echo it listens now; exec sleep 1000'\"\nready_log: listens\n"),
        )
        .start();
    home.until("both run", || home.status("a").pid != 0 && home.status("b").pid != 0);
    let states = || (home.status("a").state, home.status("b").state);
    assert_eq!(states(), ("Spawned".into(), "Spawned".into()));
    home.signal_brain(nix::sys::signal::Signal::SIGKILL);
    home.write("go", "");
    home.until("both are up", || {
        home.client().call("system.ping", json!([])).is_ok()
            && states() == ("Running".into(), "Running".into())
    });
}

#[test]
fn a_brain_that_dies_in_the_middle_of_a_check_costs_a_service_nothing() {
    let health = "{ cmd: sleep 0.1, period: 100ms, retry: 1 }";
    let home = Home::new().service("a", &format!("exec: sleep 1000\nhealth: {health}\n")).start();
    let pid = home.up("a").pid;
    for _ in 0..5 {
        home.until("a check runs", || home.children("sleep").len() == 2);
        home.signal_brain(nix::sys::signal::Signal::SIGKILL);
        home.until("another brain has checked it", || {
            let status = home
                .client_if_any()
                .and_then(|mut it| it.call("service.status", json!(["a"])).ok());
            status.is_some_and(|it| it["health"] == "ok")
        });
    }
    assert_eq!((home.status("a").pid, home.status("a").restarts), (pid, 0));
}

#[test]
fn a_configuration_that_is_refused_leaves_no_file() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let register = |name: &str, after: &str| {
        let config = json!({ "exec": "sleep 1000", "after": [after] });
        home.client().call("service.register", json!([name, config]))
    };
    register("b", "c").expect("nothing is wrong with it yet");
    let refused = register("c", "b").expect_err("it closes a cycle");
    assert!(refused.message.contains("c -> b -> c"), "{refused}");
    assert!(!home.root.join("cfg/zinit/c.yaml").exists());
    home.zinit(["reload"]);
}

#[test]
fn a_restart_is_done_when_those_that_require_it_have_made_way() {
    let deaf = "sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'";
    let home = Home::new()
        .service("db", "exec: sleep 1000\n")
        .service("web", &format!("exec: {deaf}\nrequires: db\nshutdown_timeout: 700ms\n"))
        .start();
    let (db, web) = (home.up("db").pid, home.up("web").pid);
    assert_eq!(home.zinit(["restart", "db"]), "Restarted service: db\n");
    assert!(home.status("db").pid != db);
    assert!(home.up("web").pid != web);
}

//! What service files may say, and what is said about those that cannot be.

mod keys;
mod labels;
mod log;
mod refused;
mod schema;
mod xinit;

use std::path::Path;

use serde_json::json;

use std::sync::Arc;

use super::*;

fn parsed(yaml: &str) -> Spec {
    match Spec::from_yaml(yaml, Path::new("/cfg/web.yaml")) {
        Ok(spec) => spec,
        Err(refusal) => panic!("{refusal}\n{yaml}"),
    }
}

/// The refusal as a user sees it: the message, the line with a caret under it, the hint.
fn refused(yaml: &str) -> String {
    match Spec::from_yaml(yaml, Path::new("web.yaml")) {
        Ok(spec) => panic!("not refused: {yaml}\n{spec:?}"),
        Err(it) => {
            let (line, column) = (&it.data["line"], it.data["column"].as_u64());
            assert!(it.message.starts_with(&format!("web.yaml:{line}:")), "{}", it.message);
            let caret =
                " ".repeat(column.and_then(|it| usize::try_from(it - 1).ok()).unwrap_or(99));
            let source = it.data["source"].as_str().unwrap_or("no source");
            format!("{}\n|{source}\n|{caret}^\n= {}", it.message, it.hint.unwrap_or_default())
        }
    }
}

#[track_caller]
fn says(yaml: &str, told: &str) {
    let said = refused(yaml);
    assert!(said == told, "for\n{yaml}\nit says\n{said}\ninstead of\n{told}");
}

#[test]
fn every_key_is_read() {
    let spec = parsed(
        r#"# a comment
exec: python3 -m http.server "80 80"
status: ignore
shutdown_timeout: 1.5
after: [db, cache]
signal: { stop: int }
log: stdout
env:
  PORT: 8080
  VERSION: 1.10
  DEBUG: true
  EMPTY:
  NAME: "it's"
dir: /var/www
restart_delay: 200ms
health:
  period: 5m
  retry: 7
  cmd: curl -s localhost
  test_tcp: [ "localhost:5432", "[::1]:80" ]
  http: http://localhost/
  tcp_kill: true
xinit:
  enabled: true
  listen: [ /tmp/pg.sock, "0.0.0.0:16379" ]
  backend: tcp://localhost:6379
  connect_timeout: 10
  idle_timeout: 1h
  single_connection: true
"#,
    );
    assert_eq!(spec.argv(), ["python3", "-m", "http.server", "80 80"]);
    assert_eq!(spec.after.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["db", "cache"]);
    let env: Vec<(&str, &str)> = spec.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let told =
        [("DEBUG", "true"), ("EMPTY", ""), ("NAME", "it's"), ("PORT", "8080"), ("VERSION", "1.10")];
    assert_eq!(env, told);
    let others = (spec.status, spec.oneshot, spec.log.mode, spec.stop_signal, spec.dir.as_str());
    assert_eq!(others, (Status::Ignore, false, LogMode::Stdout, Signal::SIGINT, "/var/www"));
    assert_eq!((spec.shutdown_timeout_ms, spec.restart_delay_ms), (1_500, Some(200)));
    let health = Health {
        period_ms: 300_000,
        retry: 7,
        timeout_ms: 5_000,
        test_cmd: vec!["curl -s localhost".to_owned()],
        test_tcp: vec!["localhost:5432".to_owned(), "[::1]:80".to_owned()],
        test_http: vec!["http://localhost/".to_owned()],
        tcp_kill: true,
    };
    assert_eq!(*spec.health, health);
    let at = |text| Address::parse(text).expect("an address");
    let xinit = Xinit {
        enabled: true,
        listen: ["/tmp/pg.sock", "0.0.0.0:16379"].map(at).to_vec(),
        backend: Some(at("tcp://localhost:6379")),
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 3_600_000,
        max_connections: 1,
        ..Xinit::default()
    };
    assert_eq!(spec.xinit, Some(Box::new(xinit)));
}

#[test]
fn one_line_is_a_service_with_the_defaults_of_zinit_0_3() {
    let spec = parsed("exec: sleep 100");
    assert_eq!(spec, Spec::of_exec("sleep 100"));
    assert_eq!((spec.status, spec.log.mode, spec.xinit), (Status::Start, LogMode::Ring, None));
    assert_eq!((spec.shutdown_timeout_ms, spec.stop_signal), (10_000, Signal::SIGTERM));
    assert_eq!((spec.health.period_ms, spec.health.retry), (10_000, 3));
}

#[test]
fn what_says_nothing_is_the_default() {
    let spec = parsed("exec: ls\nafter:\nenv:\nlog: ''\nhealth: ~\nxinit: {}\ndir: ''\nsignal:\n");
    assert_eq!(spec, Spec::of_exec("ls"));
}

#[test]
fn a_list_of_one_may_be_plain_text() {
    assert_eq!(parsed("exec: ls\nafter: db").after, parsed("exec: ls\nafter: [db]").after);
    assert_eq!(parsed("exec: ls\nafter: [db, db]").after.len(), 1);
}

#[test]
fn anchors_merges_byte_order_mark_and_crlf_are_read() {
    let spec =
        parsed("\u{feff}x: &a 5m\r\n".replace("x: &a 5m\r\n", "exec: a b\r\ndir: /x\r\n").as_str());
    assert_eq!((spec.exec.as_str(), spec.dir.as_str()), ("a b", "/x"));
    let spec =
        parsed("exec: ls\nshutdown_timeout: &t 5m\nhealth: { <<: { retry: 9 }, period: *t }");
    assert_eq!((spec.health.period_ms, spec.health.retry), (300_000, 9));
}

#[test]
fn the_services_of_the_readme_of_zinit_0_3_are_read() {
    let spec = parsed(
        "exec: \"postgres -D /var/lib/postgresql/data\"\nhealth:\n  tcp: \"localhost:5432\"\n\
         xinit:\n  enabled: true\n  listen: \"/tmp/pg-proxy.sock\" # Proxy socket\n  idle_timeout: 300\n",
    );
    assert_eq!(spec.xinit.map(|it| it.idle_timeout_ms), Some(300_000));
}

#[test]
fn a_service_that_waits_for_itself_is_for_the_core_to_show() {
    assert_eq!(parsed("exec: ls\nafter: web").after.len(), 1);
}

#[test]
fn bombs_are_refused() {
    let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..20 {
        let below = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
    }
    let large = "#".repeat(50_000_000);
    let deep = format!("exec: {}", "[".repeat(100_000));
    let nested = "- ".repeat(100_000);
    let mapped: String = (0..1_000).map(|it| format!("{:it$}a:\n", "")).collect();
    let complex = "the YAML has too many parts, levels or repetitions";
    let told = [
        (laughs, format!("5:10: {complex}")),
        (large, "1:1: the file is larger than 1 MiB".to_owned()),
        (deep, format!("1:262: {complex}")),
        (nested, format!("1:33: {complex}")),
        (mapped, format!("17:17: {complex}")),
    ];
    for (bomb, told) in told {
        let refusal = Spec::from_yaml(&bomb, Path::new("web.yaml")).expect_err("it is a bomb");
        assert_eq!(refusal.message, format!("web.yaml:{told}"));
        assert!(refusal.data["source"].as_str().is_some_and(|it| it.len() <= 200));
    }
}

#[test]
fn the_configuration_of_zinit_0_3_is_read() {
    let config = json!({
        "exec": "ls -l", "status": "", "oneshot": false, "shutdown_timeout": 10, "after": [],
        "signal_stop": "", "log": "", "env": {}, "dir": "",
        "health": { "period": 0, "retry": 0, "test_cmd": [], "test_tcp": [], "test_http": [], "tcp_kill": false },
        "xinit": { "enabled": false, "listen": "", "backend": "", "connect_timeout": 0, "idle_timeout": 0, "single_connection": false },
    });
    assert_eq!(Spec::from_config(&config), Ok(Spec::of_exec("ls -l")));
    let config =
        json!({ "exec": "ls", "env": { "PORT": 8080 }, "restart_delay": 0.25, "after": "db" });
    let spec = Spec::from_config(&config).expect("it is fine");
    assert_eq!((spec.env["PORT"].as_str(), spec.restart_delay_ms), ("8080", Some(250)));
}

#[test]
fn a_bad_configuration_names_the_key() {
    let refusal = |config| Spec::from_config(&config).expect_err("it is bad");
    let no = refusal(json!({ "exec": "ls", "health": { "perod": 1 } }));
    assert_eq!(
        (no.message.as_str(), &no.data["key"]),
        ("unknown key `health.perod`", &json!("health.perod"))
    );
    assert_eq!(no.hint.as_deref(), Some("did you mean `period`?"));
    assert_eq!(refusal(json!({ "exec": "" })).message, "`exec` is missing");
    assert_eq!(refusal(json!({ "exec": "a\0b" })).message, "`exec` has a NUL byte in it");
    assert_eq!(refusal(json!([])).message, "a service is a map of keys, not a list");
    assert_eq!(refusal(json!(null)).message, "`exec` is missing");
}

#[test]
fn the_configuration_spells_everything_out() {
    let config = Spec::of_exec("ls").to_config();
    let told = r#"{
        "exec": "ls", "status": "start", "oneshot": false, "shutdown_timeout": 10, "after": [],
        "signal_stop": "SIGTERM", "log": "ring", "log_to": null, "env": {}, "dir": "", "restart_delay": null,
        "requires": [], "wants": [], "before": [], "conflicts": [], "groups": [], "labels": {}, "stop_cmd": "",
        "restart": "always", "max_restarts": 0, "on_give_up": "", "essential": false, "policy": {}, "notify": false, "ready_fd": null,
        "ready_log": "", "start_timeout": 0, "watchdog": 0, "user": "", "group": "",
        "supplementary_groups": null, "umask": null, "nice": null, "oom_score_adj": null,
        "limits": {}, "no_new_privs": false, "env_file": [], "memory_max": null, "cpu_max": null,
        "pids_max": null,
        "health": { "period": 10, "retry": 3, "timeout": 5, "test_cmd": [], "test_tcp": [], "test_http": [], "tcp_kill": false },
        "xinit": { "enabled": false, "listen": "", "backend": "", "connect_timeout": 30, "idle_timeout": 0, "single_connection": false,
            "mode": "proxy", "max_connections": 0, "max_waiting": 1024, "proxy_protocol": "none", "users": [], "socket_mode": "0666", "fd_names": [] }
    }"#;
    let told: Value = serde_json::from_str(told).expect("it is JSON");
    assert_eq!(config, told);
}

#[test]
fn a_file_is_written_for_people() {
    let spec = Spec {
        after: vec![ServiceName::parse("db").expect("a name")],
        env: [("PORT", "8080"), ("GREETING", "hello, world")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        stop_signal: Signal::SIGINT,
        restart_delay_ms: Some(1_500),
        transient: false,
        health: Arc::new(Health {
            test_tcp: vec!["localhost:8080".to_owned()],
            ..Health::default()
        }),
        ..Spec::of_exec("sh -c 'while true; do date; sleep 1; done'")
    };
    let told = "exec: sh -c 'while true; do date; sleep 1; done'\nafter:\n  - db\nenv:\n  \
                GREETING: hello, world\n  PORT: \"8080\"\nrestart_delay: 1500ms\nsignal:\n  \
                stop: SIGINT\nhealth:\n  test_tcp:\n    - localhost:8080\n";
    assert_eq!(spec.to_yaml(), told);
}

/// Numbers for tests, the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn text(&mut self) -> String {
        const LETTERS: &[&str] = &[
            "a",
            "Z",
            "7",
            " ",
            "  ",
            "\n",
            "\t",
            "\r\n",
            "\"",
            "'",
            "\\",
            "#",
            " #",
            ":",
            ": ",
            "- ",
            "?",
            "&a",
            "*a",
            "!",
            "!!int",
            "|",
            ">",
            "%",
            "@",
            "`",
            "{",
            "}",
            "[",
            "]",
            ",",
            "~",
            "é",
            "😀",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "\u{1}",
            "\u{7f}",
            "\u{9b}",
            "null",
            "true",
            "---",
            "...",
            "$X",
            "0x1",
            "1.5",
            "\u{ffff}",
            "\u{10ffff}",
            "<<",
        ];
        (0..self.roll(6)).map(|_| LETTERS[self.roll(LETTERS.len())]).collect()
    }

    fn maybe<T>(&mut self, some: T) -> Option<T> {
        (self.roll(2) == 0).then_some(some)
    }

    /// None, or some of a few names.
    fn names(&mut self) -> Vec<ServiceName> {
        let names = ["no", "7", "1.5", "a-b"].iter().take(self.roll(5));
        names.map(|it| ServiceName::parse(it).expect("a name")).collect()
    }

    fn run_as(&mut self) -> Arc<RunAs> {
        if self.roll(3) == 0 {
            return RunAs::server();
        }
        let number = self.roll(1 << 20) as u64 + 65_536;
        let pairs = [(number, number), (7, number), (0, u64::MAX), (u64::MAX, u64::MAX), (0, 0)];
        let limit = |name: &str| (name.to_owned(), pairs[self.roll(pairs.len())]);
        let limits = ["nofile", "as", "core"].map(limit).into_iter().take(self.roll(4)).collect();
        let groups = vec!["wheel".to_owned(), "1000".to_owned()];
        let groups = groups.into_iter().take(self.roll(3)).collect();
        Arc::new(RunAs {
            user: ["", "www-data", "1000", "null"][self.roll(4)].to_owned(),
            group: ["", "staff", "0"][self.roll(3)].to_owned(),
            groups: self.maybe(groups),
            umask: self.maybe(0o27),
            nice: self.maybe(-5),
            oom_score_adj: self.maybe(-1_000),
            limits,
            no_new_privs: self.roll(2) == 0,
            env_file: (0..self.roll(3)).map(|_| format!("-/{}", self.text())).collect(),
            memory_max: self.maybe(number << 10),
            cpu_max: self.maybe(150),
            pids_max: self.maybe(64),
        })
    }

    fn log(&mut self) -> Arc<Log> {
        let mode = LogMode::WORDS[self.roll(4)].1;
        if mode == LogMode::None || self.roll(2) == 0 {
            return Arc::new(Log { mode, ..Log::default() });
        }
        Arc::new(Log {
            mode,
            dir: {
                let it = format!("/{}", self.text());
                self.maybe(it)
            }
            .unwrap_or_default(),
            rotate_size: {
                let it = self.roll(1 << 20) as u64;
                self.maybe(4_096 + it)
            },
            rotate_age_ms: i64::try_from(self.roll(3)).expect("small") * 700,
            keep: self.maybe(100_000),
            compress: [None, Some(true), Some(false)][self.roll(3)],
            full: [Full::Drop, Full::Block][self.roll(2)],
            syslog: ["", "/dev/log", "udp://[::1]:514"][self.roll(3)].to_owned(),
        })
    }

    fn readiness(&mut self) -> Readiness {
        let kinds = [
            Readiness::Lives,
            Readiness::Notify,
            Readiness::Fd(3),
            Readiness::Log("^ready: \\(\"x\"\\) #".into()),
        ];
        kinds[self.roll(kinds.len())].clone()
    }

    fn spec(&mut self) -> Spec {
        let readiness = self.readiness();
        // The keeper makes one descriptor for a service, for the one or for the other.
        let watched = !matches!(readiness, Readiness::Fd(_)) && self.roll(2) == 0;
        let relations = [(); 5].map(|()| self.names());
        let [after, requires, wants, before, conflicts] = relations;
        let is_target = self.roll(9) == 0 && !(after.is_empty() && wants.is_empty());
        let run_as = self.run_as();
        let reads = !matches!(readiness, Readiness::Log(_));
        let log_to = self.names().pop().filter(|_| reads);
        let log = if log_to.is_some() { Log::usual() } else { self.log() };
        let word = self.text();
        let exec =
            format!("{} {}", shlex::try_quote(&format!("x{word}")).expect("no NUL"), self.roll(9));
        let mut texts = |some: &str| -> Vec<String> {
            (0..self.roll(3)).map(|_| format!("{some}{}", self.text())).collect()
        };
        let (commands, env) = (texts("c"), texts("K"));
        let env = env.into_iter().map(|it| (it.replace('=', ""), it)).collect();
        Spec {
            env,
            dir: self.text(),
            oneshot: self.roll(2) == 0,
            essential: self.roll(2) == 0,
            status: Status::WORDS[self.roll(3)].1,
            log,
            log_to,
            shutdown_timeout_ms: i64::try_from(self.roll(100_000)).expect("small"),
            restart_delay_ms: (self.roll(2) == 0).then_some(1_000),
            transient: false,
            after,
            requires,
            wants,
            before,
            conflicts,
            groups: vec!["g".to_owned(); self.roll(2)],
            stop_cmd: if self.roll(2) == 0 { String::new() } else { exec.clone() },
            on_give_up: if self.roll(2) == 0 { String::new() } else { exec.clone() },
            restart: Restart::WORDS[self.roll(3)].1,
            max_restarts: i64::try_from(self.roll(3)).expect("small"),
            start_timeout_ms: 700 * i64::from(self.roll(2) == 0),
            watchdog_ms: 30_000 * i64::from(watched),
            readiness,
            run_as,
            labels: self.labels(),
            policy: self.policy(),
            health: Arc::new(Health { test_cmd: commands, retry: 5, ..Health::default() }),
            xinit: (self.roll(2) == 0).then(|| Box::new(self.xinit())),
            ..if is_target { Spec::new(String::new()) } else { Spec::of_exec(&exec) }
        }
    }
}

#[test]
fn whatever_a_service_is_its_file_and_its_configuration_say_the_same() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2_000 {
        let spec = dice.spec();
        let yaml = spec.to_yaml();
        let read = parsed(&yaml);
        assert_eq!(read, spec, "{yaml}");
        assert_eq!(Spec::from_config(&spec.to_config()), Ok(spec.clone()));
        assert_eq!(spec.changes(&read), [""; 0], "{yaml}");
        let other = dice.spec();
        assert_eq!(spec.changes(&other).is_empty(), spec == other, "{yaml}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for _ in 0..5_000 {
        let mut yaml: Vec<char> = dice.spec().to_yaml().chars().collect();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(yaml.len() + 1);
            let upto = (at + dice.roll(5)).min(yaml.len());
            let text = dice.text();
            yaml.splice(at..upto, text.chars());
        }
        let yaml: String = yaml.into_iter().collect();
        if let Err(refusal) = Spec::from_yaml(&yaml, Path::new("web.yaml")) {
            assert!(!refusal.message.contains(char::is_control), "{refusal:?}");
            assert!(refusal.data["line"].as_u64().is_some_and(|it| it > 0), "{refusal}\n{yaml}");
        }
    }
}

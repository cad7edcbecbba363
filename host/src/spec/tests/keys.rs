//! What the table of keys says, and each key of it.

use super::*;

/// A service that uses each key, but for those that exclude each other.
pub(super) const EVERY_KEY: &str = r#"
exec: ls -l
dir: /srv
env: { A: 1 }
env_file: [/etc/default/web, -/etc/default/none]
oneshot: false
status: stop
groups: [front, blue-1]
labels: { tier: web, owner: ops }
after: a
requires: [b, b]
wants: c
before: [d]
conflicts: e
notify: true
start_timeout: 1m
watchdog: 30s
health: { timeout: 500ms, period: 1, retry: 2, test_cmd: "true", tcp: "a:1", http: "b:2", tcp_kill: true }
restart: on-failure
restart_delay: 1
max_restarts: 5
on_give_up: logger -t web "given up"
essential: true
policy: { restart_delay: my_delay, gives_up: decaying_score::gives_up }
stop_cmd: nginx -s quit
signal_stop: QUIT
signal: { stop: SIGQUIT }
shutdown_timeout: 2
user: www-data
group: 33
supplementary_groups: [adm, 44]
umask: 0027
nice: -5
oom_score_adj: -500
limits: { nofile: 1024, nproc: 100:200, core: unlimited, as: 1GiB, memlock: "64KiB:unlimited" }
no_new_privs: true
memory_max: 512MiB
cpu_max: 150%
pids_max: 64
log: none
xinit: { enabled: true, listen: /tmp/a.sock, backend: "a:1", mode: proxy, connect_timeout: 1, idle_timeout: 2, single_connection: true, max_connections: 1, max_waiting: 5, proxy_protocol: v2, users: [root, 33], socket_mode: 0660, fd_names: [] }
"#;

fn names(names: &[ServiceName]) -> Vec<&str> {
    names.iter().map(ServiceName::as_str).collect()
}

#[test]
fn what_came_with_0_4_is_read() {
    let spec = parsed(EVERY_KEY);
    let relations = [&spec.after, &spec.requires, &spec.wants, &spec.before, &spec.conflicts];
    assert_eq!(relations.map(|it| names(it)), [["a"], ["b"], ["c"], ["d"], ["e"]]);
    assert_eq!(spec.groups, ["front", "blue-1"]);
    assert_eq!((spec.restart, spec.max_restarts), (Restart::OnFailure, 5));
    assert_eq!(spec.on_give_up, "logger -t web \"given up\"");
    assert!(spec.essential);
    assert_eq!((spec.stop_cmd.as_str(), spec.stop_signal), ("nginx -s quit", Signal::SIGQUIT));
    assert_eq!((spec.start_timeout_ms, spec.watchdog_ms), (60_000, 30_000));
    assert_eq!((&spec.readiness, spec.health.timeout_ms), (&Readiness::Notify, 500));
    let limits = [
        ("as", (1 << 30, 1 << 30)),
        ("core", (u64::MAX, u64::MAX)),
        ("memlock", (65_536, u64::MAX)),
        ("nofile", (1_024, 1_024)),
        ("nproc", (100, 200)),
    ];
    let run_as = RunAs {
        user: "www-data".to_owned(),
        group: "33".to_owned(),
        groups: Some(vec!["adm".to_owned(), "44".to_owned()]),
        umask: Some(0o27),
        nice: Some(-5),
        oom_score_adj: Some(-500),
        limits: limits.map(|(name, pair)| (name.to_owned(), pair)).into(),
        no_new_privs: true,
        env_file: vec!["/etc/default/web".to_owned(), "-/etc/default/none".to_owned()],
        memory_max: Some(512 << 20),
        cpu_max: Some(150),
        pids_max: Some(64),
    };
    assert_eq!(*spec.run_as, run_as);
    assert_eq!(parsed(&spec.to_yaml()), spec);
}

#[test]
fn every_key_of_the_table_is_read_and_told_and_no_other() {
    // All of them are read, since unknown ones are refused and this has each.
    let mut exclude = Vec::from(["ready_fd", "ready_log", "log_to"]);
    for key in KEYS {
        let used = EVERY_KEY.lines().any(|it| it.starts_with(&format!("{}:", key.name)));
        assert!(used || exclude.contains(&key.name), "{}", key.name);
    }
    exclude = vec!["signal"];
    let config = Spec::of_exec("ls").to_config();
    let table = KEYS.iter().filter(|it| !exclude.contains(&it.name));
    let mut table: Vec<&str> = table.map(|it| it.name).collect();
    table.sort_unstable();
    let told: Vec<&str> = config.as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(table, told);
    for key in KEYS {
        let (Kind::Map(keys), false) = (key.kind, key.name == "signal") else { continue };
        let mut inner: Vec<&str> = keys.iter().map(|it| it.name).collect();
        inner.sort_unstable();
        let told = config[key.name].as_object().expect("a map").keys();
        assert_eq!(inner, told.map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    for key in KEYS.iter().filter(|it| !it.default.is_empty()) {
        let value = serde_json::from_str::<Value>(key.default).expect("it is JSON");
        let spec = Spec::from_config(&json!({ "exec": "ls", key.name: value }));
        assert_eq!(spec, Ok(Spec::of_exec("ls")), "{}", key.name);
    }
    for key in KEYS {
        let Kind::Map(keys) = key.kind else { continue };
        for inner in keys {
            let value = serde_json::from_str::<Value>(inner.default).expect("it is JSON");
            let spec = Spec::from_config(&json!({ "exec": "ls", key.name: { inner.name: value } }));
            assert_eq!(spec, Ok(Spec::of_exec("ls")), "{}.{}", key.name, inner.name);
        }
    }
}

#[test]
fn the_words_of_the_table_are_those_that_are_read() {
    let words = |key: &str| match KEYS.iter().find(|it| it.name == key).map(|it| it.kind) {
        Some(Kind::OneOf(words) | Kind::WordOrMap(words, _)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(words("status"), Status::WORDS.map(|(it, _)| it));
    assert_eq!(words("log"), LogMode::WORDS.map(|(it, _)| it));
    let inner = |key: &str| match PROXY.iter().find(|it| it.name == key).map(|it| it.kind) {
        Some(Kind::OneOf(words)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(inner("mode"), Mode::WORDS.map(|(it, _)| it));
    assert_eq!(inner("proxy_protocol"), ProxyProtocol::WORDS.map(|(it, _)| it));
    assert_eq!(words("restart"), Restart::WORDS.map(|(it, _)| it));
}

#[test]
fn a_service_without_a_command_that_names_others_is_a_target() {
    for yaml in ["wants: [a, b]", "requires: a", "after: a", "exec: ''\nwants: a\ndir: /tmp"] {
        let spec = parsed(yaml);
        assert!(spec.is_target() && spec.argv().is_empty(), "{yaml}");
        assert_eq!(parsed(&spec.to_yaml()), spec);
    }
}

#[test]
fn a_watchdog_alone_is_readiness_too() {
    let readiness = |yaml: &str| parsed(&format!("exec: ls\n{yaml}\n")).readiness;
    assert_eq!(readiness("watchdog: 30s"), Readiness::Notify);
    assert_eq!(readiness("watchdog: 30s\nready_log: up"), Readiness::Log("up".into()));
    assert_eq!(readiness("watchdog: 30s\nnotify: false"), Readiness::Lives);
    assert_eq!(readiness("watchdog: 0"), Readiness::Lives);
    assert_eq!(readiness("ready_fd: 3\nnotify: false"), Readiness::Fd(3));
}

#[test]
fn a_mask_is_octal_however_yaml_takes_it() {
    for text in ["027", "\"0027\"", "27", "0o27", "'027'"] {
        let spec = parsed(&format!("exec: ls\numask: {text}"));
        assert_eq!(spec.run_as.umask, Some(0o27), "{text}");
    }
    let spec = Spec::from_config(&json!({ "exec": "ls", "umask": 27 })).expect("it is fine");
    assert_eq!(spec.run_as.umask, Some(0o27));
}

#[test]
fn no_groups_are_something_else_than_those_of_the_user() {
    assert_eq!(parsed("exec: ls\nsupplementary_groups: []").run_as.groups, Some(Vec::new()));
    assert_eq!(parsed("exec: ls\nsupplementary_groups:").run_as.groups, None);
}

#[test]
fn services_without_wishes_share_what_says_so() {
    let (one, two) = (parsed("exec: ls"), parsed("exec: cat\nhealth: {}\nlimits: {}"));
    assert!(Arc::ptr_eq(&one.run_as, &two.run_as));
    assert!(Arc::ptr_eq(&one.health, &two.health));
}

#[test]
fn changes_are_told_by_key_in_the_order_of_the_table() {
    let old = parsed("exec: ls\nafter: a\nhealth: { retry: 2 }\nenv: { A: b }\n");
    let new =
        parsed("exec: ls\nsignal: { stop: INT }\nhealth: { retry: 3 }\nnice: 5\nuser: root\n");
    assert_eq!(old.changes(&new), ["env", "after", "health", "signal_stop", "user", "nice"]);
    assert_eq!(old.changes(&old.clone()), [""; 0]);
    let watched = parsed("exec: ls\nwatchdog: 3");
    assert_eq!(Spec::of_exec("ls").changes(&watched), ["notify", "watchdog"]);
}

#[test]
fn what_is_wrong_with_a_regular_expression_is_told_with_its_place() {
    let no = |pattern: &str| line_regex(pattern).expect_err("it is none");
    assert_eq!(no("(up"), "unclosed group, at character 1");
    assert_eq!(
        no("é[z-a]"),
        "invalid character class range, the start must be <= the end, at character 3"
    );
    assert_eq!(no("a\n(b"), "unclosed group");
    assert_eq!(
        no("(?=x)"),
        "look-around, including look-ahead and look-behind, is not supported, at character 1"
    );
    assert_eq!(no("(x{1000}){1000}"), "it is too large");
}

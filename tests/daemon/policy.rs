//! A user's policy in a running server: taken over when it is asked for, refused whole, and never in
//! the way of what runs.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_tests::daemon::{Home, text};

const POLICY: &str = "cfg/zinit/policy.rhai";

/// A policy with which nothing is tried a second time.
const GIVES_UP: &str = "fn gives_up(service, attempt) { true }\n";

/// One that calls what is not there, on a way that is not taken.
const BAD: &str =
    "fn gives_up(service, attempt) {\n    if attempt > 99 { gives_upp(1) } else { false }\n}\n";

/// Who answers a hook.
fn answerer(home: &Home, hook: &str) -> Value {
    let told = home.ask("policy.list", json!([]));
    let hooks = told["hooks"].as_array().expect("a list");
    hooks.iter().find(|it| it["hook"] == hook).expect("it is a hook").clone()
}

fn is_ours(home: &Home) -> bool {
    answerer(home, "gives_up")["bundled"] == false
}

/// Waits for the server after one that was killed, in which the user's policy decides, or not.
fn until_another(home: &Home, ours: bool) {
    home.until("another server", || {
        let told = home.client_if_any().and_then(|mut it| it.call("policy.list", json!([])).ok());
        let hooks = told.as_ref().and_then(|it| it["hooks"].as_array());
        let hook = hooks.and_then(|it| it.iter().find(|it| it["hook"] == "gives_up"));
        hook.is_some_and(|it| it["bundled"] != ours)
    });
}

#[test]
fn a_reload_takes_over_the_policy_first_and_says_so() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    let pid = home.up("web").pid;
    assert!(!is_ours(&home));
    home.write(POLICY, GIVES_UP);
    let told = home.zinit(["policy", "list"]);
    assert!(told.contains("changed: policy.rhai is not what is in force"), "{told}");
    assert_eq!(
        home.zinit(["reload", "--dry-run"]),
        "~ policy: policy.rhai changed\n0 would be changed, 1 unchanged\n"
    );
    assert!(!is_ours(&home));
    assert_eq!(home.zinit(["reload"]), "~ policy: policy.rhai changed\n0 changed, 1 unchanged\n");
    assert!(is_ours(&home));
    assert_eq!(home.zinit(["reload"]), "0 changed, 1 unchanged\n");
    let steps: Value = serde_json::from_str(&home.zinit(["reload", "--json"])).expect("it is JSON");
    assert_eq!((&steps[0]["verb"], &steps[1]["service"]), (&json!("unchanged"), &json!("web")));
    let shown = home.zinit(["policy", "show", "gives_up"]);
    assert!(shown.contains("policy.rhai:1\n") && shown.ends_with(GIVES_UP), "{shown}");
    assert!(home.zinit(["policy", "show", "--bundled", "gives_up"]).contains("max_restarts"));
    assert_eq!(home.status("web").pid, pid);
}

#[test]
fn a_policy_that_is_not_fine_changes_nothing_and_is_remembered() {
    let home = Home::new().service("web", "exec: sleep 1000\n");
    home.write(POLICY, GIVES_UP);
    let home = home.start();
    assert!(is_ours(&home));
    home.write(POLICY, BAD);
    let home = home.service("late", "exec: sleep 1000\n");
    let out = home.run("zinit", ["reload"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    for sentence in [
        "error: nothing is reloaded: the policy is refused, and the one before decides\n",
        "policy.rhai:2:23: there is no function `gives_upp`\n",
        "hint: did you mean `gives_up`?\n",
    ] {
        assert!(said.contains(sentence), "{said}");
    }
    let refused = &home.ask("policy.list", json!([]))["refused"];
    assert!(refused["at_ms"].as_i64() > Some(0), "{refused}");
    assert!(home.zinit(["policy", "list"]).contains("refused: "));
    assert_eq!(home.zinit(["list"]), home.zinit(["list"]).replace("late", ""));
    assert!(home.zinit(["policy", "show", "gives_up"]).ends_with(GIVES_UP));

    // The next server finds the same file, says the same, and lets the policy before it decide, too.
    home.signal_brain(Signal::SIGKILL);
    until_another(&home, true);
    let refused = &home.ask("policy.list", json!([]))["refused"];
    assert!(refused["problems"][0]["message"].as_str().is_some_and(|it| it.contains("gives_upp")));
    home.write(POLICY, GIVES_UP);
    home.zinit(["reload"]);
    assert!(is_ours(&home));
    assert_eq!(home.ask("policy.list", json!([]))["refused"], Value::Null);
}

#[test]
fn a_hangup_reloads_everything_and_the_log_says_what_came_of_it() {
    let home = Home::new().service("web", "exec: sleep 1000\n").start();
    home.write(POLICY, GIVES_UP);
    let home = home.service("new", "exec: sleep 1000\n");
    home.signal_brain(Signal::SIGHUP);
    home.until("the reload is told", || {
        home.server_log().contains("reloaded: 1 changed, 1 unchanged")
    });
    assert!(home.server_log().contains("reloaded the policy: policy.rhai changed"));
    assert!(home.server_log().contains("reload: start new: its file is new"));
    assert!(is_ours(&home));
    home.write(POLICY, BAD);
    // The keeper passes it on.
    kill(Pid::from_raw(home.keeper()), Signal::SIGHUP).expect("it lives");
    home.until("the refusal is told", || home.server_log().contains("no function `gives_upp`"));
    assert!(is_ours(&home));
}

#[test]
fn with_watch_a_file_counts_when_it_is_written() {
    let home = Home::new();
    home.zinit(["server", "start", "--watch"]);
    home.write(POLICY, GIVES_UP);
    home.until("it decides", || is_ours(&home));
    home.write(POLICY, BAD);
    home.until("it is refused", || home.server_log().contains("no function `gives_upp`"));
    assert!(is_ours(&home));
    std::fs::remove_file(home.root.join(POLICY)).expect("it is there");
    home.until("it is gone", || !is_ours(&home));
    // A directory that is made later counts, and so does a file that is moved into it.
    home.write("aside.rhai", GIVES_UP);
    std::fs::create_dir(home.root.join("cfg/zinit/policy")).expect("it can be made");
    let to = home.root.join("cfg/zinit/policy/mine.rhai");
    std::fs::rename(home.root.join("aside.rhai"), to).expect("it can be moved");
    home.until("it decides", || is_ours(&home));
    // And so it is with the next server.
    let before = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another process", || home.brain().is_some_and(|it| Some(it) != before));
    until_another(&home, true);
    std::fs::remove_dir_all(home.root.join("cfg/zinit/policy")).expect("it is there");
    home.until("it is gone", || !is_ours(&home));
}

#[test]
fn without_watch_nothing_is_read_by_itself() {
    let home = Home::new().start();
    home.write(POLICY, GIVES_UP);
    let threads = std::fs::read_dir(format!("/proc/{}/fd", home.brain().expect("it runs")));
    let links =
        threads.expect("it is ours").flatten().filter_map(|it| std::fs::read_link(it.path()).ok());
    assert!(links.into_iter().all(|it| !it.to_string_lossy().contains("inotify")));
    assert!(!is_ours(&home));
}

#[test]
fn a_service_that_names_what_is_not_there_is_refused() {
    let home = Home::new().service("web", "exec: sleep 1000\n");
    home.write(POLICY, "fn slowly(service, attempt) { 60_000 }\n");
    let home = home.start().service("web", "exec: sleep 1000\npolicy:\n  restart_delay: slowlyy\n");
    for args in [
        &["reload"][..],
        &["reload", "--dry-run"],
        &["reload", "web"],
        &["check"],
        &["policy", "check"],
    ] {
        let out = home.run("zinit", args);
        let said = format!("{}{}", text(&out.stderr), text(&out.stdout));
        assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("no policy file has a function `slowlyy`"), "{args:?}: {said}");
        assert!(said.contains("did you mean `slowly`?"), "{args:?}: {said}");
    }
    let home = home.service("web", "exec: sleep 1000\npolicy:\n  restart_delay: slowly\n");
    home.zinit(["reload"]);
    let told = home.zinit(["policy", "list"]);
    assert!(told.contains("    web: slowly  policy.rhai:1\n"), "{told}");
    // Nobody takes away what a service names.
    home.write(POLICY, GIVES_UP);
    let out = home.run("zinit", ["reload"]);
    assert!(text(&out.stderr).contains("`web`: `policy.restart_delay`"), "{}", text(&out.stderr));
}

#[test]
fn a_new_file_is_fine_as_it_was_written() {
    let home = Home::new();
    let said = home.zinit(["policy", "new", "restart_delay"]);
    assert!(said.contains("cfg/zinit/policy/restart_delay.rhai\n"), "{said}");
    assert_eq!(home.zinit(["policy", "check"]), "1 file is fine\n");
    let again = home.run("zinit", ["policy", "new", "restart_delay"]);
    assert!(text(&again.stderr).contains("restart_delay.rhai:"), "{}", text(&again.stderr));
    assert_eq!(again.status.code(), Some(1));
    let typo = home.run("zinit", ["policy", "new", "restart_dealy"]);
    assert!(text(&typo.stderr).contains("did you mean `restart_delay`?"));
    let there = home.root.join("there.rhai").display().to_string();
    home.write("there.rhai", "");
    let refused = home.run("zinit", ["policy", "new", "settle_ms", "--file", &there]);
    assert!(text(&refused.stderr).contains("is there already"), "{}", text(&refused.stderr));
    let listed = home.zinit(["policy", "list"]);
    assert!(listed.contains("no server answers") && listed.contains("policy/restart_delay.rhai:"));
    home.write(POLICY, BAD);
    let out = home.run("zinit", ["policy", "check", POLICY]);
    assert!(text(&out.stdout).ends_with("2 files, 1 problem\n"), "{}", text(&out.stdout));
}

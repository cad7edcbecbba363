//! The supervisor is expendable.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use zinit_host::board::Status;
use zinit_tests::daemon::{Home, children};

fn statuses(home: &Home) -> BTreeMap<String, Status> {
    let all = home.ask("service.status_all", json!([]));
    let all: Vec<Status> = serde_json::from_value(all).expect("statuses");
    all.into_iter().map(|it| (it.name.to_string(), it)).collect()
}

#[test]
fn a_soft_restart_leaves_every_service_as_it_is() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let before = home.up("a");
    let brain = home.brain();
    home.signal_brain(Signal::SIGUSR1);
    home.until("another brain", || home.brain().is_some_and(|it| Some(it) != brain));
    home.until("it answers", || home.run("zinit", ["ping"]).status.success());
    let after = home.up("a");
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
}

#[test]
fn a_brain_that_is_killed_a_hundred_times_during_a_start_loses_and_doubles_nothing() {
    const SERVICES: usize = 200;
    const KILLS: usize = 100;
    let mut home = Home::new();
    let starts = home.root.join("starts");
    let mark = |name: &str, then: &str| {
        format!("exec: sh -c 'echo {name} $$ >> {}; {then}'\n", starts.display())
    };
    for k in 0..SERVICES {
        let name = format!("s{k:03}");
        let after = if k >= 20 { format!("after: [s{:03}]\n", k - 20) } else { String::new() };
        // Every tenth ends at once: its exit must be seen and kept.
        let yaml = if k % 10 == 9 {
            mark(&name, "exit 0") + "oneshot: true\n" + after.as_str()
        } else {
            mark(&name, "exec sleep 1000") + after.as_str()
        };
        home = home.service(&name, &yaml);
    }
    let home = home.start();
    for killed in 0..KILLS {
        let brain = home.brain();
        home.signal_brain(Signal::SIGKILL);
        home.until("another brain", || home.brain().is_some() && home.brain() != brain);
        // Every fourth is killed before it has said a word.
        if killed % 4 != 0 {
            home.until("it answers", || home.run("zinit", ["ping"]).status.success());
        }
    }
    home.until("all are up", || {
        home.run("zinit", ["ping"]).status.success()
            && statuses(&home).values().all(|it| it.settled() == Some(true))
    });
    let now = statuses(&home);
    assert_eq!(now.len(), SERVICES);
    let told = fs::read_to_string(&starts).expect("they were started");
    let mut pids: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (name, pid) in told.lines().filter_map(|it| it.split_once(' ')) {
        pids.entry(name).or_default().push(pid.parse().expect("a pid"));
    }
    for (name, status) in &now {
        let started = &pids[name.as_str()];
        assert_eq!(started.len(), 1, "{name} was started {} times", started.len());
        let expected = if status.oneshot { 0 } else { started[0] };
        assert_eq!(status.pid, expected, "{name} is {}", status.state);
        assert_eq!(status.restarts, 0, "{name}");
    }
    let living = children(home.keeper()).len();
    assert_eq!(living, SERVICES - SERVICES / 10 + 1, "services and the brain");
}

#[test]
fn an_exit_while_no_brain_is_there_is_acted_on_by_the_next() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let before = home.up("a");
    let brain = Pid::from_raw(home.brain().expect("it runs"));
    kill(brain, Signal::SIGSTOP).expect("it lives");
    kill(Pid::from_raw(before.pid), Signal::SIGKILL).expect("it lives");
    home.until("it is gone", || !children(home.keeper()).contains(&before.pid));
    kill(brain, Signal::SIGKILL).expect("it lives");
    home.until("it runs again", || {
        home.run("zinit", ["ping"]).status.success() && {
            let now = home.status("a");
            now.state == "Running" && now.pid != before.pid
        }
    });
    let after = home.status("a");
    assert_eq!((after.restarts, after.last_exit.as_str()), (1, "SIGKILL"));
}

#[test]
fn a_oneshot_that_is_done_is_not_done_again_by_the_next_brain() {
    let home = Home::new();
    let runs = home.root.join("runs");
    let yaml = format!("exec: sh -c 'echo run >> {}'\noneshot: true\n", runs.display());
    let home = home.service("job", &yaml).start();
    home.up("job");
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    home.until("it answers", || home.run("zinit", ["ping"]).status.success());
    assert_eq!(home.up("job").state, "Success");
    assert_eq!(fs::read_to_string(runs).expect("it ran"), "run\n");
}

#[test]
fn a_monitored_service_without_a_file_outlives_the_brain() {
    let home = Home::new().start();
    home.ask("service.monitor", json!(["m", { "exec": "sleep 1000" }]));
    let before = home.up("m");
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    home.until("it answers", || home.run("zinit", ["ping"]).status.success());
    assert_eq!(home.up("m").pid, before.pid);
}

#[test]
fn exits_are_seen_while_brains_come_and_go() {
    const SERVICES: usize = 60;
    const ROUNDS: usize = 20;
    let mut home = Home::new();
    for k in 0..SERVICES {
        let yaml = "exec: sleep 1000\nrestart_delay: 0\n";
        home = home.service(&format!("s{k:02}"), yaml);
    }
    let home = home.start();
    home.until("all are up", || statuses(&home).values().all(|it| it.settled() == Some(true)));
    let mut seed = 0x9e37_79b9_u32;
    for _ in 0..ROUNDS {
        let brain = home.brain();
        let keeper = home.keeper();
        home.signal_brain(Signal::SIGKILL);
        // Some die while no brain is there, some while the next one reads the table.
        while home.brain().is_none() || home.brain() == brain {
            let victims = children(keeper);
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let victim = victims.get(seed as usize % SERVICES).copied();
            if let Some(victim) = victim.filter(|it| Some(*it) != home.brain()) {
                // It may be gone already.
                let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
            }
        }
        home.until("it answers", || home.run("zinit", ["ping"]).status.success());
        for victim in children(keeper).into_iter().step_by(7) {
            if Some(victim) != home.brain() {
                let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
            }
        }
    }
    home.until("all are up, as processes that live", || {
        home.run("zinit", ["ping"]).status.success() && {
            let living = children(home.keeper());
            let all = statuses(&home);
            all.values().all(|it| it.state == "Running" && living.contains(&it.pid))
        }
    });
    assert_eq!(children(home.keeper()).len(), SERVICES + 1, "services and the brain");
}

#[test]
fn a_stop_that_was_asked_of_the_keeper_is_heard_by_the_next_brain() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    home.up("a");
    let keeper = home.keeper();
    home.signal_brain(Signal::SIGKILL);
    kill(Pid::from_raw(keeper), Signal::SIGTERM).expect("it lives");
    home.until("the server has ended", || !home.socket().exists() && children(keeper).is_empty());
}

#[test]
fn a_shutdown_is_finished_by_the_next_brain() {
    let deaf = "exec: sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nshutdown_timeout: 2\n";
    let home = Home::new()
        .service("base", "exec: sleep 1000\n")
        .service("top", &format!("{deaf}after: base\n"))
        .start();
    home.up("top");
    let keeper = home.keeper();
    home.ask("system.shutdown", json!([]));
    home.until("it stops", || home.status("top").state == "Stopping");
    home.signal_brain(Signal::SIGKILL);
    home.until("the server has ended", || !home.socket().exists() && children(keeper).is_empty());
}

#[test]
fn a_file_that_breaks_costs_its_service_nothing() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let before = home.up("a");
    home.write("cfg/zinit/a.yaml", "exce: sleep 2000\n");
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    let after = home.up("a");
    assert_eq!((after.pid, &*after.target), (before.pid, "Up"));
}

#[test]
fn a_file_that_was_edited_counts_when_it_is_reloaded_under_any_brain() {
    let home = Home::new().service("a", "exec: sleep 1000\n").start();
    let before = home.up("a");
    home.write("cfg/zinit/a.yaml", "exec: sleep 2000\n");
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    assert_eq!(home.up("a").pid, before.pid);
    home.zinit(["reload", "a"]);
    home.until("it runs the new command", || {
        let now = home.status("a");
        now.state == "Running" && now.pid != before.pid
    });
}

#[test]
fn a_server_whose_words_nobody_can_read_goes_on() {
    let home =
        Home::new().service("good", "exec: sleep 1000\n").service("bad", "exce: sleep 1000\n");
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("there is one");
    let mut server =
        home.command("zinit-server").stdout(full()).stderr(full()).spawn().expect("it runs");
    home.until("it serves", || home.run("zinit", ["ping"]).status.success());
    let before = home.up("good");
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    home.until("another brain", || home.brain().is_some() && home.brain() != brain);
    assert_eq!(home.up("good").pid, before.pid);
    home.zinit(["server", "stop"]);
    assert!(server.wait().expect("it is our child").success());
}

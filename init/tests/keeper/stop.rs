//! Stop means empty: whatever a service leaves behind is told, reached by signals, and gone before
//! its exit is told. Each test runs with cgroups, where they can be made, and without.

use crate::*;

/// What one service leaves behind, which does not mind SIGTERM and says its process id.
const DEAF: &str = r#"sh -c 'trap "" TERM; echo $$; exec sleep 1000'"#;

const WITHOUT: (&str, &str) = ("ZINIT_CGROUP", "off");

/// Runs a test on a keeper with cgroups, and on one without.
fn each_way(test: impl Fn(&mut World)) {
    let mut world = World::serving();
    if world.brain.cgroup.is_empty() {
        println!("(no cgroups here)");
    } else {
        test(&mut world);
    }
    let mut world = World::serving_with(WITHOUT);
    assert_eq!(world.brain.cgroup, "");
    test(&mut world);
}

/// Runs and not just a zombie.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The process ids that a service says, one on each line.
fn read_pids(pipe: &OwnedFd, count: usize) -> Vec<i32> {
    let mut said = String::new();
    while said.lines().count() < count || !said.ends_with('\n') {
        said.push_str(&read_until(pipe, "\n"));
    }
    said.lines().map(|it| it.parse().expect("a process id")).collect()
}

fn died(world: &mut World, name: &str) -> (Exit, Vec<i32>) {
    world.brain.hear_until(|report, _| match report {
        Report::Died { service, exit, left, .. } if service == name => Some((exit, left)),
        Report::Exited { exit, .. } => panic!("told as gone: {exit:?}"),
        _ => None,
    })
}

/// Stops a service that leaves `count` processes behind: the signal for all, then SIGKILL.
fn stop_leaves_nothing(world: &mut World, incarnation: u64, script: &str, count: usize) {
    world.brain.launch("a", incarnation, script);
    let (_, pipes) = world.brain.launched("a");
    let pipe = if pipes.is_empty() { None } else { Some(&pipes[0]) };
    let pids = read_pids(pipe.expect("the first launch brings pipes"), count);
    world.brain.say(&[signal("a", incarnation, 15)]);
    let (exit, left) = died(world, "a");
    assert_eq!(exit, by_signal(15));
    assert_eq!(left.len(), count.min(16), "{left:?} of {pids:?}");
    assert!(left.iter().all(|it| pids.contains(it)), "{left:?} of {pids:?}");
    assert!(pids.iter().all(|it| runs(*it)), "nobody is killed before that is asked for");
    world.brain.say(&[signal("a", incarnation, 9)]);
    assert_eq!(world.brain.exit_of("a"), by_signal(15));
    let survivors: Vec<_> = pids.iter().filter(|it| runs(**it)).collect();
    assert!(survivors.is_empty(), "{survivors:?} of {pids:?}");
    world.brain.say(&[ack("a", incarnation)]);
    world.brain.is_heard();
    let again = world.brain.heard.iter().any(|(it, _)| matches!(it, Report::Exited { .. }));
    assert!(!again, "the exit is told once");
}

pub(crate) fn a_child_in_the_group_that_ignores_sigterm_does_not_survive() {
    let script = format!("{DEAF} & exec sleep 1000");
    each_way(|world| stop_leaves_nothing(world, 1, &script, 1));
}

pub(crate) fn a_child_in_a_session_of_its_own_does_not_survive() {
    let script = format!("setsid {DEAF} & exec sleep 1000");
    each_way(|world| stop_leaves_nothing(world, 1, &script, 1));
}

pub(crate) fn a_daemon_whose_parents_are_gone_does_not_survive() {
    let script = format!("(setsid {DEAF} &); exec sleep 1000");
    each_way(|world| stop_leaves_nothing(world, 1, &script, 1));
}

pub(crate) fn a_child_with_an_empty_environment_does_not_survive() {
    let script = format!("env -i /usr/bin/setsid /bin/{DEAF} & exec sleep 1000");
    each_way(|world| stop_leaves_nothing(world, 1, &script, 1));
}

pub(crate) fn a_fork_bomb_does_not_survive() {
    let both = format!("{DEAF} & setsid {DEAF} &");
    let script = format!("i=0; while [ $i -lt 100 ]; do {both} i=$((i+1)); done; wait");
    each_way(|world| stop_leaves_nothing(world, 1, &script, 200));
}

pub(crate) fn what_makes_more_of_itself_does_not_survive() {
    // Each makes another and ends, for ever; the chain has left the group, the session and its parents.
    let script = r#"cat > chain <<'END'
        [ -e stop ] && exit
        setsid sh ./chain &
END
        sh ./chain; exit 7"#;
    each_way(|world| {
        let dir = world.dir.display().to_string();
        world.brain.say(&[argv("a", 1, &["/bin/sh", "-c", script], &dir)]);
        let (exit, _) = died(world, "a");
        assert_eq!(exit, Exit::Code(7));
        world.brain.say(&[signal("a", 1, 9)]);
        let kept = world.brain.exit_of("a");
        std::fs::write(world.dir.join("stop"), "").expect("written");
        assert_eq!(kept, Exit::Code(7));
        assert_eq!(
            std::fs::read_dir("/proc")
                .expect("it is there")
                .flatten()
                .filter(|it| {
                    std::fs::read_link(it.path().join("cwd")).is_ok_and(|it| it == world.dir)
                })
                .count(),
            0
        );
    });
}

pub(crate) fn every_process_gets_a_signal_once() {
    // One that comes twice is seen in the count: between two there is time for the first.
    let child =
        r#"sh -c 'trap "echo got" TERM; trap "exit 0" HUP; echo $$; while :; do sleep 1; done'"#;
    let script = format!("{child} & setsid {child} & (setsid {child} &); exec {child}");
    each_way(|world| {
        world.brain.launch("a", 1, &script);
        let (_, pipes) = world.brain.launched("a");
        read_pids(&pipes[0], 4);
        let mut said = String::new();
        for count in 1..=5 {
            world.brain.say(&[signal("a", 1, 15)]);
            while said.lines().count() < count * 4 || !said.ends_with('\n') {
                said.push_str(&read_until(&pipes[0], "\n"));
            }
        }
        world.brain.say(&[signal("a", 1, 1)]);
        assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
        assert_eq!(said, "got\n".repeat(20));
    });
}

pub(crate) fn what_outlives_its_leader_is_told_and_the_exit_waits_for_it() {
    each_way(|world| {
        for incarnation in 1..20 {
            let script = format!("(setsid {DEAF} >/dev/null &); exit {incarnation}");
            world.brain.launch("a", incarnation, &script);
            let (exit, left) = died(world, "a");
            assert_eq!(exit, Exit::Code(incarnation as i32));
            assert!(!left.is_empty() && left.iter().all(|it| runs(*it)), "{left:?}");
            world.brain.launch("a", incarnation + 1, "exit 0");
            assert!(world.brain.refusal_of("a").contains("processes of the service are left"));
            world.brain.say(&[forget("a"), signal("a", incarnation, 9)]);
            assert_eq!(world.brain.exit_of("a"), Exit::Code(incarnation as i32));
            assert!(!left.iter().any(|it| runs(*it)), "{left:?}");
            world.brain.say(&[ack("a", incarnation)]);
        }
    });
}

pub(crate) fn a_daemon_that_ends_by_itself_ends_its_incarnation() {
    each_way(|world| {
        let daemon = "setsid sh -c 'while [ ! -e go ]; do sleep 0.01; done' &";
        let dir = world.dir.display().to_string();
        world.brain.say(&[argv("a", 1, &["/bin/sh", "-c", daemon], &dir)]);
        died(world, "a");
        world.brain.is_heard();
        std::fs::write(world.dir.join("go"), "").expect("written");
        assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
        std::fs::remove_file(world.dir.join("go")).expect("it is there");
    });
}

pub(crate) fn a_brain_that_dies_between_died_and_exited_is_told_by_the_table() {
    each_way(|world| {
        world.brain.launch("a", 1, &format!("(setsid {DEAF} &); exit 3"));
        let (exit, left) = died(world, "a");
        let table = world.replace_brain();
        let slot = &table[0].0;
        assert_eq!((&slot.died, &slot.exit, slot.incarnation), (&Some(exit.clone()), &None, 1));
        world.brain.say(&[signal("a", 1, 9)]);
        assert_eq!(world.brain.exit_of("a"), exit);
        assert!(!left.iter().any(|it| runs(*it)));
        let slot = &world.replace_brain()[0].0;
        assert_eq!((&slot.died, &slot.exit), (&None, &Some(exit)));
    });
}

pub(crate) fn one_service_is_never_signalled_for_another() {
    each_way(|world| {
        let script = format!("setsid {DEAF} & (setsid {DEAF} &); exec sleep 1000");
        world.brain.launch("a", 1, &script);
        let (_, pipes) = world.brain.launched("a");
        let first = read_pids(&pipes[0], 2);
        world.brain.launch("a/b", 1, &script);
        let (pid, pipes) = world.brain.launched("a/b");
        let second = read_pids(&pipes[0], 2);
        world.brain.say(&[signal("a", 1, 9)]);
        assert_eq!(world.brain.exit_of("a"), by_signal(9));
        assert!(!first.iter().any(|it| runs(*it)));
        assert!(second.iter().chain([&pid]).all(|it| runs(*it)));
    });
}

pub(crate) fn a_farewell_leaves_nobody_and_no_cgroup() {
    each_way(|world| {
        let script = format!("setsid {DEAF} & (setsid {DEAF} &); exec sleep 1000");
        world.brain.launch("a", 1, &script);
        let (_, pipes) = world.brain.launched("a");
        let mut pids = read_pids(&pipes[0], 2);
        world.brain.launch("b", 1, &format!("setsid {DEAF} & exit"));
        pids.extend(died(world, "b").1);
        let cgroup = PathBuf::from(&world.brain.cgroup);
        world.brain.say(&[Request::Farewell { code: 0, then: Then::Exit }]);
        world.brain.control.write_all(&[0]).expect("it lives");
        assert_eq!(world.ends(), Some(0));
        assert!(!pids.iter().any(|it| runs(*it)), "{pids:?}");
        let gone = || cgroup.as_os_str().is_empty() || !cgroup.exists();
        patiently("the cgroups are removed", || gone().then_some(()));
    });
}

pub(crate) fn a_service_has_a_cgroup_of_its_own_until_it_is_forgotten() {
    let mut world = World::serving();
    if world.brain.cgroup.is_empty() {
        return println!("(no cgroups here)");
    }
    let names = ["web", "web/check", "cgroup.procs", "@x", "..", "a b"];
    let leaf = |world: &World, name: &str| {
        PathBuf::from(&world.brain.cgroup).join(zinit_keeper::wire::leaf_name(name))
    };
    for name in names {
        world.brain.launch(name, 1, "exec sleep 1000");
        let (pid, _) = world.brain.launched(name);
        world.brain.started(name);
        let members = std::fs::read_to_string(leaf(&world, name).join("cgroup.procs"));
        assert_eq!(members.expect("it is there"), format!("{pid}\n"), "{name}");
    }
    for name in names {
        world.brain.say(&[signal(name, 1, 9)]);
        assert_eq!(world.brain.exit_of(name), by_signal(9));
        world.brain.say(&[ack(name, 1), forget(name)]);
        world.brain.is_heard();
        assert!(!leaf(&world, name).exists(), "{name}");
    }
}

pub(crate) fn a_killed_keepers_cgroups_are_removed_by_the_next_one() {
    let mut world = World::serving();
    let cgroup = PathBuf::from(&world.brain.cgroup);
    if world.brain.cgroup.is_empty() {
        return println!("(no cgroups here)");
    }
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.started("a");
    world.keeper.kill().expect("it lives");
    world.keeper.wait().expect("it is ours");
    let other = World::serving();
    assert!(runs(pid), "nobody ends it");
    assert!(cgroup.exists(), "somebody is in it");
    drop(other);
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    patiently("it is gone", || (!runs(pid)).then_some(()));
    drop(World::serving());
    assert!(!cgroup.exists());
}

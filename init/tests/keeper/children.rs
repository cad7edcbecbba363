//! Children: how they begin, how they end, and what is known of them.

use crate::*;

pub(crate) fn exits_are_told_exactly() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    assert_eq!(brain.run("a", 1, "exit 0"), Exit::Code(0));
    assert_eq!(brain.run("a", 2, "exit 77"), Exit::Code(77));
    for (incarnation, number) in [(3, 15), (4, 9), (5, 40)] {
        let exit = brain.run("a", incarnation, &format!("kill -{number} $$"));
        assert_eq!(exit, by_signal(number));
    }
}

pub(crate) fn a_core_dump_is_told_as_one() {
    let mut world = World::serving();
    let dir = world.dir.display().to_string();
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let script = "ulimit -c unlimited && kill -QUIT $$";
    world.brain.say(&[argv("a", 1, &["/bin/sh", "-c", script], &dir)]);
    let Exit::Signal { signal: 3, core } = world.brain.exit_of("a") else { panic!("no signal") };
    if !pattern.starts_with(['|', '/']) {
        let dumped = std::fs::read_dir(&world.dir).expect("ours").count() > 1;
        assert_eq!(core, dumped, "by pattern {pattern}");
    }
}

pub(crate) fn a_launch_that_fails_names_its_step_and_errno() {
    let mut world = World::serving();
    let mut failure = |incarnation, words: &[&str], dir: &str| {
        world.brain.say(&[argv("a", incarnation, words, dir)]);
        let exit = world.brain.hear_until(|report, _| match report {
            Report::Started { .. } if incarnation < 7 => panic!("said to run its program"),
            Report::Exited { exit, .. } => Some(exit),
            _ => None,
        });
        world.brain.say(&[ack("a", incarnation)]);
        exit
    };
    let failed = |step: &str, errno| Exit::Launch { step: step.to_owned(), errno };
    let (enoent, eacces, enotdir) = (2, 13, 20);
    assert_eq!(failure(1, &["/no/such"], "/"), failed("exec /no/such", enoent));
    assert_eq!(failure(2, &["no-such-program"], "/"), failed("exec no-such-program", enoent));
    assert_eq!(failure(3, &["/etc/passwd"], "/"), failed("exec /etc/passwd", eacces));
    assert_eq!(failure(4, &["/etc/passwd/x"], "/"), failed("exec /etc/passwd/x", enotdir));
    assert_eq!(failure(5, &["/bin/true"], "/no/such"), failed("chdir /no/such", enoent));
    assert_eq!(failure(6, &["/bin/true"], "/etc/passwd"), failed("chdir /etc/passwd", enotdir));
    assert_eq!(failure(7, &["/bin/true"], "/"), Exit::Code(0));
}

pub(crate) fn a_program_is_looked_up_in_the_childs_path() {
    let mut world = World::serving();
    let dir = world.dir.display().to_string();
    let program = world.dir.join("my-program");
    std::fs::write(&program, "#!/bin/sh\nexit 42\n").expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("ours");
    let launch = |incarnation, path: String| {
        Request::Launch(Box::new(Launch {
            service: "a".to_owned(),
            incarnation,
            argv: vec!["my-program".to_owned()],
            env: vec![("PATH".to_owned(), path)],
            output: Output::Null,
            ..Launch::default()
        }))
    };
    world.brain.say(&[launch(1, format!("/no/such:/etc/passwd:{dir}:/bin"))]);
    assert_eq!(world.brain.exit_of("a"), Exit::Code(42));
    world.brain.say(&[ack("a", 1), launch(2, "/no/such".to_owned())]);
    let exit = world.brain.exit_of("a");
    assert_eq!(exit, Exit::Launch { step: "exec my-program".to_owned(), errno: 2 });
}

pub(crate) fn a_child_begins_clean() {
    let mut world = World::serving();
    // Not a shell, which would change what it is asked about.
    world.brain.say(&[argv("a", 1, &["sleep", "1000"], "")]);
    let (pid, _) = world.brain.launched("a");
    world.brain.started("a");
    for field in ["SigIgn", "SigBlk", "SigCgt", "SigPnd", "ShdPnd"] {
        assert_eq!(status_of(pid, field), "0000000000000000", "{field}");
    }
    // The loader opens libraries for a moment; what was inherited would stay.
    patiently("the standard descriptors and no others", || {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
        let fds: BTreeSet<_> = fds.flatten().map(|it| it.file_name()).collect();
        (fds == ["0", "1", "2"].map(OsString::from).into()).then_some(())
    });
    let link = |what: &str| std::fs::read_link(format!("/proc/{pid}/{what}")).expect("it lives");
    assert_eq!(link("fd/0").to_str(), Some("/dev/null"));
    assert_eq!(link("cwd").to_str(), Some("/"));
    let files = |pid: i32| {
        let limits = proc_file(pid, "limits");
        limits.lines().find(|it| it.starts_with("Max open files")).map(str::to_owned)
    };
    assert_eq!(files(pid), files(std::process::id() as i32), "the limit is not the original");
    let environ = proc_file(pid, "environ");
    assert!(!environ.contains("ZINIT_KEEPER_FD"), "{environ}");
    assert_eq!(getpgid(Some(Pid::from_raw(pid))), Ok(Pid::from_raw(pid)));
    let session = |pid| getsid(Some(Pid::from_raw(pid)));
    assert_eq!(session(pid), session(world.keeper_pid()));
    assert_eq!(proc_file(world.keeper_pid(), "comm"), "zinit-keeper\n");
}

pub(crate) fn pipes_outlive_restarts_and_brains() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "echo one; echo oops >&2");
    let (_, pipes) = world.brain.launched("a");
    let [stdout, stderr] = &pipes[..] else { panic!("the first launch brings two pipes") };
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    read_until(stdout, "one");
    read_until(stderr, "oops");
    // Nobody reads now, and then there is no brain at all: the output waits in the pipe.
    let script = "echo two; while [ ! -e go ]; do sleep 0.01; done; echo three; exec sleep 1000";
    let dir = world.dir.display().to_string();
    world.brain.say(&[ack("a", 1), argv("a", 2, &["/bin/sh", "-c", script], &dir)]);
    let (pid, again) = world.brain.launched("a");
    assert!(again.is_empty(), "a restart keeps the pipes");
    drop(pipes);
    std::fs::write(world.dir.join("go"), "").expect("written");
    let table = world.replace_brain();
    let [(slot, pipes)] = &table[..] else { panic!("one slot") };
    assert_eq!((slot.pid, slot.incarnation, slot.pipes), (pid, 2, true));
    read_until(&pipes[0], "two\nthree");
    assert!(alive(pid));
}

pub(crate) fn a_new_brain_gets_the_table_with_what_nobody_acknowledged() {
    let mut world = World::serving();
    let long = "\u{1}".repeat(NOTE_MAX);
    world.brain.say(&[sh("dead", 7, "exit 3"), note("dead", "first"), note("dead", "n\"\n")]);
    world.brain.say(&[sh("live", 2, "exec sleep 1000"), note("never", &long)]);
    let (mut pid, mut started, mut ended) = (0, false, false);
    while !(started && ended) {
        match world.brain.hear().0 {
            Report::Launched { service, pid: its, .. } if service == "live" => pid = its,
            Report::Started { service, .. } if service == "live" => started = true,
            Report::Exited { service, .. } => ended = service == "dead",
            _ => {}
        }
    }
    for _ in 0..2 {
        let table: Vec<Slot> = world.replace_brain().into_iter().map(|it| it.0).collect();
        let [dead, live, never] = &table[..] else { panic!("three slots, not {table:?}") };
        assert_eq!((&*dead.service, dead.incarnation, dead.pid), ("dead", 7, 0));
        assert_eq!((&dead.exit, &*dead.note), (&Some(Exit::Code(3)), "n\"\n"));
        assert_eq!((&*live.service, live.incarnation, live.pid), ("live", 2, pid));
        assert_eq!((&live.exit, live.started), (&None, true));
        assert_eq!((never.incarnation, &never.note, never.pipes), (0, &long, false));
    }
    world.brain.say(&[ack("dead", 7)]);
    let table = world.replace_brain();
    assert_eq!((&table[0].0.exit, table[0].0.incarnation), (&None, 7));
    world.brain.say(&[forget("dead"), forget("never"), forget("nobody"), forget("live")]);
    let table = world.replace_brain();
    assert_eq!(table.len(), 1, "what lives is not forgotten, the rest is");
}

pub(crate) fn a_second_launch_is_refused_while_the_first_lives_or_is_not_acknowledged() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    brain.say(&[sh("a", 1, "exec sleep 1000"), sh("a", 2, "exit 0")]);
    assert!(brain.refusal_of("a").contains("earlier launch"), "it waits in the same packet");
    brain.started("a");
    brain.launch("a", 2, "exit 0");
    assert!(brain.refusal_of("a").contains("lives"));
    brain.say(&[signal("a", 1, 9)]);
    assert_eq!(brain.exit_of("a"), by_signal(9));
    brain.launch("a", 2, "exit 0");
    assert!(brain.refusal_of("a").contains("not acknowledged"));
    brain.say(&[ack("a", 2), sh("a", 2, "exit 0")]);
    assert!(brain.refusal_of("a").contains("not acknowledged"), "another one's ack");
    brain.say(&[ack("a", 1), sh("a", 1, "exit 0")]);
    assert!(brain.refusal_of("a").contains("not a new one"));
    assert_eq!(brain.run("a", 2, "exit 5"), Exit::Code(5));
    brain.say(&[argv("a", 3, &[], "/")]);
    assert!(brain.refusal_of("a").contains("argv is empty"));
    brain.say(&[argv("a", 3, &["a\0b"], "/")]);
    assert!(brain.refusal_of("a").contains("NUL"));
}

pub(crate) fn only_the_incarnation_that_is_meant_is_signalled() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    assert_eq!(brain.run("a", 1, "exit 0"), Exit::Code(0));
    brain.launch("a", 2, "exec sleep 1000");
    let (pid, _) = brain.launched("a");
    brain.say(&[signal("a", 1, 9), signal("a", 3, 9), signal("b", 1, 9), signal("a", 2, 0)]);
    brain.say(&[signal("a", 2, -9), signal("a", 2, 4711)]);
    brain.is_heard();
    assert!(alive(pid));
    brain.say(&[signal("a", 2, 9)]);
    assert_eq!(brain.exit_of("a"), by_signal(9));
}

pub(crate) fn orphans_are_reaped() {
    let mut world = World::serving();
    // A process of its own session, whose parents leave before it does.
    world.brain.launch("a", 1, "(setsid sh -c 'echo $$; exec sleep 0.3' &) ; sleep 0.1");
    let (_, pipes) = world.brain.launched("a");
    let orphan = read_pid(&pipes[0]);
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    patiently("the orphan is reaped", || (!alive(orphan)).then_some(()));
    world.brain.is_heard();
}

pub(crate) fn more_launches_than_places_all_run() {
    const COUNT: usize = 300;
    let mut world = World::serving();
    for index in 0..COUNT {
        world.brain.say(&[argv(&format!("s{index}"), 1, &["/bin/sleep", "1000"], "/")]);
    }
    let mut started = 0;
    let mut pids = BTreeSet::new();
    while started < COUNT {
        match world.brain.hear().0 {
            Report::Launched { pid, .. } => assert!(pids.insert(pid), "{pid} twice"),
            Report::Started { .. } => started += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pids.len(), COUNT);
    let table = world.replace_brain();
    assert_eq!(table.len(), COUNT);
    assert!(table.iter().all(|(slot, pipes)| pids.contains(&slot.pid) && pipes.len() == 2));
    for (slot, _) in &table {
        world.brain.say(&[signal(&slot.service, 1, 15)]);
    }
    for _ in 0..COUNT {
        let exit = world.brain.hear_until(|report, _| match report {
            Report::Exited { exit, .. } => Some(exit),
            _ => None,
        });
        assert_eq!(exit, by_signal(15));
    }
}

pub(crate) fn a_launch_that_waits_can_be_signalled_and_forgotten() {
    let mut world = World::serving();
    // In one packet, so that nothing is forked before all of it is heard.
    let (cont, term) = (signal("a", 1, 18), signal("a", 1, 15));
    world.brain.say(&[sh("a", 1, "exit 1"), cont, term, sh("b", 1, "exit 1"), forget("b")]);
    let (service, incarnation, exit) = ("a".to_owned(), 1, by_signal(15));
    assert_eq!(world.brain.hear().0, Report::Exited { service, incarnation, exit });
    assert_eq!(world.replace_brain().len(), 1);
}

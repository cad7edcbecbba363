//! What a keeper takes over: from one that was killed, and from itself when it begins anew.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::stop::runs;
use crate::*;

type Table = Vec<(Slot, Vec<OwnedFd>)>;

/// Kills keeper and brain at once, and begins again with another keeper of the same ledger.
fn take_over(world: &mut World, env: &[(&str, &str)]) -> Table {
    kill_both(world);
    begin_again(world, env)
}

pub(crate) fn kill_both(world: &mut World) {
    world.keeper.kill().expect("it lives");
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("it lives");
    world.keeper.wait().expect("it is ours");
}

pub(crate) fn begin_again(world: &mut World, env: &[(&str, &str)]) -> Table {
    let mut command = keeper_command(&world.dir);
    world.keeper = command.envs(env.iter().copied()).spawn().expect("it starts");
    let table = world.next_brain();
    world.brain.say(&[Request::Serving]);
    table
}

fn slot<'a>(table: &'a Table, service: &str) -> &'a (Slot, Vec<OwnedFd>) {
    let found = table.iter().find(|(slot, _)| slot.service == service);
    found.unwrap_or_else(|| panic!("`{service}` is not in {table:?}"))
}

/// Runs with cgroups, if there are any here, and without.
fn each_way(test: impl Fn(&mut World, &[(&str, &str)])) {
    test(&mut World::serving(), &[]);
    let off = ("ZINIT_CGROUP", "off");
    test(&mut World::serving_with(off), &[off]);
}

pub(crate) fn a_keeper_takes_over_what_a_killed_one_has_left() {
    each_way(|world, env| {
        let dir = world.dir.display().to_string();
        let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; \
                      trap 'exit 7' TERM; while :; do sleep 0.01; done";
        world.brain.say(&[argv("a", 1, &["/bin/sh", "-c", script], &dir), note("a", "remember")]);
        let (pid, pipes) = world.brain.launched("a");
        read_until(&pipes[0], "one");
        drop(pipes);
        world.brain.launch("b", 3, "exit 5");
        assert_eq!(world.brain.exit_of("b"), Exit::Code(5));
        world.brain.say(&[note("c", "only a note"), note("d", ""), forget("d")]);
        world.brain.is_heard();

        let table = take_over(world, env);
        let (a, pipes) = slot(&table, "a");
        assert_eq!((a.pid, a.incarnation, a.started, &*a.note), (pid, 1, true, "remember"));
        let (b, _) = slot(&table, "b");
        assert_eq!((b.incarnation, &b.exit), (3, &Some(Exit::Code(5))), "nobody acknowledged it");
        assert_eq!(slot(&table, "c").0.note, "only a note");
        assert!(table.iter().all(|(slot, _)| slot.service != "d"), "forgotten");
        // What it writes is read where the one before has stopped.
        std::fs::write(world.dir.join("go"), "").expect("written");
        assert_eq!(read_until(&pipes[0], "two"), "two\n");
        world.brain.launch("a", 2, "exit 0");
        assert!(world.brain.refusal_of("a").contains("lives"));
        world.brain.say(&[signal("a", 1, 15)]);
        assert_eq!(world.brain.exit_of("a"), Exit::Code(7), "told by the kernel, not by us");
        world.brain.say(&[ack("a", 1)]);
        assert_eq!(world.brain.run("a", 2, "exit 4"), Exit::Code(4), "a child like any other");
    });
}

pub(crate) fn what_ended_while_nobody_kept_is_told_as_far_as_it_is_known() {
    each_way(|world, env| {
        world.brain.launch("a", 1, "exec sleep 1000");
        let (pid, _) = world.brain.launched("a");
        world.brain.started("a");
        kill_both(world);
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
        patiently("it is dead", || (!runs(pid)).then_some(()));
        let table = begin_again(world, env);
        let (a, _) = slot(&table, "a");
        // Where its reaper was not there yet, one can still see how it ended.
        let exit = a.exit.clone().unwrap_or_else(|| world.brain.exit_of("a"));
        assert!([Exit::Unknown, by_signal(9)].contains(&exit), "{exit:?}");
    });
}

pub(crate) fn a_stranger_with_the_number_of_a_service_is_left_alone() {
    each_way(|world, env| {
        world.brain.launch("a", 1, "exec sleep 1000");
        let (pid, _) = world.brain.launched("a");
        world.brain.started("a");
        kill_both(world);
        // As if its number were that of somebody else by now, who has the same program.
        let mut stranger = Command::new("sleep").arg("1000").spawn().expect("a stranger");
        let ledger = world.dir.join("sock").with_extension("ledger");
        let text = std::fs::read_to_string(&ledger).expect("a ledger");
        let number = |pid: i32| format!("\"pid\":{pid}");
        let theirs = number(stranger.id() as i32);
        assert!(text.contains(&number(pid)));
        std::fs::write(&ledger, text.replace(&number(pid), &theirs)).expect("written");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
        patiently("it is dead", || (!runs(pid)).then_some(()));
        let table = begin_again(world, env);
        let (a, _) = slot(&table, "a");
        assert_eq!(a.pid, 0, "it is not taken for the service");
        world.brain.say(&[signal("a", 1, 9)]);
        let exit = a.exit.clone().unwrap_or_else(|| world.brain.exit_of("a"));
        assert_eq!(exit, Exit::Unknown);
        assert_eq!(stranger.try_wait().expect("it is ours"), None, "the stranger lives");
        stranger.kill().and_then(|()| stranger.wait()).expect("it is ours");
    });
}

pub(crate) fn a_process_that_nobody_wrote_down_but_itself_is_found_by_its_mark() {
    each_way(|world, env| {
        world.brain.launch("a", 1, "exec sleep 1000");
        let (pid, _) = world.brain.launched("a");
        world.brain.started("a");
        kill_both(world);
        // As if the keeper had died before it wrote down whom it has made.
        let ledger = world.dir.join("sock").with_extension("ledger");
        let text = std::fs::read_to_string(&ledger).expect("a ledger");
        let unknown = |line: &&str| !line.contains("\"who\"");
        let lines: Vec<&str> = text.lines().filter(unknown).collect();
        assert!(lines.iter().any(|it| it.contains("\"entry\":\"born\"")), "{text}");
        std::fs::write(&ledger, lines.join("\n")).expect("written");
        let table = begin_again(world, env);
        assert_eq!(slot(&table, "a").0.pid, pid);
        world.brain.say(&[signal("a", 1, 9)]);
        assert_eq!(world.brain.exit_of("a"), by_signal(9));
    });
}

pub(crate) fn without_cgroups_all_of_an_adopted_service_is_stopped() {
    each_way(|world, env| {
        let deaf = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done'";
        let script = format!("setsid {deaf} & (setsid {deaf} &); {deaf} & exec sleep 1000");
        world.brain.launch("a", 1, &script);
        let (pid, pipes) = world.brain.launched("a");
        let mut said = String::new();
        while said.lines().count() < 3 {
            said += &read_until(&pipes[0], "\n");
        }
        let others: Vec<i32> = said.lines().map(|it| it.parse().expect("a number")).collect();
        // One that has left everything but its mark, and ends when it is told to.
        world.brain.launch(
            "polite",
            1,
            "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000",
        );
        let (_, pipes) = world.brain.launched("polite");
        let polite = read_pid(&pipes[0]);
        world.brain.launch("other", 1, "exec sleep 1000");
        let (other, _) = world.brain.launched("other");
        world.brain.started("other");
        take_over(world, env);
        world.brain.say(&[signal("polite", 1, 15)]);
        assert_eq!(world.brain.exit_of("polite"), by_signal(15));
        assert!(!runs(polite), "it was asked to end as well");
        world.brain.say(&[signal("a", 1, 15)]);
        patiently("the main process is dead", || (!runs(pid)).then_some(()));
        assert!(others.iter().all(|it| runs(*it)), "the others are deaf to that");
        world.brain.say(&[signal("a", 1, 9)]);
        assert_eq!(world.brain.exit_of("a"), by_signal(15));
        assert!(!others.iter().any(|it| runs(*it)), "an exit is told when nobody is left");
        assert!(runs(other));
    });
}

pub(crate) fn readiness_is_heard_after_a_takeover() {
    let mut world = World::serving();
    let itself = std::env::current_exe().expect("this program has a path");
    let itself = itself.display().to_string();
    let script = "while [ ! -e go ]; do sleep 0.01; done; ";
    let dir = world.dir.display().to_string();
    let ways = [
        ("fd", Ready::Fd(4), format!("{script} echo ready >&4; exec sleep 1000")),
        ("notify", Ready::Notify, format!("{script} exec {itself} be-notifier READY=1")),
    ];
    for (service, ready, script) in ways {
        let Request::Launch(launch) = argv(service, 1, &["/bin/sh", "-c", &script], &dir) else {
            panic!("a launch")
        };
        world.brain.say(&[Request::Launch(Box::new(Launch { ready, ..*launch }))]);
        world.brain.started(service);
    }
    let table = take_over(&mut world, &[]);
    std::fs::write(world.dir.join("go"), "").expect("written");
    for (service, text) in [("fd", "ready"), ("notify", "READY=1")] {
        let (slot, fds) = slot(&table, service);
        assert!(slot.ready, "{service}");
        assert_eq!(read_until(fds.last().expect("an end"), text).trim(), text);
    }
}

/// Asks the keeper to begin anew, and waits until it has.
pub(crate) fn renew(world: &mut World) {
    let before = proc_file(world.keeper_pid(), "auxv");
    world.brain.say(&[Request::Renew]);
    world.brain.is_heard();
    // Where the kernel has put things, which is another place each time.
    assert_ne!(proc_file(world.keeper_pid(), "auxv"), before, "it has begun anew");
}

pub(crate) fn a_keeper_begins_anew_in_place() {
    each_way(|world, _| {
        let script = "echo one; read line <&0; trap 'exit 7' TERM; while :; do sleep 0.01; done";
        world.brain.launch("a", 1, script);
        let (pid, pipes) = world.brain.launched("a");
        read_until(&pipes[0], "one");
        world.brain.launch("b", 2, "exit 3");
        assert_eq!(world.brain.exit_of("b"), Exit::Code(3));
        world.brain.launch("c", 1, "sleep 1000 & exit 6");
        let fds = |world: &World| {
            let all = std::fs::read_dir(format!("/proc/{}/fd", world.keeper_pid()));
            all.expect("it lives").count()
        };
        renew(world);
        let before = fds(world);
        (0..3).for_each(|_| renew(world));
        assert_eq!(fds(world), before, "no descriptor is left over");
        assert_eq!(status_of(pid, "PPid"), world.keeper_pid().to_string(), "still its child");
        world.brain.say(&[signal("a", 1, 15), ack("b", 2)]);
        assert_eq!(world.brain.exit_of("a"), Exit::Code(7));
        assert_eq!(world.brain.run("b", 3, "exit 8"), Exit::Code(8));
        world.brain.say(&[signal("c", 1, 9)]);
        assert_eq!(world.brain.exit_of("c"), Exit::Code(6));
        // The next brain gets the same table as ever.
        let table = world.replace_brain();
        assert_eq!(slot(&table, "a").0.exit, Some(Exit::Code(7)));
        world.brain.say(&[Request::Serving]);
    });
}

pub(crate) fn a_program_that_is_gone_or_broken_does_not_replace_the_keeper() {
    let itself = std::env::current_exe().expect("this program has a path");
    let mut world = World::of(|dir| {
        let program = dir.join("keeper");
        std::fs::hard_link(&itself, &program)
            .or_else(|_| std::fs::copy(&itself, &program).map(drop))
            .expect("another name for this program");
        let mut command = Command::new(program);
        command.arg("be-keeper").arg(dir.join("sock")).arg(&itself);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    })
    .served();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    let program = world.dir.join("keeper");
    std::fs::remove_file(&program).expect("it is there");
    let not_anew = |world: &mut World| {
        let before = proc_file(world.keeper_pid(), "auxv");
        world.brain.say(&[Request::Renew]);
        world.brain.is_heard();
        assert_eq!(proc_file(world.keeper_pid(), "auxv"), before, "it is the program before");
    };
    not_anew(&mut world);
    for text in ["neither a program nor a script", "#!/bin/sh\nexit 3\n", "#!/bin/sh\nsleep 1000\n"]
    {
        executable(&program, text);
        not_anew(&mut world);
    }
    // One that comes back is begun.
    std::fs::remove_file(&program).expect("it is there");
    std::fs::copy(&itself, &program).expect("a copy of this program");
    renew(&mut world);
    world.brain.say(&[signal("a", 1, 9)]);
    assert_eq!(world.brain.exit_of("a"), by_signal(9));
    assert!(!runs(pid));
}

fn executable(path: &Path, text: &str) {
    let mut how = std::fs::OpenOptions::new();
    let file = how.write(true).create(true).truncate(true).mode(0o755).open(path);
    file.and_then(|mut it| it.write_all(text.as_bytes())).expect("written");
}

pub(crate) fn a_program_that_cannot_read_what_it_is_left_begins_the_one_before_again() {
    let dir = std::env::temp_dir().join(format!("zinit-keeper-test-back-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("state"), "from the future\n").expect("written");
    let open = |path: &Path| {
        let file = File::open(path).expect("it is there");
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("it is open");
        file
    };
    // With the arguments of a keeper this one makes files of their names.
    let (state, before) = (open(&dir.join("state")), open(Path::new("/usr/bin/touch")));
    let numbers = format!("{},{}", state.as_raw_fd(), before.as_raw_fd());
    let mut command = keeper_command(&dir);
    let status = command.current_dir(&dir).env("ZINIT_KEEPER_STATE", numbers).status();
    assert!(status.expect("it runs").success());
    assert!(dir.join("be-keeper").exists() && dir.join("sock").exists());
    std::fs::remove_dir_all(&dir).expect("it is ours");
}

pub(crate) fn what_a_keeper_cannot_read_is_not_taken_for_nothing() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.started("a");
    kill_both(&mut world);
    let ledger = world.dir.join("sock").with_extension("ledger");
    let text = std::fs::read_to_string(&ledger).expect("a ledger");
    for unreadable in [text.replace("\"version\":1", "\"version\":99"), "nonsense".to_owned()] {
        std::fs::write(&ledger, unreadable).expect("written");
        let output = keeper_command(&world.dir).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("cannot tell what runs already"), "{said}");
    }
    std::fs::write(&ledger, text).expect("written");
    let table = begin_again(&mut world, &[]);
    assert_eq!(slot(&table, "a").0.pid, pid);
}

pub(crate) fn who_was_known_before_a_new_beginning_is_known_after_it() {
    let mut world = World::serving_with(("ZINIT_CGROUP", "off"));
    // It says nothing of where it comes from, and only the group tells.
    world.brain.launch("a", 1, "env -i sleep 1000 & exit 6");
    let left = world.brain.hear_until(|report, _| match report {
        Report::Died { left, .. } => Some(left),
        _ => None,
    });
    renew(&mut world);
    assert!(left.iter().all(|it| runs(*it)), "{left:?}");
    world.brain.say(&[signal("a", 1, 9)]);
    assert_eq!(world.brain.exit_of("a"), Exit::Code(6));
    assert!(!left.iter().any(|it| runs(*it)));
}

pub(crate) fn a_ledger_that_cannot_be_written_stops_nothing() {
    let mut world = World::new();
    let ledger = world.dir.join("sock").with_extension("ledger");
    // A directory is in the way of the next one; the one that is there stays.
    std::fs::remove_file(&ledger).expect("it is there");
    std::fs::create_dir_all(ledger.join("x")).expect("made");
    world.brain.greet();
    world.brain.say(&[Request::Serving]);
    assert_eq!(world.brain.run("a", 1, "exit 3"), Exit::Code(3));
    renew(&mut world);
    assert_eq!(world.brain.run("a", 2, "exit 4"), Exit::Code(4));
}

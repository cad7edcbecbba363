//! What services read and write, whoever is there to see it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;

use super::*;

fn launch(service: &str, incarnation: u64, script: &str, input: bool, output: Output) -> Request {
    let Request::Launch(launch) = sh(service, incarnation, script) else { panic!("no launch") };
    Request::Launch(Box::new(Launch { input, output, ..*launch }))
}

fn to(consumer: &str) -> Output {
    Output::To(consumer.to_owned())
}

/// Prints a script's stdin line by line; what is not printed yet is left in the pipe.
fn logger(incarnation: u64) -> Request {
    let script = "while read line; do echo \"got $line\"; done";
    launch("logger", incarnation, script, true, Output::Pipes)
}

fn ends(brain: &mut Brain, request: Request, service: &str, incarnation: u64) {
    brain.say(&[request]);
    assert_eq!(brain.exit_of(service), Exit::Code(0));
    brain.say(&[ack(service, incarnation)]);
}

fn names(table: &[(Slot, Vec<OwnedFd>)]) -> Vec<&str> {
    table.iter().map(|(slot, _)| &*slot.service).collect()
}

pub(crate) fn a_service_outlives_keeper_and_brain_and_what_it_writes_is_kept() {
    let mut world = World::serving();
    let dir = world.dir.display().to_string();
    let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; echo oops >&2; \
                  echo three; exec sleep 1000";
    world.brain.say(&[argv("a", 1, &["/bin/sh", "-c", script], &dir)]);
    let (pid, pipes) = world.brain.launched("a");
    read_until(&pipes[0], "one");
    drop(pipes);
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("the brain lives");
    world.keeper.kill().expect("it lives");
    world.keeper.wait().expect("it is ours");
    // Nobody but the service has an end of its pipes now.
    std::fs::write(world.dir.join("go"), "").expect("written");
    let opened = |number: i32| {
        let flags = OFlag::O_NONBLOCK.bits();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags);
        let file = options.open(format!("/proc/{pid}/fd/{number}"));
        OwnedFd::from(file.expect("the service lives, and its pipe with it"))
    };
    patiently("it has done its writing", || {
        proc_file(pid, "cmdline").starts_with("sleep").then_some(())
    });
    assert_eq!(read_until(&opened(1), "three"), "two\nthree\n");
    assert_eq!(read_until(&opened(2), "oops"), "oops\n");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
}

pub(crate) fn what_one_service_writes_is_read_by_another_over_restarts_of_either() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    // Nobody reads it yet.
    ends(brain, launch("p", 1, "seq 1 100", false, to("logger")), "p", 1);
    brain.say(&[logger(1)]);
    let (pid, pipes) = brain.launched("logger");
    let mut said = read_until(&pipes[0], "got 100\n");
    // The reader does not see that the writer has begun again.
    ends(brain, launch("p", 2, "seq 101 200 >&2", false, to("logger")), "p", 2);
    said += &read_until(&pipes[0], "got 200\n");
    assert!(alive(pid));
    brain.say(&[signal("logger", 1, 9)]);
    assert_eq!(brain.exit_of("logger"), by_signal(9));
    brain.say(&[ack("logger", 1)]);
    // The writer does not see that there is no reader, nor a brain.
    ends(brain, launch("p", 3, "seq 201 250", false, to("logger")), "p", 3);
    drop(pipes);
    let mut table = world.replace_brain();
    assert_eq!(names(&table), ["p", "logger"]);
    let pipes = std::mem::take(&mut table[1].1);
    let brain = &mut world.brain;
    ends(brain, launch("q", 1, "seq 251 300", false, to("logger")), "q", 1);
    brain.say(&[logger(2)]);
    said += &read_until(&pipes[0], "got 300\n");
    let all: Vec<String> = (1..=300).map(|it| format!("got {it}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), all);
}

pub(crate) fn a_slot_that_is_only_written_to_is_told_to_nobody_and_forgotten_with_its_pipe() {
    let mut world = World::serving();
    ends(&mut world.brain, launch("p", 1, "echo lost", false, to("logger")), "p", 1);
    assert_eq!(names(&world.replace_brain()), ["p"]);
    world.brain.say(&[forget("logger")]);
    ends(&mut world.brain, launch("p", 2, "echo kept", false, to("logger")), "p", 2);
    world.brain.say(&[note("logger", "it is known")]);
    assert_eq!(names(&world.replace_brain()), ["p", "logger"]);
    world.brain.say(&[logger(1)]);
    let (_, pipes) = world.brain.launched("logger");
    assert_eq!(read_until(&pipes[0], "\n"), "got kept\n");
}

pub(crate) fn what_is_written_while_its_reader_is_forgotten_is_for_the_next_of_that_name() {
    let mut world = World::serving();
    let dir = world.dir.display().to_string();
    let script = "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two; exec sleep 1000";
    let mut writer = launch("p", 1, script, false, to("logger"));
    if let Request::Launch(it) = &mut writer {
        it.dir = dir;
    }
    world.brain.say(&[writer, logger(1)]);
    let (_, pipes) = world.brain.launched("logger");
    read_until(&pipes[0], "got one\n");
    world.brain.say(&[signal("logger", 1, 9)]);
    assert_eq!(world.brain.exit_of("logger"), by_signal(9));
    world.brain.say(&[ack("logger", 1), forget("logger")]);
    assert_eq!(names(&world.replace_brain()), ["p"]);
    std::fs::write(world.dir.join("go"), "").expect("written");
    world.brain.say(&[logger(1)]);
    let (_, pipes) = world.brain.launched("logger");
    assert_eq!(read_until(&pipes[0], "\n"), "got two\n");
    world.brain.say(&[signal("logger", 1, 9), signal("p", 1, 9)]);
    let mut left = BTreeSet::from(["logger".to_owned(), "p".to_owned()]);
    while !left.is_empty() {
        world.brain.hear_until(|report, _| match report {
            Report::Exited { service, .. } => Some(left.remove(&service)),
            _ => None,
        });
    }
    // Nobody writes to it any more, and it is forgotten with the last who did.
    let pipes_of_keeper = |world: &World| {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", world.keeper_pid())).expect("it lives");
        let links = fds.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
        links.filter(|it| it.to_string_lossy().starts_with("pipe:")).count()
    };
    world.brain.say(&[ack("logger", 1), ack("p", 1), forget("logger"), forget("p")]);
    world.brain.is_heard();
    world.brain.say(&[forget("probe")]);
    assert!(world.replace_brain().is_empty());
    let before = pipes_of_keeper(&world);
    ends(&mut world.brain, launch("p", 2, "echo lost", false, to("logger")), "p", 2);
    assert_eq!(pipes_of_keeper(&world), before + 2);
    world.brain.say(&[forget("p")]);
    patiently("the pipe is closed", || (pipes_of_keeper(&world) == before).then_some(()));
}

pub(crate) fn what_nobody_can_read_is_refused() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    brain.say(&[launch("a", 1, "echo hello", true, to("a"))]);
    assert!(brain.refusal_of("a").contains("own input"));
    brain.say(&[launch("a", 1, "echo hello", false, to(""))]);
    assert!(brain.refusal_of("a").contains("name"));
    assert_eq!(brain.run("a", 1, "exit 0"), Exit::Code(0));
}

pub(crate) fn the_flags_of_one_writer_are_not_those_of_another() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    let script = "exec sleep 1000";
    brain.say(&[launch("p", 1, script, false, to("logger"))]);
    brain.say(&[launch("q", 1, script, false, to("logger")), logger(1)]);
    let (mut pids, mut started) = (BTreeMap::new(), 0);
    while started < 3 {
        match brain.hear().0 {
            Report::Launched { service, pid, .. } => drop(pids.insert(service, pid)),
            Report::Started { .. } => started += 1,
            other => panic!("{other:?}"),
        }
    }
    let [p, q, reader] = ["p", "q", "logger"].map(|it| pids[it]);
    let same = |one: i32, other: i32, number: i32| {
        let file = |pid: i32| std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
        file(one).expect("it lives") == file(other).expect("it lives")
    };
    assert!(same(p, q, 1) && same(p, q, 2), "both write to one pipe");
    let flags = |pid: i32, number: i32| {
        let told = proc_file(pid, &format!("fdinfo/{number}"));
        let flags = told.lines().find_map(|it| it.strip_prefix("flags:")).map(str::trim);
        i32::from_str_radix(flags.expect("it has flags"), 8).expect("octal digits")
    };
    let mode = |pid, number| flags(pid, number) & OFlag::O_ACCMODE.bits();
    // Each is open both ways, so that neither breaks nor ends when all others are dead.
    assert_eq!((mode(p, 1), mode(reader, 0)), (OFlag::O_RDWR.bits(), OFlag::O_RDWR.bits()));
    assert_eq!(flags(reader, 0) & OFlag::O_NONBLOCK.bits(), 0, "its reading waits");
}

pub(crate) fn a_command_may_write_to_the_output_of_a_service() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    let of_a = || Output::Of("a".to_owned());
    ends(brain, launch("a/stop", 1, "echo nowhere", false, of_a()), "a/stop", 1);
    brain.launch("a", 1, "echo begun; exec sleep 1000");
    let (_, pipes) = brain.launched("a");
    read_until(&pipes[0], "begun\n");
    ends(brain, launch("a/stop", 2, "echo hello; echo oops >&2", false, of_a()), "a/stop", 2);
    assert_eq!(read_until(&pipes[0], "\n"), "hello\n");
    assert_eq!(read_until(&pipes[1], "\n"), "oops\n");
}

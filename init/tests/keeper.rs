//! The keeper with real processes. The tests are the brain: a stub process hands its end of the
//! keeper's socket over to them.
//!
//! This program plays all parts, so it has its own small runner: `keeper [FILTER]` runs the tests,
//! `keeper be-keeper PATH` and `keeper be-brain PATH` are what they start.

#![expect(clippy::disallowed_methods, reason = "tests make processes, and give up after a time")]

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, getpgid, getsid, read};
use zinit_keeper::packet::{self, Heard};
use zinit_keeper::wire::{
    Exit, Launch, NOTE_MAX, Output, PACKET_MAX, Report, Request, Slot, VERSION,
};

/// A test that waits longer than this for something has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:ident),* $(,)?) => { const TESTS: &[Test] = &[$((stringify!($name), $name)),*]; };
}

tests![
    exits_are_told_exactly,
    a_core_dump_is_told_as_one,
    a_launch_that_fails_names_its_step_and_errno,
    a_program_is_looked_up_in_the_childs_path,
    a_child_begins_clean,
    pipes_outlive_restarts_and_brains,
    a_new_brain_gets_the_table_with_what_nobody_acknowledged,
    a_second_launch_is_refused_while_the_first_lives_or_is_not_acknowledged,
    only_the_incarnation_that_is_meant_is_signalled,
    what_is_left_of_a_group_dies_with_its_leader_before_the_exit_is_told,
    orphans_are_reaped,
    more_launches_than_places_all_run,
    a_launch_that_waits_can_be_signalled_and_forgotten,
    nonsense_is_survived,
    mutated_requests_are_survived,
    a_brain_that_does_not_read_hears_everything_later,
    signals_to_the_keeper_reach_the_brain,
    sigterm_is_told_to_the_next_brain_too,
    a_brain_that_closes_its_socket_is_replaced,
    what_a_dead_brain_has_said_still_counts,
    farewell_ends_the_keeper_with_the_code,
    farewell_kills_what_the_brain_forgot,
    a_first_brain_that_never_serves_ends_the_keeper,
    a_brain_that_cannot_be_run_ends_the_keeper,
    the_first_serving_makes_ready,
    a_keeper_with_nothing_to_do_does_nothing,
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    match first.to_str() {
        Some("be-keeper") => be_keeper(&args.collect::<Vec<_>>()),
        Some("be-brain") => be_brain(args.next().expect("the path of the tests' socket")),
        filter => run_tests(filter.filter(|it| !it.starts_with('-')).unwrap_or_default()),
    }
}

fn run_tests(filter: &str) -> ExitCode {
    let chosen = TESTS.iter().filter(|(name, _)| name.contains(filter));
    let mut failed = Vec::new();
    for (name, test) in chosen {
        let begun = Instant::now();
        match std::panic::catch_unwind(test) {
            Ok(()) => println!("test {name} ... ok ({} ms)", begun.elapsed().as_millis()),
            Err(_) => failed.push(*name),
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(" "));
    ExitCode::FAILURE
}

/// `be-keeper PATH [BRAIN]`; ready goes to stdout.
fn be_keeper(args: &[OsString]) -> ExitCode {
    // Tests that are killed leave no keeper behind.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("allowed");
    let itself = std::env::current_exe().expect("this program has a path");
    let code = zinit_keeper::run(zinit_keeper::Keeper {
        brain: args.get(1).map_or(itself, PathBuf::from),
        brain_args: vec!["be-brain".into(), args[0].clone()],
        ready: std::io::stdout().as_fd().try_clone_to_owned().ok(),
    });
    ExitCode::from(code as u8)
}

/// Gives its socket to the tests, and ends with the code that they send.
fn be_brain(path: OsString) -> ExitCode {
    let link = packet::inherited().expect("the keeper leaves a socket");
    let mut control = UnixStream::connect(path).expect("the tests listen");
    packet::send(control.as_fd(), b"x", &[link.as_fd()]).expect("the tests take the socket");
    drop(link);
    let mut code = [0];
    control.read_exact(&mut code).expect("the tests say how to end");
    ExitCode::from(code[0])
}

/// A keeper and, in the role of its brain, the test.
struct World {
    keeper: Child,
    listener: UnixListener,
    dir: PathBuf,
    brain: Brain,
}

/// One brain: the stub process, and the socket that the test has from it.
struct Brain {
    control: UnixStream,
    link: OwnedFd,
    pid: i32,
    /// Reports that were received and not looked at yet, each with the pipes that came with it.
    heard: VecDeque<(Report, Vec<OwnedFd>)>,
}

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zinit-keeper-test-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let listener = UnixListener::bind(dir.join("sock")).expect("a socket");
        let keeper = keeper_command(&dir).spawn().expect("the keeper starts");
        let brain = Brain::accept(&listener);
        Self { keeper, listener, dir, brain }
    }

    /// A keeper whose first brain has said `Hello` and serves.
    fn serving() -> Self {
        let mut world = Self::new();
        world.brain.greet();
        world.brain.say(&[Request::Serving]);
        world
    }

    /// Ends the brain like `kill -9`, and is the next one.
    fn replace_brain(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        kill(Pid::from_raw(self.brain.pid), Signal::SIGKILL).expect("the brain lives");
        self.next_brain()
    }

    fn next_brain(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.brain = Brain::accept(&self.listener);
        self.brain.greet()
    }

    fn keeper_pid(&self) -> i32 {
        self.keeper.id() as i32
    }

    fn signal_keeper(&self, signal: Signal) {
        kill(Pid::from_raw(self.keeper_pid()), signal).expect("the keeper lives");
    }

    /// The exit status of the keeper, which ends by itself.
    fn ends(&mut self) -> Option<i32> {
        patiently("the keeper ends", || self.keeper.try_wait().expect("it is ours")).code()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let lives = |keeper: &mut Child| keeper.try_wait().is_ok_and(|it| it.is_none());
        if lives(&mut self.keeper) {
            self.brain.say_if_possible(&[Request::Farewell { code: 0 }]);
            let _ = self.brain.control.write_all(&[0]);
            let end = Instant::now() + PATIENCE;
            while lives(&mut self.keeper) && Instant::now() < end {
                pause();
            }
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Brain {
    fn accept(listener: &UnixListener) -> Self {
        await_input(listener.as_fd(), "a brain connects");
        let (control, _) = listener.accept().expect("the brain connects");
        await_input(control.as_fd(), "a brain hands its socket over");
        let mut fds = Vec::new();
        let got = packet::receive(control.as_fd(), &mut [0; 8], &mut fds).expect("a message");
        assert_eq!((got, fds.len()), (Heard::Packet(1), 1));
        let pid = getsockopt(&control, PeerCredentials).expect("credentials").pid();
        Self { control, link: fds.remove(0), pid, heard: VecDeque::new() }
    }

    /// Says `Hello` and takes the table.
    fn greet(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.say(&[Request::Hello { version: VERSION }]);
        let slots = self.hear_until(|report, _| match report {
            Report::Welcome { version: VERSION, slots, .. } => Some(slots),
            _ => None,
        });
        let table = (0..slots).map(|_| match self.hear() {
            (Report::Slot(slot), pipes) => (slot, pipes),
            (other, _) => panic!("no slot but {other:?}"),
        });
        table.collect()
    }

    fn say(&mut self, group: &[Request]) {
        assert!(self.say_if_possible(group), "the keeper takes a packet");
    }

    fn say_if_possible(&mut self, group: &[Request]) -> bool {
        let lines = group.iter().map(|it| serde_json::to_string(it).expect("JSON") + "\n");
        self.say_raw(lines.collect::<String>().as_bytes())
    }

    fn say_raw(&mut self, bytes: &[u8]) -> bool {
        loop {
            match packet::send(self.link.as_fd(), bytes, &[]) {
                Ok(true) => return true,
                Ok(false) => await_event(self.link.as_fd(), PollFlags::POLLOUT, "there is room"),
                Err(_) => return false,
            }
        }
    }

    /// The next report, and the pipes that came with it.
    fn hear(&mut self) -> (Report, Vec<OwnedFd>) {
        let mut buffer = vec![0; PACKET_MAX];
        let mut fds = Vec::new();
        while self.heard.is_empty() {
            await_input(self.link.as_fd(), "the keeper reports");
            match packet::receive(self.link.as_fd(), &mut buffer, &mut fds).expect("a packet") {
                Heard::Packet(length) => self.take(&buffer[..length], &mut fds),
                Heard::Nothing => {}
                other => panic!("the keeper is not well: {other:?}"),
            }
        }
        self.heard.pop_front().expect("something was heard")
    }

    fn take(&mut self, bytes: &[u8], fds: &mut Vec<OwnedFd>) {
        for line in bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            let report: Report = serde_json::from_slice(line).expect("a report");
            let pipes = match &report {
                Report::Launched { pipes, .. } => *pipes,
                Report::Slot(slot) => slot.pipes,
                _ => false,
            };
            let two = fds.drain(..if pipes { 2 } else { 0 }).collect();
            self.heard.push_back((report, two));
        }
        assert!(fds.is_empty(), "nobody owns {} descriptors", fds.len());
    }

    /// Skips reports until one is what `wanted` makes something of.
    fn hear_until<T>(&mut self, mut wanted: impl FnMut(Report, Vec<OwnedFd>) -> Option<T>) -> T {
        loop {
            let (report, pipes) = self.hear();
            if let Some(found) = wanted(report, pipes) {
                return found;
            }
        }
    }

    fn launch(&mut self, service: &str, incarnation: u64, script: &str) {
        self.say(&[sh(service, incarnation, script)]);
    }

    fn launched(&mut self, name: &str) -> (i32, Vec<OwnedFd>) {
        self.hear_until(|report, pipes| match report {
            Report::Launched { service, pid, .. } if service == name => Some((pid, pipes)),
            _ => None,
        })
    }

    fn started(&mut self, name: &str) {
        self.hear_until(|report, _| match report {
            Report::Started { service, .. } if service == name => Some(()),
            Report::Exited { service, exit, .. } if service == name => panic!("exited: {exit:?}"),
            _ => None,
        });
    }

    fn exit_of(&mut self, name: &str) -> Exit {
        self.hear_until(|report, _| match report {
            Report::Exited { service, exit, .. } if service == name => Some(exit),
            _ => None,
        })
    }

    fn refusal_of(&mut self, name: &str) -> String {
        self.hear_until(|report, _| match report {
            Report::Refused { service, why, .. } if service == name => Some(why),
            _ => None,
        })
    }

    /// Runs a script to its end, and acknowledges that.
    fn run(&mut self, service: &str, incarnation: u64, script: &str) -> Exit {
        self.launch(service, incarnation, script);
        let exit = self.exit_of(service);
        self.say(&[ack(service, incarnation)]);
        exit
    }

    /// Proof that the keeper has handled everything that was said, and is well.
    fn is_heard(&mut self) {
        self.say(&[forget("probe"), argv("probe", 1, &["/bin/true"], "/")]);
        assert_eq!(self.exit_of("probe"), Exit::Code(0));
        self.say(&[ack("probe", 1)]);
    }
}

fn keeper_command(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("be-keeper").arg(dir.join("sock"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn argv(service: &str, incarnation: u64, argv: &[&str], dir: &str) -> Request {
    Request::Launch(Box::new(Launch {
        service: service.to_owned(),
        incarnation,
        argv: argv.iter().map(|it| (*it).to_owned()).collect(),
        dir: dir.to_owned(),
        ..Launch::default()
    }))
}

fn sh(service: &str, incarnation: u64, script: &str) -> Request {
    argv(service, incarnation, &["/bin/sh", "-c", script], "/")
}

fn ack(service: &str, incarnation: u64) -> Request {
    Request::Ack { service: service.to_owned(), incarnation }
}

fn forget(service: &str) -> Request {
    Request::Forget { service: service.to_owned() }
}

fn note(service: &str, note: &str) -> Request {
    Request::Note { service: service.to_owned(), note: note.to_owned() }
}

fn signal(service: &str, incarnation: u64, signal: i32) -> Request {
    Request::Signal { service: service.to_owned(), incarnation, signal }
}

fn by_signal(signal: i32) -> Exit {
    Exit::Signal { signal, core: false }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Looks until there is something; for what sends no event.
fn patiently<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None if Instant::now() > end => panic!("it does not come about that {what}"),
            None => pause(),
        }
    }
}

fn await_input(fd: BorrowedFd<'_>, what: &str) {
    await_event(fd, PollFlags::POLLIN, what);
}

fn await_event(fd: BorrowedFd<'_>, event: PollFlags, what: &str) {
    let mut looks = [PollFd::new(fd, event)];
    let ready = poll(&mut looks, PollTimeout::from(PATIENCE.as_millis() as u16)).expect("poll");
    assert!(ready > 0, "it does not come about that {what}");
}

/// Reads from a service's pipe until it has said `text`, and returns all that it has said.
fn read_until(pipe: &OwnedFd, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        await_input(pipe.as_fd(), &format!("`{text}` is said after `{said}`"));
        let mut bytes = [0; 4096];
        let length = read(pipe, &mut bytes).expect("output");
        assert!(length > 0, "the pipe ended after `{said}`");
        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    said
}

fn read_pid(pipe: &OwnedFd) -> i32 {
    let said = read_until(pipe, "\n");
    said.trim().parse().unwrap_or_else(|_| panic!("no process id: `{said}`"))
}

fn alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

fn proc_file(pid: i32, name: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).expect("it lives");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status_of(pid: i32, field: &str) -> String {
    let status = proc_file(pid, "status");
    let line = status.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(":"));
    line.unwrap_or_else(|| panic!("no field {field}")).trim().to_owned()
}

fn exits_are_told_exactly() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    assert_eq!(brain.run("a", 1, "exit 0"), Exit::Code(0));
    assert_eq!(brain.run("a", 2, "exit 77"), Exit::Code(77));
    for (incarnation, number) in [(3, 15), (4, 9), (5, 40)] {
        let exit = brain.run("a", incarnation, &format!("kill -{number} $$"));
        assert_eq!(exit, by_signal(number));
    }
}

fn a_core_dump_is_told_as_one() {
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

fn a_launch_that_fails_names_its_step_and_errno() {
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
    assert_eq!(failure(1, &["/no/such"], "/"), failed("exec", enoent));
    assert_eq!(failure(2, &["no-such-program"], "/"), failed("exec", enoent));
    assert_eq!(failure(3, &["/etc/passwd"], "/"), failed("exec", eacces));
    assert_eq!(failure(4, &["/etc/passwd/x"], "/"), failed("exec", enotdir));
    assert_eq!(failure(5, &["/bin/true"], "/no/such"), failed("chdir", enoent));
    assert_eq!(failure(6, &["/bin/true"], "/etc/passwd"), failed("chdir", enotdir));
    assert_eq!(failure(7, &["/bin/true"], "/"), Exit::Code(0));
}

fn a_program_is_looked_up_in_the_childs_path() {
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
    assert_eq!(exit, Exit::Launch { step: "exec".to_owned(), errno: 2 });
}

fn a_child_begins_clean() {
    let mut world = World::serving();
    // Not a shell, which would change what it is asked about.
    world.brain.say(&[argv("a", 1, &["sleep", "1000"], "")]);
    let (pid, _) = world.brain.launched("a");
    world.brain.started("a");
    for field in ["SigIgn", "SigBlk", "SigCgt", "SigPnd", "ShdPnd"] {
        assert_eq!(status_of(pid, field), "0000000000000000", "{field}");
    }
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    let fds: BTreeSet<_> = fds.map(|it| it.expect("listed").file_name()).collect();
    assert_eq!(fds, ["0", "1", "2"].map(OsString::from).into());
    let link = |what: &str| std::fs::read_link(format!("/proc/{pid}/{what}")).expect("it lives");
    assert_eq!(link("fd/0").to_str(), Some("/dev/null"));
    assert_eq!(link("cwd").to_str(), Some("/"));
    let files = |pid: i32| {
        let limits = proc_file(pid, "limits");
        limits.lines().find(|it| it.starts_with("Max open files")).map(str::to_owned)
    };
    assert_eq!(files(pid), files(std::process::id() as i32), "the limit is not the original");
    let environ = proc_file(pid, "environ");
    assert!(!environ.contains("ZINIT_KEEPER"), "{environ}");
    assert_eq!(getpgid(Some(Pid::from_raw(pid))), Ok(Pid::from_raw(pid)));
    let session = |pid| getsid(Some(Pid::from_raw(pid)));
    assert_eq!(session(pid), session(world.keeper_pid()));
    assert_eq!(proc_file(world.keeper_pid(), "comm"), "zinit-keeper\n");
}

fn pipes_outlive_restarts_and_brains() {
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

fn a_new_brain_gets_the_table_with_what_nobody_acknowledged() {
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

fn a_second_launch_is_refused_while_the_first_lives_or_is_not_acknowledged() {
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

fn only_the_incarnation_that_is_meant_is_signalled() {
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

fn what_is_left_of_a_group_dies_with_its_leader_before_the_exit_is_told() {
    let mut world = World::serving();
    for incarnation in 1..20 {
        let script = "(trap '' TERM INT HUP; exec sleep 1000) & echo $!; exit";
        world.brain.launch("a", incarnation, &format!("{script} {incarnation}"));
        assert_eq!(world.brain.exit_of("a"), Exit::Code(incarnation as i32));
        let table = world.brain.greet();
        assert_eq!(table[0].0.pid, 0);
        let child = read_pid(&table[0].1[0]);
        assert!(!alive(child), "the child of incarnation {incarnation} outlived the exit");
        world.brain.say(&[ack("a", incarnation)]);
    }
}

fn orphans_are_reaped() {
    let mut world = World::serving();
    // A process of its own session, whose parents leave before it does.
    world.brain.launch("a", 1, "(setsid sh -c 'echo $$; exec sleep 0.3' &) ; sleep 0.1");
    let (_, pipes) = world.brain.launched("a");
    let orphan = read_pid(&pipes[0]);
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    patiently("the orphan is reaped", || (!alive(orphan)).then_some(()));
    world.brain.is_heard();
}

fn more_launches_than_places_all_run() {
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

fn a_launch_that_waits_can_be_signalled_and_forgotten() {
    let mut world = World::serving();
    // In one packet, so that nothing is forked before all of it is heard.
    let (cont, term) = (signal("a", 1, 18), signal("a", 1, 15));
    world.brain.say(&[sh("a", 1, "exit 1"), cont, term, sh("b", 1, "exit 1"), forget("b")]);
    let (service, incarnation, exit) = ("a".to_owned(), 1, by_signal(15));
    assert_eq!(world.brain.hear().0, Report::Exited { service, incarnation, exit });
    assert_eq!(world.replace_brain().len(), 1);
}

fn nonsense_is_survived() {
    let mut world = World::serving();
    let deep = "[".repeat(PACKET_MAX - 1);
    let long = format!(r#"{{"ask":"forget","service":"{}"}}"#, "x".repeat(100_000));
    let big = vec![b'x'; PACKET_MAX + 1];
    let packets: [&[u8]; 12] = [
        b"",
        b"\n\n\n",
        b"\0",
        b"\xff\xfe\xfd",
        b"{}",
        b"null\n[]\n1e999\n{\"ask\":3}",
        br#"{"ask":"launch"}"#,
        br#"{"ask":"launch","service":"","incarnation":1,"argv":["true"]}"#,
        br#"{"ask":"from the future","service":["a"],"x":{"y":1}}"#,
        deep.as_bytes(),
        long.as_bytes(),
        &big,
    ];
    for packet in packets {
        assert!(world.brain.say_raw(packet));
    }
    world.brain.say(&[note("a", &"x".repeat(NOTE_MAX + 1))]);
    let null = std::fs::File::open("/dev/null").expect("it is there");
    packet::send(world.brain.link.as_fd(), b"{}", &vec![null.as_fd(); 128]).expect("sent");
    // Good lines beside bad ones count.
    let line = serde_json::to_string(&argv("ok", 1, &["/bin/true"], "/")).expect("JSON");
    assert!(world.brain.say_raw(format!("nonsense\n{line}\n\u{7}").as_bytes()));
    assert_eq!(world.brain.exit_of("ok"), Exit::Code(0));
    let fds = std::fs::read_dir(format!("/proc/{}/fd", world.keeper_pid())).expect("it lives");
    assert!(fds.count() < 300, "descriptors that the brain sent are closed");
    // There is a most of services.
    for batch in 0..40 {
        let notes = (0..500).map(|index| note(&format!("s{batch}.{index}"), ""));
        world.brain.say(&notes.collect::<Vec<_>>());
    }
    assert_eq!(world.brain.greet().len(), 16 * 1024);
    world.brain.launch("one too many", 1, "exit 0");
    assert!(world.brain.refusal_of("one too many").contains("as many services as it can"));
}

fn mutated_requests_are_survived() {
    let mut world = World::serving();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // No `farewell`: its mutants would end the keeper, and rightly so.
    let seeds = [
        argv("f", 1, &["/bin/true"], "/"),
        signal("f", 1, 9),
        ack("f", 1),
        note("f", "n"),
        forget("f"),
        Request::Serving,
    ];
    let lines = seeds.map(|it| serde_json::to_string(&it).expect("JSON").into_bytes());
    let spice = b"\"{}[]:,\\0-9e.\n\0\xff";
    for _ in 0..3000 {
        let mut packet = Vec::new();
        for _ in 0..=random(3) {
            let mut line = lines[random(lines.len())].clone();
            for _ in 0..random(4) {
                let at = random(line.len());
                match random(4) {
                    0 => line[at] = spice[random(spice.len())],
                    1 => line[at] ^= 1 << random(8),
                    2 => line.truncate(at.max(1)),
                    _ => line.insert(at, spice[random(spice.len())]),
                }
            }
            packet.append(&mut line);
            packet.push(b'\n');
        }
        assert!(world.brain.say_raw(&packet));
    }
    world.brain.is_heard();
}

fn a_brain_that_does_not_read_hears_everything_later() {
    const COUNT: usize = 50;
    let mut world = World::serving();
    for index in 0..COUNT {
        let name = format!("a-service-with-quite-a-long-name-to-fill-packets-{index}");
        world.brain.launch(&name, 1, "exit 0");
        for incarnation in 2..40 {
            world.brain.launch(&name, incarnation, "exit 0"); // Refused, and so much for that.
        }
    }
    let mut exits = 0;
    while exits < COUNT {
        exits += usize::from(matches!(world.brain.hear().0, Report::Exited { .. }));
    }
    world.brain.is_heard();
}

fn signals_to_the_keeper_reach_the_brain() {
    let mut world = World::serving();
    for sent in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT] {
        world.signal_keeper(sent);
        assert_eq!(world.brain.hear().0, Report::Signalled { signal: sent as i32 });
    }
    // SIGUSR1 was the brain's to act on: it ends by itself, and then there is another.
    world.brain.control.write_all(&[0]).expect("it lives");
    world.next_brain();
}

fn sigterm_is_told_to_the_next_brain_too() {
    let mut world = World::serving();
    world.signal_keeper(Signal::SIGTERM);
    assert_eq!(world.brain.hear().0, Report::Signalled { signal: 15 });
    world.replace_brain();
    assert_eq!(world.brain.hear().0, Report::Signalled { signal: 15 });
}

fn a_brain_that_closes_its_socket_is_replaced() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    let old = world.brain.pid;
    world.brain.link = packet::pair().expect("a pair").0;
    let table = world.next_brain();
    assert_eq!(table[0].0.pid, pid);
    assert!(!alive(old));
}

fn what_a_dead_brain_has_said_still_counts() {
    let mut world = World::serving();
    // The keeper is stopped while the brain speaks, reads nothing, and dies.
    world.brain.launch("a", 1, "exit 1");
    assert_eq!(world.brain.exit_of("a"), Exit::Code(1));
    world.brain.say(&[note("b", "unread")]);
    world.brain.is_heard();
    world.signal_keeper(Signal::SIGSTOP);
    patiently("it stops", || status_of(world.keeper_pid(), "State").starts_with('T').then_some(()));
    world.brain.say(&[ack("a", 1), note("a", "last words"), sh("a", 2, "exec sleep 1000")]);
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("the brain lives");
    world.brain.link = packet::pair().expect("a pair").0;
    world.signal_keeper(Signal::SIGCONT);
    let table = world.next_brain();
    let slot = &table[0].0;
    assert_eq!((&*slot.note, slot.incarnation, &slot.exit), ("last words", 2, &None));
    assert!(alive(slot.pid));
}

fn farewell_ends_the_keeper_with_the_code() {
    let mut world = World::serving();
    world.brain.say(&[Request::Farewell { code: 5 }, sh("a", 1, "exec sleep 1000")]);
    world.brain.control.write_all(&[9]).expect("it lives");
    assert_eq!(world.ends(), Some(5));
}

fn farewell_kills_what_the_brain_forgot() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.say(&[Request::Farewell { code: 0 }]);
    world.brain.control.write_all(&[0]).expect("it lives");
    assert_eq!(world.ends(), Some(0));
    assert!(!alive(pid));
}

fn a_first_brain_that_never_serves_ends_the_keeper() {
    let mut world = World::new();
    world.brain.greet();
    world.brain.control.write_all(&[3]).expect("it lives");
    assert_eq!(world.ends(), Some(3));
    // But not while a service runs.
    let mut world = World::new();
    world.brain.greet();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.control.write_all(&[3]).expect("it lives");
    assert_eq!(world.next_brain()[0].0.pid, pid);
}

fn a_brain_that_cannot_be_run_ends_the_keeper() {
    let mut command = keeper_command(&std::env::temp_dir());
    let output = command.arg("/no/such/brain").stderr(Stdio::piped()).output();
    let output = output.expect("the keeper starts");
    assert_eq!(output.status.code(), Some(127));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot run `/no/such/brain`: exec: No such file"), "{said}");
}

fn the_first_serving_makes_ready() {
    let mut world = World::new();
    world.keeper.kill().expect("it lives");
    world.keeper.wait().expect("it is ours");
    let mut command = keeper_command(&world.dir);
    world.keeper = command.stdout(Stdio::piped()).spawn().expect("the keeper starts");
    world.brain = Brain::accept(&world.listener);
    world.brain.greet();
    let mut stdout = world.keeper.stdout.take().expect("it is a pipe");
    world.brain.say(&[Request::Serving, Request::Serving]);
    let mut byte = [0];
    stdout.read_exact(&mut byte).expect("ready is told");
    assert_eq!(&byte, b"\n");
}

fn a_keeper_with_nothing_to_do_does_nothing() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    world.brain.started("a");
    let asleep = || status_of(world.keeper_pid(), "State").starts_with('S').then_some(());
    patiently("it sleeps", asleep);
    let switches = || status_of(world.keeper_pid(), "voluntary_ctxt_switches");
    let before = switches();
    std::thread::sleep(Duration::from_millis(300)); // Longer than any alarm that it may have set.
    assert_eq!(switches(), before);
}

//! The keeper with real processes. The tests are the brain: a stub process hands its end of the
//! keeper's socket over to them.
//!
//! This program plays all parts, so it has its own small runner: `keeper [FILTER]` runs the tests,
//! `keeper be-keeper PATH`, `keeper be-brain PATH` and `keeper be-notifier TEXT` are what they start.

#![expect(clippy::disallowed_methods, reason = "tests make processes, and give up after a time")]

mod brains;
mod children;
mod ready;
mod rights;
mod stop;
mod streams;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
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
    Exit, Launch, NOTE_MAX, Output, PACKET_MAX, Ready, Report, Request, Slot, Then, VERSION,
};

/// A test that waits longer than this for something has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Test = (&'static str, fn());

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($name), $module::$name)),*];
    };
}

tests![
    children::exits_are_told_exactly,
    children::a_core_dump_is_told_as_one,
    children::a_launch_that_fails_names_its_step_and_errno,
    children::a_program_is_looked_up_in_the_childs_path,
    children::a_child_begins_clean,
    children::pipes_outlive_restarts_and_brains,
    children::a_new_brain_gets_the_table_with_what_nobody_acknowledged,
    children::a_second_launch_is_refused_while_the_first_lives_or_is_not_acknowledged,
    children::only_the_incarnation_that_is_meant_is_signalled,
    children::orphans_are_reaped,
    children::more_launches_than_places_all_run,
    children::a_launch_that_waits_can_be_signalled_and_forgotten,
    streams::a_service_outlives_keeper_and_brain_and_what_it_writes_is_kept,
    streams::what_one_service_writes_is_read_by_another_over_restarts_of_either,
    streams::a_slot_that_is_only_written_to_is_told_to_nobody_and_forgotten_with_its_pipe,
    streams::what_is_written_while_its_reader_is_forgotten_is_for_the_next_of_that_name,
    streams::what_nobody_can_read_is_refused,
    streams::the_flags_of_one_writer_are_not_those_of_another,
    streams::a_command_may_write_to_the_output_of_a_service,
    stop::a_child_in_the_group_that_ignores_sigterm_does_not_survive,
    stop::a_child_in_a_session_of_its_own_does_not_survive,
    stop::a_daemon_whose_parents_are_gone_does_not_survive,
    stop::a_child_with_an_empty_environment_does_not_survive,
    stop::a_fork_bomb_does_not_survive,
    stop::what_makes_more_of_itself_does_not_survive,
    stop::every_process_gets_a_signal_once,
    stop::what_outlives_its_leader_is_told_and_the_exit_waits_for_it,
    stop::a_daemon_that_ends_by_itself_ends_its_incarnation,
    stop::a_brain_that_dies_between_died_and_exited_is_told_by_the_table,
    stop::one_service_is_never_signalled_for_another,
    stop::a_farewell_leaves_nobody_and_no_cgroup,
    stop::a_service_has_a_cgroup_of_its_own_until_it_is_forgotten,
    stop::a_killed_keepers_cgroups_are_removed_by_the_next_one,
    rights::a_user_its_group_and_its_other_groups_are_those_of_the_child,
    rights::a_directory_that_only_root_may_enter_is_refused_to_a_user,
    rights::what_a_child_may_use_is_what_was_asked_for_and_the_keepers_is_not_changed,
    rights::what_the_kernel_refuses_is_told_by_its_step,
    rights::a_limit_of_a_cgroup_that_cannot_be_set_does_not_prevent_the_launch,
    ready::a_datagram_arrives_with_its_senders_credentials,
    ready::what_is_said_while_there_is_no_brain_is_heard_by_the_next,
    ready::a_line_arrives_by_whichever_descriptor_was_chosen,
    ready::the_standard_descriptors_are_not_for_readiness,
    ready::a_failed_exec_is_told_whichever_descriptor_was_chosen,
    brains::nonsense_is_survived,
    brains::mutated_requests_are_survived,
    brains::a_brain_that_does_not_read_hears_everything_later,
    brains::signals_to_the_keeper_reach_the_brain,
    brains::sigterm_is_told_to_the_next_brain_too,
    brains::each_sigterm_is_told_and_the_next_brain_knows_that_it_is_urgent,
    brains::a_brain_that_closes_its_socket_is_replaced,
    brains::what_a_dead_brain_has_said_still_counts,
    brains::farewell_ends_the_keeper_with_the_code,
    brains::only_the_first_process_of_a_machine_can_switch_it_off,
    brains::farewell_kills_what_the_brain_forgot,
    brains::a_first_brain_that_never_serves_ends_the_keeper,
    brains::a_brain_that_cannot_be_run_ends_the_keeper,
    brains::a_keeper_that_is_asked_to_end_does_so_without_a_brain_that_can_begin,
    brains::a_keeper_that_ends_without_a_brain_can_be_told_to_hurry,
    brains::a_brain_that_fails_whenever_it_is_told_to_end_does_not_keep_the_keeper,
    brains::the_first_serving_makes_ready,
    brains::a_keeper_with_nothing_to_do_does_nothing,
];

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    match first.to_str() {
        Some("be-keeper") => be_keeper(&args.collect::<Vec<_>>()),
        Some("be-brain") => be_brain(args.next().expect("the path of the tests' socket")),
        Some("be-notifier") => be_notifier(&args.next().expect("what to say")),
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

/// Says something by the notify socket, and lives on.
fn be_notifier(text: &OsString) -> ExitCode {
    let name = std::env::var("NOTIFY_SOCKET").expect("the keeper sets it");
    let name = name.strip_prefix('@').expect("an abstract name");
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.send_to_addr(text.as_encoded_bytes(), &address).expect("the keeper listens");
    loop {
        std::thread::park();
    }
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
    /// Where the keeper says that the services' cgroups are.
    cgroup: String,
    /// Reports that were received and not looked at yet, each with the descriptors that came with it.
    heard: VecDeque<(Report, Vec<OwnedFd>)>,
}

impl World {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(env: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zinit-keeper-test-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let listener = UnixListener::bind(dir.join("sock")).expect("a socket");
        let keeper =
            keeper_command(&dir).envs(env.iter().copied()).spawn().expect("the keeper starts");
        let brain = Brain::accept(&listener);
        Self { keeper, listener, dir, brain }
    }

    /// A keeper whose first brain has said `Hello` and serves.
    fn serving() -> Self {
        Self::new().served()
    }

    /// The same with a variable in its environment.
    fn serving_with(variable: (&str, &str)) -> Self {
        Self::with(&[variable]).served()
    }

    fn served(mut self) -> Self {
        self.brain.greet();
        self.brain.say(&[Request::Serving]);
        self
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
            self.brain.say_if_possible(&[Request::Farewell { code: 0, then: Then::Exit }]);
            let _ = self.brain.control.write_all(&[0]);
            let end = Instant::now() + PATIENCE;
            while lives(&mut self.keeper) && Instant::now() < end {
                std::thread::park_timeout(Duration::from_millis(2));
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
        Self { control, link: fds.remove(0), pid, cgroup: String::new(), heard: VecDeque::new() }
    }

    /// Says `Hello` and takes the table.
    fn greet(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.say(&[Request::Hello { version: VERSION, ledger: String::new() }]);
        let (slots, cgroup) = self.hear_until(|report, _| match report {
            Report::Welcome { version: VERSION, slots, cgroup, .. } => Some((slots, cgroup)),
            _ => None,
        });
        self.cgroup = cgroup;
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
            let (pipes, ready) = match &report {
                Report::Launched { pipes, ready, .. } => (*pipes, *ready),
                Report::Slot(slot) => (slot.pipes, slot.ready),
                _ => (false, false),
            };
            let count = if pipes { 2 } else { 0 } + usize::from(ready);
            self.heard.push_back((report, fds.drain(..count).collect()));
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
    Request::Note { service: service.to_owned(), note: note.to_owned(), config: None }
}

fn signal(service: &str, incarnation: u64, signal: i32) -> Request {
    Request::Signal { service: service.to_owned(), incarnation, signal }
}

fn by_signal(signal: i32) -> Exit {
    Exit::Signal { signal, core: false }
}

/// Looks until there is something; for what sends no event.
fn patiently<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None if Instant::now() > end => panic!("it does not come about that {what}"),
            None => std::thread::park_timeout(Duration::from_millis(2)),
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

//! The keeper with real processes. The tests are the brain: a stub process hands its end of the
//! keeper's socket over to them.
//!
//! This program plays all parts, so it has its own small runner: `keeper [FILTER]` runs the tests,
//! `keeper be-keeper PATH`, `keeper be-brain PATH` and `keeper be-notifier TEXT` are what they start.

#![expect(clippy::disallowed_methods, reason = "tests make processes, and give up after a time")]

mod brains;
mod children;
mod held;
mod ready;
mod rights;
mod stop;
mod streams;
mod takeover;
mod world;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Pid, getpgid, getsid, read};
use world::{Brain, World};
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
    takeover::a_keeper_takes_over_what_a_killed_one_has_left,
    takeover::what_ended_while_nobody_kept_is_told_as_far_as_it_is_known,
    takeover::a_stranger_with_the_number_of_a_service_is_left_alone,
    takeover::a_process_that_nobody_wrote_down_but_itself_is_found_by_its_mark,
    takeover::without_cgroups_all_of_an_adopted_service_is_stopped,
    takeover::readiness_is_heard_after_a_takeover,
    takeover::a_keeper_begins_anew_in_place,
    takeover::a_program_that_is_gone_or_broken_does_not_replace_the_keeper,
    takeover::a_program_that_cannot_read_what_it_is_left_begins_the_one_before_again,
    takeover::what_a_keeper_cannot_read_is_not_taken_for_nothing,
    takeover::who_was_known_before_a_new_beginning_is_known_after_it,
    takeover::a_ledger_that_cannot_be_written_stops_nothing,
    held::what_is_held_is_told_to_each_brain_in_its_order_until_it_is_dropped,
    held::what_is_dropped_is_closed,
    held::a_brain_that_does_not_know_of_it_is_told_nothing,
    held::descriptors_never_become_those_of_another_request,
    held::more_than_fits_a_packet_is_told_in_several,
    held::news_wait_until_what_is_held_is_told,
    held::what_is_held_stays_when_the_keeper_begins_anew,
    held::a_process_gets_what_is_held_from_descriptor_3_on,
    held::as_many_sockets_as_there_can_be_are_given_beside_readiness,
    held::a_launch_is_refused_whose_sockets_are_not_there,
    held::a_client_that_comes_while_nobody_runs_is_served_by_the_next_process,
    held::a_brain_that_becomes_the_keeper_holds_what_it_has_given,
    held::what_a_service_has_of_a_dead_keeper_is_held_again,
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
        ledger: Some(PathBuf::from(&args[0]).with_extension("ledger")),
    });
    ExitCode::from(code as u8)
}

/// Gives its socket to the tests, and ends with the code that they send; with this one it becomes the
/// keeper, which is dead, and has what came with it.
const HEIR: u8 = 255;

fn be_brain(path: OsString) -> ExitCode {
    let link = packet::inherited().expect("the keeper leaves a socket");
    let control = UnixStream::connect(&path).expect("the tests listen");
    packet::send(control.as_fd(), b"x", &[link.as_fd()]).expect("the tests take the socket");
    drop(link);
    poll(&mut [PollFd::new(control.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("poll");
    let (mut code, mut fds) = ([0], Vec::new());
    let got = packet::receive(control.as_fd(), &mut code, &mut fds).expect("a code");
    assert_eq!(got, Heard::Packet(1), "the tests say how to end");
    if code[0] == HEIR { inherit(&path) } else { ExitCode::from(code[0]) }
}

fn inherit(path: &OsStr) -> ExitCode {
    zinit_keeper::leave_what_can_be_told(&Path::new(path).with_extension("ledger"));
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    let error = command.arg("be-keeper").arg(path).env(zinit_keeper::HEIR_ENV, "1").exec();
    panic!("it cannot begin: {error}");
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

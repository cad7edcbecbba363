//! How a service says that it is ready, and that nothing which it says is lost.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};

use crate::*;

fn launch(service: &str, incarnation: u64, program: &[&str], ready: Ready) -> Request {
    Request::Launch(Box::new(Launch {
        service: service.to_owned(),
        incarnation,
        argv: program.iter().map(|it| (*it).to_owned()).collect(),
        output: Output::Null,
        ready,
        ..Launch::default()
    }))
}

/// A service that says this by its notify socket.
fn notifier(incarnation: u64, text: &str) -> Request {
    let itself = std::env::current_exe().expect("this program has a path");
    let itself = itself.to_str().expect("a path in UTF-8");
    launch("a", incarnation, &[itself, "be-notifier", text], Ready::Notify)
}

/// The next datagram, and who has sent it.
fn heard(socket: &OwnedFd) -> (String, i32) {
    await_input(socket.as_fd(), "the service says something");
    let mut bytes = [0; 4096];
    let mut space = nix::cmsg_space!(UnixCredentials, i32);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
    let got = got.expect("a datagram");
    let sender = got.cmsgs().expect("whole").find_map(|it| match it {
        ControlMessageOwned::ScmCredentials(it) => Some(it.pid()),
        _ => None,
    });
    let (length, sender) = (got.bytes, sender.expect("credentials"));
    (String::from_utf8_lossy(&bytes[..length]).into_owned(), sender)
}

pub(crate) fn a_datagram_arrives_with_its_senders_credentials() {
    let mut world = World::serving();
    world.brain.say(&[notifier(1, "READY=1\nSTATUS=fine")]);
    let (pid, fds) = world.brain.launched("a");
    assert_eq!(heard(&fds[0]), ("READY=1\nSTATUS=fine".to_owned(), pid));
    // The next incarnation has another one, and the name of the first is free.
    let name = |pid| {
        let environ = proc_file(pid, "environ");
        let name = environ.split('\0').find_map(|it| it.strip_prefix("NOTIFY_SOCKET="));
        name.expect("the variable").to_owned()
    };
    let first = name(pid);
    world.brain.say(&[signal("a", 1, 9)]);
    world.brain.exit_of("a");
    world.brain.say(&[ack("a", 1), notifier(2, "READY=1")]);
    let (pid, fds) = world.brain.launched("a");
    assert_eq!(heard(&fds[0]), ("READY=1".to_owned(), pid));
    assert_ne!(name(pid), first);
}

pub(crate) fn what_is_said_while_there_is_no_brain_is_heard_by_the_next() {
    let mut world = World::serving();
    world.brain.say(&[notifier(1, "READY=1")]);
    let (pid, fds) = world.brain.launched("a");
    await_input(fds[0].as_fd(), "the service says something");
    drop(fds);
    let table = world.replace_brain();
    let (slot, fds) = &table[0];
    assert_eq!((slot.ready, slot.pipes, fds.len()), (true, false, 1));
    assert_eq!(heard(&fds[0]), ("READY=1".to_owned(), pid));
    world.brain.say(&[signal("a", 1, 9)]);
    world.brain.exit_of("a");
    let (slot, fds) = &world.replace_brain()[0];
    assert_eq!((slot.ready, fds.len()), (false, 0), "it ends with the incarnation");
}

pub(crate) fn a_line_arrives_by_whichever_descriptor_was_chosen() {
    let mut world = World::serving();
    // Among them all that the keeper may use itself on the way.
    for number in (3..140).chain([1000]) {
        let incarnation = number as u64;
        let script = format!("echo up > /proc/self/fd/{number}; exec sleep 1000");
        let ready = Ready::Fd(number);
        world.brain.say(&[launch("a", incarnation, &["/bin/sh", "-c", &script], ready)]);
        let (_, fds) = world.brain.launched("a");
        assert_eq!(read_until(&fds[0], "\n"), "up\n");
        world.brain.say(&[signal("a", incarnation, 9)]);
        assert_eq!(world.brain.exit_of("a"), by_signal(9), "by descriptor {number}");
        let mut end = [0];
        assert_eq!(read(&fds[0], &mut end), Ok(0), "nobody else holds {number}");
        world.brain.say(&[ack("a", incarnation)]);
    }
}

pub(crate) fn the_standard_descriptors_are_not_for_readiness() {
    let mut world = World::serving();
    for (index, number) in [2, 0, -1, i32::MIN].into_iter().enumerate() {
        world.brain.say(&[launch("a", index as u64 + 1, &["true"], Ready::Fd(number))]);
        assert!(world.brain.refusal_of("a").contains("below 3"));
    }
}

pub(crate) fn a_failed_exec_is_told_whichever_descriptor_was_chosen() {
    let mut world = World::serving();
    for number in 3..140 {
        world.brain.say(&[launch("a", number as u64, &["/no/such"], Ready::Fd(number))]);
        let exit = world.brain.exit_of("a");
        assert_eq!(exit, Exit::Launch { step: "exec /no/such".to_owned(), errno: 2 });
        world.brain.say(&[ack("a", number as u64)]);
    }
}

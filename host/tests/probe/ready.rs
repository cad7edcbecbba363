//! What processes say of themselves, and who may say it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe;
use zinit_host::event::Happening;
use zinit_host::probe::{Membership, News};
use zinit_keeper::wire::Ready;

use crate::children::{Actor, barrier, say};
use crate::world::{World, name};

/// A notify socket as the keeper makes it, and its abstract name.
fn notify_socket() -> (OwnedFd, String) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("zinit-probe-test-{}-{count}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    setsockopt(&socket, sockopt::PassCred, &true).unwrap();
    // An older kernel has no pidfds here.
    let _ = pass_pidfd(&socket);
    (socket.into(), name)
}

#[expect(unsafe_code, reason = "nix does not know this option")]
fn pass_pidfd(socket: &UnixDatagram) -> nix::Result<i32> {
    const SO_PASSPIDFD: i32 = 76;
    let yes: i32 = 1;
    // SAFETY: the option is a number of this size.
    let set = unsafe {
        let fd = socket.as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const yes).cast(), 4)
    };
    Errno::result(set)
}

fn of_pid(pid: i32) -> Membership {
    Membership { cgroup: None, pid }
}

fn own_pid() -> i32 {
    std::process::id().try_into().unwrap()
}

impl World {
    fn listen(&self, socket: OwnedFd, members: Membership) {
        self.prober.listen(&name("web"), 5, Ready::Notify, socket, members);
    }
}

fn ready() -> News {
    News::Happened(name("web"), Happening::Ready { incarnation: 5 })
}

fn said(status: &str) -> News {
    News::Happened(name("web"), Happening::Said { incarnation: 5, status: status.to_owned() })
}

fn pinged() -> News {
    News::Happened(name("web"), Happening::Pinged { incarnation: 5 })
}

#[test]
fn the_main_process_is_ready_once_says_how_it_is_and_is_alive() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    world.listen(socket, of_pid(own_pid()));
    say(&at, "STATUS=warm\x07ing up\nMAINPID=1\nRELOADING=1\nREADY=1\nSTOPPING=1\n");
    assert_eq!([world.next(), world.next()], [ready(), said("warming up")]);
    say(&at, "READY=1\nWATCHDOG=1");
    assert_eq!(world.next(), pinged());
    barrier(&at);
    assert!(world.news.try_recv().is_err());
}

#[test]
fn a_flood_of_words_becomes_a_few_and_the_last_one_counts() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    world.listen(socket, of_pid(own_pid()));
    for count in 0..5_000 {
        say(&at, &format!("WATCHDOG=1\nSTATUS={count}\nREADY=1"));
    }
    let mut news = Vec::new();
    while news.last() != Some(&said("4999")) {
        news.push(world.next());
    }
    assert!(news.contains(&pinged()));
    assert_eq!(news.iter().filter(|it| **it == ready()).count(), 1);
    // Sending them may take seconds on a busy machine, but each costs microseconds.
    assert!(news.len() < 500, "{}", news.len());
}

#[test]
fn a_text_that_is_too_long_is_dropped_and_the_next_is_heard() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    world.listen(socket, of_pid(own_pid()));
    say(&at, &format!("READY=1\nSTATUS={}", "x".repeat(5_000)));
    say(&at, "STATUS=short");
    assert_eq!(world.next(), said("short"));
}

#[test]
fn a_stranger_is_not_heard() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    let main = Actor::start("waits");
    world.listen(socket, of_pid(main.pid()));
    say(&at, "READY=1\nSTATUS=hacked\nWATCHDOG=1");
    barrier(&at);
    assert!(world.news.try_recv().is_err());
}

#[test]
fn without_a_cgroup_the_descendants_of_the_main_process_are_heard() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    let mut main = Actor::start(&format!("has-it-heard {at} READY=1"));
    world.listen(socket, of_pid(main.pid()));
    main.go_on();
    assert_eq!(world.next(), ready());
}

/// A cgroup for a test, if this machine lets us have one.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(word: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find(|it| it.starts_with("cgroup2 "))?;
        let dir = format!("zinit-probe-test-{}-{word}", std::process::id());
        let made = Self(PathBuf::from(mount.split(' ').nth(1)?).join(dir));
        fs::create_dir(&made.0).ok()?;
        made.0.join("cgroup.procs").exists().then_some(made)
    }

    fn take(&self, actor: &Actor) {
        fs::write(self.0.join("cgroup.procs"), actor.pid().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("below"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn in_a_cgroup_everybody_is_heard_even_the_dead_and_nobody_else() {
    let Some(cgroup) = Cgroup::make("members") else {
        return eprintln!("left out: no cgroup can be made here");
    };
    let (world, (socket, at)) = (World::new(), notify_socket());
    let mut dead = Actor::start(&format!("says {at} STATUS=dead"));
    cgroup.take(&dead);
    assert!(dead.end().success());
    let main = Actor::start("waits");
    world.listen(socket, Membership { cgroup: Some(cgroup.0.clone()), pid: main.pid() });
    assert_eq!(world.next(), said("dead"));
    let below = Cgroup(cgroup.0.join("below"));
    fs::create_dir(&below.0).unwrap();
    let mut living = Actor::start(&format!("is-heard {at} READY=1"));
    below.take(&living);
    living.go_on();
    assert_eq!(world.next(), ready());
    living.wait();
    // A child of the main process that has left the cgroup is as strange as anybody.
    say(&at, "WATCHDOG=1");
    barrier(&at);
    assert!(world.news.try_recv().is_err());
}

#[test]
fn a_line_on_the_ready_descriptor_counts_once_and_its_end_without_one_does_not() {
    let world = World::new();
    let (read, write) = pipe().unwrap();
    world.prober.listen(&name("gone"), 4, Ready::Fd(3), read, of_pid(own_pid()));
    File::from(write).write_all(b"no line").unwrap();
    let (read, write) = pipe().unwrap();
    world.prober.listen(&name("web"), 5, Ready::Fd(3), read, of_pid(own_pid()));
    let mut write = File::from(write);
    write.write_all(b"re").unwrap();
    write.write_all(b"ady\nmore\n").unwrap();
    assert_eq!(world.next(), ready());
    // Nobody reads there any more.
    let patience = PollTimeout::from(30_000_u16);
    let mut fds = [PollFd::new(write.as_fd(), PollFlags::empty())];
    assert_eq!(poll(&mut fds, patience), Ok(1));
    assert!(world.news.recv_timeout(Duration::from_millis(1)).is_err());
}

#[test]
fn a_forgotten_service_is_not_heard() {
    let (world, (socket, at)) = (World::new(), notify_socket());
    world.listen(socket, of_pid(own_pid()));
    say(&at, "WATCHDOG=1");
    assert_eq!(world.next(), pinged());
    world.prober.forget(&name("web"));
    let gone = || {
        let address = SocketAddr::from_abstract_name(&at).unwrap();
        UnixDatagram::unbound().unwrap().send_to_addr(b"READY=1", &address).is_err()
    };
    let deadline = zinit_host::interrupt::Deadline::within(Duration::from_secs(30));
    while !gone() {
        assert!(!deadline.has_passed());
        std::thread::yield_now();
    }
    let left: Vec<_> = world.news.try_iter().collect();
    assert!(!left.contains(&pinged()), "{left:?}");
}

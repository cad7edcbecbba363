//! The processes of one home: all that have its `ZINIT_HOME` in their environment.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// A process that stays the same one, whoever gets its number.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// Its number, while it lives.
    pub(crate) pid: i32,
    fd: OwnedFd,
}

impl Pinned {
    /// The process that has this number now.
    #[expect(unsafe_code, reason = "there is no other way to ask for a pidfd")]
    pub(crate) fn open(pid: i32) -> Option<Self> {
        // SAFETY: the call takes two numbers and returns a descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).ok().filter(|it| *it >= 0)?;
        // SAFETY: it is new, and nobody else's.
        Some(Self { pid, fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Kills it, if it lives.
    #[expect(unsafe_code, reason = "there is no other way to signal by a pidfd")]
    pub(crate) fn kill(&self) {
        let (fd, signal) = (self.fd.as_raw_fd(), Signal::SIGKILL as i32);
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and there is no information to read.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
    }

    /// Waits until it is gone; false when it is not by then.
    pub(crate) fn is_gone_within(&self, limit_ms: u16) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(limit_ms)).is_ok_and(|it| it > 0)
    }
}

/// The numbers of the processes of this home.
pub(crate) fn marked(home: &Path) -> Vec<i32> {
    pids().filter(|it| is_marked(*it, home)).collect()
}

/// Kills all processes of a home, and those that they have made meanwhile.
pub(crate) fn kill_marked(home: &Path) {
    for _ in 0..100 {
        let left: Vec<Pinned> =
            pids().filter_map(Pinned::open).filter(|it| is_marked(it.pid, home)).collect();
        if left.is_empty() {
            return;
        }
        left.iter().for_each(Pinned::kill);
        left.iter().for_each(|it| _ = it.is_gone_within(1000));
    }
}

/// The processes of a home that are called so, without those that they are just launching.
pub(crate) fn named(home: &Path, name: &str) -> Vec<Pinned> {
    let called = pids().filter(|it| comm(*it) == name).filter_map(Pinned::open);
    called.filter(|it| is_marked(it.pid, home) && comm(parent(it.pid)) != name).collect()
}

/// What a process is called.
pub(crate) fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind = stat.rsplit_once(") ").map_or("", |it| it.1);
    behind.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default()
}

fn pids() -> impl Iterator<Item = i32> {
    let listed = fs::read_dir("/proc").expect("there is a /proc").flatten();
    listed.filter_map(|it| it.file_name().to_str()?.parse().ok())
}

/// Whether it lives and belongs to this home; the environment of the dead is empty.
pub(crate) fn is_marked(pid: i32, home: &Path) -> bool {
    let mark = format!("ZINIT_HOME={}", home.display());
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|it| *it == 0).any(|it| it == mark.as_bytes())
}

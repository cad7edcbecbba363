//! Who a process is, whoever has its number later; and how one ended that is not our child.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};

use crate::proc::{exit_status, stat};
use crate::reap;
use crate::wire::Exit;

/// The file system of pidfds, from Linux 6.9 on: each process has an inode there, whose number is
/// never another's before the next boot.
const PIDFS: libc::c_long = 0x5049_4446;

/// What names a process on this boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    /// The number of its inode among the pidfds, which is also its file handle there.
    Inode(u64),
    /// When it began, in ticks since boot: with its number it names nobody else.
    Began(u64),
}

impl Who {
    /// Who this is, if it is alive or was not reaped yet.
    pub(crate) fn of(pidfd: &OwnedFd, pid: i32) -> Option<Self> {
        static KNOWS_INODES: OnceLock<bool> = OnceLock::new();
        match KNOWS_INODES.get_or_init(|| inode(pidfd).is_some()) {
            true => fstat(pidfd).ok().map(|it| Self::Inode(it.st_ino)),
            false => stat(pid).map(|it| Self::Began(it.start)),
        }
    }

    /// The process itself, if it still is who has this number.
    pub(crate) fn find(self, pid: i32) -> Option<OwnedFd> {
        let pidfd = reap::pidfd_of(pid).ok()?;
        // Looked at after it was opened: who is the same now was the same then.
        let same = match self {
            Self::Inode(number) => inode(&pidfd) == Some(number),
            Self::Began(ticks) => stat(pid).is_some_and(|it| it.start == ticks),
        };
        same.then_some(pidfd)
    }
}

/// The number by which a pidfd is known, where each process has one of its own.
pub(crate) fn inode(pidfd: &OwnedFd) -> Option<u64> {
    let own = fstatfs(pidfd).is_ok_and(|it| it.filesystem_type().0 == PIDFS);
    own.then(|| fstat(pidfd).ok().map(|it| it.st_ino)).flatten()
}

/// Whether a process has ended, reaped or not.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut looks = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut looks, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// How a process ended that somebody else reaps: as the kernel tells it afterwards (Linux 6.15), or as
/// `/proc` does while it is a zombie, where we may look.
pub(crate) fn end_of(pidfd: &OwnedFd, pid: i32) -> Exit {
    let told = told_status(pidfd).or_else(|| {
        // As long as it is not reaped, nobody else has its number.
        let seen = exit_status(pid).filter(|_| is_unreaped(pidfd));
        seen.or_else(|| told_status(pidfd))
    });
    told.map_or(Exit::Unknown, from_status)
}

/// Whether the process can still be signalled, be it as a zombie.
#[expect(unsafe_code, reason = "pidfd_send_signal has no wrapper")]
pub(crate) fn is_unreaped(pidfd: &OwnedFd) -> bool {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: signal 0 only looks; a null siginfo means that the kernel fills one in.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, none, 0) == 0 }
}

/// `struct pidfd_info` of the kernel, as it was first.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    numbers: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
const GET_INFO: u64 = 0xc000_0000 | (size_of::<Info>() as u64) << 16 | 0xff << 8 | 11;

/// What of it is asked for, and was there.
const INFO_EXIT: u64 = 1 << 3;

/// The status that a reaped process has left.
#[expect(unsafe_code, reason = "an ioctl that nix does not know")]
fn told_status(pidfd: &OwnedFd) -> Option<i32> {
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the kernel writes as many bytes as the request's number says, which is its size.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    Errno::result(done).ok()?;
    (info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

/// As `wait` has it.
fn from_status(status: i32) -> Exit {
    if libc::WIFEXITED(status) {
        return Exit::Code(libc::WEXITSTATUS(status));
    }
    Exit::Signal { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn child(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().expect("a shell")
    }

    #[test]
    fn a_process_is_found_as_long_as_it_is_the_same() {
        let mut child = child("exec sleep 1000");
        let pid = child.id() as i32;
        let pidfd = reap::pidfd_of(pid).expect("it lives");
        let who = Who::of(&pidfd, pid).expect("it lives");
        assert!(who.find(pid).is_some());
        let me = std::process::id() as i32;
        assert!(who.find(me).is_none(), "somebody else");
        assert!(Who::Began(stat(pid).expect("it lives").start).find(pid).is_some());
        assert!(Who::Began(1).find(pid).is_none());
        child.kill().expect("it lives");
        child.wait().expect("it is ours");
        assert!(who.find(pid).is_none(), "it is gone");
        assert!(has_ended(&pidfd));
    }

    fn tells_ends() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
        let mut numbers = release.split('.').map_while(|it| it.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(15))
    }

    #[test]
    fn the_end_of_a_process_is_told_to_who_has_not_reaped_it() {
        for (script, exit) in
            [("exit 7", Exit::Code(7)), ("kill -9 $$", Exit::Signal { signal: 9, core: false })]
        {
            let mut child = child(script);
            let pid = child.id() as i32;
            let pidfd = reap::pidfd_of(pid).expect("not reaped yet");
            let mut looks = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            poll(&mut looks, PollTimeout::NONE).expect("it ends");
            assert_eq!(end_of(&pidfd, pid), exit, "a zombie");
            child.wait().expect("it is ours");
            // From Linux 6.15 on.
            let told = if tells_ends() { exit } else { Exit::Unknown };
            assert_eq!(end_of(&pidfd, pid), told, "reaped");
        }
    }
}

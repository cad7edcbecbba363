//! The ends of processes: who died and how, and the signals that hasten it.
//!
//! The keeper has one thread and is the only one that waits for its children, so between
//! [`next_dead`] and [`reap`] a process id names the zombie and nobody else, and so does its group id.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::wire::Exit;

/// A child that has ended and is not reaped yet.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
}

/// The next child that has ended, left as a zombie for [`reap`].
#[expect(unsafe_code, reason = "waitid with the raw signal number, which may be a real-time one")]
pub(crate) fn next_dead() -> Option<Dead> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeroes is a siginfo that says "no child".
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `info` is ours to be written to.
    while unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) } < 0 {
        if Errno::last() != Errno::EINTR {
            return None; // ECHILD: there are no children.
        }
    }
    // SAFETY: waitid filled in the fields of SIGCHLD, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        code => Exit::Signal { signal: status, core: code == libc::CLD_DUMPED },
    };
    (pid != 0).then_some(Dead { pid, exit })
}

/// Buries a child that [`next_dead`] told of.
#[expect(unsafe_code, reason = "waitid, as above")]
pub(crate) fn reap(pid: i32) {
    // SAFETY: all zeroes is a siginfo, and waitid may write to it.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    while unsafe {
        libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOHANG)
    } < 0
        && Errno::last() == Errno::EINTR
    {}
}

/// Signals the process group of a leader that is not reaped yet; false when there is no such group.
#[expect(unsafe_code, reason = "kill with the raw signal number")]
pub(crate) fn signal_group(leader: i32, signal: i32) -> bool {
    debug_assert!(leader > 1, "-1 would be everybody");
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(-leader, signal) == 0 || Errno::last() != Errno::ESRCH }
}

/// The identity of a process that is alive now, whoever has its number later.
#[expect(unsafe_code, reason = "pidfd_open has no wrapper")]
pub(crate) fn pidfd_of(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the kernel has just made this descriptor for us.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Signals one process by its identity.
#[expect(unsafe_code, reason = "pidfd_send_signal has no wrapper")]
pub(crate) fn signal_one(pidfd: BorrowedFd<'_>, signal: i32) {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo means that the kernel fills one in.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
}

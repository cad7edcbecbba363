//! The end of a machine, of which the keeper is the first process: everybody else ends, then it is
//! switched off or begins anew.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::clock;
use crate::complain::Complaints;
use crate::wire::Then;

/// The inode of the first PID namespace, which is the machine's (`PROC_PID_INIT_INO`).
const MACHINE: u64 = 0xEFFF_FFFC;

/// What everybody who is left gets to end by themselves, and then to die.
const TERM_GRACE: Duration = Duration::from_secs(3);
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Whether this is the first process of the machine itself, and not that of a container.
pub(crate) fn is_machine() -> bool {
    let namespace = fs::metadata("/proc/self/ns/pid");
    Pid::this().as_raw() == 1
        && geteuid().is_root()
        && namespace.is_ok_and(|it| it.ino() == MACHINE)
}

/// Does with the machine what was asked for, and returns only when that is nothing or cannot be.
pub(crate) fn follow(then: Then, signals: &SignalFd, complaints: &mut Complaints) {
    let (command, what) = match then {
        // The kernel panics when its first process ends.
        Then::Exit if is_machine() => (libc::RB_POWER_OFF, "switch the machine off"),
        Then::Exit => return,
        Then::Poweroff => (libc::RB_POWER_OFF, "switch the machine off"),
        Then::Reboot => (libc::RB_AUTOBOOT, "start the machine again"),
    };
    if !is_machine() {
        let who = "only the machine's first process can, and that is another";
        return complaints.say(format_args!("cannot {what}: {who}"));
    }
    end_everybody(signals);
    let errno = end_machine(command);
    complaints.say(format_args!("cannot {what}: {}", errno.desc()));
}

/// Ends all processes but this one, gently at first, and has what they have written on disk.
fn end_everybody(signals: &SignalFd) {
    for (signal, grace) in [(Signal::SIGTERM, TERM_GRACE), (Signal::SIGKILL, KILL_GRACE)] {
        // Nobody may be left, which is as well.
        let _ = kill(Pid::from_raw(-1), signal);
        bury_all(signals, clock::now() + grace);
    }
    nix::unistd::sync();
}

/// Reaps children until there are none, or it is that late. In the end all processes are children.
fn bury_all(signals: &SignalFd, until: Instant) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {}
            _ => continue,
        }
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return;
        }
        let mut looks = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut looks, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        while let Ok(Some(_)) = signals.read_signal() {}
    }
}

/// Has the kernel end the machine; returns when it will not.
#[expect(unsafe_code, reason = "reboot is in a part of nix that nothing else here needs")]
fn end_machine(command: i32) -> Errno {
    // SAFETY: touches no memory of ours that anybody would still need.
    unsafe { libc::reboot(command) };
    Errno::last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_the_first_is_not_the_machines() {
        assert!(!is_machine());
    }
}

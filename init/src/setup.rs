//! What the process becomes before it keeps anything.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::{getpgrp, setsid, tcgetpgrp};

use crate::launch;
use crate::pool::heirlooms;
use crate::renew::Legacy;

/// The signals that reach the brain as reports.
const PASSED_ON: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// What the process is called, and its children until they have programs of their own.
pub(crate) const NAME: &str = "zinit-keeper";

/// What the set-up leaves to the loop.
pub(crate) struct Setup {
    pub(crate) signals: SignalFd,
    /// The soft and hard limit of open files as they were.
    pub(crate) nofile: (u64, u64),
    /// What was left to us beside the standard streams.
    pub(crate) heirlooms: Vec<OwnedFd>,
}

/// Names the process, makes it the reaper of all its descendants, and takes its signals in hand.
pub(crate) fn become_keeper(legacy: &Legacy) -> nix::Result<Setup> {
    prctl::set_name(&CString::new(NAME).unwrap_or_default())?;
    prctl::set_child_subreaper(true)?;
    lead_session();
    let heirlooms = heirlooms();
    launch::close_all_on_exec();
    // Blocked first: a signal that comes now waits for the signalfd.
    SigSet::all().thread_set_mask()?;
    launch::reset_dispositions();
    let mut heard = SigSet::from_iter(PASSED_ON);
    heard.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&heard, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let raised = raise_nofile()?;
    let nofile = legacy.nofile().unwrap_or(raised);
    Ok(Setup { signals, nofile, heirlooms })
}

/// One session for the keeper and all services (one of its own for each service would double the
/// latency of a restart), but not where that would keep Ctrl-C from us.
fn lead_session() {
    let terminal = open("/dev/tty", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let foreground = terminal.and_then(tcgetpgrp).is_ok_and(|it| it == getpgrp());
    if !foreground {
        // Fails for the leader of a process group, who then stays in the session that it has.
        let _: Result<_, Errno> = setsid();
    }
}

fn raise_nofile() -> nix::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((soft, hard))
}

//! The two pipes of a service, as the core's thread and the one that drains them share them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

/// The reading ends of stdout and stderr.
#[derive(Debug)]
pub(super) struct Tap {
    ends: [OwnedFd; 2],
    /// Whether something was read from each that is in no file yet.
    pending: [AtomicBool; 2],
}

impl Tap {
    pub(super) fn new(ends: [OwnedFd; 2]) -> nix::Result<Self> {
        for end in &ends {
            let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
            fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(Self { ends, pending: Default::default() })
    }

    pub(super) fn end(&self, stream: usize) -> &OwnedFd {
        &self.ends[stream]
    }

    /// How many bytes can be read; none when that cannot be found out.
    pub(super) fn available(&self, stream: usize) -> usize {
        available(&self.ends[stream]).unwrap_or(0)
    }

    pub(super) fn set_pending(&self, stream: usize, pending: bool) {
        self.pending[stream].store(pending, Ordering::SeqCst);
    }

    /// Whether everything that was written is in its file. The pipes come first: what is no longer in
    /// them is pending from before it was read.
    pub(super) fn is_settled(&self) -> bool {
        (0..2).all(|it| self.available(it) == 0)
            && self.pending.iter().all(|it| !it.load(Ordering::SeqCst))
    }
}

#[expect(unsafe_code, reason = "there is no other way to ask how much is in a pipe")]
fn available(end: &OwnedFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the request writes one `int` to a place that is one.
    let asked = unsafe { libc::ioctl(end.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    Errno::result(asked)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

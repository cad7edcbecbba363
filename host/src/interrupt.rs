//! Ctrl-C in a form that everything which waits can also wait for.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};

use crate::clock::instant;

/// A wish to stop: a flag for what computes, and a descriptor for what waits.
#[derive(Debug)]
pub struct Interrupt {
    raised: AtomicBool,
    bell: EventFd,
}

/// When a wait is over, if ever.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The descriptor is ready.
    Ready,
    /// The deadline has passed.
    Elapsed,
    /// Somebody wants us to stop.
    Interrupted,
}

impl Interrupt {
    /// An interrupt that nobody has raised.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> nix::Result<Arc<Self>> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Self { raised: AtomicBool::new(false), bell }))
    }

    /// Makes Ctrl-C (SIGINT) raise it, in this thread and all that it starts from now on; `after`
    /// then runs on a thread of its own, each time.
    ///
    /// # Errors
    /// When the signal cannot be blocked.
    pub fn on_ctrl_c(self: &Arc<Self>, after: impl Fn() + Send + 'static) -> nix::Result<()> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let interrupt = Arc::clone(self);
        thread::spawn(move || {
            while signals.wait().is_ok() {
                interrupt.raise();
                after();
            }
        });
        Ok(())
    }

    /// Ends what computes and wakes what waits.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        // A full counter means that the bell rings already.
        let _ = self.bell.write(1);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    /// Forgets that it was raised, for the next thing to be done.
    pub fn clear(&self) {
        self.raised.store(false, Ordering::Release);
        let _ = self.bell.read();
    }

    /// Waits until `limit` has passed.
    ///
    /// # Errors
    /// What `poll` says.
    pub fn sleep(&self, limit: Duration) -> nix::Result<Woken> {
        wait(None, Some(self), Deadline::within(limit))
    }
}

impl Deadline {
    /// No end.
    pub const NEVER: Self = Self(None);

    /// So long from now; never, if that is beyond what the clock can say.
    pub fn within(limit: Duration) -> Self {
        Self(instant().checked_add(limit))
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|it| it <= instant())
    }

    /// The milliseconds that are left, rounded up: a wait must not end early and spin.
    fn timeout(self) -> PollTimeout {
        let Some(end) = self.0 else {
            return PollTimeout::NONE;
        };
        let ms = end.saturating_duration_since(instant()).as_micros().div_ceil(1000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Waits for a descriptor, the interrupt or the deadline, whichever of them there are.
///
/// # Errors
/// What `poll` says, but `EINTR`.
pub fn wait(
    ready: Option<(BorrowedFd<'_>, PollFlags)>,
    interrupt: Option<&Interrupt>,
    deadline: Deadline,
) -> nix::Result<Woken> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2);
    fds.extend(interrupt.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
    fds.extend(ready.map(|(fd, flags)| PollFd::new(fd, flags)));
    loop {
        match poll(&mut fds, deadline.timeout()) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) if interrupt.is_some_and(Interrupt::is_raised) => return Ok(Woken::Interrupted),
            Ok(0) if deadline.has_passed() => return Ok(Woken::Elapsed),
            Ok(0) => continue,
            Ok(_) => return Ok(Woken::Ready),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_lasts_as_long_as_it_should() {
        let interrupt = Interrupt::new().expect("a descriptor");
        let end = Deadline::within(Duration::from_millis(20));
        assert_eq!(interrupt.sleep(Duration::from_millis(20)), Ok(Woken::Elapsed));
        assert!(end.has_passed());
    }

    #[test]
    fn raising_it_wakes_who_sleeps_and_clearing_it_lets_them_sleep_again() {
        let interrupt = Interrupt::new().expect("a descriptor");
        let other = Arc::clone(&interrupt);
        let raiser = thread::spawn(move || other.raise());
        assert_eq!(interrupt.sleep(Duration::from_secs(60)), Ok(Woken::Interrupted));
        raiser.join().expect("it does not panic");
        interrupt.clear();
        assert_eq!(interrupt.sleep(Duration::from_millis(1)), Ok(Woken::Elapsed));
    }
}

//! What the keeper says on stderr: little, never too often, and never so that it has to wait.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;

/// So many complaints may be made in one [`WINDOW`].
const WINDOW_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Counts complaints.
#[derive(Default)]
pub(crate) struct Complaints {
    window: Option<Instant>,
    said: u32,
    swallowed: u32,
}

impl Complaints {
    /// Says one line, unless too much has been said lately or nobody reads it.
    pub(crate) fn say(&mut self, what: fmt::Arguments<'_>) {
        let now = clock::now();
        if self.window.is_none_or(|it| now.duration_since(it) > WINDOW) {
            (self.window, self.said) = (Some(now), 0);
        }
        if self.said >= WINDOW_MAX || !takes_a_line() {
            self.swallowed += 1;
            return;
        }
        self.said += 1;
        let mut line = format!("zinit-keeper: {what}");
        if std::mem::take(&mut self.swallowed) > 0 {
            line.push_str(" (and others before)");
        }
        line.push('\n');
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// A pipe that nobody reads must not stop the keeper.
fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut looks = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    poll(&mut looks, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

//! Lines for the server's own output, which may have no reader.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

/// Prints without ever waiting for whoever reads: what finds no room is dropped and counted.
#[derive(Debug, Default)]
pub(super) struct Printer {
    dropped: usize,
}

impl Printer {
    /// What a pipe that is ready takes without blocking.
    const CHUNK: usize = 4096;

    /// Prints these lines.
    pub(super) fn print(&mut self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let out = io::stdout();
        if self.dropped > 0 {
            let notice = format!("zinit | {} lines found no reader\n", self.dropped);
            if !put(&out, notice.as_bytes()) {
                self.dropped += lines.lines().count();
                return;
            }
            self.dropped = 0;
        }
        let mut rest = lines.as_bytes();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(Self::CHUNK));
            if !put(&out, chunk) {
                self.dropped += rest.iter().filter(|it| **it == b'\n').count();
                return;
            }
            rest = after;
        }
    }
}

/// Writes at most [`Printer::CHUNK`] bytes if that does not block.
fn put(out: &impl AsFd, chunk: &[u8]) -> bool {
    let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    poll(&mut ready, PollTimeout::ZERO) == Ok(1)
        && ready[0].revents().is_some_and(|it| it.contains(PollFlags::POLLOUT))
        && write(out, chunk).is_ok()
}

//! The ready descriptor, as s6 has it: whoever writes a line there is ready.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

/// Waits for the first newline. `false` when the other end is closed without one.
pub(super) async fn line(pipe: AsyncFd<OwnedFd>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        let Ok(mut readable) = pipe.readable().await else { return false };
        match read(pipe.get_ref(), &mut buffer) {
            Ok(count @ 1..) if buffer[..count].contains(&b'\n') => return true,
            Ok(1..) | Err(Errno::EINTR) => yield_now().await,
            Err(Errno::EAGAIN) => readable.clear_ready(),
            Ok(0) | Err(_) => return false,
        }
    }
}

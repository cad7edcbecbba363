//! Who is in a service's way: whoever listens on its port. Their clients are left alone.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};
use tokio::time::timeout;

use super::pidfd::Pidfd;
use crate::native::proc::{holders, listening_sockets};

/// How long each of the two signals may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks all who listen on the port to end, and kills who does not. Who ends slowly, but listens no
/// longer, is not killed.
///
/// # Errors
/// What stands in the way, as half a sentence.
pub(super) async fn free(port: u16) -> Result<(), String> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let listeners = look(port).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        for it in &listeners {
            match it.pidfd.signal(signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    let why = errno.desc().to_lowercase();
                    return Err(format!("{it} listens on port {port} and cannot be ended: {why}"));
                }
            }
        }
        // Whether all are gone in time shows when we look again.
        let _ = timeout(PATIENCE, all_ended(&listeners)).await;
    }
    match look(port).await?.first() {
        None => Ok(()),
        Some(it) => Err(format!("{it} listens on port {port}, whatever is done")),
    }
}

/// Sees whether nobody listens on the port.
///
/// # Errors
/// Who does, as half a sentence.
pub(super) async fn is_free(port: u16) -> Result<(), String> {
    let seen = tokio::task::spawn_blocking(move || match holders_of(port)?.first() {
        Some(it) => Err(format!("{it} listens on port {port}")),
        None => Ok(()),
    });
    seen.await.unwrap_or_else(|_| Err("given up".to_owned()))
}

/// A process that listens on the port.
struct Listener {
    pid: i32,
    pidfd: Pidfd,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        write!(f, "process {} (`{}`)", self.pid, name.trim_end())
    }
}

async fn all_ended(listeners: &[Listener]) {
    for it in listeners {
        // One that cannot be watched is seen when we look again.
        let _ = it.pidfd.ended().await;
    }
}

/// Looking through all processes takes a while.
async fn look(port: u16) -> Result<Vec<Listener>, String> {
    let found = tokio::task::spawn_blocking(move || listeners(port)).await;
    found.unwrap_or_else(|_| Err("given up".to_owned()))
}

/// Who listens on the port, if they may be ended.
fn listeners(port: u16) -> Result<Vec<Listener>, String> {
    let found = holders_of(port)?;
    let ours = [1, getpid().as_raw(), getppid().as_raw()];
    match found.iter().find(|it| ours.contains(&it.pid)) {
        Some(it) => Err(format!("{it} listens on port {port}, and must not be ended")),
        None => Ok(found),
    }
}

fn holders_of(port: u16) -> Result<Vec<Listener>, String> {
    let sockets = listening_sockets(port);
    let first = holders(&sockets);
    if first.is_empty() && !sockets.is_empty() && !listening_sockets(port).is_empty() {
        return Err(format!("somebody listens on port {port} who cannot be seen from here"));
    }
    let found = first.into_iter().filter_map(|it| i32::try_from(it).ok());
    let found = found.filter_map(|pid| Some(Listener { pid, pidfd: Pidfd::open(pid).ok()? }));
    let mut found: Vec<_> = found.collect();
    // A number whose owner has changed meanwhile does not count.
    let still: BTreeSet<u32> = holders(&sockets).into_iter().collect();
    found.retain(|it| u32::try_from(it.pid).is_ok_and(|it| still.contains(&it)));
    Ok(found)
}

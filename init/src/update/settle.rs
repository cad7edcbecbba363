//! Watches a server that was begun anew: it must come up as what it is to be, and stay.

use std::time::{Duration, Instant};

use super::clock::{now, pause};
use super::server::{Line, NoAnswer, Pong, Server};

/// How long after a refused connection the next one is tried. Nothing tells when a socket is there.
const AGAIN: Duration = Duration::from_millis(20);

/// Waits up to `settle` for a server of that version, and then watches for as long whether it is still
/// the same one that answers.
///
/// # Errors
/// Why it does not do.
pub(crate) fn settles(server: &Server, version: &str, settle: Duration) -> Result<(), String> {
    let (pong, line) = comes(server, version, now() + settle)?;
    stays(server, &pong, line, now() + settle)
}

/// Waits for a server of that version.
pub(crate) fn comes(
    server: &Server,
    version: &str,
    deadline: Instant,
) -> Result<(Pong, Line), String> {
    loop {
        let left = deadline.saturating_duration_since(now());
        let (why, line) = match server.pong(left) {
            Ok((pong, line)) if pong.version == version => return Ok((pong, line)),
            Ok((pong, line)) => (format!("version {} answers", pong.version), Some(line)),
            Err(no) => (no.why(), None),
        };
        // Whoever is still the old one hangs up when it ends.
        match line {
            Some(mut line) => drop(line.is_gone_within(left.min(AGAIN))),
            None => pause(left.min(AGAIN)),
        }
        if now() >= deadline {
            return Err(why);
        }
    }
}

/// Watches whether the same one is there until the deadline, and answers then.
fn stays(server: &Server, first: &Pong, mut line: Line, deadline: Instant) -> Result<(), String> {
    loop {
        let left = deadline.saturating_duration_since(now());
        let is_gone = line.is_gone_within(left);
        let pong = match server.pong(Server::patience()) {
            Ok((pong, next)) => {
                line = next;
                pong
            }
            // It may have hung up because it ends, while its successor is not there yet.
            Err(NoAnswer::Nobody) => return Err("it ended again".to_owned()),
            Err(no) => return Err(no.why()),
        };
        if pong != *first {
            return Err("it ended again, and another one is in its place".to_owned());
        }
        if !is_gone || now() >= deadline {
            return Ok(());
        }
    }
}

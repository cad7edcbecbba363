//! A line on the terminal that says what services are at, drawn again and again in one place.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stderr};
use std::time::{Duration, Instant};

use zinit_host::board::Status;

use crate::render::{in_secs, secs_since};

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(Instant);

impl Since {
    #[expect(clippy::disallowed_methods, reason = "somebody at a terminal waits for so long")]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The line. Where nobody watches there is none.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    since: Option<Since>,
    drawn: bool,
}

impl Progress {
    /// How often it is drawn.
    pub(crate) const TICK: Duration = Duration::from_millis(200);
    /// What takes less than this needs no line.
    const QUIET: Duration = Duration::from_secs(1);
    /// How wide it may be where the terminal does not say.
    const WIDTH: usize = 80;

    pub(crate) fn new(verb: &'static str, wanted: bool) -> Self {
        let since = (wanted && stderr().is_terminal()).then(Since::now);
        Self { verb, since, drawn: false }
    }

    /// Whether somebody watches.
    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Draws what these are at.
    pub(crate) fn draw(&mut self, of: &[Status]) {
        if !of.is_empty() {
            self.write(|verb, width| line(verb, of, width));
        }
    }

    /// Draws how far something is.
    pub(crate) fn say(&mut self, how_far: &str) {
        self.write(|verb, width| format!("{verb} {how_far}").chars().take(width).collect());
    }

    fn write(&mut self, line: impl FnOnce(&str, usize) -> String) {
        if self.since.is_none_or(|it| it.elapsed() < Self::QUIET) {
            return;
        }
        let width = terminal_size::terminal_size_of(stderr())
            .map_or(Self::WIDTH, |(width, _)| usize::from(width.0));
        let _ = write!(stderr(), "\r\x1b[K{}", line(self.verb, width.saturating_sub(1)));
        self.drawn = true;
    }

    /// Takes it away.
    pub(crate) fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

/// As many services as fit, and how many there are besides.
fn line(verb: &str, of: &[Status], width: usize) -> String {
    let mut text = verb.to_owned();
    for (index, it) in of.iter().enumerate() {
        let left = of.len() - index;
        let more = format!("{} {left} more", if index == 0 { "" } else { " and" });
        let next = format!("{} {}", if index == 0 { "" } else { "," }, at(it));
        let room = width.saturating_sub(if left > 1 { more.chars().count() } else { 0 });
        if text.chars().count() + next.chars().count() > room {
            let _ = write!(text, "{more}");
            break;
        }
        text += &next;
    }
    text.chars().take(width).collect()
}

/// What one service is at: `web (12 s, SIGKILL in 3 s)`.
fn at(it: &Status) -> String {
    let mut facts = Vec::new();
    if it.state == "Blocked" || it.state == "Backoff" {
        facts.push(format!("{}: {}", it.state, it.reason));
    } else {
        facts.push(format!("{} s", secs_since(it.since_ms)));
    }
    if it.next_ms > 0 && !it.next.is_empty() {
        facts.push(format!("{} {}", it.next, in_secs(it.next_ms)));
    }
    format!("{} ({})", it.name, facts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(names: &[&str]) -> Vec<Status> {
        let status = |name: &&str| {
            json!({ "name": name, "pid": 0, "state": "Blocked", "target": "Up", "reason": "so",
                "since_ms": 1, "restarts": 0, "last_exit": "", "oneshot": false, "after": [] })
        };
        let read = |it| serde_json::from_value(it).expect("a status");
        names.iter().map(status).map(read).collect()
    }

    #[test]
    fn a_line_holds_as_many_services_as_fit_and_counts_the_others() {
        let three = fleet(&["web", "db", "mail"]);
        let whole = "starting web (Blocked: so), db (Blocked: so), mail (Blocked: so)";
        assert_eq!(line("starting", &three, 80), whole);
        assert_eq!(line("starting", &three, 50), "starting web (Blocked: so) and 2 more");
        assert_eq!(line("starting", &three, 20), "starting 3 more");
        assert_eq!(line("starting", &three, 5), "start");
    }
}

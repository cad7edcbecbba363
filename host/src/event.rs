//! What can happen to a service. The outside world is turned into these, and the core sees nothing
//! else.

use serde::{Deserialize, Serialize};
use zinit_keeper::wire::Exit;

use crate::name::ServiceName;
use crate::view::Usage;

/// A moment: milliseconds on the machine's monotonic clock, which goes on over restarts of the
/// server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(pub i64);

/// The wall clock of a moment, and how far local time is from UTC there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wall {
    /// Milliseconds since 1970, in UTC.
    pub unix_ms: i64,
    /// Seconds that local time is ahead of UTC.
    #[serde(default, skip_serializing_if = "is_utc")]
    pub offset_s: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_utc(offset_s: &i32) -> bool {
    *offset_s == 0
}

/// Something that happened to one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To which service.
    pub service: ServiceName,
    /// When.
    pub now: Tick,
    /// What.
    pub what: Happening,
}

/// Everything that can happen to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// It became known, or its configuration changed.
    Defined {
        /// Whether its process has to be replaced for that.
        restart: bool,
    },
    /// Somebody wants it up.
    WantUp,
    /// Somebody wants it down.
    WantDown,
    /// Nobody has used it for so long that it goes down, until somebody wants it.
    Unused {
        /// How long that was, in milliseconds.
        quiet_ms: i64,
    },
    /// Somebody wants it down and up again.
    WantRestart,
    /// Something that it requires goes down: it has to go first, though it is still wanted.
    MustYield {
        /// What goes down.
        to: ServiceName,
    },
    /// Another one has ended and starts again, and it does so with it.
    MustRestart {
        /// The other one.
        with: ServiceName,
    },
    /// Another one is given up, and it is given up with it.
    MustGiveUp {
        /// The other one.
        with: ServiceName,
    },
    /// There is no time left to stop gently.
    MustHurry,
    /// The process of this incarnation exists.
    Launched {
        /// Which process.
        incarnation: u64,
        /// Its process id.
        pid: i32,
    },
    /// The process of this incarnation runs its own program.
    Started {
        /// Which process.
        incarnation: u64,
    },
    /// The main process of this incarnation is gone, and others of it live.
    Died {
        /// Which process.
        incarnation: u64,
        /// How it ended.
        exit: Exit,
    },
    /// Nothing of this incarnation is left.
    Exited {
        /// Which process.
        incarnation: u64,
        /// How it ended.
        exit: Exit,
    },
    /// The process of this incarnation says that it is ready.
    Ready {
        /// Which process.
        incarnation: u64,
    },
    /// A round of health checks of this incarnation is over.
    Checked {
        /// Which process.
        incarnation: u64,
        /// What failed; `None` when all held.
        failure: Option<String>,
    },
    /// Somebody has looked at what the processes of this incarnation use.
    Measured {
        /// Which process.
        incarnation: u64,
        /// What they use.
        usage: Usage,
    },
    /// The process of this incarnation says that it is alive.
    Pinged {
        /// Which process.
        incarnation: u64,
    },
    /// The process of this incarnation says how it is.
    Said {
        /// Which process.
        incarnation: u64,
        /// In its own words.
        status: String,
    },
    /// A command that was run for it has ended.
    Ran {
        /// Which one: `stop`, `give_up`.
        task: Task,
        /// How it ended.
        exit: Exit,
    },
    /// Whoever listened on its port listens there no more, or cannot be ended.
    PortFreed {
        /// What stands in the way; `None` when the port is free.
        failure: Option<String>,
    },
    /// Every client that has said something to it has its answer, and nobody else is passed on.
    Drained,
    /// The alarm that was set in this state went off.
    Elapsed,
    /// It is time for the next round of health checks.
    CheckDue,
    /// It is time to look at what it uses.
    MeasureDue,
    /// What was waited for in this state did not happen in time.
    TimedOut,
    /// A dependency that it waits for has changed.
    Nudged,
}

/// What those who have the clients of a service say of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Somebody waits for it.
    Knocked,
    /// Nothing has happened for as long as its proxies' `idle_timeout` says.
    Idle {
        /// The word that opened the way.
        turn: u64,
        /// How many clients are connected.
        connections: i64,
        /// For how long nothing has happened, in milliseconds.
        quiet_ms: i64,
    },
    /// Nobody waits for an answer, now that the way is shut.
    Drained {
        /// The word that shut it.
        turn: u64,
    },
}

/// A command that is run on behalf of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// `stop_cmd`.
    Stop,
    /// `on_give_up`.
    GiveUp,
    /// A `test_cmd`.
    Check,
}

impl Task {
    const WORDS: [(&str, Self); 3] =
        [("stop", Self::Stop), ("give_up", Self::GiveUp), ("check", Self::Check)];

    /// The word for it; it stands behind the service's name and a slash in the name of its slot.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, it)| *it == self).expect("every task has its word").0
    }

    /// The task of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(it, _)| *it == word).map(|(_, it)| *it)
    }
}

impl Happening {
    /// The word for it in scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Defined { .. } => "defined",
            Self::WantUp => "want_up",
            Self::WantDown => "want_down",
            Self::Unused { .. } => "unused",
            Self::WantRestart => "want_restart",
            Self::Launched { .. } => "launched",
            Self::Started { .. } => "started",
            Self::MustHurry => "must_hurry",
            Self::MustYield { .. } => "must_yield",
            Self::MustRestart { .. } => "must_restart",
            Self::MustGiveUp { .. } => "must_give_up",
            Self::Died { .. } => "died",
            Self::Exited { .. } => "exited",
            Self::Ready { .. } => "ready",
            Self::Checked { .. } => "checked",
            Self::Measured { .. } => "measured",
            Self::Pinged { .. } => "pinged",
            Self::Said { .. } => "said",
            Self::Ran { .. } => "ran",
            Self::PortFreed { .. } => "port_freed",
            Self::Drained => "drained",
            Self::CheckDue => "check_due",
            Self::MeasureDue => "measure_due",
            Self::TimedOut => "timed_out",
            Self::Elapsed => "elapsed",
            Self::Nudged => "nudged",
        }
    }

    /// The process that it is about, if it is about one.
    pub fn incarnation(&self) -> Option<u64> {
        match self {
            Self::Launched { incarnation, .. }
            | Self::Started { incarnation }
            | Self::Died { incarnation, .. }
            | Self::Ready { incarnation }
            | Self::Checked { incarnation, .. }
            | Self::Measured { incarnation, .. }
            | Self::Pinged { incarnation }
            | Self::Said { incarnation, .. }
            | Self::Exited { incarnation, .. } => Some(*incarnation),
            _ => None,
        }
    }
}

//! What can happen to a service. The outside world is turned into these, and the core sees nothing
//! else.

use serde::{Deserialize, Serialize};
use zinit_keeper::wire::Exit;

use crate::name::ServiceName;

/// A moment: milliseconds on the machine's monotonic clock, which goes on over restarts of the
/// server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(pub i64);

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// It became known, or its configuration changed.
    Defined,
    /// Somebody wants it up.
    WantUp,
    /// Somebody wants it down.
    WantDown,
    /// Somebody wants it down and up again.
    WantRestart,
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
    /// The process of this incarnation is gone.
    Exited {
        /// Which process.
        incarnation: u64,
        /// How it ended.
        exit: Exit,
    },
    /// The alarm that was set in this state went off.
    Elapsed,
    /// A dependency that it waits for has changed.
    Nudged,
}

impl Happening {
    /// The word for it in scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::WantUp => "want_up",
            Self::WantDown => "want_down",
            Self::WantRestart => "want_restart",
            Self::Launched { .. } => "launched",
            Self::Started { .. } => "started",
            Self::Exited { .. } => "exited",
            Self::Elapsed => "elapsed",
            Self::Nudged => "nudged",
        }
    }

    /// The process that it is about, if it is about one.
    pub fn incarnation(&self) -> Option<u64> {
        match self {
            Self::Launched { incarnation, .. }
            | Self::Started { incarnation }
            | Self::Exited { incarnation, .. } => Some(*incarnation),
            _ => None,
        }
    }
}

//! Proxies: clients that connect while a service is down wait, in order, until it is up, and then
//! everything is passed on, in both directions, byte by byte.
//!
//! All of it happens on a thread of its own, named `relay`, which starts when there is a proxy. It decides
//! nothing: when somebody waits it says so, and it opens the way when it is told that the service is up.

mod face;
#[cfg_attr(not(test), expect(dead_code, reason = "the loop that drives it comes next"))]
mod pair;
#[cfg_attr(not(test), expect(dead_code, reason = "the loop that drives it comes next"))]
mod pump;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::name::ServiceName;

pub use face::{Face, Faces};

/// Whether clients of a service may be passed on to it. Each is a later word than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Counts the words; what the relay says about this one names it.
    pub turn: u64,
    /// What it is.
    pub way: Way,
}

/// How the way to a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is up: whoever waits is passed on.
    Open,
    /// It is not, or not for long: whoever comes waits. [`Said::Drained`] is to be told as soon as every
    /// client that was passed on and has said something has got an answer, or is gone.
    Shut,
    /// It has failed and is not tried again: whoever waits is sent away, and whoever comes knocks.
    Failed,
}

/// What the relay tells the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Somebody waits for this service, and the way is not open. Told when the first one comes, and
    /// again after each [`Gate`] that leaves somebody waiting.
    Knocked {
        /// The service.
        service: ServiceName,
    },
    /// Nothing has happened for as long as the proxies' `idle_timeout` says, which counts from the last
    /// byte, the last end of a connection, or the opening of the way. From now on nobody is passed on
    /// until the next [`Gate`].
    Idle {
        /// The service.
        service: ServiceName,
        /// The word that opened the way.
        turn: u64,
        /// How many connections there are, all silent.
        connections: u64,
        /// For how long nothing has happened, in milliseconds.
        quiet_ms: u64,
    },
    /// Nobody has to be waited for any more before the service is stopped.
    Drained {
        /// The service.
        service: ServiceName,
        /// The word that shut the way.
        turn: u64,
    },
    /// The keeper is to hold these for the next brain.
    Hold {
        /// Under this key.
        key: String,
        /// With this note.
        note: String,
        /// What is to be held.
        fds: Held,
    },
    /// What the keeper holds under this key is to be closed.
    Drop {
        /// The key.
        key: String,
    },
    /// It is to be tried again to listen for this proxy.
    Retry {
        /// The proxy.
        proxy: ServiceName,
    },
    /// Something that somebody should read, as half a sentence about a proxy.
    Noted {
        /// The proxy.
        proxy: ServiceName,
        /// What.
        why: String,
    },
}

/// Descriptors on their way to the keeper.
#[derive(Clone, Debug)]
pub struct Held(pub Arc<Vec<OwnedFd>>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Held {}

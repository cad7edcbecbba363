//! The one way to ask the core for something: a letter box that wakes it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;

/// What the core's owner can be asked. What it means is decided by the core.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Bring it up, with what it needs.
    Start(ServiceName),
    /// Bring it down.
    Stop(ServiceName),
    /// Bring it down and up again.
    Restart(ServiceName),
    /// Bring it down and forget it.
    Delete(ServiceName),
    /// Deliver a signal to its processes.
    Kill(ServiceName, Signal),
    /// Make it known, or change it; starts it unless its `status` says otherwise.
    Define(ServiceName, Box<Spec>),
    /// Bring up everything but what has `status: ignore`.
    StartAll,
    /// Bring down everything, dependents first.
    StopAll,
    /// Bring down and forget everything.
    DeleteAll,
    /// Bring down everything, then end the server.
    Shutdown,
}

/// The answer to a command: it has been acted on, or why not.
pub type Answer = Result<(), Refusal>;

/// A command and where its answer goes.
#[derive(Debug)]
pub struct Letter {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes; nobody may be listening any more.
    pub answer: oneshot::Sender<Answer>,
}

/// The clients' end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    letters: Sender<Letter>,
    bell: Arc<EventFd>,
}

impl Desk {
    /// A desk and the core's end of it: the letters, and the bell to poll for.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> nix::Result<(Self, Receiver<Letter>, Arc<EventFd>)> {
        let (letters, inbox) = channel();
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        Ok((Self { letters, bell: Arc::clone(&bell) }, inbox, bell))
    }

    /// Hands in a command and waits for the answer, which comes when the core has acted on it: a
    /// `Stop` is answered when the signal is on its way, not when the process is gone.
    ///
    /// # Errors
    /// The core's refusal.
    pub async fn ask(&self, command: Command) -> Answer {
        let (answer, wait) = oneshot::channel();
        let gone = || Refusal::new(Kind::ShuttingDown, "the server is stopping");
        self.letters.send(Letter { command, answer }).map_err(|_| gone())?;
        // A full counter means that the bell rings already.
        let _ = self.bell.write(1);
        wait.await.unwrap_or_else(|_| Err(gone()))
    }
}

//! The one way to ask the core for something: a letter box that wakes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use zinit_keeper::wire::Then;

use crate::name::ServiceName;
use crate::policy::told::InForce;
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;

/// What the core's owner can be asked. What it means is decided by the core.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Bring these up.
    Start {
        /// Which.
        names: Vec<ServiceName>,
        /// Whether to bring up what they need as well.
        deps: bool,
    },
    /// Bring these down, each after those that require it.
    Stop(Vec<ServiceName>),
    /// Bring these down and up again, and those that require them.
    Restart(Vec<ServiceName>),
    /// Bring these down and forget them.
    Delete(Vec<ServiceName>),
    /// Deliver a signal to its processes.
    Kill(ServiceName, Signal),
    /// Make it known, or change it; starts it unless its `status` says otherwise.
    Define(ServiceName, Box<Spec>),
    /// Say whether this configuration could be made known.
    Vet(ServiceName, Box<Spec>),
    /// Let this proxy stand, in place of one of its name. It listens, or says why not, when this is
    /// answered.
    DefineProxy(Box<Proxy>),
    /// Let the proxy of this name go.
    ForgetProxy(ServiceName),
    /// Take over what the files say: all of them, or one.
    Reload(Reload),
    /// Let these files decide.
    Decide(Decree),
    /// Say whether these files could decide about the services that there are.
    VetPolicy(Decree),
    /// Say what decides.
    TellPolicy,
    /// Bring up everything but what has `status: ignore`.
    StartAll,
    /// Bring down everything, dependents first.
    StopAll,
    /// Bring down and forget everything.
    DeleteAll,
    /// Bring down everything, then end the server, and perhaps more.
    Shutdown(Then),
    /// Let another server take over, while everything runs on.
    Renew {
        /// Whether the keeper begins its program anew as well.
        keeper: bool,
        /// Whether the server does, and not the keeper alone.
        server: bool,
    },
}

/// The files of a policy as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decree {
    /// Each with its text; without any, the bundled policy decides alone.
    pub files: Vec<(PathBuf, String)>,
    /// What the services' files say, when they are taken over right after it. What a service names in
    /// its policy must be there; without these, it is asked of the services as they are.
    pub soon: Option<Vec<(ServiceName, Spec)>>,
}

/// The files as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// What they say; those that are not fine are not in here, because then nothing is reloaded.
    pub files: Vec<(ServiceName, Spec)>,
    /// The services that are asked about; `None` for all. What has no file is then to go.
    pub only: Option<Vec<ServiceName>>,
    /// Whether to say only what would be done.
    pub dry_run: bool,
}

/// What a reload does, or would do, service by service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which service.
    pub service: ServiceName,
    /// What is done to it.
    pub verb: Verb,
    /// Why, as half a sentence.
    pub why: String,
}

/// What a reload does to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It is new, and starts.
    Start,
    /// It is new, and does not start by itself.
    Add,
    /// It is stopped, as its file wants it now.
    Stop,
    /// It is stopped and started with its new configuration.
    Restart,
    /// It goes on, and its new configuration counts from now on.
    Update,
    /// It is stopped and forgotten: its file is gone.
    Delete,
    /// Nothing.
    Unchanged,
}

/// The answer to a command: it has been acted on, or why not.
pub type Answer = Result<Reply, Refusal>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was asked.
    Done,
    /// A reload, step by step.
    Plan(Vec<Step>),
    /// What decides.
    Policy(Box<InForce>),
}

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

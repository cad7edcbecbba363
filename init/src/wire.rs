//! What keeper and brain say to each other, over a `SOCK_SEQPACKET` pair.
//!
//! A packet holds messages as JSON, one per line, and is handled whole before the next is read: what
//! must happen together (an acknowledgement, the note that goes with it, the next launch) travels in
//! one packet, and a brain that dies between two packets leaves nothing half said. Keeper and brain
//! may be of different versions, so unknown messages and unknown fields are ignored.
//!
//! Descriptors travel beside the packet (`SCM_RIGHTS`): each report that says `pipes: true` owns the
//! next two, the reading ends of stdout and stderr, in the order of the reports.

use serde::{Deserialize, Serialize};

/// The version of this language; it grows when an old reader would misunderstand a new message.
pub const VERSION: u32 = 1;

/// The largest packet, in bytes. A launch with a larger environment is refused before it is sent.
pub const PACKET_MAX: usize = 128 * 1024;

/// The most descriptors beside one packet (the kernel allows 253).
pub const PACKET_FDS_MAX: usize = 128;

/// The largest note that the keeper remembers for a service, in bytes.
pub const NOTE_MAX: usize = 16 * 1024;

/// The environment variable that tells a brain which descriptor is its end of the pair.
pub const SOCKET_ENV: &str = "ZINIT_KEEPER_FD";

/// What the brain asks of the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// The brain's first word. The keeper answers with `Welcome` and the table of its slots.
    Hello {
        /// The brain's [`VERSION`].
        version: u32,
    },
    /// Start a process in the service's slot, which is made when there is none. Refused while a
    /// process of the slot lives or an exit of it is not acknowledged.
    Launch(Box<Launch>),
    /// Deliver a signal to the process group of this incarnation, if it still lives.
    Signal {
        /// The service.
        service: String,
        /// Which incarnation is meant; an older one is left alone.
        incarnation: u64,
        /// The signal's number.
        signal: i32,
    },
    /// The exit of this incarnation has been acted on and may be forgotten.
    Ack {
        /// The service.
        service: String,
        /// Which incarnation's exit.
        incarnation: u64,
    },
    /// Remember this text for the next brain, instead of the one before. Makes a slot if needed.
    Note {
        /// The service.
        service: String,
        /// At most [`NOTE_MAX`] bytes, opaque to the keeper.
        note: String,
    },
    /// Drop the slot, its pipes and its note. Refused while its process lives.
    Forget {
        /// The service.
        service: String,
    },
    /// The brain answers its clients now; whoever waits for the start may go on.
    Serving,
    /// Everything is down: the keeper ends with this status, and no brain is started again.
    Farewell {
        /// The exit status of the keeper.
        code: i32,
    },
    /// A request of a newer version.
    #[serde(other)]
    Unknown,
}

/// A process to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// The service in whose slot it runs.
    pub service: String,
    /// The brain's count of launches of this service; it names this process in later messages.
    pub incarnation: u64,
    /// The program and its arguments. A name without `/` is looked up in the child's `PATH`.
    pub argv: Vec<String>,
    /// Added to the keeper's own environment.
    pub env: Vec<(String, String)>,
    /// The working directory; empty for `/`.
    pub dir: String,
    /// Where stdout and stderr go.
    pub output: Output,
}

/// Where a process writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Into two pipes that the slot keeps over restarts; the brain reads the other ends.
    #[default]
    Pipes,
    /// Nowhere: `/dev/null`.
    Null,
}

/// What the keeper tells the brain. The first four are levels, not edges: what was not yet told is
/// told to the next brain as a `Slot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// A process was forked. With pipes when the slot has just made them.
    Launched {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
        /// Its process id.
        pid: i32,
        /// Whether two descriptors come with this report.
        #[serde(default)]
        pipes: bool,
    },
    /// The process runs its own program (`exec` succeeded).
    Started {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
    },
    /// The process is gone. Told again to every brain until one acknowledges it.
    Exited {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
        /// How it ended.
        exit: Exit,
    },
    /// A launch was not tried, and why.
    Refused {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
        /// The reason, as half a sentence.
        why: String,
    },
    /// The answer to `Hello`: this many `Slot` reports follow.
    Welcome {
        /// The keeper's [`VERSION`].
        version: u32,
        /// The keeper's process id.
        keeper: i32,
        /// How many slots follow.
        slots: usize,
    },
    /// One slot, as it is now.
    Slot(Slot),
    /// The keeper was sent a signal that is the brain's to act on (SIGTERM, SIGINT, SIGHUP, SIGUSR1).
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// A report of a newer version.
    #[serde(other)]
    Unknown,
}

/// All that the keeper knows of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// The service.
    pub service: String,
    /// The latest incarnation; 0 when nothing was ever launched.
    pub incarnation: u64,
    /// The process id of the latest incarnation, 0 when there is none that lives.
    pub pid: i32,
    /// Whether that process runs its own program.
    pub started: bool,
    /// How the latest incarnation ended, while that is not acknowledged.
    pub exit: Option<Exit>,
    /// What the last brain wanted remembered.
    pub note: String,
    /// Whether two descriptors come with this report.
    pub pipes: bool,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core dump.
        core: bool,
    },
    /// It never ran: preparing the process failed.
    Launch {
        /// The step that failed: `pipe`, `fork`, `setpgid`, `chdir`, `stdio`, `exec` ...
        step: String,
        /// The step's error number.
        errno: i32,
    },
}

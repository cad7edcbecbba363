//! What keeper and brain say to each other, over a `SOCK_SEQPACKET` pair.
//!
//! A packet holds messages as JSON, one per line, and is handled whole before the next is read: what
//! must happen together (an acknowledgement, the note that goes with it, the next launch) travels in
//! one packet, and a brain that dies between two packets leaves nothing half said. Keeper and brain
//! may be of different versions, so unknown messages and unknown fields are ignored.
//!
//! Descriptors travel beside the packet (`SCM_RIGHTS`), in the order of the reports: each that says
//! `pipes: true` owns the next two, the reading ends of stdout and stderr, then each that says
//! `ready: true` the next one, and each that says `pidfd: true` one more; `Held` owns as many as it
//! says. Likewise those of requests: `Hold` owns as many as it says.

use serde::{Deserialize, Serialize};

/// The version of this language; it grows when an old reader would misunderstand a new message.
pub const VERSION: u32 = 6;

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
    /// Deliver a signal to every process of this incarnation, if one still lives: also those that
    /// have left its group or outlived its leader.
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
        /// Likewise, for what changes seldom: the one before stays when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<String>,
    },
    /// Drop the slot, its pipes and its note. Refused while its process lives.
    Forget {
        /// The service.
        service: String,
    },
    /// Hold these sockets for this brain and the next ones, under this key, in place of those that are
    /// held under it so far. What cannot be held, as what is no socket, leaves the key with nothing.
    Hold {
        /// 1 to 255 bytes; a service that is launched with them names it.
        key: String,
        /// At most [`NOTE_MAX`] bytes, opaque to the keeper.
        note: String,
        /// How many descriptors come with this request, at most [`PACKET_FDS_MAX`].
        count: usize,
    },
    /// Close the descriptors that are held under this key. What a process was given stays open there.
    Drop {
        /// The key.
        key: String,
    },
    /// The brain answers its clients now; whoever waits for the start may go on.
    Serving,
    /// Begin the program of the keeper anew, in the same process: its file has changed. Everything
    /// that it holds stays, and the brain as well.
    Renew,
    /// Everything is down: the keeper ends with this status, and no brain is started again.
    Farewell {
        /// The exit status of the keeper.
        code: i32,
        /// What becomes of the machine. Only its first process can do more than end.
        #[serde(default)]
        then: Then,
    },
    /// A request of a newer version.
    #[serde(other)]
    Unknown,
}

/// What follows the end of the keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Nothing of the keeper's doing.
    #[default]
    Exit,
    /// The machine is switched off.
    Poweroff,
    /// The machine begins anew.
    Reboot,
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
    /// Whether its stdin is the pipe of its slot, which others write to; else it is `/dev/null`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub input: bool,
    /// Whom it runs as; `None` for the keeper's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Its file mode creation mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Its nice value, -20 to 19.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// How gladly the kernel kills it when memory runs out, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Its resource limits, beside those that the keeper was started with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// Whether it and its children can gain no privileges by `exec`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privs: bool,
    /// What is written to files of its cgroup, such as `memory.max` and `1073741824`. Left out where
    /// the controllers are not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cgroup: Vec<(String, String)>,
    /// How it says that it is ready.
    #[serde(skip_serializing_if = "Ready::is_silent")]
    pub ready: Ready,
    /// Listening sockets that it gets from descriptor 3 on (`LISTEN_FDS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockets: Option<Sockets>,
}

/// Descriptors that a process is started with, as systemd's socket activation has it: `LISTEN_FDS`,
/// `LISTEN_PID` and `LISTEN_FDNAMES` tell of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sockets {
    /// The key under which they are held. A launch is refused when there is none.
    pub key: String,
    /// What each is called: `unknown`, where there are fewer names. No name contains `:`.
    pub names: Vec<String>,
}

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
}

/// A resource limit, as `setrlimit` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which: the number of `RLIMIT_NOFILE` and so on.
    pub resource: u32,
    /// The soft limit; `u64::MAX` for none.
    pub soft: u64,
    /// The hard limit; `u64::MAX` for none.
    pub hard: u64,
}

/// How a process says that it is ready. The keeper makes the descriptor for it, for this incarnation
/// alone, and hands the reading end to the brain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// Not to the keeper.
    #[default]
    Silent,
    /// By a datagram to the socket that `NOTIFY_SOCKET` names (sd_notify).
    Notify,
    /// By a line that it writes to this descriptor (s6).
    Fd(i32),
}

impl Ready {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_silent(&self) -> bool {
        *self == Self::Silent
    }
}

/// Where a process writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Into two pipes that the slot keeps over restarts; the brain reads the other ends.
    #[default]
    Pipes,
    /// Nowhere: `/dev/null`.
    Null,
    /// Into the pipe that is the stdin of this service. Its slot is made when there is none, and keeps
    /// the pipe over restarts of either.
    To(String),
    /// Into the pipes that the slot of this service has; nowhere when it has none.
    Of(String),
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
        /// Whether one more comes after those: the end at which it says that it is ready.
        #[serde(default)]
        ready: bool,
        /// And one more: what names the process, whoever has its number later.
        #[serde(default)]
        pidfd: bool,
    },
    /// The process runs its own program (`exec` succeeded).
    Started {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
    },
    /// The main process is gone, and others of this incarnation live on. They are signalled like any,
    /// and `Exited` follows when none is left.
    Died {
        /// The service.
        service: String,
        /// The incarnation.
        incarnation: u64,
        /// How the main process ended.
        exit: Exit,
        /// Some of those that are left.
        left: Vec<i32>,
    },
    /// Nothing of the incarnation is left. Told again to every brain until one acknowledges it.
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
        /// How many `Held` reports follow those.
        #[serde(default)]
        held: usize,
        /// The cgroup directory in which each service has one of its own, named after it; empty when
        /// none can be made.
        #[serde(default)]
        cgroup: String,
        /// The controllers that those have.
        #[serde(default)]
        controllers: Vec<String>,
        /// Whether the keeper is the first process of the machine itself, which it may switch off.
        #[serde(default)]
        machine: bool,
    },
    /// One slot, as it is now.
    Slot(Slot),
    /// What an earlier brain has given to hold.
    Held {
        /// Its key.
        key: String,
        /// Its note.
        note: String,
        /// How many descriptors come with this report.
        count: usize,
    },
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
    /// How the main process ended, while others of the incarnation live.
    pub died: Option<Exit>,
    /// How the latest incarnation ended, while that is not acknowledged.
    pub exit: Option<Exit>,
    /// What the last brain wanted remembered.
    pub note: String,
    /// And of what changes seldom.
    pub config: String,
    /// Whether two descriptors come with this report.
    pub pipes: bool,
    /// Whether one more comes after those: the end at which it says that it is ready.
    pub ready: bool,
    /// And one more: what names the process, whoever has its number later.
    pub pidfd: bool,
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
    /// It is gone, and nobody knows how it ended: it was not a child of this keeper, and the kernel
    /// does not tell others (Linux before 6.15).
    Unknown,
    /// It never ran: preparing the process failed.
    Launch {
        /// The step that failed: `pipe`, `fork`, `setuid` ..., and with their paths `chdir /srv` and
        /// `exec /bin/web`.
        step: String,
        /// The step's error number.
        errno: i32,
    },
}

/// The directory of a service's own cgroup, in that of the keeper: its name, with a `%` and two hex
/// digits for each byte that is not a letter, a digit, `-`, `_`, or an `@` after the first.
pub fn leaf_name(service: &str) -> String {
    let mut name = String::with_capacity(service.len());
    for (index, byte) in service.bytes().enumerate() {
        match byte {
            b'-' | b'_' => name.push(char::from(byte)),
            b'@' if index > 0 => name.push('@'),
            // Files of the kernel have a dot in their names, so that no leaf has one.
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

//! Where a service stands: its state, and all that a new server needs to go on with it.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use zinit_keeper::wire::Exit;

use crate::event::{Happening, Tick};
use crate::name::ServiceName;
use crate::spec::Spec;

/// The states of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nothing runs and nothing is wanted.
    Stopped,
    /// It would start, but something must happen first.
    Blocked,
    /// Its process exists and is not yet taken to be up.
    Spawned,
    /// It is up.
    Running,
    /// It was told to stop, and its process lives.
    Stopping {
        /// Which of the stop steps was taken last, from 0.
        step: i64,
    },
    /// It ended though it should run, and will be tried again.
    Backoff,
    /// A oneshot that is done.
    Success,
    /// It could not start, failed as a oneshot, or was given up.
    Failed,
}

impl State {
    /// The word for it, as users see it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Blocked => "Blocked",
            Self::Spawned => "Spawned",
            Self::Running => "Running",
            Self::Stopping { .. } => "Stopping",
            Self::Backoff => "Backoff",
            Self::Success => "Success",
            Self::Failed => "Failed",
        }
    }

    /// The state of that word; `step` counts for `Stopping` alone.
    pub fn of_word(word: &str, step: i64) -> Option<Self> {
        Some(match word {
            "Stopped" => Self::Stopped,
            "Blocked" => Self::Blocked,
            "Spawned" => Self::Spawned,
            "Running" => Self::Running,
            "Stopping" => Self::Stopping { step },
            "Backoff" => Self::Backoff,
            "Success" => Self::Success,
            "Failed" => Self::Failed,
            _ => return None,
        })
    }

    /// Whether it was told to stop and has not.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping { .. })
    }

    /// Whether a process belongs to this state.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Spawned | Self::Running | Self::Stopping { .. })
    }
}

/// What is wanted of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// It should run (a oneshot: have run).
    Up,
    /// It should not.
    Down,
}

impl Target {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Down => "Down",
        }
    }
}

/// A process of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id; 0 until the keeper has told it.
    pub pid: i32,
    /// When its launch was asked for, and from `Started` on, when its program began to run.
    pub born: Tick,
    /// When it came up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<Tick>,
    /// When it last gave a sign of being well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well: Option<Tick>,
    /// When the main process ended, if others of it live on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub died: Option<Tick>,
}

impl Process {
    /// A process whose launch is asked for at this moment.
    pub fn new(born: Tick) -> Self {
        Self { pid: 0, born, up: None, well: None, died: None }
    }
}

/// What is done to a service as soon as those that need it are out of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It goes down.
    Stop,
    /// It goes down and comes up again.
    Restart,
    /// As `Restart`, because its configuration changed.
    Renew,
    /// It goes down until this one, which it requires, is up again.
    Yield(ServiceName),
    /// It goes down and comes up again, as this one does.
    Along(ServiceName),
    /// It is given up, as this one was.
    GiveUp(ServiceName),
}

/// Everything about a service that is not its configuration. The keeper remembers it for the next
/// brain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What is wanted.
    pub target: Target,
    /// What is.
    pub state: State,
    /// Why it is in this state, as half a sentence.
    pub why: Arc<str>,
    /// Since when.
    pub since: Tick,
    /// The process that lives, if one does.
    pub process: Option<Process>,
    /// How many processes were launched, which is also the name of the latest.
    pub incarnation: u64,
    /// When `Elapsed` is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Tick>,
    /// When `CheckDue` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_at: Option<Tick>,
    /// When `TimedOut` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Tick>,
    /// When `MeasureDue` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure_at: Option<Tick>,
    /// Since when what it uses speaks for a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_since: Option<Tick>,
    /// Whether a round of health checks is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checking: bool,
    /// How many rounds in a row have failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub check_failures: i64,
    /// How the latest round went: `ok`, or what failed; empty when there was none for this process.
    #[serde(default = "nothing", skip_serializing_if = "str::is_empty")]
    pub health: Arc<str>,
    /// Whether the process has said that it is ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub said_ready: bool,
    /// What the process says of itself.
    #[serde(default = "nothing", skip_serializing_if = "str::is_empty")]
    pub says: Arc<str>,
    /// Whether it ended, or has to be stopped, though nobody asked for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fault: bool,
    /// When it is its turn to start, among those that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Tick>,
    /// Whether its port was freed for the start that is ahead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub port_freed: bool,
    /// What is done to it as soon as those that need it are down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// With whom it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up_with: Option<ServiceName>,
    /// How many attempts in a row were short-lived.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: i64,
    /// How often it was launched again after an exit that nobody asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: i64,
    /// How the latest process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// How its latest processes ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<Past>,
    /// Whether it is to be forgotten as soon as it is down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When.
    pub at: Tick,
    /// How long it had been up.
    pub ran_ms: i64,
    /// Whether nobody had asked for it: it ended by itself, or was stopped for being ill.
    pub own: bool,
    /// How.
    pub exit: Exit,
}

/// How many ends of a service are remembered.
pub const EXITS_MAX: usize = 16;

/// An empty text that all services share.
pub fn nothing() -> Arc<str> {
    static NOTHING: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
    Arc::clone(&NOTHING)
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

impl Standing {
    /// Where a service stands of which only the latest process is known.
    pub fn found(incarnation: u64, pid: i32) -> Self {
        let lives = pid != 0;
        Self {
            state: if lives { State::Running } else { State::Stopped },
            why: "it was found by a new server".into(),
            process: lives.then_some(Process { pid, ..Process::new(Tick(0)) }),
            incarnation,
            ..Self::new(Tick(0), Target::Up)
        }
    }

    /// When something happens to it by itself, and what; the earliest of its alarms.
    pub fn next(&self) -> Option<(Tick, Happening)> {
        let alarms = [
            (self.alarm, Happening::Elapsed),
            (self.check_at, Happening::CheckDue),
            (self.measure_at, Happening::MeasureDue),
            (self.timeout_at, Happening::TimedOut),
        ];
        let set = alarms.into_iter().filter_map(|(at, what)| Some((at?, what)));
        set.min_by_key(|(at, _)| *at)
    }

    /// Where a service stands of which nothing is known yet.
    pub fn new(now: Tick, target: Target) -> Self {
        Self {
            target,
            state: State::Stopped,
            why: "it was not started".into(),
            since: now,
            process: None,
            incarnation: 0,
            alarm: None,
            check_at: None,
            timeout_at: None,
            measure_at: None,
            due_since: None,
            checking: false,
            check_failures: 0,
            health: nothing(),
            said_ready: false,
            says: nothing(),
            fault: false,
            turn: None,
            port_freed: false,
            held: None,
            given_up_with: None,
            attempts: 0,
            restarts: 0,
            last_exit: None,
            exits: Vec::new(),
            leaving: false,
        }
    }
}

/// How a process ended, in words: `exit 1`, `SIGKILL`, `SIGSEGV (core dumped)`,
/// `exec: No such file or directory (ENOENT)`.
///
/// ```
/// use zinit_host::state::describe;
/// use zinit_keeper::wire::Exit;
/// assert_eq!(describe(&Exit::Code(1)), "exit 1");
/// assert_eq!(describe(&Exit::Signal { signal: 9, core: false }), "SIGKILL");
/// assert_eq!(describe(&Exit::Unknown), "an unknown status");
/// ```
pub fn describe(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal { signal, core } => {
            let core = if *core { " (core dumped)" } else { "" };
            match nix::sys::signal::Signal::try_from(*signal) {
                Ok(known) => format!("{}{core}", known.as_str()),
                Err(_) => format!("signal {signal}{core}"),
            }
        }
        Exit::Unknown => "an unknown status".to_owned(),
        Exit::Launch { step, errno: 0 } => step.clone(),
        Exit::Launch { step, errno } => {
            let errno = nix::errno::Errno::from_raw(*errno);
            format!("{step}: {} ({errno:?})", errno.desc())
        }
    }
}

/// An end of a process as one number, as a shell has it: 128 and the signal that ended it, 127 when
/// it could not be launched; and 1 when nobody knows.
///
/// ```
/// use zinit_host::state::exit_status;
/// use zinit_keeper::wire::Exit;
/// assert_eq!(exit_status(&Exit::Code(3)), 3);
/// assert_eq!(exit_status(&Exit::Signal { signal: 15, core: false }), 143);
/// ```
pub fn exit_status(exit: &Exit) -> i32 {
    match exit {
        Exit::Code(code) => *code,
        Exit::Signal { signal, .. } => 128 + signal,
        Exit::Launch { .. } => 127,
        Exit::Unknown => 1,
    }
}

/// A service as the core knows it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its configuration.
    pub spec: Rc<Spec>,
    /// Everything else.
    pub standing: Standing,
    /// What it waits for while it is blocked, the first few.
    pub waits_for: Vec<ServiceName>,
}

//! What a user wrote about a service, parsed and valid.
//!
//! A YAML file and the configuration object of an RPC are both turned into a tree of nodes that know
//! where they were written (`node`); one walk over that tree (`read`) knows every key, its default
//! and what it may hold (`value`). `write` is the way back.

mod changes;
mod duration;
mod keys;
mod labels;
mod limit;
mod log;
mod map;
mod node;
mod patterns;
mod read;
mod run_as;
mod schema;
mod size;
#[cfg(test)]
mod tests;
mod value;
mod write;
mod xinit;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use nix::sys::signal::Signal;
use serde_json::Value;

pub use duration::parse as duration_ms;
pub use keys::{KEYS, Key, Kind, PROXY};
pub use limit::{limit_names, resource_of};
pub(crate) use log::comes_back;
pub use patterns::line_regex;
pub use schema::schema;
pub(crate) use size::parse as bytes;
pub use xinit::{Mode, ProxyProtocol, Xinit};

use crate::address::Address;
use crate::name::ServiceName;
use crate::refusal::Refusal;

/// Everything a service's configuration says. The file name is the service's name, so it is not in
/// here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The command line as written; it can be split as a shell would, into at least one word. Empty
    /// for a target, which runs nothing and is done when what it needs is up.
    pub exec: String,
    /// Whether it starts with the server.
    pub status: Status,
    /// It is meant to end; exit code 0 is its success.
    pub oneshot: bool,
    /// The server ends with it: when it comes to rest without being asked to, everything does.
    pub essential: bool,
    /// Milliseconds from the stop signal to SIGKILL.
    pub shutdown_timeout_ms: i64,
    /// The services that must be up (a oneshot: done) before this one starts.
    pub after: Vec<ServiceName>,
    /// As `after`; they are started with this one, and it stops and restarts with them.
    pub requires: Vec<ServiceName>,
    /// They are started with this one, which waits while they start, but not for those that fail.
    pub wants: Vec<ServiceName>,
    /// Services that wait for this one while it starts.
    pub before: Vec<ServiceName>,
    /// Services that must be down while this one runs.
    pub conflicts: Vec<ServiceName>,
    /// Names under which it can be addressed together with others.
    pub groups: Vec<String>,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// A command that asks it to stop, before the signal does; empty for none.
    pub stop_cmd: String,
    /// Where its output goes; services with the usual log share it.
    pub log: Arc<Log>,
    /// The service that gets its output on stdin, in place of any log.
    pub log_to: Option<ServiceName>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory; empty for `/`.
    pub dir: String,
    /// Milliseconds before the first restart, if the user wants another delay than the policy's.
    pub restart_delay_ms: Option<i64>,
    /// After which ends it is started again.
    pub restart: Restart,
    /// How many failed attempts in a row before it is given up; 0 for no limit.
    pub max_restarts: i64,
    /// A command that is run when it is given up; empty for none.
    pub on_give_up: String,
    /// How it says that it is ready, beside its health checks.
    pub readiness: Readiness,
    /// Milliseconds that it may take to be ready; 0 for no limit.
    pub start_timeout_ms: i64,
    /// Milliseconds within which it must say `WATCHDOG=1` again and again; 0 for never.
    pub watchdog_ms: i64,
    /// Whom it runs as, and with which limits; services without such wishes share theirs.
    pub run_as: Arc<RunAs>,
    /// Its health checks; services without any share theirs.
    pub health: Arc<Health>,
    /// Its on-demand proxy.
    pub xinit: Option<Box<Xinit>>,
    /// What its user says of it; a policy reads it.
    pub labels: BTreeMap<String, String>,
    /// The functions that take the place of hooks for this service, by hook; or the strategy of all
    /// of them, by `*`.
    pub policy: BTreeMap<String, String>,
    /// It stands in no file: it lasts as long as the keeper.
    pub transient: bool,
}

/// After which ends a service is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// After every end that nobody asked for.
    #[default]
    Always,
    /// After every end but exit code 0.
    OnFailure,
    /// After none.
    Never,
}

/// How a service says that it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// By living for a moment.
    #[default]
    Lives,
    /// By `READY=1` to `NOTIFY_SOCKET`.
    Notify,
    /// By a line that it writes to this descriptor.
    Fd(i32),
    /// By a line of its output that matches this regular expression, which compiles.
    Log(Arc<str>),
}

/// Whom a service runs as, and with which limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunAs {
    /// Its user, by name or number; empty for the server's own.
    pub user: String,
    /// Its group, by name or number; empty for the user's.
    pub group: String,
    /// Its supplementary groups; `None` for the user's.
    pub groups: Option<Vec<String>>,
    /// Its file mode creation mask.
    pub umask: Option<u32>,
    /// Its nice value, -20 to 19.
    pub nice: Option<i32>,
    /// How gladly the kernel kills it when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Its resource limits by name (`nofile`, `nproc`, `core` ...): soft and hard, `u64::MAX` for none.
    pub limits: BTreeMap<String, (u64, u64)>,
    /// Whether it can gain no privileges.
    pub no_new_privs: bool,
    /// A file of `KEY=VALUE` lines that is read at each start; one that begins with `-` may be missing.
    pub env_file: Vec<String>,
    /// The most memory that it may use, in bytes.
    pub memory_max: Option<u64>,
    /// The most CPU that it may use, in percent of one.
    pub cpu_max: Option<u32>,
    /// The most processes and threads that it may have.
    pub pids_max: Option<u32>,
}

/// Whether a service starts with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    #[default]
    Start,
    /// Only when asked to.
    Stop,
    /// Only when asked to; nor is it part of `start_all`.
    Ignore,
}

/// Where a service's output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// The last lines are kept, in small files.
    #[default]
    Ring,
    /// To files that are rotated.
    File,
    /// As `Ring`, and each line is also printed by the server.
    Stdout,
    /// Nowhere.
    None,
}

/// Where a service's output goes, and what of it is kept. What is `None` depends on the mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The kind of log.
    pub mode: LogMode,
    /// The directory of its files; empty for one in the server's own state directory.
    pub dir: String,
    /// Bytes after which a file is closed and the next begun.
    pub rotate_size: Option<u64>,
    /// Milliseconds after which a file is closed and the next begun; 0 for never.
    pub rotate_age_ms: i64,
    /// How many closed files are kept.
    pub keep: Option<u32>,
    /// Whether closed files are compressed, by zstd.
    pub compress: Option<bool>,
    /// What becomes of lines for which there is no room.
    pub full: Full,
    /// Where each line is sent as well: the path of a datagram socket (`/dev/log`), or
    /// `udp://ADDRESS:PORT`; empty for nowhere.
    pub syslog: String,
}

/// What becomes of lines for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Full {
    /// They are dropped and counted.
    #[default]
    Drop,
    /// The service waits in its writing until there is room.
    Block,
}

/// How to tell whether a service is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Milliseconds between checks.
    pub period_ms: i64,
    /// Failures in a row that count.
    pub retry: i64,
    /// Milliseconds that one round of checks may take.
    pub timeout_ms: i64,
    /// Commands that must exit with 0.
    pub test_cmd: Vec<String>,
    /// `host:port` that must accept a connection.
    pub test_tcp: Vec<String>,
    /// URLs that must answer 2xx.
    pub test_http: Vec<String>,
    /// Whether whoever listens on the first `test_tcp` port is killed before a start.
    pub tcp_kill: bool,
}

impl Spec {
    /// A service file longer than this is refused unread.
    pub const FILE_BYTES_MAX: usize = 1 << 20;

    /// Parses the text of a service file. `path` is only named in refusals.
    ///
    /// # Errors
    /// `bad_config`, whose data has `path`, `line` and `column` (both from 1), `source` (the line as
    /// written) and, when one key is to blame, `key`.
    ///
    /// ```
    /// use std::path::Path;
    /// use zinit_host::spec::Spec;
    /// let no = Spec::from_yaml("oneshot: true\nexce: ls\n", Path::new("/x/web.yaml")).unwrap_err();
    /// assert_eq!(no.message, "/x/web.yaml:2:1: unknown key `exce`");
    /// assert_eq!(no.hint.as_deref(), Some("did you mean `exec`?"));
    /// assert_eq!(no.data["source"], "exce: ls");
    /// ```
    pub fn from_yaml(text: &str, path: &Path) -> Result<Self, Refusal> {
        let fault = |it: node::Fault| it.in_file(text, path);
        let root = node::of_yaml(text).map_err(fault)?;
        read::spec(root).map_err(fault)
    }

    /// Parses the configuration object of `service.register` and `service.monitor`: the flat shape of
    /// zinit 0.3, and everything that a service file may say. An empty text, list or map, and null,
    /// mean the default; only `supplementary_groups` tells an empty list, which is no group at all, from
    /// null.
    ///
    /// # Errors
    /// `bad_config`; its data has the `key`.
    pub fn from_config(config: &Value) -> Result<Self, Refusal> {
        read::spec(node::of_json(config)).map_err(node::Fault::without_file)
    }

    /// A service that runs this command line and is otherwise as by default.
    ///
    /// # Panics
    /// When no command can be made of the text: this is for tests and constants.
    pub fn of_exec(exec: &str) -> Self {
        value::split(exec, "exec").expect("the command line is written by a programmer");
        Self::new(exec.to_owned())
    }

    /// The command line, split as a shell would; empty for a target.
    pub fn argv(&self) -> Vec<String> {
        shlex::split(&self.exec).expect("a command line is split once before it is a service's")
    }

    /// Whether it runs nothing, and is only there to bring others up.
    pub fn is_target(&self) -> bool {
        self.exec.is_empty()
    }

    /// The services that are started with this one: what it wants, and who is to read its output.
    pub fn wanted(&self) -> impl Iterator<Item = &ServiceName> {
        self.wants.iter().chain(self.log_to.iter().filter(|it| !self.wants.contains(it)))
    }

    /// Whether it names others that start with it or before it: without a command, it is a target.
    fn brings_up_others(&self) -> bool {
        !(self.requires.is_empty() && self.wants.is_empty() && self.after.is_empty())
    }

    fn new(exec: String) -> Self {
        Self {
            exec,
            status: Status::default(),
            oneshot: false,
            essential: false,
            shutdown_timeout_ms: 10_000,
            after: Vec::new(),
            requires: Vec::new(),
            wants: Vec::new(),
            before: Vec::new(),
            conflicts: Vec::new(),
            groups: Vec::new(),
            stop_signal: Signal::SIGTERM,
            stop_cmd: String::new(),
            log: Log::usual(),
            log_to: None,
            env: BTreeMap::new(),
            dir: String::new(),
            restart_delay_ms: None,
            restart: Restart::default(),
            max_restarts: 0,
            on_give_up: String::new(),
            readiness: Readiness::default(),
            start_timeout_ms: 0,
            watchdog_ms: 0,
            run_as: RunAs::server(),
            transient: false,
            health: Health::none(),
            xinit: None,
            labels: BTreeMap::new(),
            policy: BTreeMap::new(),
        }
    }
}

impl Health {
    /// No checks at all.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Health>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// The port of the first `test_tcp`, which `tcp_kill` is about.
    pub fn first_port(&self) -> Option<u16> {
        self.test_tcp.first()?.rsplit_once(':')?.1.parse().ok()
    }

    /// The address of the first `test_tcp`.
    pub fn first_address(&self) -> Option<Address> {
        Address::parse(self.test_tcp.first()?).ok()
    }

    /// Whether there is anything to check.
    pub fn has_checks(&self) -> bool {
        !(self.test_cmd.is_empty() && self.test_tcp.is_empty() && self.test_http.is_empty())
    }
}

impl Log {
    /// The last lines of it are kept.
    pub fn usual() -> Arc<Self> {
        static USUAL: LazyLock<Arc<Log>> = LazyLock::new(Arc::default);
        Arc::clone(&USUAL)
    }
}

impl RunAs {
    /// As the server, without limits of its own.
    pub fn server() -> Arc<Self> {
        static SERVER: LazyLock<Arc<RunAs>> = LazyLock::new(Arc::default);
        Arc::clone(&SERVER)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            period_ms: 10_000,
            retry: 3,
            timeout_ms: 5_000,
            test_cmd: Vec::new(),
            test_tcp: Vec::new(),
            test_http: Vec::new(),
            tcp_kill: false,
        }
    }
}

impl Status {
    const WORDS: [(&str, Self); 3] =
        [("start", Self::Start), ("stop", Self::Stop), ("ignore", Self::Ignore)];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, self)
    }
}

impl Restart {
    const WORDS: [(&str, Self); 3] =
        [("always", Self::Always), ("on-failure", Self::OnFailure), ("never", Self::Never)];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, self)
    }
}

impl LogMode {
    const WORDS: [(&str, Self); 4] = [
        ("ring", Self::Ring),
        ("file", Self::File),
        ("stdout", Self::Stdout),
        ("none", Self::None),
    ];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, self)
    }
}

/// The signal that a user means: `SIGTERM`, `TERM` and `sigterm` are the same.
///
/// ```
/// use nix::sys::signal::Signal;
/// use zinit_host::spec::signal_of;
/// assert_eq!(signal_of("term"), Some(Signal::SIGTERM));
/// assert_eq!(signal_of("SIGTREM"), None);
/// ```
pub fn signal_of(word: &str) -> Option<Signal> {
    let word = word.trim().to_ascii_uppercase();
    let bare = word.strip_prefix("SIG").unwrap_or(&word);
    Signal::from_str(&format!("SIG{bare}")).ok()
}

fn word_of<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, it)| *it == value).expect("every variant has its word").0
}

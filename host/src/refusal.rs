//! Saying no: the one error type that users are meant to read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::name::BadName;

/// Why something was not done: a stable code for programs, a sentence for people, and a hint.
///
/// It crosses the RPC as a JSON-RPC error (`code`, `message`, and `data` with `reason` and the
/// rest) and reaches scripts as a value (`err.code`, `err.message`, `err.hint`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal this is.
    pub kind: Kind,
    /// What could not be done, then why; lower case, names in backticks, no full stop.
    pub message: String,
    /// What the reader may do about it, if there is something.
    pub hint: Option<String>,
    /// Facts for programs: `service`, `path`, `line` ...
    pub data: Map<String, Value>,
}

/// The kinds of refusal, with their stable JSON-RPC codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No service of that name. Code -32000.
    UnknownService,
    /// A name, signal or other argument that is not one. Code -32602, as JSON-RPC has it.
    BadArgument,
    /// A service's configuration that does not hold. Code -32011.
    BadConfig,
    /// The service is down, and what was asked needs a process. Code -32002.
    ServiceDown,
    /// The server is stopping. Code -32003.
    ShuttingDown,
    /// A file could not be read or written. Code -32014.
    Storage,
    /// It did not happen in the time given. Code -32004.
    TimedOut,
    /// No proxy of that name. Code -32015.
    UnknownProxy,
    /// Whoever asks may not. Code -32001.
    Forbidden,
    /// Nothing of ours answers at the socket. Code -32005; only clients say this.
    NoServer,
    /// Interrupted by the user. Code -32006; only clients say this.
    Interrupted,
    /// Everything else. Code -32603.
    Internal,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::UnknownService,
        Self::UnknownProxy,
        Self::BadArgument,
        Self::BadConfig,
        Self::ServiceDown,
        Self::ShuttingDown,
        Self::Storage,
        Self::TimedOut,
        Self::Forbidden,
        Self::NoServer,
        Self::Interrupted,
        Self::Internal,
    ];

    /// The JSON-RPC error code.
    pub fn code(self) -> i32 {
        match self {
            Self::UnknownService => -32000,
            Self::Forbidden => -32001,
            Self::ServiceDown => -32002,
            Self::ShuttingDown => -32003,
            Self::TimedOut => -32004,
            Self::NoServer => -32005,
            Self::Interrupted => -32006,
            Self::BadConfig => -32011,
            Self::Storage => -32014,
            Self::UnknownProxy => -32015,
            Self::BadArgument => -32602,
            Self::Internal => -32603,
        }
    }

    /// The kind that has this JSON-RPC code; [`Internal`](Self::Internal) for one of nobody's.
    pub fn of_code(code: i32) -> Self {
        Self::ALL.into_iter().find(|it| it.code() == code).unwrap_or(Self::Internal)
    }

    /// The word for it, as in `err.code` of a script: `unknown_service`, `bad_config` ...
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown_service",
            Self::UnknownProxy => "unknown_proxy",
            Self::BadArgument => "bad_argument",
            Self::BadConfig => "bad_config",
            Self::ServiceDown => "service_down",
            Self::ShuttingDown => "shutting_down",
            Self::Storage => "storage",
            Self::TimedOut => "timed_out",
            Self::Forbidden => "forbidden",
            Self::NoServer => "no_server",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
        }
    }
}

impl Refusal {
    /// A refusal without hint or facts.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, data: Map::new() }
    }

    /// Adds what the reader may do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    /// A refusal inside another one: its facts, and its sentence and hint among them.
    pub fn to_problem(&self) -> Value {
        let mut facts: Map<String, Value> = self.data.clone();
        facts.insert("code".to_owned(), self.kind.word().into());
        facts.insert("message".to_owned(), self.message.as_str().into());
        facts.insert("hint".to_owned(), self.hint.as_deref().into());
        facts.into()
    }

    /// There is no service of that name; the nearest of `known` is suggested.
    pub fn unknown_service<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let refusal = Self::new(Kind::UnknownService, format!("there is no service `{name}`"))
            .with("service", name);
        match nearest(name, known) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("`zinit list` shows the services there are"),
        }
    }

    /// There is no proxy of that name; the nearest of `known` is suggested.
    pub fn unknown_proxy<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let refusal = Self::new(Kind::UnknownProxy, format!("there is no proxy `{name}`"))
            .with("proxy", name);
        match nearest(name, known) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("`zinit xinit list` shows the proxies there are"),
        }
    }
}

impl From<BadName> for Refusal {
    fn from(bad: BadName) -> Self {
        Self::new(Kind::BadArgument, bad.to_string()).with("service", bad.0)
    }
}

/// The word of `known` that `word` most likely meant: at most a third of its letters differ, and
/// not all of them.
///
/// ```
/// use zinit_host::refusal::nearest;
/// assert_eq!(nearest("exce", ["after", "exec", "env"].into_iter()), Some("exec"));
/// assert_eq!(nearest("quux", ["after", "exec", "env"].into_iter()), None);
/// assert_eq!(nearest("f", ["E", "PI"].into_iter()), None);
/// ```
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    let far = (letters / 3).max(1) + usize::from(word.len() > 3);
    known
        .map(|it| (strsim::damerau_levenshtein(word, it), it))
        .filter(|(distance, it)| {
            *distance <= far.min(3) && *distance < letters.max(it.chars().count())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

//! Saying no: a sentence, a hint where there is one, and a code for programs.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;

use serde_json::{Value, json};

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something was said on the command line that cannot be.
    BadArgument,
    /// The updater's own file is not as it must be, or lacks something.
    BadState,
    /// The release or the script was not signed by who holds the key.
    BadSignature,
    /// The release was signed, but is not what it must be.
    BadRelease,
    /// The script does not compile, or failed.
    BadScript,
    /// Something could not be fetched.
    Network,
    /// A file could not be read or written.
    Storage,
    /// Another update is under way.
    Busy,
    /// The release is older than what is installed.
    Downgrade,
    /// The new programs did not pass their test, and nothing was changed.
    FailedTest,
    /// The new server did not do, and the old one is back.
    RolledBack,
    /// The server said no.
    Server,
}

impl Kind {
    /// Its name for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::BadArgument => "bad_argument",
            Self::BadState => "bad_state",
            Self::BadSignature => "bad_signature",
            Self::BadRelease => "bad_release",
            Self::BadScript => "bad_script",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Busy => "busy",
            Self::Downgrade => "downgrade",
            Self::FailedTest => "failed_test",
            Self::RolledBack => "rolled_back",
            Self::Server => "server",
        }
    }
}

/// Why the updater said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: Kind,
    /// What could not be done, then why.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A file that something could not be done with.
    pub(crate) fn storage(verb: &str, path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot {verb} `{}`: {}", path.display(), plainly(error));
        Self::new(Kind::Storage, message)
    }

    /// The same for programs.
    pub(crate) fn as_json(&self) -> Value {
        json!({ "code": self.kind.word(), "message": self.message, "hint": self.hint })
    }
}

impl Display for Refusal {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// What the system says, without its number.
pub(crate) fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

//! What was decided, and all that the answer depended on: enough to ask the same question again.

use std::rc::Rc;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::event::{Happening, Tick};
use crate::policy::mark_of;
use crate::state::Service;
use crate::view::Seen;

/// One question that the policy was asked.
#[derive(Clone, Debug)]
pub struct Decision {
    /// When.
    pub now: Tick,
    /// What was asked, and answered.
    pub question: Question,
    /// What went wrong with a user's policy on the way to the answer.
    pub faults: Vec<Fault>,
}

/// What the policy was asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// What is done about an event.
    Step {
        /// The service before it.
        before: Rc<Service>,
        /// What happened.
        what: Happening,
        /// What the policy saw, with the service as the event alone has changed it.
        seen: Rc<Seen>,
        /// What is to be done; `None` when nothing could be decided.
        said: Option<Vec<Action>>,
        /// The service after it.
        after: Rc<Service>,
    },
    /// A hook that the core asks by itself.
    Hook {
        /// Which.
        hook: &'static str,
        /// What it saw of a service, if it is about one.
        seen: Option<Rc<Seen>>,
        /// What else it was given.
        args: Vec<Dynamic>,
        /// What it said; `None` when it had no answer.
        said: Option<Dynamic>,
    },
}

/// How a user's function failed to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it was to answer.
    pub hook: String,
    /// Which function it is: `restart_delay`, `backoff::mine`.
    pub function: String,
    /// The file that it stands in.
    pub path: String,
    /// The line where it failed; 0 when that is not known.
    pub line: usize,
    /// What went wrong.
    pub why: String,
    /// Whether it is not asked again until it changes.
    pub benched: bool,
    /// Whether it was cut off by the clock, which another run may not repeat.
    pub by_clock: bool,
    /// The service that has chosen it for itself, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<String>,
}

impl Fault {
    /// What tells the function from every other one: its file and its name, and who has chosen it.
    pub fn place(&self) -> String {
        let file = std::path::Path::new(&self.path).file_stem().unwrap_or_default();
        let mark = self.chosen_by.as_deref().map(mark_of).unwrap_or_default();
        format!("{}::{}{mark}", file.to_string_lossy(), self.function)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hook, function, path, line, why, benched, chosen_by, .. } = self;
        write!(f, "{path}")?;
        if *line > 0 {
            write!(f, ":{line}")?;
        }
        write!(f, ": `{function}` failed")?;
        if function != hook {
            write!(f, " as `{hook}`")?;
        }
        write!(f, ": {why}; the bundled function decided")?;
        match chosen_by {
            _ if !benched => Ok(()),
            None => write!(f, ", and does so until the file changes"),
            Some(service) => write!(f, ", and does so until the file or `{service}` changes"),
        }
    }
}

//! What a fleet would go through: a user's services under a user's policy, with faults drawn from a
//! seed, in virtual time under the real core.
//!
//! Nothing here reads a clock, and nothing is kept in an order that another run may not repeat: the
//! same plan and seed give the same report, to the byte. When a service crashes depends on the seed
//! and on its name alone, so that two policies can be compared under the same mishaps.
//!
//! What is modelled: processes start at once (unless they are slow), end when they are told to (unless
//! they hang), and otherwise end by the faults alone; a oneshot takes a moment and succeeds. Whatever
//! signal a step of `stop_steps` sends ends a service that does not hang, also one that a real program
//! may not heed. Checks ask a service about itself: they fail while it hangs, is out or is slow to
//! start, whatever becomes of those that it needs; nor does a service that is out say that it is
//! ready. Who depends on it feels that only as the core and the policy have it. The world begins on a
//! Thursday at midnight, in UTC.
//!
//! | file | what it holds |
//! |---|---|
//! | `fault` | mishaps as users write them, and what is in store for a service |
//! | `dice` | where chance comes from |
//! | `course` | lets it all happen |
//! | `tally` | counts meanwhile |
//! | `report` | what came of it |

mod course;
mod dice;
mod fault;
mod report;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use fault::Fault;
pub use report::{Break, Cell, Course, Problem, Report, Storm, time_of};

use crate::engine::on_deep_stack;
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::store::Store;

/// Files, each with its text.
pub type Files = Vec<(PathBuf, String)>;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The services, sorted by name.
    pub services: Vec<(ServiceName, Spec)>,
    /// The files of the policy, each with its text.
    pub policy: Files,
    /// What goes wrong; with nothing, each service crashes once a day.
    pub faults: Vec<Fault>,
    /// For how long.
    pub span_ms: i64,
    /// What chance is drawn from.
    pub seed: u64,
    /// Into how many parts the timelines are divided.
    pub parts: usize,
    /// Whether health checks are left out that can only hold. The report is the same but for the
    /// numbers of `service.chance`, which fall otherwise.
    pub skips: bool,
}

impl Plan {
    /// A day of the services of a directory under its policy, or under that of another file or
    /// directory.
    ///
    /// # Errors
    /// When any of it is not fine, with all problems: a forecast for some of the services would be
    /// one for a fleet that there is not.
    pub fn read(dir: &Path, policy: Option<&Path>) -> Result<Self, Refusal> {
        let loaded = Store::new(dir).look();
        let (policy, unread) = match policy {
            Some(path) => policy_at(path)?,
            None => Store::new(dir).policy_files(),
        };
        let mut problems = loaded.problems;
        problems.extend(unread);
        let refused = || Policy::of(&policy).err().unwrap_or_default();
        problems.extend(on_deep_stack(refused).map_err(|_| panicked())?);
        if !problems.is_empty() {
            return Err(nothing_is_simulated(&problems));
        }
        let services = loaded.specs;
        Ok(Self {
            services,
            policy,
            faults: vec![],
            span_ms: 86_400_000,
            seed: 1,
            parts: 96,
            skips: true,
        })
    }

    /// What comes of it. `watch` is told every now and then which moment has been reached, and says
    /// whether to go on.
    ///
    /// # Errors
    /// When a fault befalls no service, a service names functions that the policy has not, nothing
    /// would come to an end within a moment, or `watch` says no.
    pub fn forecast(&self, watch: &mut (dyn FnMut(i64) -> bool + Send)) -> Result<Report, Refusal> {
        self.faults.iter().try_for_each(|it| it.vet(&self.services))?;
        on_deep_stack(|| course::run(self, watch)).map_err(|_| panicked())?
    }
}

/// The policy in a file, or in `policy.rhai` and `policy/*.rhai` of a directory.
fn policy_at(path: &Path) -> Result<(Files, Vec<Refusal>), Refusal> {
    let refusal = |why: String| {
        let message = format!("cannot read the policy {}: {why}", path.display());
        Refusal::new(Kind::Storage, message).with("path", path.display().to_string())
    };
    if path.is_dir() {
        let (files, unread) = Store::new(path).policy_files();
        if files.is_empty() && unread.is_empty() {
            let why = "there is neither `policy.rhai` nor `policy/*.rhai` in it";
            return Err(refusal(why.to_owned()));
        }
        return Ok((files, unread));
    }
    let text = fs::read_to_string(path).map_err(|error| refusal(error.to_string()))?;
    Ok((vec![(path.to_owned(), text)], Vec::new()))
}

fn nothing_is_simulated(problems: &[Refusal]) -> Refusal {
    let count = problems.len();
    let many = if count == 1 { "1 problem" } else { &format!("{count} problems") };
    let problems: Vec<Value> = problems.iter().map(facts).collect();
    Refusal::new(Kind::BadConfig, format!("nothing is simulated: {many} in the files"))
        .with("problems", problems)
}

/// A refusal inside another one: its facts, and its sentence and hint among them.
fn facts(it: &Refusal) -> Value {
    let mut facts: Map<String, Value> = it.data.clone();
    facts.insert("code".to_owned(), it.kind.word().into());
    facts.insert("message".to_owned(), it.message.as_str().into());
    facts.insert("hint".to_owned(), it.hint.as_deref().into());
    facts.into()
}

fn panicked() -> Refusal {
    Refusal::new(Kind::Internal, "the simulation has panicked; please report this")
}

//! Asks again what a journal has recorded: with the same inputs, under the policy that was in force or
//! under another one, and says where the answer differs.
//!
//! Nothing is read but what the records hold, so a journal can be replayed on another machine. A policy
//! lives through the whole replay, so a function that was benched is benched at the same decision.

mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{Dynamic, Scope};
use serde::Serialize;
use serde_json::Value;

use crate::action::Action;
use crate::core::{DERIVED, ask_table};
use crate::decision::{Decision, Fault, Question};
use crate::draft::Draft;
use crate::event::{Event, Happening, Tick};
use crate::journal::{self, Reader, Record, to_json};
use crate::name::ServiceName;
use crate::policy::{Policy, Sources};
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::state::Service;
use crate::view::{EventView, ExitView, Facts, Seen, ServiceView};

pub use words::{in_words, inputs};

/// Which decisions are asked again. The others count only what their faults have done to a policy.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Nothing before this, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Nothing after this.
    pub to_ms: Option<i64>,
    /// Only what is about this service.
    pub service: Option<ServiceName>,
}

/// A replay that goes on line by line.
pub struct Replay {
    reader: Reader,
    span: Span,
    /// The policy as it was recorded.
    recorded: Policy,
    /// The policy that is tried in its place.
    other: Option<Policy>,
    /// How each service was configured last.
    specs: BTreeMap<ServiceName, Rc<Spec>>,
    /// What there is to say besides.
    remarks: Vec<String>,
    /// How many records are missing in the journal.
    pub missing: u64,
}

/// A decision that was asked again.
#[derive(Debug)]
pub struct Redone {
    /// When it was, in milliseconds since 1970.
    pub at: i64,
    /// What was recorded.
    pub decision: Decision,
    /// What is answered now.
    pub answer: Said,
    /// The policy that has answered.
    pub policy: Rc<Sources>,
    /// The faults of the functions that are asked now.
    pub faults: Vec<Fault>,
    /// The questions about the state after it that two policies answer differently.
    pub derived: Vec<Derived>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// What is to be done; `None` when nothing could be decided.
    Actions(Option<Vec<Action>>),
    /// What a hook has said.
    Value(Value),
}

/// A question about how a service stands that two policies answer differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Derived {
    /// Which.
    pub hook: &'static str,
    /// What the policy says that was in force.
    pub was: bool,
    /// What the other says.
    pub would_be: bool,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("span", &self.span).finish_non_exhaustive()
    }
}

impl Redone {
    /// What was decided.
    pub fn was(&self) -> Said {
        match &self.decision.question {
            Question::Step { said, .. } => Said::Actions(said.clone()),
            Question::Hook { said, .. } => Said::Value(said.as_ref().map_or(Value::Null, to_json)),
        }
    }

    /// Whether it is decided differently now.
    pub fn differs(&self) -> bool {
        self.was() != self.answer || !self.derived.is_empty()
    }

    /// Which service it is about, if it is about one.
    pub fn service(&self) -> Option<&ServiceName> {
        service_of(&self.decision)
    }

    /// The configuration of that service.
    pub fn spec(&self) -> Option<&Spec> {
        match &self.decision.question {
            Question::Step { before, .. } => Some(&before.spec),
            Question::Hook { seen, .. } => seen.as_ref().map(|it| &*it.service.spec),
        }
    }

    /// What was asked: the kind of the event, or the hook.
    pub fn asked(&self) -> &'static str {
        match &self.decision.question {
            Question::Step { what, .. } => what.kind(),
            Question::Hook { hook, .. } => hook,
        }
    }
}

fn service_of(decision: &Decision) -> Option<&ServiceName> {
    match &decision.question {
        Question::Step { before, .. } => Some(&before.name),
        Question::Hook { seen, .. } => seen.as_ref().map(|it| &it.service.name),
    }
}

impl Replay {
    /// A replay under the policy that was in force, or under these files.
    ///
    /// # Errors
    /// Every fault of the files.
    pub fn new(files: Option<&[(PathBuf, String)]>, span: Span) -> Result<Self, Vec<Refusal>> {
        let other = files.map(Policy::of).transpose()?;
        let recorded = Policy::bundled();
        other.iter().chain([&recorded]).for_each(Policy::repeats);
        let (reader, remarks) = (Reader::default(), Vec::new());
        let specs = BTreeMap::new();
        Ok(Self { reader, span, recorded, other, specs, remarks, missing: 0 })
    }

    /// Reads the next line of the journal, and asks again what it records.
    ///
    /// # Errors
    /// When the recorded policy is none any more.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Redone>, Refusal> {
        let Some(record) = self.reader.read(line) else { return Ok(None) };
        for spec in self.reader.take_specs() {
            self.recorded.expect(&spec);
            self.other.iter_mut().for_each(|it| it.expect(&spec));
        }
        match record {
            Record::DecidedBy { sources, is_new, failures, .. } => {
                let goes_on = self.recorded.failures() == failures;
                if is_new || !goes_on || self.recorded.sources().files != sources.files {
                    self.decide_by(&sources)?;
                    failures.iter().for_each(|(place, times)| self.recorded.count(place, *times));
                }
            }
            Record::Faulted(fault) => self.recorded.count(&fault.place(), 1),
            Record::Dropped(count) => self.missing += count,
            Record::Decided { at, decision } => return Ok(self.redo(at, *decision)),
            Record::Changed(_) | Record::Other => {}
        }
        Ok(None)
    }

    /// Asks again what a journal records: a directory, or a file of one.
    ///
    /// # Errors
    /// When there is no journal, or a recorded policy is none any more. A file that cannot be read to its
    /// end is a remark.
    pub fn over(&mut self, journal: &Path, mut each: impl FnMut(Redone)) -> Result<(), Refusal> {
        let cannot = |path: &Path, error: &io::Error| {
            let message = format!("cannot read {}: {error}", path.display());
            Refusal::new(Kind::Storage, message)
        };
        for file in journal::files(journal).map_err(|it| cannot(journal, &it))? {
            if self.span.is_before(&file) {
                continue;
            }
            let mut refused = None;
            let read = journal::lines(&file, |line| match self.line(line) {
                _ if refused.is_some() => {}
                Ok(redone) => redone.into_iter().for_each(&mut each),
                Err(refusal) => refused = Some(refusal),
            });
            refused.map_or(Ok(()), Err)?;
            // The others can be read without it.
            if let Err(error) = read {
                self.remarks.push(cannot(&file, &error).message);
            }
        }
        Ok(())
    }

    /// What there is to say since the last call.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// How many lines could not be read.
    pub fn unread(&self) -> u64 {
        self.reader.unread
    }

    fn decide_by(&mut self, sources: &Rc<Sources>) -> Result<(), Refusal> {
        let mut policy = Policy::of(&sources.files).map_err(|mut all| all.remove(0))?;
        policy.repeats();
        self.reader.specs().for_each(|it| policy.expect(it));
        let remark = "the bundled policy is another version than the one that decided";
        if policy.sources().version != sources.version && self.remarks.is_empty() {
            self.remarks.push(remark.to_owned());
        }
        self.recorded = policy;
        Ok(())
    }

    /// A service that is configured differently is forgiven the failures of its own functions.
    fn forgive(&mut self, decision: &Decision) {
        let Question::Step { before, .. } = &decision.question else { return };
        let known = self.specs.insert(before.name.clone(), Rc::clone(&before.spec));
        if known.is_none()
            && let Some(refusal) = self.other.as_ref().and_then(|it| it.vet(&before.spec).err())
        {
            self.remarks
                .push(format!("`{}`: {refusal}; the policy decides in its place", before.name));
        }
        if known.is_some_and(|it| !Rc::ptr_eq(&it, &before.spec) && it != before.spec) {
            self.recorded.forgive(&before.name);
            self.other.iter().for_each(|it| it.forgive(&before.name));
        }
    }

    fn redo(&mut self, at: i64, decision: Decision) -> Option<Redone> {
        self.forgive(&decision);
        if !self.span.has(at, service_of(&decision)) {
            decision.faults.iter().for_each(|it| self.recorded.count(&it.place(), 1));
            return None;
        }
        let (answer, faults) = match &self.other {
            Some(other) => ask(other, &decision),
            None => ask_as_recorded(&self.recorded, &decision),
        };
        let derived = self.derived(&decision);
        let policy = Rc::clone(self.other.as_ref().unwrap_or(&self.recorded).sources());
        Some(Redone { at, decision, answer, policy, faults, derived })
    }

    /// What two policies say about the service after the decision.
    fn derived(&self, decision: &Decision) -> Vec<Derived> {
        let (Some(other), Question::Step { seen, after, .. }) = (&self.other, &decision.question)
        else {
            return Vec::new();
        };
        let facts = seen.facts.clone();
        let seen = Rc::new(Seen { service: Rc::clone(after), facts, event: "" });
        let ask = |policy: &Policy, hook| {
            let view = Dynamic::from(ServiceView::new(Rc::clone(&seen)));
            let accept = |said: Dynamic| said.as_bool().map_err(str::to_owned);
            policy.ask(hook, vec![view], accept).said.ok()
        };
        let both = DERIVED.into_iter().filter_map(|hook| {
            let (was, would_be) = (ask(&self.recorded, hook)?, ask(other, hook)?);
            Some(Derived { hook, was, would_be })
        });
        both.filter(|it| it.was != it.would_be).collect()
    }
}

impl Span {
    /// Whether all of this file is older. A closed one is named by the time when it was closed.
    fn is_before(&self, file: &Path) -> bool {
        let closed_ms = file.file_name().and_then(|it| journal::closed_ms(&it.to_string_lossy()));
        closed_ms.zip(self.from_ms).is_some_and(|(closed, from)| closed < from)
    }

    fn has(&self, at: i64, service: Option<&ServiceName>) -> bool {
        self.from_ms.is_none_or(|it| at >= it)
            && self.to_ms.is_none_or(|it| at <= it)
            && self.service.as_ref().is_none_or(|it| service == Some(it))
    }
}

/// Asks as it was asked then: what the clock cut off is not asked, and counts.
fn ask_as_recorded(policy: &Policy, decision: &Decision) -> (Said, Vec<Fault>) {
    let cut: Vec<Fault> = decision.faults.iter().filter(|it| it.by_clock).cloned().collect();
    if cut.is_empty() {
        return ask(policy, decision);
    }
    policy.pass_over(cut.iter().map(Fault::place).collect());
    let (said, faults) = ask(policy, decision);
    policy.pass_over(Vec::new());
    cut.iter().for_each(|it| policy.count(&it.place(), 1));
    // They are taken as they were.
    (said, cut.into_iter().chain(faults).collect())
}

fn ask(policy: &Policy, decision: &Decision) -> (Said, Vec<Fault>) {
    match &decision.question {
        Question::Step { before, what, seen, .. } => {
            ask_step(policy, decision.now, before, what, &seen.facts)
        }
        Question::Hook { hook, seen, args, .. } => {
            let view = seen.iter().map(|it| Dynamic::from(ServiceView::new(Rc::clone(it))));
            let all = view.chain(args.iter().cloned()).collect();
            let answer = policy.ask(hook, all, |said| accept(hook, said));
            (Said::Value(answer.said.map_or(Value::Null, |it| to_json(&it))), answer.faults)
        }
    }
}

fn ask_step(
    policy: &Policy,
    now: Tick,
    before: &Rc<Service>,
    what: &Happening,
    facts: &Facts,
) -> (Said, Vec<Fault>) {
    let Some(draft) = Draft::prepare(before, now, what, facts.next_turn) else {
        return (Said::Actions(None), Vec::new());
    };
    let seen = draft.seen(facts.clone());
    let event = Event { service: before.name.clone(), now, what: what.clone() };
    let answer = ask_table(policy, &draft, &event, &seen);
    (Said::Actions(answer.said.ok().map(|(_, said)| said)), answer.faults)
}

/// What the core demands of an answer beyond its kind.
fn accept(hook: &str, said: Dynamic) -> Result<Dynamic, String> {
    let code = said.as_int().unwrap_or(0);
    if hook == "exit_status" && !(0..=255).contains(&code) {
        return Err(format!("{code} is no exit status, which is 0 to 255"));
    }
    Ok(said)
}

/// What an expression may name about a decision: `service`, and `event` and `exit` where there are any.
pub fn scope_of(decision: &Decision) -> Scope<'static> {
    let mut scope = Scope::new();
    let mut see = |seen: &Rc<Seen>| {
        scope.push_constant_dynamic("service", Dynamic::from(ServiceView::new(Rc::clone(seen))));
    };
    match &decision.question {
        Question::Step { before, what, seen, .. } => {
            see(seen);
            let event =
                Event { service: before.name.clone(), now: decision.now, what: what.clone() };
            let draft = Draft::prepare(before, decision.now, what, seen.facts.next_turn);
            if let Happening::Exited { exit, .. }
            | Happening::Died { exit, .. }
            | Happening::Ran { exit, .. } = what
            {
                scope.push_constant_dynamic("exit", Dynamic::from(ExitView(exit.clone())));
            }
            if let Some(draft) = draft {
                let view = EventView::new(event, &draft);
                scope.push_constant_dynamic("event", Dynamic::from(view));
            }
        }
        Question::Hook { seen, .. } => seen.iter().for_each(see),
    }
    scope
}

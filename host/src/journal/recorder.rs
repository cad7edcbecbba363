//! Writes down what is decided, a line of JSON for each thing. It is on the core's thread, so it does
//! nothing but to fill a buffer.
//!
//! What is large and comes again (configurations, policies) is written once in each segment, and
//! referred to after that, so that each segment can be read without the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;

use super::values::to_json;
use crate::action::Action;
use crate::chronicle::Entry;
use crate::decision::{Decision, Fault, Question};
use crate::desk::{Answer, Command};
use crate::event::{Happening, Tick};
use crate::name::ServiceName;
use crate::policy::{Sources, mark_of};
use crate::spec::Spec;
use crate::state::{Service, Standing};
use crate::view::{Facts, Seen};

/// The form of what is written.
pub(super) const FORM: u32 = 1;

/// What is to be written, and what a reader of this segment knows already.
#[derive(Debug, Default)]
pub struct Recorder {
    out: Vec<u8>,
    records: u64,
    /// What the segment has defined.
    told: HashSet<u64>,
    /// Whether it has a head.
    begun: bool,
    /// The configurations of services as they were last seen.
    specs: HashMap<ServiceName, (Rc<Spec>, u64)>,
    sources: Option<Rc<Sources>>,
    /// How often functions of this policy have failed.
    failures: BTreeMap<String, u32>,
    /// Faults that may belong to the decision that is told next.
    loose: Vec<(i64, Option<ServiceName>, Fault)>,
}

/// Two digests are the same only if what they stand for is (FNV-1a).
pub(super) fn digest(text: &str) -> u64 {
    let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[derive(Serialize)]
struct Head<'a> {
    journal: u32,
    at: i64,
    zinit: &'a str,
}

#[derive(Serialize)]
struct SpecLine<'a> {
    def: &'a str,
    spec: &'a str,
}

#[derive(Serialize)]
struct PolicyLine<'a> {
    def: &'a str,
    files: Vec<(Cow<'a, str>, &'a str)>,
}

#[derive(Serialize)]
struct InForce<'a> {
    at: i64,
    /// It is in force from here on, and not since an earlier segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failures: &'a BTreeMap<String, u32>,
}

#[derive(Serialize)]
struct StepLine<'a> {
    at: i64,
    now: Tick,
    service: &'a ServiceName,
    event: &'a Happening,
    spec: &'a str,
    before: &'a Standing,
    facts: &'a Facts,
    said: Option<&'a [Action]>,
    state: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    faults: &'a [Fault],
}

#[derive(Serialize)]
struct HookLine<'a> {
    at: i64,
    now: Tick,
    hook: &'a str,
    #[serde(flatten)]
    about: Option<About<'a>>,
    args: Vec<Value>,
    said: Option<Value>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    faults: &'a [Fault],
}

#[derive(Serialize)]
struct About<'a> {
    service: &'a ServiceName,
    spec: &'a str,
    before: &'a Standing,
    facts: &'a Facts,
}

#[derive(Serialize)]
struct FaultLine<'a> {
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a ServiceName>,
    fault: &'a Fault,
}

#[derive(Serialize)]
struct AskedLine<'a> {
    at: i64,
    asked: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<&'a ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
}

#[derive(Serialize)]
struct Dropped {
    at: i64,
    dropped: u64,
}

impl Recorder {
    /// A decision, and when it was in milliseconds since 1970.
    pub fn decided(&mut self, at: i64, decision: &Decision) {
        self.settle_faults(decision.faults.len());
        let Decision { now, question, faults } = decision;
        match question {
            Question::Step { before, what, seen, said, after } => {
                let spec = self.spec(at, before);
                let standing = &after.standing;
                self.record(&StepLine {
                    at,
                    now: *now,
                    service: &before.name,
                    event: what,
                    spec: &spec,
                    before: &before.standing,
                    facts: &seen.facts,
                    said: said.as_deref(),
                    state: standing.state.word(),
                    why: &standing.why,
                    faults,
                });
            }
            Question::Hook { hook, seen, args, said } => {
                self.begin(at);
                let spec = seen.as_ref().map(|it| self.spec(at, &it.service)).unwrap_or_default();
                let about = seen.as_deref().map(|it| about(it, &spec));
                let args = args.iter().map(to_json).collect();
                let said = said.as_ref().map(to_json);
                self.record(&HookLine { at, now: *now, hook, about, args, said, faults });
            }
        }
        faults.iter().for_each(|it| self.count(it));
    }

    /// This policy decides from now on.
    pub fn decided_by(&mut self, at: i64, sources: &Rc<Sources>) {
        self.settle_faults(0);
        self.begin(at);
        self.sources = Some(Rc::clone(sources));
        self.failures.clear();
        self.define_policy(sources);
        let decided_by = Some(sources.version.as_str());
        let failures = BTreeMap::new();
        self.record(&InForce { at, decided_by, in_force: None, failures: &failures });
    }

    /// A function has failed. Most often a decision tells of it, too.
    pub fn faulted(&mut self, at: i64, service: Option<&ServiceName>, fault: &Fault) {
        self.loose.push((at, service.cloned(), fault.clone()));
    }

    /// A service stands differently now.
    pub fn changed(&mut self, entry: &Entry) {
        self.begin(entry.at_ms);
        self.record(entry);
    }

    /// Somebody has asked for something.
    pub fn asked(&mut self, at: i64, command: &Command, answer: &Answer) {
        let Some((asked, names)) = in_words(command) else { return };
        self.begin(at);
        let refused = answer.as_ref().err().map(|it| it.message.as_str());
        self.record(&AskedLine { at, asked, names, refused });
    }

    /// So many records are missing here.
    pub fn dropped(&mut self, at: i64, dropped: u64) {
        self.begin(at);
        self.line(&Dropped { at, dropped });
        // If this is lost, it is still so many.
        self.records += dropped;
    }

    /// The service is no more.
    pub fn forget(&mut self, name: &ServiceName) {
        self.specs.remove(name);
    }

    /// What comes next is read without what came before.
    pub fn begin_anew(&mut self) {
        self.told.clear();
        self.begun = false;
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.loose.is_empty()
    }

    /// How much is to be written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// What is to be written, whole lines, and how many records that is.
    pub fn take(&mut self) -> (Vec<u8>, u64) {
        self.settle_faults(0);
        (std::mem::take(&mut self.out), std::mem::take(&mut self.records))
    }

    /// The latest faults are the decision's own. Those before them are of questions that are too many
    /// to be told, and count all the same.
    fn settle_faults(&mut self, own: usize) {
        if self.loose.is_empty() {
            return;
        }
        self.loose.truncate(self.loose.len().saturating_sub(own));
        for (at, service, fault) in std::mem::take(&mut self.loose) {
            self.begin(at);
            self.record(&FaultLine { at, service: service.as_ref(), fault: &fault });
            self.count(&fault);
        }
    }

    /// Counts a fault that this segment has told of.
    fn count(&mut self, fault: &Fault) {
        *self.failures.entry(fault.place()).or_insert(0) += 1;
    }

    /// Begins the segment, unless that is done.
    fn begin(&mut self, at: i64) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.line(&Head { journal: FORM, at, zinit: env!("CARGO_PKG_VERSION") });
        if let Some(sources) = self.sources.clone() {
            self.define_policy(&sources);
            let failures = std::mem::take(&mut self.failures);
            let in_force = Some(sources.version.as_str());
            self.line(&InForce { at, decided_by: None, in_force, failures: &failures });
            self.failures = failures;
        }
    }

    fn define_policy(&mut self, sources: &Sources) {
        if self.told.insert(digest(&sources.version)) {
            let files = sources.files.iter();
            let files = files.map(|(path, text)| (path.to_string_lossy(), text.as_str())).collect();
            self.line(&PolicyLine { def: &sources.version, files });
        }
    }

    /// The word for the configuration of a service, which the segment has defined.
    fn spec(&mut self, at: i64, service: &Service) -> String {
        self.begin(at);
        let known = self.specs.get(&service.name);
        let known = known.filter(|(it, _)| Rc::ptr_eq(it, &service.spec)).map(|(_, it)| *it);
        let digest = known.unwrap_or_else(|| {
            let digest = digest(&service.spec.to_yaml());
            let now = (Rc::clone(&service.spec), digest);
            let before = self.specs.insert(service.name.clone(), now);
            if before.is_some_and(|(_, it)| it != digest) {
                let mark = mark_of(service.name.as_str());
                self.failures.retain(|place, _| !place.ends_with(&mark));
            }
            digest
        });
        let word = format!("{digest:016x}");
        if self.told.insert(digest) {
            self.line(&SpecLine { def: &word, spec: &without_secrets(&service.spec) });
        }
        word
    }

    fn line(&mut self, it: &impl Serialize) {
        serde_json::to_writer(&mut self.out, it).expect("a vector takes everything");
        self.out.push(b'\n');
    }

    /// A line that would be missed.
    fn record(&mut self, it: &impl Serialize) {
        self.line(it);
        self.records += 1;
    }
}

fn about<'a>(seen: &'a Seen, spec: &'a str) -> About<'a> {
    let Service { name, standing, .. } = &*seen.service;
    About { service: name, spec, before: standing, facts: &seen.facts }
}

/// A configuration as a file would say it, but for the values of variables, which no policy sees.
fn without_secrets(spec: &Spec) -> String {
    if spec.env.is_empty() {
        return spec.to_yaml();
    }
    let env = spec.env.keys().map(|it| (it.clone(), "...".to_owned())).collect();
    Spec { env, ..spec.clone() }.to_yaml()
}

/// What is asked for, and of which services; `None` when it changes nothing.
fn in_words(command: &Command) -> Option<(&'static str, Vec<&ServiceName>)> {
    let all = |it| (it, Vec::new());
    Some(match command {
        Command::Vet(..) | Command::VetPolicy(_) | Command::TellPolicy => return None,
        Command::Start { names, .. } => ("start", names.iter().collect()),
        Command::Stop(names) => ("stop", names.iter().collect()),
        Command::Restart(names) => ("restart", names.iter().collect()),
        Command::Delete(names) => ("delete", names.iter().collect()),
        Command::Kill(name, _) => ("kill", vec![name]),
        Command::Define(name, _) => ("define", vec![name]),
        Command::DefineProxy(proxy) => ("define a proxy", vec![&proxy.service]),
        Command::ForgetProxy(name) => ("forget a proxy", vec![name]),
        Command::Reload(_) => all("reload"),
        Command::Decide(_) => all("decide"),
        Command::StartAll => all("start all"),
        Command::StopAll => all("stop all"),
        Command::DeleteAll => all("delete all"),
        Command::Shutdown(_) => all("shutdown"),
        Command::Renew { .. } => all("renew"),
    })
}

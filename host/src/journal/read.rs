//! Reads a journal back: each line as what it tells. A line that cannot be read, because a server died
//! while it wrote, is counted and passed over.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::values::of_json;
use super::{CURRENT, writer};
use crate::chronicle::Entry;
use crate::decision::{Decision, Fault, Question};
use crate::draft::Draft;
use crate::event::{Happening, Tick};
use crate::hooks;
use crate::name::ServiceName;
use crate::policy::Sources;
use crate::spec::Spec;
use crate::state::{Service, Standing};
use crate::view::{Facts, Seen};

/// What a line tells.
#[derive(Debug)]
pub enum Record {
    /// A decision, and when it was in milliseconds since 1970.
    Decided {
        /// When.
        at: i64,
        /// What.
        decision: Box<Decision>,
    },
    /// A policy is in force.
    DecidedBy {
        /// When this was told.
        at: i64,
        /// Which.
        sources: Rc<Sources>,
        /// Whether it is so from here on.
        is_new: bool,
        /// How often its functions have failed until then.
        failures: BTreeMap<String, u32>,
    },
    /// A function has failed in a question that is not written down.
    Faulted(Fault),
    /// A service stands differently.
    Changed(Entry),
    /// So many records are missing.
    Dropped(u64),
    /// A head, a definition, or a command.
    Other,
}

/// What a reader knows of the lines before.
#[derive(Debug, Default)]
pub struct Reader {
    specs: HashMap<String, Rc<Spec>>,
    policies: HashMap<String, Rc<Sources>>,
    /// The configurations that came since somebody asked.
    fresh: Vec<Rc<Spec>>,
    /// How many lines could not be read.
    pub unread: u64,
}

/// A line of any kind.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    at: i64,
    #[serde(default)]
    now: Tick,
    def: Option<String>,
    spec: Option<String>,
    files: Option<Vec<(PathBuf, String)>>,
    decided_by: Option<String>,
    in_force: Option<String>,
    #[serde(default)]
    failures: BTreeMap<String, u32>,
    seq: Option<u64>,
    service: Option<ServiceName>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    hook: Option<String>,
    before: Option<Standing>,
    facts: Option<Facts>,
    #[serde(borrow)]
    said: Option<&'a RawValue>,
    args: Option<Vec<Value>>,
    #[serde(default)]
    faults: Vec<Fault>,
    fault: Option<Fault>,
    dropped: Option<u64>,
}

impl Reader {
    /// What a line tells; `None` when it cannot be read.
    pub fn read(&mut self, line: &[u8]) -> Option<Record> {
        let record = serde_json::from_slice(line).ok().and_then(|raw| self.record(line, raw));
        self.unread += u64::from(record.is_none());
        record
    }

    /// The configurations that came since the last call.
    pub fn take_specs(&mut self) -> Vec<Rc<Spec>> {
        std::mem::take(&mut self.fresh)
    }

    /// All configurations that came.
    pub fn specs(&self) -> impl Iterator<Item = &Rc<Spec>> {
        self.specs.values()
    }

    fn record(&mut self, line: &[u8], raw: Raw<'_>) -> Option<Record> {
        if let Some(def) = raw.def {
            return self.define(def, raw.spec, raw.files);
        }
        if let Some(version) = raw.decided_by.as_ref().or(raw.in_force.as_ref()) {
            let sources = Rc::clone(self.policies.get(version)?);
            let (at, is_new) = (raw.at, raw.decided_by.is_some());
            return Some(Record::DecidedBy { at, sources, is_new, failures: raw.failures });
        }
        if let Some(fault) = raw.fault {
            return Some(Record::Faulted(fault));
        }
        if raw.seq.is_some() {
            return serde_json::from_slice(line).ok().map(Record::Changed);
        }
        if let Some(dropped) = raw.dropped {
            return Some(Record::Dropped(dropped));
        }
        if raw.event.is_none() && raw.hook.is_none() {
            return Some(Record::Other);
        }
        let at = raw.at;
        let decision = self.decision(raw).map(Box::new)?;
        Some(Record::Decided { at, decision })
    }

    fn define(
        &mut self,
        def: String,
        spec: Option<String>,
        files: Option<Vec<(PathBuf, String)>>,
    ) -> Option<Record> {
        if let Some(yaml) = spec {
            if !self.specs.contains_key(&def) {
                let spec = Rc::new(Spec::from_yaml(&yaml, Path::new("the journal")).ok()?);
                self.fresh.push(Rc::clone(&spec));
                self.specs.insert(def, spec);
            }
        } else {
            let sources = Sources { files: files?, version: def.clone() };
            self.policies.insert(def, Rc::new(sources));
        }
        Some(Record::Other)
    }

    fn decision(&self, raw: Raw<'_>) -> Option<Decision> {
        let before = match (raw.service, raw.before, raw.spec) {
            (Some(name), Some(standing), Some(spec)) => {
                let spec = Rc::clone(self.specs.get(&spec)?);
                Some(Rc::new(Service { name, spec, standing, waits_for: Vec::new() }))
            }
            _ => None,
        };
        let question = match (raw.event, raw.hook) {
            (Some(event), _) => step(&before?, raw.now, event, raw.facts?, raw.said)?,
            (None, Some(hook)) => {
                let seen = before.zip(raw.facts);
                let said: Option<Value> = raw.said.and_then(|it| value(it).ok());
                Question::Hook {
                    hook: hooks::find(&hook)?.name,
                    seen: seen.map(|(service, facts)| Rc::new(Seen { service, facts, event: "" })),
                    args: raw.args.unwrap_or_default().into_iter().map(of_json).collect(),
                    said: said.map(of_json),
                }
            }
            _ => return None,
        };
        Some(Decision { now: raw.now, question, faults: raw.faults })
    }
}

/// A decision about an event, with what the event does by itself done again.
fn step(
    before: &Rc<Service>,
    now: Tick,
    event: &RawValue,
    facts: Facts,
    said: Option<&RawValue>,
) -> Option<Question> {
    let what: Happening = value(event).ok()?;
    let said: Option<Vec<crate::action::Action>> = match said {
        Some(it) => value(it).ok()?,
        None => None,
    };
    let draft = Draft::prepare(before, now, &what, facts.next_turn)?;
    let seen = draft.seen(facts);
    let mut next = draft;
    match &said {
        Some(said) => next.follow(said.clone()).ok()?,
        None => next = next.despair(&what, ""),
    }
    let (before, after) = (Rc::clone(before), next.service());
    Some(Question::Step { before, what, seen, said, after })
}

fn value<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> serde_json::Result<T> {
    serde_json::from_str(raw.get())
}

/// Whether a line may tell of a policy.
pub(super) fn is_of_policy(line: &[u8]) -> bool {
    const LOOK: usize = 64;
    let head = &line[..line.len().min(LOOK)];
    let says = |it: &str| memchr::memmem::find(head, it.as_bytes()).is_some();
    says("\"files\":") || says("\"decided_by\":") || says("\"in_force\":")
}

/// The files of a journal, oldest first: those of a directory, or this one.
///
/// # Errors
/// When there is none, or the directory cannot be read.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut all = writer::closed(path)?;
    let current = path.join(CURRENT);
    all.extend(current.exists().then_some(current));
    Ok(all)
}

/// Does something with each line of a file, which may be compressed.
///
/// # Errors
/// When it cannot be read to its end.
pub fn lines(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let packed = PathBuf::from(format!("{}.zst", path.display()));
    let (file, is_packed) = match File::open(path) {
        // It was just compressed.
        Err(error) if error.kind() == ErrorKind::NotFound && packed.exists() => {
            (File::open(&packed)?, true)
        }
        file => (file?, path.extension().is_some_and(|it| it == "zst")),
    };
    let text: Box<dyn Read> = match is_packed {
        true => Box::new(zstd::stream::read::Decoder::new(file)?),
        false => Box::new(file),
    };
    let mut text = BufReader::with_capacity(64 * 1024, text);
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        let whole = line.strip_suffix(b"\n").unwrap_or(&line);
        if !whole.is_empty() {
            each(whole);
        }
        line.clear();
    }
    Ok(())
}

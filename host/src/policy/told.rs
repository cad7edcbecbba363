//! What decides, told to people and programs: every hook, who answers it, and how that goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::index::{Function, Index};
use super::{FAULTS_MAX, Policy, Sources, mark_of};
use crate::engine::on_deep_stack;
use crate::hooks::{HOOKS, Hook};
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::store::Store;
use crate::trial;
use crate::words::sentence;

/// What decides in a running server, as its core knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// What the policy is made of.
    pub sources: Sources,
    /// Since when, in milliseconds since 1970; 0 when nobody knows.
    pub since_ms: i64,
    /// How often functions have failed: `FILE::FUNCTION` and a count.
    pub failures: BTreeMap<String, u32>,
    /// The services that name functions of their own, by hook.
    pub named: Vec<(ServiceName, BTreeMap<String, String>)>,
}

/// A policy that was not taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why: at least one problem.
    pub problems: Vec<Refusal>,
}

/// Everything that is told of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What tells this policy from every other one.
    pub version: String,
    /// Since when it is in force, in milliseconds since 1970; 0 when no server answers.
    pub since_ms: i64,
    /// The user's files that it is made of.
    pub files: Vec<String>,
    /// The files that are not on the disk as they are in force.
    pub differs: Vec<String>,
    /// The last policy that was refused, if none was taken over since.
    pub refused: Option<Refused>,
    /// Every hook, sorted by name.
    pub hooks: Vec<Answerer>,
}

/// A hook, and who answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answerer {
    /// Its name.
    pub hook: String,
    /// Its head: `restart_delay(service, attempt)`.
    pub signature: String,
    /// What it decides, in a sentence.
    pub doc: String,
    /// The function that answers.
    #[serde(flatten)]
    pub by: By,
    /// The services that name functions of their own for it.
    pub services: Vec<Own>,
}

/// A function that answers a hook for one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Which service.
    pub service: ServiceName,
    /// What it names.
    pub function: String,
    /// Where that is.
    #[serde(flatten)]
    pub by: By,
}

/// Where a function is, and how it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Whether it comes with the program.
    pub bundled: bool,
    /// Its file; empty when there is no such function.
    pub path: String,
    /// The line of its head.
    pub line: usize,
    /// How often it has failed.
    pub faults: u32,
    /// Whether the bundled function decides instead, until the file changes.
    pub benched: bool,
}

impl Told {
    /// What is told of what decides.
    pub fn of(force: &InForce) -> Self {
        let index = Index::of(&force.sources.files);
        let hooks = HOOKS.iter().map(|it| answerer(it, &index, force));
        Self {
            version: force.sources.version.clone(),
            since_ms: force.since_ms,
            files: force.sources.files.iter().map(|(path, _)| path.display().to_string()).collect(),
            differs: Vec::new(),
            refused: None,
            hooks: hooks.collect(),
        }
    }
}

fn answerer(hook: &Hook, index: &Index, force: &InForce) -> Answerer {
    let bundled = index.get(hook.name, true).ok();
    let services = force.named.iter().filter_map(|(service, named)| {
        let (function, found) = match named.get(hook.name) {
            Some(function) => (function, index.find(function)),
            None => {
                let strategy = named.get("*").filter(|_| hook.is_of_service())?;
                // One that says nothing about this hook is none.
                (strategy, Some(index.find(&format!("{strategy}::{}", hook.name))?))
            }
        };
        let by = by(found, &mark_of(service.as_str()), force);
        Some(Own { service: service.clone(), function: function.clone(), by })
    });
    Answerer {
        hook: hook.name.to_owned(),
        signature: hook.signature(),
        doc: bundled.map(|it| sentence(&it.doc)).unwrap_or_default(),
        by: by(index.find(hook.name), "", force),
        services: services.collect(),
    }
}

/// Who answers, for all services or, with its mark, for the one that has chosen it.
fn by(function: Option<&Function>, mark: &str, force: &InForce) -> By {
    let Some(function) = function else { return By::default() };
    let place = format!("{}::{}{mark}", function.module, function.name);
    let faults = force.failures.get(&place).copied().unwrap_or_default();
    By {
        bundled: function.bundled,
        path: function.path.clone(),
        line: function.line,
        faults,
        benched: faults >= FAULTS_MAX,
    }
}

/// The files that two policies do not have alike, sorted.
pub fn differing(one: &[(PathBuf, String)], other: &[(PathBuf, String)]) -> Vec<String> {
    let lacks = |of: &[(PathBuf, String)], it: &(PathBuf, String)| !of.contains(it);
    let missing = one.iter().filter(|it| lacks(other, it));
    let all = missing.chain(other.iter().filter(|it| lacks(one, it)));
    let mut paths: Vec<_> = all.map(|(path, _)| path.display().to_string()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Everything that keeps these files from deciding, tests of theirs that fail among it.
pub fn vet(files: &[(PathBuf, String)]) -> Vec<Refusal> {
    match on_deep_stack(|| trial::vet(files).err().unwrap_or_default()) {
        Ok(problems) => problems,
        Err(_) => vec![Refusal::new(Kind::Internal, "checking the policy has panicked")],
    }
}

/// The services that name functions which the policy of the same directory does not have. Nothing is
/// said where that policy is refused anyway.
pub fn strangers(store: &Store, specs: &[(ServiceName, Spec)]) -> Vec<Refusal> {
    if specs.iter().all(|(_, spec)| spec.policy.is_empty()) {
        return Vec::new();
    }
    let (files, _) = store.policy_files();
    let vet = || {
        let policy = Policy::of(&files).ok()?;
        let told = specs.iter().filter_map(|(name, spec)| {
            let no = policy.vet(spec).err()?;
            let path = store.found(name).display().to_string();
            let message = format!("{path}: {}", no.message);
            Some(Refusal { message, ..no }.with("path", path).with("service", name.as_str()))
        });
        Some(told.collect())
    };
    on_deep_stack(vet).ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_is_told_with_services_and_failures() {
        let text = "\nfn restart_delay(service, attempt) { 7 }\nfn mine(service, attempt) { 8 }";
        let files = vec![(PathBuf::from("/etc/policy.rhai"), text.to_owned())];
        let web = ServiceName::parse("web").expect("it is a name");
        let named = [("restart_delay", "mine"), ("gives_up", "nowhere")];
        let named = named.map(|(hook, it)| (hook.to_owned(), it.to_owned())).into();
        let force = InForce {
            sources: Sources::of(&files),
            since_ms: 5,
            failures: [("policy::restart_delay".to_owned(), 3)].into(),
            named: vec![(web, named)],
        };
        let told = Told::of(&force);
        assert_eq!(
            (told.files.as_slice(), told.hooks.len()),
            (&["/etc/policy.rhai".to_owned()][..], HOOKS.len())
        );
        let of = |it: &str| told.hooks.iter().find(|of| of.hook == it).expect("it is a hook");
        let delay = of("restart_delay");
        assert_eq!((delay.by.line, delay.by.faults, delay.by.benched), (2, 3, true));
        assert_eq!((delay.services[0].by.line, delay.services[0].by.benched), (3, false));
        assert_eq!(of("gives_up").services[0].by, By::default());
        assert!(of("settle_ms").by.bundled && of("settle_ms").by.path == "zinit/policy.rhai");
    }

    #[test]
    fn files_differ_by_their_text_and_by_being_there() {
        let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
        let (one, other) = ([file("a", "1"), file("b", "1")], [file("a", "2"), file("c", "1")]);
        assert_eq!(differing(&one, &other), ["a", "b", "c"]);
        assert!(differing(&one, &one).is_empty());
    }
}

//! Where the output of services goes: who is written to by another, and what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Core, Effect};
use crate::desk::{Reload, Step, Verb};
use crate::graph::Id;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::{Spec, comes_back};

impl Core {
    /// Whether a service gets the output of another as its input.
    pub(super) fn is_written_to(&self, id: Id) -> bool {
        let name = &self.nodes[id.index()].name;
        self.graph.dependents(id).iter().any(|(other, _)| {
            let writer = self.nodes[other.index()].service.as_ref();
            writer.is_some_and(|it| it.spec.log_to.as_ref() == Some(name))
        })
    }

    /// Launches are told whether there is something to read.
    pub(super) fn connect_input(&self, id: Id, effects: &mut [Effect]) {
        for effect in effects {
            if let Effect::Launch { input, .. } = effect {
                *input = self.is_written_to(id);
            }
        }
    }

    /// Whom a service of this configuration is the first to write to. It runs without an input, and
    /// needs another process to get one.
    pub(super) fn reader_without_input(&self, name: &ServiceName, spec: &Spec) -> Option<Id> {
        let reader = spec.log_to.as_ref().filter(|it| *it != name)?;
        let id = *self.ids.get(reader)?;
        let runs = self.is_known(id) && self.at(id).process.is_some();
        (runs && !self.is_written_to(id)).then_some(id)
    }

    /// Adds to a plan that those are restarted to whom others begin to write.
    pub(super) fn plan_inputs(&self, reload: &Reload, plan: &mut Vec<Step>) {
        let begin = [Verb::Add, Verb::Start, Verb::Update, Verb::Restart];
        let begins = plan.iter().filter(|it| begin.contains(&it.verb));
        let writers: BTreeSet<ServiceName> = begins.map(|it| it.service.clone()).collect();
        for (name, spec) in reload.files.iter().filter(|(it, _)| writers.contains(it)) {
            let Some(id) = self.reader_without_input(name, spec) else { continue };
            let (service, verb) = (self.nodes[id.index()].name.clone(), Verb::Restart);
            let why = format!("`{name}` writes to it now");
            match plan.iter_mut().find(|it| it.service == service) {
                Some(it) if matches!(it.verb, Verb::Unchanged | Verb::Update) => {
                    (it.verb, it.why) = (verb, why);
                }
                Some(_) => {}
                None => plan.push(Step { service, verb, why }),
            }
        }
    }

    /// Refuses configurations by which a service would read what it writes, or two would write the
    /// same files. With `all`, services that are not among them are to go.
    pub(super) fn refuse_outputs(
        &self,
        files: &[(ServiceName, Spec)],
        all: bool,
    ) -> Result<(), Refusal> {
        let no = |name: &ServiceName, why: String, hint: &str| {
            let message = format!("cannot change `{name}`: {why}");
            let hint = format!("{hint}; nothing was changed");
            Refusal::new(Kind::BadConfig, message).hint(hint).with("service", name.as_str())
        };
        let is_new = |name: &ServiceName, spec: &Spec| {
            let known = self.service(name.as_str());
            known.is_none_or(|it| it.spec.log != spec.log || it.spec.log_to != spec.log_to)
        };
        for (name, spec) in files.iter().filter(|(name, spec)| is_new(name, spec)) {
            if comes_back(name, spec.log_to.as_ref(), |it| self.reader_of(it, files)) {
                let why = "its output would be its own input".to_owned();
                return Err(no(name, why, "name another service in `log_to`"));
            }
            if let Some(other) = self.rival(name, spec, files, all) {
                let why = format!("`{other}` logs to `{}` as well", spec.log.dir);
                return Err(no(name, why, "give each of them a `dir` of its own"));
            }
        }
        Ok(())
    }

    /// Whom a service writes to, when these are changed.
    fn reader_of<'a>(
        &'a self,
        name: &ServiceName,
        files: &'a [(ServiceName, Spec)],
    ) -> Option<&'a ServiceName> {
        match files.iter().find(|(it, _)| it == name) {
            Some((_, spec)) => spec.log_to.as_ref(),
            None => self.service(name.as_str())?.spec.log_to.as_ref(),
        }
    }

    /// Another service with the same directory for its log.
    fn rival(
        &self,
        name: &ServiceName,
        spec: &Spec,
        files: &[(ServiceName, Spec)],
        all: bool,
    ) -> Option<ServiceName> {
        if spec.log.dir.is_empty() {
            return None;
        }
        let mut specs: BTreeMap<&ServiceName, &Spec> = BTreeMap::new();
        for service in self.nodes.iter().filter_map(|it| it.service.as_ref()) {
            if !all || service.spec.transient {
                specs.insert(&service.name, &service.spec);
            }
        }
        specs.extend(files.iter().map(|(name, spec)| (name, spec)));
        specs.remove(name);
        let dir = Path::new(&spec.log.dir);
        let same = |it: &Spec| !it.log.dir.is_empty() && Path::new(&it.log.dir) == dir;
        specs.into_iter().find(|(_, it)| same(it)).map(|(it, _)| it.clone())
    }
}

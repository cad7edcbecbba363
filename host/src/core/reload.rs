//! New configurations for many services at once: what would be done, and doing it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use rhai::{Array, Dynamic};

use super::{Core, starts_by_itself};
use crate::desk::{Reload, Step, Verb};
use crate::event::{Happening, Tick};
use crate::graph::Id;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::{LogMode, Mode, Spec};
use crate::state::{Held, State, Target};

impl Core {
    /// Says what the files change, and does it unless that is only asked.
    pub(super) fn reload(&mut self, now: Tick, reload: Reload) -> Result<Vec<Step>, Refusal> {
        self.refuse(&reload.files, reload.only.is_none())?;
        // Whoever asks for all of them first has asked for the policy, which may be another one then.
        if !reload.dry_run || reload.only.is_some() {
            self.refuse_strangers(&reload.files)?;
        }
        let plan = self.plan(&reload);
        if !reload.dry_run {
            self.carry_out(now, &plan, reload.files.into_iter().collect());
        }
        Ok(plan)
    }

    fn plan(&mut self, reload: &Reload) -> Vec<Step> {
        let asked = |name: &ServiceName| reload.only.as_ref().is_none_or(|it| it.contains(name));
        let mut plan = Vec::new();
        for (name, spec) in reload.files.iter().filter(|(name, _)| asked(name)) {
            let (verb, why) = self.what_changes(name, spec);
            plan.push(Step { service: name.clone(), verb, why });
        }
        if reload.only.is_none() {
            let files: BTreeSet<&ServiceName> = reload.files.iter().map(|(name, _)| name).collect();
            for id in self.known() {
                let (name, spec) = (&self.nodes[id.index()].name, self.spec(id));
                if !spec.transient && !files.contains(name) && !self.at(id).leaving {
                    let (service, why) = (name.clone(), "its file is gone".to_owned());
                    plan.push(Step { service, verb: Verb::Delete, why });
                }
            }
        }
        self.plan_inputs(reload, &mut plan);
        plan.sort_by(|one, other| one.service.cmp(&other.service));
        plan
    }

    fn what_changes(&mut self, name: &ServiceName, spec: &Spec) -> (Verb, String) {
        let starts = starts_by_itself(spec);
        let known = self.service(name.as_str()).filter(|it| !it.standing.leaving).cloned();
        let Some(known) = known else {
            let verb = if starts { Verb::Start } else { Verb::Add };
            return (verb, "its file is new".to_owned());
        };
        if *known.spec == *spec {
            return (Verb::Unchanged, String::new());
        }
        let changes = known.spec.changes(spec);
        let keys: Vec<String> = changes.iter().map(|it| format!("`{it}`")).collect();
        let why = match keys.as_slice() {
            [] => "it has a file now".to_owned(),
            keys => format!("{} changed", keys.join(", ")),
        };
        let (did_start, wanted) = (starts_by_itself(&known.spec), known.standing.target);
        let verb = if did_start && !starts && wanted == Target::Up {
            Verb::Stop
        } else if starts && !did_start && wanted == Target::Down {
            Verb::Start
        } else if (known.standing.process.is_some() || known.standing.state == State::Success)
            && self.needs_restart(name, &known.spec, spec)
        {
            Verb::Restart
        } else {
            Verb::Update
        };
        (verb, why)
    }

    /// Whether what differs between two configurations needs another process. Where there was no output
    /// to be logged, or is none now, that is `log.mode`.
    pub(super) fn needs_restart(&mut self, name: &ServiceName, old: &Spec, new: &Spec) -> bool {
        let Some(&id) = self.ids.get(name) else { return true };
        let mut changes = old.changes(new);
        if (old.log.mode == LogMode::None) != (new.log.mode == LogMode::None) {
            changes.push("log.mode");
        }
        let passed = |it: &Spec| it.xinit.clone().filter(|it| it.enabled && it.mode == Mode::Pass);
        if passed(old) != passed(new) {
            changes.push("xinit.mode");
        }
        let keys: Array = changes.into_iter().map(|it| Dynamic::from(it.to_owned())).collect();
        let seen = self.look(id);
        let said = self.ask("needs_restart", Some(seen), vec![keys.into()], |said| {
            said.as_bool().map_err(|kind| format!("it answered with {kind} instead of a bool"))
        });
        said.unwrap_or(true)
    }

    /// All services have their new configuration before anything happens to one of them.
    fn carry_out(&mut self, now: Tick, plan: &[Step], mut specs: BTreeMap<ServiceName, Spec>) {
        let mut by_verb: BTreeMap<Verb, Vec<Id>> = BTreeMap::new();
        for Step { service, verb, .. } in plan.iter().filter(|it| it.verb != Verb::Unchanged) {
            let id = match specs.remove(service).filter(|_| *verb != Verb::Delete) {
                Some(spec) => self.know(now, service.clone(), Rc::new(spec)),
                None => self.place(service),
            };
            by_verb.entry(*verb).or_default().push(id);
        }
        let mut of = |verb| by_verb.remove(&verb).unwrap_or_default();
        let (gone, stopped, mut renewed) = (of(Verb::Delete), of(Verb::Stop), of(Verb::Restart));
        let (mut started, added, updated) = (of(Verb::Start), of(Verb::Add), of(Verb::Update));
        // What was being deleted may still live, as it was.
        renewed.extend(started.extract_if(.., |id| self.at(*id).process.is_some()));
        let touched = [&stopped, &renewed, &started, &added, &updated].map(Vec::clone).concat();
        for id in &touched {
            let standing = &mut self.draw(*id).standing;
            if std::mem::take(&mut standing.leaving) {
                standing.target = Target::Up;
            }
            self.show(*id);
        }
        self.leave(now, &gone);
        self.hold(now, &stopped, &Held::Stop);
        self.hold(now, &renewed, &Held::Renew);
        for id in &updated {
            self.happen(now, *id, Happening::Defined { restart: false });
        }
        for id in &started {
            self.draw(*id).standing.target = Target::Up;
            self.bring_up_needs(now, *id, false);
        }
        for id in self.in_order("start_order", started) {
            self.keep_up(now, id);
            self.happen(now, id, Happening::WantUp);
        }
        for id in touched {
            self.reconsider(id);
        }
        self.settle_queue(now);
    }

    /// Refuses configurations that cannot be together. With `all`, services that are not among them are
    /// to go.
    pub(super) fn refuse(&self, files: &[(ServiceName, Spec)], all: bool) -> Result<(), Refusal> {
        self.refuse_cycles(files, all)?;
        self.refuse_proxies(files, all)?;
        self.refuse_outputs(files, all)
    }

    /// Refuses configurations with which services would wait for themselves.
    fn refuse_cycles(&self, files: &[(ServiceName, Spec)], all: bool) -> Result<(), Refusal> {
        let new: BTreeMap<&ServiceName, &Spec> =
            files.iter().map(|(it, spec)| (it, spec)).collect();
        for (name, spec) in files {
            let known = self.service(name.as_str());
            if known
                .is_some_and(|it| it.spec.after == spec.after && it.spec.requires == spec.requires)
            {
                continue;
            }
            if let Some(way) = self.way_home(name, &new, all) {
                let path = crate::graph::path_of(&way);
                let message = format!("cannot change `{name}`: it would wait for itself: {path}");
                let hint = "remove one `after` or `requires` among them; nothing was changed";
                return Err(Refusal::new(Kind::BadConfig, message)
                    .hint(hint)
                    .with("service", name.as_str())
                    .with("cycle", way.iter().map(ServiceName::as_str).collect::<Vec<_>>()));
            }
        }
        Ok(())
    }

    /// The shortest way from a service back to itself along what it waits for, if there is one.
    fn way_home(
        &self,
        name: &ServiceName,
        new: &BTreeMap<&ServiceName, &Spec>,
        all: bool,
    ) -> Option<Vec<ServiceName>> {
        let waits_for = |it: &ServiceName| -> Vec<ServiceName> {
            let known = self.service(it.as_str()).map(|it| &*it.spec);
            let known = known.filter(|it| !all || it.transient);
            let spec = new.get(it).copied().or(known);
            spec.into_iter().flat_map(|it| it.requires.iter().chain(&it.after).cloned()).collect()
        };
        let mut came_from: BTreeMap<ServiceName, ServiceName> = BTreeMap::new();
        let mut queue = VecDeque::from([name.clone()]);
        while let Some(at) = queue.pop_front() {
            for next in waits_for(&at) {
                if next == *name {
                    let mut way = vec![name.clone()];
                    let mut step = &at;
                    while step != name {
                        way.push(step.clone());
                        step = &came_from[step];
                    }
                    way.push(name.clone());
                    way.reverse();
                    return Some(way);
                }
                if next != at && !came_from.contains_key(&next) {
                    came_from.insert(next.clone(), at.clone());
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

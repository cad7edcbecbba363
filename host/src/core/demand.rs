//! Services that are there on demand: whose clients wait, and when they are let through.
//!
//! The relay, which has the clients, is told by counted words whether the way to a service is open. What
//! it says to a word that is not the latest comes too late: another one is on its way to it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use rhai::Dynamic;

use super::{Core, Effect};
use crate::event::{Demand, Happening, Tick};
use crate::graph::Id;
use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal};
use crate::relay::{Gate, Way};
use crate::spec::{Mode, Spec};
use crate::state::{Held, Service, Standing, State, Target};
use crate::view::Idle;

/// What the core knows of proxies.
#[derive(Clone, Default)]
pub(super) struct Doors {
    proxies: BTreeMap<ServiceName, Arc<Proxy>>,
    /// Whether those of services were vetted before they come, each beside all that come with it: not
    /// those that are there from the start.
    are_vetted: Cell<bool>,
    /// The last word about each service that has a proxy.
    gates: HashMap<Id, Gate>,
    /// Services that go down because nobody uses them, and for how long nobody has.
    pub(super) unused: HashMap<Id, i64>,
}

impl Core {
    /// Hears from those who have the clients of a service.
    pub fn hear(&mut self, now: Tick, service: &ServiceName, demand: &Demand) {
        let Some(&id) = self.ids.get(service).filter(|id| self.is_known(**id)) else { return };
        self.now = now;
        let latest = self.doors.gates.get(&id).map_or(0, |it| it.turn);
        match demand {
            Demand::Knocked => self.knocked(now, id),
            Demand::Idle { turn, .. } | Demand::Drained { turn } if *turn != latest => {}
            Demand::Idle { connections, quiet_ms, .. } => {
                self.fell_idle(now, id, *connections, *quiet_ms);
            }
            Demand::Drained { .. } => self.happen(now, id, Happening::Drained),
        }
        self.release_free(now);
    }

    /// Somebody waits for a service that is not up.
    fn knocked(&mut self, now: Tick, id: Id) {
        let Standing { target, state, leaving, held, .. } = self.at(id);
        let rests = matches!(state, State::Stopped | State::Success | State::Failed);
        let comes = *target == Target::Up && held.is_none() && !rests;
        let again = *state == State::Failed && self.at(id).alarm.is_some();
        if comes || again || *leaving || self.is_ending() {
            return;
        }
        let seen = self.look(id);
        let said = self.ask("on_knock", Some(seen), Vec::new(), |said| {
            said.into_string().map_err(|kind| format!("it answered with {kind}"))
        });
        match said.as_deref() {
            Some("start") => self.start(now, &[id], true),
            Some("refuse") => self.say(id, Way::Failed),
            _ => {}
        }
    }

    /// Nobody has used a service for as long as its proxies say.
    fn fell_idle(&mut self, now: Tick, id: Id, connections: i64, quiet_ms: i64) {
        let name = &self.nodes[id.index()].name;
        let dependents = self.graph.dependents(id).iter();
        let dependents = dependents.filter_map(|(it, _)| self.nodes[it.index()].service.as_ref());
        let requires =
            |it: &&Rc<Service>| it.standing.process.is_some() && it.spec.requires.contains(name);
        let needed_by = dependents.filter(requires).map(|it| it.name.clone()).collect();
        let idle = Idle { connections, quiet_ms, needed_by };
        let seen = self.look(id);
        let said = self.ask("idle_action", Some(seen), vec![Dynamic::from(idle)], |said| {
            said.into_string().map_err(|kind| format!("it answered with {kind}"))
        });
        if said.as_deref() == Some("stop") && self.at(id).state == State::Running {
            self.doors.unused.insert(id, quiet_ms);
            self.hold(now, &[id], &Held::Stop);
        } else {
            self.say(id, self.way_to(id));
        }
    }

    /// Lets a proxy stand that has a file of its own. Whoever read that has vetted it, beside the others as
    /// they are to be.
    pub(super) fn define_proxy(&mut self, proxy: Proxy) -> Result<(), Refusal> {
        self.find(&proxy.service)?;
        if self.doors.proxies.get(&proxy.name).is_some_and(|it| it.in_service) {
            let message = format!(
                "cannot register the proxy `{0}`: the service `{0}` has one of \
                                   this name in its file",
                proxy.name
            );
            return Err(Refusal::new(Kind::BadConfig, message).hint("give it another name"));
        }
        self.let_stand(proxy);
        Ok(())
    }

    /// Lets a proxy go.
    pub(super) fn forget_proxy(&mut self, name: &ServiceName) -> Result<(), Refusal> {
        if self.doors.proxies.contains_key(name) {
            self.let_go_of(name);
            return Ok(());
        }
        let all = self.doors.proxies.keys().map(ServiceName::as_str);
        Err(Refusal::unknown_proxy(name.as_str(), all))
    }

    /// Refuses services whose proxies cannot be beside the others. With `all`, services that are not
    /// among them are to go, and the proxies that have files of their own are others by then: whoever has
    /// read those vets them beside these.
    pub(super) fn refuse_proxies(
        &self,
        files: &[(ServiceName, Spec)],
        all: bool,
    ) -> Result<(), Refusal> {
        let new: Vec<Proxy> =
            files.iter().filter_map(|(name, spec)| Proxy::of(name, spec)).collect();
        let changed =
            |it: &&Proxy| self.doors.proxies.get(&it.name).is_none_or(|old| **old != **it);
        let has_file = |it: &Proxy| {
            !self.service(it.service.as_str()).is_some_and(|service| service.spec.transient)
        };
        let replaced = |it: &Proxy| files.iter().any(|(name, _)| *name == it.name);
        let goes = |it: &Proxy| match it.in_service {
            true => replaced(it) || all && has_file(it),
            false => all,
        };
        let old = self.doors.proxies.values().map(|it| &**it).filter(|it| !goes(it));
        let old: Vec<&Proxy> = old.collect();
        if let Some(taken) = old.iter().find(|it| new.iter().any(|new| new.name == it.name)) {
            let name = &taken.name;
            let message =
                format!("a proxy `{name}` has a file of its own, for `{}`", taken.service);
            let hint = format!("`zinit xinit remove {name}`, or leave `xinit` out of `{name}`");
            return Err(Refusal::new(Kind::BadConfig, message)
                .hint(hint)
                .with("proxy", name.as_str()));
        }
        let beside = || old.iter().copied().chain(&new);
        new.iter().filter(changed).try_for_each(|it| it.vet(beside()))?;
        self.doors.are_vetted.set(true);
        Ok(())
    }

    /// What a service's file says of a proxy counts from now on.
    pub(super) fn open_own_door(&mut self, id: Id) {
        let name = self.nodes[id.index()].name.clone();
        let before = self.doors.proxies.get(&name).filter(|it| it.in_service).cloned();
        match self.own_proxy(&name) {
            Some(proxy) if before.as_deref() != Some(&proxy) => {
                let others = self.doors.proxies.values().map(|it| &**it);
                let fits = if self.doors.are_vetted.get() { Ok(()) } else { proxy.vet(others) };
                match fits {
                    Ok(()) => self.let_stand(proxy),
                    Err(why) => {
                        self.effects.push(Effect::Proxied(Arc::new(proxy), Some(why)));
                    }
                }
            }
            None if before.is_some() => self.let_go_of(&name),
            _ => {}
        }
    }

    fn own_proxy(&self, name: &ServiceName) -> Option<Proxy> {
        let service = self.service(name.as_str())?;
        Proxy::of(name, &service.spec)
    }

    fn let_stand(&mut self, proxy: Proxy) {
        let proxy = Arc::new(proxy);
        let before = self.doors.proxies.insert(proxy.name.clone(), Arc::clone(&proxy));
        self.effects.push(Effect::Proxied(Arc::clone(&proxy), None));
        if let Some(before) = before.filter(|it| it.service != proxy.service) {
            self.forget_gate(&before.service);
        }
        if let Some(&id) = self.ids.get(&proxy.service) {
            self.say(id, self.way_to(id));
        }
    }

    fn let_go_of(&mut self, name: &ServiceName) {
        if let Some(proxy) = self.doors.proxies.remove(name) {
            self.effects.push(Effect::Unproxied(proxy.name.clone()));
            self.forget_gate(&proxy.service);
        }
    }

    /// No word is needed about a service that has no proxy any more.
    fn forget_gate(&mut self, service: &ServiceName) {
        if self.doors.proxies.values().all(|it| it.service != *service)
            && let Some(id) = self.ids.get(service)
        {
            self.doors.gates.remove(id);
        }
    }

    /// How the clients of a service are passed on, if it has any.
    pub(super) fn door_of(&self, id: Id) -> Option<Mode> {
        self.doors.gates.get(&id)?;
        let name = &self.nodes[id.index()].name;
        let mut proxies = self.doors.proxies.values().filter(|it| it.service == *name);
        let mode = proxies.next()?.xinit.mode;
        // Whoever is answered here has to be waited for before a stop.
        Some(if proxies.any(|it| it.xinit.mode == Mode::Proxy) { Mode::Proxy } else { mode })
    }

    /// After a step: what those who have its clients are to know.
    pub(super) fn mind_the_door(&mut self, id: Id) {
        let way = self.way_to(id);
        if self.doors.gates.get(&id).is_some_and(|it| it.way != way) {
            self.say(id, way);
        }
    }

    fn way_to(&self, id: Id) -> Way {
        let Some(service) = self.nodes[id.index()].service.as_ref() else { return Way::Failed };
        let Standing { state, alarm, .. } = &service.standing;
        match state {
            State::Running => Way::Open,
            State::Failed if alarm.is_none() => Way::Failed,
            _ => Way::Shut,
        }
    }

    fn say(&mut self, id: Id, way: Way) {
        let turn = self.doors.gates.get(&id).map_or(0, |it| it.turn) + 1;
        let gate = Gate { turn, way };
        self.doors.gates.insert(id, gate.clone());
        let service = self.nodes[id.index()].name.clone();
        self.effects.push(Effect::Gate { service, gate });
    }
}

//! Services that are there on demand: whose clients wait, and when they are let through.
//!
//! The relay, which has the clients, is told by counted words whether the way to a service is open. What
//! it says to a word that is not the latest comes too late: another one is on its way to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Proxies in services' files that cannot stand beside the others.
    refused: BTreeSet<ServiceName>,
    /// Each service that has a proxy.
    gates: HashMap<Id, Door>,
    /// How many words were said, about all services: whoever hears them goes by which is later.
    turns: u64,
    /// What files say was not compared with one another: services are just becoming known.
    pub(super) unvetted: bool,
    /// Services that go down because nobody uses them, and for how long nobody has.
    pub(super) unused: HashMap<Id, i64>,
}

/// A service that has a proxy.
#[derive(Clone)]
struct Door {
    /// The last word about it.
    gate: Gate,
    /// Who answers its clients.
    mode: Mode,
    /// Its last proxy went while it was being stopped, which goes on as it began.
    closes: bool,
}

impl Core {
    /// Hears from those who have the clients of a service.
    pub fn hear(&mut self, now: Tick, service: &ServiceName, demand: &Demand) {
        let Some(&id) = self.ids.get(service).filter(|id| self.is_known(**id)) else { return };
        self.now = now;
        let latest = self.doors.gates.get(&id).map_or(0, |it| it.gate.turn);
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
            // Nobody counts the milliseconds of a minute.
            let rest = if quiet_ms < 1_000 { 0 } else { quiet_ms % 1_000 };
            self.doors.unused.insert(id, quiet_ms - rest);
            self.hold(now, &[id], &Held::Stop);
        } else {
            self.say_how(id);
        }
    }

    /// Lets a proxy stand that somebody asks for. A service that is to get its sockets and runs without
    /// them is restarted.
    pub(super) fn define_proxy(&mut self, now: Tick, proxy: Proxy) -> Result<(), Refusal> {
        let same = self.doors.proxies.get(&proxy.name).is_some_and(|it| **it == proxy);
        let passes = proxy.xinit.mode == Mode::Pass && !same;
        let id = self.find(&proxy.service)?;
        self.let_in_by(proxy)?;
        if passes && self.at(id).process.is_some() {
            self.hold(now, &[id], &Held::Renew);
        }
        Ok(())
    }

    /// Lets a proxy stand that has a file of its own. Whoever read that has vetted it, beside the others as
    /// they are to be.
    ///
    /// # Errors
    /// When its service is unknown, or another one has a proxy of this name in its own file.
    pub fn let_in_by(&mut self, proxy: Proxy) -> Result<(), Refusal> {
        self.find(&proxy.service)?;
        if self.doors.proxies.get(&proxy.name).is_some_and(|it| it.in_service) {
            let message = format!(
                "cannot register the proxy `{0}`: the service of this name has one",
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
        Ok(())
    }

    /// What a service's file says of a proxy counts from now on.
    pub(super) fn open_own_door(&mut self, id: Id) {
        let name = self.nodes[id.index()].name.clone();
        let before = self.doors.proxies.get(&name).filter(|it| it.in_service).cloned();
        match self.own_proxy(&name) {
            Some(proxy) if before.as_deref() != Some(&proxy) => {
                let others = self.doors.proxies.values().map(|it| &**it);
                let vetted = if self.doors.unvetted { proxy.vet(others) } else { Ok(()) };
                match vetted {
                    Ok(()) => self.let_stand(proxy),
                    Err(why) => {
                        self.doors.refused.insert(name);
                        self.effects.push(Effect::Proxied(Arc::new(proxy), Some(why)));
                    }
                }
            }
            None => self.close_own_door(id),
            Some(_) => {}
        }
    }

    /// Nobody comes in any more by what a service's file said.
    pub(super) fn close_own_door(&mut self, id: Id) {
        let name = self.nodes[id.index()].name.clone();
        if self.doors.refused.remove(&name) {
            self.effects.push(Effect::Unproxied(name));
        } else if self.doors.proxies.get(&name).is_some_and(|it| it.in_service) {
            self.let_go_of(&name);
        }
    }

    fn own_proxy(&self, name: &ServiceName) -> Option<Proxy> {
        let service = self.service(name.as_str())?;
        Proxy::of(name, &service.spec)
    }

    fn let_stand(&mut self, proxy: Proxy) {
        let proxy = Arc::new(proxy);
        self.doors.refused.remove(&proxy.name);
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
            && let Some(&id) = self.ids.get(service)
        {
            if !self.is_stopping(id) {
                self.doors.gates.remove(&id);
            } else if let Some(door) = self.doors.gates.get_mut(&id) {
                door.closes = true;
            }
        }
    }

    fn is_stopping(&self, id: Id) -> bool {
        let service = self.nodes[id.index()].service.as_ref();
        service.is_some_and(|it| it.standing.state.is_stopping())
    }

    /// How the clients of a service are passed on, if it has any.
    pub(super) fn door_of(&self, id: Id) -> Option<Mode> {
        self.doors.gates.get(&id).map(|it| it.mode)
    }

    /// Who answers the clients of a service: if that is done here for some, they have to be waited for
    /// before a stop.
    fn mode_of(&self, service: &ServiceName) -> Mode {
        let mut proxies = self.doors.proxies.values().filter(|it| it.service == *service);
        if proxies.all(|it| it.xinit.mode == Mode::Pass) { Mode::Pass } else { Mode::Proxy }
    }

    /// After a step: what those who have its clients are to know.
    pub(super) fn mind_the_door(&mut self, id: Id) {
        let Some(door) = self.doors.gates.get(&id) else { return };
        let way = self.way_to(id);
        if door.closes && !self.is_stopping(id) {
            self.doors.gates.remove(&id);
        } else if door.gate.way != way {
            self.tell(id, way, door.mode, door.closes);
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

    /// Says once more how the way to a service is.
    pub(super) fn say_how(&mut self, id: Id) {
        self.say(id, self.way_to(id));
    }

    fn say(&mut self, id: Id, way: Way) {
        let mode = self.mode_of(&self.nodes[id.index()].name);
        self.tell(id, way, mode, false);
    }

    fn tell(&mut self, id: Id, way: Way, mode: Mode, closes: bool) {
        self.doors.turns += 1;
        let gate = Gate { turn: self.doors.turns, way };
        self.doors.gates.insert(id, Door { gate: gate.clone(), mode, closes });
        let service = self.nodes[id.index()].name.clone();
        self.effects.push(Effect::Gate { service, gate });
    }
}

//! A service as its proxies see it: the way to it, how long nothing has happened, and whether anybody
//! waits for an answer.

use super::room::Room;
use super::slots::Key;
use super::timers::Due;
use super::{Gate, Said, Way};
use crate::name::ServiceName;
use crate::spec::Mode;

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    /// The last word about it, if there was one.
    gate: Option<Gate>,
    /// It was said that it is idle, and nothing was answered.
    rests: bool,
    /// It was said that somebody waits.
    knocked: bool,
    /// How many clients wait.
    pub(super) waiting: u64,
    /// How many were passed on.
    pub(super) joined: u64,
    /// How many of those have said something since the latest byte of the service.
    pub(super) asking: u64,
    /// When something has happened last.
    pub(super) active_ms: i64,
    /// When it is looked whether something has happened; other looks are void.
    idle_at: i64,
    pub(super) proxies: Vec<Key>,
}

/// Somebody wants to know when no client waits for an answer.
#[derive(Debug)]
pub(super) struct Drain {
    service: Key,
    turn: u64,
    /// How often it was looked what has come.
    pub(super) looks: u32,
}

/// After so many looks everybody has had a turn, however many they are.
const LOOKS_MAX: u32 = 256;

impl Drain {
    pub(super) fn is_new(&self) -> bool {
        self.looks == 0
    }
}

impl Service {
    fn new(name: ServiceName, now: i64) -> Self {
        Self {
            name,
            gate: None,
            rests: false,
            knocked: false,
            waiting: 0,
            joined: 0,
            asking: 0,
            active_ms: now,
            idle_at: 0,
            proxies: Vec::new(),
        }
    }

    /// Whether clients may be passed on.
    pub(super) fn is_open(&self) -> bool {
        !self.rests && self.gate.as_ref().is_some_and(|it| it.way == Way::Open)
    }

    /// The last word about it; 0 before there was one.
    pub(super) fn turn(&self) -> u64 {
        self.gate.as_ref().map_or(0, |it| it.turn)
    }

    /// So many clients less wait.
    pub(super) fn wait_no_more(&mut self, count: u64) {
        self.waiting -= count;
        self.knocked &= self.waiting > 0;
    }
}

impl Room {
    /// The service of this name, which need not be known yet.
    pub(super) fn service(&mut self, name: &ServiceName) -> Key {
        if let Some(key) = self.services_by_name.get(name) {
            return *key;
        }
        let key = self.services.insert(Service::new(name.clone(), self.now));
        self.services_by_name.insert(name.clone(), key);
        key
    }

    /// What is known of the service of a proxy.
    pub(super) fn service_of(&mut self, proxy: Key) -> Option<&mut Service> {
        self.services.get_mut(self.proxies.get(proxy)?.service)
    }

    /// Whether clients of a proxy may be passed on.
    pub(super) fn is_open(&self, proxy: Key) -> bool {
        let proxied = self.proxies.get(proxy).filter(|it| !it.is_withdrawn);
        let service = proxied.and_then(|it| self.services.get(it.service));
        service.is_some_and(Service::is_open)
    }

    /// Hears how the way to a service is.
    pub(super) fn gate(&mut self, name: ServiceName, gate: Gate) {
        let key = self.service(&name);
        let Some(service) = self.services.get_mut(key) else { return };
        let (turn, way) = (gate.turn, gate.way.clone());
        if service.turn() > turn {
            return; // An earlier word that comes late.
        }
        (service.gate, service.rests, service.knocked) = (Some(gate), false, false);
        let proxies = service.proxies.clone();
        self.drains.retain(|it| it.service != key);
        match way {
            Way::Open => {
                service.active_ms = self.now;
                self.watch_idle(key);
                proxies.iter().for_each(|it| self.open(*it));
            }
            Way::Shut => {
                proxies.iter().for_each(|it| self.shut(*it));
                self.drains.push(Drain { service: key, turn, looks: 0 });
                self.knock_for_waiting(key);
            }
            Way::Failed => proxies.iter().for_each(|it| self.fail(*it)),
        }
        self.take_back(Some(key));
        self.forget_if_unused(key);
    }

    /// Forgets a service that has no proxy and no client, and of which nobody wants to know anything. Before
    /// anybody comes to it there is another word about it.
    pub(super) fn forget_if_unused(&mut self, key: Key) {
        let Some(service) = self.services.get(key) else { return };
        let has_clients = service.waiting + service.joined > 0;
        let is_drained = self.drains.iter().any(|it| it.service == key);
        if service.proxies.is_empty() && !has_clients && !is_drained {
            self.services_by_name.remove(&service.name);
            self.services.remove(key);
        }
    }

    /// Says that somebody waits, if so and if it was not said.
    pub(super) fn knock_for_waiting(&mut self, key: Key) {
        if self.services.get(key).is_some_and(|it| it.waiting > 0) {
            self.knock(key);
        }
    }

    /// Says that somebody wants to be passed on, unless that was said or is possible.
    pub(super) fn knock(&mut self, key: Key) {
        let Some(service) = self.services.get_mut(key) else { return };
        if !service.is_open() && !std::mem::replace(&mut service.knocked, true) {
            let service = service.name.clone();
            self.say(Said::Knocked { service });
        }
    }

    /// Says which services need not be waited for before they are stopped.
    pub(super) fn settle_drains(&mut self) {
        let drains = std::mem::take(&mut self.drains);
        for drain in drains {
            // Nobody is overlooked who had said something when the way was shut.
            let has_looked = !drain.is_new() && (self.has_seen_all || drain.looks > LOOKS_MAX);
            match self.services.get(drain.service) {
                Some(it) if has_looked && it.asking == 0 => {
                    let (service, turn) = (it.name.clone(), drain.turn);
                    self.say(Said::Drained { service, turn });
                    self.forget_if_unused(drain.service);
                }
                _ => self.drains.push(drain),
            }
        }
    }

    /// For how long nothing may happen before it is idle: as long as the proxy that allows most says, and
    /// for ever if one allows that, or hands its sockets over, for then nothing is seen of its clients.
    fn idle_ms(&self, key: Key) -> Option<i64> {
        let proxies = &self.services.get(key)?.proxies;
        let each = proxies.iter().filter_map(|it| self.proxies.get(*it)).map(|it| {
            let config = &it.config.xinit;
            let is_endless = config.mode == Mode::Pass || config.idle_timeout_ms <= 0;
            (!is_endless).then_some(config.idle_timeout_ms)
        });
        each.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Looks when the service may be idle, and at no other time.
    pub(super) fn watch_idle(&mut self, key: Key) {
        let idle_ms = self.idle_ms(key);
        let Some(service) = self.services.get_mut(key) else { return };
        service.idle_at = 0;
        if let Some(idle_ms) = idle_ms.filter(|_| service.is_open()) {
            // While somebody waits, or where the time is over already, the next look is due a little later.
            service.idle_at = (service.active_ms + idle_ms).max(self.now + 1);
            self.timers.set(service.idle_at, Due::Idle(key));
        }
    }

    /// Sees whether nothing has happened for long enough.
    pub(super) fn look_at_idle(&mut self, key: Key, at: i64) {
        let idle_ms = self.idle_ms(key);
        let Some(service) = self.services.get_mut(key) else { return };
        let Some(idle_ms) = idle_ms.filter(|_| service.idle_at == at && service.is_open()) else {
            return;
        };
        if service.waiting > 0 || !self.has_seen_all {
            service.active_ms = self.now;
        }
        let quiet_ms = self.now - service.active_ms;
        if quiet_ms < idle_ms {
            return self.watch_idle(key);
        }
        service.rests = true;
        service.knocked = false;
        let said = Said::Idle {
            service: service.name.clone(),
            turn: service.turn(),
            connections: service.joined,
            quiet_ms: u64::try_from(quiet_ms).unwrap_or(0),
        };
        let proxies = service.proxies.clone();
        proxies.iter().for_each(|it| self.shut(*it));
        self.say(said);
    }
}

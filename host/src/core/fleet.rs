//! What is asked of many services at once, and in which order they are served.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic};

use super::Core;
use crate::event::{Happening, Tick};
use crate::graph::{Id, Need};
use crate::name::ServiceName;
use crate::spec::Status;
use crate::state::{Held, Standing, State, Target};

impl Core {
    /// Brings these up, and with `deps` what they need; what conflicts with them goes down.
    pub(super) fn start(&mut self, now: Tick, ids: &[Id], deps: bool) {
        for id in ids {
            self.clear_the_way(now, *id);
            if deps {
                self.bring_up_needs(now, *id, true);
            }
        }
        for id in self.in_order("start_order", ids.to_vec()) {
            self.keep_up(now, id);
            self.happen(now, id, Happening::WantUp);
        }
    }

    pub(super) fn start_all(&mut self, now: Tick) {
        let mut all = self.known();
        all.retain(|id| self.spec(*id).status != Status::Ignore && !self.at(*id).leaving);
        for id in self.in_order("start_order", all) {
            self.keep_up(now, id);
            self.happen(now, id, Happening::WantUp);
        }
    }

    /// What conflicts with a service that somebody asks for goes down.
    fn clear_the_way(&mut self, now: Tick, id: Id) {
        let foes = self.graph.needs(id).iter().filter(|(_, need)| *need == Need::Down);
        let mut foes: Vec<Id> = foes.map(|(it, _)| *it).collect();
        foes.retain(|it| {
            self.is_known(*it)
                && (self.at(*it).process.is_some() || self.at(*it).target == Target::Up)
        });
        if !foes.is_empty() {
            self.hold(now, &foes, &Held::Stop);
        }
    }

    /// Brings up what a service needs to be brought up with it, if it is down.
    pub(super) fn bring_up_needs(&mut self, now: Tick, id: Id, asked: bool) {
        let needed = self.brought_up_by(id, asked);
        for other in needed.into_iter().rev() {
            let Standing { state, target, leaving, .. } = self.at(other);
            let down = *target == Target::Down || matches!(state, State::Stopped | State::Failed);
            if down && !leaving {
                self.keep_up(now, other);
                self.happen(now, other, Happening::WantUp);
            }
        }
    }

    /// All services that come up with this one, as the policy has it, nearest first.
    pub(super) fn brought_up_by(&mut self, id: Id, asked: bool) -> Vec<Id> {
        let mut seen = BTreeSet::from([id]);
        let mut found = Vec::new();
        let mut waiting = vec![id];
        while let Some(at) = waiting.pop() {
            let spec = self.spec(at);
            let alone = spec.requires.is_empty() && spec.wanted().next().is_none();
            if alone && (!asked || spec.after.is_empty()) {
                continue;
            }
            let look = self.look(at);
            let names = self.ask("brings_up", Some(look), vec![asked.into()], |said| {
                said.into_typed_array::<String>().map_err(|kind| format!("it answered with {kind}"))
            });
            for name in names.unwrap_or_default() {
                let Some(&other) = self.ids.get(name.as_str()) else { continue };
                if self.is_known(other) && seen.insert(other) {
                    found.push(other);
                    waiting.push(other);
                }
            }
        }
        found
    }

    /// A service that is wanted up does not go down, nor does what it needs.
    pub(super) fn keep_up(&mut self, now: Tick, id: Id) {
        let mut needed = vec![id];
        while let Some(id) = needed.pop() {
            let goes = |it: &Standing| matches!(it.held, Some(Held::Stop | Held::GiveUp(_)));
            if self.is_known(id) && goes(self.at(id)) {
                self.held.remove(&id);
                if self.doors.unused.remove(&id).is_some() {
                    self.say_how(id); // Nobody was passed on any more.
                }
                self.draw(id).standing.held = None;
                self.draw(id).standing.target = Target::Up;
                if self.at(id).process.is_none() {
                    self.happen(now, id, Happening::WantUp);
                }
                self.show(id);
                self.reconsider(id);
            }
            let needs = self.graph.needs(id).iter().filter(|(_, need)| *need == Need::Up);
            needed.extend(needs.map(|(it, _)| *it).filter(|it| self.held.contains(it)));
        }
    }

    /// Brings everything down, each service after those that depend on it.
    pub(super) fn stop_all(&mut self, now: Tick) {
        let all = self.known();
        self.hold(now, &all, &Held::Stop);
    }

    pub(super) fn leave(&mut self, now: Tick, ids: &[Id]) {
        for id in ids {
            self.draw(*id).standing.leaving = true;
        }
        self.hold(now, ids, &Held::Stop);
        // Who has asked something gets an answer first, but nobody else comes in.
        ids.iter().for_each(|id| self.close_own_door(*id));
    }

    /// Takes services down, each as soon as those that need it and go down as well are out of the
    /// way. Those that require one of them have to yield: they go down, and come back with it.
    pub(super) fn hold(&mut self, now: Tick, ids: &[Id], how: &Held) {
        let mut all = ids.to_vec();
        for id in ids {
            let standing = &mut self.draw(*id).standing;
            if *how == Held::Stop {
                standing.target = Target::Down;
            }
            standing.held = Some(how.clone());
            if *how != Held::Stop {
                self.doors.unused.remove(id);
            }
        }
        for (id, to) in self.requiring(ids) {
            let to = self.nodes[to.index()].name.clone();
            self.draw(id).standing.held = Some(Held::Yield(to));
            all.push(id);
        }
        self.held.extend(&all);
        for id in &all {
            self.reconsider(*id);
        }
        self.release(now, all.clone());
        for id in all {
            if self.held.contains(&id) {
                self.show(id);
            }
        }
        self.settle_queue(now);
    }

    /// Takes others the way of one that has ended by itself: it starts again, and so do they, or it is
    /// given up, and they are with it. Who is not wanted, or goes down already, is left alone.
    pub(super) fn take_along(&mut self, now: Tick, id: Id, names: &[ServiceName], how: &Held) {
        let others: BTreeSet<Id> =
            names.iter().filter_map(|it| self.ids.get(it).copied()).collect();
        let goes_along = |it: &Id| {
            let standing = self.at(*it);
            let wanted = standing.target == Target::Up && !standing.leaving;
            let lives = standing.process.is_some();
            wanted
                && match how {
                    Held::Along(_) => {
                        lives && !standing.state.is_stopping() && standing.held.is_none()
                    }
                    _ => lives || standing.alarm.is_some() || standing.state == State::Blocked,
                }
        };
        let others = others.into_iter().filter(|it| *it != id && self.is_known(*it));
        let others: Vec<Id> = others.filter(goes_along).collect();
        if !others.is_empty() {
            self.hold(now, &others, how);
        }
    }

    /// The services that require one of these, or one that does, and have something to lose; each
    /// with the one that it has to yield to.
    fn requiring(&self, ids: &[Id]) -> Vec<(Id, Id)> {
        let mut seen: BTreeSet<Id> = ids.iter().copied().collect();
        let mut found = Vec::new();
        let mut waiting = ids.to_vec();
        while let Some(to) = waiting.pop() {
            let name = &self.nodes[to.index()].name;
            for (id, need) in self.graph.dependents(to) {
                let Some(service) = self.nodes[id.index()].service.as_ref() else { continue };
                let requires = *need == Need::Up && service.spec.requires.contains(name);
                let standing = &service.standing;
                let up = standing.process.is_some() || standing.state == State::Success;
                if requires && up && standing.held.is_none() && seen.insert(*id) {
                    found.push((*id, to));
                    waiting.push(*id);
                }
            }
        }
        found
    }

    /// Lets those of `ids` go down that are held and not needed any more.
    pub(super) fn release(&mut self, now: Tick, mut ids: Vec<Id>) {
        ids.retain(|id| self.held.contains(id));
        ids.retain(|id| !self.is_needed(*id));
        for id in &ids {
            self.held.remove(id);
        }
        let order = self.in_order("stop_order", ids);
        self.released.extend(order);
        if !self.is_ending() {
            self.let_go(now, usize::MAX);
        }
    }

    /// Takes down the first of those that were released. Says whether there were any. What follows
    /// from one of them releases others, which have their turn here, and not within that.
    pub(super) fn let_go(&mut self, now: Tick, count: usize) -> bool {
        if self.released.is_empty() || std::mem::replace(&mut self.letting_go, true) {
            return false;
        }
        for _ in 0..count {
            let Some(id) = self.released.pop_front() else { break };
            if !self.is_known(id) {
                continue;
            }
            let what = match self.draw(id).standing.held.take() {
                _ if self.is_ending() => Happening::WantDown,
                Some(Held::Restart) => Happening::WantRestart,
                Some(Held::Renew) => Happening::Defined { restart: true },
                Some(Held::Yield(to)) => Happening::MustYield { to },
                Some(Held::Along(with)) => Happening::MustRestart { with },
                Some(Held::GiveUp(with)) => Happening::MustGiveUp { with },
                Some(Held::Stop) => match self.doors.unused.remove(&id) {
                    Some(quiet_ms) => Happening::Unused { quiet_ms },
                    None => Happening::WantDown,
                },
                None => continue, // It is wanted again, or was hurried.
            };
            self.happen(now, id, what);
            if self.is_known(id) {
                self.reconsider(id);
            }
        }
        self.letting_go = false;
        self.settle_queue(now);
        true
    }

    /// Lets whoever is held for nobody go: who was waited for may be wanted again, or need it no more.
    pub(super) fn release_free(&mut self, now: Tick) {
        if !self.held.is_empty() {
            self.release(now, self.held.iter().copied().collect());
        }
    }

    /// Whether a dependent of `id` lives that is going down, too. Who waits for one another does not
    /// wait here.
    fn is_needed(&mut self, id: Id) -> bool {
        let goes_first = |it: &Id| {
            let standing = self.nodes[it.index()].service.as_ref().map(|it| &it.standing);
            standing.is_some_and(|at| {
                let leaves = at.target == Target::Down || at.state.is_stopping();
                at.process.is_some() && (leaves || at.held.is_some())
            })
        };
        let dependents = self.graph.dependents(id).iter().filter(|(_, need)| *need != Need::Down);
        let first: Vec<Id> = dependents.map(|(it, _)| *it).filter(goes_first).collect();
        first.into_iter().any(|it| !self.graph.wait_for_each_other(id, it))
    }

    /// What a service needs: who may be free to go when it is gone.
    pub(super) fn needed_by(&self, id: Id) -> Vec<Id> {
        self.graph.needs(id).iter().map(|(it, _)| *it).collect()
    }

    pub(super) fn known(&self) -> Vec<Id> {
        let mut known: Vec<_> = self.ids.iter().filter(|(_, id)| self.is_known(**id)).collect();
        known.sort();
        known.into_iter().map(|(_, id)| *id).collect()
    }

    /// These services in the order that the policy wants; whom it leaves out comes last.
    pub(super) fn in_order(&mut self, hook: &'static str, ids: Vec<Id>) -> Vec<Id> {
        const ASKED_MAX: usize = 16_384;
        if ids.len() < 2 || ids.len() > ASKED_MAX {
            return ids;
        }
        let names: Array =
            ids.iter().map(|id| Dynamic::from(self.nodes[id.index()].name.to_string())).collect();
        let said = self.ask(hook, None, vec![names.into()], |said| {
            said.into_typed_array::<String>().map_err(|kind| format!("it answered with {kind}"))
        });
        let mut left: BTreeSet<Id> = ids.iter().copied().collect();
        let said = said.unwrap_or_default();
        let first = said.iter().filter_map(|it| self.ids.get(it.as_str()).copied());
        let mut order: Vec<Id> = first.filter(|id| left.remove(id)).collect();
        order.extend(ids.into_iter().filter(|id| left.contains(id)));
        order
    }
}

//! Who needs whom: how edges are drawn, and what is carried along them when a service changes.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{Core, Effect};
use crate::event::{Happening, Tick};
use crate::graph::{Facts, Id, Need};
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::State;

impl Core {
    /// Draws the edges of a service anew.
    pub(super) fn connect(&mut self, id: Id) {
        let spec = self.nodes[id.index()].service.as_ref().map(|it| Rc::clone(&it.spec));
        let mut needs = Vec::new();
        if let Some(spec) = spec {
            let up = spec.requires.iter().chain(&spec.after).map(|it| (it, Need::Up));
            let settled = spec.wanted().map(|it| (it, Need::Settled));
            let down = spec.conflicts.iter().map(|it| (it, Need::Down));
            let all = up.chain(settled).chain(down);
            needs.extend(all.map(|(name, need)| (self.place(name), need)));
        }
        let asked = self.asked_of.get(&id).into_iter().flatten();
        needs.extend(asked.map(|(other, need)| (*other, *need)));
        needs.retain(|(other, need)| *other != id || *need == Need::Up);
        self.graph.set_needs(id, needs.clone());
        for (other, need) in needs {
            let in_this_way = self.graph.dependents(other).iter().filter(|(_, it)| *it == need);
            // Nobody has needed it in this way so far, so nobody has asked.
            if in_this_way.count() == 1 && self.is_known(other) {
                self.ask_facts(other);
            }
        }
    }

    /// What `before` and `conflicts` of a service say about others, in place of what they said.
    pub(super) fn ask_of_others(&mut self, id: Id, old: Option<&Spec>, new: Option<&Spec>) {
        let none = Vec::new();
        let lists = |spec: Option<&Spec>| {
            [
                (spec.map_or(&none, |it| &it.before).clone(), Need::Settled),
                (spec.map_or(&none, |it| &it.conflicts).clone(), Need::Down),
            ]
        };
        let (old, new) = (lists(old), lists(new));
        if old == new {
            return;
        }
        let mut touched = BTreeSet::new();
        for name in old.iter().flat_map(|(names, _)| names) {
            let other = self.place(name);
            self.asked_of.entry(other).or_default().remove(&id);
            touched.insert(other);
        }
        for (names, need) in &new {
            for name in names {
                let other = self.place(name);
                self.asked_of.entry(other).or_default().insert(id, *need);
                touched.insert(other);
            }
        }
        touched.remove(&id);
        for other in touched {
            self.connect(other);
        }
    }

    /// After a change: may those who need it go on? Told are those whose reason to wait this is, or
    /// was, and those who failed while it was not as they need it.
    pub(super) fn reconsider(&mut self, id: Id) {
        if self.graph.dependents(id).is_empty() {
            return;
        }
        let before = self.graph.facts(id);
        let mut told = self.waiting_for(id);
        self.ask_facts(id);
        told.extend(self.waiting_for(id));
        let now = self.graph.facts(id);
        if now != before {
            for other in self.dependents_in(id, State::Blocked).difference(&told) {
                self.show_waits(*other);
            }
        }
        if now.up && !before.up {
            told.extend(self.dependents_in(id, State::Backoff));
        }
        self.nudge(told);
    }

    /// Shows what a blocked service waits for now. It has another reason to wait, so nothing is to be
    /// decided.
    fn show_waits(&mut self, id: Id) {
        let waits_for = self.waits_for(id);
        if self.known_service(id).waits_for != waits_for {
            self.draw(id).waits_for = waits_for;
            self.effects.push(Effect::Known(Rc::clone(self.known_service(id))));
        }
    }

    /// A service is in another state: whoever of its groups waits may wait for that, if the policy
    /// looks around. They are told once for all that happens at a time.
    pub(super) fn tell_peers(&mut self, id: Id, before: State) {
        if self.at(id).state == before || !self.policy.borrow().looks_around() {
            return;
        }
        let mut peers = self.peers(id);
        peers.retain(|it| self.at(*it).state == State::Blocked);
        self.peers_told.extend(peers);
    }

    /// Tells those of whose groups somebody is in another state. Says whether there were any.
    pub(super) fn tell_all_peers(&mut self, now: Tick) -> bool {
        let mut told = std::mem::take(&mut self.peers_told);
        told.retain(|it| self.is_known(*it));
        let any = !told.is_empty();
        self.nudge(told);
        self.settle_queue(now);
        any
    }

    pub(super) fn nudge(&mut self, told: BTreeSet<Id>) {
        self.queue.extend(told.into_iter().map(|it| (it, Happening::Nudged)));
    }

    /// The blocked dependents of `id` that have no other reason to wait.
    pub(super) fn waiting_for(&mut self, id: Id) -> BTreeSet<Id> {
        let mut waiting = self.dependents_in(id, State::Blocked);
        waiting.retain(|it| self.graph.obstacle(*it).is_none_or(|(first, _)| first == id));
        waiting
    }

    pub(super) fn dependents_in(&self, id: Id, state: State) -> BTreeSet<Id> {
        let is_there = |it: &Id| {
            let service = self.nodes[it.index()].service.as_ref();
            service.is_some_and(|it| it.standing.state == state)
        };
        self.graph.dependents(id).iter().map(|(it, _)| *it).filter(is_there).collect()
    }

    /// Asks the policy how a service is for those who need it; only what one of them has to know.
    pub(super) fn ask_facts(&mut self, id: Id) {
        if !self.is_known(id) {
            self.graph.set_facts(id, Facts::ABSENT);
            return;
        }
        let needed = |need: Need| self.graph.dependents(id).iter().any(|(_, it)| *it == need);
        let (up, settled) = (needed(Need::Up), needed(Need::Settled));
        let goes_down = self.at(id).held.is_some();
        let standing = self.at(id);
        let down = standing.process.is_none() && standing.state != State::Backoff;
        let facts = Facts {
            up: up && !goes_down && self.ask_about(id, "is_satisfied"),
            settled: settled && !goes_down && self.ask_about(id, "is_settled"),
            down,
        };
        self.graph.set_facts(id, facts);
    }

    pub(super) fn ask_about(&mut self, id: Id, question: &'static str) -> bool {
        let seen = self.look(id);
        self.ask(question, Some(seen), Vec::new(), |said| {
            said.as_bool().map_err(|kind| format!("it answered with {kind} instead of a bool"))
        })
        .unwrap_or(false)
    }

    /// The names of what a service needs and does not have, the first few.
    pub(super) fn waits_for(&mut self, id: Id) -> Vec<ServiceName> {
        const SHOWN_MAX: usize = 8;
        let unmet = self.graph.unmet(id);
        unmet.iter().take(SHOWN_MAX).map(|(it, _)| self.nodes[it.index()].name.clone()).collect()
    }
}

//! What is asked of many services at once, and in which order they are served.

use std::collections::BTreeSet;

use rhai::{Array, Dynamic};

use super::{Core, Effect};
use crate::event::{Happening, Tick};
use crate::graph::Id;
use crate::spec::Status;
use crate::state::Target;

impl Core {
    pub(super) fn start_all(&mut self, now: Tick) {
        let mut all = self.known();
        all.retain(|id| self.spec(*id).status != Status::Ignore);
        for id in self.in_order("start_order", all) {
            self.keep_up(id);
            self.happen(now, id, Happening::WantUp);
        }
    }

    /// A service that is wanted up does not go down, nor does what it needs.
    pub(super) fn keep_up(&mut self, id: Id) {
        let mut needed = vec![id];
        while let Some(id) = needed.pop() {
            if self.held.remove(&id) {
                self.draw(id).standing.target = Target::Up;
                self.show(id);
            }
            let after = self.graph.after(id).iter().copied();
            needed.extend(after.filter(|it| self.held.contains(it)));
        }
    }

    /// Brings everything down, each service after those that depend on it.
    pub(super) fn stop_all(&mut self, now: Tick) {
        let all = self.known();
        self.stop_these(now, &all);
    }

    pub(super) fn leave(&mut self, now: Tick, ids: &[Id]) {
        for id in ids {
            self.draw(*id).standing.leaving = true;
            self.show(*id);
        }
        self.stop_these(now, ids);
    }

    pub(super) fn stop_these(&mut self, now: Tick, ids: &[Id]) {
        for id in ids {
            if self.at(*id).target == Target::Up {
                self.draw(*id).standing.target = Target::Down;
                self.show(*id);
            }
        }
        self.held.extend(ids);
        self.release(now, ids.to_vec());
    }

    /// Stops those of `ids` that are held and have no dependent that is held or lives.
    pub(super) fn release(&mut self, now: Tick, mut ids: Vec<Id>) {
        ids.retain(|id| self.held.contains(id));
        ids.retain(|id| !self.is_needed(*id));
        for id in self.in_order("stop_order", ids) {
            if self.held.remove(&id) {
                self.happen(now, id, Happening::WantDown);
            }
        }
    }

    /// Whether a dependent of `id` lives that is going down, too. Members of a cycle do not wait for
    /// one another.
    fn is_needed(&mut self, id: Id) -> bool {
        let goes_first = |it: &Id| {
            let service = self.nodes[it.index()].service.as_ref();
            let standing = service.map(|it| &it.standing);
            *it != id
                && standing.is_some_and(|it| it.process.is_some() && it.target == Target::Down)
        };
        self.graph.dependents(id).iter().any(goes_first) && self.graph.cycle(id).is_empty()
    }

    pub(super) fn known(&self) -> Vec<Id> {
        let mut known: Vec<_> = self.ids.iter().filter(|(_, id)| self.is_known(**id)).collect();
        known.sort();
        known.into_iter().map(|(_, id)| *id).collect()
    }

    /// These services in the order that the policy wants; whom it leaves out comes last.
    pub(super) fn in_order(&mut self, hook: &str, ids: Vec<Id>) -> Vec<Id> {
        const ASKED_MAX: usize = 16_384;
        if ids.len() < 2 || ids.len() > ASKED_MAX {
            return ids;
        }
        let names: Array =
            ids.iter().map(|id| Dynamic::from(self.nodes[id.index()].name.to_string())).collect();
        let answer = self.policy.ask(hook, (names,), |said| {
            said.into_typed_array::<String>().map_err(|kind| format!("it answered with {kind}"))
        });
        self.effects.extend(answer.fault.map(Effect::Complain));
        let mut left: BTreeSet<Id> = ids.iter().copied().collect();
        let said = answer.said.unwrap_or_default();
        let first = said.iter().filter_map(|it| self.ids.get(it.as_str()).copied());
        let mut order: Vec<Id> = first.filter(|id| left.remove(id)).collect();
        order.extend(ids.into_iter().filter(|id| left.contains(id)));
        order
    }
}

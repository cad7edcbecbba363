//! What the policy is shown of a service.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::Core;
use crate::draft::Draft;
use crate::graph::{Id, Need};
use crate::state::Target;
use crate::view::{Around, DependencyView, Facts, Seen};

impl Core {
    /// What there is to see of a service as it stands.
    pub(super) fn look(&mut self, id: Id) -> Rc<Seen> {
        let draft = Draft::of(self.known_service(id));
        self.look_at(id, &draft)
    }

    /// What there is to see of a service as it is drafted.
    pub(super) fn look_at(&mut self, id: Id, draft: &Draft) -> Rc<Seen> {
        let needs = self.graph.unmet(id);
        let obstacle = needs.first().map(|(it, need)| {
            let node = &self.nodes[it.index()];
            let service = node.service.as_ref();
            let state = service.map(|it| it.standing.state);
            let goes_down = service.is_some_and(|it| it.standing.held.is_some());
            let target = service.map_or(Target::Down, |it| it.standing.target);
            DependencyView { name: node.name.clone(), state, target, need: *need, goes_down }
        });
        let waits = needs.iter().any(|(_, need)| *need == Need::Up);
        let way = if waits { self.graph.cycle(id) } else { Vec::new() };
        let cycle = way.into_iter().map(|it| self.nodes[it.index()].name.clone()).collect();
        let (unmet, chance) = (needs.len(), self.draw_chance());
        let (now, wall, next_turn) = (self.now, self.wall, self.next_turn);
        let looks_around = self.policy.borrow().looks_around();
        let around = looks_around.then(|| Rc::new(self.around(id)));
        let demand = self.door_of(id);
        let facts = Facts { now, wall, obstacle, unmet, next_turn, chance, cycle, demand, around };
        draft.seen(facts)
    }

    /// The services around one.
    fn around(&self, id: Id) -> Around {
        let service = |it: &Id| self.nodes[it.index()].service.clone();
        let dependents: BTreeSet<Id> =
            self.graph.dependents(id).iter().map(|(it, _)| *it).collect();
        let needs: BTreeSet<Id> = self.graph.needs(id).iter().map(|(it, _)| *it).collect();
        Around::new(
            self.peers(id).iter().filter_map(service).collect(),
            dependents.iter().filter_map(service).collect(),
            needs.iter().filter_map(service).collect(),
        )
    }

    /// The others of its groups, sorted by name.
    pub(super) fn peers(&self, id: Id) -> Vec<Id> {
        let groups = &self.spec(id).groups;
        if groups.is_empty() {
            return Vec::new();
        }
        let shares = |it: Id| self.spec(it).groups.iter().any(|it| groups.contains(it));
        let others = self.ids.iter().filter(|(_, it)| **it != id && self.is_known(**it));
        let mut peers: Vec<_> = others.filter(|(_, it)| shares(**it)).collect();
        peers.sort();
        peers.into_iter().map(|(_, it)| *it).collect()
    }

    /// The next of a row of numbers from 0 to 999 (`splitmix64`).
    pub(super) fn draw_chance(&mut self) -> i64 {
        let Some(dice) = &mut self.dice else { return 500 };
        *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*dice ^ (*dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % 1_000).expect("it is below a thousand")
    }
}

//! What the policy is shown of a service.

use super::Core;
use crate::draft::Draft;
use crate::graph::{Id, Need};
use crate::state::Target;
use crate::view::{DependencyView, Seen, ServiceView};

impl Core {
    pub(super) fn view_of(&mut self, id: Id) -> ServiceView {
        let draft = Draft::of(self.known_service(id));
        self.view(id, &draft)
    }

    pub(super) fn view(&mut self, id: Id, draft: &Draft) -> ServiceView {
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
        let (service, unmet, chance) = (draft.service(), needs.len(), self.draw_chance());
        let next_turn = self.next_turn;
        ServiceView::new(Seen { service, obstacle, unmet, cycle, next_turn, chance })
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

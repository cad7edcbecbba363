//! The core's questions: what it asks the policy, what it makes of the answers, and what it tells of
//! both.

use std::rc::Rc;

use rhai::{Array, Dynamic};

use super::{Core, Effect};
use crate::action::Action;
use crate::decision::{Decision, Fault, Question};
use crate::draft::Draft;
use crate::event::{Event, Happening, Tick};
use crate::graph::Id;
use crate::name::ServiceName;
use crate::policy::{self, Policy};
use crate::view::{EventView, Seen, ServiceView};

/// What is asked about a service whenever it stands differently: too often to be noted, and whoever
/// knows how it stands can ask again.
pub const DERIVED: [&str; 2] = ["is_satisfied", "is_settled"];

impl Core {
    /// Asks the table what is done about an event, and checks that it can be.
    pub(super) fn decide(&mut self, now: Tick, id: Id, draft: Draft, what: Happening) -> Draft {
        let event = Event { service: self.nodes[id.index()].name.clone(), now, what };
        let seen = self.look_at(id, &draft);
        let answer = ask_table(&self.policy.borrow(), &draft, &event, &seen);
        self.report(Some(&event.service), &answer.faults);
        let (next, said) = match answer.said {
            Ok((next, said)) => (next, Some(said)),
            Err(error) => {
                let (what, name) = (event.what.kind(), &event.service);
                self.effects.push(Effect::Complain(format!(
                    "cannot decide about `{what}` of `{name}`: {error}; please report this"
                )));
                (draft.despair(&event.what, &error), None)
            }
        };
        let before = Rc::clone(self.known_service(id));
        let after = next.service();
        let question = Question::Step { before, what: event.what, seen, said, after };
        self.note(question, answer.faults);
        next
    }

    fn report(&mut self, service: Option<&ServiceName>, faults: &[Fault]) {
        let told = faults.iter().map(|it| Effect::Faulted(service.cloned(), it.clone()));
        self.effects.extend(told);
    }

    fn note(&mut self, question: Question, faults: Vec<Fault>) {
        let decision = Decision { now: self.now, question, faults };
        self.effects.push(Effect::Decided(Box::new(decision)));
    }

    /// Asks a hook about a service, if it is about one.
    pub(super) fn ask<T>(
        &mut self,
        hook: &'static str,
        seen: Option<Rc<Seen>>,
        args: Vec<Dynamic>,
        accept: impl Fn(Dynamic) -> Result<T, String>,
    ) -> Option<T> {
        let view = seen.iter().map(|it| Dynamic::from(ServiceView::new(Rc::clone(it))));
        let all = view.chain(args.iter().cloned()).collect();
        let answer = self.policy.borrow().ask(hook, all, |said| Ok((accept(said.clone())?, said)));
        self.report(seen.as_ref().map(|it| &it.service.name), &answer.faults);
        let (accepted, said) = match answer.said {
            Ok((accepted, said)) => (Some(accepted), Some(said)),
            Err(error) => {
                let sentence = format!("`{hook}` has no answer: {error}; please report this");
                self.effects.push(Effect::Complain(sentence));
                (None, None)
            }
        };
        if !DERIVED.contains(&hook) {
            self.note(Question::Hook { hook, seen, args, said }, answer.faults);
        }
        accepted
    }
}

/// Asks the table what is done about an event of a service that is drafted so, and checks that it can
/// be.
pub(crate) fn ask_table(
    policy: &Policy,
    draft: &Draft,
    event: &Event,
    seen: &Rc<Seen>,
) -> policy::Answer<(Draft, Vec<Action>)> {
    let view = ServiceView::new(Rc::clone(seen));
    let event_view = EventView::new(event.clone(), draft);
    policy.ask("step", vec![Dynamic::from(view), Dynamic::from(event_view)], |said| {
        let said = actions(said)?;
        let mut next = draft.clone();
        next.follow(said.clone())?;
        next.check(&event.what)?;
        Ok((next, said))
    })
}

/// What a decision said, as actions.
fn actions(said: Dynamic) -> Result<Vec<Action>, String> {
    let kind = said.type_name();
    let list = said.try_cast::<Array>().ok_or_else(|| format!("it answered with {kind}"))?;
    list.into_iter()
        .map(|it| {
            let kind = it.type_name();
            it.try_cast::<Action>().ok_or_else(|| format!("{kind} is no action"))
        })
        .collect()
}

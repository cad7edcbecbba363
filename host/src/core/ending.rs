//! How everything is brought down, and what is left to say when it is.

use rhai::{Array, Dynamic};
use zinit_keeper::wire::{Exit, Then};

use super::{Core, Effect};
use crate::ending::{Asker, Ending};
use crate::event::{Happening, Tick};
use crate::graph::Id;
use crate::refusal::{Kind, Refusal};
use crate::state::{Target, describe};
use crate::view::ExitView;

impl Core {
    /// An earlier brain has begun to bring everything down: nothing starts, and [`boot`](Self::boot)
    /// goes on with it.
    pub fn set_ending(&mut self, ending: Ending) {
        self.is_repeated = ending.will_be_repeated();
        self.ending = Some(ending);
    }

    /// The keeper is the first process of the machine, which it may switch off.
    pub fn set_machine(&mut self) {
        self.is_machine = true;
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Brings everything down and ends. Whoever asks for that again while it is under way has no time.
    pub fn shut_down(&mut self, now: Tick, by: Asker, then: Then) {
        self.now = now;
        if by == Asker::Keeper && std::mem::take(&mut self.is_repeated) {
            return;
        }
        let before = self.ending.clone();
        let mut ending = before.clone().unwrap_or_default();
        let is_another_wish = before.is_some() && then != Then::Exit && then != ending.then;
        if then != Then::Exit {
            ending.then = then;
        }
        if !is_another_wish {
            ending.is_asked_for(by);
        }
        let is_late = ending.is_hurried() && before.as_ref().is_some_and(|it| !it.is_hurried());
        self.remember_ending(ending);
        if before.is_none() {
            self.bring_down(now);
        } else if is_late {
            self.hurry(now);
        }
    }

    /// As [`shut_down`](Self::shut_down) for a client, who may want what cannot be had.
    pub(super) fn shut_down_for_client(&mut self, now: Tick, then: Then) -> Result<(), Refusal> {
        let verb = match then {
            Then::Exit => None,
            Then::Poweroff => Some("power off"),
            Then::Reboot => Some("reboot"),
        };
        if let Some(verb) = verb.filter(|_| !self.is_machine) {
            let why = "Zinit is not the first process of this machine";
            return Err(Refusal::new(Kind::Forbidden, format!("cannot {verb}: {why}"))
                .hint("`zinit shutdown` stops all services and the server"));
        }
        self.shut_down(now, Asker::Client, then);
        Ok(())
    }

    /// The service of this name is at rest, and the policy wants no more than that. It is remembered
    /// before the end of the service is.
    pub(super) fn begin_ending(&mut self, id: Id, exit: Option<Exit>) {
        let how = exit.as_ref().map_or_else(|| "it is at rest".to_owned(), describe);
        let name = &self.nodes[id.index()].name;
        let sentence = format!("`{name}` has ended ({how}), and with it ends everything");
        self.effects.push(Effect::Complain(sentence));
        self.remember_ending(Ending::caused_by(exit));
    }

    fn remember_ending(&mut self, ending: Ending) {
        self.ending = Some(ending.clone());
        self.effects.push(Effect::Ending(ending));
    }

    /// Brings everything down, in order; what takes too long is hurried.
    pub(super) fn bring_down(&mut self, now: Tick) {
        self.starting.clear();
        let is_init = self.is_init;
        let limit = self.ask("shutdown_ms", None, vec![is_init.into()], |said| {
            said.as_int().map_err(|kind| format!("it answered with {kind} instead of a number"))
        });
        if let Some(limit) = limit.filter(|it| *it > 0) {
            self.effects.push(Effect::Deadline(Tick(now.0.saturating_add(limit))));
        }
        self.stop_all(now);
        if self.ending.as_ref().is_some_and(Ending::is_hurried) {
            self.hurry(now);
        }
        self.end_if_down();
    }

    /// There is no time left: whatever lives is stopped without grace, in no order.
    pub fn hurry(&mut self, now: Tick) {
        self.now = now;
        let held = std::mem::take(&mut self.held).into_iter();
        for id in held.chain(std::mem::take(&mut self.released)).collect::<Vec<_>>() {
            self.draw(id).standing.held = None;
        }
        for id in self.known() {
            if self.is_known(id) && self.at(id).process.is_some() {
                self.draw(id).standing.target = Target::Down;
                self.happen(now, id, Happening::MustHurry);
            }
        }
        self.end_if_down();
    }

    pub(super) fn end_if_down(&mut self) {
        let all_down = self.live == 0 && self.held.is_empty() && self.released.is_empty();
        let Some(ending) = self.ending.clone().filter(|_| all_down) else { return };
        let code = self.exit_status(ending.cause);
        self.effects.push(Effect::Ended { code, then: ending.then });
    }

    /// The status that the server ends with, as the policy has it.
    fn exit_status(&mut self, cause: Option<Exit>) -> i32 {
        let mut ends: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|it| it.service.as_ref())
            .filter(|it| it.spec.essential)
            .filter_map(|it| Some((it.standing.since, &it.name, it.standing.last_exit.clone()?)))
            .collect();
        ends.sort_by_key(|(since, name, _)| (*since, *name));
        let view = |it: Exit| Dynamic::from(ExitView(it));
        let ends: Array = ends.into_iter().map(|(.., exit)| view(exit)).collect();
        let cause = cause.map_or(Dynamic::UNIT, view);
        let code = self.ask("exit_status", None, vec![cause, ends.into()], |said| {
            let code = said.as_int().map_err(|kind| format!("it answered with {kind}"))?;
            i32::try_from(code)
                .ok()
                .filter(|it| (0..=255).contains(it))
                .ok_or_else(|| format!("{code} is no exit status, which is 0 to 255"))
        });
        code.unwrap_or(0)
    }
}

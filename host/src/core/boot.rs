//! How a core begins: with what the files say, and what the keeper remembers.

use std::rc::Rc;

use zinit_keeper::wire::Exit;

use super::{Core, Effect};
use crate::event::{Happening, Tick};
use crate::graph::Id;
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::{Held, Standing, State, Target};

/// A process that the keeper knows of when a brain begins.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// Where the service stood.
    pub standing: Standing,
    /// The keeper's latest incarnation of it.
    pub incarnation: u64,
    /// The process id of that, 0 when it does not live.
    pub pid: i32,
    /// Whether it runs its own program.
    pub started: bool,
    /// How its main process ended, while others of it live.
    pub died: Option<Exit>,
    /// Its end, if no brain has acted on it.
    pub exit: Option<Exit>,
}

impl Core {
    /// Makes all these services known, then goes on with those that a brain before this one knew,
    /// and starts those that start with the server.
    pub fn boot(&mut self, now: Tick, found: Vec<(ServiceName, Spec, Option<Survivor>)>) {
        self.now = now;
        let mut restored = Vec::new();
        let mut ids = Vec::new();
        let mut fresh = Vec::new();
        self.doors.unvetted = true;
        for (name, spec, survivor) in found {
            let id = self.know(now, name, Rc::new(spec));
            ids.push(id);
            if let Some(survivor) = survivor {
                let process = survivor.standing.process;
                self.live += usize::from(process.is_some());
                self.draw(id).standing = survivor.standing.clone();
                self.mind_the_door(id);
                if self.is_ending() {
                    let standing = &mut self.draw(id).standing;
                    standing.target = Target::Down;
                    standing.held = standing.held.take().map(|_| Held::Stop);
                }
                restored.push((id, survivor));
            } else {
                fresh.push(id);
            }
        }
        self.doors.unvetted = false;
        for (id, survivor) in restored {
            self.resume_checks(now, id);
            self.arm(id);
            self.show(id);
            self.reconsider(id);
            self.catch_up(now, id, survivor);
        }
        self.settle_queue(now);
        let going_down = |it: &Standing| {
            it.process.is_some() && it.target == Target::Down && !it.state.is_stopping()
        };
        let unfinished: Vec<Id> = ids
            .iter()
            .copied()
            .filter(|id| self.is_known(*id) && going_down(self.at(*id)))
            .collect();
        self.hold(now, &unfinished, &Held::Stop);
        let held: Vec<Id> = ids.iter().copied().filter(|id| self.is_held(*id)).collect();
        self.held.extend(&held);
        self.release(now, held);
        let idle = |it: &Standing| it.state == State::Stopped && it.target == Target::Up;
        let wanted: Vec<Id> =
            ids.iter().copied().filter(|id| self.is_known(*id) && idle(self.at(*id))).collect();
        for other in
            wanted.into_iter().flat_map(|id| self.brought_up_by(id, false)).collect::<Vec<_>>()
        {
            if self.at(other).state == State::Stopped {
                self.draw(other).standing.target = Target::Up;
                self.reconsider(other);
            }
        }
        for id in fresh {
            let service = Rc::clone(self.known_service(id));
            self.effects.push(Effect::Known(service));
        }
        if self.is_ending() {
            return self.bring_down(now);
        }
        ids.retain(|id| self.is_known(*id) && idle(self.at(*id)));
        self.starting = self.in_order("start_order", ids).into();
    }

    fn is_held(&self, id: Id) -> bool {
        self.is_known(id) && self.at(id).held.is_some()
    }

    /// What was under way is lost with the brain that did it.
    fn resume_checks(&mut self, now: Tick, id: Id) {
        let watchdog_ms = self.spec(id).watchdog_ms;
        let standing = &mut self.draw(id).standing;
        if std::mem::take(&mut standing.checking) && !standing.state.is_stopping() {
            standing.check_at = Some(now);
        }
        // While no brain was there, nobody heard the signs of life.
        if standing.state == State::Running && standing.timeout_at.is_some() {
            standing.timeout_at = Some(Tick(now.0 + watchdog_ms));
        }
    }

    /// Goes on with what concerns every service: some of those that start with the server, or that
    /// go down with it, are decided about now, so that these are launched or signalled while others
    /// are still decided about. Says whether there were any.
    pub fn go_on(&mut self, now: Tick) -> bool {
        self.now = now;
        const AT_ONCE: usize = 32;
        let some: Vec<Id> = self.starting.drain(..AT_ONCE.min(self.starting.len())).collect();
        for id in &some {
            self.happen(now, *id, Happening::WantUp);
        }
        let any = self.let_go(now, AT_ONCE) || !some.is_empty();
        let any = self.tell_all_peers(now) || any;
        if any {
            self.end_if_down();
        }
        any
    }

    /// Tells a restored service what happened while no brain was there.
    fn catch_up(&mut self, now: Tick, id: Id, survivor: Survivor) {
        let Standing { state, process, incarnation, alarm, leaving, .. } = survivor.standing;
        let Some(process) = process else {
            if survivor.exit.is_some() {
                // It was acted on, and only that this is so was lost.
                let (service, incarnation) =
                    (self.nodes[id.index()].name.clone(), survivor.incarnation);
                self.effects.push(Effect::Acknowledge { service, incarnation });
            }
            match state {
                _ if leaving => self.happen(now, id, Happening::WantDown),
                State::Blocked => self.happen(now, id, Happening::Nudged),
                _ => {}
            }
            return;
        };
        if survivor.incarnation != incarnation {
            let exit = Exit::Launch { step: "its launch was lost".to_owned(), errno: 0 };
            return self.happen(now, id, Happening::Exited { incarnation, exit });
        }
        if survivor.pid != 0 && survivor.pid != process.pid {
            self.happen(now, id, Happening::Launched { incarnation, pid: survivor.pid });
        }
        if survivor.started && state == State::Spawned && alarm.is_none() {
            self.happen(now, id, Happening::Started { incarnation });
        }
        if let Some(exit) = survivor.died.filter(|_| process.died.is_none()) {
            self.happen(now, id, Happening::Died { incarnation, exit });
        }
        let is_gone = survivor.pid == 0 && survivor.exit.is_none();
        let unknown = Exit::Unknown;
        if let Some(exit) = survivor.exit.or(is_gone.then_some(unknown)) {
            self.happen(now, id, Happening::Exited { incarnation, exit });
        }
    }
}

//! The loop: wait for what happens, let the core decide, do what it says.

use zinit_keeper::wire::Then;

use crate::core::{Core, Effect};
use crate::desk::{Answer, Letter};
use crate::ending::Asker;
use crate::event::{Demand, Event, Happening, Tick, Wall};
use crate::name::ServiceName;

/// Everything that can wake the server.
#[derive(Debug)]
pub enum Wake {
    /// Something happened to a service.
    Happened(ServiceName, Happening),
    /// Those who have the clients of a service have something to say.
    Demanded(ServiceName, Demand),
    /// Somebody asks for something.
    Asked(Letter),
    /// Somebody has sent a signal that everything is to be brought down.
    Shutdown(Asker),
    /// The time that a shutdown may take is up.
    Deadline,
    /// Leave at once, and leave everything running: another brain takes over.
    HandOver,
    /// The keeper is gone, and with it the parent of every service.
    Orphaned,
}

/// The world that the core's decisions act on: the real one, or a simulated one.
pub trait Machine {
    /// Waits until something happens and returns all that has, in order. Nothing means the end of
    /// a simulated world.
    fn wait(&mut self) -> Vec<Wake>;

    /// What time it is.
    fn now(&self) -> Tick;

    /// What the wall clock shows.
    fn wall(&self) -> Wall;

    /// Does what was decided.
    fn perform(&mut self, effect: Effect);

    /// Hears the answer to a command, to be passed on when all effects are done.
    fn answer(&mut self, letter: Letter, answer: Answer);

    /// Everything of this batch is decided: let it take effect.
    fn flush(&mut self);
}

/// How supervision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is down.
    Ended,
    /// Everything runs on, for the next brain.
    HandedOver,
    /// The keeper is gone.
    Orphaned,
}

/// Supervises until there is nothing more to do.
pub fn run<M: Machine>(core: &mut Core, machine: &mut M) -> Outcome {
    loop {
        core.set_wall(machine.wall());
        let more = core.go_on(machine.now());
        if let Some(outcome) = perform(core, machine) {
            machine.flush();
            return outcome;
        }
        machine.flush();
        if more {
            continue;
        }
        let wakes = machine.wait();
        if wakes.is_empty() {
            return Outcome::HandedOver;
        }
        for wake in wakes {
            let now = machine.now();
            core.set_wall(machine.wall());
            match wake {
                Wake::Happened(service, what) => core.handle(Event { service, now, what }),
                Wake::Demanded(service, demand) => core.hear(now, &service, &demand),
                Wake::Asked(letter) => {
                    let answer = core.obey(now, letter.command.clone());
                    machine.answer(letter, answer);
                }
                Wake::Shutdown(by) => core.shut_down(now, by, Then::Exit),
                Wake::Deadline => core.hurry(now),
                Wake::HandOver => {
                    machine.flush();
                    return Outcome::HandedOver;
                }
                Wake::Orphaned => return Outcome::Orphaned,
            }
            if let Some(outcome) = perform(core, machine) {
                machine.flush();
                return outcome;
            }
        }
    }
}

/// Does everything that was decided since the last time.
fn perform<M: Machine>(core: &mut Core, machine: &mut M) -> Option<Outcome> {
    for effect in core.take_effects() {
        let outcome = match effect {
            Effect::Ended { .. } => Some(Outcome::Ended),
            Effect::HandOver => Some(Outcome::HandedOver),
            _ => None,
        };
        machine.perform(effect);
        if outcome.is_some() {
            return outcome;
        }
    }
    None
}

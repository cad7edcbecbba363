//! What asks for the end of everything, and what the keeper remembers of it for the next brain.

use nix::sys::signal::Signal;
use zinit_keeper::wire::{Request, Slot};

use super::{RealMachine, SERVER_SLOT};
use crate::ending::{Asker, Ending};
use crate::supervise::Wake;

/// What the server's own note says when everything is to be brought down, whoever is the brain; what
/// is known of that stands beside it.
const ENDING: &str = "ending";

impl RealMachine {
    pub(super) fn remember_ending(&mut self, ending: &Ending) {
        self.ending = true;
        let (service, note) = (SERVER_SLOT.to_owned(), ENDING.to_owned());
        self.ask(vec![Request::Note { service, note, config: Some(ending.note()) }]);
    }
}

/// What an earlier brain has remembered.
pub(super) fn ending_of(slots: &[Slot]) -> Option<Ending> {
    let slot = slots.iter().find(|it| it.service == SERVER_SLOT && it.note == ENDING)?;
    Some(Ending::read(&slot.config))
}

/// What a signal to the server, or passed on by the keeper, asks for.
pub(super) fn meaning(signal: i32, by: Asker) -> Option<Wake> {
    match Signal::try_from(signal) {
        Ok(Signal::SIGTERM | Signal::SIGINT) => Some(Wake::Shutdown(by)),
        Ok(Signal::SIGUSR1) => Some(Wake::HandOver),
        _ => None,
    }
}

//! What asks for the end of everything, and what the keeper remembers of it for the next brain.

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use zinit_keeper::wire::{Request, Slot};

use super::{RealMachine, SERVER_SLOT};
use crate::ending::{Asker, Ending};
use crate::supervise::Wake;

/// What the server's own note says when everything is to be brought down, whoever is the brain; what
/// is known of that stands beside it.
const ENDING: &str = "ending";

/// What an earlier brain has begun.
#[derive(Debug)]
pub enum Begun {
    /// The supervision that goes on.
    Supervising,
    /// The end of everything.
    Ending(Ending),
    /// The end of everything, in which it was killed together with its keeper. Nobody has asked this
    /// server to end.
    Killed,
}

/// Who remembers an ending: it holds for them, and for who goes on for one of them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Noted {
    keeper: i32,
    brain: i32,
    #[serde(flatten)]
    ending: Ending,
}

impl RealMachine {
    pub(super) fn remember_ending(&mut self, ending: &Ending) {
        self.ending = true;
        let brain = nix::unistd::getpid().as_raw();
        let noted = Noted { keeper: self.about.pid, brain, ending: ending.clone() };
        let config = Some(serde_json::to_string(&noted).expect("an ending is plain data"));
        let (service, note) = (SERVER_SLOT.to_owned(), ENDING.to_owned());
        self.ask(vec![Request::Note { service, note, config }]);
    }

    /// What a signal to the server, or passed on by the keeper, asks the core for. The files are read
    /// again beside it.
    pub(super) fn meaning(&self, signal: i32, by: Asker) -> Option<Wake> {
        match Signal::try_from(signal) {
            Ok(Signal::SIGTERM | Signal::SIGINT) => Some(Wake::Shutdown(by)),
            Ok(Signal::SIGUSR1) => Some(Wake::HandOver),
            Ok(Signal::SIGHUP) => {
                self.hangup.notify_one();
                None
            }
            _ => None,
        }
    }

    /// What an earlier brain has remembered, if that is about this server.
    pub(super) fn begun(&mut self, slots: &[Slot]) -> Begun {
        let noted = slots.iter().find(|it| it.service == SERVER_SLOT && it.note == ENDING);
        let Some(slot) = noted else { return Begun::Supervising };
        let Noted { keeper, brain, mut ending } =
            serde_json::from_str(&slot.config).unwrap_or_default();
        // A brain becomes the keeper when its own one dies.
        if keeper != 0 && ![keeper, brain].contains(&self.about.pid) {
            self.ask(vec![Request::Forget { service: SERVER_SLOT.to_owned() }]);
            return Begun::Killed;
        }
        if keeper != self.about.pid {
            ending.is_repeated_by_nobody();
        }
        self.remember_ending(&ending);
        Begun::Ending(ending)
    }
}

//! The end of everything: who has asked for it, why it has come, and what is to follow.

use serde::{Deserialize, Serialize};
use zinit_keeper::wire::{Exit, Then};

/// Who asks for everything to be brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client.
    Client,
    /// Whoever has sent a signal to the server itself.
    Signal,
    /// Whoever has sent one to the keeper, which passes it on, and tells each new brain of it again.
    Keeper,
}

/// What is known of the end of everything while it is brought about. The keeper remembers it for the
/// next brain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// What becomes of the machine.
    pub then: Then,
    /// How the service ended whose end brought everything down, if that is the reason.
    pub cause: Option<Exit>,
    clients: u32,
    signals: u32,
    passed_on: u32,
}

impl Ending {
    /// The end that follows this end of a service.
    pub fn caused_by(exit: Option<Exit>) -> Self {
        Self { cause: exit, ..Self::default() }
    }

    /// Notes that it was asked for once more.
    pub fn is_asked_for(&mut self, by: Asker) {
        let count = match by {
            Asker::Client => &mut self.clients,
            Asker::Signal => &mut self.signals,
            Asker::Keeper => &mut self.passed_on,
        };
        *count = count.saturating_add(1);
    }

    /// Whether it was asked for again, which means that it takes too long.
    ///
    /// A signal that somebody sends to all processes of a server comes in two ways and is one.
    ///
    /// ```
    /// use zinit_host::ending::{Asker, Ending};
    /// let mut ending = Ending::default();
    /// ending.is_asked_for(Asker::Signal);
    /// ending.is_asked_for(Asker::Keeper);
    /// assert!(!ending.is_hurried());
    /// ending.is_asked_for(Asker::Keeper);
    /// assert!(ending.is_hurried());
    /// ```
    pub fn is_hurried(&self) -> bool {
        self.clients.saturating_add(self.signals.max(self.passed_on)) > 1
    }

    /// The keeper that has passed on signals is gone, and the next one does not know of them.
    pub fn is_repeated_by_nobody(&mut self) {
        self.signals = self.signals.max(std::mem::take(&mut self.passed_on));
    }

    /// Whether the keeper has passed on a signal, which it tells the next brain again.
    pub fn will_be_repeated(&self) -> bool {
        self.passed_on > 0
    }
}

//! An exit counts when everything that was written before it is in its file: whoever hears of it finds
//! the last lines as well. The thread that writes them may hang on a disk, so there is a limit.

use super::RealMachine;
use crate::event::{Happening, Tick};
use crate::name::ServiceName;
use crate::supervise::{Machine, Wake};

/// So long an exit waits for the output before it.
const SETTLE_MAX_MS: i64 = 2_000;

impl RealMachine {
    /// A service has ended; answers what follows from it now.
    pub(super) fn settle(&mut self, name: ServiceName, what: Happening) -> Option<Wake> {
        match self.logs.settle(&name, what.clone()) {
            Some(what) => Some(Wake::Happened(name, what)),
            None => {
                let limit = Tick(self.now().0 + SETTLE_MAX_MS);
                self.settling.push((limit, name, what));
                None
            }
        }
    }

    /// Its output is in the file, unless that was no longer waited for.
    pub(super) fn settled(&mut self, name: ServiceName, what: Happening) -> Option<Wake> {
        let of = |it: &(Tick, ServiceName, Happening)| it.1 == name && it.2 == what;
        let index = self.settling.iter().position(of)?;
        self.settling.remove(index);
        Some(Wake::Happened(name, what))
    }

    /// The exits that have waited for long enough.
    pub(super) fn settle_late(&mut self, wakes: &mut Vec<Wake>) {
        let now = self.now();
        // They are in the order of their times.
        let late = self.settling.iter().take_while(|it| it.0 <= now).count();
        wakes.extend(self.settling.drain(..late).map(|(_, name, what)| Wake::Happened(name, what)));
    }

    /// When the machine has something to do that no alarm is for.
    pub(super) fn next_limit(&self) -> Option<Tick> {
        self.deadline.into_iter().chain(self.settling.first().map(|it| it.0)).min()
    }
}

//! When what is due: the alarms of all services, the next one first.

use std::collections::{BTreeSet, HashMap};

use nix::poll::PollTimeout;

use crate::event::Tick;
use crate::name::ServiceName;

/// At most one alarm per service, the next one first.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_time: BTreeSet<(Tick, ServiceName)>,
    by_name: HashMap<ServiceName, Tick>,
}

impl Alarms {
    pub(super) fn set(&mut self, name: ServiceName, at: Option<Tick>) {
        if let Some(old) = self.by_name.remove(&name) {
            self.by_time.remove(&(old, name.clone()));
        }
        if let Some(at) = at {
            self.by_name.insert(name.clone(), at);
            self.by_time.insert((at, name));
        }
    }

    /// Takes out what is due.
    pub(super) fn due(&mut self, now: Tick) -> Vec<ServiceName> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.by_time.pop_first().expect("there is a first one");
            self.by_name.remove(&name);
            due.push(name);
        }
        due
    }

    /// How long to wait until something is due, be it at this `deadline`.
    pub(super) fn timeout(&self, now: Tick, deadline: Option<Tick>) -> PollTimeout {
        let first = self.by_time.first().map(|(at, _)| *at);
        let Some(at) = first.into_iter().chain(deadline).min() else { return PollTimeout::NONE };
        let wait = (at.0 - now.0).clamp(0, i64::from(i32::MAX));
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
    }
}

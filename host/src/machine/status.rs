//! What everybody sees of a service.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::{Latest, RealMachine, complain};
use crate::board::Status;
use crate::chronicle::Change;
use crate::decision::Fault;
use crate::draft::last_exit;
use crate::event::Happening;
use crate::name::ServiceName;
use crate::state::{Service, Standing, State};
use crate::supervise::Machine;

impl RealMachine {
    /// A change of state, or of the reason for it, is an event that others want to read of.
    pub(super) fn write_down(&mut self, before: &Service, after: &Service) {
        let (was, is) = (&before.standing, &after.standing);
        if was.state.word() != is.state.word() || was.why != is.why {
            let change = Change {
                service: after.name.clone(),
                from: was.state.word().into(),
                to: is.state.word().into(),
                why: Arc::clone(&is.why),
                pid: is.process.map_or(0, |it| it.pid),
                exit: last_exit(is),
            };
            self.tell(change);
        }
    }

    /// The time of the wall clock, as everything is told with it.
    pub(super) fn wall_ms(&self) -> i64 {
        self.epoch_ms + self.now().0
    }

    /// Lets everybody know, those who come later as well.
    pub(super) fn tell(&mut self, change: Change) {
        let entry = self.chronicle.add(self.wall_ms(), change);
        self.journal.changed(&entry);
    }

    /// A user's function has failed.
    pub(super) fn note_fault(&mut self, service: Option<&ServiceName>, fault: &Fault) {
        self.journal.faulted(self.wall_ms(), service, fault);
        match service {
            Some(name) => self.note_down(name, &fault.to_string()),
            None => complain(&fault.to_string()),
        }
    }

    /// Something that somebody should read of, and that changes no state.
    pub(super) fn note_down(&mut self, name: &ServiceName, why: &str) {
        complain(&format!("`{name}`: {why}"));
        let Some(it) = self.latest_of(name) else { return };
        let state = Cow::from(it.standing.state.word());
        let change = Change {
            service: name.clone(),
            from: state.clone(),
            to: state,
            why: why.into(),
            pid: it.standing.process.map_or(0, |it| it.pid),
            exit: last_exit(&it.standing),
        };
        self.tell(change);
        self.chronicle.announce();
    }

    pub(super) fn latest_of(&self, name: &ServiceName) -> Option<Rc<Service>> {
        self.latest.get(name).map(|it| Rc::clone(&it.service))
    }

    pub(super) fn is_told(&self, service: &Service) -> bool {
        let latest = self.latest.get(&service.name);
        latest.is_some_and(|it| it.told && Rc::ptr_eq(&it.service.spec, &service.spec))
    }

    pub(super) fn will_show(&mut self, service: Rc<Service>, told: bool) {
        self.forgotten.remove(&service.name);
        let latest = Latest { service: Rc::clone(&service), told };
        if let Some(before) = self.latest.insert(service.name.clone(), latest) {
            self.write_down(&before.service, &service);
        }
        self.set_log(&service.name, &service.spec);
        self.changed.insert(service.name.clone(), service);
    }

    pub(super) fn status(&self, service: &Service) -> Status {
        let Service { name, spec, standing, waits_for } = service;
        let next = standing.next().filter(|_| standing.state != State::Running);
        Status {
            name: name.clone(),
            pid: standing.process.filter(|it| it.died.is_none()).map_or(0, |it| it.pid),
            state: standing.state.word().into(),
            target: standing.target.word().into(),
            reason: reason(standing),
            since_ms: self.epoch_ms + standing.since.0,
            restarts: standing.restarts,
            last_exit: last_exit(standing),
            oneshot: spec.oneshot,
            essential: spec.essential,
            after: spec.after.clone(),
            requires: spec.requires.clone(),
            wants: spec.wants.clone(),
            groups: spec.groups.clone(),
            labels: spec.labels.clone(),
            policy: spec.policy.clone(),
            waits_for: waits_for.clone(),
            next_ms: next.as_ref().map_or(0, |(at, _)| self.epoch_ms + at.0),
            next: next.map_or("", |(_, what)| ahead(standing.state, &what)).into(),
            health: Arc::clone(&standing.health),
            goes_down: standing.held.is_some(),
            says: Arc::clone(&standing.says),
            incarnation: standing.incarnation,
        }
    }
}

/// What an alarm of a service in this state is about.
fn ahead(state: State, what: &Happening) -> &'static str {
    match (state, what) {
        (State::Backoff | State::Failed, _) => "the next attempt",
        (State::Blocked, _) => "another look",
        (State::Stopping { .. }, _) => "the next stop step",
        (_, Happening::CheckDue) => "the next check",
        (_, Happening::MeasureDue) => "the next look at what it uses",
        (_, Happening::TimedOut) => "the end of its time to start",
        _ => "",
    }
}

/// Why it is as it is; or what is about to change that, which nobody has decided about yet.
fn reason(standing: &Standing) -> Arc<str> {
    match standing.held {
        Some(_) if standing.process.is_some() && !standing.state.is_stopping() => {
            "it goes down as soon as those that need it are down".into()
        }
        _ => Arc::clone(&standing.why),
    }
}

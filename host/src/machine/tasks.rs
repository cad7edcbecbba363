//! Commands that are run on behalf of services: their checks, what stops them, what is done when they
//! are given up. Each has a slot of the keeper of its own, named after the service and the task, which
//! no service can be; it is forgotten with the command.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use zinit_keeper::wire::{Request, Slot};

use crate::event::{Task, Tick};
use crate::name::ServiceName;

/// The commands under way, each with the name of its process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<(ServiceName, Task), u64>,
    latest: u64,
}

impl Tasks {
    /// Names the process of a command that is about to be run; `None` while one runs.
    pub(super) fn begin(&mut self, service: &ServiceName, task: Task, now: Tick) -> Option<u64> {
        let key = (service.clone(), task);
        if self.running.contains_key(&key) {
            return None;
        }
        // The clock goes on over brains, so no name is used twice.
        let now = u64::try_from(now.0).unwrap_or_default();
        self.latest = now.max(self.latest + 1);
        self.running.insert(key, self.latest);
        Some(self.latest)
    }

    /// Takes over what an earlier brain has begun.
    pub(super) fn adopt(&mut self, slot: &Slot) -> Option<(ServiceName, Task)> {
        let (service, task) = of_slot(&slot.service)?;
        self.latest = self.latest.max(slot.incarnation);
        self.running.insert((service.clone(), task), slot.incarnation);
        Some((service, task))
    }

    /// The command of this slot has ended; answers what the keeper is told.
    pub(super) fn end(&mut self, slot: &str, incarnation: u64) -> Option<(ServiceName, Task)> {
        let key = of_slot(slot)?;
        self.running.remove(&key).filter(|it| *it == incarnation).map(|_| key)
    }

    /// What kills a command, if it runs.
    pub(super) fn kill(&self, service: &ServiceName, task: Task) -> Option<Request> {
        let incarnation = *self.running.get(&(service.clone(), task))?;
        let signal = Signal::SIGKILL as i32;
        Some(Request::Signal { service: slot_of(service, task), incarnation, signal })
    }
}

/// The name of the slot in which a command is run.
pub(super) fn slot_of(service: &ServiceName, task: Task) -> String {
    format!("{service}/{}", task.word())
}

fn of_slot(slot: &str) -> Option<(ServiceName, Task)> {
    let (service, task) = slot.split_once('/')?;
    Some((ServiceName::parse(service).ok()?, Task::of_word(task)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_run_once_at_a_time_and_each_has_a_name_of_its_own() {
        let (mut tasks, web) = (Tasks::default(), ServiceName::parse("web").expect("a name"));
        let first = tasks.begin(&web, Task::Check, Tick(5)).expect("none runs");
        assert_eq!(tasks.begin(&web, Task::Check, Tick(5)), None);
        assert!(tasks.kill(&web, Task::Check).is_some() && tasks.kill(&web, Task::Stop).is_none());
        assert_eq!(tasks.end("web/check", first), Some((web.clone(), Task::Check)));
        assert_eq!(tasks.end("web/check", first), None);
        assert!(tasks.begin(&web, Task::Check, Tick(5)) > Some(first));
        assert_eq!((of_slot("web"), of_slot("web/nonsense")), (None, None));
    }
}

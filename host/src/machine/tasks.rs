//! Commands that are run on behalf of services: their checks, what stops them, what is done when they
//! are given up. Each has a slot of the keeper of its own, named after the service and the task, which
//! no service can be; it is forgotten with the command.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use zinit_keeper::wire::{Exit, Request, Slot};

use super::{RealMachine, complain, launch};
use crate::event::{Happening, Task, Tick};
use crate::name::ServiceName;
use crate::probe::News;
use crate::state::{Service, describe};
use crate::supervise::{Machine, Wake};

/// The commands under way.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<(ServiceName, Task), Run>,
    latest: u64,
}

#[derive(Debug)]
struct Run {
    /// The name of its process.
    incarnation: u64,
    /// An earlier brain has begun it, and nobody waits for its end.
    adopted: bool,
    /// What is to be run in its place as soon as it is gone.
    next: Option<String>,
}

/// A command that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) service: ServiceName,
    pub(super) task: Task,
    /// Whether somebody waits to hear of it.
    pub(super) awaited: bool,
    /// What is to be run now.
    pub(super) next: Option<String>,
}

impl Tasks {
    /// Names the process of a command that is about to be run; `None` while an earlier one still
    /// ends, after which this one is due.
    pub(super) fn begin(
        &mut self,
        service: &ServiceName,
        task: Task,
        line: &str,
        now: Tick,
    ) -> Option<u64> {
        if let Some(run) = self.running.get_mut(&(service.clone(), task)) {
            run.next = Some(line.to_owned());
            return None;
        }
        // The clock goes on over brains, so no name is used twice.
        let now = u64::try_from(now.0).unwrap_or_default();
        self.latest = now.max(self.latest + 1);
        let run = Run { incarnation: self.latest, adopted: false, next: None };
        self.running.insert((service.clone(), task), run);
        Some(self.latest)
    }

    /// Takes over what an earlier brain has begun.
    pub(super) fn adopt(&mut self, slot: &Slot) -> Option<(ServiceName, Task)> {
        let (service, task) = of_slot(&slot.service)?;
        self.latest = self.latest.max(slot.incarnation);
        let adopted = task == Task::Check;
        let run = Run { incarnation: slot.incarnation, adopted, next: None };
        self.running.insert((service.clone(), task), run);
        Some((service, task))
    }

    /// The command of this slot has ended.
    pub(super) fn end(&mut self, slot: &str, incarnation: u64) -> Option<Done> {
        let key = of_slot(slot)?;
        if self.running.get(&key)?.incarnation != incarnation {
            return None;
        }
        let Run { adopted, next, .. } = self.running.remove(&key)?;
        let (service, task) = key;
        Some(Done { service, task, awaited: !adopted, next })
    }

    /// What kills a command, if it runs. Nothing follows it.
    pub(super) fn kill(&mut self, service: &ServiceName, task: Task) -> Option<Request> {
        let run = self.running.get_mut(&(service.clone(), task))?;
        run.next = None;
        let (incarnation, signal) = (run.incarnation, Signal::SIGKILL as i32);
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

impl RealMachine {
    /// Runs a command on behalf of a service. What cannot be run has ended.
    pub(super) fn run_task(&mut self, service: &Service, task: Task, line: &str) {
        let Some(incarnation) = self.tasks.begin(&service.name, task, line, self.now()) else {
            return;
        };
        let slot = slot_of(&service.name, task);
        let run = (slot.clone(), incarnation);
        match launch::of_task(service, task, run, line, &self.about) {
            Ok(launch) => self.group.push(Request::Launch(Box::new(launch))),
            Err(step) => {
                self.tasks.end(&slot, incarnation);
                let mut wakes = Vec::new();
                let exit = Exit::Launch { step, errno: 0 };
                self.task_ended(&service.name, task, exit, &mut wakes);
                self.early.extend(wakes);
            }
        }
    }

    pub(super) fn task_ended(
        &self,
        service: &ServiceName,
        task: Task,
        exit: Exit,
        wakes: &mut Vec<Wake>,
    ) {
        match task {
            Task::Check => self.prober.ran(service, &exit),
            Task::Stop => {
                if !matches!(exit, Exit::Code(0) | Exit::Signal { signal: 9, .. }) {
                    complain(&format!("`stop_cmd` of `{service}` failed: {}", describe(&exit)));
                }
                wakes.push(Wake::Happened(service.clone(), Happening::Ran { task, exit }));
            }
            Task::GiveUp if exit == Exit::Code(0) => {}
            Task::GiveUp => {
                let how = describe(&exit);
                complain(&format!("`on_give_up` of `{service}` ended with {how}"));
            }
        }
    }

    /// Ends what is run on behalf of a process that is gone.
    pub(super) fn end_tasks(&mut self, service: &ServiceName) {
        self.prober.forget(service);
        let kill = [Task::Check, Task::Stop].map(|task| self.tasks.kill(service, task));
        self.group.extend(kill.into_iter().flatten());
    }

    /// A command has ended: its slot goes with it.
    pub(super) fn hear_of_task(&mut self, slot: String, what: Happening, wakes: &mut Vec<Wake>) {
        match what {
            Happening::Exited { incarnation, exit } => {
                let ended = self.tasks.end(&slot, incarnation);
                let ack = Request::Ack { service: slot.clone(), incarnation };
                self.ask(vec![ack, Request::Forget { service: slot }]);
                let Some(Done { service, task, awaited, next }) = ended else { return };
                if awaited {
                    self.task_ended(&service, task, exit, wakes);
                }
                if let (Some(line), Some(it)) = (next, self.latest_of(&service)) {
                    self.run_task(&it, task, &line);
                }
            }
            // What a command leaves behind is nobody's.
            Happening::Died { incarnation, .. } => {
                let signal = Signal::SIGKILL as i32;
                self.ask(vec![Request::Signal { service: slot, incarnation, signal }]);
            }
            _ => {}
        }
    }

    pub(super) fn read_news(&mut self, wakes: &mut Vec<Wake>) {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Happened(name, what) if matches!(what, Happening::Exited { .. }) => {
                    wakes.extend(self.settled(name, what));
                }
                News::Happened(service, what) => wakes.push(Wake::Happened(service, what)),
                News::Relay(said) => self.hear_relay(said, wakes),
                News::Noted { service, why } => self.note_down(&service, &why),
                News::Run { service, line, .. } => match self.latest_of(&service) {
                    Some(it) if it.standing.process.is_some() => {
                        self.run_task(&it, Task::Check, &line)
                    }
                    _ => {
                        let (step, errno) = ("it is gone".to_owned(), 0);
                        self.prober.ran(&service, &Exit::Launch { step, errno });
                    }
                },
                News::Kill { service } => {
                    self.group.extend(self.tasks.kill(&service, Task::Check));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(service: &ServiceName, awaited: bool, next: Option<&str>) -> Option<Done> {
        let (service, next) = (service.clone(), next.map(str::to_owned));
        Some(Done { service, task: Task::Check, awaited, next })
    }

    #[test]
    fn a_command_is_run_once_at_a_time_and_each_has_a_name_of_its_own() {
        let (mut tasks, web) = (Tasks::default(), ServiceName::parse("web").expect("a name"));
        let mut begin = |line| tasks.begin(&web, Task::Check, line, Tick(5));
        let first = begin("a").expect("none runs");
        assert_eq!(begin("b"), None);
        assert_eq!(tasks.end("web/check", first), done(&web, true, Some("b")));
        assert_eq!(tasks.end("web/check", first), None);
        assert!(tasks.begin(&web, Task::Check, "b", Tick(5)) > Some(first));
        assert!(tasks.kill(&web, Task::Check).is_some() && tasks.kill(&web, Task::Stop).is_none());
        assert_eq!((of_slot("web"), of_slot("web/nonsense")), (None, None));
    }

    #[test]
    fn the_end_of_an_earlier_brains_check_is_nobodys_and_the_next_one_follows_it() {
        let (mut tasks, web) = (Tasks::default(), ServiceName::parse("web").expect("a name"));
        let (service, incarnation) = ("web/check".to_owned(), 9);
        tasks.adopt(&Slot { service, incarnation, ..Slot::default() });
        assert!(tasks.kill(&web, Task::Check).is_some());
        assert_eq!(tasks.begin(&web, Task::Check, "new", Tick(5)), None);
        assert_eq!(tasks.end("web/check", 9), done(&web, false, Some("new")));
    }
}

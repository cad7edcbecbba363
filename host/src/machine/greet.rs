//! The first words with the keeper, and what an earlier brain has left.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use zinit_keeper::wire::{Output, Report, Request, Slot, VERSION, leaf_name};

use super::ending::Begun;
use super::{About, RealMachine, Received, launch};
use crate::event::Task;
use crate::keeper::Descriptors;
use crate::name::ServiceName;
use crate::note::Note;
use crate::probe::Membership;
use crate::spec::{Readiness, line_regex};

/// The first version that knows outputs which name a service.
const NAMED_OUTPUTS: u32 = 4;

impl About {
    /// Whether this keeper can be asked for such an output.
    pub(super) fn understands(&self, output: &Output) -> bool {
        match output {
            Output::To(_) | Output::Of(_) => self.version >= NAMED_OUTPUTS,
            Output::Pipes | Output::Null => true,
        }
    }
}

impl RealMachine {
    /// Greets the keeper and hears what it keeps for us, and what an earlier brain has begun.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub fn greet(&mut self) -> io::Result<(Vec<Slot>, Begun)> {
        self.keeper.send(&[Request::Hello { version: VERSION }])?;
        self.keeper.flush()?;
        let mut expected = None;
        let mut slots = Vec::new();
        let mut early = Vec::new();
        let mut held_so_far = 0;
        while expected.is_none_or(|(count, held)| slots.len() < count || held_so_far < held) {
            self.wait_for_keeper()?;
            let mut received = Received::new();
            if !self.keeper.receive(&mut received)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for (report, descriptors) in received {
                match report {
                    Report::Welcome {
                        version,
                        slots,
                        keeper,
                        cgroup,
                        controllers,
                        machine,
                        held,
                    } => {
                        expected = Some((slots, held));
                        let cgroup = (!cgroup.is_empty()).then(|| PathBuf::from(cgroup));
                        if let Some(it) = &cgroup {
                            // A brain greets its keeper once.
                            let _ = self.board.cgroup.set(it.clone());
                        }
                        self.about = About { pid: keeper, version, cgroup, controllers, machine };
                    }
                    Report::Slot(slot) => {
                        self.take_over(&slot, descriptors);
                        slots.push(slot);
                    }
                    Report::Held { key, note, .. } => {
                        held_so_far += 1;
                        self.inherit(&key, &note, descriptors.held);
                    }
                    // News that came behind the table, in the same breath.
                    news => self.hear(news, descriptors, &mut early),
                }
            }
        }
        let begun = self.begun(&slots);
        self.early = early;
        self.logs.claim();
        Ok((slots, begun))
    }

    /// Whether the keeper is the first process of its world.
    pub fn keeper_is_init(&self) -> bool {
        self.about.pid == 1
    }

    /// Whether the keeper is the first process of the machine, which it may switch off.
    pub fn keeper_is_machines(&self) -> bool {
        self.about.machine
    }

    /// Goes on with what an earlier brain has begun.
    pub(super) fn take_over(&mut self, slot: &Slot, descriptors: Descriptors) {
        if let Some((service, task)) = self.tasks.adopt(slot) {
            if slot.pid == 0 {
                let (service, incarnation) = (slot.service.clone(), slot.incarnation);
                self.ask(vec![Request::Ack { service: service.clone(), incarnation }]);
                self.ask(vec![Request::Forget { service }]);
                self.tasks.end(&slot.service, slot.incarnation);
            } else if task == Task::Check {
                // Nobody waits for it any more.
                self.group.extend(self.tasks.kill(&service, task));
            }
            return;
        }
        let spec = Note::read(&slot.note).and_then(|it| it.spec(&slot.config));
        if let (Ok(name), Some(spec)) = (ServiceName::parse(&slot.service), spec) {
            self.ways.insert(name.clone(), launch::way_of(&spec.readiness, spec.watchdog_ms));
            self.set_log(&name, &spec);
            if slot.pid != 0 {
                self.launching(&name, slot.incarnation, &spec.readiness);
            }
        }
        self.attach(&slot.service, slot.incarnation, descriptors.pipes);
        if let (Ok(name), 0) = (ServiceName::parse(&slot.service), slot.pid) {
            self.logs.end(&name);
        }
        self.listen(&slot.service, slot.incarnation, slot.pid, descriptors.ready);
        self.hold(&slot.service, descriptors.pidfd);
    }

    /// Holds on to what names a process as long as it lives: should the keeper die, the kernel tells its
    /// end to nobody else.
    pub(super) fn hold(&mut self, service: &str, pidfd: Option<OwnedFd>) {
        if let (Ok(name), Some(pidfd)) = (ServiceName::parse(service), pidfd) {
            self.pidfds.insert(name, pidfd);
        }
    }

    pub(super) fn launching(&self, name: &ServiceName, incarnation: u64, readiness: &Readiness) {
        let pattern = match readiness {
            Readiness::Log(pattern) => line_regex(pattern).ok(),
            _ => None,
        };
        self.logs.launching(name, incarnation, pattern);
    }

    /// Hears from now on what a process says of itself.
    pub(super) fn listen(&self, service: &str, incarnation: u64, pid: i32, end: Option<OwnedFd>) {
        let (Ok(name), Some(end)) = (ServiceName::parse(service), end) else { return };
        let Some(way) = self.ways.get(&name) else { return };
        let cgroup = self.about.cgroup.as_ref().map(|it| it.join(leaf_name(service)));
        self.prober.listen(&name, incarnation, *way, end, Membership { cgroup, pid });
    }
}

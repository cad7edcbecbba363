//! Where the output of services goes, and exits that wait for it.
//!
//! An exit counts when everything that was written before it is in its file: whoever hears of it finds
//! the last lines as well. The thread that writes them may hang on a disk, so there is a limit.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::{RealMachine, complain};
use crate::event::{Happening, Tick};
use crate::name::ServiceName;
use crate::spec::{Log, LogMode, Spec};
use crate::state::Service;
use crate::supervise::{Machine, Wake};

/// So long an exit waits for the output before it.
const SETTLE_MAX_MS: i64 = 2_000;

/// What is known of all outputs.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// The logs that are not the usual one.
    logs: HashMap<ServiceName, Arc<Log>>,
    /// Who wants files in these directories.
    dirs: HashMap<String, BTreeSet<ServiceName>>,
    /// Exits that wait for the output before them, and until when.
    settling: Vec<(Tick, ServiceName, Happening)>,
}

impl RealMachine {
    /// Says where the output of a service goes from now on.
    pub fn set_log(&mut self, name: &ServiceName, spec: &Spec) {
        let nowhere = || Arc::new(Log { mode: LogMode::None, ..Log::default() });
        let log = if spec.log_to.is_some() { nowhere() } else { Arc::clone(&spec.log) };
        let before = if log == Log::usual() {
            self.outputs.logs.remove(name)
        } else {
            self.outputs.logs.insert(name.clone(), Arc::clone(&log))
        };
        let before = before.unwrap_or_else(Log::usual);
        if before == log && self.logs.trails().get(name.as_str()).is_some() {
            return;
        }
        self.outputs.leave_dir(name, &before.dir);
        if !log.dir.is_empty() {
            self.outputs.dirs.entry(log.dir.clone()).or_default().insert(name.clone());
        }
        self.logs.set(name, &log);
    }

    pub(super) fn forget_log(&mut self, name: &ServiceName) {
        let log = self.outputs.logs.remove(name).unwrap_or_else(Log::usual);
        self.outputs.leave_dir(name, &log.dir);
        self.logs.forget(name, &log);
    }

    /// Why a service that would write the same files as another is not launched. Whose name is first
    /// in the alphabet has them.
    pub(super) fn refuse_shared_log(&self, service: &Service) -> Result<(), String> {
        let dir = &service.spec.log.dir;
        if !dir.is_empty() && Path::new(dir).starts_with(self.logs.root()) {
            return Err(format!("`{dir}` is among the server's own logs"));
        }
        match self.outputs.dirs.get(dir).and_then(BTreeSet::first) {
            Some(it) if *it != service.name => Err(format!("`{it}` logs to `{dir}` as well")),
            _ => Ok(()),
        }
    }

    pub(super) fn warn_of_unread_output(&mut self, service: &Service) {
        let name = &service.name;
        if let Some(reader) = &service.spec.log_to
            && !self.latest.contains_key(reader)
        {
            self.warn(format!(
                "`log_to` of `{name}` names `{reader}`, which does not exist: nobody reads what \
                 `{name}` writes, and it will wait in its writing; register `{reader}`"
            ));
        }
    }

    pub(super) fn attach(&mut self, service: &str, incarnation: u64, pipes: Option<[OwnedFd; 2]>) {
        let (Ok(name), Some(pipes)) = (ServiceName::parse(service), pipes) else { return };
        let log = self.outputs.logs.get(&name).cloned().unwrap_or_else(Log::usual);
        if let Err(error) = self.logs.attach(&name, &log, incarnation, pipes) {
            complain(&format!("cannot read the output of `{service}`: {error}"));
        }
    }

    /// A service has ended; answers what follows from it now.
    pub(super) fn settle(&mut self, name: ServiceName, what: Happening) -> Option<Wake> {
        match self.logs.settle(&name, what.clone()) {
            Some(what) => Some(Wake::Happened(name, what)),
            None => {
                let limit = Tick(self.now().0 + SETTLE_MAX_MS);
                self.outputs.settling.push((limit, name, what));
                None
            }
        }
    }

    /// Its output is in the file, unless that was no longer waited for.
    pub(super) fn settled(&mut self, name: ServiceName, what: Happening) -> Option<Wake> {
        let of = |it: &(Tick, ServiceName, Happening)| it.1 == name && it.2 == what;
        let index = self.outputs.settling.iter().position(of)?;
        self.outputs.settling.remove(index);
        Some(Wake::Happened(name, what))
    }

    /// The exits that have waited for long enough.
    pub(super) fn settle_late(&mut self, wakes: &mut Vec<Wake>) {
        let (now, settling) = (self.now(), &mut self.outputs.settling);
        // They are in the order of their times.
        let late = settling.iter().take_while(|it| it.0 <= now).count();
        wakes.extend(settling.drain(..late).map(|(_, name, what)| Wake::Happened(name, what)));
    }

    /// When the machine has something to do that no alarm is for.
    pub(super) fn next_limit(&self) -> Option<Tick> {
        let settling = self.outputs.settling.first().map(|it| it.0);
        self.deadline.into_iter().chain(settling).min()
    }
}

impl Outputs {
    fn leave_dir(&mut self, name: &ServiceName, dir: &str) {
        if let Some(users) = self.dirs.get_mut(dir) {
            users.remove(name);
            if users.is_empty() {
                self.dirs.remove(dir);
            }
        }
    }
}

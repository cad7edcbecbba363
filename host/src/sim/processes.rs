//! The processes of the simulated machine: what becomes of them, and what they do by themselves.

use std::rc::Rc;

use nix::sys::signal::Signal;
use zinit_keeper::wire::Exit;

use super::faults::{Fault, Manner};
use super::machine::{Sign, Simulated, Slot};
use super::script::{Line, exit_of};
use crate::event::{Happening, Task};
use crate::name::ServiceName;
use crate::spec::{Readiness, Spec};
use crate::state::Service;

/// How long a process tries what cannot succeed.
const FUTILE_MS: i64 = 20;

impl Simulated {
    /// Its main process ends. What it leaves behind ends with SIGKILL, and keeps its exit.
    pub(super) fn ends(&mut self, service: &ServiceName, exit: Exit) {
        let killed = matches!(exit, Exit::Signal { signal: 9, .. });
        let litters = self.manners.get(service).is_some_and(|it| it.litter);
        let Some(slot) = self.slots.get_mut(service).filter(|it| it.exit.is_none()) else { return };
        let incarnation = slot.incarnation;
        if litters && !killed {
            if slot.died.is_none() {
                slot.died = Some(exit.clone());
                self.soon.push_back((service.clone(), Happening::Died { incarnation, exit }));
            }
            return;
        }
        let exit = slot.died.clone().unwrap_or(exit);
        slot.exit = Some(exit.clone());
        self.soon.push_back((service.clone(), Happening::Exited { incarnation, exit }));
    }

    pub(super) fn checked(&mut self, service: &Service) {
        let name = &service.name;
        let (hangs, silent) =
            self.manners.get(name).map_or((false, false), |it| (it.hangs, it.silent));
        self.tell(&format!("  check {name}"));
        if silent {
            let at = self.now + service.spec.health.timeout_ms;
            self.plan_sign(at, name, Sign::TimesOut);
        } else if !hangs {
            let ill = self.slots.get(name).is_some_and(|it| self.is_ill(name, it.born));
            self.check_ends(name, ill.then(|| failure(service)));
        }
    }

    pub(super) fn is_ill(&self, service: &ServiceName, born: i64) -> bool {
        self.manners.get(service).is_some_and(|it| it.is_ill(self.now, born))
    }

    pub(super) fn check_ends(&mut self, service: &ServiceName, failure: Option<String>) {
        let Some(slot) = self.slots.get(service) else { return };
        let what = Happening::Checked { incarnation: slot.incarnation, failure };
        self.soon.push_back((service.clone(), what));
    }

    /// Adds what the process that lives now does then.
    pub(super) fn plan_sign(&mut self, at: i64, service: &ServiceName, sign: Sign) {
        if let Some(incarnation) = self.slots.get(service).map(|it| it.incarnation) {
            self.plan(at, Line::Sign(service.clone(), incarnation, sign));
        }
    }

    /// What a process does by itself, if it lives still.
    pub(super) fn signs(&mut self, name: &ServiceName, incarnation: u64, sign: Sign) {
        let lives = |it: &&mut Slot| {
            it.incarnation == incarnation && it.exit.is_none() && it.died.is_none()
        };
        let Some(slot) = self.slots.get_mut(name).filter(lives) else { return };
        let manner = self.manners.get(name);
        let silent = manner.is_some_and(|it| it.silent);
        let unfit = silent || manner.is_some_and(|it| it.is_out(self.now));
        match sign {
            Sign::Starts => {
                slot.started = true;
                self.soon.push_back((name.clone(), Happening::Started { incarnation }));
                self.begins(name);
            }
            Sign::Ready if unfit => {}
            Sign::Ready => self.soon.push_back((name.clone(), Happening::Ready { incarnation })),
            Sign::Pings(every_ms) => {
                if !silent {
                    self.soon.push_back((name.clone(), Happening::Pinged { incarnation }));
                }
                self.plan_sign(self.now + every_ms, name, sign);
            }
            Sign::TimesOut => self.check_ends(name, Some("it took too long".to_owned())),
            Sign::Ends(code) => self.ends(name, Exit::Code(code)),
        }
    }

    /// What a process says, or a command of it that has ended.
    pub(super) fn says(&mut self, service: &ServiceName, word: &str) {
        let Some(incarnation) = self.slots.get(service).map(|it| it.incarnation) else { return };
        let what = match word {
            "ready" => Happening::Ready { incarnation },
            "stale" => Happening::Ready { incarnation: incarnation - 1 },
            "ping" => Happening::Pinged { incarnation },
            "checked" => Happening::Checked { incarnation, failure: None },
            code => Happening::Ran { task: Task::Stop, exit: exit_of(code) },
        };
        self.soon.push_back((service.clone(), what));
    }

    pub(super) fn launched(&mut self, service: &Rc<Service>, incarnation: u64) {
        let name = &service.name;
        let other = self.slots.get(name).filter(|it| it.exit.is_none());
        assert!(other.is_none(), "two live processes of {name}");
        self.pids += 1;
        let manner = self.manners.get(name).cloned().unwrap_or_default();
        let late = manner.slow_ms > 0 && !says_when(&service.spec);
        let (pid, born) = (self.pids, self.now);
        let started = !manner.mute && !manner.lost && !late;
        let service = Rc::clone(service);
        let slot = Slot { service, incarnation, pid, born, started, died: None, exit: None };
        let name = slot.service.name.clone();
        self.slots.insert(name.clone(), slot);
        self.soon.push_back((name.clone(), Happening::Launched { incarnation, pid }));
        if self.misses(&manner) || manner.is_out(self.now) {
            self.plan_sign(self.now + FUTILE_MS, &name, Sign::Ends(1));
        }
        if started {
            self.soon.push_back((name.clone(), Happening::Started { incarnation }));
            self.begins(&name);
        } else if late && !manner.mute && !manner.lost {
            self.plan_sign(self.now + manner.slow_ms, &name, Sign::Starts);
        }
        if manner.lost {
            self.ends(&name, Exit::Launch { step: "exec".to_owned(), errno: 2 });
        }
    }

    /// What follows from it that its program runs.
    pub(super) fn begins(&mut self, name: &ServiceName) {
        let Some(manner) = self.manners.get(name) else { return };
        let (lively, slow_ms, runs_ms) = (manner.lively, manner.slow_ms, manner.runs_ms);
        let Some(slot) = self.slots.get(name) else { return };
        let (spec, incarnation) = (Rc::clone(&slot.service.spec), slot.incarnation);
        if let Some(ms) = runs_ms {
            self.plan_sign(self.now + ms, name, Sign::Ends(0));
        }
        if lively && spec.readiness != Readiness::Lives {
            match slow_ms {
                0 => self.signs(name, incarnation, Sign::Ready),
                ms => self.plan_sign(self.now + ms, name, Sign::Ready),
            }
        }
        if lively && spec.watchdog_ms > 0 {
            let every_ms = (spec.watchdog_ms / 2).max(1);
            self.plan_sign(self.now + every_ms, name, Sign::Pings(every_ms));
        }
    }

    /// Lets something go wrong with a service.
    pub(super) fn inject(&mut self, name: &ServiceName, fault: Fault) {
        let now = self.now;
        self.tell(&format!("{now} {}", fault.text(name)));
        let manner = self.manners.entry(name.clone()).or_default();
        match fault {
            Fault::Crash => {
                self.ends(name, Exit::Signal { signal: Signal::SIGSEGV as i32, core: false });
            }
            Fault::Hang => (manner.deaf, manner.silent) = (true, true),
            Fault::SlowStart(ms) => manner.slow_ms = ms,
            Fault::ExecFailure => manner.lost = true,
            Fault::Flap(ms) => manner.flaps = Some((now, ms)),
            Fault::Outage(ms) => {
                manner.out_until = now + ms;
                self.ends(name, Exit::Code(1));
            }
            Fault::Heal => {
                manner.heal();
                self.recovers(name);
            }
        }
    }

    /// What it kept back while something was wrong with it.
    pub(super) fn recovers(&mut self, name: &ServiceName) {
        let lively = self.manners.get(name).is_some_and(|it| it.lively);
        let Some(slot) = self.slots.get(name).filter(|it| it.exit.is_none()) else { return };
        let (incarnation, started) = (slot.incarnation, slot.started);
        if !started {
            self.signs(name, incarnation, Sign::Starts);
        } else if lively && slot.service.spec.readiness != Readiness::Lives {
            self.signs(name, incarnation, Sign::Ready);
        }
    }

    pub(super) fn measured(&mut self, service: &ServiceName) {
        let usage = self.manners.get(service).map(|it| it.usage).unwrap_or_default();
        let Some(incarnation) = self.slots.get(service).map(|it| it.incarnation) else { return };
        self.soon.push_back((service.clone(), Happening::Measured { incarnation, usage }));
    }

    pub(super) fn port_seen(&mut self, service: ServiceName, port: u16, kill: bool) {
        self.tell(&format!("  {} {service} {port}", if kill { "free" } else { "look at" }));
        let taken = !kill && self.manners.get(&service).is_some_and(|it| it.port_taken);
        let failure = taken.then(|| format!("process 7 (`other`) listens on port {port}"));
        self.soon.push_back((service, Happening::PortFreed { failure }));
    }

    /// What a command of a good service does: it succeeds, and the one that asks it to stop is heard.
    pub(super) fn ran(&mut self, service: &Service, task: Task) {
        let Some(manner) = self.manners.get(&service.name).filter(|it| it.lively) else { return };
        let heard = task == Task::Stop && !manner.deaf;
        let what = Happening::Ran { task, exit: Exit::Code(0) };
        self.soon.push_back((service.name.clone(), what));
        if heard {
            self.ends(&service.name, Exit::Code(0));
        }
    }

    /// Whether what it cannot live without is ill.
    pub(super) fn misses(&self, manner: &Manner) -> bool {
        manner.needs.as_ref().and_then(|it| self.manners.get(it)).is_some_and(|it| it.ill)
    }

    pub(super) fn signalled(&mut self, service: &ServiceName, signal: Signal) {
        let deaf = self.manners.get(service).is_some_and(|it| it.deaf);
        let stuck = self.manners.get(service).is_some_and(|it| it.stuck);
        if !stuck && (signal == Signal::SIGKILL || !deaf) {
            self.ends(service, Exit::Signal { signal: signal as i32, core: false });
        }
    }
}

/// Whether it says by itself, or is asked, whether it is up.
fn says_when(spec: &Spec) -> bool {
    spec.readiness != Readiness::Lives || spec.health.has_checks()
}

/// How the first check of a service fails.
fn failure(service: &Service) -> String {
    let health = &service.spec.health;
    let first =
        |key: &str, all: &[String], why: &str| all.first().map(|it| format!("{key} `{it}`: {why}"));
    let tcp = first("test_tcp", &health.test_tcp, "refused");
    let http = || first("test_http", &health.test_http, "refused");
    let cmd = || first("test_cmd", &health.test_cmd, "exit 1");
    tcp.or_else(http).or_else(cmd).unwrap_or_default()
}

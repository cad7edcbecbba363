//! The world under the core, in virtual time: processes are entries in a map, and a day takes as long
//! as its decisions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use crate::clock;
use crate::core::Effect;
use crate::decision;
use crate::desk::{Answer, Command, Letter, Reply, Step};
use crate::ending::{Asker, Ending};
use crate::event::{Happening, Task, Tick, Wall};
use crate::name::ServiceName;
use crate::spec::{Readiness, Spec};
use crate::state::Service;
use crate::supervise::{Machine, Wake};
use nix::sys::signal::Signal;
use zinit_keeper::wire::{Exit, Then};

use super::faults::{Fault, Manner};
use super::script::{Line, exit_of};

/// How long a process tries what cannot succeed.
const FUTILE_MS: i64 = 20;

/// How many failures of the policy are kept.
const FAULTS_KEPT: usize = 16;

/// A process of the simulated keeper.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) incarnation: u64,
    pub(super) pid: i32,
    pub(super) started: bool,
    born: i64,
    service: Rc<Service>,
    /// The main process is gone.
    pub(super) died: Option<Exit>,
    pub(super) exit: Option<Exit>,
}

/// Something that a process does by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    /// Its program runs.
    Starts,
    /// It says that it is ready.
    Ready,
    /// It says that it lives, and again after so many milliseconds.
    Pings(i64),
    /// A check of it takes too long.
    TimesOut,
    /// It ends with this code.
    Ends(i32),
}

/// Who is told every effect, and when.
pub(super) type Observer = Box<dyn FnMut(Tick, &Effect)>;

/// The simulated machine.
#[derive(Default)]
pub(super) struct Simulated {
    pub(super) now: i64,
    /// Nothing that is due later happens.
    pub(super) until: i64,
    /// The wall clock at the beginning, in milliseconds since 1970.
    pub(super) wall_ms: i64,
    pub(super) specs: BTreeMap<ServiceName, Spec>,
    pub(super) manners: BTreeMap<ServiceName, Manner>,
    script: BTreeMap<(i64, i64), Line>,
    lines: i64,
    pub(super) soon: VecDeque<(ServiceName, Happening)>,
    alarms: BTreeMap<ServiceName, Tick>,
    due: BTreeSet<(Tick, ServiceName)>,
    pub(super) slots: BTreeMap<ServiceName, Slot>,
    pub(super) notes: BTreeMap<ServiceName, Rc<Service>>,
    pids: i32,
    shown: BTreeMap<ServiceName, String>,
    pub(super) booting: bool,
    pub(super) crashed: bool,
    /// Everything is brought down: the keeper keeps what it knows as it is.
    pub(super) ending: Option<Ending>,
    /// The signal that the keeper has passed on, and tells each new brain again.
    pub(super) repeated: Option<Line>,
    /// The keeper is the first process of the machine.
    pub(super) on_machine: bool,
    deadline: Option<i64>,
    /// How much has happened, and how much may.
    pub(super) events: u64,
    pub(super) events_max: u64,
    /// How much CPU time this thread may have used.
    pub(super) cpu_us_end: Option<i64>,
    exhausted: bool,
    /// What went wrong with the functions of the policy, the first few.
    pub(super) faults: Vec<decision::Fault>,
    pub(super) told: Option<String>,
    pub(super) observer: Option<Observer>,
    usage: BTreeMap<ServiceName, (i64, f64)>,
}

impl Simulated {
    pub(super) fn new() -> Self {
        Self { pids: 100, events_max: u64::MAX, told: Some(String::new()), ..Self::default() }
    }

    /// Whether as much has happened as may.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn is_late(&mut self) -> bool {
        const EVENTS_BETWEEN_CLOCK_READS: u64 = 64;
        let looks = self.events.is_multiple_of(EVENTS_BETWEEN_CLOCK_READS);
        let ends = self.cpu_us_end.filter(|_| looks);
        self.exhausted |=
            self.events >= self.events_max || ends.is_some_and(|it| clock::thread_cpu_us() > it);
        self.exhausted
    }

    /// Adds what happens then, after all that happens then already.
    pub(super) fn plan(&mut self, at: i64, line: Line) {
        self.lines += 1;
        self.script.insert((at, self.lines), line);
    }

    /// Adds what happens now, before all else.
    pub(super) fn plan_first(&mut self, line: Line) {
        self.lines += 1;
        self.script.insert((self.now, -self.lines), line);
    }

    /// What was under way in the brain is gone with it.
    pub(super) fn forget_brain(&mut self) {
        self.soon.clear();
        self.alarms.clear();
        self.due.clear();
    }

    pub(super) fn tell(&mut self, line: &str) {
        if let Some(told) = &mut self.told {
            let _ = writeln!(told, "{line}");
        }
    }

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

    fn tell_happening(&mut self, service: &ServiceName, what: &Happening) {
        let as_usual = || self.manners.get(service).is_some_and(|it| it.lively);
        match what {
            Happening::Launched { .. } => {}
            Happening::Pinged { .. } if as_usual() => {}
            _ => self.tell(&format!("{} {} {service}", self.now, in_words(what))),
        }
    }

    fn checked(&mut self, service: &Service) {
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

    fn is_ill(&self, service: &ServiceName, born: i64) -> bool {
        self.manners.get(service).is_some_and(|it| it.is_ill(self.now, born))
    }

    fn check_ends(&mut self, service: &ServiceName, failure: Option<String>) {
        let Some(slot) = self.slots.get(service) else { return };
        let what = Happening::Checked { incarnation: slot.incarnation, failure };
        self.soon.push_back((service.clone(), what));
    }

    /// Adds what the process that lives now does then.
    fn plan_sign(&mut self, at: i64, service: &ServiceName, sign: Sign) {
        if let Some(incarnation) = self.slots.get(service).map(|it| it.incarnation) {
            self.plan(at, Line::Sign(service.clone(), incarnation, sign));
        }
    }

    /// What a process does by itself, if it lives still.
    fn signs(&mut self, name: &ServiceName, incarnation: u64, sign: Sign) {
        let lives = |it: &&mut Slot| {
            it.incarnation == incarnation && it.exit.is_none() && it.died.is_none()
        };
        let Some(slot) = self.slots.get_mut(name).filter(lives) else { return };
        let silent = self.manners.get(name).is_some_and(|it| it.silent);
        match sign {
            Sign::Starts => {
                slot.started = true;
                self.soon.push_back((name.clone(), Happening::Started { incarnation }));
                self.begins(name);
            }
            Sign::Ready if silent => {}
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

    fn launched(&mut self, service: &Rc<Service>, incarnation: u64) {
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
        if self.misses(&manner) || self.now < manner.out_until {
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
    fn begins(&mut self, name: &ServiceName) {
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
        self.tell(&format!("{now} {} {name}", fault.text()));
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
    fn recovers(&mut self, name: &ServiceName) {
        let lively = self.manners.get(name).is_some_and(|it| it.lively);
        let Some(slot) = self.slots.get(name).filter(|it| it.exit.is_none()) else { return };
        let (incarnation, started) = (slot.incarnation, slot.started);
        if !started {
            self.signs(name, incarnation, Sign::Starts);
        } else if lively && slot.service.spec.readiness != Readiness::Lives {
            self.signs(name, incarnation, Sign::Ready);
        }
    }

    /// Says what a service uses from now on: bytes of memory, and CPU time in percent of one CPU.
    pub(super) fn uses(&mut self, service: ServiceName, memory: i64, cpu: f64) {
        self.usage.insert(service, (memory, cpu));
    }

    /// What a command of a good service does: it succeeds, and the one that asks it to stop is heard.
    fn ran(&mut self, service: &Service, task: Task) {
        let Some(manner) = self.manners.get(&service.name).filter(|it| it.lively) else { return };
        let heard = task == Task::Stop && !manner.deaf;
        let what = Happening::Ran { task, exit: Exit::Code(0) };
        self.soon.push_back((service.name.clone(), what));
        if heard {
            self.ends(&service.name, Exit::Code(0));
        }
    }

    /// Whether what it cannot live without is ill.
    fn misses(&self, manner: &Manner) -> bool {
        manner.needs.as_ref().and_then(|it| self.manners.get(it)).is_some_and(|it| it.ill)
    }

    fn signalled(&mut self, service: &ServiceName, signal: Signal) {
        let deaf = self.manners.get(service).is_some_and(|it| it.deaf);
        let stuck = self.manners.get(service).is_some_and(|it| it.stuck);
        if !stuck && (signal == Signal::SIGKILL || !deaf) {
            self.ends(service, Exit::Signal { signal: signal as i32, core: false });
        }
    }

    /// The time of the next thing to happen, and whether it is an alarm.
    pub(super) fn next(&self) -> Option<(i64, bool)> {
        let first = self.due.first().map(|(at, _)| at.0);
        let alarm = first.into_iter().chain(self.deadline).min();
        let line = self.script.first_key_value().map(|((at, _), _)| *at);
        match (alarm, line) {
            (Some(alarm), Some(line)) if line < alarm => Some((line, false)),
            (Some(alarm), _) => Some((alarm, true)),
            (None, line) => line.map(|at| (at, false)),
        }
    }

    fn arm(&mut self, service: ServiceName, at: Option<Tick>) {
        if let Some(before) = self.alarms.remove(&service) {
            self.due.remove(&(before, service.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, service.clone()));
            self.alarms.insert(service, at);
        }
    }

    fn ring(&mut self) -> Vec<Wake> {
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.deadline = None;
            self.tell(&format!("{} deadline", self.now));
            return vec![Wake::Deadline];
        }
        let (_, service) = self.due.pop_first().expect("an alarm is due");
        self.alarms.remove(&service);
        self.tell(&format!("{} elapsed {service}", self.now));
        vec![Wake::Happened(service, Happening::Elapsed)]
    }

    fn crash(&mut self, at: i64) -> Vec<Wake> {
        self.tell(&format!("{at} crash"));
        self.crashed = true;
        vec![Wake::HandOver]
    }

    /// Does what the next line says; `None` when nothing comes of it that the core is told.
    fn read_script(&mut self) -> Option<Vec<Wake>> {
        let ((at, _), line) = self.script.pop_first().expect("there is a line");
        match line {
            Line::Boot => {
                self.tell(&format!("{at} boot"));
                self.booting = true;
                return Some(vec![Wake::HandOver]);
            }
            Line::Crash => return Some(self.crash(at)),
            Line::Unseen(service, exit) => {
                self.ends(&service, exit);
                return Some(self.crash(at));
            }
            Line::Watch => self.told = Some(String::new()),
            Line::End => {
                self.script.clear();
                self.arm_nothing();
                return Some(Vec::new());
            }
            Line::Ask(text, command) => {
                self.tell(&format!("{at} {text}"));
                return Some(vec![Wake::Asked(letter(command))]);
            }
            Line::Signal(text, by) => {
                self.tell(&format!("{at} {text}"));
                if by == Asker::Keeper {
                    let again = Line::Signal("sigterm keeper (again)".to_owned(), by);
                    self.repeated = Some(again);
                }
                return Some(vec![Wake::Shutdown(by)]);
            }
            Line::Exit(service, exit) => self.ends(&service, exit),
            Line::Health(service, how) => self.health(service, &how),
            Line::Says(service, word) => self.says(&service, &word),
            Line::Sign(service, incarnation, sign) => self.signs(&service, incarnation, sign),
            Line::Fault(service, fault) => self.inject(&service, fault),
        }
        None
    }

    fn health(&mut self, service: ServiceName, how: &str) {
        let manner = self.manners.entry(service).or_default();
        (manner.ill, manner.hangs) = (how == "bad", how == "hangs");
        let lost = self.manners.iter().filter(|(_, it)| self.misses(it));
        for service in lost.map(|(it, _)| it.clone()).collect::<Vec<_>>() {
            self.ends(&service, Exit::Code(1));
        }
    }

    fn arm_nothing(&mut self) {
        self.alarms.clear();
        self.due.clear();
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

/// A letter whose sender does not wait for the answer; the world hears it.
fn letter(command: Command) -> Letter {
    Letter { command, answer: tokio::sync::oneshot::channel().0 }
}

impl Machine for Simulated {
    fn wait(&mut self) -> Vec<Wake> {
        loop {
            if self.is_late() {
                return Vec::new();
            }
            if let Some((service, what)) = self.soon.pop_front() {
                self.events += 1;
                self.tell_happening(&service, &what);
                return vec![Wake::Happened(service, what)];
            }
            let Some((at, is_alarm)) = self.next().filter(|(at, _)| *at <= self.until) else {
                return Vec::new();
            };
            self.events += 1;
            self.now = self.now.max(at);
            if is_alarm {
                return self.ring();
            }
            if let Some(wakes) = self.read_script() {
                return wakes;
            }
        }
    }

    fn now(&self) -> Tick {
        Tick(self.now)
    }

    fn wall(&self) -> Wall {
        Wall { unix_ms: self.wall_ms + self.now, offset_s: 0 }
    }

    fn perform(&mut self, effect: Effect) {
        if let Some(observer) = &mut self.observer {
            observer(Tick(self.now), &effect);
        }
        match effect {
            Effect::Launch { service, incarnation, input } => {
                let how = if input { " (with input)" } else { "" };
                self.tell(&format!("  launch {}{how}", service.name));
                self.launched(&service, incarnation);
            }
            Effect::Check { service } => self.checked(&service),
            Effect::Run { service, task, line } => {
                self.tell(&format!("  run {} {}: {line}", service.name, task.word()));
                self.ran(&service, task);
            }
            Effect::FreePort { service, port } => {
                self.tell(&format!("  free {service} {port}"));
                self.soon.push_back((service, Happening::PortFreed { failure: None }));
            }
            Effect::Deadline(at) => {
                self.tell(&format!("  deadline {}", at.0));
                self.deadline = Some(at.0);
            }
            Effect::Signal { service, signal, .. } => {
                self.tell(&format!("  signal {service} {signal}"));
                self.signalled(&service, signal);
            }
            Effect::Acknowledge { service, .. } => {
                if self.ending.is_none() {
                    self.slots.remove(&service);
                }
            }
            Effect::Arm { service, at } => {
                if let Some(at) = at {
                    self.tell(&format!("  arm {service} {}", at.0));
                }
                self.arm(service, at);
            }
            Effect::Known(_) => {}
            Effect::Changed(service) => {
                let standing = &service.standing;
                let shown = format!("{}: {}", standing.state.word(), standing.why);
                if self.ending.is_none() {
                    self.notes.insert(service.name.clone(), Rc::clone(&service));
                }
                if self.shown.insert(service.name.clone(), shown.clone()).as_ref() != Some(&shown) {
                    self.tell(&format!("  {} is {shown}", service.name));
                }
            }
            Effect::Forgotten(service) => {
                self.notes.remove(&service);
                self.shown.remove(&service);
                self.tell(&format!("  {service} is forgotten"));
            }
            Effect::Decided(_) | Effect::DecidedBy(_) => {}
            Effect::Faulted(_, fault) => {
                self.tell(&format!("  fault: {fault}"));
                if self.faults.len() < FAULTS_KEPT {
                    self.faults.push(fault);
                }
            }
            Effect::Complain(sentence) => self.tell(&format!("  complaint: {sentence}")),
            Effect::Ending(ending) => self.ending = Some(ending),
            Effect::Ended { code: 0, then: Then::Exit } => self.tell("ended"),
            Effect::Ended { code, then: Then::Exit } => self.tell(&format!("ended with {code}")),
            Effect::Ended { code, then } => self.tell(&format!("ended with {code}: {then:?}")),
            Effect::HandOver | Effect::RenewKeeper => {}
        }
    }

    fn answer(&mut self, _letter: Letter, answer: Answer) {
        match answer {
            Ok(Reply::Done | Reply::Policy(_)) => {}
            Ok(Reply::Plan(steps)) => {
                for Step { service, verb, why } in steps {
                    self.tell(&format!("  {verb:?} {service} ({why})"));
                }
            }
            Err(refusal) => self.tell(&format!("  refused: {refusal}")),
        }
    }

    fn flush(&mut self) {}
}

fn in_words(what: &Happening) -> String {
    match what {
        Happening::Exited { exit, .. } => format!("ends ({})", crate::state::describe(exit)),
        other => other.kind().to_owned(),
    }
}

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
use crate::event::{Demand, Happening, Tick, Wall};
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::Service;
use crate::supervise::{Machine, Wake};
use zinit_keeper::wire::{Exit, Then};

use super::calm::Calm;
use super::doors::Doors;
use super::faults::Manner;
use super::script::Line;

/// How many failures of the policy are kept.
const FAULTS_KEPT: usize = 16;

/// A process of the simulated keeper.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) incarnation: u64,
    pub(super) pid: i32,
    pub(super) started: bool,
    pub(super) born: i64,
    pub(super) service: Rc<Service>,
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
    pub(super) pids: i32,
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
    pub(super) calm: Calm,
    pub(super) doors: Doors,
    /// What the relay has to say.
    pub(super) demands: VecDeque<(ServiceName, Demand)>,
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
        self.demands.clear();
        self.doors = Doors::default();
        self.alarms.clear();
        self.due.clear();
    }

    pub(super) fn tell(&mut self, line: &str) {
        if let Some(told) = &mut self.told {
            let _ = writeln!(told, "{line}");
        }
    }

    fn tell_standing(&mut self, service: &Service) {
        if self.told.is_none() {
            return;
        }
        let standing = &service.standing;
        let shown = format!("{}: {}", standing.state.word(), standing.why);
        if self.shown.insert(service.name.clone(), shown.clone()).as_ref() != Some(&shown) {
            self.tell(&format!("  {} is {shown}", service.name));
        }
    }

    fn tell_happening(&mut self, service: &ServiceName, what: &Happening) {
        let as_usual = || self.manners.get(service).is_some_and(|it| it.lively);
        match what {
            Happening::Launched { .. } => {}
            Happening::Pinged { .. } if as_usual() => {}
            _ => self.tell(&format!("{} {} {service}", self.now, in_words(what))),
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

    /// The next alarm goes off; `None` when it is put off.
    fn ring(&mut self) -> Option<Vec<Wake>> {
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.deadline = None;
            self.tell(&format!("{} deadline", self.now));
            return Some(vec![Wake::Deadline]);
        }
        let (at, service) = self.due.pop_first().expect("an alarm is due");
        self.alarms.remove(&service);
        if let Some(later) = self.postponed(&service, at) {
            self.arm(service, Some(later));
            return None;
        }
        self.tell(&format!("{} elapsed {service}", self.now));
        Some(vec![Wake::Happened(service, Happening::Elapsed)])
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
            Line::Uses(service, usage) => self.manners.entry(service).or_default().usage = usage,
            Line::Port(service, taken) => {
                self.manners.entry(service).or_default().port_taken = taken;
            }
            Line::Connects(service) => {
                self.tell(&format!("{at} somebody connects to {service}"));
                return self.connects(&service);
            }
            Line::Asks(service) => self.asks(&service),
            Line::FallsIdle(service, connections) => {
                self.tell(&format!("{at} nobody uses {service}"));
                return self.falls_idle(&service, connections);
            }
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
            if let Some((service, demand)) = self.demands.pop_front() {
                self.events += 1;
                return vec![Wake::Demanded(service, demand)];
            }
            let Some((at, is_alarm)) = self.next().filter(|(at, _)| *at <= self.until) else {
                return Vec::new();
            };
            self.events += 1;
            self.now = self.now.max(at);
            let wakes = if is_alarm { self.ring() } else { self.read_script() };
            if let Some(wakes) = wakes {
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
            Effect::Measure { service } => self.measured(&service.name),
            Effect::FreePort { service, port, kill } => self.port_seen(service, port, kill),
            Effect::Gate { service, gate } => self.gate(service, gate),
            Effect::Proxied(_, Some(why)) => self.tell(&format!("  complaint: {why}")),
            Effect::Proxied(_, None) | Effect::Unproxied(_) => {}
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
                if self.ending.is_none() {
                    self.notes.insert(service.name.clone(), Rc::clone(&service));
                }
                self.tell_standing(&service);
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

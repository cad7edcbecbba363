//! A machine in virtual time under the real core and policy: processes are entries in a map, and a
//! day of supervision takes as long as its decisions.

mod script;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use crate::core::{Core, Effect, Survivor};
use crate::desk::{Answer, Command, Desk, Letter, Reply, Step};
use crate::ending::{Asker, Ending};
use crate::event::{Happening, Task, Tick, Wall};
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::spec::Spec;
use crate::state::Service;
use crate::supervise::{self, Machine, Outcome, Wake};
use nix::sys::signal::Signal;
use zinit_keeper::wire::{Exit, Then};

use script::{Line, Manner, exit_of, parse};

/// Runs a timeline and returns what happened, line by line.
///
/// A timeline has a line for each service, `NAME OPTION...` (see `spec_of`), and then lines that
/// begin with a time in milliseconds:
///
/// | line | what happens |
/// |---|---|
/// | `T boot` | the server starts with the services above |
/// | `T up NAME`, `T down NAME`, `T restart NAME`, `T delete NAME` | somebody asks for it |
/// | `T define NAME ...` | a new configuration |
/// | `T exit NAME CODE`, `T exit NAME SIGNAL` or `T exit NAME unknown` | its process ends |
/// | `T start_all`, `T stop_all`, `T delete_all`, `T shutdown` | for all of them |
/// | `T reboot` | and of the machine, if the timeline says that it is `on_machine` |
/// | `T sigterm server`, `T sigterm keeper` | a signal comes, directly or passed on |
/// | `T health NAME good`, `bad` or `hangs` | how its checks go from now on |
/// | `T ready NAME`, `T stale NAME`, `T ping NAME` | its process, or the one before it, says so |
/// | `T checked NAME`, `T ran NAME CODE` | a check that hung holds, its stop command ends |
/// | `T reload NAME/OPTION/... ...`, `T plan ...` | these are the files now |
/// | `T end` | nothing more; without it a timeline ends when nothing is due |
/// | `T crash` | the brain dies and a new one begins |
/// | `T unseen NAME HOW` | the same, and just before that the process has ended |
/// | `T watch` | nothing; what happened so far is not told |
///
/// A process runs its program at once, unless its service is `mute` (it never does) or `lost` (the
/// program does not exist). It ends when it is told to, unless it is `deaf` (only SIGKILL ends it) or `stuck` (nothing does); if it leaves `litter`,
/// others of it live on until SIGKILL. Its checks hold, unless it is `ill` or they are `hangs`.
pub fn play(timeline: &str) -> String {
    let (world, script) = parse(timeline);
    World::run(world, script, Policy::bundled)
}

/// As [`play`], under a policy of the user's.
pub fn play_with_policy(policy: &str, timeline: &str) -> String {
    let (world, script) = parse(timeline);
    World::run(world, script, || {
        Policy::of(&[("policy.rhai".into(), policy.to_owned())])
            .unwrap_or_else(|problems| panic!("the policy is refused: {problems:?}"))
    })
}

/// How long a process tries what cannot succeed.
const FUTILE_MS: i64 = 20;

/// A timeline in which more happens than this does not end.
const WAITS_MAX: usize = 100_000;

/// A process of the simulated keeper.
#[derive(Clone, Debug)]
struct Slot {
    incarnation: u64,
    pid: i32,
    started: bool,
    /// The main process is gone.
    died: Option<Exit>,
    exit: Option<Exit>,
}

/// The simulated machine.
struct World {
    now: i64,
    specs: BTreeMap<ServiceName, Spec>,
    manners: BTreeMap<ServiceName, Manner>,
    script: VecDeque<(i64, Line)>,
    soon: VecDeque<(ServiceName, Happening)>,
    alarms: BTreeMap<ServiceName, Tick>,
    slots: BTreeMap<ServiceName, Slot>,
    notes: BTreeMap<ServiceName, Rc<Service>>,
    pids: i32,
    shown: BTreeMap<ServiceName, String>,
    booting: bool,
    crashed: bool,
    /// Everything is brought down: the keeper keeps what it knows as it is.
    ending: Option<Ending>,
    /// The signal that the keeper has passed on, and tells each new brain again.
    repeated: Option<Line>,
    /// The keeper is the first process of the machine.
    on_machine: bool,
    deadline: Option<i64>,
    waits: usize,
    told: String,
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            specs: BTreeMap::new(),
            manners: BTreeMap::new(),
            script: VecDeque::new(),
            soon: VecDeque::new(),
            alarms: BTreeMap::new(),
            slots: BTreeMap::new(),
            notes: BTreeMap::new(),
            pids: 100,
            shown: BTreeMap::new(),
            booting: false,
            crashed: false,
            ending: None,
            repeated: None,
            on_machine: false,
            deadline: None,
            waits: 0,
            told: String::new(),
        }
    }

    fn run(mut world: Self, script: VecDeque<(i64, Line)>, policy: impl Fn() -> Policy) -> String {
        world.script = script;
        let mut core = Core::new(policy());
        if world.on_machine {
            core.set_machine();
        }
        loop {
            let outcome = supervise::run(&mut core, &mut world);
            if outcome == Outcome::Ended {
                return world.told;
            }
            if world.booting {
                world.booting = false;
                let found =
                    world.specs.iter().map(|(name, spec)| (name.clone(), spec.clone(), None));
                core.boot(Tick(world.now), found.collect());
            } else if world.crashed {
                world.crashed = false;
                core = Core::new(policy());
                world.soon.clear();
                world.alarms.clear();
                if world.on_machine {
                    core.set_machine();
                }
                if let Some(ending) = &world.ending {
                    core.set_ending(ending.clone());
                }
                if let Some(signal) = &world.repeated {
                    world.script.push_front((world.now, signal.clone()));
                }
                let found = world.survivors();
                core.boot(Tick(world.now), found);
            } else {
                return world.told;
            }
        }
    }

    fn survivors(&self) -> Vec<(ServiceName, Spec, Option<Survivor>)> {
        let known = self.notes.values().map(|service| {
            let slot = self.slots.get(&service.name);
            let survivor = Survivor {
                standing: service.standing.clone(),
                incarnation: slot.map_or(0, |it| it.incarnation),
                pid: slot.filter(|it| it.exit.is_none()).map_or(0, |it| it.pid),
                started: slot.is_some_and(|it| it.started),
                died: slot.and_then(|it| it.died.clone()),
                exit: slot.and_then(|it| it.exit.clone()),
            };
            (service.name.clone(), (*service.spec).clone(), Some(survivor))
        });
        known.collect()
    }

    fn tell(&mut self, line: &str) {
        let _ = writeln!(self.told, "{line}");
    }

    /// Its main process ends. What it leaves behind ends with SIGKILL, and keeps its exit.
    fn ends(&mut self, service: &ServiceName, exit: Exit) {
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

    fn checked(&mut self, service: &Service) {
        let manner = self.manners.get(&service.name).cloned().unwrap_or_default();
        self.tell(&format!("  check {}", service.name));
        if !manner.hangs {
            self.check_ends(&service.name, manner.ill);
        }
    }

    fn check_ends(&mut self, service: &ServiceName, ill: bool) {
        let Some(slot) = self.slots.get(service) else { return };
        let failure = ill.then(|| "test_tcp `db:1`: refused".to_owned());
        let what = Happening::Checked { incarnation: slot.incarnation, failure };
        self.soon.push_back((service.clone(), what));
    }

    /// What a process says, or a command of it that has ended.
    fn says(&mut self, service: &ServiceName, word: &str) {
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

    fn launched(&mut self, service: &ServiceName, incarnation: u64) {
        let other = self.slots.get(service).filter(|it| it.exit.is_none());
        assert!(other.is_none(), "two live processes of {service}");
        self.pids += 1;
        let manner = self.manners.get(service).cloned().unwrap_or_default();
        let started = !manner.mute && !manner.lost;
        let slot = Slot { incarnation, pid: self.pids, started, died: None, exit: None };
        self.slots.insert(service.clone(), slot);
        let pid = self.pids;
        self.soon.push_back((service.clone(), Happening::Launched { incarnation, pid }));
        if self.misses(&manner) {
            let at = self.now + FUTILE_MS;
            let place = self.script.partition_point(|(it, _)| *it <= at);
            self.script.insert(place, (at, Line::Exit(service.clone(), Exit::Code(1))));
        }
        if started {
            self.soon.push_back((service.clone(), Happening::Started { incarnation }));
        }
        if manner.lost {
            self.ends(service, Exit::Launch { step: "exec".to_owned(), errno: 2 });
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
    fn next(&self) -> Option<(i64, bool)> {
        let alarms = self.alarms.values().map(|it| it.0);
        let alarm = alarms.chain(self.deadline).min();
        let line = self.script.front().map(|(at, _)| *at);
        match (alarm, line) {
            (Some(alarm), Some(line)) if line < alarm => Some((line, false)),
            (Some(alarm), _) => Some((alarm, true)),
            (None, line) => line.map(|at| (at, false)),
        }
    }

    fn ring(&mut self) -> Vec<Wake> {
        if self.deadline.is_some_and(|at| at <= self.now) {
            self.deadline = None;
            self.tell(&format!("{} deadline", self.now));
            return vec![Wake::Deadline];
        }
        let due = self.alarms.iter().find(|(_, at)| at.0 <= self.now).map(|(it, _)| it.clone());
        let service = due.expect("an alarm is due");
        self.alarms.remove(&service);
        self.tell(&format!("{} elapsed {service}", self.now));
        vec![Wake::Happened(service, Happening::Elapsed)]
    }

    fn crash(&mut self, at: i64) -> Vec<Wake> {
        self.tell(&format!("{at} crash"));
        self.crashed = true;
        vec![Wake::HandOver]
    }

    fn read_script(&mut self) -> Vec<Wake> {
        let (at, line) = self.script.pop_front().expect("there is a line");
        match line {
            Line::Boot => {
                self.tell(&format!("{at} boot"));
                self.booting = true;
                vec![Wake::HandOver]
            }
            Line::Crash => self.crash(at),
            Line::Unseen(service, exit) => {
                self.ends(&service, exit);
                self.crash(at)
            }
            Line::Watch => {
                self.told.clear();
                self.wait()
            }
            Line::End => {
                self.script.clear();
                self.alarms.clear();
                Vec::new()
            }
            Line::Ask(text, command) => {
                self.tell(&format!("{at} {text}"));
                vec![Wake::Asked(letter(command))]
            }
            Line::Signal(text, by) => {
                self.tell(&format!("{at} {text}"));
                if by == Asker::Keeper {
                    let again = Line::Signal("sigterm keeper (again)".to_owned(), by);
                    self.repeated = Some(again);
                }
                vec![Wake::Shutdown(by)]
            }
            Line::Exit(service, exit) => {
                self.ends(&service, exit);
                self.wait()
            }
            Line::Health(service, how) => {
                let manner = self.manners.entry(service).or_default();
                (manner.ill, manner.hangs) = (how == "bad", how == "hangs");
                let lost = self.manners.iter().filter(|(_, it)| self.misses(it));
                for service in lost.map(|(it, _)| it.clone()).collect::<Vec<_>>() {
                    self.ends(&service, Exit::Code(1));
                }
                self.wait()
            }
            Line::Says(service, word) => {
                self.says(&service, &word);
                self.wait()
            }
        }
    }
}

/// A letter whose sender does not wait for the answer; the world hears it.
fn letter(command: Command) -> Letter {
    let (desk, inbox, _bell) = Desk::new().expect("there are descriptors left");
    let asked = Box::pin(async move { desk.ask(command).await });
    let mut asked = asked;
    let waker = std::task::Waker::noop();
    let _ = asked.as_mut().poll(&mut std::task::Context::from_waker(waker));
    inbox.try_recv().expect("the letter was just sent")
}

impl Machine for World {
    fn wait(&mut self) -> Vec<Wake> {
        if let Some((service, what)) = self.soon.pop_front() {
            if !matches!(what, Happening::Launched { .. }) {
                self.tell(&format!("{} {} {service}", self.now, in_words(&what)));
            }
            return vec![Wake::Happened(service, what)];
        }
        self.waits += 1;
        assert!(self.waits < WAITS_MAX, "the timeline does not end: {}", self.told);
        let Some((at, is_alarm)) = self.next() else { return Vec::new() };
        self.now = self.now.max(at);
        if is_alarm { self.ring() } else { self.read_script() }
    }

    fn now(&self) -> Tick {
        Tick(self.now)
    }

    fn wall(&self) -> Wall {
        Wall { unix_ms: self.now, offset_s: 0 }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { service, incarnation, input } => {
                let how = if input { " (with input)" } else { "" };
                self.tell(&format!("  launch {}{how}", service.name));
                self.launched(&service.name, incarnation);
            }
            Effect::Check { service } => self.checked(&service),
            Effect::Run { service, task, line } => {
                self.tell(&format!("  run {} {}: {line}", service.name, task.word()));
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
            Effect::Arm { service, at: Some(at) } => {
                self.tell(&format!("  arm {service} {}", at.0));
                self.alarms.insert(service, at);
            }
            Effect::Arm { service, at: None } => {
                self.alarms.remove(&service);
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
            Effect::Faulted(_, fault) => self.tell(&format!("  fault: {fault}")),
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

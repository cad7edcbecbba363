//! A world: the real core and policy on a simulated machine, in virtual time. Whoever has one lets
//! time pass, lets things go wrong, and looks at what becomes of the services.

use std::path::PathBuf;
use std::rc::Rc;

use zinit_keeper::wire::Exit;

use super::faults::{Fault, Manner};
use super::machine::Simulated;
use super::script::Line;
use crate::clock;
use crate::core::{Core, Effect, Survivor};
use crate::decision;
use crate::desk::{Answer, Command, Reload};
use crate::event::{Tick, Wall};
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::refusal::{Kind, Refusal, nearest};
use crate::spec::Spec;
use crate::state::Service;
use crate::supervise::{self, Machine, Outcome};
use crate::view::Usage;

/// A machine with services on it, from its start on. Its services are good ones: those that have to
/// say that they are ready do so at once, those that have to say that they live do so in time, checks
/// hold, and nothing ends by itself, until a fault says otherwise.
///
/// ```
/// use zinit_host::sim::{Fault, World};
/// use zinit_host::name::ServiceName;
/// use zinit_host::spec::Spec;
///
/// let mut world = World::new(Vec::new()).expect("the bundled policy has no faults");
/// let db = ServiceName::parse("db").expect("it is a name");
/// world.add(db.clone(), Spec::of_exec("db")).expect("nothing is wrong with it");
/// world.boot();
/// world.run_until(10_000);
/// world.inject(&db, Fault::Crash).expect("it is there");
/// world.run_until(20_000);
/// let db = world.service("db").expect("it is there");
/// assert_eq!((db.standing.state.word(), db.standing.restarts), ("Running", 1));
/// ```
pub struct World {
    core: Core,
    machine: Simulated,
    policy: Vec<(PathBuf, String)>,
    seed: Option<u64>,
    booted: bool,
    over: bool,
}

impl World {
    /// A world that this policy decides about, with the bundled one under it.
    ///
    /// # Errors
    /// Every fault of the policy.
    pub fn new(policy: Vec<(PathBuf, String)>) -> Result<Self, Vec<Refusal>> {
        let core = Core::new(Policy::of(&policy)?);
        Ok(Self::of(core, Simulated::new(), policy))
    }

    pub(super) fn of(core: Core, machine: Simulated, policy: Vec<(PathBuf, String)>) -> Self {
        let mut world = Self { core, machine, policy, seed: None, booted: false, over: false };
        world.prepare_core();
        world
    }

    /// Draws `service.chance` from this seed; without one it is always the middle.
    pub fn seed(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.core.seed(seed);
    }

    /// Sets the wall clock, which goes on from there: milliseconds since 1970, in the local time of a
    /// world that is in UTC.
    pub fn set_wall(&mut self, unix_ms: i64) {
        self.machine.wall_ms = unix_ms - self.machine.now;
    }

    /// Ends after so many events, whatever is due.
    pub fn limit_events(&mut self, most: u64) {
        self.machine.events_max = most;
    }

    /// Ends when this thread has used so much more CPU time.
    pub fn limit_cpu(&mut self, microseconds: i64) {
        let end = clock::thread_cpu_us().saturating_add(microseconds);
        self.machine.cpu_us_end = Some(end);
    }

    /// Tells nothing from now on, which takes less time.
    pub fn tell_nothing(&mut self) {
        self.machine.told = None;
    }

    /// Calls this for each effect, before it is done, with the time.
    pub fn observe(&mut self, observer: impl FnMut(Tick, &Effect) + 'static) {
        self.machine.observer = Some(Box::new(observer));
    }

    /// Adds a service, or gives one a new configuration. Before [`boot`](Self::boot) it is one of the
    /// services that are there from the start.
    ///
    /// # Errors
    /// What the core says to it; before the start, what the policy says.
    pub fn add(&mut self, name: ServiceName, spec: Spec) -> Result<(), Refusal> {
        self.prepare(&name);
        if self.booted {
            let text = format!("define {name}");
            return self.ask(&text, Command::Define(name, Box::new(spec))).map(drop);
        }
        self.core.policy().vet(&spec)?;
        self.machine.specs.insert(name, spec);
        Ok(())
    }

    /// Takes over these files, as `zinit reload` does.
    ///
    /// # Errors
    /// The core's refusal.
    pub fn reload(&mut self, files: Vec<(ServiceName, Spec)>) -> Answer {
        files.iter().for_each(|(name, _)| self.prepare(name));
        self.ask("reload", Command::Reload(Reload { files, only: None, dry_run: false }))
    }

    fn prepare(&mut self, name: &ServiceName) {
        let manner = Manner { lively: true, ..Manner::default() };
        self.machine.manners.entry(name.clone()).or_insert(manner);
    }

    /// Says after how long the processes of a service end by themselves, with code 0: those that start
    /// from now on.
    pub fn run_for(&mut self, service: &ServiceName, ms: Option<i64>) {
        self.machine.manners.entry(service.clone()).or_default().runs_ms = ms;
    }

    /// Says what a service uses from now on.
    pub fn set_usage(&mut self, service: &ServiceName, usage: Usage) {
        self.machine.manners.entry(service.clone()).or_default().usage = usage;
    }

    /// Says whether somebody else listens on the port of a service from now on.
    pub fn set_port_taken(&mut self, service: &ServiceName, taken: bool) {
        self.machine.manners.entry(service.clone()).or_default().port_taken = taken;
    }

    /// Starts the server, once.
    pub fn boot(&mut self) {
        if !std::mem::replace(&mut self.booted, true) {
            self.machine.tell(&format!("{} boot", self.machine.now));
            self.wake();
            self.settle();
        }
    }

    /// Lets time pass until this moment, and everything happen that is due by then.
    pub fn run_until(&mut self, at: i64) {
        self.go_on(at);
        self.machine.now = self.machine.now.max(at);
    }

    /// Lets everything happen that is due, for as long as something is.
    pub(super) fn run_out(&mut self) {
        self.go_on(i64::MAX);
    }

    /// Asks for something, as a client does; it is told as `text`.
    ///
    /// # Errors
    /// The core's refusal.
    pub fn ask(&mut self, text: &str, command: Command) -> Answer {
        self.machine.tell(&format!("{} {text}", self.machine.now));
        self.core.set_wall(self.machine.wall());
        let answer = self.core.obey(Tick(self.machine.now), command);
        if let Err(refusal) = &answer {
            self.machine.tell(&format!("  refused: {refusal}"));
        }
        self.settle();
        answer
    }

    /// The process of a service ends, if it has one.
    ///
    /// # Errors
    /// When there is no such service, or none of its processes lives.
    pub fn end(&mut self, service: &ServiceName, exit: Exit) -> Result<(), Refusal> {
        self.find(service.as_str())?;
        if self.pid(service).is_none() {
            let message = format!("no process of `{service}` lives that could end");
            return Err(Refusal::new(Kind::ServiceDown, message).hint(self.stands(service)));
        }
        self.machine.ends(service, exit);
        self.settle();
        Ok(())
    }

    /// Lets something go wrong with a service.
    ///
    /// # Errors
    /// When there is no such service, or it is to crash and no process of it lives.
    pub fn inject(&mut self, service: &ServiceName, fault: Fault) -> Result<(), Refusal> {
        if !self.machine.specs.contains_key(service) {
            self.find(service.as_str())?;
        }
        if fault == Fault::Crash && self.pid(service).is_none() {
            let message = format!("no process of `{service}` lives that could crash");
            return Err(Refusal::new(Kind::ServiceDown, message).hint(self.stands(service)));
        }
        self.machine.inject(service, fault);
        self.settle();
        Ok(())
    }

    /// Somebody connects to a service that is there on demand.
    ///
    /// # Errors
    /// When there is no such service, or nobody can connect to it.
    pub fn connect(&mut self, service: &ServiceName) -> Result<(), Refusal> {
        self.find_door(service)?;
        self.machine.plan_first(Line::Connects(service.clone()));
        self.settle();
        Ok(())
    }

    /// Nobody has used it for a minute, with so many clients connected.
    ///
    /// # Errors
    /// When there is no such service, or nobody can connect to it.
    pub fn fall_idle(&mut self, service: &ServiceName, connections: i64) -> Result<(), Refusal> {
        self.find_door(service)?;
        self.machine.plan_first(Line::FallsIdle(service.clone(), connections));
        self.settle();
        Ok(())
    }

    fn find_door(&self, service: &ServiceName) -> Result<(), Refusal> {
        let found = self.find(service.as_str())?;
        if found.spec.xinit.as_ref().is_some_and(|it| it.enabled) {
            return Ok(());
        }
        let message = format!("nobody can connect to `{service}`: it has no `xinit`");
        Err(Refusal::new(Kind::BadArgument, message).with("service", service.as_str()))
    }

    /// The process of a service says that it is ready.
    ///
    /// # Errors
    /// When there is no such service, or none of its processes lives.
    pub fn say_ready(&mut self, service: &ServiceName) -> Result<(), Refusal> {
        self.find(service.as_str())?;
        if self.pid(service).is_none() {
            let message = format!("no process of `{service}` lives that could be ready");
            return Err(Refusal::new(Kind::ServiceDown, message).hint(self.stands(service)));
        }
        self.machine.says(service, "ready");
        self.settle();
        Ok(())
    }

    /// Says that nothing is going to go wrong with a service before then: its periodic checks need
    /// not be made meanwhile, where the policy leaves them and those around it alone. The last one
    /// before that time is made.
    pub fn foresee(&mut self, service: &ServiceName, until: i64) {
        let policy = self.core.policy();
        if policy.is_bundled("check_delay_ms") && policy.is_bundled("takes_along") {
            self.machine.calm.lasts(service, until, &self.machine.specs);
        }
    }

    /// The time since the beginning, in milliseconds.
    pub fn now(&self) -> i64 {
        self.machine.now
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> Wall {
        self.machine.wall()
    }

    /// When the next thing is due, if one is.
    pub fn next(&self) -> Option<i64> {
        self.machine.next().map(|(at, _)| at)
    }

    /// How much has happened.
    pub fn events(&self) -> u64 {
        self.machine.events
    }

    /// Whether as much has happened as may, or the CPU time is used up.
    pub fn is_exhausted(&self) -> bool {
        self.machine.is_exhausted()
    }

    /// Whether it was ended for the CPU time, before as much has happened as may.
    pub fn is_out_of_time(&self) -> bool {
        self.is_exhausted() && self.machine.events < self.machine.events_max
    }

    /// What went wrong with the functions of the policy so far; the bundled ones decided.
    pub fn faults(&self) -> &[decision::Fault] {
        &self.machine.faults
    }

    /// Whether the server has ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the server was started.
    pub fn is_booted(&self) -> bool {
        self.booted
    }

    /// A service as it stands.
    pub fn service(&self, name: &str) -> Option<&Rc<Service>> {
        self.core.service(name)
    }

    /// As [`service`](Self::service).
    ///
    /// # Errors
    /// That there is none of that name, with the nearest that there is.
    pub fn find(&self, name: &str) -> Result<&Rc<Service>, Refusal> {
        self.core.service(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().map(ServiceName::as_str).collect();
            let refusal = Refusal::unknown_service(name, std::iter::empty());
            match nearest(name, names.iter().copied()) {
                Some(near) => refusal.hint(format!("did you mean `{near}`?")),
                None if names.is_empty() => refusal.hint("this world has no service yet"),
                None => refusal.hint(format!("there is `{}`", names.join("`, `"))),
            }
        })
    }

    /// The names of all services, sorted.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        let before = self.machine.specs.keys().filter(|_| !self.booted);
        let mut names: Vec<&ServiceName> = self.core.names().chain(before).collect();
        names.sort();
        names.into_iter()
    }

    /// The process of a service that lives.
    pub fn pid(&self, service: &ServiceName) -> Option<i32> {
        self.machine.slots.get(service).filter(|it| it.exit.is_none()).map(|it| it.pid)
    }

    /// What happened, line by line, so far and since this was last called.
    pub fn take_told(&mut self) -> String {
        self.machine.told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Half a sentence about how a service stands.
    fn stands(&self, service: &ServiceName) -> String {
        let Some(service) = self.service(service.as_str()) else {
            return "the server was not started: `advance` starts it".to_owned();
        };
        let standing = &service.standing;
        format!("at {} ms it is {}: {}", self.now(), standing.state.word(), standing.why)
    }

    /// Lets everything happen that is due now.
    fn settle(&mut self) {
        self.go_on(self.machine.now);
    }

    fn go_on(&mut self, until: i64) {
        self.machine.until = until;
        while !self.over {
            let outcome = supervise::run(&mut self.core, &mut self.machine);
            self.over = outcome == Outcome::Ended;
            if std::mem::take(&mut self.machine.booting) {
                self.booted = true;
                self.wake();
            } else if std::mem::take(&mut self.machine.crashed) {
                self.replace_brain();
            } else {
                break;
            }
        }
    }

    fn wake(&mut self) {
        let found =
            self.machine.specs.iter().map(|(name, spec)| (name.clone(), spec.clone(), None));
        self.core.set_wall(self.machine.wall());
        self.core.boot(Tick(self.machine.now), found.collect());
    }

    /// The brain has died; another one begins, and finds what the keeper knows.
    fn replace_brain(&mut self) {
        let policy = Policy::of(&self.policy).expect("it was fine when the world began");
        self.core = Core::new(policy);
        self.prepare_core();
        self.machine.forget_brain();
        if let Some(ending) = &self.machine.ending {
            self.core.set_ending(ending.clone());
        }
        if let Some(signal) = self.machine.repeated.clone() {
            self.machine.plan_first(signal);
        }
        let found = self.survivors();
        self.core.boot(Tick(self.machine.now), found);
    }

    fn prepare_core(&mut self) {
        if self.machine.on_machine {
            self.core.set_machine();
        }
        if let Some(seed) = self.seed {
            self.core.seed(seed);
        }
    }

    fn survivors(&self) -> Vec<(ServiceName, Spec, Option<Survivor>)> {
        let known = self.machine.notes.values().map(|service| {
            let slot = self.machine.slots.get(&service.name);
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
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (now, events) = (self.now(), self.events());
        f.debug_struct("World").field("now", &now).field("events", &events).finish_non_exhaustive()
    }
}

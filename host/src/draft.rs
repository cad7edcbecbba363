//! A service while one step of it is decided: what the event does by itself, what the decision
//! adds, and the invariants that hold before any of it counts.

use std::rc::Rc;

use nix::sys::signal::Signal;
use zinit_keeper::wire::Exit;

use crate::action::Action;
use crate::core::Effect;
use crate::event::{Happening, Tick};
use crate::name::ServiceName;
use crate::spec::Readiness;
use crate::state::{
    EXITS_MAX, Held, Past, Process, Service, Standing, State, Target, describe, nothing,
};
use crate::view::{Facts, Seen};

/// The longest that an alarm may be away.
const ALARM_MS_MAX: i64 = 24 * 3_600_000;

/// The least time between two looks at what a service uses.
const LOOK_MS_MIN: i64 = 100;

/// How many letters of a reason are kept.
const WHY_MAX: usize = 500;

/// How many letters of what a check says are kept.
const HEALTH_MAX: usize = 300;

/// The longest that a turn may last.
const TURN_MS_MAX: i64 = 60_000;

/// How long to wait after an alarm about which nothing could be decided.
const DESPAIR_MS: i64 = 1_000;

/// A service as it would stand.
#[derive(Clone)]
pub struct Draft {
    now: Tick,
    /// The kind of the event; empty when there is none.
    event: &'static str,
    service: Rc<Service>,
    effects: Vec<Effect>,
    was: State,
    ran_ms: i64,
    own_end: bool,
    late_ms: i64,
    rang: bool,
    killed: bool,
    entered: bool,
    /// Everything is to be brought down.
    ends_all: bool,
    /// Others go the same way.
    along: Option<(Vec<ServiceName>, Held)>,
    /// The next free turn among those that failed.
    next_turn: Tick,
}

impl Draft {
    /// The service as it stands.
    pub fn of(service: &Rc<Service>) -> Self {
        Self {
            now: Tick(0),
            event: "",
            service: Rc::clone(service),
            effects: Vec::new(),
            was: service.standing.state,
            ran_ms: 0,
            own_end: false,
            late_ms: 0,
            rang: false,
            killed: false,
            entered: false,
            ends_all: false,
            along: None,
            next_turn: Tick(0),
        }
    }

    /// The service after what the event does by itself; `None` when the event comes too late to
    /// mean anything.
    pub fn prepare(
        service: &Rc<Service>,
        now: Tick,
        what: &Happening,
        next_turn: Tick,
    ) -> Option<Self> {
        let mut draft = Self { now, event: what.kind(), next_turn, ..Self::of(service) };
        let (standing, incarnation) = (&service.standing, what.incarnation());
        let ours = incarnation.is_none() || incarnation == Some(standing.incarnation);
        let lives = standing.process.is_some_and(|it| it.died.is_none());
        let means_something = match what {
            Happening::WantUp
            | Happening::WantDown
            | Happening::Unused { .. }
            | Happening::WantRestart
            | Happening::MustYield { .. }
            | Happening::MustHurry
            | Happening::MustRestart { .. }
            | Happening::MustGiveUp { .. }
            | Happening::Defined { .. } => true,
            Happening::Nudged => match standing.state {
                State::Running => standing.measure_at.is_none(),
                other => matches!(other, State::Blocked | State::Backoff),
            },
            Happening::PortFreed { .. } => standing.state == State::Blocked,
            Happening::Ran { .. } | Happening::Drained => standing.state.is_stopping(),
            Happening::Elapsed => standing.alarm.is_some_and(|at| at <= now),
            Happening::CheckDue => standing.check_at.is_some_and(|at| at <= now),
            Happening::MeasureDue => standing.measure_at.is_some_and(|at| at <= now),
            Happening::Measured { .. } => ours && lives && standing.state == State::Running,
            Happening::TimedOut => standing.timeout_at.is_some_and(|at| at <= now),
            // What has settled already needs no second look.
            Happening::Started { .. } => ours && lives && standing.state != State::Running,
            Happening::Exited { .. } => ours && standing.process.is_some(),
            Happening::Launched { .. }
            | Happening::Died { .. }
            | Happening::Ready { .. }
            | Happening::Checked { .. }
            | Happening::Pinged { .. }
            | Happening::Said { .. } => ours && lives,
        };
        means_something.then(|| {
            draft.take_in(what);
            draft
        })
    }

    /// What the event does by itself.
    fn take_in(&mut self, what: &Happening) {
        let now = self.now;
        match what {
            Happening::WantUp => self.is_wanted(Target::Up),
            Happening::WantRestart => {
                self.is_wanted(Target::Up);
                self.standing().fault = false;
            }
            Happening::WantDown | Happening::Unused { .. } => {
                self.is_wanted(Target::Down);
                self.standing().fault = false;
            }
            Happening::Defined { .. } => self.standing().given_up_with = None,
            Happening::MustGiveUp { with } => self.standing().given_up_with = Some(with.clone()),
            Happening::Elapsed => (self.standing().alarm, self.rang) = (None, true),
            Happening::CheckDue => (self.standing().check_at, self.rang) = (None, true),
            Happening::MeasureDue => (self.standing().measure_at, self.rang) = (None, true),
            Happening::TimedOut => {
                let due = self.standing().timeout_at.take().unwrap_or(now);
                (self.rang, self.late_ms) = (true, now.0 - due.0);
            }
            Happening::Launched { pid, .. } => self.process(|it| it.pid = *pid),
            Happening::Started { .. } => self.process(|it| it.born = now),
            Happening::Died { exit, .. } => {
                self.process(|it| it.died = Some(now));
                self.standing().last_exit = Some(exit.clone());
                self.forget_checks();
            }
            Happening::Exited { incarnation, exit } => self.bury(*incarnation, exit),
            Happening::Ready { .. } => self.standing().said_ready = true,
            Happening::Checked { failure, .. } => self.note_check(failure.as_deref()),
            Happening::Pinged { .. } => self.process(|it| it.well = Some(now)),
            Happening::Said { status, .. } => self.standing().says = status.as_str().into(),
            Happening::PortFreed { failure } => self.standing().port_freed = failure.is_none(),
            Happening::MustYield { .. }
            | Happening::MustRestart { .. }
            | Happening::Measured { .. }
            | Happening::MustHurry
            | Happening::Nudged
            | Happening::Drained
            | Happening::Ran { .. } => {}
        }
    }

    /// Somebody asks for it.
    fn is_wanted(&mut self, target: Target) {
        let standing = self.standing();
        (standing.target, standing.given_up_with) = (target, None);
    }

    /// Nothing of the process is left.
    fn bury(&mut self, incarnation: u64, exit: &Exit) {
        let now = self.now;
        let unasked = !self.was.is_stopping();
        let standing = self.standing();
        let process = standing.process.take().unwrap_or(Process::new(now));
        let ended = process.died.unwrap_or(now);
        // Who was stopped for being ill ran well as long as it was well.
        let well_until = if unasked { ended } else { process.well.unwrap_or(ended) };
        standing.last_exit = Some(exit.clone());
        standing.fault |= unasked;
        let own = standing.fault;
        self.own_end = unasked || process.died.is_some();
        self.ran_ms = process.up.map_or(0, |up| well_until.0 - up.0);
        let past = Past { at: now, ran_ms: self.ran_ms, own, exit: exit.clone() };
        let exits = &mut self.standing().exits;
        exits.drain(..(exits.len() + 1).saturating_sub(EXITS_MAX));
        exits.push(past);
        self.forget_checks();
        let service = self.service.name.clone();
        self.effects.push(Effect::Acknowledge { service, incarnation });
    }

    fn note_check(&mut self, failure: Option<&str>) {
        let now = self.now;
        if failure.is_none() {
            self.process(|it| it.well = Some(now));
        }
        let standing = self.standing();
        standing.checking = false;
        standing.check_failures = failure.map_or(0, |_| standing.check_failures + 1);
        let said: String = failure.unwrap_or("ok").chars().take(HEALTH_MAX).collect();
        standing.health = said.into();
    }

    /// What a process has said, and what was found about it, goes with it.
    fn forget_checks(&mut self) {
        let standing = self.standing();
        (standing.checking, standing.check_failures, standing.said_ready) = (false, 0, false);
        (standing.health, standing.says) = (nothing(), nothing());
    }

    /// The service as drafted.
    pub fn service(&self) -> Rc<Service> {
        Rc::clone(&self.service)
    }

    /// What the policy sees of it.
    pub fn seen(&self, facts: Facts) -> Rc<Seen> {
        Rc::new(Seen { service: self.service(), facts, event: self.event })
    }

    /// The next free turn, after this step.
    pub fn next_turn(&self) -> Tick {
        self.next_turn
    }

    /// Whether another alarm is set than before this step. One that rang is set no more, so that the
    /// same time again is news.
    pub fn is_rearmed(&self, before: &Standing) -> bool {
        let alarm = |it: &Standing| it.next().map(|(at, _)| at);
        let now = alarm(&self.service.standing);
        now != alarm(before) || self.rang && now.is_some()
    }

    /// Whether the process that just ended did so by itself, and not because it was told to.
    pub fn own_end(&self) -> bool {
        self.own_end
    }

    /// How much later than it was due an alarm rang.
    pub fn late_ms(&self) -> i64 {
        self.late_ms
    }

    /// Whether everything is to be brought down, now that this service is at rest.
    pub fn ends_all(&self) -> bool {
        self.ends_all
    }

    /// Who goes the same way as this service, now that it has ended, and what is done to them.
    pub fn along(&mut self) -> Option<(Vec<ServiceName>, Held)> {
        self.along.take()
    }

    /// How long the process was up that just ended.
    pub fn ran_ms(&self) -> i64 {
        self.ran_ms
    }

    /// Adds what the decision says.
    ///
    /// # Errors
    /// What it must not say.
    pub fn follow(&mut self, actions: Vec<Action>) -> Result<(), String> {
        actions.into_iter().try_for_each(|it| self.act(it))
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Launch => return self.launch(),
            Action::Signal(signal) => return self.signal(signal),
            Action::Check => return self.check_now(),
            Action::Arm(at) => self.standing().alarm = Some(self.soon(at)),
            Action::CheckAt(at) => self.standing().check_at = Some(self.soon(at)),
            Action::TimeOutAt(at) => self.standing().timeout_at = Some(self.soon(at)),
            Action::Measure => {
                let service = self.service();
                self.effects.push(Effect::Measure { service });
            }
            Action::MeasureAt(at) => {
                let least = Tick(self.now.0 + LOOK_MS_MIN);
                self.standing().measure_at = Some(self.soon(at.max(least)));
            }
            Action::Due(true) => {
                let now = self.now;
                self.standing().due_since.get_or_insert(now);
            }
            Action::Due(false) => self.standing().due_since = None,
            Action::Enter(state, why) => self.enter(state, why),
            Action::Attempts(count) => self.standing().attempts = count,
            Action::ForgetExits => self.standing().exits.clear(),
            Action::Fault => self.standing().fault = true,
            Action::TakeTurn(spacing_ms) => self.take_turn(spacing_ms),
            Action::FreePort => self.free_port(true),
            Action::LookAtPort => self.free_port(false),
            Action::RestartOthers(names) => {
                self.along = Some((names, Held::Along(self.service.name.clone())));
            }
            Action::GiveUpOthers(names) => {
                self.along = Some((names, Held::GiveUp(self.service.name.clone())));
            }
            Action::EndAll => self.ends_all = true,
            Action::Run(task, line) => {
                let service = self.service();
                self.effects.push(Effect::Run { service, task, line });
            }
        }
        Ok(())
    }

    /// A time that an alarm may be set to.
    fn soon(&self, at: Tick) -> Tick {
        Tick(at.0.clamp(self.now.0, self.now.0 + ALARM_MS_MAX))
    }

    fn launch(&mut self) -> Result<(), String> {
        let now = self.now;
        if self.service.spec.is_target() {
            return Err("it wants to launch a target, which has no program".to_owned());
        }
        let standing = self.standing();
        if standing.process.is_some() {
            return Err("it wants a second process beside the one that lives".to_owned());
        }
        if standing.target == Target::Down {
            return Err("it wants to launch what is to be down".to_owned());
        }
        standing.restarts += i64::from(standing.fault);
        standing.incarnation += 1;
        standing.process = Some(Process::new(now));
        (standing.fault, standing.turn, standing.port_freed) = (false, None, false);
        standing.given_up_with = None;
        let incarnation = standing.incarnation;
        self.forget_checks();
        let service = self.service();
        self.effects.push(Effect::Launch { service, incarnation, input: false });
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        if self.service.standing.process.is_none() {
            return Err(format!("it wants to send {signal} where no process is"));
        }
        self.killed |= signal == Signal::SIGKILL;
        let incarnation = self.service.standing.incarnation;
        let service = self.service.name.clone();
        self.effects.push(Effect::Signal { service, incarnation, signal });
        Ok(())
    }

    fn check_now(&mut self) -> Result<(), String> {
        let lives = self.service.standing.process.is_some_and(|it| it.died.is_none());
        if !lives || !self.service.spec.health.has_checks() {
            return Err("it wants to check where there is nothing to check".to_owned());
        }
        self.standing().checking = true;
        let service = self.service();
        self.effects.push(Effect::Check { service });
        Ok(())
    }

    fn take_turn(&mut self, spacing_ms: i64) {
        let turn = self.next_turn.max(self.now);
        self.next_turn = Tick(turn.0 + spacing_ms.clamp(0, TURN_MS_MAX));
        let turn = self.soon(turn);
        let standing = self.standing();
        (standing.turn, standing.alarm) = (Some(turn), Some(turn));
    }

    fn free_port(&mut self, kill: bool) {
        if let Some(port) = self.service.spec.health.first_port() {
            let service = self.service.name.clone();
            self.effects.push(Effect::FreePort { service, port, kill });
        }
    }

    fn enter(&mut self, state: State, why: String) {
        let now = self.now;
        self.entered = true;
        let standing = self.standing();
        if standing.state.word() != state.word() {
            standing.since = now;
        }
        if let (State::Running, Some(process)) = (state, &mut standing.process) {
            process.up.get_or_insert(now);
        }
        standing.state = state;
        standing.why = why.chars().take(WHY_MAX).collect::<String>().into();
        (standing.alarm, standing.check_at, standing.timeout_at) = (None, None, None);
        (standing.measure_at, standing.due_since, standing.turn) = (None, None, None);
    }

    /// Whether what was decided may stand.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn check(&self, what: &Happening) -> Result<(), String> {
        let Standing { state, process, checking, .. } = &self.service.standing;
        let word = state.word();
        if state.is_live() && process.is_none() {
            return Err(format!("it wants to be {word} without a process"));
        }
        if !state.is_live() && process.is_some() {
            return Err(format!("it wants to be {word} while its process lives"));
        }
        if self.ends_all && (state.is_live() || !matches!(what, Happening::Exited { .. })) {
            return Err("it wants to end everything though nothing has ended".to_owned());
        }
        if self.along.is_some() && !matches!(what, Happening::Exited { .. }) {
            return Err("it wants to take others along though nothing has ended".to_owned());
        }
        let told_to_stop = matches!(
            what,
            Happening::WantDown
                | Happening::Unused { .. }
                | Happening::WantRestart
                | Happening::MustYield { .. }
                | Happening::MustRestart { .. }
                | Happening::MustGiveUp { .. }
                | Happening::MustHurry
                | Happening::Died { .. }
        );
        if told_to_stop && matches!(state, State::Spawned | State::Running) && self.was.is_live() {
            return Err("it refuses to stop".to_owned());
        }
        if matches!((what, state), (Happening::MustHurry, State::Stopping { .. })) && !self.killed {
            return Err("it stops gently where no time is left".to_owned());
        }
        let says_when = !matches!(self.service.spec.readiness, Readiness::Lives);
        let endless = match (state, what) {
            (State::Stopping { .. }, Happening::Elapsed) => !self.killed,
            (State::Stopping { .. }, _) => self.entered && !self.killed,
            (
                State::Spawned,
                Happening::Started { .. }
                | Happening::Ready { .. }
                | Happening::Checked { .. }
                | Happening::Elapsed
                | Happening::CheckDue
                | Happening::TimedOut,
            ) => self.was == State::Spawned && !checking && !says_when,
            (State::Backoff, _) => true,
            _ => false,
        };
        if endless && self.service.standing.next().is_none() {
            return Err(format!("it wants to be {word} for ever"));
        }
        Ok(())
    }

    /// What remains when nothing could be decided: the state that is true, and another try at
    /// whatever an alarm was for.
    pub fn despair(mut self, what: &Happening, why: &str) -> Self {
        if self.service.standing.state.is_live() && self.service.standing.process.is_none() {
            self.enter(State::Failed, format!("no decision could be made: {why}"));
        } else if self.rang {
            let again = Some(Tick(self.now.0 + DESPAIR_MS));
            match what {
                Happening::CheckDue => self.standing().check_at = again,
                Happening::MeasureDue => self.standing().measure_at = again,
                Happening::TimedOut => self.standing().timeout_at = again,
                _ => self.standing().alarm = again,
            }
        }
        self
    }

    /// The service as it stands from now on, and what is to be done for it.
    pub fn finish(self) -> (Service, Vec<Effect>) {
        (Rc::unwrap_or_clone(self.service), self.effects)
    }

    fn standing(&mut self) -> &mut Standing {
        &mut Rc::make_mut(&mut self.service).standing
    }

    fn process(&mut self, change: impl FnOnce(&mut Process)) {
        if let Some(process) = &mut self.standing().process {
            change(process);
        }
    }
}

/// How the service's latest process ended, in words; empty when none has.
pub fn last_exit(standing: &Standing) -> String {
    standing.last_exit.as_ref().map(describe).unwrap_or_default()
}

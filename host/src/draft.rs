//! A service while one step of it is decided: what the event does by itself, what the decision
//! adds, and the invariants that hold before any of it counts.

use std::rc::Rc;

use nix::sys::signal::Signal;

use crate::action::Action;
use crate::core::Effect;
use crate::event::{Happening, Tick};
use crate::state::{Process, Service, Standing, State, Target, describe};

/// The longest that an alarm may be away.
const ALARM_MS_MAX: i64 = 24 * 3_600_000;

/// How many letters of a reason are kept.
const WHY_MAX: usize = 500;

/// How long to wait after an alarm about which nothing could be decided.
const DESPAIR_MS: i64 = 1_000;

/// A service as it would stand.
#[derive(Clone)]
pub struct Draft {
    now: Tick,
    service: Rc<Service>,
    effects: Vec<Effect>,
    was: State,
    ran_ms: i64,
    rang: bool,
    killed: bool,
}

impl Draft {
    /// The service as it stands.
    pub fn of(service: &Rc<Service>) -> Self {
        Self {
            now: Tick(0),
            service: Rc::clone(service),
            effects: Vec::new(),
            was: service.standing.state,
            ran_ms: 0,
            rang: false,
            killed: false,
        }
    }

    /// The service after what the event does by itself; `None` when the event comes too late to
    /// mean anything.
    pub fn prepare(service: &Rc<Service>, now: Tick, what: &Happening) -> Option<Self> {
        let mut draft = Self { now, ..Self::of(service) };
        let standing = &service.standing;
        let current =
            standing.process.is_some() && what.incarnation() == Some(standing.incarnation);
        match what {
            Happening::WantUp | Happening::WantRestart => draft.standing().target = Target::Up,
            Happening::WantDown => draft.standing().target = Target::Down,
            Happening::Defined => {}
            Happening::Nudged if standing.state == State::Blocked => {}
            Happening::Elapsed if standing.alarm.is_some_and(|at| at <= now) => {
                draft.standing().alarm = None;
                draft.rang = true;
            }
            Happening::Launched { pid, .. } if current => draft.process(|it| it.pid = *pid),
            Happening::Started { .. } if current => draft.process(|it| it.born = now),
            Happening::Exited { incarnation, exit } if current => {
                let born = standing.process.map_or(now, |it| it.born);
                draft.ran_ms = now.0 - born.0;
                draft.standing().process = None;
                draft.standing().last_exit = Some(exit.clone());
                let service = service.name.clone();
                draft.effects.push(Effect::Acknowledge { service, incarnation: *incarnation });
            }
            _ => return None,
        }
        // What has settled already needs no second look.
        let late = matches!(what, Happening::Started { .. }) && standing.state == State::Running;
        (!late).then_some(draft)
    }

    /// The service as drafted.
    pub fn service(&self) -> Rc<Service> {
        Rc::clone(&self.service)
    }

    /// Whether another alarm is set than before this step. One that rang is set no more, so that the
    /// same time again is news.
    pub fn is_rearmed(&self, before: &Standing) -> bool {
        let alarm = self.service.standing.alarm;
        alarm != before.alarm || self.rang && alarm.is_some()
    }

    /// How long the process lived that just ended.
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
            Action::Launch => self.launch(),
            Action::Signal(signal) => self.signal(signal),
            Action::Arm(at) => {
                let at = at.0.clamp(self.now.0, self.now.0 + ALARM_MS_MAX);
                self.standing().alarm = Some(Tick(at));
                Ok(())
            }
            Action::Enter(state, why) => {
                self.enter(state, why);
                Ok(())
            }
            Action::Attempts(count) => {
                self.standing().attempts = count;
                Ok(())
            }
        }
    }

    fn launch(&mut self) -> Result<(), String> {
        let now = self.now;
        let standing = self.standing();
        if standing.process.is_some() {
            return Err("it wants a second process beside the one that lives".to_owned());
        }
        if standing.target == Target::Down {
            return Err("it wants to launch what is to be down".to_owned());
        }
        let again = standing.state == State::Backoff
            || standing.state == State::Failed && standing.attempts > 0;
        standing.restarts += i64::from(again);
        standing.incarnation += 1;
        standing.process = Some(Process { pid: 0, born: now });
        let incarnation = standing.incarnation;
        let service = self.service.name.clone();
        let spec = Rc::clone(&self.service.spec);
        self.effects.push(Effect::Launch { service, incarnation, spec });
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

    fn enter(&mut self, state: State, why: String) {
        let now = self.now;
        let standing = self.standing();
        if standing.state.word() != state.word() {
            standing.since = now;
        }
        standing.state = state;
        standing.why = why.chars().take(WHY_MAX).collect::<String>().into();
        standing.alarm = None;
    }

    /// Whether what was decided may stand.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn check(&self, what: &Happening) -> Result<(), String> {
        let Standing { state, process, alarm, .. } = &self.service.standing;
        let word = state.word();
        if state.is_live() && process.is_none() {
            return Err(format!("it wants to be {word} without a process"));
        }
        if !state.is_live() && process.is_some() {
            return Err(format!("it wants to be {word} while its process lives"));
        }
        let endless = match (state, what) {
            (State::Spawned | State::Running, Happening::WantDown | Happening::WantRestart)
                if self.was.is_live() =>
            {
                return Err("it refuses to stop".to_owned());
            }
            (State::Stopping { .. }, Happening::Elapsed) => !self.killed,
            (State::Stopping { .. }, _) => !self.was.is_stopping() && !self.killed,
            (State::Spawned, Happening::Started { .. }) => true,
            (State::Spawned, Happening::Elapsed) => self.was == State::Spawned,
            (State::Backoff, _) => true,
            _ => false,
        };
        if endless && alarm.is_none() {
            return Err(format!("it wants to be {word} for ever"));
        }
        Ok(())
    }

    /// What remains when nothing could be decided: the state that is true, and another try at
    /// whatever an alarm was for.
    pub fn despair(mut self, what: &Happening, why: &str) -> Self {
        if self.service.standing.state.is_live() && self.service.standing.process.is_none() {
            self.enter(State::Failed, format!("no decision could be made: {why}"));
        } else if matches!(what, Happening::Elapsed) {
            let again = Tick(self.now.0 + DESPAIR_MS);
            self.standing().alarm = Some(again);
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

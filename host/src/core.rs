//! The core: events in, effects out. It decides nothing itself, it asks the policy; and it does
//! nothing itself, it says what is to be done. It reads no clock, file or socket.
//!
//! One event is handled whole, with all that follows from it, before the next. A decision is made on
//! a draft of the service and counts only if every invariant holds for the draft; so a policy can be
//! silly, but it cannot lose a service.

mod boot;
mod fleet;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use nix::sys::signal::Signal;
use rhai::{Array, Dynamic};

pub use boot::Survivor;

use crate::action::Action;
use crate::desk::{Answer, Command, Reply};
use crate::draft::Draft;
use crate::event::{Event, Happening, Tick};
use crate::graph::{Graph, Id};
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::refusal::{Kind, Refusal};
use crate::spec::{Spec, Status};
use crate::state::{Service, Standing, State, Target};
use crate::view::{DependencyView, EventView, Seen, ServiceView};

/// What is to be done. The effects of one step end with its `Changed`.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start a process.
    Launch {
        /// Of which service.
        service: ServiceName,
        /// The name of the process in later events.
        incarnation: u64,
        /// What to run.
        spec: Rc<Spec>,
    },
    /// Deliver a signal to this process and its group.
    Signal {
        /// Of which service.
        service: ServiceName,
        /// Which process.
        incarnation: u64,
        /// Which signal.
        signal: Signal,
    },
    /// The exit of this process has been acted on.
    Acknowledge {
        /// Of which service.
        service: ServiceName,
        /// Which process.
        incarnation: u64,
    },
    /// Deliver `Elapsed` at this time, in place of the service's earlier alarm.
    Arm {
        /// To which service.
        service: ServiceName,
        /// When; `None` for never.
        at: Option<Tick>,
    },
    /// Show how the service stands. The next brain will find out by itself.
    Known(Rc<Service>),
    /// The service stands differently now: show it, and remember it for the next brain.
    Changed(Rc<Service>),
    /// The service is no more.
    Forgotten(ServiceName),
    /// Something went wrong that somebody should read.
    Complain(String),
    /// A shutdown was asked for: remember that for the next brain.
    Ending,
    /// Everything is down after a shutdown was asked for.
    Ended,
}

/// All services, and the policy that decides about them.
pub struct Core {
    policy: Policy,
    ids: HashMap<ServiceName, Id>,
    nodes: Vec<Node>,
    graph: Graph,
    queue: VecDeque<(Id, Happening)>,
    effects: Vec<Effect>,
    /// Services that are to stop as soon as their dependents are down.
    held: BTreeSet<Id>,
    /// Services that are yet to be started with the server.
    starting: VecDeque<Id>,
    live: usize,
    ending: bool,
}

/// What stands at a node of the graph.
struct Node {
    name: ServiceName,
    /// `None` when the name is only waited for.
    service: Option<Rc<Service>>,
}

impl Core {
    /// A core that knows no service yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            ids: HashMap::new(),
            nodes: Vec::new(),
            graph: Graph::default(),
            queue: VecDeque::new(),
            effects: Vec::new(),
            held: BTreeSet::new(),
            starting: VecDeque::new(),
            live: 0,
            ending: false,
        }
    }

    /// The scripts that decide.
    pub fn policy(&mut self) -> &mut Policy {
        &mut self.policy
    }

    /// Everything that is to be done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Rc<Service>> {
        self.nodes[self.ids.get(name)?.index()].service.as_ref()
    }

    /// The names of all services, in no order.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.nodes.iter().filter(|it| it.service.is_some()).map(|it| &it.name)
    }

    /// Handles one event and all that follows from it. An event of a process or service that is no
    /// more changes nothing.
    pub fn handle(&mut self, event: Event) {
        let Some(&id) = self.ids.get(&event.service) else { return };
        self.happen(event.now, id, event.what);
    }

    /// Does what somebody asked for.
    ///
    /// # Errors
    /// A refusal when there is no such service, when it has no process to signal, or when the
    /// server is stopping.
    pub fn obey(&mut self, now: Tick, command: Command) -> Answer {
        let starts = matches!(
            command,
            Command::Start { .. } | Command::Restart(_) | Command::Define(..) | Command::StartAll
        );
        if self.ending && starts {
            return Err(Refusal::new(Kind::ShuttingDown, "the server is stopping"));
        }
        match command {
            Command::Start { names, .. } => self.want(now, &names[0], Happening::WantUp)?,
            Command::Stop(names) => self.want(now, &names[0], Happening::WantDown)?,
            Command::Restart(names) => self.want(now, &names[0], Happening::WantRestart)?,
            Command::Delete(names) => {
                let id = self.find(&names[0])?;
                self.leave(now, &[id]);
            }
            Command::Reload(_) => {}
            Command::Kill(name, signal) => self.kill(&name, signal)?,
            Command::Define(name, spec) => self.define(now, name, *spec),
            Command::StartAll => self.start_all(now),
            Command::StopAll => self.stop_all(now),
            Command::DeleteAll => {
                let all = self.known();
                self.leave(now, &all);
            }
            Command::Shutdown => {
                self.ending = true;
                self.effects.push(Effect::Ending);
                self.stop_all(now);
                self.end_if_down();
            }
        }
        Ok(Reply::Done)
    }

    fn find(&self, name: &ServiceName) -> Result<Id, Refusal> {
        let known = self.ids.get(name).filter(|id| self.nodes[id.index()].service.is_some());
        known.copied().ok_or_else(|| {
            Refusal::unknown_service(name.as_str(), self.names().map(ServiceName::as_str))
        })
    }

    fn want(&mut self, now: Tick, name: &ServiceName, what: Happening) -> Result<(), Refusal> {
        let id = self.find(name)?;
        if self.at(id).leaving && what != Happening::WantDown {
            let refusal = Refusal::new(Kind::ServiceDown, format!("`{name}` is being deleted"));
            return Err(refusal.with("service", name.as_str()));
        }
        if what == Happening::WantDown {
            self.held.remove(&id);
        } else {
            self.keep_up(id);
        }
        self.happen(now, id, what);
        Ok(())
    }

    fn kill(&mut self, name: &ServiceName, signal: Signal) -> Result<(), Refusal> {
        let id = self.find(name)?;
        if self.at(id).process.is_none() {
            let refusal = Refusal::new(Kind::ServiceDown, format!("service `{name}` is down"));
            return Err(refusal.with("service", name.as_str()));
        }
        let incarnation = self.at(id).incarnation;
        self.effects.push(Effect::Signal { service: name.clone(), incarnation, signal });
        Ok(())
    }

    /// A new service, or a new configuration for one. The same configuration again changes nothing
    /// that runs, but starts what is down.
    fn define(&mut self, now: Tick, name: ServiceName, spec: Spec) {
        let before = self.service(name.as_str()).map(|it| Rc::clone(&it.spec));
        let same = before.as_ref().is_some_and(|it| **it == spec);
        let id = self.know(now, name, Rc::new(spec));
        if before.is_none() {
            self.show(id);
        }
        let starts = starts_by_itself(self.spec(id));
        let was_leaving = std::mem::take(&mut self.draw(id).standing.leaving);
        if starts {
            self.keep_up(id);
        }
        if same {
            let idle = matches!(self.at(id).state, State::Stopped | State::Failed | State::Backoff);
            let down = self.at(id).target == Target::Down;
            if starts && (idle || down || was_leaving) {
                self.happen(now, id, Happening::WantUp);
            }
            return;
        }
        if starts {
            self.draw(id).standing.target = Target::Up;
        }
        self.happen(now, id, Happening::Defined);
        // Those who wait for it have to learn that it exists, or waits for others now.
        self.reconsider(id);
        self.settle_queue(now);
    }

    fn is_known(&self, id: Id) -> bool {
        self.nodes[id.index()].service.is_some()
    }

    fn has_run(&self, id: Id) -> bool {
        self.is_known(id) && self.at(id).incarnation > 0
    }

    /// Gives a service its place, or its new configuration. Nothing happens to it by that.
    fn know(&mut self, now: Tick, name: ServiceName, spec: Rc<Spec>) -> Id {
        let id = self.place(&name);
        let after: Vec<Id> = spec.after.iter().map(|it| self.place(it)).collect();
        for dependency in &after {
            // Nobody has waited for it so far, so nobody has asked.
            let waited_for = !self.graph.dependents(*dependency).is_empty();
            if !waited_for && self.has_run(*dependency) {
                self.ask_satisfied(*dependency);
            }
        }
        self.graph.set_after(id, after);
        match &mut self.nodes[id.index()].service {
            Some(service) => Rc::make_mut(service).spec = spec,
            free => {
                let target = if starts_by_itself(&spec) { Target::Up } else { Target::Down };
                let standing = Standing::new(now, target);
                *free = Some(Rc::new(Service { name, spec, standing }));
            }
        }
        id
    }

    /// The node of that name, made if there is none.
    fn place(&mut self, name: &ServiceName) -> Id {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = self.graph.add();
        self.nodes.push(Node { name: name.clone(), service: None });
        self.ids.insert(name.clone(), id);
        id
    }

    fn draw(&mut self, id: Id) -> &mut Service {
        let service = self.nodes[id.index()].service.as_mut();
        Rc::make_mut(service.expect("only known services are looked up by id"))
    }

    fn at(&self, id: Id) -> &Standing {
        &self.known_service(id).standing
    }

    fn spec(&self, id: Id) -> &Spec {
        &self.known_service(id).spec
    }

    fn known_service(&self, id: Id) -> &Rc<Service> {
        let service = self.nodes[id.index()].service.as_ref();
        service.expect("only known services are looked up by id")
    }

    fn happen(&mut self, now: Tick, id: Id, what: Happening) {
        self.queue.push_back((id, what));
        self.settle_queue(now);
    }

    fn settle_queue(&mut self, now: Tick) {
        while let Some((id, what)) = self.queue.pop_front() {
            if self.is_known(id) {
                self.step(now, id, what);
            }
        }
    }

    /// One step of one service: prepare the draft, ask what to do, check it, make it so.
    fn step(&mut self, now: Tick, id: Id, what: Happening) {
        let Some(draft) = Draft::prepare(self.known_service(id), now, &what) else {
            if let Happening::Exited { incarnation, .. } = what {
                let service = self.nodes[id.index()].name.clone();
                self.effects.push(Effect::Acknowledge { service, incarnation });
            }
            return;
        };
        if matches!(what, Happening::Launched { .. }) {
            let service = draft.service();
            self.nodes[id.index()].service = Some(Rc::clone(&service));
            self.effects.push(Effect::Known(service));
            return;
        }
        let event = Event { service: self.nodes[id.index()].name.clone(), now, what };
        let view = self.view(id, &draft);
        let seen = EventView::new(event.clone(), draft.ran_ms());
        let answer = self.policy.ask("step", (view, seen), |said| {
            let mut next = draft.clone();
            next.follow(actions(said)?)?;
            next.check(&event.what)?;
            Ok(next)
        });
        self.effects.extend(answer.fault.map(Effect::Complain));
        let next = answer.said.unwrap_or_else(|error| {
            let what = event.what.kind();
            let name = &event.service;
            self.effects.push(Effect::Complain(format!(
                "cannot decide about `{what}` of `{name}`: {error}; please report this"
            )));
            draft.despair(&event.what, &error)
        });
        self.commit(now, id, next);
    }

    fn commit(&mut self, now: Tick, id: Id, draft: Draft) {
        let before = Rc::clone(self.known_service(id));
        let rearmed = draft.is_rearmed(&before.standing);
        let (service, effects) = draft.finish();
        self.live += usize::from(service.standing.process.is_some());
        self.live -= usize::from(before.standing.process.is_some());
        let state_changed = service.standing.state != before.standing.state;
        let died = before.standing.process.is_some() && service.standing.process.is_none();
        let changed = service.standing != before.standing;
        let freed = if died { self.graph.after(id).to_vec() } else { Vec::new() };
        self.nodes[id.index()].service = Some(Rc::new(service));
        self.effects.extend(effects);
        if rearmed {
            self.arm(id);
        }
        if state_changed {
            self.reconsider(id);
        }
        if self.at(id).leaving && self.at(id).process.is_none() && !self.at(id).state.is_live() {
            self.forget(id);
        } else if changed {
            self.show(id);
        }
        if died && !self.held.is_empty() {
            self.release(now, freed);
        }
        self.end_if_down();
    }

    fn end_if_down(&mut self) {
        if self.ending && self.live == 0 && self.held.is_empty() {
            self.effects.push(Effect::Ended);
        }
    }

    fn arm(&mut self, id: Id) {
        let at = self.at(id).alarm;
        let service = self.nodes[id.index()].name.clone();
        self.effects.push(Effect::Arm { service, at });
    }

    fn show(&mut self, id: Id) {
        let service = Rc::clone(self.known_service(id));
        self.effects.push(Effect::Changed(service));
    }

    fn forget(&mut self, id: Id) {
        self.graph.set_after(id, Vec::new());
        self.graph.set_satisfied(id, false);
        let node = &mut self.nodes[id.index()];
        node.service = None;
        let name = node.name.clone();
        self.effects.push(Effect::Arm { service: name.clone(), at: None });
        self.effects.push(Effect::Forgotten(name));
        let waiting = self.blocked_by(id);
        self.queue.extend(waiting.into_iter().map(|it| (it, Happening::Nudged)));
    }

    /// After a change of state: may those who wait for it go on? Told are those whose reason to
    /// wait this is, or was.
    fn reconsider(&mut self, id: Id) {
        if self.graph.dependents(id).is_empty() {
            return;
        }
        let before = self.blocked_by(id);
        self.ask_satisfied(id);
        let mut told: BTreeSet<Id> = before.into_iter().collect();
        told.extend(self.blocked_by(id));
        self.queue.extend(told.into_iter().map(|it| (it, Happening::Nudged)));
    }

    /// The blocked dependents of `id` that have no other reason to wait.
    fn blocked_by(&self, id: Id) -> Vec<Id> {
        let waits = |it: &Id| {
            let service = self.nodes[it.index()].service.as_ref();
            service.is_some_and(|it| it.standing.state == State::Blocked)
                && self.graph.obstacle(*it).is_none_or(|first| first == id)
        };
        self.graph.dependents(id).iter().copied().filter(waits).collect()
    }

    fn ask_satisfied(&mut self, id: Id) {
        if !self.is_known(id) {
            self.graph.set_satisfied(id, false);
            return;
        }
        let draft = Draft::of(self.known_service(id));
        let view = self.view(id, &draft);
        let answer = self.policy.ask("is_satisfied", (view,), |said| {
            said.as_bool().map_err(|kind| format!("it answered with {kind} instead of a bool"))
        });
        self.effects.extend(answer.fault.map(Effect::Complain));
        let satisfied = answer.said.unwrap_or(false);
        self.graph.set_satisfied(id, satisfied);
    }

    fn view(&mut self, id: Id, draft: &Draft) -> ServiceView {
        let unmet = self.graph.unmet(id);
        let obstacle = self.graph.obstacle(id).map(|it| {
            let node = &self.nodes[it.index()];
            let state = node.service.as_ref().map(|it| it.standing.state);
            DependencyView { name: node.name.clone(), state }
        });
        let way = if unmet > 0 { self.graph.cycle(id) } else { Vec::new() };
        let cycle = way.into_iter().map(|it| self.nodes[it.index()].name.clone()).collect();
        ServiceView::new(Seen { service: draft.service(), obstacle, unmet, cycle })
    }
}

/// Whether it is up without being asked for.
fn starts_by_itself(spec: &Spec) -> bool {
    spec.status == Status::Start && !spec.xinit.as_ref().is_some_and(|it| it.enabled)
}

/// What a decision said, as actions.
fn actions(said: Dynamic) -> Result<Vec<Action>, String> {
    let kind = said.type_name();
    let list = said.try_cast::<Array>().ok_or_else(|| format!("it answered with {kind}"))?;
    list.into_iter()
        .map(|it| {
            let kind = it.type_name();
            it.try_cast::<Action>().ok_or_else(|| format!("{kind} is no action"))
        })
        .collect()
}

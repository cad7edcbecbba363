//! The core: events in, effects out. It decides nothing itself, it asks the policy; and it does
//! nothing itself, it says what is to be done. It reads no clock, file or socket.
//!
//! One event is handled whole, with all that follows from it, before the next. A decision is made on
//! a draft of the service and counts only if every invariant holds for the draft; so a policy can be
//! silly, but it cannot lose a service.

mod boot;
mod demand;
mod ending;
mod fleet;
mod needs;
mod obey;
mod outputs;
mod policy;
mod questions;
mod reload;
mod sight;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

pub use boot::Survivor;
use demand::Doors;
pub(crate) use policy::one_refusal;
pub use questions::DERIVED;
pub(crate) use questions::ask_table;

use crate::draft::Draft;
pub use crate::effect::Effect;
use crate::ending::Ending;
use crate::event::{Event, Happening, Tick, Wall};
use crate::graph::{Facts, Graph, Id, Need};
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::spec::{Spec, Status};
use crate::state::{Held, Service, Standing, State, Target};

/// All services, and the policy that decides about them. A copy goes its own way from there, under the
/// same policy.
#[derive(Clone)]
pub struct Core {
    policy: Rc<RefCell<Policy>>,
    /// Since when it decides.
    policy_since: Wall,
    /// The wall clock at the event that is handled.
    wall: Wall,
    /// When that is.
    now: Tick,
    ids: HashMap<ServiceName, Id>,
    nodes: Vec<Node>,
    graph: Graph,
    /// What others say that a service needs: `before` and `conflicts`, by the service and who says so.
    asked_of: HashMap<Id, BTreeMap<Id, Need>>,
    queue: VecDeque<(Id, Happening)>,
    effects: Vec<Effect>,
    /// Services that wait until those that need them are down.
    held: BTreeSet<Id>,
    /// Services that are yet to be started with the server.
    starting: VecDeque<Id>,
    /// Services that were held, and go down next.
    released: VecDeque<Id>,
    /// Services that wait, and of whose groups another one is in another state.
    peers_told: BTreeSet<Id>,
    /// Who has clients that come on demand.
    doors: Doors,
    /// They are being taken down.
    letting_go: bool,
    live: usize,
    ending: Option<Ending>,
    /// The keeper will tell once more of the signal that asked for the end.
    is_repeated: bool,
    /// Whether the server is the first process of its world, which ends when its time is up.
    is_init: bool,
    /// Whether the keeper is the first process of the machine.
    is_machine: bool,
    /// The next free turn among services that failed.
    next_turn: Tick,
    /// What `service.chance` is drawn from; `None` for always the middle.
    dice: Option<u64>,
}

/// What stands at a node of the graph.
#[derive(Clone)]
struct Node {
    name: ServiceName,
    /// `None` when the name is only waited for.
    service: Option<Rc<Service>>,
}

impl Core {
    /// A core that knows no service yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy: Rc::new(RefCell::new(policy)),
            policy_since: Wall::default(),
            wall: Wall::default(),
            now: Tick(0),
            ids: HashMap::new(),
            nodes: Vec::new(),
            graph: Graph::default(),
            asked_of: HashMap::new(),
            queue: VecDeque::new(),
            effects: Vec::new(),
            held: BTreeSet::new(),
            starting: VecDeque::new(),
            released: VecDeque::new(),
            peers_told: BTreeSet::new(),
            doors: Doors::default(),
            letting_go: false,
            live: 0,
            ending: None,
            is_repeated: false,
            is_init: false,
            is_machine: false,
            next_turn: Tick(0),
            dice: None,
        }
    }

    /// Draws `service.chance` from this seed; the same seed draws the same.
    pub fn seed(&mut self, seed: u64) {
        self.dice = Some(seed);
    }

    /// The server is the first process of its world: a shutdown must be done in time.
    pub fn set_init(&mut self) {
        self.is_init = true;
    }

    /// Tells what the wall clock shows.
    pub fn set_wall(&mut self, wall: Wall) {
        self.wall = wall;
    }

    /// The scripts that decide.
    pub fn policy(&self) -> std::cell::Ref<'_, Policy> {
        self.policy.borrow()
    }

    /// Everything that is to be done since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Rc<Service>> {
        self.nodes[self.ids.get(name)?.index()].service.as_ref()
    }

    /// When the next turn among services that failed is free.
    pub fn next_turn(&self) -> Tick {
        self.next_turn
    }

    /// The names of all services, in no order.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.nodes.iter().filter(|it| it.service.is_some()).map(|it| &it.name)
    }

    /// Handles one event and all that follows from it. An event of a process or service that is no
    /// more changes nothing.
    pub fn handle(&mut self, event: Event) {
        let Some(&id) = self.ids.get(&event.service) else { return };
        self.now = event.now;
        self.happen(event.now, id, event.what);
    }

    fn find(&self, name: &ServiceName) -> Result<Id, Refusal> {
        let known = self.ids.get(name).filter(|id| self.nodes[id.index()].service.is_some());
        known.copied().ok_or_else(|| {
            Refusal::unknown_service(name.as_str(), self.names().map(ServiceName::as_str))
        })
    }

    fn find_all(&self, names: &[ServiceName]) -> Result<Vec<Id>, Refusal> {
        names.iter().map(|it| self.find(it)).collect()
    }

    /// A new service, or a new configuration for one. The same configuration again changes nothing
    /// that runs, but starts what is down.
    fn define(&mut self, now: Tick, name: ServiceName, spec: Spec) {
        let before = self.service(name.as_str()).map(|it| Rc::clone(&it.spec));
        let same = before.as_ref().is_some_and(|it| **it == spec);
        let restart = before.as_ref().is_none_or(|it| self.needs_restart(&name, it, &spec));
        let reader = self.reader_without_input(&name, &spec);
        let id = self.know(now, name, Rc::new(spec));
        if before.is_none() {
            self.show(id);
        }
        if let Some(reader) = reader {
            self.hold(now, &[reader], &Held::Renew);
        }
        let starts = starts_by_itself(self.spec(id));
        let was_leaving = std::mem::take(&mut self.draw(id).standing.leaving);
        if starts {
            self.keep_up(now, id);
        }
        if same {
            let idle = matches!(self.at(id).state, State::Stopped | State::Failed | State::Backoff);
            let down = self.at(id).target == Target::Down;
            if starts && (idle || down || was_leaving) {
                self.start(now, &[id], true);
            }
            return;
        }
        if starts {
            self.draw(id).standing.target = Target::Up;
            self.bring_up_needs(now, id, false);
        }
        if restart && self.at(id).process.is_some() {
            self.hold(now, &[id], &Held::Renew);
        } else {
            self.show(id);
            self.happen(now, id, Happening::Defined { restart });
        }
        // Those who wait for it have to learn that it exists, or waits for others now.
        if self.is_known(id) {
            self.reconsider(id);
            self.settle_queue(now);
        }
    }

    fn is_known(&self, id: Id) -> bool {
        self.nodes[id.index()].service.is_some()
    }

    /// Gives a service its place, or its new configuration. Nothing happens to it by that.
    fn know(&mut self, now: Tick, name: ServiceName, spec: Rc<Spec>) -> Id {
        let id = self.place(&name);
        if !spec.policy.is_empty() {
            self.policy.borrow_mut().expect(&spec);
            let known = self.nodes[id.index()].service.as_ref();
            if known.is_some_and(|it| it.spec != spec) {
                self.policy.borrow().forgive(&self.nodes[id.index()].name);
            }
        }
        let before = match &mut self.nodes[id.index()].service {
            Some(service) => {
                Some(std::mem::replace(&mut Rc::make_mut(service).spec, Rc::clone(&spec)))
            }
            free => {
                let target = if starts_by_itself(&spec) { Target::Up } else { Target::Down };
                let (spec, mut standing) = (Rc::clone(&spec), Standing::new(now, target));
                if Proxy::of(&name, &spec).is_some() {
                    standing.why = "it starts when somebody connects".into();
                }
                *free = Some(Rc::new(Service { name, spec, standing, waits_for: Vec::new() }));
                None
            }
        };
        self.ask_of_others(id, before.as_deref(), Some(&spec));
        self.connect(id);
        self.open_own_door(id);
        self.mind_the_door(id);
        if before.is_none() && !self.graph.dependents(id).is_empty() {
            self.ask_facts(id);
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
        let what = self.which_alarm(id, what);
        let Some(draft) = Draft::prepare(self.known_service(id), now, &what, self.next_turn) else {
            if let Happening::Exited { incarnation, .. } = what {
                let service = self.nodes[id.index()].name.clone();
                self.effects.push(Effect::Acknowledge { service, incarnation });
            }
            return;
        };
        if matches!(what, Happening::Launched { .. } | Happening::Said { .. }) {
            let service = draft.service();
            self.nodes[id.index()].service = Some(Rc::clone(&service));
            self.effects.push(Effect::Known(service));
            return;
        }
        let next = self.decide(now, id, draft, what);
        self.next_turn = next.next_turn();
        self.commit(now, id, next);
    }

    /// A service has one alarm outside, whichever of its own is first.
    fn which_alarm(&self, id: Id, what: Happening) -> Happening {
        match what {
            Happening::Elapsed => self.at(id).next().map_or(what, |(_, due)| due),
            other => other,
        }
    }

    fn commit(&mut self, now: Tick, id: Id, mut draft: Draft) {
        let before = Rc::clone(self.known_service(id));
        let rearmed = draft.is_rearmed(&before.standing);
        let ends_all = draft.ends_all() && !self.is_ending();
        let along = draft.along().filter(|_| !self.is_ending());
        let (service, mut effects) = draft.finish();
        self.connect_input(id, &mut effects);
        self.live += usize::from(service.standing.process.is_some());
        self.live -= usize::from(before.standing.process.is_some());
        let moved = service.standing.state != before.standing.state
            || service.standing.why != before.standing.why
            || service.standing.process.is_some() != before.standing.process.is_some();
        let blocked = service.standing.state == State::Blocked;
        let changed = service.standing != before.standing
            || blocked && self.waits_for(id) != before.waits_for;
        let free = moved && !self.held.is_empty();
        let freed = if free { self.needed_by(id) } else { Vec::new() };
        if ends_all {
            self.begin_ending(id, service.standing.last_exit.clone());
        }
        self.nodes[id.index()].service = Some(Rc::new(service));
        self.effects.extend(effects);
        if rearmed {
            self.arm(id);
        }
        if moved {
            self.mind_the_door(id);
            self.reconsider(id);
            self.tell_peers(id, before.standing.state);
        }
        if self.at(id).leaving && self.at(id).process.is_none() && !self.at(id).state.is_live() {
            self.forget(id);
        } else if changed {
            self.show(id);
        }
        self.release(now, freed);
        if let Some((names, how)) = along {
            self.take_along(now, id, &names, &how);
        }
        if ends_all {
            self.bring_down(now);
        } else {
            self.end_if_down();
        }
    }

    fn arm(&mut self, id: Id) {
        let at = self.at(id).next().map(|(at, _)| at);
        let service = self.nodes[id.index()].name.clone();
        self.effects.push(Effect::Arm { service, at });
    }

    fn show(&mut self, id: Id) {
        let blocked = self.at(id).state == State::Blocked;
        let waits_for = if blocked { self.waits_for(id) } else { Vec::new() };
        if self.known_service(id).waits_for != waits_for {
            self.draw(id).waits_for = waits_for;
        }
        let service = Rc::clone(self.known_service(id));
        self.effects.push(Effect::Changed(service));
    }

    fn forget(&mut self, id: Id) {
        let spec = Rc::clone(&self.known_service(id).spec);
        self.held.remove(&id);
        self.released.retain(|it| *it != id);
        let node = &mut self.nodes[id.index()];
        node.service = None;
        let name = node.name.clone();
        self.open_own_door(id);
        self.mind_the_door(id);
        let waiting = self.waiting_for(id);
        self.ask_of_others(id, Some(&spec), None);
        self.connect(id);
        self.graph.set_facts(id, Facts::ABSENT);
        self.effects.push(Effect::Arm { service: name.clone(), at: None });
        self.effects.push(Effect::Forgotten(name));
        self.nudge(waiting);
    }
}

/// Whether it is up without being asked for.
pub(crate) fn starts_by_itself(spec: &Spec) -> bool {
    spec.status == Status::Start && !spec.xinit.as_ref().is_some_and(|it| it.enabled)
}

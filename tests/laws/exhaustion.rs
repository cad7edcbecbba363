//! Every history of ten events of one service obeys the laws: never two processes of it, never a
//! refused stop, never a wait without an end, and never a question that the table does not answer.
//!
//! There are 9^10 such histories, 3.5 thousand million, and far fewer states that they lead to. So not
//! the histories are walked but the graph of the states, each once, and the histories are counted along
//! its edges.
//!
//! That is exact if two histories that lead to the same state have the same futures, as far as a law
//! can tell. A state here is everything that a later decision, or a law, depends on:
//!
//! - where the service stands, whether its process lives, and its alarm outside;
//! - times as they are from now: nothing asks what time it is, only how long something is ago or ahead.
//!   An alarm that is due is due, since when does not matter;
//! - without what only tells the user something and decides nothing under the bundled policy: how its
//!   processes ended before, how often it was started again, since when it is in its state, its process
//!   id. The name of a process (its incarnation) and of its program count only as far as they are the
//!   latest: every event of a history names the latest, and every new program is another one.
//!
//! [`states_that_count_as_one_have_the_same_futures`] does not take this on trust.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

use zinit_host::core::{Core, Effect};
use zinit_host::desk::Command;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::{Restart, Spec};
use zinit_host::state::{Standing, State};
use zinit_keeper::wire::Exit;

/// How many events long the histories are.
const LENGTH: usize = 10;

#[derive(Clone, Copy, Debug)]
enum Move {
    Up,
    Down,
    Restart,
    Redefine,
    Started,
    ExitGood,
    ExitBad,
    ExecFails,
    Elapse,
}

const MOVES: [Move; 9] = [
    Move::Up,
    Move::Down,
    Move::Restart,
    Move::Redefine,
    Move::Started,
    Move::ExitGood,
    Move::ExitBad,
    Move::ExecFails,
    Move::Elapse,
];

/// One service after one history.
#[derive(Clone)]
struct Life {
    core: Core,
    name: ServiceName,
    now: i64,
    live: bool,
    alarm: Option<i64>,
}

/// How a history got where it is, to be told when a law is broken.
type Trail<'a> = &'a dyn Fn() -> Vec<Move>;

impl Life {
    fn begin(spec: Spec) -> Self {
        let name = ServiceName::parse("it").expect("it is a name");
        let core = Core::new(Policy::bundled());
        let mut life = Self { core, name, now: 0, live: false, alarm: None };
        life.obey(Command::Define(life.name.clone(), Box::new(spec)));
        life.watch(Move::Up, &Vec::new);
        life
    }

    fn go(&mut self, step: Move, trail: Trail<'_>) {
        self.now += 300;
        let incarnation = self.standing().incarnation;
        let exited = |exit| Happening::Exited { incarnation, exit };
        match step {
            Move::Up => self.obey(Command::Start { names: vec![self.name.clone()], deps: true }),
            Move::Down => self.obey(Command::Stop(vec![self.name.clone()])),
            Move::Restart => self.obey(Command::Restart(vec![self.name.clone()])),
            Move::Redefine => {
                let service = self.core.service(self.name.as_str()).expect("it is known");
                let mut spec = (*service.spec).clone();
                spec.exec = format!("program {}", self.now);
                self.obey(Command::Define(self.name.clone(), Box::new(spec)));
            }
            Move::Started => self.happen(Happening::Started { incarnation }),
            Move::ExitGood => self.end(exited(Exit::Code(0))),
            Move::ExitBad => self.end(exited(Exit::Signal { signal: 9, core: false })),
            Move::ExecFails => self.end(exited(Exit::Launch { step: "exec".into(), errno: 2 })),
            Move::Elapse => {
                if let Some(at) = self.alarm.take() {
                    self.now = self.now.max(at);
                    self.happen(Happening::Elapsed);
                }
            }
        }
        self.watch(step, trail);
    }

    fn standing(&self) -> &Standing {
        &self.core.service(self.name.as_str()).expect("it is known").standing
    }

    /// All that the future depends on.
    fn state(&self) -> String {
        let ahead = |at: Tick| Tick((at.0 - self.now).max(0));
        let mut it = self.standing().clone();
        for at in [&mut it.alarm, &mut it.check_at, &mut it.timeout_at, &mut it.turn] {
            *at = at.map(ahead);
        }
        (it.since, it.incarnation, it.restarts) = (Tick(0), 0, 0);
        (it.last_exit, it.exits) = (None, Vec::new());
        if let Some(process) = &mut it.process {
            let ago = |at: Tick| Tick(at.0 - self.now);
            (process.pid, process.born) = (0, Tick(0));
            (process.up, process.well) = (process.up.map(ago), process.well.map(ago));
            process.died = process.died.map(ago);
        }
        let alarm = self.alarm.map(|at| ahead(Tick(at)).0);
        let next_turn = ahead(self.core.next_turn());
        let standing = serde_json::to_string(&it).expect("a standing can be written");
        format!("{standing} {} {alarm:?} {}", self.live, next_turn.0)
    }

    fn end(&mut self, what: Happening) {
        if self.live {
            self.live = false;
            self.happen(what);
        }
    }

    fn happen(&mut self, what: Happening) {
        self.core.handle(Event { service: self.name.clone(), now: Tick(self.now), what });
    }

    fn obey(&mut self, command: Command) {
        self.core.obey(Tick(self.now), command).expect("nothing here is refused");
    }

    fn watch(&mut self, step: Move, trail: Trail<'_>) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Launch { .. } => {
                    assert!(!self.live, "two live processes after {:?}", trail());
                    self.live = true;
                }
                Effect::Signal { .. } => assert!(self.live, "a stranger after {:?}", trail()),
                Effect::Arm { at, .. } => self.alarm = at.map(|it| it.0),
                Effect::Complain(sentence) => panic!("{sentence} after {:?}", trail()),
                _ => {}
            }
        }
        let state = self.standing().state;
        assert_eq!(state.is_live(), self.live, "{state:?} after {:?}", trail());
        let waits = matches!(state, State::Backoff);
        assert!(!waits || self.alarm.is_some(), "{state:?} for ever after {:?}", trail());
        let stopped = !self.live || matches!(state, State::Stopping { .. });
        assert!(!matches!(step, Move::Down) || stopped, "refused stop after {:?}", trail());
    }

    /// Whatever came before, a service that is deleted is forgotten when its process has ended.
    fn leave(mut self, trail: Trail<'_>) {
        let incarnation = self.standing().incarnation;
        self.obey(Command::Delete(vec![self.name.clone()]));
        if self.live {
            self.happen(Happening::Exited { incarnation, exit: Exit::Code(0) });
        }
        assert!(self.core.service(self.name.as_str()).is_none(), "kept after {:?}", trail());
    }
}

/// The graph of the states that are so many moves away, at most.
struct Graph {
    lives: Vec<Life>,
    /// How each was found: from which one, and by which move.
    from: Vec<(usize, Move)>,
    /// Where each move leads from each.
    next: Vec<[usize; MOVES.len()]>,
    ids: HashMap<String, usize>,
    /// Histories that led to a state that another one had led to before.
    again: Vec<(usize, Life)>,
}

impl Graph {
    fn of(spec: Spec, length: usize, keeps_again: bool) -> Self {
        let life = Life::begin(spec);
        let ids = HashMap::from([(life.state(), 0)]);
        let from = vec![(0, Move::Up)];
        let mut graph = Self { lives: vec![life], from, next: Vec::new(), ids, again: Vec::new() };
        for _ in 0..length {
            for id in graph.next.len()..graph.lives.len() {
                let row = MOVES.map(|step| graph.follow(id, step, keeps_again));
                graph.next.push(row);
            }
        }
        graph
    }

    /// Where a move leads.
    fn follow(&mut self, id: usize, step: Move, keeps_again: bool) -> usize {
        let mut life = self.lives[id].clone();
        life.go(step, &|| self.trail(id, Some(step)));
        let new = self.lives.len();
        match self.ids.entry(life.state()) {
            Entry::Occupied(known) => {
                let known = *known.get();
                if keeps_again {
                    self.again.push((known, life));
                }
                known
            }
            Entry::Vacant(free) => {
                free.insert(new);
                self.lives.push(life);
                self.from.push((id, step));
                new
            }
        }
    }

    /// A shortest history that leads to a state.
    fn trail(&self, mut id: usize, last: Option<Move>) -> Vec<Move> {
        let mut trail: Vec<Move> = last.into_iter().collect();
        while id != 0 {
            let (from, step) = self.from[id];
            trail.push(step);
            id = from;
        }
        trail.reverse();
        trail
    }

    /// How many histories of that length there are in it.
    fn histories(&self, length: usize) -> u64 {
        let mut counts = vec![0_u64; self.lives.len()];
        counts[0] = 1;
        for _ in 0..length {
            let mut longer = vec![0; counts.len()];
            for (id, count) in counts.iter().enumerate().filter(|(_, it)| **it > 0) {
                for to in self.next[id] {
                    longer[to] += count;
                }
            }
            counts = longer;
        }
        counts.iter().sum()
    }
}

fn spec(oneshot: bool, restart: Restart) -> Spec {
    Spec { oneshot, restart, ..Spec::of_exec("program") }
}

#[expect(clippy::disallowed_methods, reason = "it is to be quick, and that is shown")]
fn walk(oneshot: bool, restart: Restart) {
    let begun = Instant::now();
    let graph = Graph::of(spec(oneshot, restart), LENGTH, false);
    for (id, life) in graph.lives.iter().enumerate() {
        life.clone().leave(&|| graph.trail(id, None));
    }
    let (histories, states) = (graph.histories(LENGTH), graph.lives.len());
    let all = (MOVES.len() as u64).pow(u32::try_from(LENGTH).expect("it is ten"));
    assert_eq!(histories, all);
    let what = if oneshot { "oneshot" } else { "service" };
    let took = begun.elapsed().as_millis();
    println!(
        "{what}, restart {}: {histories} histories, {states} states, {took} ms",
        restart.word()
    );
}

#[test]
fn every_history_of_a_service_obeys_the_laws() {
    for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
        walk(false, restart);
    }
}

#[test]
fn every_history_of_a_oneshot_obeys_the_laws() {
    for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
        walk(true, restart);
    }
}

/// What counts as one state is one: from every history that led to a state again, each move leads to
/// where it leads from the first.
#[test]
fn states_that_count_as_one_have_the_same_futures() {
    const LENGTH: usize = 5;
    let restarts = [Restart::Always, Restart::OnFailure, Restart::Never];
    for (oneshot, restart) in [false, true].into_iter().flat_map(|it| restarts.map(|to| (it, to))) {
        let graph = Graph::of(spec(oneshot, restart), LENGTH, true);
        let mut count = 0;
        for (id, life) in graph.again.iter().filter(|(id, _)| *id < graph.next.len()) {
            for (step, to) in MOVES.iter().zip(graph.next[*id]) {
                let mut life = life.clone();
                life.go(*step, &|| graph.trail(*id, Some(*step)));
                let (one, other) = (life.state(), graph.lives[to].state());
                assert_eq!(one, other, "after {:?}", graph.trail(*id, Some(*step)));
                count += 1;
            }
        }
        assert!(count > 1_000, "only {count} were compared");
    }
}

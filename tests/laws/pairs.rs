//! Every short history of two services of which one needs the other ends where it should: nobody waits
//! for what has happened already, and nothing that goes down is held up for ever.

use std::collections::{BTreeMap, VecDeque};

use nix::sys::signal::Signal;
use zinit_host::core::{Core, Effect};
use zinit_host::desk::Command;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::Spec;
use zinit_host::state::{State, Target};
use zinit_keeper::wire::Exit;

/// How many moves long the histories are.
const LENGTH: u32 = 4;

/// How the second needs the first.
#[derive(Clone, Copy, Debug)]
enum Tie {
    After,
    Requires,
    Wants,
    Conflicts,
    /// They are a group of which all restart when one ends.
    Group,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Up(usize),
    Down(usize),
    Restart(usize),
    Crash(usize),
    Renew(usize),
    StopAll,
    /// Whatever is due happens.
    Elapse,
    /// Processes that were told to end do so.
    End,
}

fn moves() -> Vec<Move> {
    let each =
        |it| [Move::Up(it), Move::Down(it), Move::Restart(it), Move::Crash(it), Move::Renew(it)];
    [each(0), each(1)]
        .concat()
        .into_iter()
        .chain([Move::StopAll, Move::Elapse, Move::End])
        .collect()
}

struct World<'a> {
    core: &'a mut Core,
    names: [ServiceName; 2],
    tie: Tie,
    now: i64,
    /// Incarnations that live, and those that were told to end.
    live: BTreeMap<ServiceName, u64>,
    told: VecDeque<(ServiceName, u64)>,
    alarms: BTreeMap<ServiceName, i64>,
    soon: VecDeque<(ServiceName, Happening)>,
    past: Vec<Move>,
}

impl World<'_> {
    fn spec(&self, which: usize, exec: &str) -> Spec {
        let (mut spec, first) = (Spec::of_exec(exec), vec![self.names[0].clone()]);
        match (which, self.tie) {
            (_, Tie::Group) => {
                spec.groups = vec!["both".to_owned()];
                spec.labels.insert("intensity".to_owned(), "100".to_owned());
                spec.policy.insert("*".to_owned(), "one_for_all".to_owned());
            }
            (0, _) => {}
            (_, Tie::After) => spec.after = first,
            (_, Tie::Requires) => spec.requires = first,
            (_, Tie::Wants) => spec.wants = first,
            (_, Tie::Conflicts) => spec.conflicts = first,
        }
        spec
    }

    fn begin(&mut self) {
        for which in [0, 1] {
            let define =
                Command::Define(self.names[which].clone(), Box::new(self.spec(which, "a")));
            self.obey(define);
        }
    }

    fn go(&mut self, step: Move) {
        self.past.push(step);
        self.now += 100;
        let name = |it: usize| vec![self.names[it].clone()];
        match step {
            Move::Up(it) => self.obey(Command::Start { names: name(it), deps: true }),
            Move::Down(it) => self.obey(Command::Stop(name(it))),
            Move::Restart(it) => self.obey(Command::Restart(name(it))),
            Move::StopAll => self.obey(Command::StopAll),
            Move::Renew(it) => {
                let spec = self.spec(it, &format!("b{}", self.now));
                self.obey(Command::Define(self.names[it].clone(), Box::new(spec)));
            }
            Move::Crash(it) => {
                let name = self.names[it].clone();
                if let Some(incarnation) = self.live.get(&name).copied() {
                    self.exit(name, incarnation);
                    self.follow();
                }
            }
            Move::Elapse => self.elapse(),
            Move::End => self.end(),
        }
    }

    fn obey(&mut self, command: Command) {
        self.core.obey(Tick(self.now), command).expect("nothing here is refused");
        self.follow();
    }

    fn exit(&mut self, name: ServiceName, incarnation: u64) {
        if self.live.get(&name) == Some(&incarnation) {
            self.live.remove(&name);
            self.soon.push_back((name, Happening::Exited { incarnation, exit: Exit::Code(1) }));
        }
    }

    fn end(&mut self) {
        while let Some((name, incarnation)) = self.told.pop_front() {
            self.exit(name, incarnation);
            self.follow();
        }
    }

    fn elapse(&mut self) {
        let next = self.alarms.iter().min_by_key(|(_, at)| **at).map(|(it, at)| (it.clone(), *at));
        if let Some((name, at)) = next {
            self.alarms.remove(&name);
            self.now = self.now.max(at);
            self.soon.push_back((name, Happening::Elapsed));
            self.follow();
        }
    }

    /// Does what was decided, and what comes of it at once.
    fn follow(&mut self) {
        loop {
            for effect in self.core.take_effects() {
                self.perform(effect);
            }
            let Some((service, what)) = self.soon.pop_front() else {
                if self.core.go_on(Tick(self.now)) {
                    continue;
                }
                return;
            };
            self.core.handle(Event { service, now: Tick(self.now), what });
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { service, incarnation, .. } => {
                let name = service.name.clone();
                let before = self.live.insert(name.clone(), incarnation);
                assert_eq!(before, None, "two of {name} live after {:?}", self.past);
                self.soon.push_back((name, Happening::Started { incarnation }));
            }
            Effect::Signal { service, incarnation, signal } => {
                self.told.push_back((service.clone(), incarnation));
                if signal == Signal::SIGKILL {
                    self.exit(service, incarnation);
                }
            }
            Effect::Arm { service, at: Some(at) } => {
                self.alarms.insert(service, at.0);
            }
            Effect::Arm { service, at: None } => {
                self.alarms.remove(&service);
            }
            Effect::Complain(sentence) => panic!("{sentence} after {:?}", self.past),
            _ => {}
        }
    }

    /// Deletes both, so that the next history begins with nothing.
    fn leave(&mut self) {
        self.obey(Command::DeleteAll);
        for _ in 0..4 {
            self.end();
            self.elapse();
        }
        assert_eq!(self.core.names().count(), 0, "kept after {:?}", self.past);
    }

    /// Lets everything happen that will, and looks whether all is as it should be.
    fn settle(&mut self) {
        while !self.told.is_empty() || !self.alarms.is_empty() {
            self.end();
            self.elapse();
        }
        let at = |which: usize| {
            let service = self.core.service(self.names[which].as_str()).expect("it is known");
            (service.standing.target, service.standing.state, service.standing.held.clone())
        };
        let (first, second) = (at(0), at(1));
        let told = format!("{:?}: {first:?} {second:?} after {:?}", self.tie, self.past);
        assert!(first.2.is_none() && second.2.is_none(), "held: {told}");
        let rival = matches!(self.tie, Tie::Conflicts);
        let both_wanted = first.0 == Target::Up && second.0 == Target::Up;
        if rival && both_wanted {
            let states = [first.1, second.1];
            assert!(states.contains(&State::Running) && states.contains(&State::Blocked), "{told}");
            return;
        }
        let should = |target: Target, free: bool| match target {
            Target::Down => State::Stopped,
            Target::Up if free => State::Running,
            Target::Up => State::Blocked,
        };
        assert_eq!(first.1, should(first.0, true), "{told}");
        // Who was up already stays so when what it only comes after goes away.
        let tied = matches!(self.tie, Tie::After | Tie::Requires) && first.0 == Target::Down;
        let stays = matches!(self.tie, Tie::After) && second.1 == State::Running;
        assert_eq!(second.1, should(second.0, !tied || stays), "{told}");
    }
}

fn walk(tie: Tie) {
    let moves = moves();
    let base = u32::try_from(moves.len()).expect("a few");
    // Making an engine takes longer than all of a history.
    let core = &mut Core::new(Policy::bundled());
    for history in 0..base.pow(LENGTH) {
        let names = ["first", "second"].map(|it| ServiceName::parse(it).expect("it is a name"));
        let mut world = World {
            core,
            names,
            tie,
            now: 0,
            live: BTreeMap::new(),
            told: VecDeque::new(),
            alarms: BTreeMap::new(),
            soon: VecDeque::new(),
            past: Vec::new(),
        };
        world.begin();
        let mut rest = history;
        for _ in 0..LENGTH {
            world.go(moves[(rest % base) as usize]);
            rest /= base;
        }
        world.settle();
        world.leave();
    }
}

#[test]
fn every_history_of_one_that_comes_after_another_ends_well() {
    walk(Tie::After);
}

#[test]
fn every_history_of_one_that_requires_another_ends_well() {
    walk(Tie::Requires);
}

#[test]
fn every_history_of_one_that_wants_another_ends_well() {
    walk(Tie::Wants);
}

#[test]
fn every_history_of_two_rivals_ends_well() {
    walk(Tie::Conflicts);
}

#[test]
fn every_history_of_two_that_restart_together_ends_well() {
    walk(Tie::Group);
}

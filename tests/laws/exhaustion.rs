//! Every short history of a small world obeys the laws: never two processes of a service, never a
//! refused stop, never a wait without an end, and never a question that the table does not answer.

use zinit_host::core::{Core, Effect};
use zinit_host::desk::Command;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::Spec;
use zinit_host::state::State;
use zinit_keeper::wire::Exit;

/// How many events long the histories are.
const LENGTH: u32 = 5;

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

/// One service in one history.
struct Life<'a> {
    core: &'a mut Core,
    name: ServiceName,
    now: i64,
    live: bool,
    alarm: Option<i64>,
    past: Vec<Move>,
    oneshot: bool,
}

impl Life<'_> {
    fn go(&mut self, step: Move) {
        self.past.push(step);
        self.now += 300;
        let incarnation = self.standing_incarnation();
        let exited = |exit| Happening::Exited { incarnation, exit };
        match step {
            Move::Up => self.obey(Command::Start { names: vec![self.name.clone()], deps: true }),
            Move::Down => self.obey(Command::Stop(vec![self.name.clone()])),
            Move::Restart => self.obey(Command::Restart(vec![self.name.clone()])),
            Move::Redefine => {
                let mut spec = self.spec();
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
        self.watch(step);
    }

    fn spec(&self) -> Spec {
        let mut spec = Spec::of_exec("program");
        spec.oneshot = self.oneshot;
        spec
    }

    fn standing_incarnation(&self) -> u64 {
        self.core.service(self.name.as_str()).map_or(0, |it| it.standing.incarnation)
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

    fn watch(&mut self, step: Move) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Launch { .. } => {
                    assert!(!self.live, "two live processes after {:?}", self.past);
                    self.live = true;
                }
                Effect::Signal { .. } => assert!(self.live, "a stranger after {:?}", self.past),
                Effect::Arm { at, .. } => self.alarm = at.map(|it| it.0),
                Effect::Complain(sentence) => panic!("{sentence} after {:?}", self.past),
                _ => {}
            }
        }
        let service = self.core.service(self.name.as_str()).expect("it is known");
        let state = service.standing.state;
        assert_eq!(state.is_live(), self.live, "{state:?} after {:?}", self.past);
        let waits = matches!(state, State::Backoff);
        assert!(!waits || self.alarm.is_some(), "{state:?} for ever after {:?}", self.past);
        let stopped = !self.live || matches!(state, State::Stopping { .. });
        assert!(!matches!(step, Move::Down) || stopped, "refused stop after {:?}", self.past);
    }
}

/// Every history of `LENGTH` moves, as numbers in base `MOVES`.
fn walk(oneshot: bool) {
    let mut core = Core::new(Policy::bundled());
    let base = u32::try_from(MOVES.len()).expect("a few");
    for history in 0..base.pow(LENGTH) {
        let name = ServiceName::parse("it").expect("it is a name");
        let past = Vec::new();
        let life =
            &mut Life { core: &mut core, name, now: 0, live: false, alarm: None, past, oneshot };
        life.obey(Command::Define(life.name.clone(), Box::new(life.spec())));
        life.watch(Move::Up);
        let mut rest = history;
        for _ in 0..LENGTH {
            life.go(MOVES[(rest % base) as usize]);
            rest /= base;
        }
        life.obey(Command::Delete(vec![life.name.clone()]));
        life.watch_end();
    }
}

impl Life<'_> {
    /// Lets a deleted service end, so that the next history begins with nothing.
    fn watch_end(&mut self) {
        let incarnation = self.standing_incarnation();
        self.happen(Happening::Exited { incarnation, exit: Exit::Code(0) });
        self.core.take_effects();
        assert!(self.core.service(self.name.as_str()).is_none(), "kept after {:?}", self.past);
    }
}

#[test]
fn every_history_of_a_service_obeys_the_laws() {
    walk(false);
}

#[test]
fn every_history_of_a_oneshot_obeys_the_laws() {
    walk(true);
}

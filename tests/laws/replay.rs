//! Laws of the replay: what was decided is decided again, whatever the policy did; and another policy
//! differs where it says something else, and nowhere else.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use zinit_host::action::Action;
use zinit_host::core::{Core, Effect};
use zinit_host::decision::{Decision, Question};
use zinit_host::desk::{Command, Decree};
use zinit_host::engine::on_deep_stack;
use zinit_host::event::{Event, Happening, Task, Tick, Wall};
use zinit_host::journal::Recorder;
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::replay::{Redone, Replay, Span};
use zinit_host::spec::Spec;
use zinit_host::state::State;
use zinit_keeper::wire::{Exit, Then};

/// How many worlds are looked at under each policy.
const WORLDS: u64 = 6;

/// How much happens in each.
const MOVES: u64 = 120;

/// Policies that answer, fault, waste, and look around.
const POLICIES: [&str; 9] = [
    "",
    "fn restart_delay(service, attempt) { 100 * attempt + service.chance }",
    "fn restart_delay(service, attempt) { if attempt > 1 { throw \"no\" } 50 }",
    "fn restart_delay(service, attempt) { loop { } }",
    "fn is_failure(service, exit) { \"perhaps\" }",
    "fn gives_up(service, attempt) { service.exits.len() > 2 && service.time.second % 2 == 0 }",
    "fn may_start(service) { if service.chance < 300 { wait(40, \"the dice\") } else { true } }",
    "fn is_settled(service) { [true][3] }
     fn restart_delay(service, attempt) { service.dependents.len() * 10 + 5 }",
    "fn stop_steps(service) { [#{ signal: \"SIGINT\", wait_ms: 10 }, #{ signal: \"SIGKILL\", wait_ms: 10 }] }
     fn start_order(names) { names.reverse(); names }
     fn mine(service, attempt) { if service.name == \"s1\" { throw \"mine\" } 5 }",
];

/// A row of numbers that each seed begins elsewhere (xorshift).
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << shift } else { self.0 >> shift };
        }
        self.0 % limit
    }

    fn spec(&mut self, me: u64, names_own: bool) -> Spec {
        let mut yaml = "exec: program\nshutdown_timeout: 200ms\n".to_owned();
        for (key, rarity) in [("after", 3), ("requires", 4), ("wants", 4)] {
            if me > 0 && self.below(rarity) == 0 {
                yaml += &format!("{key}: [s{}]\n", self.below(me));
            }
        }
        for (line, rarity) in [
            ("oneshot: true", 6),
            ("max_restarts: 3", 4),
            ("groups: [some]", 2),
            ("essential: true", 6),
            ("health: { test_tcp: 'db:1', period: 300ms }", 4),
        ] {
            if self.below(rarity) == 0 {
                yaml += &format!("{line}\n");
            }
        }
        if names_own && self.below(2) == 0 {
            yaml += "policy: { restart_delay: mine }\n";
        }
        Spec::from_yaml(&yaml, Path::new("s.yaml")).unwrap_or_else(|it| panic!("{it}\n{yaml}"))
    }
}

/// A few services in virtual time, and what a journal has of them.
struct World {
    core: Core,
    dice: Dice,
    now: i64,
    live: BTreeMap<ServiceName, u64>,
    alarms: BTreeMap<ServiceName, Tick>,
    soon: VecDeque<(ServiceName, Happening)>,
    recorder: Recorder,
    /// Each can be read without the others.
    segments: Vec<Vec<u8>>,
    decisions: Vec<Decision>,
    names_own: bool,
}

fn name(it: u64) -> ServiceName {
    ServiceName::parse(&format!("s{it}")).expect("it is a name")
}

fn files(text: &str) -> Vec<(PathBuf, String)> {
    let file = ("/cfg/policy.rhai".into(), text.to_owned());
    if text.is_empty() { Vec::new() } else { vec![file] }
}

impl World {
    fn new(seed: u64, policy: &str) -> Self {
        let mut core = Core::new(Policy::bundled());
        core.seed(seed);
        core.load_policy(&files(policy)).unwrap_or_else(|no| panic!("{policy}: {no:?}"));
        let mut world = Self {
            core,
            dice: Dice::of(seed),
            now: 1_000_000,
            live: BTreeMap::new(),
            alarms: BTreeMap::new(),
            soon: VecDeque::new(),
            recorder: Recorder::default(),
            segments: Vec::new(),
            decisions: Vec::new(),
            names_own: policy.contains("fn mine("),
        };
        let names_own = world.names_own;
        let found = (0..4).map(|it| (name(it), world.dice.spec(it, names_own), None)).collect();
        world.core.boot(Tick(world.now), found);
        while world.core.go_on(Tick(world.now)) {}
        world.settle();
        world
    }

    fn go_on(&mut self, moves: u64) {
        for _ in 0..moves {
            self.now += i64::try_from(self.dice.below(400)).expect("it is small");
            self.core.set_wall(Wall { unix_ms: 1_795_000_000_000 + self.now, offset_s: 3_600 });
            let it = self.dice.below(4);
            match self.dice.below(12) {
                0 => self.obey(Command::Stop(vec![name(it)])),
                1 => self.obey(Command::Start { names: vec![name(it)], deps: true }),
                2 => self.obey(Command::Restart(vec![name(it)])),
                3 => {
                    let spec = self.dice.spec(it, self.names_own);
                    self.obey(Command::Define(name(it), Box::new(spec)));
                }
                4 => self.obey(Command::StartAll),
                5..=8 => self.end(it),
                _ => self.ring(),
            }
            self.settle();
        }
    }

    fn obey(&mut self, command: Command) {
        // What is refused changes nothing.
        let answer = self.core.obey(Tick(self.now), command.clone());
        self.recorder.asked(self.now, &command, &answer);
    }

    fn end(&mut self, it: u64) {
        let exit = if self.dice.below(4) == 0 { Exit::Code(0) } else { Exit::Code(1) };
        if let Some(incarnation) = self.live.remove(&name(it)) {
            self.soon.push_back((name(it), Happening::Exited { incarnation, exit }));
        }
    }

    fn ring(&mut self) {
        let next = self.alarms.iter().min_by_key(|(_, at)| **at);
        if let Some((service, at)) = next.map(|(it, at)| (it.clone(), *at)) {
            self.alarms.remove(&service);
            self.now = self.now.max(at.0);
            self.soon.push_back((service, Happening::Elapsed));
        }
    }

    fn settle(&mut self) {
        loop {
            for effect in self.core.take_effects() {
                self.perform(effect);
            }
            let Some((service, what)) = self.soon.pop_front() else { break };
            self.core.handle(Event { service, now: Tick(self.now), what });
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { service, incarnation, .. } => {
                self.live.insert(service.name.clone(), incarnation);
                self.soon.push_back((service.name.clone(), Happening::Started { incarnation }));
            }
            Effect::Signal { service, signal, .. } => {
                let deaf = signal != Signal::SIGKILL && self.dice.below(2) == 0;
                if let Some(incarnation) = self.live.remove(&service).filter(|_| !deaf) {
                    let exit = Exit::Signal { signal: signal as i32, core: false };
                    self.soon.push_back((service, Happening::Exited { incarnation, exit }));
                } else if deaf && let Some(it) = self.core.service(service.as_str()) {
                    self.live.insert(service, it.standing.incarnation);
                }
            }
            Effect::Check { service } => {
                let incarnation = service.standing.incarnation;
                let failure = (self.dice.below(3) == 0).then(|| "refused".to_owned());
                let what = Happening::Checked { incarnation, failure };
                self.soon.push_back((service.name.clone(), what));
            }
            Effect::Run { service, .. } => {
                let what = Happening::Ran { task: Task::Stop, exit: Exit::Code(0) };
                self.soon.push_back((service.name.clone(), what));
            }
            Effect::Arm { service, at: Some(at) } => drop(self.alarms.insert(service, at)),
            Effect::Arm { service, at: None } => drop(self.alarms.remove(&service)),
            Effect::Decided(decision) => {
                self.recorder.decided(self.now, &decision);
                self.decisions.push(*decision);
            }
            Effect::DecidedBy(sources) => self.recorder.decided_by(self.now, &sources),
            Effect::Faulted(service, fault) => {
                self.recorder.faulted(self.now, service.as_ref(), &fault);
            }
            Effect::Complain(it) => assert!(it.ends_with("with it ends everything"), "{it}"),
            _ => {}
        }
    }

    /// What comes next stands in another segment.
    fn turn_the_page(&mut self) {
        self.segments.push(self.recorder.take().0);
        self.recorder.begin_anew();
    }

    fn journal(mut self) -> (Vec<Vec<u8>>, Vec<Decision>) {
        self.turn_the_page();
        (self.segments, self.decisions)
    }
}

/// Everything that a journal records, asked again.
fn replay(journal: &[u8], policy: Option<&str>) -> Vec<Redone> {
    let files = policy.map(files);
    let mut replay = Replay::new(files.as_deref(), Span::default()).expect("it is a policy");
    let lines = journal.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    let redone = lines.filter_map(|it| replay.line(it).expect("the policy is one")).collect();
    assert_eq!((replay.unread(), replay.missing), (0, 0));
    redone
}

fn assert_same(redone: &[Redone], what: &str) {
    for it in redone {
        assert!(!it.differs(), "{what}: {it:#?}");
        let clear = |all: &[zinit_host::decision::Fault]| format!("{all:?}");
        assert_eq!(clear(&it.faults), clear(&it.decision.faults), "{what}: {it:#?}");
    }
}

fn on_deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    on_deep_stack(work).unwrap_or_else(|it| std::panic::resume_unwind(it))
}

#[test]
fn under_the_policy_that_was_in_force_a_replay_differs_nowhere() {
    on_deep(|| {
        let mut faults = 0;
        for (index, policy) in POLICIES.iter().enumerate() {
            for seed in 1..=WORLDS {
                let mut world = World::new(seed + 100 * index as u64, policy);
                world.go_on(MOVES);
                world.turn_the_page();
                world.go_on(MOVES);
                world.obey(Command::Shutdown(Then::Exit));
                world.settle();
                let (segments, decisions) = world.journal();
                let what = format!("seed {seed} of policy {index}");
                let redone = replay(&segments.concat(), None);
                assert_eq!(redone.len(), decisions.len(), "{what}");
                assert_same(&redone, &what);
                // Each segment can be read alone.
                let alone: Vec<usize> = segments
                    .iter()
                    .map(|it| {
                        let redone = replay(it, None);
                        assert_same(&redone, &what);
                        redone.len()
                    })
                    .collect();
                assert_eq!(alone.iter().sum::<usize>(), decisions.len(), "{what}");
                faults += decisions.iter().map(|it| it.faults.len()).sum::<usize>();
            }
        }
        assert!(faults > 50, "only {faults} faults were replayed");
    });
}

fn json(it: &impl serde::Serialize) -> String {
    serde_json::to_string(it).expect("it is plain data")
}

/// All that an answer depends on, and the answer.
fn plain(it: &Decision) -> String {
    let head = format!("{} {:?}", it.now.0, it.faults);
    match &it.question {
        Question::Step { before, what, seen, said, after } => {
            let (before, facts) = (json(&before.standing), json(&seen.facts));
            format!("{head} {before} {what:?} {facts} {said:?} {}", json(&after.standing))
        }
        Question::Hook { hook, seen, args, said } => {
            let seen = seen.as_ref().map(|it| [json(&it.service.standing), json(&it.facts)]);
            format!("{head} {hook} {seen:?} {args:?} {said:?}")
        }
    }
}

#[test]
fn what_is_read_is_what_was_decided() {
    on_deep(|| {
        let mut world = World::new(7, POLICIES[7]);
        world.go_on(MOVES);
        let (segments, decisions) = world.journal();
        let redone = replay(&segments.concat(), None);
        assert_eq!(redone.len(), decisions.len());
        for (it, decided) in redone.iter().zip(&decisions) {
            assert_eq!(plain(&it.decision), plain(decided));
        }
    });
}

#[test]
fn a_policy_that_changes_on_the_way_is_followed() {
    on_deep(|| {
        let mut world = World::new(3, POLICIES[2]);
        world.go_on(MOVES);
        // The same again counts faults from the beginning.
        for policy in [POLICIES[2], POLICIES[1], "", POLICIES[4]] {
            world.obey(Command::Decide(Decree { files: files(policy), soon: None }));
            world.settle();
            world.go_on(MOVES);
        }
        let (segments, decisions) = world.journal();
        let redone = replay(&segments.concat(), None);
        assert_eq!(redone.len(), decisions.len());
        assert_same(&redone, "four policies");
    });
}

/// Whether it was decided to try again later.
fn backs_off(decision: &Decision) -> bool {
    let Question::Step { said: Some(said), .. } = &decision.question else { return false };
    said.iter().any(|it| matches!(it, Action::Enter(State::Backoff, _)))
}

#[test]
fn another_policy_differs_exactly_where_it_says_something_else() {
    on_deep(|| {
        let was = "fn restart_delay(service, attempt) { 100 }";
        let mutated = "fn restart_delay(service, attempt) {
            if service.name == \"s1\" { 999 } else { 100 }
        }";
        let mut expected = 0;
        for seed in 1..=WORLDS {
            let mut world = World::new(seed, was);
            world.go_on(MOVES);
            let (segments, _) = world.journal();
            let journal = segments.concat();
            assert_same(&replay(&journal, Some(was)), "the same policy");
            for it in replay(&journal, Some(mutated)) {
                let meant = it.service() == Some(&name(1)) && backs_off(&it.decision);
                assert_eq!(it.differs(), meant, "{it:#?}");
                expected += u32::from(meant);
            }
        }
        assert!(expected > 5, "it was asked {expected} times");
    });
}

#[test]
fn a_policy_that_says_something_else_of_a_state_differs_after_it() {
    on_deep(|| {
        let mut world = World::new(5, "");
        world.go_on(MOVES);
        let (segments, _) = world.journal();
        let never = "fn is_satisfied(service) { false }";
        let redone = replay(&segments.concat(), Some(never));
        let derived: Vec<_> = redone.iter().flat_map(|it| &it.derived).collect();
        // What is never satisfied is never settled by that.
        assert!(derived.iter().any(|it| it.hook == "is_satisfied"));
        assert!(derived.iter().all(|it| it.was && !it.would_be), "{derived:?}");
    });
}

#[test]
fn what_the_clock_cut_off_is_not_asked_again() {
    on_deep(|| {
        let hangs = "fn restart_delay(service, attempt) { throw 1 }";
        let mut world = World::new(4, hangs);
        world.go_on(MOVES);
        let (segments, _) = world.journal();
        let journal = String::from_utf8(segments.concat()).expect("it is text");
        // As if on another machine it had been slow, and here it is not.
        assert!(journal.contains("\"by_clock\":false"));
        let journal = journal
            .replace("\"by_clock\":false", "\"by_clock\":true")
            .replace(hangs, "fn restart_delay(service, attempt) { 7 }");
        let redone = replay(journal.as_bytes(), None);
        let differ = redone.iter().filter(|it| it.differs()).count();
        assert_eq!(differ, 0);
        assert!(redone.iter().any(|it| !it.decision.faults.is_empty()));
    });
}

#[test]
fn a_span_or_a_service_can_be_asked_about_without_forgetting_who_is_benched() {
    on_deep(|| {
        // In most worlds an essential service ends, and everything with it.
        let lasting = (1..).find_map(|seed| {
            let mut world = World::new(seed, "fn restart_delay(service, attempt) { throw 1 }");
            world.go_on(MOVES);
            let (middle, half) = (world.now, world.decisions.len());
            world.go_on(MOVES);
            (world.decisions.len() > half + 10).then_some((world, middle))
        });
        let (world, middle) = lasting.expect("one of them lasts");
        let (segments, decisions) = world.journal();
        assert!(decisions.iter().any(|it| it.faults.iter().any(|it| it.benched)));
        let spans = [
            Span { from_ms: Some(middle + 1), ..Span::default() },
            Span { to_ms: Some(middle), ..Span::default() },
            Span { service: Some(name(2)), ..Span::default() },
        ];
        for span in spans {
            let mut replay = Replay::new(None, span.clone()).expect("it is bundled");
            let mut count = 0;
            for line in segments.concat().split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
                if let Some(it) = replay.line(line).expect("the policy is one") {
                    assert!(!it.differs(), "{it:#?}");
                    count += 1;
                }
            }
            assert!(count > 0 && count < decisions.len(), "{span:?}: {count}");
        }
    });
}

#[test]
fn an_expression_is_answered_with_the_decision_at_hand() {
    on_deep(|| {
        let policy = "fn restart_delay(service, attempt) { 40 + attempt }";
        let mut world = World::new(2, policy);
        world.go_on(MOVES);
        let (segments, _) = world.journal();
        let redone = replay(&segments.concat(), None);
        let it = redone.iter().find(|it| backs_off(&it.decision)).expect("somebody fails");
        let asked = Policy::of(&it.policy.files).expect("it was one");
        let ask =
            |text: &str| asked.evaluate(text, &mut zinit_host::replay::scope_of(&it.decision));
        assert_eq!(ask("restart_delay(service, 3)"), Ok("43".to_owned()));
        assert_eq!(ask("exit.ok"), Ok("false".to_owned()));
        assert_eq!(ask("event.kind + \" \" + service.name.len()"), Ok("\"exited 2\"".to_owned()));
        assert!(ask("nonsense").is_err());
    });
}

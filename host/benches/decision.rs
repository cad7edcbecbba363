//! What a decision costs: microseconds of CPU from an event to the effects of it, through the real
//! core and the real scripts, with no process and no clock but the one that measures.
//!
//! `cargo bench -p zinit_server --bench decision` prints two tables. The first is for one decision,
//! by the bundled policy alone and with a `restart_delay` of the user's over it; the second for the
//! start of whole fleets. Time is the CPU time of this thread, so a busy machine disturbs it little;
//! the least of many batches is the cost, and the median shows how far to trust it.
//!
//! Without `--bench` (`cargo test --benches`) it does everything once, to show that it still can.

use std::collections::BTreeMap;

use nix::time::{ClockId, clock_gettime};
use zinit_host::core::{Core, Effect};
use zinit_host::engine;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::Spec;
use zinit_host::state::State;
use zinit_keeper::wire::Exit;

/// How many services decide in one batch.
const FLEET: usize = 500;

/// How many batches there are of each decision: 50,000 decisions.
const BATCHES: usize = 100;

/// How often each fleet is started.
const STARTS: usize = 10;

/// The layers of the graph, and the services in each; each needs two of the layer before.
const LAYERS: usize = 10;
const WIDTH: usize = 100;

/// A policy that a user might have.
const OVERRIDE: &str = "fn restart_delay(service, attempt) { min(250 * attempt, 30_000) }";

/// Longer than any delay before a restart.
const LONG_MS: i64 = 120_000;

/// So far apart that nobody has to wait for a turn to be launched again.
const APART_MS: i64 = 20;

fn main() {
    let quick = !std::env::args().any(|it| it == "--bench");
    engine::on_deep_stack(|| measure(quick)).expect("a thread can be made and nothing panics");
}

fn measure(quick: bool) {
    let (batches, starts) = if quick { (1, 1) } else { (BATCHES, STARTS) };
    println!("one decision, {} of each, in microseconds of CPU", batches * FLEET);
    println!("{:<34}{:>10}{:>10}{:>14}{:>10}", "", "bundled", "median", "overridden", "median");
    let bundled = decisions(Policy::bundled, batches);
    let overridden = decisions(overridden, batches);
    for ((what, plain), (_, user)) in bundled.into_iter().zip(overridden) {
        let (plain, user) = (Summary::of(plain), Summary::of(user));
        println!(
            "{what:<34}{:>10.2}{:>10.2}{:>14.2}{:>10.2}",
            plain.least, plain.median, user.least, user.median
        );
    }
    println!("\na fleet from nothing to all `Running`, in milliseconds of CPU, {starts} times");
    println!("{:<34}{:>10}{:>10}{:>14}", "", "least", "median", "events each");
    let fleets = [("1,000 services", flat()), ("10 x 100 services, 2 needs each", graph())];
    for (what, found) in fleets {
        let (took, events) = started(&found, starts);
        let took = Summary::of(took);
        let each = per(events, found.len());
        println!("{what:<34}{:>10.2}{:>10.2}{each:>14.2}", took.least, took.median);
    }
}

fn overridden() -> Policy {
    let files = [("policy.rhai".into(), OVERRIDE.to_owned())];
    Policy::of(&files).ok().expect("the user's policy is a good one")
}

/// The cost of each kind of decision, one figure per batch.
fn decisions(policy: fn() -> Policy, batches: usize) -> [(&'static str, Vec<f64>); 4] {
    let mut fleet = Fleet::of(policy());
    let mut blocked = Fleet::waiting(policy());
    let mut all = [
        ("elapsed -> launch", Vec::new()),
        ("started -> arm", Vec::new()),
        ("exited -> backoff", Vec::new()),
        ("want_up of what is blocked", Vec::new()),
    ];
    let exit = Exit::Code(1);
    for incarnation in 2..batches as u64 + 2 {
        fleet.now += LONG_MS;
        let exit = exit.clone();
        all[0].1.push(fleet.batch(&Happening::Elapsed, State::Spawned));
        all[1].1.push(fleet.batch(&Happening::Started { incarnation }, State::Spawned));
        all[2].1.push(fleet.batch(&Happening::Exited { incarnation, exit }, State::Backoff));
        all[3].1.push(blocked.batch(&Happening::WantUp, State::Blocked));
    }
    all
}

/// Services that are all in the same state, and a core that decides for them.
struct Fleet {
    core: Core,
    names: Vec<ServiceName>,
    now: i64,
}

impl Fleet {
    /// Services that have failed once, and will be tried again.
    fn of(policy: Policy) -> Self {
        let mut fleet = Self::boot(policy, &Spec::of_exec("program"));
        let exit = Exit::Code(1);
        fleet.batch(&Happening::Exited { incarnation: 1, exit }, State::Backoff);
        fleet
    }

    /// Services that wait for one that does not exist.
    fn waiting(policy: Policy) -> Self {
        let mut spec = Spec::of_exec("program");
        spec.after = vec![name("nobody")];
        let mut fleet = Self::boot(policy, &spec);
        fleet.batch(&Happening::WantUp, State::Blocked);
        fleet
    }

    fn boot(policy: Policy, spec: &Spec) -> Self {
        let names: Vec<_> = (0..FLEET).map(|it| name(&format!("s{it}"))).collect();
        let mut core = Core::new(policy);
        boot(&mut core, names.iter().map(|it| (it.clone(), spec.clone())).collect());
        core.take_effects();
        Self { core, names, now: 0 }
    }

    /// Lets the same happen to every service and returns the microseconds for each, after a look at
    /// whether the decisions were the expected ones.
    fn batch(&mut self, what: &Happening, expected: State) -> f64 {
        let times = (self.now..).step_by(APART_MS as usize).map(Tick);
        let events: Vec<_> = times
            .zip(&self.names)
            .map(|(now, it)| Event { service: it.clone(), now, what: what.clone() })
            .collect();
        let before = cpu_us();
        events.into_iter().for_each(|it| self.core.handle(it));
        let took = cpu_us() - before;
        for effect in self.core.take_effects() {
            assert!(!matches!(effect, Effect::Complain(_)), "{effect:?} about {what:?}");
        }
        for name in &self.names {
            let service = self.core.service(name.as_str()).expect("it is known");
            assert_eq!(service.standing.state, expected, "after {what:?}");
        }
        took / per(FLEET, 1)
    }
}

type Found = Vec<(ServiceName, Spec)>;

fn flat() -> Found {
    (0..LAYERS * WIDTH).map(|it| (name(&format!("s{it}")), Spec::of_exec("program"))).collect()
}

fn graph() -> Found {
    let node = |layer: usize, place: usize| name(&format!("l{layer}-{}", place % WIDTH));
    let spec = |layer: usize, place: usize| {
        let mut spec = Spec::of_exec("program");
        if let Some(below) = layer.checked_sub(1) {
            spec.after = vec![node(below, place), node(below, place + 1)];
        }
        spec
    };
    (0..LAYERS * WIDTH)
        .map(|it| (it / WIDTH, it % WIDTH))
        .map(|(layer, place)| (node(layer, place), spec(layer, place)))
        .collect()
}

/// The milliseconds of each start of a fleet, and the events of one.
fn started(found: &[(ServiceName, Spec)], times: usize) -> (Vec<f64>, usize) {
    let mut events = 0;
    let took = (0..times).map(|_| {
        let mut core = Core::new(Policy::bundled());
        let fresh = found.to_vec();
        let before = cpu_us();
        boot(&mut core, fresh);
        events = run_until_quiet(&mut core);
        let took = cpu_us() - before;
        for (name, _) in found {
            let service = core.service(name.as_str()).expect("it is known");
            assert_eq!(service.standing.state, State::Running, "{name} after its start");
        }
        took / 1_000.0
    });
    (took.collect(), events)
}

/// Makes the services known and lets them all want to be up.
fn boot(core: &mut Core, found: Found) {
    core.boot(Tick(0), found.into_iter().map(|(name, spec)| (name, spec, None)).collect());
    while core.go_on(Tick(0)) {}
}

/// A machine whose processes start at once and whose alarms go off as soon as nothing else happens.
/// Returns how many events it took until nothing was left to happen.
fn run_until_quiet(core: &mut Core) -> usize {
    let mut events = 0;
    let mut now = Tick(0);
    let mut alarms = BTreeMap::new();
    loop {
        let mut soon = Vec::new();
        for effect in core.take_effects() {
            match effect {
                Effect::Launch { service, incarnation, .. } => {
                    let service = service.name.clone();
                    let pid = i32::try_from(events + soon.len() + 1).expect("few enough");
                    soon.push((service.clone(), Happening::Launched { incarnation, pid }));
                    soon.push((service, Happening::Started { incarnation }));
                }
                Effect::Arm { service, at: Some(at) } => drop(alarms.insert(service, at)),
                Effect::Arm { service, at: None } => drop(alarms.remove(&service)),
                Effect::Complain(sentence) => panic!("{sentence}"),
                _ => {}
            }
        }
        if soon.is_empty() {
            now = alarms.values().copied().max().unwrap_or(now);
            soon.extend(std::mem::take(&mut alarms).into_keys().map(|it| (it, Happening::Elapsed)));
        }
        if soon.is_empty() {
            return events;
        }
        events += soon.len();
        soon.into_iter().for_each(|(service, what)| core.handle(Event { service, now, what }));
    }
}

/// The least and the middle of some figures.
struct Summary {
    least: f64,
    median: f64,
}

impl Summary {
    fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self { least: figures[0], median: figures[figures.len() / 2] }
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("the names here are good ones")
}

fn per(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

/// The CPU time of this thread so far, in microseconds.
#[expect(clippy::disallowed_methods, reason = "to measure is what a benchmark is for")]
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3
}

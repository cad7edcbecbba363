//! What the journal costs, and how fast it is replayed: services that fail and are started again, each
//! decision of which is written down and then asked again.
//!
//! `cargo bench -p zinit_server --bench journal` makes a journal of 100,000 events, replays it, and sees
//! to it that every decision is the same. The cost of writing is CPU time of the core's thread, so a busy
//! machine disturbs it little; the speed of the replay is what its user waits for.
//!
//! Without `--bench` (`cargo test --benches`) it does so with a few events, to show that it still can.

use std::fs;
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use zinit_host::core::{Core, Effect};
use zinit_host::decision::Decision;
use zinit_host::engine;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::journal::Recorder;
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::replay::{Replay, Span};
use zinit_host::spec::Spec;
use zinit_keeper::wire::Exit;

const FLEET: usize = 500;
const EVENTS: usize = 100_000;
const FEW_EVENTS: usize = 2_000;

/// Longer than any delay before a restart, and so far apart that nobody waits for a turn.
const LONG_MS: i64 = 120_000;
const APART_MS: i64 = 20;

/// A policy that a user might have.
const POLICY: &str = "fn restart_delay(service, attempt) { min(250 * attempt, 30_000) }";

fn main() {
    let events = if std::env::args().any(|it| it == "--bench") { EVENTS } else { FEW_EVENTS };
    engine::on_deep_stack(|| measure(events)).expect("a thread can be made and nothing panics");
}

fn measure(events: usize) {
    let (decisions, sources) = decided(events);
    let mut recorder = Recorder::default();
    recorder.decided_by(0, &sources);
    let before = seconds(ClockId::CLOCK_THREAD_CPUTIME_ID);
    decisions.iter().for_each(|it| recorder.decided(it.now.0, it));
    let wrote = seconds(ClockId::CLOCK_THREAD_CPUTIME_ID) - before;
    let (journal, _) = recorder.take();
    let file = std::env::temp_dir().join(format!("zinit-journal-{}.jsonl", std::process::id()));
    fs::write(&file, &journal).expect("the temporary directory is writable");
    let count = decisions.len() as f64;
    println!("{} decisions, {:.0} bytes each", decisions.len(), journal.len() as f64 / count);
    println!("written in {:.2} microseconds of CPU each", wrote * 1e6 / count);
    let took = replayed(&file, decisions.len());
    println!("replayed at {:.0} decisions per second, all the same", count / took);
    fs::remove_file(&file).expect("it is ours");
}

/// Asks everything again, and returns how many seconds that took.
fn replayed(file: &Path, expected: usize) -> f64 {
    let before = seconds(ClockId::CLOCK_MONOTONIC);
    let mut replay = Replay::new(None, Span::default()).expect("the bundled policy is one");
    let mut count = 0;
    let read = replay.over(file, |it| {
        assert!(!it.differs(), "{it:?}");
        count += 1;
    });
    read.expect("the journal can be read");
    assert_eq!((count, replay.unread()), (expected, 0));
    seconds(ClockId::CLOCK_MONOTONIC) - before
}

/// So many decisions of services that end as soon as they run.
fn decided(events: usize) -> (Vec<Decision>, std::rc::Rc<zinit_host::policy::Sources>) {
    let mut core = Core::new(Policy::bundled());
    core.load_policy(&[("policy.rhai".into(), POLICY.to_owned())]).expect("it is a good one");
    let name = |it| ServiceName::parse(&format!("s{it}")).expect("it is a name");
    let names: Vec<_> = (0..FLEET).map(name).collect();
    let found = names.iter().map(|it| (it.clone(), Spec::of_exec("program"), None)).collect();
    core.boot(Tick(0), found);
    while core.go_on(Tick(0)) {}
    let mut decisions = Vec::new();
    let mut now = 0;
    for incarnation in 1.. {
        let exit = Exit::Code(1);
        for what in [
            Happening::Started { incarnation },
            Happening::Exited { incarnation, exit },
            Happening::Elapsed,
        ] {
            now += if what == Happening::Elapsed { LONG_MS } else { 0 };
            for (service, at) in names.iter().zip((now..).step_by(APART_MS as usize)) {
                let (service, what) = (service.clone(), what.clone());
                core.handle(Event { service, now: Tick(at), what });
            }
            decisions.extend(core.take_effects().into_iter().filter_map(|it| match it {
                Effect::Decided(decision) => Some(*decision),
                _ => None,
            }));
        }
        if decisions.len() >= events {
            break;
        }
    }
    decisions.truncate(events);
    let sources = std::rc::Rc::clone(core.policy().sources());
    (decisions, sources)
}

#[expect(clippy::disallowed_methods, reason = "to measure is what a benchmark is for")]
fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock).expect("every Linux has these clocks");
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

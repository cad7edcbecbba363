//! What a hostile policy costs: milliseconds of CPU from the exit of a process to what is done about it,
//! when each hook in turn loops, recurses, eats memory, throws or answers nonsense.
//!
//! `cargo bench -p zinit_server --bench hostile` prints, for each attack, the median, the 99th in a
//! hundred and the worst of all reactions over all hooks. For every hook there are 300 services that
//! end once; the user's function fails for the first three of them and is benched then.
//!
//! Without `--bench` (`cargo test --benches`) it looks at a few, to show that it still can.

use nix::time::{ClockId, clock_gettime};
use zinit_host::core::Core;
use zinit_host::engine;
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::hooks::{HOOKS, Hook};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::Spec;
use zinit_host::state::State;
use zinit_keeper::wire::Exit;

const ATTACKS: [(&str, &str); 7] = [
    ("none", "base::HEAD"),
    ("endless loop", "loop {}"),
    ("endless recursion", "HEAD"),
    ("endless string", "let s = \"x\"; loop { s += s; }"),
    ("endless array", "let a = []; loop { a.push(1); }"),
    ("throw", "throw \"no\""),
    ("wrong answer", "#{}"),
];

fn main() {
    let quick = !std::env::args().any(|it| it == "--bench");
    engine::on_deep_stack(|| measure(quick)).expect("a thread can be made and nothing panics");
}

fn measure(quick: bool) {
    let (hooks, services) = if quick { (&HOOKS[..2], 10) } else { (HOOKS, 300) };
    println!(
        "reaction to an exit, in milliseconds of CPU, {} hooks with {services} each",
        hooks.len()
    );
    println!("{:<22}{:>10}{:>10}{:>10}", "", "median", "p99", "worst");
    for (attack, body) in ATTACKS {
        let mut all: Vec<f64> = hooks.iter().flat_map(|it| reactions(it, body, services)).collect();
        all.sort_by(f64::total_cmp);
        let at = |part: usize| all[(all.len() - 1) * part / 100];
        println!("{attack:<22}{:>10.3}{:>10.3}{:>10.3}", at(50), at(99), at(100));
    }
}

/// How long each reaction takes when this hook is attacked.
fn reactions(hook: &Hook, body: &str, services: usize) -> Vec<f64> {
    let head = hook.signature();
    let text = format!("fn {head} {{ {} }}", body.replace("HEAD", &head));
    let policy = Policy::of(&[("policy.rhai".into(), text)]).expect("it compiles");
    let mut core = Core::new(policy);
    let names: Vec<ServiceName> =
        (0..services).map(|it| ServiceName::parse(&format!("s{it}")).expect("a name")).collect();
    let spec = Spec::of_exec("program");
    core.boot(Tick(0), names.iter().map(|it| (it.clone(), spec.clone(), None)).collect());
    while core.go_on(Tick(0)) {}
    let mut now = 0;
    let mut handle = |service: &ServiceName, what: Happening| {
        now += 20;
        let event = Event { service: service.clone(), now: Tick(now), what };
        let before = cpu_ms();
        core.handle(event);
        let took = cpu_ms() - before;
        core.take_effects();
        (took, core.service(service.as_str()).expect("it is known").standing.state)
    };
    for name in &names {
        handle(name, Happening::Started { incarnation: 1 });
    }
    let exit = |name| {
        let exited = Happening::Exited { incarnation: 1, exit: Exit::Code(1) };
        let (took, state) = handle(name, exited);
        assert_eq!(state, State::Backoff, "`{head}` has changed where {name} ends");
        took
    };
    names.iter().map(exit).collect()
}

/// The CPU time of this thread so far, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "to measure is what a benchmark is for")]
fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as f64 * 1e3 + time.tv_nsec() as f64 / 1e6
}

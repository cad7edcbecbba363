//! Something that tests and examples of a policy can ask about.

use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, Map};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zinit_keeper::wire::Exit;

use super::{Around, EventView, ExitView, Facts, Seen, ServiceView};
use crate::action::parse_signal;
use crate::event::{Happening, Tick, Wall};
use crate::name::ServiceName;
use crate::spec::{Mode, Spec};
use crate::state::{Past, Process, Service, Standing, State, Target};

/// What a service uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of memory.
    pub memory: i64,
    /// CPU time since the last look, in percent of one CPU.
    pub cpu: i64,
    /// Processes and threads.
    pub tasks: i64,
}

type Made<T> = Result<T, Box<EvalAltResult>>;

/// How long ago, in milliseconds, a sample begins; so its past is not before the clock's zero.
const NOW: Tick = Tick(1_000_000_000);

/// Gives scripts the words: `sample()`, a service that was never started, or `sample(MAP)`, one with
/// these keys of a service file, and `state`, `target`, `attempts`, `restarts`, `exits`, `since_ms`, `due_ms`,
/// `time`, `on_demand` (`"proxy"` or `"pass"`) and `peers`;
/// `exit_code(CODE)`, `exit_signal(NAME)` and `exit_unknown()`, ends of a process;
/// `sample_event(KIND)`, something that happened, and `sample_end(EXIT, RAN_MS)`, the end of a process
/// that was up for so long; `sample_usage(MEMORY, CPU)` and `sample_idle(CONNECTIONS, QUIET_MS)`.
pub fn teach(engine: &mut Engine) {
    engine.register_fn("sample", || {
        view(Spec::of_exec("sleep 100"), Standing::new(NOW, Target::Up), Facts::none(NOW), "")
    });
    engine.register_fn("sample", |facts: Map| sample(&facts));
    engine.register_fn("exit_code", exit_code);
    engine.register_fn("exit_unknown", || ExitView(Exit::Unknown));
    engine.register_fn("exit_signal", exit_signal);
    engine.register_fn("sample_event", |kind: &str| -> Made<EventView> {
        Ok(EventView::sample(happening(kind)?, NOW, 0))
    });
    engine.register_fn("sample_end", |exit: ExitView, ran_ms: i64| {
        EventView::sample(Happening::Exited { incarnation: 1, exit: exit.0 }, NOW, ran_ms)
    });
    super::idle::teach_sample(engine);
    engine.register_fn("sample_usage", |memory: i64, cpu: i64| Usage { memory, cpu, tasks: 1 });
}

/// Gives scripts what a service uses.
pub(super) fn teach_usage(engine: &mut Engine) {
    engine
        .register_type_with_name::<Usage>("Usage")
        .register_get("memory", |it: &mut Usage| it.memory)
        .register_get("cpu", |it: &mut Usage| it.cpu)
        .register_get("tasks", |it: &mut Usage| it.tasks)
        .register_get("text", |it: &mut Usage| it.text());
}

impl Usage {
    /// What it is, in words.
    pub fn text(&self) -> String {
        format!("{} MiB of memory, {}% of a CPU", self.memory >> 20, self.cpu)
    }
}

/// An event of this kind that says no more than that.
fn happening(kind: &str) -> Made<Happening> {
    let what = serde_json::from_value(json!({ "kind": kind, "restart": false }));
    Ok(what.map_err(|_| format!("`{kind}` is no kind of event, or says more than that"))?)
}

fn exit_code(code: i64) -> ExitView {
    ExitView(Exit::Code(i32::try_from(code).unwrap_or(i32::MAX)))
}

fn exit_signal(name: &str) -> Made<ExitView> {
    let signal = parse_signal(name).ok_or_else(|| format!("`{name}` is no signal"))?;
    Ok(ExitView(Exit::Signal { signal: signal as i32, core: false }))
}

fn view(spec: Spec, standing: Standing, facts: Facts, event: &'static str) -> ServiceView {
    let name = ServiceName::parse("sample").expect("it is a name");
    let service = Service { name, spec: Rc::new(spec), standing, waits_for: Vec::new() };
    ServiceView::new(Rc::new(Seen { service: Rc::new(service), facts, event }))
}

/// A service of which these things are known; the rest is as usual.
fn sample(facts: &Map) -> Made<ServiceView> {
    let mut standing = Standing::new(NOW, Target::Up);
    let mut config = json!({ "exec": "sleep 100" });
    let (mut seen, mut event) = (Facts::none(NOW), "");
    for (key, value) in facts {
        match key.as_str() {
            "state" => enter(&mut standing, &value.to_string())?,
            "target" if value.to_string() == "Down" => standing.target = Target::Down,
            "attempts" => standing.attempts = value.as_int()?,
            "restarts" => standing.restarts = value.as_int()?,
            "since_ms" => standing.since = Tick(NOW.0 - value.as_int()?),
            "due_ms" => standing.due_since = Some(Tick(NOW.0 - value.as_int()?)),
            "exits" => standing.exits = pasts(value)?,
            "time" => seen.wall = wall(&value.clone().try_cast().unwrap_or_default())?,
            "event" => event = happening(&value.to_string())?.kind(),
            "on_demand" => {
                let mode = rhai::serde::from_dynamic::<Mode>(value);
                seen.demand = Some(mode.map_err(|_| format!("`{value}` is no mode"))?);
            }
            "peers" => {
                let all = value.clone().into_typed_array::<Map>()?;
                let peers = all.iter().map(peer).collect::<Made<_>>()?;
                seen.around = Some(Rc::new(Around::new(peers, Vec::new(), Vec::new())));
            }
            key => config[key] = rhai::serde::from_dynamic::<Value>(value)?,
        }
    }
    let spec = Spec::from_config(&config).map_err(|refusal| refusal.to_string())?;
    Ok(view(spec, standing, seen, event))
}

fn pasts(all: &Dynamic) -> Made<Vec<Past>> {
    all.clone().into_typed_array::<Map>()?.iter().map(past).collect()
}

/// `#{ weekday: 1, hour: 2, minute: 30 }`, in the first full week of 1970.
fn wall(facts: &Map) -> Made<Wall> {
    const SUNDAY: i64 = 3;
    let number = |key: &str| facts.get(key).map_or(Ok(0), Dynamic::as_int);
    let hours = (SUNDAY + number("weekday")?) * 24 + number("hour")?;
    Ok(Wall { unix_ms: (hours * 60 + number("minute")?) * 60_000, offset_s: 0 })
}

/// `#{ name: "db", state: "Running", since_ms: 500, exits: [...], labels: #{...} }`.
fn peer(facts: &Map) -> Made<Rc<Service>> {
    let word = |key: &str, usual: &str| facts.get(key).map_or(usual.to_owned(), Dynamic::to_string);
    let mut standing = Standing::new(NOW, Target::Up);
    enter(&mut standing, &word("state", "Running"))?;
    standing.since = Tick(NOW.0 - facts.get("since_ms").map_or(Ok(0), Dynamic::as_int)?);
    standing.exits = facts.get("exits").map_or(Ok(Vec::new()), pasts)?;
    let mut spec = Spec::of_exec("sleep 100");
    for (key, value) in
        facts.get("labels").and_then(|it| it.clone().try_cast::<Map>()).iter().flatten()
    {
        spec.labels.insert(key.to_string(), value.to_string());
    }
    let name = ServiceName::parse(&word("name", "peer")).map_err(|error| error.to_string())?;
    Ok(Rc::new(Service { name, spec: Rc::new(spec), standing, waits_for: Vec::new() }))
}

fn enter(standing: &mut Standing, word: &str) -> Made<()> {
    let state = State::of_word(word, 0).ok_or_else(|| format!("`{word}` is no state"))?;
    standing.state = state;
    standing.process = state.is_live().then_some(Process { pid: 1, ..Process::new(NOW) });
    Ok(())
}

/// `#{ ago_ms: 500, ran_ms: 20, code: 1 }`; a `signal` in place of the code.
fn past(facts: &Map) -> Made<Past> {
    let number = |key: &str| facts.get(key).map_or(Ok(0), Dynamic::as_int);
    let exit = match facts.get("signal") {
        Some(name) => exit_signal(&name.to_string())?,
        None => exit_code(number("code")?),
    };
    let at = Tick(NOW.0 - number("ago_ms")?);
    Ok(Past { at, ran_ms: number("ran_ms")?, own: true, exit: exit.0 })
}

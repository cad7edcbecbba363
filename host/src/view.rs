//! What a decision sees: read-only views, where an unknown field is an error with a position.

mod idle;
mod measures;
mod moment;
mod peer;
mod samples;

use std::borrow::Cow;
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, ImmutableString, Map};
use serde::{Deserialize, Serialize};
use zinit_keeper::wire::Exit;

use crate::draft::Draft;
use crate::event::{Event, Happening, Tick, Wall};
use crate::graph::{self, Need};
use crate::name::ServiceName;
use crate::spec::{Mode, Readiness, Spec};
use crate::state::{Past, Service, Standing, State, Target, describe, exit_status};

pub use idle::Idle;
pub use moment::MomentView;
pub use peer::{Around, PeerView};
pub use samples::{Usage, teach as teach_samples};

/// A service, and what of the graph concerns it.
#[derive(Clone, Debug)]
pub struct ServiceView(Rc<Seen>);

/// What a [`ServiceView`] shows.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The service itself.
    pub service: Rc<Service>,
    /// What else there is to know at this moment.
    pub facts: Facts,
    /// The kind of the event that is decided about; empty when it is another question.
    pub event: &'static str,
}

/// What concerns a service and is not its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// When it is looked at.
    pub now: Tick,
    /// The wall clock at that time.
    pub wall: Wall,
    /// The first of its needs that is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<DependencyView>,
    /// How many of them are not.
    #[serde(default)]
    pub unmet: usize,
    /// The next free turn among services that failed.
    pub next_turn: Tick,
    /// A number from 0 to 999 that the host has drawn.
    pub chance: i64,
    /// A way from it along its dependencies back to it, if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycle: Vec<ServiceName>,
    /// Who answers its clients, if it is there on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demand: Option<Mode>,
    /// The services around it, if the policy looks at them.
    #[serde(default, skip_serializing_if = "Around::is_unseen")]
    pub around: Option<Rc<Around>>,
}

impl Facts {
    /// Nothing is in the way, and the host has drawn the middle.
    pub fn none(now: Tick) -> Self {
        Self {
            now,
            wall: Wall::default(),
            obstacle: None,
            unmet: 0,
            next_turn: Tick(0),
            chance: 500,
            cycle: Vec::new(),
            demand: None,
            around: None,
        }
    }
}

impl ServiceView {
    /// A view of this.
    pub fn new(seen: Rc<Seen>) -> Self {
        Self(seen)
    }

    /// The function that its user has chosen for it to answer this hook.
    pub fn chosen(&self, hook: &str) -> Option<Cow<'_, str>> {
        let policy = &self.spec().policy;
        let of_module = || Some(format!("{}::{hook}", policy.get("*")?).into());
        policy.get(hook).map(|it| it.as_str().into()).or_else(of_module)
    }

    /// Its name.
    pub fn name(&self) -> &ServiceName {
        &self.0.service.name
    }

    fn shown(&mut self) -> String {
        let standing = self.standing();
        format!("{}, {}: {}", self.name(), standing.state.word(), standing.why)
    }

    fn standing(&self) -> &Standing {
        &self.0.service.standing
    }

    fn spec(&self) -> &Spec {
        &self.0.service.spec
    }

    fn facts(&self) -> &Facts {
        &self.0.facts
    }
}

/// Another service, as far as it concerns one that waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyView {
    /// Its name.
    pub name: ServiceName,
    /// Its state; `None` when there is no such service.
    pub state: Option<State>,
    /// What is wanted of it.
    pub target: Target,
    /// How the other needs it.
    pub need: Need,
    /// Whether it is about to go down.
    pub goes_down: bool,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct ExitView(pub Exit);

/// An event.
#[derive(Clone, Debug)]
pub struct EventView {
    event: Rc<Event>,
    ran_ms: i64,
    late_ms: i64,
    own_end: bool,
}

impl EventView {
    /// A view of this event, and of what it did to the service by itself.
    pub fn new(event: Event, draft: &Draft) -> Self {
        let (ran_ms, late_ms) = (draft.ran_ms(), draft.late_ms());
        Self { event: Rc::new(event), ran_ms, late_ms, own_end: draft.own_end() }
    }

    /// A view of something that happened when the process had been up for so long.
    fn sample(what: Happening, now: Tick, ran_ms: i64) -> Self {
        let service = ServiceName::parse("sample").expect("it is a name");
        let event = Rc::new(Event { service, now, what });
        Self { event, ran_ms, late_ms: 0, own_end: true }
    }

    fn exit(&self) -> Dynamic {
        match &self.event.what {
            Happening::Exited { exit, .. }
            | Happening::Died { exit, .. }
            | Happening::Ran { exit, .. } => Dynamic::from(ExitView(exit.clone())),
            _ => Dynamic::UNIT,
        }
    }

    fn failure(&self) -> Dynamic {
        match &self.event.what {
            Happening::Checked { failure: Some(failure), .. }
            | Happening::PortFreed { failure: Some(failure) } => text(failure).into(),
            _ => Dynamic::UNIT,
        }
    }
}

/// Gives scripts the views.
pub fn teach(engine: &mut Engine) {
    teach_service(engine);
    teach_dependency(engine);
    teach_event(engine);
    teach_exit(engine);
    teach_past(engine);
    idle::teach(engine);
    measures::teach(engine);
    peer::teach(engine);
    moment::teach(engine);
    samples::teach_usage(engine);
}

fn teach_service(engine: &mut Engine) {
    teach_standing(engine);
    teach_spec(engine);
    engine
        .register_type_with_name::<ServiceView>("Service")
        .register_fn("to_string", ServiceView::shown)
        .register_fn("to_debug", ServiceView::shown)
        .register_get("name", |it: &mut ServiceView| text(it.0.service.name.as_str()))
        .register_get("next_turn", |it: &mut ServiceView| it.facts().next_turn.0)
        .register_get("event", |it: &mut ServiceView| text(it.0.event))
        .register_get("chance", |it: &mut ServiceView| it.facts().chance)
        .register_get("unmet", |it: &mut ServiceView| count(it.facts().unmet))
        .register_get("cycle", |it: &mut ServiceView| names(&it.facts().cycle))
        .register_get("cycle_text", |it: &mut ServiceView| graph::path_of(&it.facts().cycle))
        .register_get("on_demand", |it: &mut ServiceView| {
            text(it.facts().demand.map_or("", Mode::word))
        })
        .register_get("now", |it: &mut ServiceView| it.facts().now.0)
        .register_get("time", |it: &mut ServiceView| MomentView::of(it.facts().wall))
        .register_get("obstacle", |it: &mut ServiceView| match &it.facts().obstacle {
            Some(dependency) => Dynamic::from(dependency.clone()),
            None => Dynamic::UNIT,
        });
    peer::teach_around(engine);
}

/// Where it stands.
fn teach_standing(engine: &mut Engine) {
    engine
        .register_get("state", |it: &mut ServiceView| text(it.standing().state.word()))
        .register_get("target", |it: &mut ServiceView| text(it.standing().target.word()))
        .register_get("reason", |it: &mut ServiceView| text(&it.standing().why))
        .register_get("attempts", |it: &mut ServiceView| it.standing().attempts)
        .register_get("restarts", |it: &mut ServiceView| it.standing().restarts)
        .register_get("pid", |it: &mut ServiceView| {
            it.standing().process.map_or(0, |process| i64::from(process.pid))
        })
        .register_get("last_exit", |it: &mut ServiceView| match &it.standing().last_exit {
            Some(exit) => Dynamic::from(ExitView(exit.clone())),
            None => Dynamic::UNIT,
        })
        .register_get("since_ms", |it: &mut ServiceView| it.facts().now.0 - it.standing().since.0)
        .register_get("exits", |it: &mut ServiceView| pasts(&it.standing().exits, it.facts().now))
        .register_get("stop_step", |it: &mut ServiceView| match it.standing().state {
            State::Stopping { step } => step,
            _ => -1,
        })
        .register_get("checking", |it: &mut ServiceView| it.standing().checking)
        .register_get("check_failures", |it: &mut ServiceView| it.standing().check_failures)
        .register_get("health", |it: &mut ServiceView| text(&it.standing().health))
        .register_get("said_ready", |it: &mut ServiceView| it.standing().said_ready)
        .register_get("fault", |it: &mut ServiceView| it.standing().fault)
        .register_get("port_freed", |it: &mut ServiceView| it.standing().port_freed)
        .register_get("measures", |it: &mut ServiceView| it.standing().measure_at.is_some())
        .register_get("is_due", |it: &mut ServiceView| it.standing().due_since.is_some())
        .register_get("due_ms", |it: &mut ServiceView| {
            it.standing().due_since.map_or(0, |since| it.facts().now.0 - since.0)
        })
        .register_get("given_up_with", |it: &mut ServiceView| match &it.standing().given_up_with {
            Some(other) => text(other.as_str()).into(),
            None => Dynamic::UNIT,
        })
        .register_fn("failures_within", |it: &mut ServiceView, ms: i64| {
            failures_within(&it.standing().exits, it.facts().now, ms)
        })
        .register_get("has_turn", |it: &mut ServiceView| it.standing().turn.is_some());
}

/// What its configuration says.
fn teach_spec(engine: &mut Engine) {
    engine
        .register_get("oneshot", |it: &mut ServiceView| it.spec().oneshot)
        .register_get("essential", |it: &mut ServiceView| it.spec().essential)
        .register_get("stop_signal", |it: &mut ServiceView| text(it.spec().stop_signal.as_str()))
        .register_get("shutdown_timeout_ms", |it: &mut ServiceView| it.spec().shutdown_timeout_ms)
        .register_get("restart_delay_ms", |it: &mut ServiceView| {
            it.spec().restart_delay_ms.map_or(Dynamic::UNIT, Dynamic::from)
        })
        .register_get("after", |it: &mut ServiceView| names(&it.spec().after))
        .register_get("requires", |it: &mut ServiceView| names(&it.spec().requires))
        .register_get("wants", |it: &mut ServiceView| names(it.spec().wanted()))
        .register_get("groups", |it: &mut ServiceView| -> Array {
            it.spec().groups.iter().map(|it| text(it).into()).collect()
        })
        .register_get("labels", |it: &mut ServiceView| labels(it.spec()))
        .register_fn("label", |it: &mut ServiceView, key: &str| label(it.spec(), key))
        .register_fn("label", |it: &mut ServiceView, key: &str, otherwise: &str| {
            it.spec().labels.get(key).map_or_else(|| text(otherwise), |it| text(it))
        })
        .register_get("port", |it: &mut ServiceView| {
            it.spec().health.first_port().map_or(Dynamic::UNIT, |it| i64::from(it).into())
        })
        .register_get("is_target", |it: &mut ServiceView| it.spec().is_target())
        .register_get("restart", |it: &mut ServiceView| text(it.spec().restart.word()))
        .register_get("max_restarts", |it: &mut ServiceView| it.spec().max_restarts)
        .register_get("on_give_up", |it: &mut ServiceView| text(&it.spec().on_give_up))
        .register_get("stop_cmd", |it: &mut ServiceView| text(&it.spec().stop_cmd))
        .register_get("start_timeout_ms", |it: &mut ServiceView| it.spec().start_timeout_ms)
        .register_get("watchdog_ms", |it: &mut ServiceView| it.spec().watchdog_ms)
        .register_get("says_when_ready", |it: &mut ServiceView| {
            it.spec().readiness != Readiness::Lives
        })
        .register_get("has_checks", |it: &mut ServiceView| it.spec().health.has_checks())
        .register_get("check_period_ms", |it: &mut ServiceView| it.spec().health.period_ms)
        .register_get("check_retry", |it: &mut ServiceView| it.spec().health.retry)
        .register_get("frees_port", |it: &mut ServiceView| {
            it.spec().health.tcp_kill && it.spec().health.first_port().is_some()
        });
}

fn teach_dependency(engine: &mut Engine) {
    engine
        .register_type_with_name::<DependencyView>("Dependency")
        .register_get("name", |it: &mut DependencyView| text(it.name.as_str()))
        .register_get("state", |it: &mut DependencyView| {
            text(it.state.map_or("Unknown", State::word))
        })
        .register_get("target", |it: &mut DependencyView| text(it.target.word()))
        .register_get("goes_down", |it: &mut DependencyView| it.goes_down)
        .register_get("need", |it: &mut DependencyView| match it.need {
            Need::Up => text("up"),
            Need::Settled => text("settled"),
            Need::Down => text("down"),
        });
}

fn teach_event(engine: &mut Engine) {
    engine
        .register_type_with_name::<EventView>("Event")
        .register_fn("to_string", |it: &mut EventView| it.event.what.kind())
        .register_fn("to_debug", |it: &mut EventView| it.event.what.kind())
        .register_get("kind", |it: &mut EventView| text(it.event.what.kind()))
        .register_get("now", |it: &mut EventView| it.event.now.0)
        .register_get("ran_ms", |it: &mut EventView| it.ran_ms)
        .register_get("own_end", |it: &mut EventView| it.own_end)
        .register_get("late_ms", |it: &mut EventView| it.late_ms)
        .register_get("exit", |it: &mut EventView| it.exit())
        .register_get("failure", |it: &mut EventView| it.failure())
        .register_get("restart", |it: &mut EventView| {
            matches!(it.event.what, Happening::Defined { restart: true })
        })
        .register_get("to", |it: &mut EventView| match &it.event.what {
            Happening::MustYield { to } => text(to.as_str()).into(),
            Happening::MustRestart { with } => text(with.as_str()).into(),
            _ => Dynamic::UNIT,
        })
        .register_get("quiet_ms", |it: &mut EventView| match it.event.what {
            Happening::Unused { quiet_ms } => quiet_ms,
            _ => 0,
        })
        .register_get("usage", |it: &mut EventView| match it.event.what {
            Happening::Measured { usage, .. } => Dynamic::from(usage),
            _ => Dynamic::UNIT,
        })
        .register_get("task", |it: &mut EventView| match &it.event.what {
            Happening::Ran { task, .. } => text(task.word()).into(),
            _ => Dynamic::UNIT,
        });
}

/// An end of a process that was.
#[derive(Clone, Debug)]
pub struct PastView {
    past: Past,
    ago_ms: i64,
}

fn teach_past(engine: &mut Engine) {
    let exit = |it: &PastView| ExitView(it.past.exit.clone());
    let shown = |it: &mut PastView| {
        let (exit, ran_ms) = (describe(&it.past.exit), it.past.ran_ms);
        format!("{exit} {} ms ago, up for {ran_ms} ms", it.ago_ms)
    };
    engine
        .register_type_with_name::<PastView>("Past")
        .register_fn("to_string", shown)
        .register_fn("to_debug", shown)
        .register_get("ago_ms", |it: &mut PastView| it.ago_ms)
        .register_get("ran_ms", |it: &mut PastView| it.past.ran_ms)
        .register_get("own_end", |it: &mut PastView| it.past.own)
        .register_get("exit", move |it: &mut PastView| exit(it));
}

/// Ends of a service's processes, oldest first.
fn pasts(all: &[Past], now: Tick) -> Array {
    let view = |it: &Past| PastView { past: it.clone(), ago_ms: now.0 - it.at.0 };
    all.iter().map(|it| Dynamic::from(view(it))).collect()
}

/// How many processes have ended in this time though nobody had asked for it.
fn failures_within(all: &[Past], now: Tick, ms: i64) -> i64 {
    count(all.iter().filter(|it| it.own && now.0 - it.at.0 <= ms).count())
}

fn labels(spec: &Spec) -> Map {
    let pair = |(key, value): (&String, &String)| (key.as_str().into(), text(value).into());
    spec.labels.iter().map(pair).collect()
}

/// The label of that name; `()` when there is none.
fn label(spec: &Spec, key: &str) -> Dynamic {
    spec.labels.get(key).map_or(Dynamic::UNIT, |it| text(it).into())
}

fn teach_exit(engine: &mut Engine) {
    engine
        .register_type_with_name::<ExitView>("Exit")
        .register_fn("to_string", |it: &mut ExitView| describe(&it.0))
        .register_fn("to_debug", |it: &mut ExitView| describe(&it.0))
        .register_get("ok", |it: &mut ExitView| it.0 == Exit::Code(0))
        .register_get("text", |it: &mut ExitView| describe(&it.0))
        .register_get("is_launch", |it: &mut ExitView| matches!(it.0, Exit::Launch { .. }))
        .register_get("is_unknown", |it: &mut ExitView| it.0 == Exit::Unknown)
        .register_get("status", |it: &mut ExitView| i64::from(exit_status(&it.0)))
        .register_get("code", |it: &mut ExitView| match it.0 {
            Exit::Code(code) => Dynamic::from(i64::from(code)),
            _ => Dynamic::UNIT,
        })
        .register_get("signal", |it: &mut ExitView| match it.0 {
            Exit::Signal { .. } => Dynamic::from(describe(&it.0)),
            _ => Dynamic::UNIT,
        });
}

fn text(it: &str) -> ImmutableString {
    it.into()
}

fn count(it: usize) -> i64 {
    i64::try_from(it).unwrap_or(i64::MAX)
}

fn names<'a>(all: impl IntoIterator<Item = &'a ServiceName>) -> Array {
    all.into_iter().map(|it| text(it.as_str()).into()).collect()
}

//! What a decision can ask for, and the words for it. Saying a word builds a value; only the host
//! acts on it, after it has checked it.

use nix::sys::signal::Signal;
use rhai::{Array, Dynamic, Engine, EvalAltResult, Position};
use serde::{Deserialize, Serialize};

use crate::event::{Task, Tick};
use crate::name::ServiceName;
use crate::spec::signal_of;
use crate::state::State;

/// Everything a decision may ask for its service. The host can do nothing else for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start a process.
    Launch,
    /// Deliver a signal to the process and its group.
    #[serde(with = "by_name")]
    Signal(Signal),
    /// Deliver `elapsed` at this time, unless another state is entered before.
    Arm(Tick),
    /// Leave the present state for this one, and why. Clears the alarm.
    Enter(State, String),
    /// Remember how many attempts in a row were short-lived.
    Attempts(i64),
    /// Forget how its latest processes ended.
    ForgetExits,
    /// Run one round of its health checks now.
    Check,
    /// Deliver `check_due` at this time, unless another state is entered before.
    CheckAt(Tick),
    /// Deliver `timed_out` at this time, unless another state is entered before.
    TimeOutAt(Tick),
    /// Look now at what it uses.
    Measure,
    /// Deliver `measure_due` at this time, unless another state is entered before.
    MeasureAt(Tick),
    /// Remember whether what it uses speaks for a restart; since when is remembered with it.
    Due(bool),
    /// What follows is nobody's wish: it counts as an end by itself.
    Fault,
    /// Deliver `elapsed` when it is its turn among those that failed: so many milliseconds after the
    /// one before it.
    TakeTurn(i64),
    /// End whoever listens on its port.
    FreePort,
    /// See whether somebody listens on its port.
    LookAtPort,
    /// These go down and come up again, because it has ended.
    RestartOthers(Vec<ServiceName>),
    /// These are given up with it.
    GiveUpOthers(Vec<ServiceName>),
    /// Bring everything down: it is at rest, and nothing else is to outlive it.
    EndAll,
    /// Run a command on its behalf.
    Run(Task, String),
}

/// That a service may not start yet, and when to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Milliseconds until then.
    pub ms: i64,
    /// Why, as half a sentence.
    pub why: String,
}

type Wrong = Box<EvalAltResult>;
type Made = Result<Action, Wrong>;

/// Gives scripts the words for actions.
pub fn teach(engine: &mut Engine) {
    engine.register_type_with_name::<Action>("Action");
    engine.register_fn("launch", || Action::Launch);
    engine.register_fn("signal", |name: &str| -> Made {
        let signal = parse_signal(name).ok_or_else(|| wrong(format!("`{name}` is no signal")))?;
        Ok(Action::Signal(signal))
    });
    engine.register_fn("arm", |at: i64| Action::Arm(Tick(at)));
    engine.register_fn("attempts", |count: i64| Action::Attempts(count.max(0)));
    engine.register_fn("forget_exits", || Action::ForgetExits);
    engine.register_fn("check", || Action::Check);
    engine.register_fn("check_at", |at: i64| Action::CheckAt(Tick(at)));
    engine.register_fn("time_out_at", |at: i64| Action::TimeOutAt(Tick(at)));
    engine.register_fn("measure", || Action::Measure);
    engine.register_fn("measure_at", |at: i64| Action::MeasureAt(Tick(at)));
    engine.register_fn("due", Action::Due);
    engine.register_fn("fault", || Action::Fault);
    engine.register_fn("take_turn", |spacing_ms: i64| Action::TakeTurn(spacing_ms));
    engine.register_fn("free_port", || Action::FreePort);
    engine.register_fn("look_at_port", || Action::LookAtPort);
    engine.register_fn("restart_others", |all: Array| {
        Ok::<_, Wrong>(Action::RestartOthers(names(all)?))
    });
    engine.register_fn("give_up_others", |all: Array| {
        Ok::<_, Wrong>(Action::GiveUpOthers(names(all)?))
    });
    engine.register_fn("end_all", || Action::EndAll);
    engine.register_fn("run", |task: &str, line: &str| -> Made {
        let task = Task::of_word(task).ok_or_else(|| wrong(format!("`{task}` is no task")))?;
        Ok(Action::Run(task, line.to_owned()))
    });
    engine.register_type_with_name::<Wait>("Wait");
    engine.register_fn("wait", |ms: i64, why: &str| Wait { ms, why: why.to_owned() });
    engine.register_get("ms", |it: &mut Wait| it.ms);
    engine.register_get("why", |it: &mut Wait| it.why.clone());
    engine.register_fn("is_wait", |it: Dynamic| it.is::<Wait>());
    engine.register_fn("enter", |state: &str, why: &str| enter(state, why, 0));
    engine.register_fn("enter", enter);
    engine.register_fn("==", |one: Action, other: Action| one == other);
    engine.register_fn("to_string", |it: &mut Action| format!("{it:?}"));
    engine.register_fn("to_debug", |it: &mut Action| format!("{it:?}"));
}

fn enter(state: &str, why: &str, step: i64) -> Made {
    let state =
        State::of_word(state, step).ok_or_else(|| wrong(format!("`{state}` is no state")))?;
    Ok(Action::Enter(state, why.to_owned()))
}

fn names(all: Array) -> Result<Vec<ServiceName>, Wrong> {
    let name = |it: Dynamic| {
        let text = it.to_string();
        ServiceName::parse(&text).map_err(|error| wrong(error.to_string()))
    };
    all.into_iter().map(name).collect()
}

fn wrong(message: String) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}

/// A signal by name, with or without `SIG`, in any case, or by number.
///
/// ```
/// use nix::sys::signal::Signal;
/// use zinit_host::action::parse_signal;
/// assert_eq!(parse_signal("sigterm"), Some(Signal::SIGTERM));
/// assert_eq!(parse_signal("9"), Some(Signal::SIGKILL));
/// assert_eq!(parse_signal("SIGNOPE"), None);
/// ```
pub fn parse_signal(text: &str) -> Option<Signal> {
    match text.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) => signal_of(text),
    }
}

/// A signal is written down by its name.
mod by_name {
    use nix::sys::signal::Signal;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(signal: &Signal, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(signal.as_str())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Signal, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

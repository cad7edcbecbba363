//! The questions that a user may answer differently: one table of what each is given, and of what
//! counts as an answer.

use rhai::{Array, Dynamic, ImmutableString, Map};

use crate::action::{Wait, parse_signal};
use crate::name::ServiceName;

/// A function of the bundled policy that a user's may take the place of.
#[derive(Debug)]
pub struct Hook {
    /// Its name.
    pub name: &'static str,
    /// Its parameters. One that is given a `service` first may be chosen for each service.
    pub params: &'static [&'static str],
    /// What it answers.
    pub answer: Kind,
}

/// What a hook answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, not below 0.
    Whole,
    /// A text, or `()`.
    TextOrNothing,
    /// A list of names.
    Names,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `true`, what is waited for, or `wait(MS, WHY)`.
    Verdict,
    /// How a service is stopped: maps with `signal` or `run`, and `wait_ms`.
    Steps,
}

/// The largest number that is an answer: in milliseconds, some 30 years.
const WHOLE_MAX: i64 = 1_000_000_000_000;

/// Every hook, sorted by name.
pub static HOOKS: &[Hook] = &[
    hook("attempts_after", &["service", "ran_ms"], Kind::Whole),
    hook("brings_up", &["service", "asked"], Kind::Names),
    hook("check_delay_ms", &["service"], Kind::Whole),
    hook("clears_port", &["service"], Kind::OneOf(&["kill", "wait", "ignore"])),
    hook("drain_ms", &["service"], Kind::Whole),
    hook("ends_all", &["service", "exit"], Kind::Flag),
    hook("exit_status", &["cause", "ends"], Kind::Whole),
    hook("gives_up", &["service", "attempt"], Kind::Flag),
    hook("idle_action", &["service", "idle"], Kind::OneOf(&["stop", "keep"])),
    hook("is_failure", &["service", "exit"], Kind::Flag),
    hook("is_ready", &["service"], Kind::Flag),
    hook("is_satisfied", &["service"], Kind::Flag),
    hook("is_settled", &["service"], Kind::Flag),
    hook("launch_spacing_ms", &["service"], Kind::Whole),
    hook("may_start", &["service"], Kind::Verdict),
    hook("needs_restart", &["service", "keys"], Kind::Flag),
    hook("on_give_up", &["service"], Kind::TextOrNothing),
    hook("on_knock", &["service"], Kind::OneOf(&["start", "wait", "refuse"])),
    hook("on_unhealthy", &["service"], Kind::OneOf(&["restart", "ignore"])),
    hook("on_usage", &["service", "usage"], Kind::OneOf(&["keep", "wait", "restart"])),
    hook("restart_delay", &["service", "attempt"], Kind::Whole),
    hook("settle_ms", &["service"], Kind::Whole),
    hook("should_restart", &["service", "exit"], Kind::Flag),
    hook("shutdown_ms", &["is_init"], Kind::Whole),
    hook("start_order", &["names"], Kind::Names),
    hook("stop_order", &["names"], Kind::Names),
    hook("stop_steps", &["service"], Kind::Steps),
    hook("takes_along", &["service", "exit"], Kind::Names),
    hook("usage_period_ms", &["service"], Kind::Whole),
];

const fn hook(name: &'static str, params: &'static [&'static str], answer: Kind) -> Hook {
    Hook { name, params, answer }
}

/// The hook of that name.
pub fn find(name: &str) -> Option<&'static Hook> {
    HOOKS.binary_search_by(|it| it.name.cmp(name)).ok().map(|at| &HOOKS[at])
}

/// The names of all hooks that may be chosen for each service.
pub fn of_services() -> impl Iterator<Item = &'static str> {
    HOOKS.iter().filter(|it| it.is_of_service()).map(|it| it.name)
}

/// The names of the ready-made strategies, which answer several hooks at once.
pub fn strategies() -> impl Iterator<Item = &'static str> {
    zinit_stdlib::STRATEGIES.iter().map(zinit_stdlib::Source::stem)
}

impl Hook {
    /// Whether it may be chosen for each service: it is given one.
    pub fn is_of_service(&self) -> bool {
        self.params.first() == Some(&"service")
    }

    /// Its head, as it is written in a policy: `restart_delay(service, attempt)`.
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.params.join(", "))
    }

    /// Whether this is an answer.
    ///
    /// # Errors
    /// Why not, as half a sentence.
    pub fn accept(&self, said: &Dynamic) -> Result<(), String> {
        let fits = match self.answer {
            Kind::Flag => said.is_bool(),
            Kind::Whole => said.as_int().is_ok_and(|it| (0..=WHOLE_MAX).contains(&it)),
            Kind::TextOrNothing => said.is_unit() || said.is_string(),
            Kind::Names => is_list(said, is_name),
            Kind::OneOf(words) => {
                said.read_lock::<ImmutableString>().is_some_and(|it| words.contains(&it.as_str()))
            }
            Kind::Verdict => {
                let waits = said.read_lock::<Wait>().is_some_and(|it| it.ms <= WHOLE_MAX);
                said.is_string() || waits || said.as_bool() == Ok(true)
            }
            Kind::Steps => return steps(said),
        };
        if fits {
            Ok(())
        } else {
            Err(format!("it answered {} and not {}", shown(said), self.answer.wanted()))
        }
    }
}

impl Kind {
    /// What is expected, as an object of a sentence.
    pub fn wanted(self) -> String {
        match self {
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Whole => "a whole number from 0 on".to_owned(),
            Self::TextOrNothing => "a text or `()`".to_owned(),
            Self::Names => "a list of names".to_owned(),
            Self::OneOf(words) => {
                words.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" or ")
            }
            Self::Verdict => "`true`, a reason or `wait(MS, WHY)`".to_owned(),
            Self::Steps => "a list of steps".to_owned(),
        }
    }
}

fn is_name(said: &Dynamic) -> bool {
    said.read_lock::<ImmutableString>().is_some_and(|it| ServiceName::parse(&it).is_ok())
}

fn is_list(said: &Dynamic, each: impl Fn(&Dynamic) -> bool) -> bool {
    said.read_lock::<Array>().is_some_and(|it| it.iter().all(each))
}

/// Steps that end a service for certain: the last one is `SIGKILL`.
fn steps(said: &Dynamic) -> Result<(), String> {
    let steps = said
        .read_lock::<Array>()
        .ok_or_else(|| format!("it answered {} and not a list of steps", shown(said)))?;
    let mut kills = false;
    for step in steps.iter() {
        let step = step.read_lock::<Map>().ok_or("a step must be a map")?;
        kills = false;
        match (step.get("signal"), step.get("run"), step.get("drain")) {
            (Some(signal), None, None) => {
                let name = signal.clone().into_string().unwrap_or_default();
                let signal = parse_signal(&name).ok_or_else(|| format!("`{name}` is no signal"))?;
                kills = signal == nix::sys::signal::Signal::SIGKILL;
            }
            (None, Some(run), None) if run.is_string() => {}
            (None, None, Some(drain)) if drain.is_bool() => {}
            _ => return Err("a step must have one of `signal`, `run` and `drain`".to_owned()),
        }
        let wait_ms = step.get("wait_ms").and_then(|it| it.as_int().ok());
        if !wait_ms.is_some_and(|it| (0..=WHOLE_MAX).contains(&it)) {
            return Err("a step must say `wait_ms`, from 0 on".to_owned());
        }
    }
    if kills { Ok(()) } else { Err("the last step must be `SIGKILL`".to_owned()) }
}

/// A value as far as it helps to know it.
fn shown(said: &Dynamic) -> String {
    const SHOWN_MAX: usize = 40;
    let text = if said.is_string() { format!("{:?}", said.to_string()) } else { said.to_string() };
    let kind = said.type_name();
    if said.is_unit() {
        "nothing".to_owned()
    } else if said.is_array() || said.is_map() || text.len() > SHOWN_MAX {
        format!("with a value of type {}", kind.rsplit("::").next().unwrap_or(kind))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(HOOKS.is_sorted_by_key(|it| it.name));
    }
}

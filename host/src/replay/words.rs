//! Decisions in words, for whoever reads a replay.

use serde_json::Value;

use super::Said;
use crate::action::Action;
use crate::decision::{Decision, Question};
use crate::event::{Happening, Tick};
use crate::journal::to_json;
use crate::name::ServiceName;
use crate::state::{Service, describe};
use crate::view::Facts;

/// An answer, a piece for each action. Times are told from the decision on.
pub fn in_words(said: &Said, now: Tick) -> Vec<String> {
    match said {
        Said::Actions(Some(all)) if all.is_empty() => vec!["nothing".to_owned()],
        Said::Actions(Some(all)) => all.iter().map(|it| action(it, now)).collect(),
        Said::Actions(None) => vec!["no decision".to_owned()],
        Said::Value(value) => vec![value.to_string()],
    }
}

fn action(action: &Action, now: Tick) -> String {
    let after = |at: &Tick| format!("in {} ms", at.0 - now.0);
    match action {
        Action::Launch => "launch".to_owned(),
        Action::Signal(signal) => format!("signal {signal}"),
        Action::Arm(at) => format!("wake it {}", after(at)),
        Action::Enter(state, why) => format!("enter {}: {why}", state.word()),
        Action::Attempts(count) => format!("attempts {count}"),
        Action::ForgetExits => "forget its exits".to_owned(),
        Action::Check => "check".to_owned(),
        Action::CheckAt(at) => format!("check {}", after(at)),
        Action::TimeOutAt(at) => format!("time out {}", after(at)),
        Action::Fault => "count it as a fault".to_owned(),
        Action::TakeTurn(spacing_ms) => format!("take a turn of {spacing_ms} ms"),
        Action::FreePort => "free its port".to_owned(),
        Action::LookAtPort => "look at its port".to_owned(),
        Action::Measure => "measure it".to_owned(),
        Action::MeasureAt(at) => format!("measure it {}", after(at)),
        Action::Due(true) => "note that it is due".to_owned(),
        Action::Due(false) => "note that it is not due".to_owned(),
        Action::RestartOthers(names) => format!("restart {}", list(names)),
        Action::GiveUpOthers(names) => format!("give up {}", list(names)),
        Action::EndAll => "end everything".to_owned(),
        Action::Run(task, line) => format!("run {}: {line}", task.word()),
    }
}

fn list(names: &[ServiceName]) -> String {
    names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

/// What an answer depended on and what is not as usual, a piece for each fact.
pub fn inputs(decision: &Decision) -> Vec<String> {
    match &decision.question {
        Question::Step { before, what, seen, .. } => {
            let mut all = standing(before, decision.now);
            all.extend(event(what));
            all.extend(facts(&seen.facts));
            all
        }
        Question::Hook { seen, args, .. } => {
            let mut all: Vec<String> = seen
                .iter()
                .flat_map(|it| {
                    standing(&it.service, decision.now).into_iter().chain(facts(&it.facts))
                })
                .collect();
            all.extend(args.iter().map(|it| format!("given {}", to_json(it))));
            all
        }
    }
}

fn standing(service: &Service, now: Tick) -> Vec<String> {
    let it = &service.standing;
    let mut all = vec![format!(
        "{} for {} ms ({}), wanted {}",
        it.state.word(),
        now.0 - it.since.0,
        it.why,
        it.target.word()
    )];
    let mut count = |what: &str, count: i64| {
        if count != 0 {
            all.push(format!("{what} {count}"));
        }
    };
    count("attempts", it.attempts);
    count("restarts", it.restarts);
    count("failed checks", it.check_failures);
    all.extend(it.last_exit.as_ref().map(|it| format!("last exit {}", describe(it))));
    all
}

fn event(what: &Happening) -> Option<String> {
    match what {
        Happening::Exited { exit, .. }
        | Happening::Died { exit, .. }
        | Happening::Ran { exit, .. } => Some(format!("ended with {}", describe(exit))),
        Happening::Checked { failure, .. } => Some(
            failure.as_ref().map_or("the checks hold".to_owned(), |it| format!("a check: {it}")),
        ),
        Happening::MustYield { to } => Some(format!("for {to}")),
        Happening::MustRestart { with } | Happening::MustGiveUp { with } => {
            Some(format!("with {with}"))
        }
        Happening::Measured { usage, .. } => Some(usage.text()),
        _ => None,
    }
}

fn facts(facts: &Facts) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(it) = &facts.obstacle {
        let state = it.state.map_or("unknown", crate::state::State::word);
        all.push(format!("needs {}, which is {state} ({} unmet)", it.name, facts.unmet));
    }
    if facts.next_turn > facts.now {
        all.push(format!("the next turn is in {} ms", facts.next_turn.0 - facts.now.0));
    }
    if let Some(around) = facts.around.as_deref().filter(|it| !it.is_empty()) {
        let json = serde_json::to_value(around).unwrap_or(Value::Null);
        all.push(format!("around it {json}"));
    }
    all
}

//! `zinit why`: the chain of causes that a service's state has, drawn as a tree.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::{Context, Outcome};
use crate::render::{Paint, ago, in_secs, items, number, secs_since, word};
use zinit_host::harmless::harmless;

/// Asks for it and draws it.
pub(crate) fn run(cx: &Context, names: &[String]) -> Outcome {
    cx.each(names, |client, name| {
        let account = client.call("service.why", json!([name]))?;
        cx.show(&account, |paint| text(&account, paint))
    })
}

/// The service, its facts, and below it what it waits for.
pub(crate) fn text(account: &Value, paint: Paint) -> String {
    let mut text = format!("{}\n", head(account, paint));
    below(&mut text, account, "", paint);
    text
}

/// `web is Blocked: waits for db (since 12s)`.
fn head(it: &Value, paint: Paint) -> String {
    let mut text =
        format!("{} is {}", paint.bold(word(it, "name")), paint.state(word(it, "state")));
    let reason = word(it, "reason");
    if !reason.is_empty() {
        let _ = write!(text, ": {reason}");
    }
    if let Some(since_ms) = it["since_ms"].as_i64().filter(|it| *it >= 0) {
        let _ = write!(text, " (for {})", ago(secs_since(since_ms)));
    }
    text
}

fn below(text: &mut String, it: &Value, indent: &str, paint: Paint) {
    let causes: Vec<&Value> = items(&it["because"]).collect();
    let rule = if causes.is_empty() { "  " } else { "| " };
    for fact in facts(it) {
        let _ = writeln!(text, "{indent}{rule}{fact}");
    }
    for (index, cause) in causes.iter().enumerate() {
        let is_last = index + 1 == causes.len();
        let _ = writeln!(text, "{indent}`-- because {}", head(cause, paint));
        below(text, cause, &format!("{indent}{}", if is_last { "    " } else { "|   " }), paint);
    }
}

/// What is known besides, a line each: only what says something.
fn facts(it: &Value) -> Vec<String> {
    if !it["since_ms"].is_i64() {
        let is_unknown = word(it, "state") == "Unknown";
        return if is_unknown { Vec::new() } else { vec!["(told of above)".to_owned()] };
    }
    let mut facts = Vec::new();
    let mut fact = |key: &str, value: &str| {
        if !value.is_empty() {
            facts.push(format!("{key}: {value}"));
        }
    };
    let restarts = match number(it, "restarts") {
        0 => String::new(),
        1 => "started again once".to_owned(),
        times => format!("started again {times} times"),
    };
    fact("last exit", word(it, "last_exit"));
    fact("restarts", &restarts);
    if word(it, "health") != "ok" {
        fact("health", word(it, "health"));
    }
    fact("says", word(it, "says"));
    if number(it, "next_ms") > 0 {
        fact("next", format!("{} {}", word(it, "next"), in_secs(number(it, "next_ms"))).trim());
    }
    let events: Vec<&Value> = items(&it["events"]).collect();
    if !events.is_empty() {
        facts.push("lately:".to_owned());
        facts.extend(events.into_iter().map(event));
    }
    let lines = || items(&it["last_lines"]).filter_map(Value::as_str);
    if lines().next().is_some() {
        facts.push("its last words:".to_owned());
        facts.extend(lines().map(|it| format!("  {}", harmless(it.trim_end()))));
    }
    facts
}

/// `  3s ago Running -> Backoff: exit 1`.
fn event(it: &Value) -> String {
    let (from, to) = (word(it, "from"), word(it, "to"));
    let moved =
        if from.is_empty() || from == to { to.to_owned() } else { format!("{from} -> {to}") };
    format!("  {} ago {moved}: {}", ago(secs_since(number(it, "at_ms"))), word(it, "why"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    #[test]
    fn causes_are_indented_below_what_they_cause() {
        let db = json!({ "name": "db", "state": "Backoff", "reason": "exit 1", "since_ms": -1,
            "restarts": 2, "last_exit": "exit 1", "health": "", "last_lines": ["no space left"],
            "because": [] });
        let known = json!({ "name": "db", "state": "Backoff", "reason": "exit 1", "because": [] });
        let gone = json!({ "name": "mq", "state": "Unknown", "reason": "there is no service of \
            that name", "because": [] });
        let api = json!({ "name": "api", "state": "Blocked", "reason": "waits for db", "since_ms": -1,
            "because": [db, gone] });
        let web = json!({ "name": "web", "state": "Blocked", "reason": "waits for api", "since_ms": -1,
            "health": "ok", "because": [api, known] });
        let expected = "web is Blocked: waits for api\n\
            `-- because api is Blocked: waits for db\n\
            |   `-- because db is Backoff: exit 1\n\
            |   |     last exit: exit 1\n\
            |   |     restarts: started again 2 times\n\
            |   |     its last words:\n\
            |   |       no space left\n\
            |   `-- because mq is Unknown: there is no service of that name\n\
            `-- because db is Backoff: exit 1\n      (told of above)\n";
        assert_eq!(text(&web, PLAIN), expected);
    }
}

//! `zinit reload`: takes over what the files say, policy first, and shows what that means.

use std::fmt::Write as _;

use clap::Args;
use nu_ansi_term::Color;
use serde_json::{Value, json};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome};
use crate::render::{Paint, items, word};

/// What `zinit reload` is told.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    /// Services: names, globs or groups [default: all files]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Shows only what would be done
    #[arg(long)]
    dry_run: bool,
    /// Also shows what stays as it is
    #[arg(short = 'v', long)]
    verbose: bool,
}

impl Reload {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let names = if self.names.is_empty() { Value::Null } else { json!(self.names) };
        let mut client = cx.connect()?;
        let policy = match self.names.is_empty() {
            true => Some(self.policy(&mut client)?),
            false => None,
        };
        let mut plan = client.call("service.reload", json!([names, self.dry_run]))?;
        if let (Some(policy), Some(steps)) = (policy, plan.as_array_mut()) {
            steps.insert(0, policy);
        }
        cx.show(&plan, |paint| text(&plan, self, paint))
    }

    /// The step of the policy, which is marked as such.
    fn policy(&self, client: &mut Client) -> Result<Value, Refusal> {
        let mut step =
            client.call("policy.reload", json!([self.dry_run, true])).map_err(refused)?;
        step["policy"] = step["version"].take();
        Ok(step)
    }
}

/// Nothing is reloaded under a policy that is not fine.
fn refused(refusal: Refusal) -> Refusal {
    if refusal.kind != Kind::BadConfig {
        return refusal;
    }
    let problems = match refusal.data.get("problems") {
        Some(problems) => problems.clone(),
        None => json!([refusal.to_problem()]),
    };
    Refusal::new(
        Kind::BadConfig,
        "nothing is reloaded: the policy is refused, and the one before decides",
    )
    .with("problems", problems)
}

/// A line for each step, and what they come to.
fn text(plan: &Value, how: &Reload, paint: Paint) -> String {
    let is_of_policy = |it: &&Value| it.get("policy").is_some();
    let is_still = |it: &&Value| word(it, "verb") == "unchanged";
    let (still, changed): (Vec<&Value>, Vec<&Value>) =
        items(plan).filter(|it| !is_of_policy(it)).partition(is_still);
    let policy = items(plan).filter(is_of_policy).filter(|it| how.verbose || !is_still(it));
    let mut text = String::new();
    for it in
        policy.chain(changed.iter().copied()).chain(still.iter().copied().filter(|_| how.verbose))
    {
        let (mark, verb, colour) = shown(word(it, "verb"));
        let what = match (it.get("policy"), it.get("proxy")) {
            (Some(_), _) => "policy".to_owned(),
            (None, Some(_)) => format!("{verb} proxy {}", word(it, "proxy")),
            (None, None) => format!("{verb} {}", word(it, "service")),
        };
        let step = paint.on(colour.normal(), &format!("{mark} {what}"));
        let why = word(it, "why");
        let _ = writeln!(text, "{step}{}{why}", if why.is_empty() { "" } else { ": " });
    }
    let would = if how.dry_run { "would be changed" } else { "changed" };
    let _ = writeln!(text, "{} {would}, {} unchanged", changed.len(), still.len());
    text
}

fn shown(verb: &str) -> (char, &str, Color) {
    match verb {
        "start" | "add" => ('+', verb, Color::Green),
        "stop" | "delete" => ('-', verb, Color::Red),
        "restart" | "update" => ('~', verb, Color::Yellow),
        _ => ('=', "keep", Color::Default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    #[test]
    fn a_plan_is_a_line_for_each_change() {
        let plan = json!([
            { "service": "web", "verb": "start", "why": "new file" },
            { "service": "db", "verb": "restart", "why": "exec changed" },
            { "service": "mq", "verb": "unchanged", "why": "its file says the same" },
            { "service": "old", "verb": "delete", "why": "its file is gone" },
            { "proxy": "pg", "service": "db", "verb": "start", "why": "new file" },
        ]);
        let mut how = Reload { names: vec![], dry_run: false, verbose: false };
        let expected = "+ start web: new file\n~ restart db: exec changed\n\
            - delete old: its file is gone\n+ start proxy pg: new file\n4 changed, 1 unchanged\n";
        assert_eq!(text(&plan, &how, PLAIN), expected);
        how.verbose = true;
        assert!(text(&plan, &how, PLAIN).contains("= keep mq: its file says the same\n"));
        let mut with_policy = plan.clone();
        let step = json!({ "policy": "12", "verb": "update", "why": "policy.rhai changed" });
        with_policy.as_array_mut().expect("it is a list").insert(0, step);
        let told = text(&with_policy, &how, PLAIN);
        assert!(told.starts_with("~ policy: policy.rhai changed\n+ start web"), "{told}");
        assert!(told.ends_with("4 changed, 1 unchanged\n"), "{told}");
        how.dry_run = true;
        assert!(text(&plan, &how, PLAIN).ends_with("4 would be changed, 1 unchanged\n"));
    }
}

//! `zinit reload`: takes over what the files say, and shows what that means.

use std::fmt::Write as _;

use clap::Args;
use nu_ansi_term::Color;
use serde_json::{Value, json};

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
        let plan = cx.connect()?.call("service.reload", json!([names, self.dry_run]))?;
        cx.show(&plan, |paint| text(&plan, self, paint))
    }
}

/// A line for each step, and what they come to.
fn text(plan: &Value, how: &Reload, paint: Paint) -> String {
    let (still, changed): (Vec<&Value>, Vec<&Value>) =
        items(plan).partition(|it| word(it, "verb") == "unchanged");
    let mut text = String::new();
    for it in changed.iter().chain(still.iter().filter(|_| how.verbose)) {
        let (mark, verb, colour) = shown(word(it, "verb"));
        let step = paint.on(colour.normal(), &format!("{mark} {verb} {}", word(it, "service")));
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
        ]);
        let mut how = Reload { names: vec![], dry_run: false, verbose: false };
        let expected = "+ start web: new file\n~ restart db: exec changed\n\
            - delete old: its file is gone\n3 changed, 1 unchanged\n";
        assert_eq!(text(&plan, &how, PLAIN), expected);
        how.verbose = true;
        assert!(text(&plan, &how, PLAIN).contains("= keep mq: its file says the same\n"));
        how.dry_run = true;
        assert!(text(&plan, &how, PLAIN).ends_with("3 would be changed, 1 unchanged\n"));
    }
}

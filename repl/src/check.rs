//! `zinit check`: looks through configuration directories and scripts without a server.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use nu_ansi_term::Color;
use serde_json::{Value, json};
use zinit_host::check::{Checked, check_all};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::spec::schema;

use crate::commands::{Context, Outcome};
use crate::doc::with_session;
use crate::render::{self, Paint};

pub(crate) const EXAMPLES: &str = "\
A script is not run. What it imports is looked through as well, if the path is written out.
A file is checked as a policy, with its tests, if it is called policy.rhai or stands in a directory
policy/ (both times with the rest of its policy), or if it has functions only, one of them a hook.
A directory with scripts, but without service files and policy, is a directory of scripts.

Examples:
  zinit check job.rhai other.rhai     unknown functions and variables, wrong parameters, syntax
  zinit check jobs/                   all scripts of a directory
  zinit check                         service files and policy of the server
  zinit --json check job.rhai         for editors: path, line and column of each problem";

/// What `zinit check` is told.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Scripts, directories of scripts, configuration directories [default: cfg/zinit in ZINIT_HOME or ~/hero]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Prints the JSON Schema of a service file, for editors
    #[arg(long, conflicts_with = "paths")]
    schema: bool,
}

impl Check {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        if self.schema {
            render::print(&format!("{:#}\n", schema()));
            return Ok(0);
        }
        let paths = if self.paths.is_empty() {
            let dir = cx.flags.config_dir.as_ref().unwrap_or(&cx.home.config_dir);
            if !dir.is_dir() {
                let message = format!("there is no directory {}", dir.display());
                return Err(Refusal::new(Kind::Storage, message));
            }
            vec![dir.clone()]
        } else {
            self.paths.clone()
        };
        let checked = with_session(cx, |it| check_all(it, &paths))?;
        cx.show(&facts(&checked), |paint| text(&checked, paint))?;
        Ok(u8::from(!checked.problems.is_empty()))
    }
}

fn facts(checked: &Checked) -> Value {
    let each = |all: &[Refusal]| all.iter().map(render::refusal_as_json).collect::<Vec<_>>();
    json!({
        "services": checked.services,
        "scripts": checked.scripts.unwrap_or(0),
        "problems": each(&checked.problems),
        "warnings": each(&checked.warnings),
    })
}

/// All problems, all warnings, and how many there are.
fn text(checked: &Checked, paint: Paint) -> String {
    let Checked { services, scripts, problems, warnings } = checked;
    let mut text = String::new();
    let error = paint.on(Color::Red.bold(), "error:");
    let warning = paint.on(Color::Yellow.bold(), "warning:");
    problems.iter().for_each(|it| text += &render::refusal_as(&error, it, paint));
    warnings.iter().for_each(|it| text += &render::refusal_as(&warning, it, paint));
    let count = |number: usize, what: &str| match number {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        more => format!(", {more} {what}s"),
    };
    let are = |number: usize, what: &str| match number {
        1 => format!("1 {what} is"),
        more => format!("{more} {what}s are"),
    };
    let fine = match (*services, scripts) {
        (services, None) => are(services, "service"),
        (0, Some(scripts)) => are(*scripts, "script"),
        (services, Some(scripts)) => {
            format!("{} fine, {}", are(services, "service"), are(*scripts, "script"))
        }
    };
    let fine = format!("{fine} fine");
    let (problems, warnings) = (problems.len(), warnings.len());
    let _ = writeln!(text, "{fine}{}{}", count(problems, "problem"), count(warnings, "warning"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    #[test]
    fn problems_come_first_then_warnings_then_how_many_there_are() {
        let problem = Refusal::new(Kind::BadConfig, "a.yaml:1:1: unknown key `exce`")
            .hint("did you mean `exec`?");
        let warnings =
            vec![Refusal::new(Kind::BadConfig, "`web` waits for `db`, which is unknown")];
        let checked = Checked { services: 1, scripts: None, problems: vec![problem], warnings };
        let expected = "error: a.yaml:1:1: unknown key `exce`\nhint: did you mean `exec`?\n\
            warning: `web` waits for `db`, which is unknown\n\
            1 service is fine, 1 problem, 1 warning\n";
        assert_eq!(text(&checked, PLAIN), expected);
        assert_eq!(text(&Checked::default(), PLAIN), "0 services are fine\n");
        let scripts = Checked { scripts: Some(1), ..Checked::default() };
        assert_eq!(text(&scripts, PLAIN), "1 script is fine\n");
    }
}

//! `zinit check`: looks through a configuration directory or scripts without a server.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nu_ansi_term::Color;
use serde_json::{Value, json};
use zinit_host::check::{Checked, check, check_scripts};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::spec::schema;

use crate::commands::{Context, Outcome};
use crate::doc::with_session;
use crate::render::{self, Paint};

/// What `zinit check` is told.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// A directory of services, or scripts [default: cfg/zinit in ZINIT_HOME or ~/hero]
    #[arg(value_name = "DIR | FILE.rhai")]
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
        match &self.paths[..] {
            [] => directory(cx, cx.flags.config_dir.as_ref().unwrap_or(&cx.home.config_dir)),
            [one] if !is_script(one) => directory(cx, one),
            all => scripts(cx, all),
        }
    }
}

/// Whether a path is meant to be a script. What is one of a configuration directory's own files decides,
/// and says other words.
fn is_script(path: &Path) -> bool {
    path.is_file() || path.extension().is_some_and(|it| it == "rhai")
}

fn directory(cx: &Context, dir: &Path) -> Outcome {
    if !dir.is_dir() {
        let message = format!("there is no directory {}", dir.display());
        return Err(Refusal::new(Kind::Storage, message));
    }
    let checked = check(dir);
    cx.show(&facts(&checked), |paint| text(&checked, paint))?;
    let is_of_scripts = checked.services == 0 && !dir.join("policy.rhai").exists();
    if is_of_scripts && has_scripts(dir) && !cx.flags.json {
        render::remark(&format!(
            "`zinit check {}/*.rhai` looks through its scripts",
            dir.display()
        ));
    }
    Ok(u8::from(!checked.problems.is_empty()))
}

fn has_scripts(dir: &Path) -> bool {
    let mut all = std::fs::read_dir(dir).into_iter().flatten().flatten();
    all.any(|it| it.path().extension().is_some_and(|it| it == "rhai"))
}

fn scripts(cx: &Context, paths: &[PathBuf]) -> Outcome {
    if let Some(dir) = paths.iter().find(|it| it.is_dir()) {
        let message = format!("{} is a directory, and stands among scripts", dir.display());
        return Err(Refusal::new(Kind::BadArgument, message).hint("check it alone"));
    }
    let problems = with_session(cx, |it| check_scripts(it, paths))?;
    let told: Vec<Value> = problems.iter().map(render::refusal_as_json).collect();
    let answer = json!({ "scripts": paths.len(), "problems": told });
    cx.show(&answer, |paint| text_of_scripts(paths.len(), &problems, paint))?;
    Ok(u8::from(!problems.is_empty()))
}

fn text_of_scripts(count: usize, problems: &[Refusal], paint: Paint) -> String {
    let error = paint.on(Color::Red.bold(), "error:");
    let mut text: String =
        problems.iter().map(|it| render::refusal_as(&error, it, paint)).collect();
    let _ = match (count, problems.len()) {
        (1, 0) => writeln!(text, "1 script is fine"),
        (_, 0) => writeln!(text, "{count} scripts are fine"),
        (_, 1) => writeln!(text, "1 problem"),
        (_, many) => writeln!(text, "{many} problems"),
    };
    text
}

fn facts(checked: &Checked) -> Value {
    let each = |all: &[Refusal]| all.iter().map(render::refusal_as_json).collect::<Vec<_>>();
    json!({
        "services": checked.services,
        "problems": each(&checked.problems),
        "warnings": each(&checked.warnings),
    })
}

/// All problems, all warnings, and how many there are.
fn text(checked: &Checked, paint: Paint) -> String {
    let Checked { services, problems, warnings } = checked;
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
    let fine = if *services == 1 { "1 service is" } else { &format!("{services} services are") };
    let (problems, warnings) = (problems.len(), warnings.len());
    let _ =
        writeln!(text, "{fine} fine{}{}", count(problems, "problem"), count(warnings, "warning"));
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
        let checked = Checked { services: 1, problems: vec![problem], warnings };
        let expected = "error: a.yaml:1:1: unknown key `exce`\nhint: did you mean `exec`?\n\
            warning: `web` waits for `db`, which is unknown\n\
            1 service is fine, 1 problem, 1 warning\n";
        assert_eq!(text(&checked, PLAIN), expected);
        assert_eq!(text(&Checked::default(), PLAIN), "0 services are fine\n");
    }
}

//! `zinit policy check`: everything that keeps a policy from being loaded, all at once.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nu_ansi_term::Color;
use serde_json::json;
use zinit_host::policy::told::{strangers, vet};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::script;
use zinit_host::store::Store;

use super::config_dir;
use crate::commands::{Context, Outcome};
use crate::render::{self, Paint};

/// What to look through.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// A directory of services and policy, or one file [default: cfg/zinit in ZINIT_HOME or ~/hero]
    path: Option<PathBuf>,
}

/// How many files there are, and what is wrong with them.
struct Found {
    files: usize,
    problems: Vec<Refusal>,
}

impl Check {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let found = match &self.path {
            Some(path) if !path.exists() => {
                let message = format!("there is no {}", path.display());
                return Err(Refusal::new(Kind::Storage, message));
            }
            Some(path) if path.is_file() => of_file(path)?,
            Some(dir) => of_directory(dir),
            None => of_directory(config_dir(cx)),
        };
        let problems: Vec<_> = found.problems.iter().map(render::refusal_as_json).collect();
        let facts = json!({ "files": found.files, "problems": problems });
        cx.show(&facts, |paint| text(&found, paint))?;
        Ok(u8::from(!found.problems.is_empty()))
    }
}

/// The files of a policy see each other, and services name their functions.
fn of_directory(dir: &Path) -> Found {
    let store = Store::new(dir);
    let (files, mut problems) = store.policy_files();
    problems.extend(vet(&files));
    problems.extend(strangers(&store, &store.look().specs));
    Found { files: files.len(), problems }
}

/// One file by itself, unless it is one of several that are loaded together.
fn of_file(path: &Path) -> Result<Found, Refusal> {
    let whole = std::path::absolute(path).ok();
    let parents = whole.as_deref().into_iter().flat_map(|it| it.ancestors().skip(1).take(2));
    for dir in parents {
        let (files, _) = Store::new(dir).policy_files();
        if files.iter().any(|(it, _)| Some(it) == whole.as_ref()) {
            return Ok(of_directory(dir));
        }
    }
    let files = [(path.to_owned(), script::read(path)?)];
    Ok(Found { files: 1, problems: vet(&files) })
}

fn text(found: &Found, paint: Paint) -> String {
    if found.files == 0 && found.problems.is_empty() {
        return "there is no policy file: the bundled policy decides\n".to_owned();
    }
    let mut text = String::new();
    let heading = paint.on(Color::Red.bold(), "error:");
    found.problems.iter().for_each(|it| text += &render::refusal_as(&heading, it, paint));
    let files = if found.files == 1 { "1 file" } else { &format!("{} files", found.files) };
    let _ = match found.problems.len() {
        0 if found.files == 1 => writeln!(text, "{files} is fine"),
        0 => writeln!(text, "{files} are fine"),
        1 => writeln!(text, "{files}, 1 problem"),
        more => writeln!(text, "{files}, {more} problems"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    #[test]
    fn all_problems_are_told_and_counted() {
        let problem = |it: &str| Refusal::new(Kind::BadConfig, it);
        let found = Found { files: 2, problems: vec![problem("a").hint("b"), problem("c")] };
        assert_eq!(text(&found, PLAIN), "error: a\nhint: b\nerror: c\n2 files, 2 problems\n");
        assert_eq!(text(&Found { files: 1, problems: vec![] }, PLAIN), "1 file is fine\n");
        let none = "there is no policy file: the bundled policy decides\n";
        assert_eq!(text(&Found { files: 0, problems: vec![] }, PLAIN), none);
    }
}

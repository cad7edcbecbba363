//! Compiles and runs scripts with `zinit`, in a process of its own.

use std::env;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program;
use super::refusal::{Kind, Refusal, plainly};

/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What `zinit` ends with where no server answers.
const NO_SERVER: i32 = 3;

/// The program that runs scripts.
#[derive(Debug)]
pub(crate) struct Runner(PathBuf);

/// How a script that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Done,
    /// It needs a server, and there is none.
    NoServer,
}

impl Runner {
    /// The `zinit` in this directory, else the first in `PATH`.
    pub(crate) fn find(programs: &Path) -> Result<Self, Refusal> {
        let path = env::var_os("PATH").unwrap_or_default();
        let in_path: Vec<_> = env::split_paths(&path).collect();
        let all = std::iter::once(programs.to_owned()).chain(in_path);
        let mut found = all.map(|it| it.join("zinit")).filter(|it| it.is_file());
        found.next().map(Self).ok_or_else(|| {
            Refusal::new(Kind::BadScript, "cannot run scripts: there is no `zinit`")
                .hint("`--dir DIR` says where it is")
        })
    }

    /// Compiles a script without running it: it comes behind a `return`, on the same line, so that
    /// lines are told as they are.
    pub(crate) fn compile(&self, url: &str, text: &str) -> Result<(), Refusal> {
        let shebang =
            if text.starts_with("#!") { text.find('\n').unwrap_or(text.len()) } else { 0 };
        let input = format!("return; {}", &text[shebang..]);
        let ended = program::run(&mut program::command(&self.0, ["-i"]), &input, PATIENCE);
        let ended = ended.map_err(|it| self.broken(&it))?;
        if ended.status.success() {
            return Ok(());
        }
        let why = ended.stderr.trim().trim_start_matches("error: ").replace("stdin:", "line ");
        Err(Refusal::new(Kind::BadScript, format!("cannot use `{url}`: {why}")))
    }

    /// Runs a script. What it prints goes to standard error.
    pub(crate) fn run(&self, script: &Path) -> Result<Ran, Refusal> {
        let mut command = program::command(&self.0, [script]);
        let ended = program::run(&mut command, "", PATIENCE).map_err(|it| self.broken(&it))?;
        let _ = stderr().write_all(ended.stdout.as_bytes());
        match ended.status.code() {
            Some(0) => Ok(Ran::Done),
            Some(NO_SERVER) => Ok(Ran::NoServer),
            _ => {
                let said = ended.stderr.trim();
                let why = if said.is_empty() { ended.how() } else { said.to_owned() };
                let why = why.trim_start_matches("error: ");
                Err(Refusal::new(Kind::BadScript, format!("the script failed: {why}")))
            }
        }
    }

    fn broken(&self, error: &std::io::Error) -> Refusal {
        let message = format!("cannot run `{}`: {}", self.0.display(), plainly(error));
        Refusal::new(Kind::BadScript, message)
    }
}

//! The test of new programs before they are put in place: each must run and be what it is said to be,
//! and the server must be content with what is configured.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use semver::Version;

use super::installed::version_of;
use super::program::{self, Ended};
use super::refusal::{Kind, Refusal, plainly};

/// How long a server may take to look through all files.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `clap` ends with where an argument is unknown: that program cannot check yet.
const UNKNOWN_ARGUMENT: i32 = 2;

/// Refuses a program that does not run, or says that it is another version.
pub(crate) fn is_version(name: &str, new: &Path, version: &Version) -> Result<(), Refusal> {
    let why = match version_of(new) {
        Ok(said) if said == *version && (name != "zinit-updater" || keeps(new)) => return Ok(()),
        Ok(said) if said == *version => "it cannot be the first process of a container".to_owned(),
        Ok(said) => format!("it says that it is {said}"),
        Err(why) => why,
    };
    Err(failed(&format!("cannot use the new `{name}` {version}: {why}")))
}

/// Whether an updater does what a container begins with: there it would be begun again and again, with
/// nobody to put the one before back.
fn keeps(updater: &Path) -> bool {
    let ended =
        program::run(&mut program::command(updater, ["--init", "--", "true"]), "", PATIENCE);
    ended.is_ok_and(|it| it.status.success())
}

/// Refuses a server that finds problems in the configuration or the policy which the one in place
/// does not find.
pub(crate) fn accepts_configuration(old: &Path, new: &Path) -> Result<(), Refusal> {
    let found = problems(new).map_err(|why| {
        failed(&format!("cannot use the new `zinit-server`: its check failed: {why}"))
    })?;
    if found.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<_> = problems(old).unwrap_or_default().into_iter().collect();
    let fresh: Vec<_> = found.into_iter().filter(|it| !known.contains(it)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let message = "cannot use the new `zinit-server`: it does not accept what is configured:";
    Err(failed(&format!("{message}\n  {}", fresh.join("\n  "))))
}

/// What a server finds wrong, a line each.
fn problems(server: &Path) -> Result<Vec<String>, String> {
    let ended = program::run(&mut program::command(server, ["--check"]), "", PATIENCE);
    let ended = ended.map_err(|error| plainly(&error))?;
    match ended.status.code() {
        Some(0 | UNKNOWN_ARGUMENT) => Ok(Vec::new()),
        Some(1) => Ok(lines(&ended)),
        _ => Err(ended.how()),
    }
}

fn lines(ended: &Ended) -> Vec<String> {
    let lines = ended.stderr.lines().map(|it| it.trim().to_owned());
    let lines: Vec<_> = lines.filter(|it| !it.is_empty()).collect();
    if lines.is_empty() { vec!["it does not say why".to_owned()] } else { lines }
}

fn failed(message: &str) -> Refusal {
    Refusal::new(Kind::FailedTest, message).hint("nothing was changed")
}

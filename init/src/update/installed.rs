//! The programs of Zinit that are installed here, and of which version each is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use super::program;

/// All programs of Zinit. The updater comes last, so that it is there to go on after a crash.
pub(crate) const PROGRAMS: [&str; 3] = ["zinit", "zinit-server", "zinit-updater"];

/// How long a program may take to say what it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The programs that are there.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) dir: PathBuf,
    /// In the order of [`PROGRAMS`]; no version, if it does not say any.
    pub(crate) programs: Vec<(&'static str, Option<Version>)>,
}

impl Installed {
    /// Asks each program that is there. A link is left to whoever made it.
    pub(crate) fn look(dir: &Path) -> Self {
        let is_there = |it: &&&str| dir.join(it).symlink_metadata().is_ok_and(|it| it.is_file());
        let ask = |it: &&'static str| (*it, version_of(&dir.join(it)).ok());
        let programs = PROGRAMS.iter().filter(is_there).map(ask).collect();
        Self { dir: dir.to_owned(), programs }
    }

    /// Whether all of them are of that version.
    pub(crate) fn are(&self, version: &Version) -> bool {
        self.programs.iter().all(|(_, it)| it.as_ref() == Some(version))
    }

    /// The newest of them.
    pub(crate) fn newest(&self) -> Option<&Version> {
        self.programs.iter().filter_map(|(_, it)| it.as_ref()).max()
    }

    /// The version, or which program has which.
    pub(crate) fn shown(&self) -> String {
        let shown = |it: &Option<Version>| it.as_ref().map_or("unknown".into(), Version::to_string);
        match self.programs.as_slice() {
            [] => "none".to_owned(),
            [(_, first), rest @ ..] if rest.iter().all(|(_, it)| it == first) => shown(first),
            all => {
                let each = all.iter().map(|(name, it)| format!("{name} {}", shown(it)));
                each.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// What a program says to `--version`, or why it says nothing of use.
pub(crate) fn version_of(path: &Path) -> Result<Version, String> {
    let ended = program::run(&mut program::command(path, ["--version"]), "", PATIENCE);
    let ended = ended.map_err(|error| super::refusal::plainly(&error))?;
    if !ended.status.success() {
        return Err(ended.how());
    }
    let said = ended.stdout.split_whitespace().next_back().unwrap_or_default();
    Version::parse(said).map_err(|_| format!("it says `{}`", ended.stdout.trim()))
}

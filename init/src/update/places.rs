//! Where everything is that the updater reads or replaces.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::refusal::{Kind, Refusal};

/// The paths of one Zinit, and of its programs.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `~/hero`, or what `ZINIT_HOME` says.
    pub(crate) home: PathBuf,
    /// The directory of the programs that are updated.
    pub(crate) programs: PathBuf,
}

impl Places {
    /// The places that the environment names; the programs are those beside this one, unless it is
    /// said where they are.
    pub(crate) fn find(programs: Option<PathBuf>) -> Result<Self, Refusal> {
        let home = home().ok_or_else(|| {
            Refusal::new(Kind::BadArgument, "cannot tell where Zinit lives: HOME is not set")
                .hint("set ZINIT_HOME to a directory")
        })?;
        let programs = match programs {
            Some(dir) => dir,
            None => env::current_exe()
                .map_err(|error| Refusal::storage("find", Path::new("/proc/self/exe"), &error))?
                .parent()
                .expect("a program is in a directory")
                .to_owned(),
        };
        let whole = |it: PathBuf| std::path::absolute(&it).unwrap_or(it);
        Ok(Self { home: whole(home), programs: whole(programs) })
    }

    /// What the updater is told and remembers.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.join("cfg/zinit_latest.toml")
    }

    /// Where tracked scripts are kept.
    pub(crate) fn scripts(&self) -> PathBuf {
        self.home.join("cfg/zinit/scripts")
    }

    /// The server's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("var/zinit.sock")
    }
}

/// `~/hero`, or what `ZINIT_HOME` says.
pub(crate) fn home() -> Option<PathBuf> {
    let set = |key| env::var_os(key).filter(|it| !it.is_empty()).map(PathBuf::from);
    let of_user = || Some(User::from_uid(Uid::current()).ok().flatten()?.dir);
    set("ZINIT_HOME").or_else(|| Some(set("HOME").or_else(of_user)?.join("hero")))
}

//! Where everything of one Zinit lives: `~/hero`, or what `ZINIT_HOME` says.

use std::env;
use std::path::{Path, PathBuf};

use crate::refusal::{Kind, Refusal};

/// The paths of one Zinit. Flags may replace single ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Services and policy: `cfg/zinit`.
    pub config_dir: PathBuf,
    /// The Unix socket: `var/zinit.sock`.
    pub socket: PathBuf,
    /// Lock, token, logs: `var/zinit`.
    pub state_dir: PathBuf,
    /// What a server in the background prints: `var/zinit-server.log`.
    pub server_log: PathBuf,
}

impl Home {
    /// The home that the environment names.
    ///
    /// # Errors
    /// When neither `ZINIT_HOME` nor `HOME` is set and the user has no home directory.
    pub fn from_env() -> Result<Self, Refusal> {
        let set = |key| env::var_os(key).filter(|it| !it.is_empty()).map(PathBuf::from);
        let of_user = || {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten()?;
            Some(user.dir)
        };
        let root = set("ZINIT_HOME")
            .or_else(|| Some(set("HOME").or_else(of_user)?.join("hero")))
            .ok_or_else(|| {
            Refusal::new(Kind::BadArgument, "cannot tell where Zinit lives: HOME is not set")
                .hint("set ZINIT_HOME to a directory")
        })?;
        // A server leaves the directory that it was started in.
        let root = std::path::absolute(&root).unwrap_or(root);
        Ok(Self::under(&root))
    }

    /// The home in this directory.
    pub fn under(root: &Path) -> Self {
        Self {
            config_dir: root.join("cfg/zinit"),
            socket: root.join("var/zinit.sock"),
            state_dir: root.join("var/zinit"),
            server_log: root.join("var/zinit-server.log"),
        }
    }
}

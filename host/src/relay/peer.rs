//! Who is at the other end of a Unix socket, and may they come in?

use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use crate::identity;
use crate::refusal::{Kind, Refusal};
use crate::spec::RunAs;

/// The users who may connect to a socket's path, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Users(Option<Vec<u32>>);

impl Users {
    /// Looks them up. None at all means everybody.
    ///
    /// # Errors
    /// When there is no such user.
    pub(super) fn find(names: &[String]) -> Result<Self, Refusal> {
        if names.is_empty() {
            return Ok(Self(None));
        }
        let found: Result<Vec<_>, _> = names.iter().map(|it| number(it)).collect();
        let found = found.map_err(|why| {
            Refusal::new(Kind::BadConfig, format!("cannot tell who may connect: {why}"))
                .hint("`users` are names or numbers of `/etc/passwd`")
        });
        Ok(Self(Some(found?)))
    }

    /// Those of these who are known.
    pub(super) fn known(names: &[String]) -> Self {
        let all = (!names.is_empty()).then_some(names);
        Self(all.map(|names| names.iter().filter_map(|it| number(it).ok()).collect()))
    }

    /// Sees who this client is; root and the server's own user may always come in.
    ///
    /// # Errors
    /// Their number, if they may not.
    pub(super) fn admit(&self, client: &impl AsFd) -> Result<(), u32> {
        let Some(users) = &self.0 else { return Ok(()) };
        // Of one who is nobody: a client whose credentials the kernel does not tell.
        let uid = getsockopt(client, PeerCredentials).map_or(u32::MAX, |it| it.uid());
        if uid == 0 || uid == geteuid().as_raw() || users.contains(&uid) {
            Ok(())
        } else {
            Err(uid)
        }
    }
}

fn number(name: &str) -> Result<u32, String> {
    let run_as = RunAs { user: name.to_owned(), ..RunAs::default() };
    let found = identity::resolve(&run_as, Path::new("/etc/passwd"), Path::new("/etc/group"))?;
    Ok(found.identity.map_or(geteuid().as_raw(), |it| it.uid))
}

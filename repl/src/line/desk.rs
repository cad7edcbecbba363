//! Where a text lies while another program edits it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::unistd::mkdtemp;

/// Runs the editor of the user as `git` does: what it is called may have arguments. In a terminal that is
/// set for editing a line, a new line needs a carriage return.
const OPEN: &str = r#"
editor=${VISUAL:-${EDITOR:-vi}}
command -v "${editor%% *}" >/dev/null ||
    { printf '\r\nerror: cannot open `%s`: there is no such program; $EDITOR names one\r\n' "$editor"; exit; }
eval "$editor \"\$1\""
"#;

/// The directory there is, for whoever ends the process in the middle.
static OPEN_DESK: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A directory that only the user may enter. It goes with this.
pub(crate) struct Desk(PathBuf);

impl Desk {
    /// A new one, if there is a place for it.
    pub(crate) fn new() -> Option<Self> {
        let dir = mkdtemp(&std::env::temp_dir().join("zinit-XXXXXX")).ok()?;
        *OPEN_DESK.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir.clone());
        Some(Self(dir))
    }

    /// The file for a text, whose name says what it is.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("input.rhai")
    }

    /// What opens that file.
    #[expect(
        clippy::disallowed_methods,
        reason = "the editor belongs to the user, not to a service"
    )]
    pub(crate) fn opener(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", OPEN, "zinit"]).arg(self.file());
        command
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes the directory there is. Only for the end of the process.
pub(crate) fn tidy() {
    if let Some(dir) = &*OPEN_DESK.lock().unwrap_or_else(PoisonError::into_inner) {
        remove(dir);
    }
}

fn remove(dir: &Path) {
    // What cannot be removed, the system does away with.
    let _ = std::fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_desk_is_private_and_goes_away() {
        let desk = Desk::new().expect("a directory");
        let dir = desk.0.clone();
        std::fs::write(desk.file(), "1").expect("it is written");
        let mode = std::fs::metadata(&dir).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(desk);
        assert!(!dir.exists());
    }
}

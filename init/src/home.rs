//! The lock on a home: whoever has it keeps there, and nobody else does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::poll::poll;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// How often, and how many milliseconds each time, a lock is waited for whose owner is dead. Children of
/// a keeper that have not begun their programs hold it for a moment more.
const TRIES: u32 = 200;
const WAIT_MS: u8 = 10;

/// The lock on a home, held until its last copy is closed.
#[derive(Debug)]
pub struct Held(Flock<File>);

/// Why a home cannot be had.
#[derive(Debug)]
pub enum Refused {
    /// Somebody else has it: the process, and the socket that it serves, as far as they are told.
    Taken {
        /// Its number; empty if that is not written down.
        pid: String,
        /// The path.
        socket: String,
    },
    /// The file cannot be had.
    Storage(io::Error),
}

impl Held {
    /// Takes the lock that is this file, for whoever serves this socket.
    ///
    /// # Errors
    /// When somebody else has it, or when the file cannot be opened or written to.
    pub fn take(lock: &Path, socket: &Path) -> Result<Self, Refused> {
        for _ in 0..TRIES {
            match Self::try_take(lock, socket) {
                Err(Refused::Taken { pid, .. }) if is_dead(&pid) => wait(),
                answer => return answer,
            }
        }
        Self::try_take(lock, socket)
    }

    /// Takes the lock of a keeper that is dead, however long its last children hold it. `None` when
    /// somebody else was faster.
    pub fn inherit(lock: &Path, socket: &Path, dead: i32) -> Option<Self> {
        loop {
            match Self::try_take(lock, socket) {
                Ok(held) => return Some(held),
                Err(Refused::Taken { pid, .. }) if pid == dead.to_string() => wait(),
                Err(Refused::Taken { .. }) => return None,
                // A file system that cannot be written to now: whoever has the lock need not sign it.
                Err(Refused::Storage(_)) => match open(lock).map(try_lock) {
                    Ok(Ok(lock)) => return Some(Self(lock)),
                    _ => wait(),
                },
            }
        }
    }

    fn try_take(lock: &Path, socket: &Path) -> Result<Self, Refused> {
        match try_lock(open(lock).map_err(Refused::Storage)?) {
            Ok(lock) => {
                sign(&lock, socket).map_err(Refused::Storage)?;
                Ok(Self(lock))
            }
            Err(file) => Err(taken(file)),
        }
    }

    /// Leaves it to the program that this process is about to become.
    pub fn leave_open(&self) {
        // Cannot fail: it is open.
        let _ = fcntl(self.0.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()));
    }

    /// Leaves it to the keeper that this process is about to become.
    pub fn leave(self) {
        self.leave_open();
        std::mem::forget(self);
    }
}

/// Who has the lock that is this file, as it says itself.
pub fn holder(lock: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(lock).ok()?;
    text.lines().next()?.strip_prefix("pid ")?.parse().ok()
}

/// Whether the process that has signed the lock is gone.
pub fn is_orphaned(lock: &Path) -> bool {
    holder(lock).is_some_and(|it| is_dead(&it.to_string()))
}

fn open(lock: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(false).mode(0o600);
    how.open(lock)
}

fn try_lock(file: File) -> Result<Flock<File>, File> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, _)| file)
}

/// Writes down who holds the lock.
fn sign(lock: &File, socket: &Path) -> io::Result<()> {
    let text = format!("pid {}\nsocket {}\n", std::process::id(), socket.display());
    // Whoever looks meanwhile finds somebody's name.
    lock.write_all_at(text.as_bytes(), 0)?;
    lock.set_len(text.len() as u64)
}

fn taken(file: File) -> Refused {
    let mut text = String::new();
    // An unreadable lock says nothing about its holder, and that is all that is lost.
    let _ = file.take(4096).read_to_string(&mut text);
    let fact = |key| text.lines().find_map(|it| it.strip_prefix(key)).unwrap_or_default();
    Refused::Taken { pid: fact("pid ").to_owned(), socket: fact("socket ").to_owned() }
}

fn is_dead(pid: &str) -> bool {
    let Ok(pid) = pid.parse::<i32>() else { return false };
    pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

fn wait() {
    let _ = poll(&mut [], WAIT_MS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_keeper_and_the_next_one_when_that_is_gone() {
        let dir = std::env::temp_dir().join(format!("zinit-home-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let (lock, socket) = (dir.join("lock"), dir.join("sock"));
        let held = Held::take(&lock, &socket).expect("nobody has it");
        let me = std::process::id() as i32;
        assert_eq!((holder(&lock), is_orphaned(&lock)), (Some(me), false));
        let refused = Held::take(&lock, &socket).expect_err("somebody has it");
        let Refused::Taken { pid, socket: theirs } = refused else { panic!("{refused:?}") };
        assert_eq!((pid, theirs), (me.to_string(), socket.display().to_string()));
        assert!(Held::inherit(&lock, &socket, me + 1).is_none(), "it is another one's");
        drop(held);
        assert!(Held::inherit(&lock, &socket, me).is_some());
        let nowhere = Held::take(Path::new("/proc/lock"), &socket);
        assert!(matches!(nowhere, Err(Refused::Storage(_))));
        std::fs::remove_dir_all(&dir).expect("it is ours");
    }
}

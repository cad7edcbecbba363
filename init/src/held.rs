//! What brains give to hold: sockets under keys, which outlive who has made them.
//!
//! They stay open over brains and over new beginnings of the keeper's program. When the keeper dies, its
//! brain has them open too and becomes the next one; when both are dead, a service that was started with
//! them is asked for copies. What cannot be found again is not held any more.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{SFlag, fstat};
use serde::{Deserialize, Serialize};

use crate::keep::Keep;
use crate::launch::low_numbers;
use crate::ledger::{Entry, line_of};
use crate::pool::{Key, Pool, inode_of};
use crate::slot::{Life, Slots};
use crate::wire::{Launch, NOTE_MAX, PACKET_FDS_MAX, Ready};

/// The most keys.
const KEYS_MAX: usize = 16 * 1024;

/// The longest key, in bytes.
const KEY_MAX: usize = 255;

/// The first number that a process gets sockets under.
pub(crate) const FIRST: RawFd = 3;

/// What a process is started with. Shared: for whoever is being started it stays open, dropped or not.
pub(crate) type Sockets = Rc<[OwnedFd]>;

/// What is held, by its keys.
pub(crate) struct Held {
    things: HashMap<Rc<str>, Thing>,
    /// Counts what was ever held: it is told in the order in which it came.
    count: u64,
    /// How many descriptors are held, and the most.
    open: usize,
    open_max: usize,
}

struct Thing {
    serial: u64,
    note: Box<str>,
    fds: Sockets,
}

/// What an incarnation is started with.
pub(crate) struct Given {
    pub(crate) key: Box<str>,
    /// What is held under it, until the process has it.
    pub(crate) fds: Option<Sockets>,
}

/// A key with its note and the inodes of its sockets, as they are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Holding {
    pub(crate) key: String,
    pub(crate) note: String,
    pub(crate) inodes: Vec<u64>,
}

impl Held {
    /// Room for half of the descriptors that this process may have: the others are for services.
    pub(crate) fn new() -> Self {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let open_max = usize::try_from(limit / 2).unwrap_or(usize::MAX);
        Self { things: HashMap::new(), count: 0, open: 0, open_max }
    }

    /// Holds these under this key, which is free; half a sentence when that cannot be.
    fn hold(&mut self, key: &str, note: &str, fds: Vec<OwnedFd>) -> Result<(), &'static str> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err("a key has 1 to 255 bytes");
        }
        if note.len() > NOTE_MAX {
            return Err("its note is too long");
        }
        if self.things.len() >= KEYS_MAX || self.open + fds.len() > self.open_max {
            return Err("the keeper holds as much as it can");
        }
        if !fds.iter().all(is_socket) {
            return Err("only sockets can be held");
        }
        let fds: Option<Sockets> = fds.into_iter().map(out_of_the_way).collect();
        let fds = fds.ok_or("no descriptor is left for them")?;
        self.count += 1;
        self.open += fds.len();
        self.things.insert(key.into(), Thing { serial: self.count, note: note.into(), fds });
        Ok(())
    }

    /// Closes what is held under this key, unless somebody is just being started with it; false when
    /// that is nothing.
    fn release(&mut self, key: &str) -> bool {
        let gone = self.things.remove(key);
        self.open -= gone.as_ref().map_or(0, |it| it.fds.len());
        gone.is_some()
    }

    /// The keys, in the order in which they came.
    pub(crate) fn keys(&self) -> Vec<Rc<str>> {
        let mut all: Vec<_> = self.things.iter().map(|(key, it)| (it.serial, key)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, key)| Rc::clone(key)).collect()
    }

    /// The note and the sockets of a key.
    pub(crate) fn get(&self, key: &str) -> Option<(&str, &[OwnedFd])> {
        self.things.get(key).map(|it| (&*it.note, &*it.fds))
    }

    /// All of it, as it is written down.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.keys().into_iter().filter_map(|it| self.holding(&it))
    }

    fn holding(&self, key: &str) -> Option<Holding> {
        let (note, fds) = self.get(key)?;
        let inodes = fds.iter().map(inode_of).collect();
        Some(Holding { key: key.to_owned(), note: note.to_owned(), inodes })
    }

    /// All sockets.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.things.values().flat_map(|it| &*it.fds)
    }

    /// What a launch asks for, if it does; half a sentence when it cannot get that.
    pub(crate) fn give(&self, launch: &Launch) -> Result<Option<Box<Given>>, &'static str> {
        let Some(asked) = &launch.sockets else { return Ok(None) };
        let thing = self.things.get(&*asked.key).filter(|it| !it.fds.is_empty());
        let fds = Rc::clone(&thing.ok_or("its sockets are not held")?.fds);
        if asked.names.iter().any(|it| it.contains([':', '\0'])) {
            return Err("a socket's name contains `:` or a NUL byte");
        }
        if matches!(launch.ready, Ready::Fd(number) if number < end_of(&fds)) {
            return Err("the descriptor for readiness is that of a socket");
        }
        Ok(Some(Box::new(Given { key: asked.key.as_str().into(), fds: Some(fds) })))
    }
}

/// The first number after those that these sockets get.
pub(crate) fn end_of(fds: &[OwnedFd]) -> RawFd {
    FIRST + fds.len() as RawFd
}

/// The variables that tell a process of its sockets, except the one with its own number.
pub(crate) fn variables(names: &[String], count: usize) -> [String; 2] {
    let unnamed = std::iter::repeat("unknown");
    let names: Vec<&str> = names.iter().map(|it| &**it).chain(unnamed).take(count).collect();
    [format!("LISTEN_FDS={count}"), format!("LISTEN_FDNAMES={}", names.join(":"))]
}

/// The same under a number that no process is started with, if there is one.
#[expect(unsafe_code, reason = "a descriptor that fcntl has made")]
fn out_of_the_way(fd: OwnedFd) -> Option<OwnedFd> {
    let floor = low_numbers().max(FIRST + PACKET_FDS_MAX as RawFd);
    if fd.as_raw_fd() >= floor {
        return Some(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(floor)).ok()?;
    // SAFETY: the kernel has just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn is_socket(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|it| it.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits())
}

impl Keep {
    /// Holds what has come with a request, instead of what is held under its key so far; nothing any more
    /// when that cannot be. `fds` are those of its packet that nobody has taken yet.
    pub(crate) fn hold(
        &mut self,
        key: &str,
        note: &str,
        count: usize,
        fds: &mut std::vec::IntoIter<OwnedFd>,
    ) {
        let came: Vec<OwnedFd> = fds.take(count).collect();
        let was_held = self.held.release(key);
        let held = match came.len() == count && count <= PACKET_FDS_MAX {
            true => self.held.hold(key, note, came),
            false => Err("they have not arrived"),
        };
        if was_held || held.is_ok() {
            self.write_down_held(key);
        }
        if let Err(why) = held {
            let key: String = key.chars().take(KEY_MAX).collect();
            self.complaints.say(format_args!("cannot hold the sockets of `{key}`: {why}"));
        }
    }

    /// Closes what is held.
    pub(crate) fn drop_held(&mut self, key: &str) {
        if self.held.release(key) {
            self.write_down_held(key);
        }
    }

    fn write_down_held(&mut self, key: &str) {
        let Some(ledger) = &mut self.ledger else { return };
        ledger.add(&match self.held.holding(key) {
            Some(holding) => line_of(&Entry::Held(holding)),
            None => line_of(&Entry::Dropped { key: key.to_owned() }),
        });
    }

    /// Takes over what was held: from this process, or from services that were started with it. A key of
    /// which one socket is missing is not held.
    pub(crate) fn hold_again(&mut self, holdings: &[Holding], pool: &mut Pool) {
        for Holding { key, note, inodes } in holdings {
            let left: Option<Vec<OwnedFd>> =
                inodes.iter().map(|it| pool.take(Key::Reads(*it))).collect();
            let found = left.or_else(|| given_back(&self.slots, key, inodes));
            // This process may be allowed less than the one that has held it.
            if let Some(Err(why)) = found.map(|fds| self.held.hold(key, note, fds)) {
                self.complaints.say(format_args!("cannot hold the sockets of `{key}`: {why}"));
            }
        }
    }
}

/// Copies of the sockets of this key, from a service that was started with them.
fn given_back(slots: &Slots, key: &str, inodes: &[u64]) -> Option<Vec<OwnedFd>> {
    let has = |given: &Option<Box<Given>>| given.as_ref().is_some_and(|it| *it.key == *key);
    let mut mains = slots.iter().filter(|it| has(&it.sockets)).filter_map(|it| match &it.life {
        Life::Up { pidfd, .. } => Some((it.pid, pidfd)),
        _ => None,
    });
    mains.find_map(|(pid, pidfd)| inodes.iter().map(|it| copy_from(pid, pidfd, *it)).collect())
}

/// A copy of a socket that another process has open, if the kernel lets us have one.
fn copy_from(pid: i32, pidfd: &OwnedFd, inode: u64) -> Option<OwnedFd> {
    let name = format!("socket:[{inode}]");
    let all = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut its =
        all.filter(|it| fs::read_link(it.path()).is_ok_and(|it| it.as_os_str() == name.as_str()));
    let number = its.find_map(|it| it.file_name().to_str()?.parse::<RawFd>().ok())?;
    let copy = pidfd_getfd(pidfd, number).ok()?;
    // The process may have put something else there meanwhile, or be another one.
    (inode_of(&copy) == inode).then_some(copy)
}

#[expect(unsafe_code, reason = "pidfd_getfd has no wrapper")]
fn pidfd_getfd(pidfd: &OwnedFd, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    // SAFETY: the kernel has just made this descriptor for us.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Descriptors, as they are sent.
pub(crate) fn borrowed(fds: &[OwnedFd]) -> impl Iterator<Item = BorrowedFd<'_>> {
    fds.iter().map(std::os::fd::AsFd::as_fd)
}

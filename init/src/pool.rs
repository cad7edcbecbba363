//! Descriptors that a process before this one has left: by `exec` in the same process, or found in
//! another process that holds the same thing open. Each is known by its inode, not by its number.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::adopt::Estate;
use crate::launch::low_numbers;
use crate::who;

/// What was inherited, by what it is. One thing may be there more than once.
#[derive(Default)]
pub(crate) struct Pool {
    found: HashMap<Key, Vec<OwnedFd>>,
}

/// What a descriptor is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The reading end of the pipe, or a socket, with this inode.
    Reads(u64),
    /// An end of that pipe which can be written to, too or alone.
    Writes(u64),
    /// The process with this inode.
    Process(u64),
}

impl Pool {
    /// Takes everything above the standard streams that `exec` has left open and that can be told. To
    /// be called once, before this process opens anything of the kind. They get high numbers: the low
    /// ones are for what children need, who copy them. Heirlooms are left alone.
    #[expect(unsafe_code, reason = "adopts descriptors by their numbers")]
    pub(crate) fn inherited(heirlooms: &[RawFd]) -> Self {
        let mut pool = Self::default();
        for number in open_numbers() {
            if closes_on_exec(number) || heirlooms.contains(&number) {
                continue;
            }
            // SAFETY: it is open, and nobody in this process knows of it but we.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            match key_of(&fd) {
                Some(key) => {
                    let _ = fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
                    let fd = out_of_the_way(&fd).unwrap_or(fd);
                    pool.found.entry(key).or_default().push(fd);
                }
                // What whoever started us wants to stay open, as a lock.
                None => std::mem::forget(fd),
            }
        }
        pool
    }

    /// Takes one.
    pub(crate) fn take(&mut self, key: Key) -> Option<OwnedFd> {
        self.found.get_mut(&key)?.pop()
    }

    /// How many are left.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.found.values().map(Vec::len).sum()
    }
}

/// The same under a number that no launch needs, if there is one.
#[expect(unsafe_code, reason = "a descriptor that fcntl has made")]
fn out_of_the_way(fd: &OwnedFd) -> Option<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(low_numbers())).ok()?;
    // SAFETY: the kernel has just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What this is, if it is a pipe, a socket for datagrams, or names a process.
pub(crate) fn key_of(fd: &OwnedFd) -> Option<Key> {
    if let Some(inode) = who::inode(fd) {
        return Some(Key::Process(inode));
    }
    let about = fstat(fd).ok()?;
    let kind = SFlag::from_bits_truncate(about.st_mode & SFlag::S_IFMT.bits());
    match kind {
        SFlag::S_IFIFO => match fcntl(fd, FcntlArg::F_GETFL).ok()? & libc::O_ACCMODE {
            libc::O_RDONLY => Some(Key::Reads(about.st_ino)),
            _ => Some(Key::Writes(about.st_ino)),
        },
        SFlag::S_IFSOCK => Some(Key::Reads(about.st_ino)),
        _ => None,
    }
}

/// The inode of a pipe or a socket.
pub(crate) fn inode_of(fd: &OwnedFd) -> u64 {
    fstat(fd).map_or(0, |it| it.st_ino)
}

/// What whoever started this process has left open for it without telling what it is, as a lock. To be
/// called once, when everything that can be told was taken.
#[expect(unsafe_code, reason = "adopts descriptors by their numbers")]
pub(crate) fn heirlooms() -> Vec<OwnedFd> {
    let left = open_numbers().into_iter().filter(|it| !closes_on_exec(*it));
    // SAFETY: they are open, and nobody in this process knows of them but we.
    left.map(|it| unsafe { OwnedFd::from_raw_fd(it) }).collect()
}

/// Another end of the pipe that a process has open, wherever it has it.
pub(crate) fn reopen(pid: i32, pipe: u64, flags: OFlag) -> Option<OwnedFd> {
    let dir = format!("/proc/{pid}/fd");
    let name = format!("pipe:[{pipe}]");
    let is_it = |path: &Path| fs::read_link(path).is_ok_and(|it| it.as_os_str() == name.as_str());
    let usual = (0..3).map(|it| Path::new(&dir).join(it.to_string()));
    let all = fs::read_dir(&dir).into_iter().flatten().flatten().map(|it| it.path());
    let path = usual.chain(all).find(|it| is_it(it))?;
    let end = open(&path, flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty()).ok()?;
    // The process may have put something else there meanwhile.
    (inode_of(&end) == pipe).then_some(end)
}

/// Lets `exec` leave open whatever a keeper can tell that takes over: pipes, sockets for datagrams, what
/// names processes, and the sockets that the dead keeper has held according to its ledger. So a brain
/// whose keeper is dead becomes the next one, with [`HEIR_ENV`] in its environment.
///
/// [`HEIR_ENV`]: crate::HEIR_ENV
#[expect(unsafe_code, reason = "looks at descriptors by their numbers")]
pub fn leave_what_can_be_told(ledger: &Path) {
    let estate = Estate::of_file(ledger).ok().flatten().unwrap_or_default();
    let held: HashSet<u64> = estate.held.into_iter().flat_map(|it| it.inodes).collect();
    for number in open_numbers() {
        // SAFETY: it is only looked at, and its owner keeps it.
        let fd = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
        let datagrams = nix::sys::socket::getsockopt(&*fd, nix::sys::socket::sockopt::SockType)
            .is_ok_and(|it| it == nix::sys::socket::SockType::Datagram);
        let is_socket =
            fstat(&*fd).is_ok_and(|it| it.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits());
        let Some(key) = key_of(&fd) else { continue };
        let is_held = matches!(key, Key::Reads(inode) if held.contains(&inode));
        if datagrams || !is_socket || is_held {
            leave_open(&*fd);
        }
    }
}

/// Lets `exec` leave it open.
pub(crate) fn leave_open(fd: impl std::os::fd::AsFd) {
    // Cannot fail: it is open.
    let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
}

/// The numbers of this process's descriptors above the standard streams.
fn open_numbers() -> Vec<RawFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return (3..1024).collect() };
    let numbers = entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    numbers.filter(|it| *it > 2).collect()
}

/// Also what is not open at all.
#[expect(unsafe_code, reason = "fcntl of a number that may name nothing")]
fn closes_on_exec(number: RawFd) -> bool {
    // SAFETY: touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags < 0 || flags & libc::FD_CLOEXEC != 0
}

#[cfg(test)]
mod tests {
    use nix::unistd::{getpid, pipe, write};

    use super::*;

    #[test]
    fn ends_of_a_pipe_are_told_apart() {
        let (reader, writer) = pipe().expect("a pipe");
        let inode = inode_of(&reader);
        assert_eq!(key_of(&reader), Some(Key::Reads(inode)));
        assert_eq!(key_of(&writer), Some(Key::Writes(inode)));
        let file = OwnedFd::from(fs::File::open("/proc/self/stat").expect("a file"));
        assert_eq!(key_of(&file), None);
        assert_eq!(Pool::default().len(), 0);
    }

    #[test]
    fn a_pipe_is_opened_again_by_who_holds_it() {
        let (reader, writer) = pipe().expect("a pipe");
        let (me, inode) = (getpid().as_raw(), inode_of(&reader));
        let again = reopen(me, inode, OFlag::O_RDONLY).expect("it is open here");
        write(&writer, b"x").expect("there is room");
        assert_eq!(nix::unistd::read(&again, &mut [0; 8]), Ok(1));
        assert!(reopen(me, inode + 1_000_000, OFlag::O_RDONLY).is_none());
    }
}

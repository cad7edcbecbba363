//! The cgroup of one service: who is in it, and how all of them are reached at once.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};

use crate::cgroup::{directories, remove_tree};
use crate::reap;

/// A look at who is left, for signals that the kernel does not send to a whole cgroup, is repeated so
/// often while it still finds somebody new.
const LOOKS_MAX: usize = 64;

/// A cgroup without processes of anybody else.
pub(crate) struct Leaf {
    dir: OwnedFd,
    /// The files that a launch has written to.
    limited: Vec<String>,
    /// All in it were killed at once.
    killed: Cell<bool>,
}

impl Leaf {
    /// Makes the directory, anew if it is there already.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if let Err(error) = fs::create_dir(path) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            remove_tree(path);
            fs::create_dir(path)?;
        }
        let dir = open_dir(path)?;
        Ok(Self { dir, limited: Vec::new(), killed: Cell::new(false) })
    }

    /// One that a keeper before this one made, with the files that its launches have written to.
    pub(crate) fn again(path: &Path, limited: Vec<String>) -> io::Result<Self> {
        let dir = open_dir(path)?;
        // Whether it was ever killed is not known, and matters to the next launch.
        Ok(Self { dir, limited, killed: Cell::new(true) })
    }

    /// The files that a launch has written to.
    pub(crate) fn limited(&self) -> &[String] {
        &self.limited
    }

    /// Whether another launch may have it as it is: nothing was set that it does not set again, and
    /// nobody was killed. A kernel from 6.14 on kills whoever is cloned into a cgroup that was killed
    /// ever: it compares the count of its kills with that of the parent's cgroup (seen in 6.18).
    pub(crate) fn suits(&self, limits: &[(String, String)]) -> bool {
        let again = |it: &String| limits.iter().any(|(file, _)| file == it);
        !self.killed.get() && self.limited.iter().all(again)
    }

    /// Sets a limit: the file's name and what is written to it.
    pub(crate) fn limit(&mut self, file: &str, value: &str) -> io::Result<()> {
        if file.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !self.limited.iter().any(|it| it == file) {
            self.limited.push(file.to_owned());
        }
        self.write(file, value)
    }

    /// A file that changes, and can be waited for, when the last process leaves.
    pub(crate) fn events(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(openat(&self.dir, "cgroup.events", flags, Mode::empty())?.into())
    }

    /// Everybody in it and below. A process that is not in our namespace is a 0.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut members = processes(&self.dir).unwrap_or_default();
        // Two links, and one for each cgroup below.
        if fstat(&self.dir).is_ok_and(|it| it.st_nlink > 2) {
            let mut paths: Vec<PathBuf> =
                self.path().iter().flat_map(|it| directories(it)).collect();
            while let Some(path) = paths.pop() {
                members.extend(open_dir(&path).and_then(|it| processes(&it)).unwrap_or_default());
                paths.extend(directories(&path));
            }
        }
        members
    }

    /// Signals those members by their identity whom `chosen` picks.
    pub(crate) fn signal(&self, signal: i32, chosen: impl Fn(i32) -> bool) {
        let mut found = self.members();
        found.retain(|it| *it > 0 && chosen(*it));
        let open: Vec<(i32, OwnedFd)> =
            found.iter().filter_map(|it| Some((*it, reap::pidfd_of(*it).ok()?))).collect();
        if open.is_empty() {
            return;
        }
        // Who is still listed was listed when the descriptor was made, or that names a dead one.
        let still = self.members();
        for (_, pidfd) in open.iter().filter(|(pid, _)| still.contains(pid)) {
            reap::signal_one(pidfd.as_fd(), signal);
        }
    }

    /// Kills everybody, and those who are being born.
    pub(crate) fn kill(&self) {
        if self.write("cgroup.kill", "1").is_ok() {
            self.killed.set(true);
            return;
        }
        // Linux before 5.14.
        let _ = self.write("cgroup.freeze", "1");
        let mut killed: Vec<i32> = Vec::new();
        for _ in 0..LOOKS_MAX {
            let new: Vec<_> =
                self.members().into_iter().filter(|it| !killed.contains(it)).collect();
            if new.is_empty() {
                break;
            }
            self.signal(nix::libc::SIGKILL, |it| new.contains(&it));
            killed.extend(new);
        }
        let _ = self.write("cgroup.freeze", "0");
    }

    /// Removes the directory.
    pub(crate) fn remove(self) {
        if let Some(path) = self.path() {
            remove_tree(&path);
        }
    }

    /// Where it is. To remember that of each would double what a leaf costs.
    fn path(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{}", self.dir.as_raw_fd())).ok()
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&self.dir, file, flags, Mode::empty())?;
        nix::unistd::write(&file, value.as_bytes())?;
        Ok(())
    }
}

impl AsFd for Leaf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Who is in a cgroup itself.
fn processes(dir: &OwnedFd) -> io::Result<Vec<i32>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = openat(dir, "cgroup.procs", flags, Mode::empty())?;
    let (mut text, mut part) = (Vec::new(), [0; 1024]);
    loop {
        match nix::unistd::read(&file, &mut part)? {
            0 => break,
            length => text.extend_from_slice(&part[..length]),
        }
    }
    let lines = text.split(|it| *it == b'\n');
    Ok(lines.filter_map(|it| str::from_utf8(it).ok()?.parse().ok()).collect())
}

/// Whether a leaf's file of events says that processes are in it. To read it is to wait for the next
/// change.
pub(crate) fn populated(events: &File) -> io::Result<bool> {
    let mut text = [0; 256];
    let length = events.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).contains("populated 1"))
}

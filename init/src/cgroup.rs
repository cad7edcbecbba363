//! The cgroups of this keeper: one directory, in it a leaf for each service, all of it made only
//! where the kernel lets us, and none of it left behind.
//!
//! ```text
//!  own cgroup/              where the keeper was started
//!    zinit-PID/             locked (`flock`) while its keeper lives, so that others know it is in use
//!      @keeper/             the keeper and its brain, only where there are controllers: a cgroup
//!                           that passes controllers on has no processes of its own
//!      web/  db/ ...        the leaves
//! ```

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, getpid};

use crate::launch;
use crate::leaf::Leaf;
use crate::mounts::own_directory;
use crate::reap;
use crate::wire::leaf_name;

/// Set to `off`, this makes the keeper track processes as where there are no cgroups.
const SWITCH: &str = "ZINIT_CGROUP";

/// What the directories of keepers begin with.
const PREFIX: &str = "zinit-";

/// Where the keeper goes when it must not be where it was started. No leaf has this name.
const KEEPER: &str = "@keeper";

/// The controllers that leaves get, where they are there.
const WANTED: [&str; 3] = ["memory", "cpu", "pids"];

/// A directory for leaves.
pub(crate) struct Cgroups {
    path: PathBuf,
    _lock: Flock<File>,
    controllers: Vec<String>,
    /// Those that the own cgroup did not pass on before.
    enabled: Vec<String>,
}

impl Cgroups {
    /// Makes the directory, and removes those of keepers that are gone. `None` where none can be.
    pub(crate) fn new() -> Option<Self> {
        if std::env::var_os(SWITCH).is_some_and(|it| it == "off") {
            return None;
        }
        let own = own_directory()?;
        remove_stale(&own);
        let pid = getpid();
        let names = (0..8).map(|index| match index {
            0 => format!("{PREFIX}{pid}"),
            _ => format!("{PREFIX}{pid}-{index}"),
        });
        let (path, lock) = names.map(|it| own.join(it)).find_map(claim)?;
        let mut made = Self { path, _lock: lock, controllers: Vec::new(), enabled: Vec::new() };
        made.get_controllers(&own);
        Some(made)
    }

    /// Takes over the directory of a keeper that is gone, and what is in it.
    pub(crate) fn again(path: &Path, enabled: Vec<String>) -> Option<Self> {
        let lock = lock(path)?;
        let controllers = words(&path.join("cgroup.subtree_control"));
        Some(Self { path: path.to_owned(), _lock: lock, controllers, enabled })
    }

    /// Those that the own cgroup did not pass on before.
    pub(crate) fn enabled(&self) -> &[String] {
        &self.enabled
    }

    /// The leaf of a service as it is there.
    pub(crate) fn leaf_again(&self, service: &str, limited: Vec<String>) -> Option<Leaf> {
        Leaf::again(&self.path.join(leaf_name(service)), limited).ok()
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The controllers that the leaves have.
    pub(crate) fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// Makes the leaf of a service.
    pub(crate) fn leaf(&self, service: &str) -> io::Result<Leaf> {
        Leaf::new(&self.path.join(leaf_name(service)))
    }

    fn get_controllers(&mut self, own: &Path) {
        let there = words(&own.join("cgroup.controllers"));
        let mut wanted = WANTED.map(str::to_owned).to_vec();
        wanted.retain(|it| there.contains(it));
        let before = words(&own.join("cgroup.subtree_control"));
        self.enabled = wanted.iter().filter(|it| !before.contains(it)).cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let moved = !switch(own, '+', &self.enabled) && self.move_keeper(own);
        if moved && !switch(own, '+', &self.enabled) {
            // Others are here too, who are not ours to move.
            self.enabled.clear();
            self.move_back(own);
        }
        switch(&self.path, '+', &wanted);
        self.controllers = words(&self.path.join("cgroup.subtree_control"));
    }

    fn move_keeper(&self, own: &Path) -> bool {
        let keeper = self.path.join(KEEPER);
        let moved = fs::create_dir(&keeper).and_then(|()| move_to(&keeper));
        if moved.is_err() {
            self.move_back(own);
        }
        moved.is_ok()
    }

    fn move_back(&self, own: &Path) {
        let _ = move_to(own);
        let _ = fs::remove_dir(self.path.join(KEEPER));
    }

    /// Removes everything, in a process of its own: the keeper need not wait for that to end.
    #[expect(unsafe_code, reason = "fork, and an end without the keeper's clean-up")]
    #[expect(clippy::disallowed_methods, reason = "outlives the keeper, to clean up after it")]
    pub(crate) fn remove(self) {
        let Ok(keeper) = reap::pidfd_of(getpid().as_raw()) else { return };
        // SAFETY: the keeper has one thread, so the child may do what it could.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            launch::keep_only(&keeper);
            self.remove_now(&keeper);
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) };
        }
    }

    fn remove_now(&self, keeper: &OwnedFd) {
        let own = self.path.parent().unwrap_or(&self.path);
        if self.path.join(KEEPER).exists() {
            let _ = poll(&mut [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
            switch(&self.path, '-', &self.controllers);
            switch(own, '-', &self.enabled);
            let _ = move_to(own);
        }
        remove_tree(&self.path);
    }
}

/// Makes a directory ours: nobody else has it, and nobody takes it for a stale one.
fn claim(path: PathBuf) -> Option<(PathBuf, Flock<File>)> {
    fs::create_dir(&path).ok()?;
    let lock = lock(&path)?;
    // Another keeper may have found it before the lock was on it.
    let same = path.metadata().ok()?.ino() == lock.metadata().ok()?.ino();
    same.then_some((path, lock))
}

fn lock(path: &Path) -> Option<Flock<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(path, flags, Mode::empty()).ok()?;
    Flock::lock(File::from(directory), FlockArg::LockExclusiveNonblock).ok()
}

/// Removes what keepers have left that were killed, unless services of theirs still run there.
fn remove_stale(own: &Path) {
    let Ok(entries) = fs::read_dir(own) else { return };
    let ours = |it: &fs::DirEntry| it.file_name().to_string_lossy().starts_with(PREFIX);
    for path in entries.flatten().filter(ours).map(|it| it.path()) {
        let events = fs::read_to_string(path.join("cgroup.events")).unwrap_or_default();
        if events.contains("populated 0")
            && let Some(_held) = lock(&path)
        {
            remove_tree(&path);
        }
    }
}

/// Removes a cgroup and all below it, as far as there are no processes in it.
pub(crate) fn remove_tree(path: &Path) {
    // Most have nothing below, and to look costs more than to try.
    if fs::remove_dir(path).is_ok() {
        return;
    }
    for below in directories(path) {
        remove_tree(&below);
    }
    let _ = fs::remove_dir(path);
}

/// The cgroups directly below one.
pub(crate) fn directories(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path())
}

fn words(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Passes controllers on to the cgroups below, or no longer; false when that is not possible.
fn switch(path: &Path, sign: char, controllers: &[String]) -> bool {
    let file = path.join("cgroup.subtree_control");
    controllers.iter().all(|it| fs::write(&file, format!("{sign}{it}")).is_ok())
}

/// Moves this process.
fn move_to(path: &Path) -> io::Result<()> {
    fs::write(path.join("cgroup.procs"), "0")
}

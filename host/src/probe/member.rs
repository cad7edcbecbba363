//! Who belongs to a service.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::datagram::Datagram;
use super::pidfd::Pidfd;

/// Who belongs to one incarnation of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The directory of its cgroup; everybody in it and below it belongs.
    pub cgroup: Option<PathBuf>,
    /// Its main process. Without a cgroup, its descendants and its process group belong.
    pub pid: i32,
}

/// More generations, or more directories in a cgroup, are not looked at.
const DEPTH_MAX: usize = 64;

impl Membership {
    /// Whether the sender of this datagram belongs.
    pub(super) fn includes(&self, sender: &Datagram) -> bool {
        if self.pid <= 1 || sender.pid == self.pid {
            return self.pid > 1;
        }
        match self.cgroup.as_deref().filter(|it| it.exists()) {
            Some(leaf) => is_in(leaf, sender.pid, sender.pidfd.as_ref()),
            None => self.descends(sender.pid),
        }
    }

    /// Whether `/proc` shows it in the process group of the main process, or below that one.
    fn descends(&self, mut pid: i32) -> bool {
        for generation in 0..DEPTH_MAX {
            let Some([parent, group]) = parent_and_group(pid) else { return false };
            if parent == self.pid || (generation == 0 && group == self.pid) {
                return true;
            }
            pid = parent;
        }
        false
    }
}

/// The kernel knows it best, also of the dead. Where it does not say, the living are on a list.
fn is_in(leaf: &Path, pid: i32, pidfd: Option<&Pidfd>) -> bool {
    let cgroup = pidfd.and_then(Pidfd::cgroup);
    let has = |dir: &Path| match cgroup {
        Some(id) => fs::metadata(dir).is_ok_and(|it| it.ino() == id),
        None => lists(dir, pid),
    };
    has(leaf) || below(leaf).iter().any(|it| has(it))
}

fn lists(cgroup: &Path, pid: i32) -> bool {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    pid > 0 && listed.lines().any(|it| it.parse() == Ok(pid))
}

/// The cgroups that a service has made for itself.
fn below(leaf: &Path) -> Vec<PathBuf> {
    let mut found = vec![leaf.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next).filter(|_| found.len() <= DEPTH_MAX) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
        let more: Vec<_> = dirs.map(|it| it.path()).collect();
        found.extend(more);
        next += 1;
    }
    found.split_off(1)
}

fn parent_and_group(pid: i32) -> Option<[i32; 2]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok().filter(|_| pid > 1)?;
    // The name before it may hold anything, brackets and spaces too.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

//! What the kernel tells about the processes of a service: who they are, and what they use.
//!
//! Nothing here decides, and nothing is kept: a process that has ended meanwhile is left out.

mod proc;

use std::collections::BTreeMap;
use std::path::Path;

use nix::time::ClockId;
use serde::Serialize;

use crate::clock::milliseconds;
pub use proc::Census;
use proc::Stat;

/// A process among its relatives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// The name of its program, as the kernel keeps it: at most 15 bytes.
    pub name: String,
    /// The ids of its children.
    pub children: Vec<i32>,
}

/// The processes of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// The main process, 0 when there is none.
    pub root: i32,
    /// All of them, by process id.
    pub processes: BTreeMap<i32, Process>,
}

/// What a process uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// Its process id.
    pub pid: i32,
    /// Its resident memory, in bytes.
    pub memory_usage: u64,
    /// Its CPU time since it started, in percent of the time since then; 100 is one whole CPU.
    pub cpu_usage: f64,
}

/// What all processes of a service use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The main process.
    #[serde(flatten)]
    pub own: Usage,
    /// The resident memory of all, in bytes; pages that they share count for each.
    pub memory_total: u64,
    /// The memory of all, in bytes, with each shared page divided among those who share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss_total: Option<u64>,
    /// The threads of all.
    pub threads: u64,
    /// The open descriptors of all.
    pub fds: u64,
    /// How many processes there are.
    pub processes: usize,
    /// How long the main process has been there.
    pub uptime_ms: i64,
    /// Each of the other processes.
    pub children: Vec<Usage>,
    /// The CPU time of all since they started, and of those that they have waited for.
    #[serde(skip)]
    pub cpu_ms: u64,
}

/// The processes of a service: all that are in its cgroup, if it has one, and the main process with
/// its descendants. A cgroup names those too that have left their parents.
pub fn family(pid: i32, leaf: Option<&Path>) -> Tree {
    Tree::of(pid, proc::members(pid, leaf, None))
}

/// What the processes of a service use; `None` when its main process is gone.
///
/// The census saves looks at processes when many services are asked about. With `deep`, memory is
/// also told with shared pages divided, which takes the kernel a walk through all pages.
pub fn stats(pid: i32, leaf: Option<&Path>, census: Option<&Census>, deep: bool) -> Option<Stats> {
    let members = proc::members(pid, leaf, census);
    let (_, main) = members.iter().find(|(it, _)| *it == pid)?;
    let mut stats = Stats {
        own: Usage { pid, memory_usage: 0, cpu_usage: 0.0 },
        memory_total: 0,
        pss_total: deep.then_some(0),
        threads: 0,
        fds: 0,
        processes: 0,
        uptime_ms: age_ms(main),
        children: Vec::new(),
        cpu_ms: 0,
    };
    for (member, stat) in &members {
        let Some(used) = usage(*member, stat) else { continue };
        stats.memory_total += used.memory_usage;
        stats.pss_total = stats.pss_total.map(|it| it + proc::shared_bytes(*member));
        stats.threads += stat.threads;
        stats.fds += proc::open_descriptors(*member);
        stats.processes += 1;
        stats.cpu_ms += (stat.cpu_ticks + stat.waited_ticks) * TICK_MS;
        if *member == pid {
            stats.own = used;
        } else {
            stats.children.push(used);
        }
    }
    Some(stats)
}

/// A clock tick in `/proc`: 100 a second on every architecture that Rust's Linux targets have.
const TICK_MS: u64 = 10;

fn usage(pid: i32, stat: &Stat) -> Option<Usage> {
    let cpu_usage = (stat.cpu_ticks * TICK_MS) as f64 / age_ms(stat) as f64 * 100.0;
    Some(Usage { pid, memory_usage: proc::resident_bytes(pid)?, cpu_usage })
}

/// How long a process has been there; not less than a tick, so that one can divide by it.
fn age_ms(stat: &Stat) -> i64 {
    let tick = TICK_MS.cast_signed();
    let started = stat.start_ticks.cast_signed().saturating_mul(tick);
    (milliseconds(ClockId::CLOCK_BOOTTIME) - started).max(tick)
}

impl Tree {
    fn of(root: i32, members: Vec<(i32, Stat)>) -> Self {
        let as_process = |(pid, stat): (i32, Stat)| {
            (pid, Process { pid, ppid: stat.ppid, name: stat.name, children: Vec::new() })
        };
        let mut processes: BTreeMap<i32, Process> = members.into_iter().map(as_process).collect();
        let pairs: Vec<(i32, i32)> = processes.values().map(|it| (it.ppid, it.pid)).collect();
        for (ppid, pid) in pairs {
            processes.entry(ppid).and_modify(|it| it.children.push(pid));
        }
        Self { root: if processes.contains_key(&root) { root } else { 0 }, processes }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    /// A shell with one child, which is stopped.
    #[expect(clippy::disallowed_methods, reason = "descendants to look at")]
    fn shell() -> (Child, i32, i32) {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo ready; kill -STOP $$; :' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        let child = family(root, None).processes[&root].children[0];
        (shell, root, child)
    }

    fn end(mut shell: Child, child: i32) {
        kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn all_ways_of_finding_descendants_agree() {
        let (shell, root, child) = shell();
        let listed = family(root, None);
        let scanned = Tree::of(root, proc::members(root, None, Some(&Census::take())));
        assert_eq!(listed, scanned);
        assert_eq!((listed.root, listed.processes.len()), (root, 2));
        assert_eq!(listed.processes[&child].ppid, root);
        end(shell, child);
    }

    #[test]
    fn what_is_used_is_told_of_all_processes_together() {
        let (shell, root, child) = shell();
        let stats = stats(root, None, None, true).unwrap();
        assert!(stats.own.memory_usage > 10_000, "{stats:?}");
        assert!((0.0..=200.0).contains(&stats.own.cpu_usage), "{stats:?}");
        assert_eq!((stats.processes, stats.threads), (2, 2), "{stats:?}");
        assert_eq!(stats.children[0].pid, child);
        let sum = stats.own.memory_usage + stats.children[0].memory_usage;
        assert_eq!(stats.memory_total, sum);
        let shared = stats.pss_total.unwrap();
        assert!(shared > 0 && shared < stats.memory_total, "{stats:?}");
        let descriptors = fs::read_dir(format!("/proc/{root}/fd")).unwrap().count()
            + fs::read_dir(format!("/proc/{child}/fd")).unwrap().count();
        assert_eq!(stats.fds, descriptors as u64);
        end(shell, child);
    }

    #[test]
    fn a_cgroup_names_those_who_have_left_their_parents_too() {
        let (shell, root, child) = shell();
        let leaf = std::env::temp_dir().join(format!("zinit-leaf-{root}"));
        fs::create_dir_all(leaf.join("inner")).unwrap();
        fs::write(leaf.join("inner/cgroup.procs"), format!("{child}\n")).unwrap();
        fs::write(leaf.join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let survivors = family(0, Some(&leaf));
        assert_eq!(survivors.root, 0);
        let mut both = [child, own];
        both.sort_unstable();
        assert_eq!(survivors.processes.into_keys().collect::<Vec<_>>(), both);
        let all = family(root, Some(&leaf));
        assert_eq!((all.root, all.processes.len()), (root, 3), "the tree is among them");
        fs::remove_dir_all(&leaf).unwrap();
        assert_eq!(family(root, Some(&leaf)).processes.len(), 2, "no cgroup, so the tree");
        end(shell, child);
    }

    #[test]
    fn what_is_gone_has_no_family_and_no_stats() {
        assert_eq!(family(i32::MAX, None), Tree::default());
        assert_eq!(family(0, None), Tree::default());
        assert_eq!(stats(i32::MAX, None, None, true), None);
        assert_eq!(stats(i32::MAX, None, Some(&Census::take()), false), None);
    }
}

//! What `/proc` tells about running processes: their descendants, memory and CPU time.
//!
//! Nothing here decides, and nothing is kept: a process that has ended meanwhile is left out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::OnceLock;

use nix::time::ClockId;
use serde::Serialize;

use crate::clock::milliseconds;

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

/// A process and all its descendants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// The process at the root, 0 when there is none.
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

/// A process with what its descendants use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// The process itself.
    #[serde(flatten)]
    pub own: Usage,
    /// Each of its descendants.
    pub children: Vec<Usage>,
}

/// Larger families are shown in part, so that a fork bomb does not hold up the server.
const FAMILY_MAX: usize = 4096;

/// Clock ticks per second in `/proc`: 100 on every architecture that Rust's Linux targets have.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process and its descendants; empty when there is no such process.
pub fn tree(root: i32) -> Tree {
    let family = if has_children_files() { listed_family(root) } else { scanned_family(root) };
    let processes: BTreeMap<i32, Process> = family.into_iter().map(|it| (it.pid, it)).collect();
    let root = if processes.contains_key(&root) { root } else { 0 };
    Tree { root, processes }
}

/// What the process and its descendants use; `None` when it is gone.
pub fn stats(root: i32) -> Option<Stats> {
    let own = usage(root)?;
    let family = tree(root).processes.into_keys();
    let children = family.filter(|it| *it != root).filter_map(usage).collect();
    Some(Stats { own, children })
}

/// What the process uses; `None` when it is gone.
pub fn usage(pid: i32) -> Option<Usage> {
    let stat = Stat::read(pid)?;
    let up = milliseconds(ClockId::CLOCK_BOOTTIME) as f64 / 1000.0;
    let age = (up - stat.start_ticks as f64 / TICKS_PER_SECOND).max(1.0 / TICKS_PER_SECOND);
    let cpu_usage = stat.cpu_ticks as f64 / TICKS_PER_SECOND / age * 100.0;
    Some(Usage { pid, memory_usage: resident_bytes(pid)?, cpu_usage })
}

/// Whether the kernel lists the children of a process (`CONFIG_PROC_CHILDREN`).
fn has_children_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| fs::exists("/proc/thread-self/children").unwrap_or(false))
}

fn listed_family(root: i32) -> Vec<Process> {
    let mut family = Vec::new();
    let mut waiting = vec![root];
    while let Some(pid) = waiting.pop() {
        let Some(stat) = Stat::read(pid) else { continue };
        let children = children_of(pid);
        waiting.extend(&children);
        family.push(Process { pid, ppid: stat.ppid, name: stat.name, children });
        if family.len() == FAMILY_MAX {
            break;
        }
    }
    family
}

/// The children of all threads of a process.
fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let mut children: Vec<i32> = Vec::new();
    lists.for_each(|it| {
        children.extend(it.split_whitespace().filter_map(|it| it.parse::<i32>().ok()))
    });
    children.sort_unstable();
    children
}

/// As [`listed_family`], by a look at every process there is.
fn scanned_family(root: i32) -> Vec<Process> {
    let mut all: HashMap<i32, Process> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|it| it.file_name().to_str()?.parse().ok()) {
        let Some(Stat { ppid, name, .. }) = Stat::read(pid) else { continue };
        all.insert(pid, Process { pid, ppid, name, children: Vec::new() });
    }
    let mut pairs: Vec<(i32, i32)> = all.values().map(|it| (it.ppid, it.pid)).collect();
    pairs.sort_unstable();
    for (ppid, pid) in pairs {
        all.entry(ppid).and_modify(|it| it.children.push(pid));
    }
    let mut family: Vec<Process> = all.remove(&root).into_iter().collect();
    let mut next = 0;
    while next < family.len() && family.len() < FAMILY_MAX {
        let children = family[next].children.clone();
        family.extend(children.iter().filter_map(|it| all.remove(it)));
        next += 1;
    }
    family
}

fn resident_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    // A zombie has no memory and no such line.
    let Some(line) = line else { return Some(0) };
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

/// The fields of `/proc/PID/stat` that matter here.
struct Stat {
    name: String,
    ppid: i32,
    cpu_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// The name is in parentheses and may contain any of them, so what follows it begins after the
    /// last one.
    fn parse(text: &str) -> Option<Self> {
        let (begin, end) = (text.find('(')?, text.rfind(')')?);
        let fields: Vec<&str> = text.get(end + 1..)?.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name: text.get(begin + 1..end)?.to_owned(),
            ppid: fields.get(1)?.parse().ok()?,
            cpu_ticks: number(11)? + number(12)?,
            start_ticks: number(19)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let line = "7 (a) (b c)) S 3 7 7 0 -1 4 1 0 0 0 50 25 0 0 20 0 1 0 900 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.ppid), ("a) (b c)", 3));
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (75, 900));
        assert!(Stat::parse("7 (a").is_none());
        assert!(Stat::parse(")(").is_none());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "descendants to look at")]
    fn both_ways_of_finding_descendants_agree() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo ready; kill -STOP $$; :' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        let root = i32::try_from(shell.id()).unwrap();
        let tree = tree(root);
        let child = *tree.processes[&root].children.first().unwrap();
        let scanned = scanned_family(root).into_iter().map(|it| (it.pid, it)).collect();
        assert_eq!(tree.processes, scanned);
        assert_eq!((tree.root, tree.processes.len()), (root, 2));
        let stats = stats(root).unwrap();
        assert!(stats.own.memory_usage > 10_000, "{stats:?}");
        assert!((0.0..=200.0).contains(&stats.own.cpu_usage), "{stats:?}");
        assert_eq!(stats.children[0].pid, child);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn what_is_gone_has_no_tree_and_no_stats() {
        assert_eq!(tree(i32::MAX), Tree::default());
        assert_eq!(stats(i32::MAX), None);
    }
}

//! Reading `/proc` and cgroup directories.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// Larger families are shown in part, so that a fork bomb does not hold up the server.
const FAMILY_MAX: usize = 4096;

/// All processes at one moment. One look for many services.
#[derive(Debug, Default)]
pub struct Census {
    stats: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Census {
    /// Looks at every process there is.
    pub fn take() -> Self {
        let mut census = Self::default();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok()) {
            let Some(stat) = Stat::read(pid) else { continue };
            census.children.entry(stat.ppid).or_default().push(pid);
            census.stats.insert(pid, stat);
        }
        census
    }
}

/// The processes in a cgroup and those below the main process.
pub(super) fn members(pid: i32, leaf: Option<&Path>, census: Option<&Census>) -> Vec<(i32, Stat)> {
    let stat = |pid: i32| match census {
        Some(census) => census.stats.get(&pid).cloned(),
        None => Stat::read(pid),
    };
    let mut found: BTreeMap<i32, Stat> = BTreeMap::new();
    let in_leaf = leaf.map(in_cgroup).unwrap_or_default();
    found.extend(in_leaf.into_iter().take(FAMILY_MAX).filter_map(|it| Some((it, stat(it)?))));
    // Whoever is in a cgroup has its descendants there too.
    let mut waiting: VecDeque<i32> = [pid].into_iter().filter(|it| *it > 0).collect();
    let taken;
    let census = match census {
        None if !has_children_files() && !found.contains_key(&pid) => {
            taken = Census::take();
            Some(&taken)
        }
        given => given,
    };
    while let Some(pid) = waiting.pop_front().filter(|_| found.len() < FAMILY_MAX) {
        if found.contains_key(&pid) {
            continue;
        }
        let Some(stat) = stat(pid) else { continue };
        found.insert(pid, stat);
        match census {
            Some(census) => waiting.extend(census.children.get(&pid).into_iter().flatten()),
            None => waiting.extend(children_of(pid)),
        }
    }
    found.into_iter().collect()
}

/// The processes of a cgroup and of those inside it.
fn in_cgroup(dir: &Path) -> Vec<i32> {
    let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) else { return Vec::new() };
    let mut pids: Vec<i32> = text.lines().filter_map(|it| it.parse().ok()).collect();
    // A directory has two links, and one from each directory inside it.
    if fs::metadata(dir).is_ok_and(|it| it.nlink() == 2) {
        return pids;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if pids.len() < FAMILY_MAX && entry.file_type().is_ok_and(|it| it.is_dir()) {
            pids.extend(in_cgroup(&entry.path()));
        }
    }
    pids
}

/// Whether the kernel lists the children of a process (`CONFIG_PROC_CHILDREN`).
fn has_children_files() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| fs::exists("/proc/thread-self/children").unwrap_or(false))
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
    children
}

/// The resident memory of a process; none for a zombie.
pub(super) fn resident_bytes(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_bytes())
}

/// The memory of a process with shared pages divided among those who share them.
pub(super) fn shared_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|it| it.strip_prefix("Pss:"));
    let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How many descriptors a process has open. Since Linux 6.2 the directory's size says it.
pub(super) fn open_descriptors(pid: i32) -> u64 {
    let dir = format!("/proc/{pid}/fd");
    match fs::metadata(&dir).map(|it| it.size()) {
        Ok(0) => fs::read_dir(&dir).map_or(0, |it| it.count() as u64),
        Ok(count) => count,
        Err(_) => 0,
    }
}

/// The kernel tells each process the size of a page when it starts it.
fn page_bytes() -> u64 {
    const AT_PAGESZ: usize = 6;
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let told = fs::read("/proc/self/auxv").unwrap_or_default();
        let (words, _) = told.as_chunks::<{ size_of::<usize>() }>();
        let words: Vec<usize> = words.iter().map(|it| usize::from_ne_bytes(*it)).collect();
        let size = words.chunks_exact(2).find(|it| it[0] == AT_PAGESZ).map(|it| it[1] as u64);
        size.unwrap_or(4096)
    })
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Debug)]
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) ppid: i32,
    pub(super) cpu_ticks: u64,
    /// The CPU time of children that have ended and were waited for.
    pub(super) waited_ticks: u64,
    pub(super) threads: u64,
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn read(pid: i32) -> Option<Self> {
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
            // Signed in the kernel's format; a kernel that says less than none means none.
            waited_ticks: number(13).unwrap_or(0) + number(14).unwrap_or(0),
            threads: number(17)?,
            start_ticks: number(19)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let line = "7 (a) (b c)) S 3 7 7 0 -1 4 1 0 0 0 50 25 4 6 20 0 3 0 900 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.ppid), ("a) (b c)", 3));
        assert_eq!((stat.cpu_ticks, stat.waited_ticks), (75, 10));
        assert_eq!((stat.threads, stat.start_ticks), (3, 900));
        assert!(Stat::parse("7 (a").is_none());
        assert!(Stat::parse(")(").is_none());
    }

    #[test]
    fn a_page_has_a_size() {
        assert!(page_bytes() >= 4096 && page_bytes().is_power_of_two());
    }
}

//! Where this process is in the tree of cgroups, and where that is mounted.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the cgroup that this process is in, if the version 2 tree is mounted so that it
/// can be seen.
pub(crate) fn own_directory() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroups.lines().find_map(|it| it.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().filter_map(|it| directory(it, own)).find(|it| it.join("cgroup.procs").exists())
}

/// Where a mount shows this cgroup: a line of mountinfo, which says what of the tree is mounted where.
fn directory(mount: &str, own: &str) -> Option<PathBuf> {
    let (mount, kind) = mount.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    let below = match root.trim_end_matches('/') {
        "" => own,
        root => own.strip_prefix(root).filter(|it| it.is_empty() || it.starts_with('/'))?,
    };
    // A cgroup outside of our namespace is told as `/..`.
    let seen = !below.split('/').any(|it| it == "..");
    let second = kind.split(' ').next() == Some("cgroup2");
    (second && seen).then(|| Path::new(&point).join(below.trim_start_matches('/')))
}

/// Spaces and such are in octal: `\040`.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|it| u8::from_str_radix(it, 8).ok());
        match code {
            Some(code) => plain.extend([&*char::from(code).to_string(), &part[3..]]),
            None => plain.extend(["\\", part]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mount: &str, own: &str) -> Option<String> {
        directory(mount, own).map(|it| it.display().to_string())
    }

    #[test]
    fn a_hybrid_mount_and_a_unified_one_are_found_and_others_are_not() {
        let hybrid =
            "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(found(hybrid, "/a/b").as_deref(), Some("/sys/fs/cgroup/unified/a/b"));
        assert_eq!(found(hybrid, "/").as_deref(), Some("/sys/fs/cgroup/unified/"));
        let first = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        assert_eq!(found(first, "/"), None);
    }

    #[test]
    fn what_is_mounted_need_not_be_the_root_of_the_tree() {
        let part = r"41 31 0:38 /docker/x /a\040b rw - cgroup2 cgroup rw,nsdelegate";
        assert_eq!(found(part, "/docker/x").as_deref(), Some("/a b/"));
        assert_eq!(found(part, "/docker/x/web").as_deref(), Some("/a b/web"));
        assert_eq!(found(part, "/docker/xy"), None);
        let whole = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw";
        assert_eq!(found(whole, "/../other"), None);
    }
}

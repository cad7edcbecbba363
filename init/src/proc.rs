//! What `/proc` says about a process.

use std::fs;
use std::path::Path;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it began, in ticks since boot: together with its number it names nobody else.
    pub(crate) start: u64,
    /// It is a zombie, or not even that.
    pub(crate) dead: bool,
}

/// Looks at a process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// What a process is called.
pub(crate) fn name_of(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// How a zombie ended, as `wait` would tell it, where that is for us to see.
pub(crate) fn exit_status(pid: i32) -> Option<i32> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let dead = parse(&line).is_some_and(|it| it.dead);
    // The last field, which is 0 for those who may not see it; but that is an end as well.
    let last = line.trim_ascii_end().rsplit(|it| *it == b' ').next()?;
    let status = str::from_utf8(last).ok()?.parse().ok()?;
    (dead && may_look_into(pid)).then_some(status)
}

/// Whether a process lets us see what is in it.
fn may_look_into(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok()
}

fn parse(line: &[u8]) -> Option<Stat> {
    // The name is in parentheses, and may contain any byte.
    let name_end = line.iter().rposition(|it| *it == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Stat {
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        start: fields.get(19)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

/// The children of a process, of all its threads.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten().map(|it| it.path()) {
        match list(&thread.join("children")) {
            Some(some) => found.extend(some),
            None if thread.exists() => return search(pid),
            None => {} // It has just ended.
        }
    }
    found
}

/// The children of this process, which has one thread.
pub(crate) fn own_children(me: i32) -> Vec<i32> {
    list(Path::new(&format!("/proc/self/task/{me}/children"))).unwrap_or_else(|| search(me))
}

/// A list of process ids, which not every kernel has.
fn list(path: &Path) -> Option<Vec<i32>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect())
}

/// The children of a process, among all processes.
fn search(parent: i32) -> Vec<i32> {
    everybody().filter(|it| stat(*it).is_some_and(|it| it.parent == parent)).collect()
}

/// All processes that are to be seen.
pub(crate) fn everybody() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|it| it.file_name().to_str()?.parse().ok())
}

/// What a process's environment says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// The rest of the variable.
    This(String),
    /// There is no such variable, or it is not for us to see.
    Nothing,
    /// It is just being given its program, and has none at this moment.
    Later,
}

/// What follows `beginning` in the variable of a process's environment that begins so.
pub(crate) fn environ_says(pid: i32, beginning: &str) -> Says {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return Says::Nothing };
    let mut variables = environ.split(|it| *it == 0);
    match variables.find_map(|it| it.strip_prefix(beginning.as_bytes())) {
        Some(rest) => Says::This(String::from_utf8_lossy(rest).into_owned()),
        None if is_all(pid, environ.len()) => Says::Nothing,
        None => Says::Later,
    }
}

/// Whether these many bytes are all of a living process's environment. While it is being given its
/// program, the memory that was to be read goes away, and the new one is not complete.
fn is_all(pid: i32, length: usize) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = line.rsplit_once(')') else { return true };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|it| it.parse::<usize>().ok());
    let dead = matches!(fields.first(), Some(&("Z" | "X" | "x")));
    // Where its code ends is said when all is said about the environment, where that begins and ends.
    let complete = number(24) != Some(0);
    let ends = number(47).zip(number(48)).and_then(|(begin, end)| end.checked_sub(begin));
    dead || complete && ends == Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_the_rest_of_the_line() {
        let line = b"7 (a) Z 1 (b\xff) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let stat = parse(line).expect("a line");
        assert_eq!((stat.parent, stat.group, stat.session, stat.start), (3, 4, 5, 12345));
        assert!(!stat.dead);
    }

    #[test]
    fn the_search_finds_whom_the_list_names() {
        let me = std::process::id() as i32;
        let parent = stat(me).expect("it lives").parent;
        assert!(children(parent).contains(&me));
        assert!(search(parent).contains(&me));
    }

    #[test]
    fn an_environment_is_found_by_how_a_variable_begins() {
        let path = Says::This(std::env::var("PATH").expect("there is one"));
        let me = std::process::id() as i32;
        assert_eq!(environ_says(me, "PATH="), path);
        assert_eq!(environ_says(me, "NO SUCH VARIABLE"), Says::Nothing);
    }
}

//! A map of known keys, taken apart key by key.

use super::keys::{KEYS, Key, Kind};
use super::node::{At, Entry, Fault, Node, Written};
use super::value::{entries, size, text};
use crate::refusal::nearest;

/// What other supervisors call it.
const ABROAD: [(&str, &str); 22] = [
    ("command", "exec"),
    ("cmd", "exec"),
    ("execstart", "exec"),
    ("run", "exec"),
    ("execstop", "stop_cmd"),
    ("stop_command", "stop_cmd"),
    ("depends_on", "after"),
    ("environment", "env"),
    ("environment_file", "env_file"),
    ("cwd", "dir"),
    ("workdir", "dir"),
    ("working_dir", "dir"),
    ("healthcheck", "health"),
    ("test", "health"),
    ("restart_policy", "restart"),
    ("ulimits", "limits"),
    ("rlimits", "limits"),
    ("extra_groups", "supplementary_groups"),
    ("mem_limit", "memory_max"),
    ("memory", "memory_max"),
    ("cpus", "cpu_max"),
    ("pids_limit", "pids_max"),
];

/// A map whose keys are all known and differ.
pub(super) struct Map {
    /// All that it may have.
    keys: &'static [Key],
    /// What its keys are called from outside begins with this: `health.` or nothing.
    path: &'static str,
    entries: Vec<(&'static Key, Node)>,
    /// Where the values are written, also of keys that were taken.
    places: Vec<(&'static str, At)>,
}

impl Map {
    pub(super) fn of(node: Node, path: &'static str, keys: &'static [Key]) -> Result<Self, Fault> {
        let mut known: Vec<(&'static Key, At, Node)> = Vec::new();
        let hint = format!("its keys are {}", all(keys));
        for Entry { at, key, value } in entries(node, path, &hint)? {
            let full = format!("{path}{key}");
            let Some(means) = keys.iter().find(|it| it.words().any(|word| word == key)) else {
                return Err(Fault::new(at, &full, format!("unknown key `{full}`"))
                    .hint(suggestion(&key, path, keys)));
            };
            if let Some((_, first, _)) = known.iter().find(|(it, ..)| it.name == means.name) {
                let what = format!("`{full}` is given twice");
                let fault = Fault::new(at, &full, what);
                return Err(match first.line {
                    0 => fault,
                    line => fault.hint(format!("line {line} has it already")),
                });
            }
            known.push((means, at, value));
        }
        let places = known.iter().map(|(key, _, it)| (key.name, it.at)).collect();
        let entries = known.into_iter().map(|(key, _, it)| (key, it)).collect();
        Ok(Self { keys, path, entries, places })
    }

    /// Where the value of a key is written.
    pub(super) fn at(&self, key: &str) -> At {
        self.places.iter().find(|(it, _)| *it == key).map_or(At::default(), |(_, at)| *at)
    }

    /// A whole number in the range that the table of keys has for it.
    pub(super) fn whole<T: TryFrom<i64>>(&mut self, key: &str) -> Result<Option<T>, Fault> {
        let found = self.keys.iter().find(|it| it.name == key).map(|it| it.kind);
        let Some(Kind::Whole(least, most) | Kind::Percent(least, most)) = found else {
            unreachable!("`{key}` is a number in the table of keys");
        };
        let Some(node) = self.take(key) else { return Ok(None) };
        let (at, key) = (node.at, format!("{}{key}", self.path));
        let said = text(node, &key)?;
        let digits = match found {
            Some(Kind::Percent(..)) => said.trim().trim_end_matches('%').trim_end(),
            _ => said.trim(),
        };
        let number = digits.parse::<i64>().ok().filter(|it| (least..=most).contains(it));
        number.and_then(|it| T::try_from(it).ok()).map(Some).ok_or_else(|| {
            let what =
                format!("`{key}` must be a whole number from {least} to {most}, not `{said}`");
            Fault::new(at, &key, what)
        })
    }

    /// A number of bytes, at least what the table of keys has for it.
    pub(super) fn size(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        let found = self.keys.iter().find(|it| it.name == key).map(|it| it.kind);
        let Some(Kind::Size(least)) = found else {
            unreachable!("`{key}` is a size in the table of keys");
        };
        let full = format!("{}{key}", self.path);
        self.take(key).map(|it| size(it, &full, least)).transpose()
    }

    /// The value of a key, unless it says nothing: that is the default.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let found = self.entries.iter().position(|(it, _)| it.name == key)?;
        let (_, node) = self.entries.swap_remove(found);
        match &node.kind {
            Written::Nothing => None,
            Written::Text(it) if it.is_empty() => None,
            _ => Some(node),
        }
    }

    pub(super) fn read<T>(
        &mut self,
        key: &str,
        parse: impl Fn(Node, &str) -> Result<T, Fault>,
        into: &mut T,
    ) -> Result<(), Fault> {
        if let Some(node) = self.take(key) {
            *into = parse(node, &format!("{}{key}", self.path))?;
        }
        Ok(())
    }

    /// As in zinit 0.3, 0 is the default of some keys.
    pub(super) fn read_unless_0(
        &mut self,
        key: &str,
        parse: impl Fn(Node, &str) -> Result<i64, Fault>,
        into: &mut i64,
    ) -> Result<(), Fault> {
        let mut value = 0;
        self.read(key, parse, &mut value)?;
        if value != 0 {
            *into = value;
        }
        Ok(())
    }
}

/// The keys as a list for people.
fn all(keys: &'static [Key]) -> String {
    let words = keys.iter().flat_map(Key::words).map(|it| format!("`{it}`"));
    words.collect::<Vec<_>>().join(", ")
}

/// What somebody may have meant by a key that there is not.
fn suggestion(key: &str, path: &str, keys: &'static [Key]) -> String {
    let folded = key.to_ascii_lowercase();
    let abroad = ABROAD.iter().filter(|(word, _)| path.is_empty() && *word == folded);
    let near = abroad.map(|(_, it)| *it).next();
    if let Some(near) = near.or_else(|| nearest(&folded, keys.iter().flat_map(Key::words))) {
        return format!("did you mean `{near}`?");
    }
    let has = |inner: &[Key]| inner.iter().any(|it| it.words().any(|it| it == folded));
    let within = |it: &&Key| match it.kind {
        Kind::Map(inner) | Kind::WordOrMap(_, inner) => has(inner),
        _ => false,
    };
    match KEYS.iter().find(within) {
        Some(map) if path.is_empty() => format!("it belongs under `{}`", map.name),
        _ => format!("the keys are {}", all(keys)),
    }
}

//! Every key of a service, its default and what it may hold: one walk over the tree of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::node::{At, Entry, Fault, Node, Written};
use super::value::{
    address, command, each, entries, flag, host_port, name, period, retry, text, url, word,
};
use super::{Health, LogMode, Spec, Status, Xinit, signal_of};
use crate::name::ServiceName;
use crate::refusal::nearest;

/// The keys of a map as they may be written, each with the key that it means.
type Keys = &'static [(&'static str, &'static str)];

const SERVICE: Keys = &[
    ("exec", "exec"),
    ("status", "status"),
    ("oneshot", "oneshot"),
    ("shutdown_timeout", "shutdown_timeout"),
    ("after", "after"),
    ("signal", "signal"),
    ("signal_stop", "signal_stop"),
    ("log", "log"),
    ("env", "env"),
    ("dir", "dir"),
    ("restart_delay", "restart_delay"),
    ("health", "health"),
    ("xinit", "xinit"),
];

const SIGNAL: Keys = &[("stop", "stop")];

const HEALTH: Keys = &[
    ("period", "period"),
    ("retry", "retry"),
    ("test_cmd", "test_cmd"),
    ("test_tcp", "test_tcp"),
    ("test_http", "test_http"),
    ("cmd", "test_cmd"),
    ("test", "test_cmd"),
    ("tcp", "test_tcp"),
    ("http", "test_http"),
    ("tcp_kill", "tcp_kill"),
];

const XINIT: Keys = &[
    ("enabled", "enabled"),
    ("listen", "listen"),
    ("backend", "backend"),
    ("connect_timeout", "connect_timeout"),
    ("idle_timeout", "idle_timeout"),
    ("single_connection", "single_connection"),
];

/// What other supervisors call it.
const ABROAD: [(&str, &str); 12] = [
    ("command", "exec"),
    ("cmd", "exec"),
    ("execstart", "exec"),
    ("run", "exec"),
    ("depends_on", "after"),
    ("requires", "after"),
    ("environment", "env"),
    ("cwd", "dir"),
    ("workdir", "dir"),
    ("working_dir", "dir"),
    ("healthcheck", "health"),
    ("test", "health"),
];

/// The service that a tree describes.
pub(super) fn spec(root: Node) -> Result<Spec, Fault> {
    let start = At { line: root.at.line.min(1), column: root.at.column.min(1) };
    if let Written::List(_) | Written::Text(_) | Written::Number(_) | Written::Flag(_) = root.kind {
        let what = format!("a service is a map of keys, not {}", root.kind.kind());
        return Err(Fault::new(root.at, "", what).hint(EXAMPLE));
    }
    let mut keys = Map::of(root, "", SERVICE)?;
    let Some(exec) = keys.take("exec") else {
        return Err(Fault::new(start, "exec", "`exec` is missing").hint(EXAMPLE));
    };
    let at = exec.at;
    let exec = text(exec, "exec")?;
    argv(&exec).map_err(|(what, hint)| Fault::new(at, "exec", what).hint(hint))?;
    let mut spec = Spec::new(exec);
    keys.read("status", word(&Status::WORDS), &mut spec.status)?;
    keys.read("oneshot", flag, &mut spec.oneshot)?;
    keys.read("shutdown_timeout", period, &mut spec.shutdown_timeout_ms)?;
    keys.read("after", names, &mut spec.after)?;
    keys.read("log", log, &mut spec.log)?;
    keys.read("env", env, &mut spec.env)?;
    keys.read("dir", text, &mut spec.dir)?;
    keys.read("restart_delay", |it, key| period(it, key).map(Some), &mut spec.restart_delay_ms)?;
    keys.read("health", |it, _| health(it).map(Arc::new), &mut spec.health)?;
    spec.stop_signal = stop_signal(&mut keys)?;
    if let Some(node) = keys.take("xinit") {
        let xinit = xinit(node, &spec.health)?;
        spec.xinit = (xinit != Xinit::default()).then(|| Box::new(xinit));
    }
    Ok(spec)
}

const EXAMPLE: &str = "write at least a line such as `exec: sleep 100`";

/// The words of a command line, or what is wrong with it and what to do.
pub(super) fn argv(exec: &str) -> Result<Vec<String>, (String, &'static str)> {
    let Some(argv) = shlex::split(exec) else {
        // A lone backslash is content with a blank to escape, a quote is not.
        return Err(match shlex::split(&format!("{exec} ")) {
            Some(_) => ("`exec` ends with a lone backslash".to_owned(), "write `\\\\` for one"),
            None => (
                format!("the quotes of `exec` are unbalanced: {exec}"),
                "close the quote, or put a backslash before it",
            ),
        });
    };
    match argv.first() {
        None => Err(("`exec` is empty".to_owned(), EXAMPLE)),
        Some(program) if program.is_empty() => {
            Err(("`exec` names no program".to_owned(), "the first word is the program to run"))
        }
        Some(_) => Ok(argv),
    }
}

fn health(node: Node) -> Result<Health, Fault> {
    let mut keys = Map::of(node, "health.", HEALTH)?;
    let mut health = Health::default();
    keys.read_unless_0("period", period, &mut health.period_ms)?;
    keys.read_unless_0("retry", retry, &mut health.retry)?;
    keys.read("test_cmd", each(command), &mut health.test_cmd)?;
    keys.read("test_tcp", each(host_port), &mut health.test_tcp)?;
    keys.read("test_http", each(url), &mut health.test_http)?;
    keys.read("tcp_kill", flag, &mut health.tcp_kill)?;
    Ok(health)
}

fn xinit(node: Node, health: &Health) -> Result<Xinit, Fault> {
    let at = node.at;
    let mut keys = Map::of(node, "xinit.", XINIT)?;
    let mut xinit = Xinit::default();
    keys.read("enabled", flag, &mut xinit.enabled)?;
    keys.read("listen", each(address), &mut xinit.listen)?;
    keys.read("backend", |it, key| address(it.at, text(it, key)?, key), &mut xinit.backend)?;
    keys.read_unless_0("connect_timeout", period, &mut xinit.connect_timeout_ms)?;
    keys.read("idle_timeout", period, &mut xinit.idle_timeout_ms)?;
    keys.read("single_connection", flag, &mut xinit.single_connection)?;
    if xinit.enabled && xinit.listen.is_empty() {
        let what = "`xinit` is enabled but listens nowhere";
        return Err(Fault::new(at, "xinit.listen", what)
            .hint("add `listen`, an address such as `127.0.0.1:8080` or the path of a socket"));
    }
    if xinit.enabled && xinit.backend.is_empty() && health.test_tcp.is_empty() {
        let what = "`xinit` is enabled but has no backend";
        return Err(Fault::new(at, "xinit.backend", what).hint(
            "add `backend`, the address where the service listens, or `health: { tcp: ... }`",
        ));
    }
    Ok(xinit)
}

fn stop_signal(keys: &mut Map) -> Result<Signal, Fault> {
    let mut written = Vec::new();
    written.extend(keys.take("signal_stop").map(|it| (it, "signal_stop")));
    if let Some(map) = keys.take("signal") {
        if let Written::Text(_) = map.kind {
            let what = format!("`signal` must be a map, not {}", map.kind.kind());
            return Err(
                Fault::new(map.at, "signal", what).hint("write `signal: { stop: SIGTERM }`")
            );
        }
        written.extend(Map::of(map, "signal.", SIGNAL)?.take("stop").map(|it| (it, "signal.stop")));
    }
    let mut signal = None;
    for (node, key) in written {
        let at = node.at;
        let word = text(node, key)?;
        let Some(meant) = signal_of(&word) else {
            let known = Signal::iterator().map(Signal::as_str);
            let near = nearest(&word.to_uppercase(), known).unwrap_or("SIGTERM");
            return Err(Fault::new(at, key, format!("`{key}` names no signal: `{word}`"))
                .hint(format!("did you mean `{near}`?")));
        };
        if signal.is_some_and(|it| it != meant) {
            return Err(Fault::new(
                at,
                key,
                "`signal.stop` and `signal_stop` contradict each other",
            ));
        }
        signal = Some(meant);
    }
    Ok(signal.unwrap_or(Signal::SIGTERM))
}

fn log(node: Node, key: &str) -> Result<LogMode, Fault> {
    let to_file = match &node.kind {
        Written::Map(_) => true,
        Written::Text(it) => it == "file",
        _ => false,
    };
    if to_file {
        return Err(Fault::new(node.at, key, "logging to a file is not available in this version")
            .hint("`log` can be `ring`, `stdout` or `none`"));
    }
    word(&LogMode::WORDS)(node, key)
}

fn env(node: Node, key: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mut env = BTreeMap::new();
    for Entry { at, key: name, value } in entries(node, key, "write `env: { NAME: value }`")? {
        let path = format!("{key}.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Fault::new(at, path, format!("`{name}` cannot be a variable's name")));
        }
        let text = match value.kind {
            Written::Nothing => String::new(),
            _ => text(value, &path)?,
        };
        if env.insert(name, text).is_some() {
            return Err(Fault::new(at, path.clone(), format!("`{path}` is given twice")));
        }
    }
    Ok(env)
}

fn names(node: Node, key: &str) -> Result<Vec<ServiceName>, Fault> {
    let mut seen = BTreeSet::new();
    let mut names = each(name)(node, key)?;
    names.retain(|it| seen.insert(it.clone()));
    Ok(names)
}

/// A map whose keys are all known and differ.
struct Map {
    /// What its keys are called from outside begins with this: `health.` or nothing.
    path: &'static str,
    entries: Vec<(&'static str, Node)>,
}

impl Map {
    fn of(node: Node, path: &'static str, keys: Keys) -> Result<Self, Fault> {
        let mut known: Vec<(&'static str, At, Node)> = Vec::new();
        let words = keys.iter().map(|(word, _)| *word);
        let all = || words.clone().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
        for Entry { at, key, value } in entries(node, path, &format!("its keys are {}", all()))? {
            let full = format!("{path}{key}");
            let Some((_, means)) = keys.iter().find(|(word, _)| *word == key) else {
                let folded = key.to_ascii_lowercase();
                let abroad = ABROAD.iter().filter(|_| path.is_empty());
                let near = abroad.clone().find(|(word, _)| *word == folded).map(|(_, it)| *it);
                let hint = match near.or_else(|| nearest(&folded, words.clone())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys are {}", all()),
                };
                return Err(Fault::new(at, &full, format!("unknown key `{full}`")).hint(hint));
            };
            if let Some((_, first, _)) = known.iter().find(|(it, ..)| it == means) {
                let what = format!("`{full}` is given twice");
                let fault = Fault::new(at, &full, what);
                return Err(match first.line {
                    0 => fault,
                    line => fault.hint(format!("line {line} has it already")),
                });
            }
            known.push((means, at, value));
        }
        Ok(Self { path, entries: known.into_iter().map(|(key, _, it)| (key, it)).collect() })
    }

    /// The value of a key, unless it says nothing: that is the default.
    fn take(&mut self, key: &str) -> Option<Node> {
        let found = self.entries.iter().position(|(it, _)| *it == key)?;
        let (_, node) = self.entries.swap_remove(found);
        match &node.kind {
            Written::Nothing => None,
            Written::Text(it) if it.is_empty() => None,
            _ => Some(node),
        }
    }

    fn read<T>(
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
    fn read_unless_0(
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

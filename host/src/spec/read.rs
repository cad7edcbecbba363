//! One walk over the tree of nodes, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::keys::{HEALTH, KEYS, SIGNAL};
use super::labels::{labels, policy};
use super::log::{logs, refuse_unread};
use super::map::Map;
use super::node::{At, Entry, Fault, Node, Written};
use super::run_as::run_as;
use super::value::{command, command_line, example, group};
use super::value::{each, entries, flag, host_port, name, period, text, url, word};
use super::xinit::xinit;
use super::{Health, Readiness, Restart, Spec, Status, line_regex, signal_of};
use crate::name::ServiceName;
use crate::refusal::nearest;

/// The service that a tree describes.
pub(super) fn spec(root: Node) -> Result<Spec, Fault> {
    let start = At { line: root.at.line.min(1), column: root.at.column.min(1) };
    if let Written::List(_) | Written::Text(_) | Written::Number(_) | Written::Flag(_) = root.kind {
        let what = format!("a service is a map of keys, not {}", root.kind.kind());
        return Err(Fault::new(root.at, "", what).hint(example("exec")));
    }
    let mut keys = Map::of(root, "", KEYS)?;
    let mut spec = Spec::new(String::new());
    keys.read("requires", names, &mut spec.requires)?;
    keys.read("wants", names, &mut spec.wants)?;
    keys.read("after", names, &mut spec.after)?;
    match keys.take("exec") {
        Some(exec) => spec.exec = command_line(exec, "exec")?,
        None if spec.brings_up_others() => {}
        None => return Err(Fault::new(start, "exec", "`exec` is missing").hint(example("exec"))),
    }
    keys.read("before", names, &mut spec.before)?;
    keys.read("conflicts", names, &mut spec.conflicts)?;
    keys.read("groups", each(group), &mut spec.groups)?;
    keys.read("labels", labels, &mut spec.labels)?;
    keys.read("status", word(&Status::WORDS), &mut spec.status)?;
    keys.read("oneshot", flag, &mut spec.oneshot)?;
    logs(&mut keys, &mut spec)?;
    keys.read("env", env, &mut spec.env)?;
    keys.read("dir", text, &mut spec.dir)?;
    endings(&mut keys, &mut spec)?;
    keys.read("health", |it, _| health(it), &mut spec.health)?;
    let at = keys.at("ready_log");
    readiness(&mut keys, &mut spec)?;
    refuse_unread(at, &spec)?;
    spec.run_as = run_as(&mut keys)?;
    if let Some(node) = keys.take("xinit") {
        spec.xinit = xinit(node, &spec)?;
    }
    Ok(spec)
}

/// How it stops, and what comes after it ended.
fn endings(keys: &mut Map, spec: &mut Spec) -> Result<(), Fault> {
    keys.read("shutdown_timeout", period, &mut spec.shutdown_timeout_ms)?;
    keys.read("stop_cmd", command_line, &mut spec.stop_cmd)?;
    spec.stop_signal = stop_signal(keys)?;
    keys.read("restart", word(&Restart::WORDS), &mut spec.restart)?;
    keys.read("restart_delay", |it, key| period(it, key).map(Some), &mut spec.restart_delay_ms)?;
    spec.max_restarts = keys.whole("max_restarts")?.unwrap_or(0);
    keys.read("essential", flag, &mut spec.essential)?;
    keys.read("policy", policy, &mut spec.policy)?;
    keys.read("on_give_up", command_line, &mut spec.on_give_up)
}

/// How it says that it is up. A watchdog needs the socket that `notify` is about, so that alone is
/// reason enough to take readiness from there too; `notify: false` says otherwise.
fn readiness(keys: &mut Map, spec: &mut Spec) -> Result<(), Fault> {
    keys.read("start_timeout", period, &mut spec.start_timeout_ms)?;
    let watchdog = keys.at("watchdog");
    keys.read("watchdog", period, &mut spec.watchdog_ms)?;
    let mut said = Vec::new();
    let (at, mut notify) = (keys.at("notify"), None);
    keys.read("notify", |it, key| flag(it, key).map(Some), &mut notify)?;
    if notify == Some(true) {
        said.push((at, "notify", Readiness::Notify));
    }
    let at = keys.at("ready_fd");
    if let Some(fd) = keys.whole("ready_fd")? {
        said.push((at, "ready_fd", Readiness::Fd(fd)));
    }
    if let Some(node) = keys.take("ready_log") {
        said.push((node.at, "ready_log", pattern(node)?));
    }
    if let [(_, one, _), (at, two, _), ..] = said.as_slice() {
        let what = format!("`{two}` beside `{one}`: a service says in one way that it is ready");
        return Err(Fault::new(*at, *two, what).hint("keep one of the two"));
    }
    if let [(_, key, Readiness::Fd(_))] = said.as_slice()
        && spec.watchdog_ms > 0
    {
        let what = format!("`watchdog` needs `NOTIFY_SOCKET`, which is not there beside `{key}`");
        return Err(Fault::new(watchdog, "watchdog", what)
            .hint("have the service say `READY=1` there as well: `notify: true`"));
    }
    spec.readiness = match said.pop() {
        Some((.., readiness)) => readiness,
        None if spec.watchdog_ms > 0 && notify.is_none() => Readiness::Notify,
        None => Readiness::Lives,
    };
    Ok(())
}

fn pattern(node: Node) -> Result<Readiness, Fault> {
    let at = node.at;
    let pattern = text(node, "ready_log")?;
    match line_regex(&pattern) {
        Ok(_) => Ok(Readiness::Log(pattern.into())),
        Err(why) => {
            let what = format!("`ready_log` is no regular expression: {why}");
            Err(Fault::new(at, "ready_log", what)
                .hint("a backslash takes the meaning from a character: `\\(`, `\\.`"))
        }
    }
}

fn health(node: Node) -> Result<Arc<Health>, Fault> {
    let mut keys = Map::of(node, "health.", HEALTH)?;
    let mut health = Health::default();
    keys.read_unless_0("period", period, &mut health.period_ms)?;
    keys.read_unless_0("timeout", period, &mut health.timeout_ms)?;
    health.retry = keys.whole("retry")?.filter(|it| *it > 0).unwrap_or(health.retry);
    keys.read("test_cmd", each(command), &mut health.test_cmd)?;
    keys.read("test_tcp", each(host_port), &mut health.test_tcp)?;
    keys.read("test_http", each(url), &mut health.test_http)?;
    keys.read("tcp_kill", flag, &mut health.tcp_kill)?;
    // Those without any share one.
    Ok(if health == Health::default() { Health::none() } else { Arc::new(health) })
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

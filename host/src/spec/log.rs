//! Where a service's output goes: `log`, a word or a map, and `log_to`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::keys::LOG;
use super::map::Map;
use super::node::{At, Fault, Node, Written};
use super::value::{name, path, period, text, word};
use super::write::{Yaml, seconds};
use super::{Full, Log, LogMode, Readiness, Spec, size};
use crate::name::ServiceName;

/// The socket of the machine's own syslog.
const SYSLOG: &str = "/dev/log";

/// What closed files may be compressed by.
const COMPRESSIONS: [(&str, bool); 2] = [("zstd", true), ("none", false)];

impl Full {
    const WORDS: [(&str, Self); 2] = [("drop", Self::Drop), ("block", Self::Block)];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        super::word_of(&Self::WORDS, self)
    }
}

impl Log {
    /// Whether nothing but the kind of log is said.
    fn is_word(&self) -> bool {
        *self == Self { mode: self.mode, ..Self::default() }
    }
}

/// Whether what a service writes comes back to it, from one `log_to` to the next.
pub(crate) fn comes_back<'a>(
    name: &ServiceName,
    to: Option<&'a ServiceName>,
    next: impl Fn(&ServiceName) -> Option<&'a ServiceName>,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut reader = to;
    while let Some(it) = reader {
        if it == name {
            return true;
        }
        // A circle of others is their affair.
        reader = if seen.insert(it) { next(it) } else { None };
    }
    false
}

/// Reads both keys, which may not contradict each other.
pub(super) fn logs(keys: &mut Map, spec: &mut Spec) -> Result<(), Fault> {
    let at = keys.at("log");
    keys.read("log", log, &mut spec.log)?;
    let one = |it: Node, key: &str| name(it.at, text(it, key)?, key).map(Some);
    keys.read("log_to", one, &mut spec.log_to)?;
    match &spec.log_to {
        Some(consumer) if spec.log != Log::usual() => {
            let what = format!("`log` beside `log_to`: the output is the input of `{consumer}`");
            Err(Fault::new(at, "log", what).hint(format!("say how to log it in `{consumer}`")))
        }
        _ => Ok(()),
    }
}

/// A line that nobody here reads tells nobody that a service is ready.
pub(super) fn refuse_unread(at: At, spec: &Spec) -> Result<(), Fault> {
    match (&spec.readiness, &spec.log_to) {
        (Readiness::Log(_), Some(consumer)) => {
            let what = format!("`ready_log` beside `log_to`: `{consumer}` reads the output");
            Err(Fault::new(at, "ready_log", what).hint("have it say so by `notify` or `ready_fd`"))
        }
        _ => Ok(()),
    }
}

fn log(node: Node, key: &str) -> Result<Arc<Log>, Fault> {
    let log = match node.kind {
        Written::Map(_) => of_map(node)?,
        _ => Log { mode: word(&LogMode::WORDS)(node, key)?, ..Log::default() },
    };
    // Those with the usual one share it.
    Ok(if log == Log::default() { Log::usual() } else { Arc::new(log) })
}

fn of_map(node: Node) -> Result<Log, Fault> {
    let at = node.at;
    let mut keys = Map::of(node, "log.", LOG)?;
    let (mut log, mut mode) = (Log::default(), None);
    let some = |it: Node, key: &str| word(&LogMode::WORDS)(it, key).map(Some);
    keys.read("mode", some, &mut mode)?;
    keys.read("dir", path, &mut log.dir)?;
    log.rotate_size = keys.size("rotate_size")?;
    keys.read("rotate_age", period, &mut log.rotate_age_ms)?;
    log.keep = keys.whole("keep")?;
    keys.read("compress", |it, key| word(&COMPRESSIONS)(it, key).map(Some), &mut log.compress)?;
    keys.read("full", word(&Full::WORDS), &mut log.full)?;
    keys.read("syslog", syslog, &mut log.syslog)?;
    log.mode = mode.unwrap_or(mode_with(&log.dir));
    if log.mode == LogMode::None && !log.is_word() {
        let what = "`log` is nothing but `none` where nothing is logged";
        return Err(Fault::new(at, "log", what).hint("write `log: none`, or leave `mode` out"));
    }
    Ok(log)
}

/// What is meant when a map does not say it.
fn mode_with(dir: &str) -> LogMode {
    if dir.is_empty() { LogMode::default() } else { LogMode::File }
}

/// `true`, the path of a socket, or `udp://ADDRESS:PORT`.
fn syslog(node: Node, key: &str) -> Result<String, Fault> {
    let at = node.at;
    if let Written::Flag(it) = &node.kind {
        let is_on = it.eq_ignore_ascii_case("true");
        return Ok(if is_on { SYSLOG.to_owned() } else { String::new() });
    }
    let text = text(node, key)?;
    if let Some(address) = text.strip_prefix("udp://") {
        if address.parse::<SocketAddr>().is_err() {
            let what = format!("`{key}` must name an address and a port, not `{address}`");
            let hint = "write `udp://10.0.0.1:514`: looking names up would hold up all logs";
            return Err(Fault::new(at, key, what).hint(hint));
        }
    } else if !text.starts_with('/') {
        let what = format!("`{key}` must be `true`, a path or `udp://ADDRESS:PORT`, not `{text}`");
        return Err(Fault::new(at, key, what).hint("`true` is `/dev/log`, this machine's own"));
    }
    Ok(text)
}

/// The log as a file says it.
pub(super) fn write(yaml: &mut Yaml, log: &Log) {
    if log.is_word() {
        return yaml.plain("log", log.mode.word(), LogMode::default().word());
    }
    yaml.open("log", |yaml| {
        yaml.plain("mode", log.mode.word(), mode_with(&log.dir).word());
        yaml.text("dir", &log.dir, "");
        yaml.some("rotate_size", log.rotate_size.map(size::write));
        yaml.time("rotate_age", log.rotate_age_ms, 0);
        yaml.some("keep", log.keep);
        yaml.some("compress", log.compress.map(compression));
        yaml.plain("full", log.full.word(), Full::default().word());
        yaml.text("syslog", &log.syslog, "");
    });
}

/// The log for programs: a word as in zinit 0.3 where that says it, else every key spelled out.
pub(super) fn config(log: &Log) -> Value {
    if log.is_word() {
        return json!(log.mode.word());
    }
    json!({
        "mode": log.mode.word(),
        "dir": log.dir,
        "rotate_size": log.rotate_size,
        "rotate_age": seconds(log.rotate_age_ms),
        "keep": log.keep,
        "compress": log.compress.map(compression),
        "full": log.full.word(),
        "syslog": log.syslog,
    })
}

fn compression(is_on: bool) -> &'static str {
    super::word_of(&COMPRESSIONS, is_on)
}

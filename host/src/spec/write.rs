//! The way back: a service as YAML for people, and as the configuration object of zinit 0.3.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Health, Readiness, RunAs, Spec, Status, Xinit, duration, labels, limit, log, size, xinit,
};
use crate::name::ServiceName;

impl Spec {
    /// The service as a file: what differs from the defaults, and nothing else.
    ///
    /// ```
    /// use zinit_host::spec::Spec;
    /// let spec = Spec { oneshot: true, ..Spec::of_exec("echo 'hi: there'") };
    /// assert_eq!(spec.to_yaml(), "exec: \"echo 'hi: there'\"\noneshot: true\n");
    /// ```
    pub fn to_yaml(&self) -> String {
        let usual = Self::new(String::new());
        let mut yaml = Yaml::default();
        yaml.text("exec", &self.exec, "");
        yaml.plain("status", self.status.word(), Status::default().word());
        yaml.plain("oneshot", self.oneshot, usual.oneshot);
        let relations = [
            ("after", &self.after),
            ("requires", &self.requires),
            ("wants", &self.wants),
            ("before", &self.before),
            ("conflicts", &self.conflicts),
        ];
        for (key, names) in relations {
            yaml.list(key, names.iter().map(ServiceName::as_str));
        }
        yaml.list("groups", self.groups.iter().map(String::as_str));
        yaml.map("labels", &self.labels);
        yaml.text("dir", &self.dir, "");
        yaml.map("env", &self.env);
        log::write(&mut yaml, &self.log);
        yaml.text("log_to", self.log_to.as_ref().map_or("", ServiceName::as_str), "");
        yaml.time("shutdown_timeout", self.shutdown_timeout_ms, usual.shutdown_timeout_ms);
        yaml.text("stop_cmd", &self.stop_cmd, "");
        yaml.plain("restart", self.restart.word(), usual.restart.word());
        yaml.time("restart_delay", self.restart_delay_ms.unwrap_or(-1), -1);
        yaml.plain("max_restarts", self.max_restarts, usual.max_restarts);
        yaml.text("on_give_up", &self.on_give_up, "");
        yaml.plain("essential", self.essential, usual.essential);
        labels::write_policy(&mut yaml, &self.policy);
        yaml.open("signal", |yaml| {
            yaml.plain("stop", self.stop_signal.as_str(), usual.stop_signal.as_str());
        });
        readiness(&mut yaml, self);
        run_as(&mut yaml, &self.run_as);
        yaml.open("health", |yaml| health(yaml, &self.health));
        if let Some(said) = &self.xinit {
            yaml.open("xinit", |yaml| {
                yaml.plain("enabled", said.enabled, false);
                xinit::yaml(yaml, said);
            });
        }
        yaml.out
    }

    /// The service as `service.get` answers it: every key spelled out.
    pub fn to_config(&self) -> Value {
        let off = Xinit::default();
        let config = json!({
            "exec": self.exec,
            "status": self.status.word(),
            "oneshot": self.oneshot,
            "shutdown_timeout": seconds(self.shutdown_timeout_ms),
            "after": self.after,
            "requires": self.requires,
            "wants": self.wants,
            "before": self.before,
            "conflicts": self.conflicts,
            "groups": self.groups,
            "labels": self.labels,
            "signal_stop": self.stop_signal.as_str(),
            "stop_cmd": self.stop_cmd,
            "log": log::config(&self.log),
            "log_to": self.log_to,
            "env": self.env,
            "dir": self.dir,
            "restart": self.restart.word(),
            "restart_delay": self.restart_delay_ms.map(seconds),
            "max_restarts": self.max_restarts,
            "on_give_up": self.on_give_up,
            "essential": self.essential,
            "policy": labels::policy_config(&self.policy),
            "notify": self.readiness == Readiness::Notify,
            "ready_fd": if let Readiness::Fd(it) = self.readiness { Some(it) } else { None },
            "ready_log": if let Readiness::Log(it) = &self.readiness { it } else { "" },
            "start_timeout": seconds(self.start_timeout_ms),
            "watchdog": seconds(self.watchdog_ms),
            "health": health_config(&self.health),
            "xinit": xinit::config(self.xinit.as_deref().unwrap_or(&off)),
        });
        let Value::Object(mut config) = config else { unreachable!("it is written as one") };
        config.append(&mut run_as_config(&self.run_as));
        Value::Object(config)
    }
}

fn health_config(health: &Health) -> Value {
    json!({
        "period": seconds(health.period_ms),
        "retry": health.retry,
        "timeout": seconds(health.timeout_ms),
        "test_cmd": health.test_cmd,
        "test_tcp": health.test_tcp,
        "test_http": health.test_http,
        "tcp_kill": health.tcp_kill,
    })
}

fn run_as_config(run_as: &RunAs) -> Map<String, Value> {
    let limits = run_as.limits.iter().map(|(name, pair)| (name.clone(), limit_config(name, *pair)));
    let config = json!({
        "user": run_as.user,
        "group": run_as.group,
        "supplementary_groups": run_as.groups,
        "umask": run_as.umask.map(umask),
        "nice": run_as.nice,
        "oom_score_adj": run_as.oom_score_adj,
        "limits": limits.collect::<Map<_, _>>(),
        "no_new_privs": run_as.no_new_privs,
        "env_file": run_as.env_file,
        "memory_max": run_as.memory_max,
        "cpu_max": run_as.cpu_max,
        "pids_max": run_as.pids_max,
    });
    let Value::Object(config) = config else { unreachable!("it is written as one") };
    config
}

/// One number is a number, for programs.
fn limit_config(name: &str, (soft, hard): (u64, u64)) -> Value {
    if soft == hard && soft != u64::MAX {
        json!(soft)
    } else {
        json!(limit::write(name, (soft, hard)))
    }
}

fn umask(mask: u32) -> String {
    format!("{mask:04o}")
}

fn readiness(yaml: &mut Yaml, spec: &Spec) {
    match &spec.readiness {
        // A watchdog alone would mean `notify` as well.
        Readiness::Lives if spec.watchdog_ms > 0 => yaml.line("notify", "false"),
        Readiness::Lives => {}
        Readiness::Notify => yaml.line("notify", "true"),
        Readiness::Fd(fd) => yaml.line("ready_fd", &fd.to_string()),
        Readiness::Log(regex) => yaml.text("ready_log", regex, ""),
    }
    yaml.time("start_timeout", spec.start_timeout_ms, 0);
    yaml.time("watchdog", spec.watchdog_ms, 0);
}

fn run_as(yaml: &mut Yaml, run_as: &RunAs) {
    yaml.text("user", &run_as.user, "");
    yaml.text("group", &run_as.group, "");
    match run_as.groups.as_deref() {
        Some([]) => yaml.line("supplementary_groups", "[]"),
        groups => {
            yaml.list("supplementary_groups", groups.unwrap_or_default().iter().map(String::as_str))
        }
    }
    yaml.some("umask", run_as.umask.map(|it| quoted(&umask(it))));
    yaml.some("nice", run_as.nice);
    yaml.some("oom_score_adj", run_as.oom_score_adj);
    yaml.open("limits", |yaml| {
        for (name, pair) in &run_as.limits {
            let said = limit::write(name, *pair);
            let plain = !said.contains(':');
            yaml.line(name, &if plain { said } else { quoted(&said) });
        }
    });
    yaml.plain("no_new_privs", run_as.no_new_privs, false);
    yaml.list("env_file", run_as.env_file.iter().map(String::as_str));
    yaml.some("memory_max", run_as.memory_max.map(size::write));
    yaml.some("cpu_max", run_as.cpu_max.map(|it| format!("{it}%")));
    yaml.some("pids_max", run_as.pids_max);
}

fn health(yaml: &mut Yaml, health: &Health) {
    let usual = Health::default();
    yaml.time("period", health.period_ms, usual.period_ms);
    yaml.plain("retry", health.retry, usual.retry);
    yaml.time("timeout", health.timeout_ms, usual.timeout_ms);
    yaml.list("test_cmd", health.test_cmd.iter().map(String::as_str));
    yaml.list("test_tcp", health.test_tcp.iter().map(String::as_str));
    yaml.list("test_http", health.test_http.iter().map(String::as_str));
    yaml.plain("tcp_kill", health.tcp_kill, usual.tcp_kill);
}

/// Whole seconds as an integer, others as a fraction.
pub(super) fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}

/// Block YAML as it grows: lines of `key: value`, each left out when it says the default.
#[derive(Default)]
pub(super) struct Yaml {
    pub(super) out: String,
    indent: usize,
}

impl Yaml {
    fn line(&mut self, key: &str, value: &str) {
        let indent = self.indent;
        self.out += &format!("{:indent$}{key}: {value}\n", "");
    }

    pub(super) fn plain<T: PartialEq + ToString>(&mut self, key: &str, value: T, usual: T) {
        if value != usual {
            self.line(key, &value.to_string());
        }
    }

    pub(super) fn some<T: ToString>(&mut self, key: &str, value: Option<T>) {
        if let Some(value) = value {
            self.line(key, &value.to_string());
        }
    }

    pub(super) fn text(&mut self, key: &str, value: &str, usual: &str) {
        if value != usual {
            self.line(key, &scalar(value));
        }
    }

    pub(super) fn time(&mut self, key: &str, ms: i64, usual: i64) {
        if ms != usual {
            self.line(key, &duration::write(ms));
        }
    }

    pub(super) fn list<'a>(&mut self, key: &str, items: impl Iterator<Item = &'a str>) {
        self.open(key, |yaml| {
            for item in items {
                let indent = yaml.indent;
                yaml.out += &format!("{:indent$}- {}\n", "", scalar(item));
            }
        });
    }

    pub(super) fn map(&mut self, key: &str, values: &BTreeMap<String, String>) {
        self.open(key, |yaml| {
            for (name, value) in values {
                yaml.line(&scalar(name), &scalar(value));
            }
        });
    }

    /// A key whose value is a block; nothing at all if the block stays empty.
    pub(super) fn open(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        let before = self.out.len();
        let indent = self.indent;
        self.out += &format!("{:indent$}{key}:\n", "");
        let opened = self.out.len();
        self.indent += 2;
        fill(self);
        self.indent -= 2;
        if self.out.len() == opened {
            self.out.truncate(before);
        }
    }
}

/// Text as a YAML scalar: bare where nobody could mistake it for something else, else in double
/// quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    const TAKEN: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"];
    let begins_well = text.starts_with(|it: char| it.is_ascii_alphabetic() || "/_".contains(it));
    let printable = text.bytes().all(|it| matches!(it, b' '..=b'~'));
    begins_well
        && printable
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str())
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for it in text.chars() {
        match it {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            it if is_shown(it) => out.push(it),
            it if u32::from(it) <= 0xffff => out += &format!("\\u{:04x}", u32::from(it)),
            it => out += &format!("\\U{:08x}", u32::from(it)),
        }
    }
    out.push('"');
    out
}

/// Whether a character may stand in a YAML file as it is, and can be seen there.
fn is_shown(it: char) -> bool {
    let breaks = matches!(it, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    let no_character = matches!(it, '\u{fffe}' | '\u{ffff}');
    !it.is_control() && !breaks && !no_character
}

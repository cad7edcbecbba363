//! The way back: a service as YAML for people, and as the configuration object of zinit 0.3.

use serde_json::{Map, Value, json};

use super::{Health, LogMode, Spec, Status, Xinit, duration};

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
        yaml.list("after", self.after.iter().map(|it| it.as_str()));
        yaml.text("dir", &self.dir, "");
        yaml.open("env", |yaml| {
            for (name, value) in &self.env {
                yaml.line(&scalar(name), &scalar(value));
            }
        });
        yaml.plain("log", self.log.word(), LogMode::default().word());
        yaml.time("shutdown_timeout", self.shutdown_timeout_ms, usual.shutdown_timeout_ms);
        yaml.time("restart_delay", self.restart_delay_ms.unwrap_or(-1), -1);
        yaml.open("signal", |yaml| {
            yaml.plain("stop", self.stop_signal.as_str(), usual.stop_signal.as_str());
        });
        yaml.open("health", |yaml| health(yaml, &self.health));
        yaml.open("xinit", |yaml| xinit(yaml, self.xinit.as_deref().unwrap_or(&Xinit::default())));
        yaml.out
    }

    /// The service as `service.get` answers it: every key spelled out.
    pub fn to_config(&self) -> Value {
        let Health { test_cmd, test_tcp, test_http, .. } = &*self.health;
        let off = Xinit::default();
        let xinit = self.xinit.as_deref().unwrap_or(&off);
        // One address is plain text, as zinit 0.3 has it.
        let listen = match xinit.listen.as_slice() {
            [] => json!(""),
            [one] => json!(one),
            many => json!(many),
        };
        let env: Map<String, Value> =
            self.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "exec": self.exec,
            "status": self.status.word(),
            "oneshot": self.oneshot,
            "shutdown_timeout": seconds(self.shutdown_timeout_ms),
            "after": self.after,
            "signal_stop": self.stop_signal.as_str(),
            "log": self.log.word(),
            "env": env,
            "dir": self.dir,
            "restart_delay": self.restart_delay_ms.map(seconds),
            "health": {
                "period": seconds(self.health.period_ms),
                "retry": self.health.retry,
                "test_cmd": test_cmd,
                "test_tcp": test_tcp,
                "test_http": test_http,
                "tcp_kill": self.health.tcp_kill,
            },
            "xinit": {
                "enabled": xinit.enabled,
                "listen": listen,
                "backend": xinit.backend,
                "connect_timeout": seconds(xinit.connect_timeout_ms),
                "idle_timeout": seconds(xinit.idle_timeout_ms),
                "single_connection": xinit.single_connection,
            },
        })
    }
}

fn health(yaml: &mut Yaml, health: &Health) {
    let usual = Health::default();
    yaml.time("period", health.period_ms, usual.period_ms);
    yaml.plain("retry", health.retry, usual.retry);
    yaml.list("test_cmd", health.test_cmd.iter().map(String::as_str));
    yaml.list("test_tcp", health.test_tcp.iter().map(String::as_str));
    yaml.list("test_http", health.test_http.iter().map(String::as_str));
    yaml.plain("tcp_kill", health.tcp_kill, usual.tcp_kill);
}

fn xinit(yaml: &mut Yaml, xinit: &Xinit) {
    let usual = Xinit::default();
    yaml.plain("enabled", xinit.enabled, usual.enabled);
    yaml.list("listen", xinit.listen.iter().map(String::as_str));
    yaml.text("backend", &xinit.backend, "");
    yaml.time("connect_timeout", xinit.connect_timeout_ms, usual.connect_timeout_ms);
    yaml.time("idle_timeout", xinit.idle_timeout_ms, usual.idle_timeout_ms);
    yaml.plain("single_connection", xinit.single_connection, usual.single_connection);
}

/// Whole seconds as an integer, others as a fraction.
fn seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}

/// Block YAML as it grows: lines of `key: value`, each left out when it says the default.
#[derive(Default)]
struct Yaml {
    out: String,
    indent: usize,
}

impl Yaml {
    fn line(&mut self, key: &str, value: &str) {
        let indent = self.indent;
        self.out += &format!("{:indent$}{key}: {value}\n", "");
    }

    fn plain<T: PartialEq + ToString>(&mut self, key: &str, value: T, usual: T) {
        if value != usual {
            self.line(key, &value.to_string());
        }
    }

    fn text(&mut self, key: &str, value: &str, usual: &str) {
        if value != usual {
            self.line(key, &scalar(value));
        }
    }

    fn time(&mut self, key: &str, ms: i64, usual: i64) {
        if ms != usual {
            self.line(key, &duration::write(ms));
        }
    }

    fn list<'a>(&mut self, key: &str, items: impl Iterator<Item = &'a str>) {
        self.open(key, |yaml| {
            for item in items {
                let indent = yaml.indent;
                yaml.out += &format!("{:indent$}- {}\n", "", scalar(item));
            }
        });
    }

    /// A key whose value is a block; nothing at all if the block stays empty.
    fn open(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
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

fn quoted(text: &str) -> String {
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

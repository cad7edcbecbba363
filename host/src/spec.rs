//! What a user wrote about a service, parsed and valid.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use crate::name::ServiceName;

/// Everything a service's configuration says. The file name is the service's name, so it is not in
/// here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The command line as written.
    pub exec: String,
    /// The same, split as a shell would; never empty.
    pub argv: Vec<String>,
    /// Whether it starts with the server.
    pub status: Status,
    /// It is meant to end; exit code 0 is its success.
    pub oneshot: bool,
    /// Milliseconds from the stop signal to SIGKILL.
    pub shutdown_timeout_ms: i64,
    /// The services that must be up (a oneshot: done) before this one starts.
    pub after: Vec<ServiceName>,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// Where its output goes.
    pub log: LogMode,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory; empty for `/`.
    pub dir: String,
    /// Milliseconds before the first restart, if the user wants another delay than the policy's.
    pub restart_delay_ms: Option<i64>,
    /// Its health checks.
    pub health: Health,
    /// Its on-demand proxy.
    pub xinit: Option<Xinit>,
}

/// Whether a service starts with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    #[default]
    Start,
    /// Only when asked to.
    Stop,
    /// Only when asked to; nor is it part of `start_all`.
    Ignore,
}

/// Where a service's output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMode {
    /// The last lines are kept in memory.
    #[default]
    Ring,
    /// As `Ring`, and each line is also printed by the server.
    Stdout,
    /// Nowhere.
    None,
}

/// How to tell whether a service is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Milliseconds between checks.
    pub period_ms: i64,
    /// Failures in a row that count.
    pub retry: i64,
    /// Commands that must exit with 0.
    pub test_cmd: Vec<String>,
    /// `host:port` that must accept a connection.
    pub test_tcp: Vec<String>,
    /// URLs that must answer 2xx.
    pub test_http: Vec<String>,
    /// Whether whoever listens on the first `test_tcp` port is killed before a start.
    pub tcp_kill: bool,
}

/// The on-demand proxy in front of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xinit {
    /// Whether the proxy is on; if so, the service does not start with the server.
    pub enabled: bool,
    /// Addresses that clients connect to.
    pub listen: Vec<String>,
    /// Where the service itself listens; empty for the first `test_tcp`.
    pub backend: String,
    /// Milliseconds a client waits for the service.
    pub connect_timeout_ms: i64,
    /// Milliseconds without a client before the service is stopped; 0 for never.
    pub idle_timeout_ms: i64,
    /// Whether one client at a time is served.
    pub single_connection: bool,
}

//! On-demand proxies as they are written: the `xinit` of a service's file, and files of their own.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map as Object, Value, json};

use super::keys::{PROXY, XINIT};
use super::map::Map;
use super::node::{self, At, Fault, Node, Written};
use super::value::{address, addresses, each, fd_name, flag, mode, name, period, text, who, word};
use super::write::{Yaml, quoted, seconds};
use super::{Readiness, Spec, word_of};
use crate::address::Address;
use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal};

/// The on-demand proxy in front of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xinit {
    /// Whether the proxy is on; if so, the service does not start with the server.
    pub enabled: bool,
    /// Where clients connect to.
    pub listen: Vec<Address>,
    /// Where the service itself listens; the first `test_tcp` when there is none.
    pub backend: Option<Address>,
    /// Who answers the clients.
    pub mode: Mode,
    /// Milliseconds a client waits for the service.
    pub connect_timeout_ms: i64,
    /// Milliseconds without a client before the service is stopped; 0 for never.
    pub idle_timeout_ms: i64,
    /// How many clients are served at a time; 0 for any number.
    pub max_connections: u32,
    /// How many more may wait.
    pub max_waiting: u32,
    /// What the service is told about its clients before their first byte.
    pub proxy_protocol: ProxyProtocol,
    /// The users who may connect to a socket's path, by name or number; everybody when empty.
    pub users: Vec<String>,
    /// The permissions of a socket's path.
    pub socket_mode: u32,
    /// What the sockets are called in `LISTEN_FDNAMES`; the proxy's name when there is none.
    pub fd_names: Vec<String>,
}

/// Who answers the clients of an on-demand service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The server does, and passes everything on to the service.
    #[default]
    Proxy,
    /// The service does: it gets the listening sockets themselves (socket activation).
    Pass,
}

/// What a service is told about its clients before their first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// Nothing.
    #[default]
    None,
    /// A line with the client's address (PROXY protocol, version 1).
    V1,
    /// The same in bytes (version 2).
    V2,
}

impl Xinit {
    /// How many clients wait where nobody says.
    pub const WAITING_MAX: u32 = 1024;

    /// The permissions of a socket's path where nobody says: anybody may connect.
    pub const SOCKET_MODE: u32 = 0o666;

    /// The keys whose values differ, in the words of a proxy's file.
    pub fn changes(&self, new: &Self) -> Vec<&'static str> {
        let (old, new) = (config(self), config(new));
        XINIT.iter().map(|it| it.name).filter(|it| old[*it] != new[*it]).collect()
    }
}

impl Default for Xinit {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: Vec::new(),
            backend: None,
            mode: Mode::Proxy,
            connect_timeout_ms: 30_000,
            idle_timeout_ms: 0,
            max_connections: 0,
            max_waiting: Self::WAITING_MAX,
            proxy_protocol: ProxyProtocol::None,
            users: Vec::new(),
            socket_mode: Self::SOCKET_MODE,
            fd_names: Vec::new(),
        }
    }
}

impl Mode {
    pub(super) const WORDS: [(&str, Self); 2] = [("proxy", Self::Proxy), ("pass", Self::Pass)];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, self)
    }
}

impl ProxyProtocol {
    pub(super) const WORDS: [(&str, Self); 3] =
        [("none", Self::None), ("v1", Self::V1), ("v2", Self::V2)];

    /// The word for it, as in a service file.
    pub fn word(self) -> &'static str {
        word_of(&Self::WORDS, self)
    }
}

/// At how many addresses one proxy may listen.
const LISTEN_MAX: usize = 64;

/// The `xinit` of a service's file; nothing if it says nothing.
pub(super) fn xinit(node: Node, spec: &Spec) -> Result<Option<Box<Xinit>>, Fault> {
    let at = node.at;
    let mut keys = Map::of(node, "xinit.", XINIT)?;
    let mut enabled = false;
    keys.read("enabled", flag, &mut enabled)?;
    let xinit = wishes(&mut keys, "xinit.", at, enabled)?;
    if let Some((what, hint)) = unfit(spec).filter(|_| enabled) {
        return Err(
            Fault::new(at, "xinit.enabled", format!("`xinit` is enabled, but {what}")).hint(hint)
        );
    }
    if enabled && xinit.mode == Mode::Proxy && resolved(&xinit, spec).backend.is_none() {
        let what = "`xinit` is enabled but has no backend";
        return Err(Fault::new(at, "xinit.backend", what).hint(BACKEND));
    }
    let passed = 3..3 + i32::try_from(xinit.listen.len()).unwrap_or(i32::MAX - 3);
    if let Readiness::Fd(fd) = spec.readiness
        && enabled
        && xinit.mode == Mode::Pass
        && passed.contains(&fd)
    {
        let what = format!("`ready_fd: {fd}` is one of the sockets that `mode: pass` passes on");
        let hint = format!("take {} or more, or another way to say that it is ready", passed.end);
        return Err(Fault::new(at, "ready_fd", what).hint(hint));
    }
    Ok((xinit != Xinit::default()).then(|| Box::new(xinit)))
}

const BACKEND: &str =
    "add `backend`, the address where the service listens, or `health: { tcp: ... }`";

/// Why a service cannot stand behind a proxy, and what to do about it.
fn unfit(spec: &Spec) -> Option<(&'static str, &'static str)> {
    if spec.is_target() {
        Some(("nothing listens for a target", "add `exec`, or put it before another service"))
    } else if spec.oneshot {
        let hint = "leave `oneshot` out: who answers clients goes on running";
        Some(("a oneshot ends before anybody is served", hint))
    } else {
        None
    }
}

fn resolved(xinit: &Xinit, spec: &Spec) -> Xinit {
    let mut xinit = xinit.clone();
    if xinit.mode == Mode::Proxy {
        xinit.backend = xinit.backend.or_else(|| spec.health.first_address());
    }
    xinit
}

/// What all proxies can be told. Whether it makes sense matters only where it is enabled.
fn wishes(keys: &mut Map, path: &str, at: At, enabled: bool) -> Result<Xinit, Fault> {
    let mut xinit = Xinit { enabled, ..Xinit::default() };
    keys.read("listen", addresses, &mut xinit.listen)?;
    keys.read("backend", address, &mut xinit.backend)?;
    keys.read("mode", word(&Mode::WORDS), &mut xinit.mode)?;
    keys.read_unless_0("connect_timeout", period, &mut xinit.connect_timeout_ms)?;
    keys.read("idle_timeout", period, &mut xinit.idle_timeout_ms)?;
    xinit.max_connections = clients(keys, path)?;
    xinit.max_waiting = keys.whole("max_waiting")?.unwrap_or(xinit.max_waiting);
    keys.read("proxy_protocol", word(&ProxyProtocol::WORDS), &mut xinit.proxy_protocol)?;
    keys.read("users", each(who), &mut xinit.users)?;
    keys.read("socket_mode", mode, &mut xinit.socket_mode)?;
    keys.read("fd_names", each(fd_name), &mut xinit.fd_names)?;
    let Some(Slip { key, what, hint }) = slip(&xinit, path).filter(|_| enabled) else {
        return Ok(xinit);
    };
    let place = Some(keys.at(key)).filter(|it| *it != At::default()).unwrap_or(at);
    Err(Fault::new(place, format!("{path}{key}"), what).hint(hint))
}

/// What makes no sense, the key that it is about, and what to do.
struct Slip {
    key: &'static str,
    what: String,
    hint: String,
}

fn slip(xinit: &Xinit, path: &str) -> Option<Slip> {
    let slip = |key, what: String, hint: &str| Some(Slip { key, what, hint: hint.to_owned() });
    let Xinit { listen, users, fd_names, .. } = xinit;
    if listen.is_empty() {
        let who = if path.is_empty() { "the proxy" } else { "`xinit` is enabled but" };
        let hint = "add `listen`, an address such as `127.0.0.1:8080` or the path of a socket";
        return slip("listen", format!("{who} listens nowhere"), hint);
    }
    if listen.len() > LISTEN_MAX {
        let what = format!("`{path}listen` has more than {LISTEN_MAX} addresses");
        return slip("listen", what, "several proxies can stand before one service");
    }
    if let Some((at, what, hint)) = listen.iter().find_map(|it| unbound(it, xinit.mode)) {
        return slip("listen", format!("in `{path}listen`: `{at}` {what}"), &hint);
    }
    if let Some(Address::Tcp { host, port }) = &xinit.backend
        && host.is_empty()
    {
        let what = format!("in `{path}backend`: `:{port}` names no host");
        return slip("backend", what, &format!("write `localhost:{port}`"));
    }
    if let Some(tcp) = listen.iter().find(|it| it.path().is_none() && !users.is_empty()) {
        let what = format!("`{path}users` says nothing of clients of {tcp}");
        let hint = "who they are is known only at the path of a socket: listen nowhere else";
        return slip("users", what, hint);
    }
    if xinit.mode == Mode::Pass
        && let Some(key) = unheard(xinit)
    {
        let what = format!("`{path}{key}` means nothing beside `mode: pass`");
        let hint = "the service accepts its clients itself; `mode: proxy` has the server do it";
        return slip(key, what, hint);
    }
    if xinit.mode == Mode::Proxy && !fd_names.is_empty() {
        let what = format!("`{path}fd_names` names sockets that the service does not get");
        return slip("fd_names", what, "with `mode: pass` it does");
    }
    let (have, want) = (fd_names.len(), listen.len());
    if have != 0 && have != want {
        let what = format!("`{path}fd_names` has {have} names for {want} addresses");
        return slip("fd_names", what, "write one for each address of `listen`");
    }
    None
}

/// Why nobody can listen at an address, and what to write.
fn unbound(at: &Address, mode: Mode) -> Option<(&Address, &'static str, String)> {
    let Address::Tcp { host, port } = at else { return None };
    if host == "localhost" && mode == Mode::Pass {
        let what = "would be two sockets, one for IPv4 and one for IPv6";
        return Some((at, what, format!("write `127.0.0.1:{port}`, `[::1]:{port}`, or both")));
    }
    if host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let what = "has a name for a host; a listener's is an IP address or `localhost`";
    Some((at, what, format!("`:{port}` listens at all addresses of this machine")))
}

/// What is said about clients though the service meets them alone.
fn unheard(xinit: &Xinit) -> Option<&'static str> {
    let usual = Xinit::default();
    let said = [
        ("backend", xinit.backend.is_some()),
        ("connect_timeout", xinit.connect_timeout_ms != usual.connect_timeout_ms),
        ("idle_timeout", xinit.idle_timeout_ms != usual.idle_timeout_ms),
        ("max_connections", xinit.max_connections != usual.max_connections),
        ("max_waiting", xinit.max_waiting != usual.max_waiting),
        ("proxy_protocol", xinit.proxy_protocol != usual.proxy_protocol),
        ("users", !xinit.users.is_empty()),
    ];
    said.into_iter().find(|(_, said)| *said).map(|(key, _)| key)
}

/// How many clients are served at a time, which can be written in two ways.
fn clients(keys: &mut Map, path: &str) -> Result<u32, Fault> {
    let mut single = false;
    keys.read("single_connection", flag, &mut single)?;
    let most: u32 = keys.whole("max_connections")?.unwrap_or(0);
    if single && most > 1 {
        let key = format!("{path}max_connections");
        let what = format!("`{path}single_connection` and `{key}` contradict each other");
        let at = keys.at("max_connections");
        return Err(Fault::new(at, key, what).hint("leave one of the two out"));
    }
    Ok(if single { 1 } else { most })
}

impl Proxy {
    /// Parses the text of a proxy's file. `path` is only named in refusals.
    ///
    /// # Errors
    /// As [`Spec::from_yaml`].
    ///
    /// ```
    /// use std::path::Path;
    /// use zinit_host::{name::ServiceName, proxy::Proxy};
    /// let name = ServiceName::parse("front").expect("it is one");
    /// let text = "service: web\nlisten: [/run/web.sock, ':80']\nidle_timeout: 5m\n";
    /// let proxy = Proxy::from_yaml(&name, text, Path::new("/x/front.yaml"))?;
    /// assert_eq!(proxy.service.as_str(), "web");
    /// assert_eq!(proxy.listen_text(), "unix:/run/web.sock, tcp::80");
    /// # Ok::<(), zinit_host::refusal::Refusal>(())
    /// ```
    pub fn from_yaml(name: &ServiceName, text: &str, path: &Path) -> Result<Self, Refusal> {
        let fault = |it: Fault| it.in_file(text, path);
        proxy(name, node::of_yaml(text).map_err(fault)?).map_err(fault)
    }

    /// Parses the same as an object, as `xinit.register` is given it.
    ///
    /// # Errors
    /// `bad_config`; its data has the `key`.
    pub fn from_config(name: &ServiceName, config: &Value) -> Result<Self, Refusal> {
        proxy(name, node::of_json(config)).map_err(Fault::without_file)
    }

    /// The proxy as a file: what differs from the defaults, and nothing else.
    pub fn to_yaml(&self) -> String {
        let mut out = Yaml::default();
        out.text("service", self.service.as_str(), self.name.as_str());
        yaml(&mut out, &self.xinit);
        out.out
    }

    /// The proxy with the backend that it has when it stands before this service.
    ///
    /// # Errors
    /// `bad_config`, when the service cannot stand behind a proxy, or there is no backend.
    pub fn before(&self, spec: &Spec) -> Result<Self, Refusal> {
        let refusal = |what: String, key: &str| {
            Refusal::new(Kind::BadConfig, what).with("proxy", self.name.as_str()).with("key", key)
        };
        let service = &self.service;
        if let Some((what, hint)) = unfit(spec) {
            let what = format!("`{service}` cannot stand behind the proxy `{}`: {what}", self.name);
            return Err(refusal(what, "service").hint(hint).with("service", service.as_str()));
        }
        let xinit = resolved(&self.xinit, spec);
        if xinit.mode == Mode::Proxy && xinit.backend.is_none() {
            let what = format!("the proxy `{}` has no backend", self.name);
            let hint = format!("{BACKEND} in the file of `{service}`");
            return Err(refusal(what, "backend").hint(hint));
        }
        Ok(Self { xinit: Arc::new(xinit), ..self.clone() })
    }
}

/// The proxy that a tree describes.
fn proxy(own: &ServiceName, root: Node) -> Result<Proxy, Fault> {
    if !matches!(root.kind, Written::Map(_) | Written::Nothing) {
        let what = format!("a proxy is a map of keys, not {}", root.kind.kind());
        return Err(
            Fault::new(root.at, "", what).hint("write at least a line such as `listen: :80`")
        );
    }
    let at = root.at;
    let mut keys = Map::of(root, "", &PROXY)?;
    let mut service = own.clone();
    keys.read("service", |it, key| name(it.at, text(it, key)?, key), &mut service)?;
    let xinit = wishes(&mut keys, "", at, true)?;
    Ok(Proxy { name: own.clone(), service, in_service: false, xinit: Arc::new(xinit) })
}

/// The lines of all but `enabled`.
pub(super) fn yaml(yaml: &mut Yaml, xinit: &Xinit) {
    let usual = Xinit::default();
    let listen: Vec<String> = xinit.listen.iter().map(Address::to_string).collect();
    yaml.list("listen", listen.iter().map(String::as_str));
    let backend = xinit.backend.as_ref().map_or_else(String::new, Address::to_string);
    yaml.text("backend", &backend, "");
    yaml.plain("mode", xinit.mode.word(), usual.mode.word());
    yaml.time("connect_timeout", xinit.connect_timeout_ms, usual.connect_timeout_ms);
    yaml.time("idle_timeout", xinit.idle_timeout_ms, usual.idle_timeout_ms);
    match xinit.max_connections {
        1 => yaml.plain("single_connection", true, false),
        most => yaml.plain("max_connections", most, usual.max_connections),
    }
    yaml.plain("max_waiting", xinit.max_waiting, usual.max_waiting);
    yaml.plain("proxy_protocol", xinit.proxy_protocol.word(), usual.proxy_protocol.word());
    yaml.list("users", xinit.users.iter().map(String::as_str));
    let mode = (xinit.socket_mode != usual.socket_mode).then(|| octal(xinit.socket_mode));
    yaml.some("socket_mode", mode.map(|it| quoted(&it)));
    yaml.list("fd_names", xinit.fd_names.iter().map(String::as_str));
}

/// Every key of `xinit` spelled out.
pub(super) fn config(xinit: &Xinit) -> Value {
    // One address is plain text, as zinit 0.3 has it.
    let listen = match xinit.listen.as_slice() {
        [] => json!(""),
        [one] => json!(one.to_string()),
        many => json!(many.iter().map(Address::to_string).collect::<Vec<_>>()),
    };
    let pairs = [
        ("enabled", json!(xinit.enabled)),
        ("listen", listen),
        ("backend", json!(xinit.backend.as_ref().map_or_else(String::new, Address::to_string))),
        ("mode", json!(xinit.mode.word())),
        ("connect_timeout", seconds(xinit.connect_timeout_ms)),
        ("idle_timeout", seconds(xinit.idle_timeout_ms)),
        ("single_connection", json!(xinit.max_connections == 1)),
        ("max_connections", json!(xinit.max_connections)),
        ("max_waiting", json!(xinit.max_waiting)),
        ("proxy_protocol", json!(xinit.proxy_protocol.word())),
        ("users", json!(xinit.users)),
        ("socket_mode", json!(octal(xinit.socket_mode))),
        ("fd_names", json!(xinit.fd_names)),
    ];
    pairs.into_iter().map(|(key, it)| (key.to_owned(), it)).collect::<Object<_, _>>().into()
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

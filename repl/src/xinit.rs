//! `zinit xinit`: proxies that start services when somebody connects.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use nu_ansi_term::Color;
use serde_json::{Map, Value, json};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome};
use crate::render::{Paint, ago, items, lasts, number, word};
use crate::show::bytes;

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
A service file says the same under `xinit`; `zinit xinit add` is for further proxies of a service, each
of which has a file of its own.

Examples:
  zinit xinit add pg --listen /run/pg.sock --service postgres --idle-timeout 5m
  zinit xinit add web --listen :80 --listen '[::1]:81' --backend 127.0.0.1:8080 --max-connections 100
  zinit xinit add app --listen :8080 --mode pass      the service gets the socket itself
  zinit xinit status pg                               what it has done so far
  zinit xinit remove pg";

/// What is done with proxies.
#[derive(Debug, Subcommand)]
pub(crate) enum Xinit {
    /// Lists all proxies
    #[command(visible_alias = "ls")]
    List,
    /// Shows what is known of proxies
    Status {
        /// Proxies [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Lets a proxy listen, and writes its file
    Add(Box<Add>),
    /// Lets proxies listen no more, and removes their files
    #[command(visible_alias = "rm")]
    Remove {
        /// Proxies
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// What `zinit xinit add` is told. The server knows what is usual.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The proxy's name
    name: String,
    /// Where clients connect to: host:port, :port, or the path of a socket; may be repeated
    #[arg(long, required = true, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// The service that is started [default: the one of the proxy's name]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Where the service listens [default: its first `test_tcp`]
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<String>,
    /// Stops the service after so long without a byte and a client [default: never]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<String>,
    /// How long a client waits for the service [default: 30s]
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<String>,
    /// `proxy`, or `pass`: the service gets the sockets themselves
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// How many clients are served at a time [default: any number]
    #[arg(long, value_name = "N")]
    max_connections: Option<u64>,
    /// Serves one client at a time, as --max-connections 1 does
    #[arg(long, conflicts_with = "max_connections")]
    single_connection: bool,
    /// How many more clients may wait [default: 1024]
    #[arg(long, value_name = "N")]
    max_waiting: Option<u64>,
    /// Tells the service of each client: `none`, `v1` or `v2` of the PROXY protocol
    #[arg(long, value_name = "VERSION")]
    proxy_protocol: Option<String>,
    /// Who may connect to a socket's path beside root and the server's user; may be repeated [default:
    /// everybody]
    #[arg(long = "user", value_name = "USER")]
    users: Vec<String>,
    /// The permissions of a socket's path, in octal digits [default: 0666]
    #[arg(long, value_name = "OCTAL")]
    socket_mode: Option<String>,
    /// What a socket is called that is passed on, one for each --listen
    #[arg(long = "fd-name", value_name = "NAME")]
    fd_names: Vec<String>,
    /// Takes the place of another proxy of this name
    #[arg(long)]
    replace: bool,
}

impl Xinit {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        match self {
            Self::List => {
                let all = cx.connect()?.call("xinit.status_all", json!([]))?;
                cx.show(&all, |paint| list(&all, paint))
            }
            Self::Status { names } if names.is_empty() => {
                let all = cx.connect()?.call("xinit.status_all", json!([]))?;
                let none = items(&all).next().is_none();
                cx.show(&all, |paint| match none {
                    true => NONE.to_owned(),
                    false => items(&all).map(|it| status(it, paint)).collect(),
                })
            }
            Self::Status { names } => cx.each(names, |client, name| {
                let it = client.call("xinit.status", json!([name]))?;
                cx.show(&it, |paint| status(&it, paint))
            }),
            Self::Add(add) => add.run(cx),
            Self::Remove { names } => cx.each(names, |client, name| {
                client.call("xinit.unregister", json!([name]))?;
                let answer = json!({ "name": name, "done": "removed" });
                cx.show(&answer, |_| format!("Removed proxy: {name}\n"))
            }),
        }
    }
}

impl Add {
    fn run(&self, cx: &Context) -> Outcome {
        let mut client = cx.connect()?;
        client.call("xinit.register", self.params()).map_err(|it| self.explain(it))?;
        let it = client.call("xinit.status", json!([self.name]))?;
        cx.show(&it, |_| {
            let (listen, service) = (word(&it, "listen"), word(&it, "service"));
            format!("Added proxy: {}, which listens at {listen} for {service}\n", self.name)
        })
    }

    /// Whoever names no service has perhaps not meant one of the proxy's name.
    fn explain(&self, refusal: Refusal) -> Refusal {
        if self.service.is_some() || refusal.kind != Kind::UnknownService {
            return refusal;
        }
        let hint = refusal.hint.as_ref().map_or_else(String::new, |it| format!("; {it}"));
        refusal.hint(format!("`--service` names another one than that of the proxy's name{hint}"))
    }

    /// What was said, and nothing else.
    fn params(&self) -> Value {
        let texts = |all: &[String]| (!all.is_empty()).then(|| json!(all));
        let text = |it: &Option<String>| it.as_ref().map(|it| json!(it));
        let said = [
            ("name", Some(json!(self.name))),
            ("listen", texts(&self.listen)),
            ("service", text(&self.service)),
            ("backend", text(&self.backend)),
            ("idle_timeout", text(&self.idle_timeout)),
            ("connect_timeout", text(&self.connect_timeout)),
            ("mode", text(&self.mode)),
            ("single_connection", self.single_connection.then_some(Value::Bool(true))),
            ("max_connections", self.max_connections.map(|it| json!(it))),
            ("max_waiting", self.max_waiting.map(|it| json!(it))),
            ("proxy_protocol", text(&self.proxy_protocol)),
            ("users", texts(&self.users)),
            ("socket_mode", text(&self.socket_mode)),
            ("fd_names", texts(&self.fd_names)),
            ("replace", self.replace.then_some(Value::Bool(true))),
        ];
        let said = said.into_iter().filter_map(|(key, it)| Some((key.to_owned(), it?)));
        said.collect::<Map<_, _>>().into()
    }
}

const NONE: &str = "No proxies registered\n";

/// All proxies, a line each.
fn list(all: &Value, paint: Paint) -> String {
    let widest = |key: &str, least: usize| {
        items(all).map(|it| word(it, key).len()).max().unwrap_or(0).max(least)
    };
    if items(all).next().is_none() {
        return NONE.to_owned();
    }
    let (name, service) = (widest("name", 5), widest("service", 7));
    let head = format!(
        "{:name$} {:service$} {:8} {:>6} {:>7} {:>7} LISTENS AT",
        "PROXY", "SERVICE", "STATE", "ACTIVE", "WAITING", "TOTAL"
    );
    let mut text = format!("{}\n", paint.bold(&head));
    for it in items(all) {
        let state = word(it, "state");
        let state =
            format!("{}{:pad$}", paint.state(state), "", pad = 8_usize.saturating_sub(state.len()));
        let at = match word(it, "error") {
            "" => word(it, "listen").to_owned(),
            why => paint.on(Color::Red.normal(), &format!("nowhere: {why}")),
        };
        let _ = writeln!(
            text,
            "{:name$} {:service$} {state} {:>6} {:>7} {:>7} {at}",
            word(it, "name"),
            word(it, "service"),
            number(it, "active_connections"),
            number(it, "waiting"),
            number(it, "total_connections"),
        );
    }
    text
}

/// One proxy, a fact each line.
fn status(it: &Value, paint: Paint) -> String {
    let mut text = format!("Proxy: {}\n", paint.bold(word(it, "name")));
    let mut fact = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {key}: {value}");
        }
    };
    let state = word(it, "state");
    fact("Service", &format!("{} ({})", word(it, "service"), paint.state(state)));
    fact("Listens", if word(it, "error").is_empty() { word(it, "listen") } else { "nowhere" });
    fact("Reason", &paint.on(Color::Red.normal(), word(it, "error")));
    if word(it, "mode") == "pass" {
        fact("Mode", "pass: the service accepts its clients itself");
        return text;
    }
    fact("Backend", word(it, "backend"));
    fact("Connections", &connections(it));
    for (key, count) in [("Refused", "refused"), ("Timed out", "timed_out")] {
        let count = number(it, count);
        fact(key, &if count > 0 { count.to_string() } else { String::new() });
    }
    let [to, from] = ["bytes_to_backend", "bytes_from_backend"].map(|key| bytes(amount(it, key)));
    fact("Bytes", &format!("{to} to the service, {from} from it"));
    fact("Starts", &starts(it));
    let idle = time(it, "idle_timeout");
    fact(
        "Idle",
        &if idle.is_empty() { "goes on".to_owned() } else { format!("stops after {idle}") },
    );
    fact("Waits", &format!("at most {}", time(it, "connect_timeout")));
    text
}

fn connections(it: &Value) -> String {
    let of = |key: &str| number(it, key);
    let most = match of("max_connections") {
        0 => String::new(),
        most => format!(" of {most}"),
    };
    let (active, waiting) = (of("active_connections"), of("waiting"));
    format!("{active}{most} active, {waiting} waiting, {} in all", of("total_connections"))
}

fn starts(it: &Value) -> String {
    let (starts, cold) = (number(it, "starts"), &it["cold_start_ms"]);
    if !cold.is_object() {
        return starts.to_string();
    }
    let [last, median, worst] = ["last", "median", "worst"].map(|key| lasts(amount(cold, key)));
    format!("{starts}; the first client waited {last} lately, {median} mostly, {worst} at worst")
}

/// A number that cannot be negative.
fn amount(it: &Value, key: &str) -> u64 {
    it[key].as_u64().unwrap_or_default()
}

/// A time in seconds; empty for none.
fn time(it: &Value, key: &str) -> String {
    match it[key].as_f64().unwrap_or_default() {
        0.0 => String::new(),
        secs if secs.fract() == 0.0 => ago(it[key].as_u64().unwrap_or_default()),
        secs => format!("{secs}s"),
    }
}

/// All proxies, where they are only said in passing: none where the server is too old to know of any.
pub(crate) fn all(client: &mut Client) -> Value {
    client.call("xinit.status_all", json!([])).unwrap_or_default()
}

/// Where a service listens on demand, as `zinit status` tells it; empty where it does not.
pub(crate) fn listens(all: &Value, service: &str) -> String {
    let own = items(all).filter(|it| word(it, "service") == service);
    let at = own.map(|it| match word(it, "error") {
        "" => word(it, "listen").to_owned(),
        _ => format!("nowhere (`zinit xinit status {}`)", word(it, "name")),
    });
    at.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    fn proxy() -> Value {
        json!({
            "name": "front", "service": "web", "state": "Running", "listen": "unix:/run/web.sock",
            "backend": "tcp:localhost:80", "mode": "proxy", "active_connections": 3, "waiting": 0,
            "total_connections": 120, "refused": 2, "timed_out": 0, "bytes_to_backend": 1_000,
            "bytes_from_backend": 5_u64 << 30, "starts": 4, "error": null, "max_connections": 10,
            "cold_start_ms": { "last": 250, "median": 240, "worst": 1_900 },
            "idle_timeout": 300, "connect_timeout": 0.5,
        })
    }

    #[test]
    fn a_proxy_is_told_in_facts() {
        let text = "Proxy: front\n  Service: web (Running)\n  Listens: unix:/run/web.sock\n  \
            Backend: tcp:localhost:80\n  Connections: 3 of 10 active, 0 waiting, 120 in all\n  \
            Refused: 2\n  Bytes: 1000 B to the service, 5.0 GB from it\n  \
            Starts: 4; the first client waited 250ms lately, 240ms mostly, 1.9s at worst\n  \
            Idle: stops after 5m 0s\n  Waits: at most 0.5s\n";
        assert_eq!(status(&proxy(), PLAIN), text);
        let mut it = proxy();
        (it["error"], it["mode"]) = (json!("cannot listen"), json!("pass"));
        let text = "Proxy: front\n  Service: web (Running)\n  Listens: nowhere\n  \
            Reason: cannot listen\n  Mode: pass: the service accepts its clients itself\n";
        assert_eq!(status(&it, PLAIN), text);
    }

    #[test]
    fn proxies_are_listed_in_columns() {
        let mut other = proxy();
        (other["name"], other["error"]) = (json!("longer-name"), json!("cannot listen"));
        let text = "PROXY       SERVICE STATE    ACTIVE WAITING   TOTAL LISTENS AT\n\
            front       web     Running       3       0     120 unix:/run/web.sock\n\
            longer-name web     Running       3       0     120 nowhere: cannot listen\n";
        assert_eq!(list(&json!([proxy(), other]), PLAIN), text);
        assert_eq!(list(&json!([]), PLAIN), NONE);
    }
}

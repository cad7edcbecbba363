//! `xinit.*`: proxies that are registered, and what is known of all.
//!
//! One that is registered stands in a file of its own; one of a service's file is changed there. No
//! file is written before it listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

use super::args::{Args, Kind, Param};
use super::calls::{on_disk, read, said, to_the_end};
use super::methods::{Method, Pending, Said, later, now};
use super::office::Office;
use super::params::TRUE;
use super::reload::Line;
use crate::address::Address;
use crate::desk::{Command, Step, Verb};
use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::{Kind as Refused, Refusal};
use crate::relay::Face;
use crate::spec::{Spec, Xinit};

const PROXY: Param = Param::required("name", Kind::Text, "The proxy's name.");

const STATUS: (&str, &str) = (
    "object",
    "`name`, `listen` (all addresses in one text), `backend`, `service`, its `state`, `running` \
     (whether the proxy listens) and why not (`error`, or null), `mode`, `total_connections`, \
     `active_connections`, `waiting`, `refused`, `timed_out`, `bytes_to_backend`, \
     `bytes_from_backend`, `starts`, `cold_start_ms` (`last`, `median` and `worst`, or null), \
     `idle_timeout`, `connect_timeout`, `max_connections`, `max_waiting`, `users`, `socket_mode` \
     and `proxy_protocol`. The counts begin with the server.",
);

/// The methods, sorted by name.
pub(super) const ROWS: [Method; 5] = [
    now("xinit.list", "The names of all proxies, sorted.", &[], ("array", "Names."), list),
    later(
        "xinit.register",
        "Lets a proxy listen that starts a service when somebody connects, and writes a file for it.",
        REGISTERED,
        TRUE,
        register,
    ),
    now("xinit.status", "What is known of a proxy.", &[PROXY], STATUS, status),
    now(
        "xinit.status_all",
        "What is known of all proxies, sorted by name.",
        &[],
        ("array", "The objects of `xinit.status`."),
        status_all,
    ),
    later(
        "xinit.unregister",
        "Lets a proxy listen no more, and removes its file.",
        &[PROXY],
        TRUE,
        unregister,
    ),
];

/// Its name, then the keys of its file.
const REGISTERED: &[Param] = &[
    PROXY,
    Param::required("listen", Kind::Texts, "An address that clients connect to, or a list."),
    Param::optional(
        "backend",
        Kind::Text,
        "\"\"",
        "Where the service listens; its first `test_tcp` if empty.",
    ),
    Param::optional("service", Kind::Text, "\"\"", "The service; the proxy's name if empty."),
    Param::optional(
        "idle_timeout",
        Kind::Period,
        "0",
        "Time without a byte and a client before the service is stopped; 0 for never.",
    ),
    Param::optional("connect_timeout", Kind::Period, "30", "How long a client waits for it."),
    Param::optional(
        "single_connection",
        Kind::Flag,
        "false",
        "Whether one client is served at a time.",
    ),
    Param::optional(
        "mode",
        Kind::Text,
        "\"proxy\"",
        "`proxy`, or `pass`: the service gets the sockets themselves.",
    ),
    Param::optional(
        "max_connections",
        Kind::Integer,
        "0",
        "How many clients at a time; 0 for any.",
    ),
    Param::optional("max_waiting", Kind::Integer, "1024", "How many more clients may wait."),
    Param::optional("proxy_protocol", Kind::Text, "\"none\"", "`none`, `v1` or `v2`."),
    Param::optional(
        "users",
        Kind::Texts,
        "[]",
        "Who may connect to a socket's path, beside root and the server's user; all if empty.",
    ),
    Param::optional("socket_mode", Kind::Text, "\"0666\"", "Permissions of a socket's path."),
    Param::optional("fd_names", Kind::Texts, "[]", "What sockets that are passed on are called."),
    Param::optional(
        "replace",
        Kind::Flag,
        "false",
        "Whether another proxy of this name gives way to this one.",
    ),
];

/// Where in [`REGISTERED`] `replace` is, which is no key of the file.
const REPLACE: usize = REGISTERED.len() - 1;

fn list(office: &Office, _: &Args) -> Said {
    said(&office.faces.all().iter().map(|it| &it.proxy.name).collect::<Vec<_>>())
}

fn status(office: &Office, args: &Args) -> Said {
    let name = args.text(0);
    let face = office.faces.get(name).ok_or_else(|| unknown(office, name))?;
    said(&shown(office, &face))
}

fn status_all(office: &Office, _: &Args) -> Said {
    said(&office.faces.all().iter().map(|it| shown(office, it)).collect::<Vec<_>>())
}

fn register(office: Arc<Office>, args: Args) -> Pending {
    to_the_end(async move {
        let written = Proxy::from_config(&args.name(0)?, &config(&args))?;
        let _order = office.files.lock().await;
        let proxy = standing(&office, &written).await?;
        has_no_service_file(&office, &proxy.name)?;
        let before = office.faces.get(proxy.name.as_str());
        if !args.flag(REPLACE) {
            is_no_other(&office, &proxy, before.as_deref()).await?;
        }
        let others = office.faces.all();
        proxy.vet(others.iter().map(|it| &*it.proxy))?;
        let stands = |it: &Arc<Face>| it.trouble.is_none() && *it.proxy == proxy;
        if !before.as_ref().is_some_and(stands) {
            listen(&office, proxy, before.as_deref()).await?;
        }
        let (store, saved) = (office.store.clone(), written.clone());
        if let Err(refusal) = on_disk(move || store.save_proxy(&saved)).await {
            undo(&office, &written.name, before.as_deref()).await?;
            return Err(refusal);
        }
        said(&true)
    })
}

fn unregister(office: Arc<Office>, args: Args) -> Pending {
    to_the_end(async move {
        let name = args.name(0)?;
        let _order = office.files.lock().await;
        has_no_service_file(&office, &name)?;
        if !forget(&office, &name).await? {
            return Err(unknown(&office, name.as_str()));
        }
        said(&true)
    })
}

/// Removes its file and lets it go; says whether there was anything of it.
async fn forget(office: &Office, name: &ServiceName) -> Result<bool, Refusal> {
    let (store, gone) = (office.store.clone(), name.clone());
    let had_file = on_disk(move || store.remove_proxy(&gone)).await?;
    let stood = office.faces.get(name.as_str()).is_some();
    if stood {
        office.ask(Command::ForgetProxy(name.clone())).await?;
    }
    Ok(had_file || stood)
}

/// Nobody can be let in to services that are no more: the proxies go that have files of their own.
pub(super) async fn leave(office: &Office, services: &[ServiceName]) -> Result<(), Refusal> {
    for face in office.faces.all() {
        let Proxy { name, service, in_service, .. } = &*face.proxy;
        if services.contains(service) && !in_service {
            forget(office, name).await?;
        }
    }
    Ok(())
}

/// What its file would say.
fn config(args: &Args) -> Value {
    let keys = REGISTERED.iter().enumerate().take(REPLACE).skip(1);
    let pair = |(index, key): (usize, &Param)| (key.name.to_owned(), args.value(index).clone());
    keys.map(pair).collect::<Map<_, _>>().into()
}

/// The proxy with its backend, before its service, which must have a file: a proxy outlives the server.
async fn standing(office: &Office, written: &Proxy) -> Result<Proxy, Refusal> {
    let service = &written.service;
    office.known(service.as_str())?;
    if !office.store.found(service).exists() {
        let message = format!("no proxy can be registered for `{service}`, which has no file");
        return Err(Refusal::new(Refused::BadConfig, message)
            .hint(format!("register `{service}`, or give it an `xinit` of its own"))
            .with("service", service.as_str()));
    }
    written.before(&read(office, service.clone()).await?)
}

/// Refuses to touch a proxy that stands in a service's file.
fn has_no_service_file(office: &Office, name: &ServiceName) -> Result<(), Refusal> {
    if !office.faces.get(name.as_str()).is_some_and(|it| it.proxy.in_service) {
        return Ok(());
    }
    let message = format!("the proxy `{name}` stands in the configuration of the service `{name}`");
    Err(Refusal::new(Refused::BadConfig, message)
        .hint(format!("change `xinit` there, then `zinit reload {name}`"))
        .with("proxy", name.as_str()))
}

/// Refuses to take the name of another proxy; the same one again is fine.
async fn is_no_other(office: &Office, proxy: &Proxy, before: Option<&Face>) -> Result<(), Refusal> {
    let name = &proxy.name;
    let (message, hint) = match before {
        Some(face) if *face.proxy == *proxy => return Ok(()),
        Some(face) => {
            let mut changed = face.proxy.xinit.changes(&proxy.xinit);
            changed.extend((face.proxy.service != proxy.service).then_some("service"));
            let changed = changed.join(", ");
            (format!("there is already a proxy `{name}`, with another {changed}"), REPLACES)
        }
        None if !office.store.proxy_path(name).exists() => return Ok(()),
        None => (format!("there is a file of a proxy `{name}`, which does not stand"), RELOADS),
    };
    Err(Refusal::new(Refused::BadConfig, message).hint(hint).with("proxy", name.as_str()))
}

const REPLACES: &str =
    "`--replace`, in a script `.reset()`, in a call `replace: true`, puts this one in its place";
const RELOADS: &str = "`zinit check` tells why; `--replace`, in a script `.reset()`, in a call \
                       `replace: true`, puts this one in its place";

/// Lets it stand, if it listens; else all is as before.
async fn listen(office: &Office, proxy: Proxy, before: Option<&Face>) -> Result<(), Refusal> {
    let name = proxy.name.clone();
    office.ask(Command::DefineProxy(Box::new(proxy))).await?;
    let now = office.faces.get(name.as_str());
    let Some(trouble) = now.and_then(|it| it.trouble.clone()) else { return Ok(()) };
    undo(office, &name, before).await?;
    Err(trouble)
}

async fn undo(office: &Office, name: &ServiceName, before: Option<&Face>) -> Result<(), Refusal> {
    let command = match before {
        Some(face) => Command::DefineProxy(Box::new((*face.proxy).clone())),
        None => Command::ForgetProxy(name.clone()),
    };
    office.ask(command).await.map(drop)
}

fn unknown(office: &Office, name: &str) -> Refusal {
    let all = office.faces.all();
    let refusal = Refusal::unknown_proxy(name, all.iter().map(|it| it.proxy.name.as_str()));
    match ServiceName::parse(name) {
        Ok(it) if office.store.proxy_path(&it).exists() => {
            refusal.hint("it has a file, which is not in force: `zinit check` and `zinit reload`")
        }
        _ => refusal,
    }
}

/// A proxy as `xinit.status` answers it; the keys of zinit 0.3.5 come first.
fn shown(office: &Office, face: &Face) -> Value {
    let (proxy, counts) = (&face.proxy, &face.counts);
    let (xinit, service) = (&proxy.xinit, proxy.service.as_str());
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let cold = counts.cold();
    let seconds =
        |ms: i64| if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1e3) };
    json!({
        "name": proxy.name,
        "listen": proxy.listen_text(),
        "backend": xinit.backend.as_ref().map_or_else(String::new, Address::full),
        "service": service,
        "running": face.trouble.is_none(),
        "total_connections": of(&counts.total),
        "active_connections": of(&counts.active),
        "bytes_to_backend": of(&counts.to_backend),
        "bytes_from_backend": of(&counts.from_backend),
        "mode": xinit.mode.word(),
        "waiting": of(&counts.waiting),
        "refused": of(&counts.refused),
        "timed_out": of(&counts.timed_out),
        "starts": of(&counts.starts),
        "cold_start_ms": cold.map(|(last, median, worst)| {
            json!({ "last": last, "median": median, "worst": worst })
        }),
        "idle_timeout": seconds(xinit.idle_timeout_ms),
        "connect_timeout": seconds(xinit.connect_timeout_ms),
        "max_connections": xinit.max_connections,
        "max_waiting": xinit.max_waiting,
        "users": xinit.users,
        "socket_mode": format!("{:04o}", xinit.socket_mode),
        "proxy_protocol": xinit.proxy_protocol.word(),
        "state": office.board.get(service).map(|it| it.state.clone()),
        "error": face.trouble.as_ref().map(|it| &it.message),
    })
}

/// What a reload does to the proxies that have files of their own, or had one.
#[derive(Debug, Default)]
pub(super) struct Plan {
    changed: Vec<(Proxy, Step)>,
    gone: Vec<(ServiceName, Step)>,
    still: Vec<(ServiceName, Step)>,
}

impl Plan {
    /// What is to be done when the files of proxies and services say this.
    pub(super) fn of(office: &Office, proxies: Vec<Proxy>, specs: &[(ServiceName, Spec)]) -> Self {
        let mut plan = Self::default();
        // The place of one may be taken by that of a service, which comes with the service.
        let own = own_proxies(specs);
        for face in office.faces.all() {
            let it = &face.proxy;
            let stays = own.iter().chain(&proxies).any(|new| new.name == it.name);
            if !it.in_service && !stays {
                plan.gone.push((it.name.clone(), step(it, Verb::Delete, "its file is gone")));
            }
        }
        for new in proxies {
            match office.faces.get(new.name.as_str()) {
                None => {
                    let step = step(&new, Verb::Start, "new file");
                    plan.changed.push((new, step));
                }
                Some(face) if *face.proxy == new => {
                    let step = step(&new, Verb::Unchanged, "its file says the same");
                    plan.still.push((new.name, step));
                }
                Some(face) => {
                    let step = step(&new, Verb::Update, &what_changed(&face.proxy, &new));
                    plan.changed.push((new, step));
                }
            }
        }
        plan
    }

    /// What is to be done when only these services are said to be so: those that have no backend of
    /// their own have that of their service.
    ///
    /// # Errors
    /// When one of them cannot stand before its service any more.
    pub(super) async fn beside(
        office: &Office,
        specs: &[(ServiceName, Spec)],
    ) -> Result<Self, Refusal> {
        let mut faces = office.faces.all();
        faces.retain(|it| {
            !specs.iter().any(|(name, _)| it.proxy.in_service && *name == it.proxy.name)
        });
        let (mut plan, mut all) = (Self::default(), own_proxies(specs));
        for face in faces {
            let old = &*face.proxy;
            let spec = specs.iter().find(|(name, _)| !old.in_service && *name == old.service);
            let new = match spec {
                Some((_, spec)) => led_to(office, old, spec).await?,
                None => old.clone(),
            };
            if new != *old {
                let step = step(&new, Verb::Update, &what_changed(old, &new));
                plan.changed.push((new.clone(), step));
            }
            all.push(new);
        }
        plan.changed.iter().try_for_each(|(it, _)| it.vet(all.iter()))?;
        Ok(plan)
    }

    /// Does it, unless it is only asked about. Those that go make room for the others first. One that
    /// cannot listen stands all the same.
    pub(super) async fn run(self, office: &Office, dry_run: bool) -> Result<Vec<Line>, Refusal> {
        let mut lines = Vec::new();
        for (name, step) in self.gone {
            if !dry_run {
                office.ask(Command::ForgetProxy(name.clone())).await?;
            }
            lines.push(Line { proxy: Some(name), step });
        }
        for (proxy, mut step) in self.changed {
            let name = proxy.name.clone();
            // The services were reloaded: whatever becomes of one, it is the turn of the next.
            if !dry_run
                && let Err(refusal) = office.ask(Command::DefineProxy(Box::new(proxy))).await
            {
                step.why = format!("{}; but {}", step.why, refusal.message);
            }
            lines.push(Line { proxy: Some(name), step });
        }
        let still = self.still.into_iter().map(|(name, step)| Line { proxy: Some(name), step });
        lines.extend(still);
        Ok(lines)
    }
}

fn step(proxy: &Proxy, verb: Verb, why: &str) -> Step {
    Step { service: proxy.service.clone(), verb, why: why.to_owned() }
}

fn own_proxies(specs: &[(ServiceName, Spec)]) -> Vec<Proxy> {
    specs.iter().filter_map(|(name, spec)| Proxy::of(name, spec)).collect()
}

fn what_changed(old: &Proxy, new: &Proxy) -> String {
    let mut keys = old.xinit.changes(&new.xinit);
    keys.extend((old.service != new.service).then_some("service"));
    match keys.as_slice() {
        [] => "it has a file of its own now".to_owned(),
        keys => format!("{} changed", keys.join(", ")),
    }
}

/// A proxy as it stands, with the backend that its service has when that is so.
async fn led_to(office: &Office, old: &Proxy, spec: &Spec) -> Result<Proxy, Refusal> {
    let (store, name) = (office.store.clone(), old.name.clone());
    // What else its file says, or whether it can be read, matters when that is reloaded.
    let Ok(Some(written)) = on_disk(move || store.read_proxy(&name)).await else {
        return Ok(old.clone());
    };
    let says = written.xinit.backend.is_some() || written.service != old.service;
    let xinit = Xinit {
        backend: if says { old.xinit.backend.clone() } else { None },
        ..(*old.xinit).clone()
    };
    Proxy { xinit: Arc::new(xinit), ..old.clone() }.before(spec)
}

/// Adds to the steps of a reload that was done which proxies do not listen.
pub(super) fn tell_trouble(office: &Office, lines: &mut [Line]) {
    for Line { proxy, step } in lines {
        let quiet = matches!(step.verb, Verb::Unchanged | Verb::Delete);
        let face = office.faces.get(proxy.as_ref().unwrap_or(&step.service).as_str());
        let face = face.filter(|it| !quiet && it.proxy.in_service == proxy.is_none());
        if let Some(trouble) = face.as_ref().and_then(|it| it.trouble.as_ref()) {
            step.why = format!("{}; but {}", step.why, trouble.message);
        }
    }
}

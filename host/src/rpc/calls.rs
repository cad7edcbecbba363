//! The functions behind the table of methods, in its order. They read, ask and wait; what is to be
//! done is decided by the core.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use zinit_keeper::wire::Then;

use super::args::Args;
use super::methods::{Pending, Said};
use super::office::{Office, Unmet};
use super::{openrpc, xinit};
use crate::board::{Board, Status};
use crate::desk::Command;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;

pub(super) fn discover(_: &Office, _: &Args) -> Said {
    static DOCUMENT: OnceLock<Arc<RawValue>> = OnceLock::new();
    if let Some(document) = DOCUMENT.get() {
        return Ok(Arc::clone(document));
    }
    let document = said(&openrpc::document())?;
    Ok(Arc::clone(DOCUMENT.get_or_init(|| document)))
}

pub(super) fn delete(office: Arc<Office>, args: Args) -> Pending {
    to_the_end(async move {
        let names = args.picks(0)?.resolve(&office)?;
        let order = office.files.lock().await;
        let extra = extra_grace(&office, &names).await;
        if !args.flag(2) {
            xinit::leave(&office, &names).await?;
        }
        remove(&office, names.clone()).await?;
        office.ask(Command::Delete(names.clone())).await?;
        drop(order);
        if args.flag(1) {
            empty(&office, names.clone(), extra, is_forgotten).await?;
        }
        done_to(&args, &names)
    })
}

pub(super) fn delete_all(office: Arc<Office>, _: Args) -> Pending {
    to_the_end(async move {
        let names = names(&office);
        let order = office.files.lock().await;
        let extra = extra_grace(&office, &names).await;
        xinit::leave(&office, &names).await?;
        remove(&office, names.clone()).await?;
        office.ask(Command::DeleteAll).await?;
        drop(order);
        empty(&office, names, extra, is_forgotten).await?;
        said(&true)
    })
}

pub(super) fn get(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let name = args.name(0)?;
        let spec = read(&office, name).await?;
        said(&spec.to_config())
    })
}

pub(super) fn is_running(office: &Office, args: &Args) -> Said {
    said(&office.board.get(args.text(0)).is_some_and(|it| it.pid > 0))
}

pub(super) fn kill(office: Arc<Office>, args: Args) -> Pending {
    asked(office, args.name(0).map(|it| Command::Kill(it, args.signal(1))))
}

pub(super) fn list(office: &Office, _: &Args) -> Said {
    Ok(office.board.names())
}

pub(super) fn monitor(office: Arc<Office>, args: Args) -> Pending {
    let define = || {
        let mut spec = Spec::from_config(args.value(1))?;
        spec.transient = true;
        Ok(Command::Define(args.name(0)?, Box::new(spec)))
    };
    asked(office, define())
}

pub(super) fn register(office: Arc<Office>, args: Args) -> Pending {
    to_the_end(async move {
        let (name, spec) = (args.name(0)?, Spec::from_config(args.value(1))?);
        let (store, saved) = (office.store.clone(), (name.clone(), spec.clone()));
        let _order = office.files.lock().await;
        // Nothing is written that would be refused.
        office.ask(Command::Vet(name.clone(), Box::new(spec.clone()))).await?;
        let proxies = xinit::Plan::beside(&office, &[(name.clone(), spec.clone())]).await?;
        on_disk(move || store.save(&saved.0, &saved.1)).await?;
        office.ask(Command::Define(name, Box::new(spec))).await?;
        proxies.run(&office, false).await?;
        said(&true)
    })
}

pub(super) fn restart(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let names = args.picks(0)?.resolve(&office)?;
        office.ask(Command::Restart(names.clone())).await?;
        done_to(&args, &names)
    })
}

pub(super) fn start(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let names = args.picks(0)?.resolve(&office)?;
        let deps = args.flag(1);
        office.ask(Command::Start { names: names.clone(), deps }).await?;
        done_to(&args, &names)
    })
}

pub(super) fn start_all(office: Arc<Office>, _: Args) -> Pending {
    asked(office, Ok(Command::StartAll))
}

pub(super) fn status(office: &Office, args: &Args) -> Said {
    office.shown.of(&office.board, office.logs.trails(), office.known(args.text(0))?)
}

pub(super) fn status_all(office: &Office, _: &Args) -> Said {
    said(&office.board.all())
}

pub(super) fn stop(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let names = args.picks(0)?.resolve(&office)?;
        office.ask(Command::Stop(names.clone())).await?;
        if args.flag(1) {
            let extra = extra_grace(&office, &names).await;
            empty(&office, names.clone(), extra, is_down).await?;
        }
        done_to(&args, &names)
    })
}

pub(super) fn stop_all(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        office.ask(Command::StopAll).await?;
        if args.flag(0) {
            let names = names(&office);
            let extra = extra_grace(&office, &names).await;
            empty(&office, names, extra, is_down).await?;
        }
        said(&true)
    })
}

pub(super) fn wait(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let (name, limit) = (args.name(0)?, args.seconds(1));
        let settled: fn(Option<&Status>) -> Option<bool> = match args.text(2) {
            "up" => |it| it.map_or(Some(false), Status::settled),
            "down" => |it| it.is_none_or(Status::is_down).then_some(true),
            other => {
                let message = format!("cannot wait for `{other}`: it must be `up` or `down`");
                return Err(Refusal::new(Kind::BadArgument, message).with("param", "want"));
            }
        };
        office.known(name.as_str())?;
        let check = |board: &Board| settled(board.get(name.as_str()).as_deref());
        match office.until(limit, check).await {
            Ok(as_wanted) => said(&as_wanted),
            Err(unmet) => Err(unmet
                .refusal(|| not_yet(&office, &name, args.text(2), limit))
                .with("service", name.as_str())),
        }
    })
}

/// Whoever gets here is in already: over TCP, `greet` has asked for the token.
pub(super) fn authenticate(_: &Office, _: &Args) -> Said {
    said(&true)
}

pub(super) fn ping(_: &Office, _: &Args) -> Said {
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    said(&json!({ "message": "pong", "version": version, "pid": pid }))
}

pub(super) fn poweroff(office: Arc<Office>, _: Args) -> Pending {
    asked(office, Ok(Command::Shutdown(Then::Poweroff)))
}

pub(super) fn reboot(office: Arc<Office>, _: Args) -> Pending {
    asked(office, Ok(Command::Shutdown(Then::Reboot)))
}

pub(super) fn renew(office: Arc<Office>, args: Args) -> Pending {
    asked(office, Ok(Command::Renew { keeper: args.flag(0), server: args.flag(1) }))
}

pub(super) fn shutdown(office: Arc<Office>, _: Args) -> Pending {
    asked(office, Ok(Command::Shutdown(Then::Exit)))
}

// What the functions share.

pub(super) fn said(value: &impl Serialize) -> Said {
    to_raw_value(value)
        .map(Arc::from)
        .map_err(|error| Refusal::new(Kind::Internal, format!("cannot write the answer: {error}")))
}

/// What was done, and to which: true for one plain name, as in zinit 0.3.5, else the names.
fn done_to(args: &Args, names: &[ServiceName]) -> Said {
    if args.is_plain_name(0) { said(&true) } else { said(&names) }
}

/// Asks the core, and answers true when it has acted.
fn asked(office: Arc<Office>, command: Result<Command, Refusal>) -> Pending {
    Box::pin(async move {
        office.ask(command?).await?;
        said(&true)
    })
}

/// Does it all even if the client goes away meanwhile.
pub(super) fn to_the_end(work: impl Future<Output = Said> + Send + 'static) -> Pending {
    let work = tokio::spawn(work);
    Box::pin(async move { work.await.unwrap_or_else(|error| Err(broken(&error))) })
}

/// Does what may wait for a disk on a thread that may wait.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken(&error)))
}

fn broken(error: &tokio::task::JoinError) -> Refusal {
    Refusal::new(Kind::Internal, format!("the call was broken off: {error}"))
}

fn names(office: &Office) -> Vec<ServiceName> {
    office.board.all().iter().map(|it| it.name.clone()).collect()
}

pub(super) async fn read(office: &Office, name: ServiceName) -> Result<Spec, Refusal> {
    let (store, wanted) = (office.store.clone(), name.clone());
    on_disk(move || store.read(&wanted)).await.map_err(|refusal| {
        let no_file = refusal.kind == Kind::Storage && !office.store.path(&name).exists();
        if no_file && office.board.get(name.as_str()).is_none() {
            office.unknown(name.as_str())
        } else {
            refusal
        }
    })
}

async fn remove(office: &Office, names: Vec<ServiceName>) -> Said {
    let store = office.store.clone();
    on_disk(move || names.iter().try_for_each(|it| store.remove(it))).await?;
    said(&true)
}

fn is_down(board: &Board, name: &ServiceName) -> bool {
    board.get(name.as_str()).is_none_or(|it| it.is_down())
}

fn is_forgotten(board: &Board, name: &ServiceName) -> bool {
    board.get(name.as_str()).is_none()
}

/// What a service gets to stop unless its file says otherwise.
const GRACE: Duration = Duration::from_secs(10);
/// What the core gets on top of that, to kill and to reap.
const SLACK: Duration = Duration::from_secs(5);

/// Waits until every one of these is `done`, for `extra` longer than usual if need be. Each that gets
/// there gives the others new time.
async fn empty(
    office: &Office,
    names: Vec<ServiceName>,
    extra: Duration,
    done: fn(&Board, &ServiceName) -> bool,
) -> Result<(), Refusal> {
    let mut left = names;
    left.retain(|it| !done(&office.board, it));
    while !left.is_empty() {
        let fewer = |board: &Board| {
            let rest: Vec<_> = left.iter().filter(|it| !done(board, it)).cloned().collect();
            (rest.len() < left.len()).then_some(rest)
        };
        let rest = match office.until(GRACE + SLACK, fewer).await {
            Err(Unmet::Late) => office.until(extra, fewer).await,
            other => other,
        };
        left = rest.map_err(|unmet| unmet.refusal(|| still_there(&left)))?;
    }
    Ok(())
}

/// How much longer than [`GRACE`] the files of these services let them take.
async fn extra_grace(office: &Office, names: &[ServiceName]) -> Duration {
    let (store, names) = (office.store.clone(), names.to_vec());
    let longest = on_disk(move || {
        let timeouts = names.iter().filter_map(|it| Some(store.read(it).ok()?.shutdown_timeout_ms));
        Ok(timeouts.max().unwrap_or(0))
    });
    let longest = u64::try_from(longest.await.unwrap_or(0)).unwrap_or(0);
    Duration::from_millis(longest).saturating_sub(GRACE)
}

fn still_there(left: &[ServiceName]) -> String {
    let names: Vec<String> = left.iter().take(5).map(|it| format!("`{it}`")).collect();
    let more = if left.len() > 5 { " and others" } else { "" };
    format!("{}{more} did not stop in time", names.join(", "))
}

fn not_yet(office: &Office, name: &ServiceName, want: &str, limit: Duration) -> String {
    let now = office.board.get(name.as_str());
    let state = now.as_ref().map_or("gone", |it| &*it.state);
    let reason = now.as_ref().map_or("", |it| &*it.reason);
    let seconds = limit.as_secs_f64();
    format!("`{name}` is not {want} after {seconds} s: it is {state}: {reason}")
}

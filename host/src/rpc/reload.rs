//! `service.reload`: the files as they are now, handed to the core all at once or not at all.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::args::Args;
use super::calls::{on_disk, said};
use super::methods::Pending;
use super::office::Office;
use super::picks::Picks;
use super::xinit::{Plan, tell_trouble};
use crate::desk::{Command, Reload, Reply, Step};
use crate::name::ServiceName;
use crate::policy::told::strangers;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::store::Loaded;

/// A step of a reload: about a service, or about a proxy that has a file of its own.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy: Option<ServiceName>,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// `service.reload`.
pub(super) fn reload(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let picks = if args.value(0).is_null() { None } else { Some(args.picks(0)?) };
        let dry_run = args.flag(1);
        let _order = office.files.lock().await;
        let plan = take_over(&office, picks, dry_run).await?;
        // As in zinit 0.3.5.
        if args.is_plain_name(0) && !dry_run { said(&true) } else { said(&plan) }
    })
}

/// Hands the files to the core. Whoever calls holds the lock of the files.
pub(super) async fn take_over(
    office: &Office,
    picks: Option<Picks>,
    dry_run: bool,
) -> Result<Vec<Line>, Refusal> {
    let (store, whole) = (office.store.clone(), picks.is_none());
    let look = move || {
        // It may be on a disk that is not there: nothing is gone because of that.
        let mut loaded = store.look();
        if dry_run && whole {
            loaded.problems.extend(strangers(&store, &loaded.specs));
        }
        let (proxies, problems) = match whole {
            true => store.load_proxies(&loaded.specs),
            false => Default::default(),
        };
        loaded.problems.extend(problems);
        Ok((loaded, proxies))
    };
    let (loaded, proxies) = on_disk(look).await?;
    let only = picks.map(|it| named(office, &it, &loaded)).transpose()?;
    let files = fine(loaded, only.as_deref())?;
    let plan = match whole {
        true => Plan::of(office, proxies, &files),
        false => Plan::beside(office, &files).await?,
    };
    let steps = match office.ask(Command::Reload(Reload { files, only, dry_run })).await? {
        Reply::Plan(steps) => steps,
        Reply::Done | Reply::Policy(_) => Vec::new(),
    };
    let mut lines: Vec<Line> = steps.into_iter().map(|step| Line { proxy: None, step }).collect();
    lines.extend(plan.run(office, dry_run).await?);
    if !dry_run {
        tell_trouble(office, &mut lines);
    }
    Ok(lines)
}

/// The services that are meant, which are among those that have a file.
///
/// # Errors
/// When one is meant that has none, and its name was written out: it was set up without one, or its
/// file is gone, and then it goes with a reload of everything.
fn named(office: &Office, picks: &Picks, loaded: &Loaded) -> Result<Vec<ServiceName>, Refusal> {
    let fine = loaded.specs.iter().map(|(name, _)| name.clone());
    let broken = loaded.problems.iter().filter_map(|it| ServiceName::parse(of(it)?).ok());
    let filed: Vec<ServiceName> = fine.chain(broken).collect();
    let mut meant = picks.resolve_with(office, &filed)?;
    if let Some(bare) = meant.iter().find(|it| picks.spell(it) && !filed.contains(it)) {
        let path = office.store.path(bare).display().to_string();
        let message = format!("cannot reload `{bare}`: there is no {path}");
        return Err(Refusal::new(Kind::Storage, message)
            .hint("`zinit reload` without a name forgets the services whose files are gone")
            .with("service", bare.as_str())
            .with("path", path));
    }
    meant.retain(|it| filed.contains(it));
    Ok(meant)
}

/// The files that are asked about.
///
/// # Errors
/// When one of them is not fine; with all problems that there are, so that nobody has to come back
/// for the next one.
fn fine(loaded: Loaded, only: Option<&[ServiceName]>) -> Result<Vec<(ServiceName, Spec)>, Refusal> {
    let is_meant = |name: &str| only.is_none_or(|it| it.iter().any(|it| it.as_str() == name));
    let mut problems = loaded.problems;
    // A directory that cannot be read must not look like one from which all files are gone.
    let concerns_all = |it: &Refusal| only.is_none() || it.kind == Kind::Storage;
    problems.retain(|it| of(it).map_or_else(|| concerns_all(it), is_meant));
    match problems.len() {
        0 => Ok(loaded.specs.into_iter().filter(|(it, _)| is_meant(it.as_str())).collect()),
        1 if only.is_some() => Err(problems.remove(0)),
        count => Err(nothing_is_reloaded(count, &problems)),
    }
}

fn nothing_is_reloaded(count: usize, problems: &[Refusal]) -> Refusal {
    let files = if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") };
    let message = format!("nothing is reloaded: {files} not fine");
    let problems: Vec<Value> = problems.iter().map(Refusal::to_problem).collect();
    Refusal::new(Kind::BadConfig, message).with("problems", problems)
}

fn of(problem: &Refusal) -> Option<&str> {
    problem.data.get("service").and_then(Value::as_str)
}

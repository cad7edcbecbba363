//! The policy over RPC: what is in force, and taking over what the files say now.
//!
//! A policy is tried on a thread of its own before the core hears of it, so nobody waits for that but
//! who asked for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::args::Args;
use super::calls::{on_disk, said};
use super::methods::Pending;
use super::office::Office;
use super::reload::{self, Line};
use crate::clock;
use crate::core::one_refusal;
use crate::desk::{Command, Decree, Reply, Step, Verb};
use crate::name::ServiceName;
use crate::policy::index::Index;
use crate::policy::told::{InForce, Refused, Told, differing, vet};
use crate::refusal::Refusal;
use crate::spec::Spec;

/// What a reload of the policy does, or would do.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    /// `update`, or `unchanged`.
    pub(crate) verb: Verb,
    /// Why, as half a sentence.
    pub(crate) why: String,
    /// The files that are different now.
    pub(crate) files: Vec<String>,
    /// What is in force before it.
    pub(crate) version: String,
}

pub(super) fn get(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let force = in_force(&office).await?;
        let index = Index::of(&force.sources.files);
        said(index.get(args.text(0), args.flag(1))?)
    })
}

pub(super) fn list(office: Arc<Office>, _: Args) -> Pending {
    Box::pin(async move {
        let force = in_force(&office).await?;
        let (files, _) = on_files(&office).await?;
        let told = Told {
            differs: differing(&force.sources.files, &files),
            refused: office.refused.lock().expect("nobody panics with it").clone(),
            ..Told::of(&force)
        };
        said(&told)
    })
}

pub(super) fn reload(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let _order = office.files.lock().await;
        let soon = if args.flag(1) { Some(look(&office).await?) } else { None };
        said(&take_over(&office, args.flag(0), soon).await?)
    })
}

/// Takes over the policy as it is on the disk. Whoever calls holds the lock of the files.
///
/// # Errors
/// Everything that keeps it from being loaded; then the policy goes on deciding that did.
async fn take_over(office: &Office, dry_run: bool, soon: Soon) -> Result<Change, Refusal> {
    let force = in_force(office).await?;
    let (files, mut problems) = on_files(office).await?;
    let changed = differing(&force.sources.files, &files);
    let done = if problems.is_empty() && changed.is_empty() {
        Ok(())
    } else {
        if problems.is_empty() {
            let tried = files.clone();
            problems = on_disk(move || Ok(vet(&tried))).await?;
        }
        decide(office, Decree { files, soon }, problems, dry_run).await
    };
    if !dry_run {
        let refused = done
            .as_ref()
            .err()
            .map(|it| Refused { at_ms: clock::wall().unix_ms, problems: vec![it.clone()] });
        *office.refused.lock().expect("nobody panics with it") = refused;
    }
    done?;
    let verb = if changed.is_empty() { Verb::Unchanged } else { Verb::Update };
    Ok(Change { verb, why: why(&changed), files: changed, version: force.sources.version })
}

async fn decide(
    office: &Office,
    decree: Decree,
    problems: Vec<Refusal>,
    dry_run: bool,
) -> Result<(), Refusal> {
    if !problems.is_empty() {
        return Err(one_refusal(problems));
    }
    let command = if dry_run { Command::VetPolicy(decree) } else { Command::Decide(decree) };
    office.ask(command).await.map(drop)
}

fn why(changed: &[String]) -> String {
    let name = |it: &String| Path::new(it).file_name().unwrap_or_default().display().to_string();
    match changed {
        [] => String::new(),
        all => format!("{} changed", all.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

async fn in_force(office: &Office) -> Result<InForce, Refusal> {
    match office.ask(Command::TellPolicy).await? {
        Reply::Policy(force) => Ok(*force),
        Reply::Done | Reply::Plan(_) => Ok(InForce::default()),
    }
}

/// What the services' files say, if they are taken over as well.
type Soon = Option<Vec<(ServiceName, Spec)>>;

/// The services' files that are fine.
async fn look(office: &Office) -> Result<Vec<(ServiceName, Spec)>, Refusal> {
    let store = office.store.clone();
    on_disk(move || Ok(store.look().specs)).await
}

type Files = (Vec<(PathBuf, String)>, Vec<Refusal>);

async fn on_files(office: &Office) -> Result<Files, Refusal> {
    let store = office.store.clone();
    // It may be on a disk that is not there: nothing is gone because of that.
    on_disk(move || match store.missing() {
        Some(refusal) => Err(refusal),
        None => Ok(store.policy_files()),
    })
    .await
}

/// Whether the files say something else than what is in force.
pub(crate) async fn differs(office: &Office) -> bool {
    let (Ok(force), Ok((files, problems))) = (in_force(office).await, on_files(office).await)
    else {
        return false;
    };
    !problems.is_empty() || !differing(&force.sources.files, &files).is_empty()
}

/// Takes over the policy, and says so in a sentence; nothing when it is as it was.
///
/// # Errors
/// As [`take_over`].
pub(crate) async fn renew(office: &Office) -> Result<Option<String>, Refusal> {
    let _order = office.files.lock().await;
    renewed(office, None).await
}

async fn renewed(office: &Office, soon: Soon) -> Result<Option<String>, Refusal> {
    let change = take_over(office, false, soon).await?;
    Ok((change.verb != Verb::Unchanged).then(|| format!("reloaded the policy: {}", change.why)))
}

/// Takes over the policy and then the services, and says in a sentence each what that has changed.
///
/// # Errors
/// When the policy or a service is not fine. A policy that was fine decides already.
pub(crate) async fn renew_all(office: &Office) -> Result<Vec<String>, Refusal> {
    let _order = office.files.lock().await;
    let soon = Some(look(office).await?);
    let mut told = Vec::from_iter(renewed(office, soon).await?);
    let steps = reload::take_over(office, None, false).await?;
    let changed: Vec<_> = steps.iter().filter(|it| it.step.verb != Verb::Unchanged).collect();
    told.extend(changed.iter().map(|it| in_words(it)));
    let still = steps.len() - changed.len();
    told.push(format!("reloaded: {} changed, {still} unchanged", changed.len()));
    Ok(told)
}

fn in_words(line: &Line) -> String {
    let verb = json!(line.step.verb);
    let Step { service, why, .. } = &line.step;
    let what = line.proxy.as_ref().map_or(service.to_string(), |it| format!("proxy {it}"));
    format!("reload: {} {what}: {why}", verb.as_str().unwrap_or_default())
}

//! `service.why`: a service, what it waits for, what that waits for, and what is known of each.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::args::Args;
use super::calls::{on_disk, said};
use super::lines::last;
use super::methods::Pending;
use super::office::Office;
use crate::board::Status;
use crate::chronicle::Entry;
use crate::name::ServiceName;

/// What is known of one service.
#[derive(Debug, Serialize)]
struct Account {
    name: ServiceName,
    state: Cow<'static, str>,
    reason: Arc<str>,
    /// What follows is left out of a service that was told of before, and of one that is unknown.
    #[serde(flatten)]
    facts: Option<Facts>,
    because: Vec<Self>,
}

#[derive(Debug, Serialize)]
struct Facts {
    pid: i32,
    since_ms: i64,
    restarts: i64,
    last_exit: String,
    next: Cow<'static, str>,
    next_ms: i64,
    health: Arc<str>,
    says: Arc<str>,
    last_lines: Vec<String>,
    events: Vec<Entry>,
}

/// How far causes are followed.
const DEPTH_MAX: usize = 16;
/// How many services one answer tells of in full.
const ACCOUNTS_MAX: usize = 64;
const LINES: usize = 5;
const EVENTS: usize = 5;

/// `service.why`. Last lines are in files.
pub(super) fn why(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let status = office.known(args.text(0))?;
        let _turn = office.turn().await;
        let inside = Arc::clone(&office);
        on_disk(move || said(&account(&inside, &status, &mut BTreeSet::new(), 0))).await
    })
}

/// The account of a service and its causes. Each service is told of in full once, so that a cycle
/// ends and a knot stays short.
fn account(
    office: &Office,
    status: &Status,
    told: &mut BTreeSet<ServiceName>,
    depth: usize,
) -> Account {
    let is_first = told.len() < ACCOUNTS_MAX && told.insert(status.name.clone());
    let mut because = Vec::new();
    if is_first && depth < DEPTH_MAX {
        for name in &status.waits_for {
            because.push(match office.board.get(name.as_str()) {
                Some(cause) => account(office, &cause, told, depth + 1),
                None => unknown(name),
            });
        }
    }
    Account {
        name: status.name.clone(),
        state: status.state.clone(),
        reason: Arc::clone(&status.reason),
        facts: is_first.then(|| facts(office, status)),
        because,
    }
}

fn unknown(name: &ServiceName) -> Account {
    Account {
        name: name.clone(),
        state: "Unknown".into(),
        reason: "there is no service of that name".into(),
        facts: None,
        because: Vec::new(),
    }
}

fn facts(office: &Office, it: &Status) -> Facts {
    let name = it.name.as_str();
    Facts {
        pid: it.pid,
        since_ms: it.since_ms,
        restarts: it.restarts,
        last_exit: it.last_exit.clone(),
        next: it.next.clone(),
        next_ms: it.next_ms,
        health: Arc::clone(&it.health),
        says: Arc::clone(&it.says),
        last_lines: last(office, name, LINES),
        events: office.chronicle.latest(Some(name), 0, EVENTS),
    }
}

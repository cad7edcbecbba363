//! Who follows the logs: page after page behind a cursor, as lines come.
//!
//! A follower reads its next page when the one before is on its way, and of all followers of a
//! connection one at a time has a page: so a connection that is not read costs a page and no more. It looks at most every 20 ms where it is up to date: the lines that came in
//! between come together. One that lags behind goes on at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jsonrpsee::types::ErrorObjectOwned;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::answer::error_object;
use super::args::Args;
use super::lines::moment;
use super::office::Office;
use super::page::{Page, take_next};
use super::search::Search;
use crate::clock::wall_ns;
use crate::refusal::{Kind, Refusal};

/// What notifications of log lines are called.
pub(super) const NOTIFICATION: &str = "logs";

/// Somebody who follows.
#[derive(Debug)]
pub(super) struct Follower {
    office: Arc<Office>,
    search: Search,
    after_ns: i64,
    changes: watch::Receiver<u64>,
    /// Whether there may be something behind the cursor already.
    lags: bool,
}

impl Follower {
    /// How many lines come at once.
    const LINES: usize = 1_000;
    /// How old a cursor is at least before anything behind it is looked for.
    const GATHER_NS: i64 = 20_000_000;

    /// Somebody who has seen all until then.
    pub(super) fn new(office: &Arc<Office>, search: Search, after_ns: i64) -> Self {
        let (office, changes) = (Arc::clone(office), office.logs.trails().changes());
        Self { office, search, after_ns, changes, lags: true }
    }

    /// As `logs.follow` says it; without a cursor from now on.
    pub(super) fn of(office: &Arc<Office>, args: &Args) -> Result<Self, Refusal> {
        let search = Search::of(office, args, 1, 2)?;
        let after_ns = moment(args, 0, "cursor")?.unwrap_or_else(|| now_ns(office));
        Ok(Self::new(office, search, after_ns))
    }

    /// That nothing has come.
    pub(super) fn nothing(&self) -> Result<Page, Refusal> {
        Page::nothing(self.after_ns, self.lags)
    }

    /// The next page that has lines. Whoever gives up waiting for it has lost none.
    pub(super) async fn next(&mut self) -> Result<Page, Refusal> {
        let (page, _) = self.next_with(&Arc::new(Semaphore::new(1))).await?;
        Ok(page)
    }

    /// The same, when a pass is free for it.
    async fn next_with(&mut self, pass: &Arc<Semaphore>) -> Result<Passed, Refusal> {
        loop {
            if !self.lags {
                // Its sender lives as long as the office.
                let _ = self.changes.changed().await;
            }
            let pass = Arc::clone(pass).acquire_owned().await.expect("it is never closed");
            let page = self.look().await?;
            if !page.is_empty {
                return Ok((page, pass));
            }
        }
    }

    /// What there is now behind the cursor.
    pub(super) async fn look(&mut self) -> Result<Page, Refusal> {
        self.gather().await;
        self.changes.mark_unchanged();
        let page = take_next(&self.office, &self.search, self.after_ns, Self::LINES).await?;
        (self.after_ns, self.lags) = (page.cursor_ns, page.more);
        Ok(page)
    }

    async fn gather(&self) {
        let age_ns = wall_ns().saturating_sub(self.after_ns);
        if age_ns < Self::GATHER_NS {
            // A cursor from the future is one of a clock that was set back.
            let rest_ns = u64::try_from(Self::GATHER_NS - age_ns.max(0)).unwrap_or(0);
            sleep(Duration::from_nanos(rest_ns)).await;
        }
    }
}

/// Behind this come the lines that are yet to come.
pub(super) fn now_ns(office: &Office) -> i64 {
    match office.logs.trails().newest_ns() {
        0 => wall_ns(),
        newest_ns => newest_ns,
    }
}

/// A page, and the pass for it, which is given back when it has been sent.
type Passed = (Page, OwnedSemaphorePermit);

/// The followers of one connection.
#[derive(Debug)]
pub(super) struct Follows {
    reading: JoinSet<(u64, Follower, Result<Passed, Refusal>)>,
    /// Those whose page is being sent, with its pass; and those that have just begun.
    sending: Vec<(u64, Follower, Option<OwnedSemaphorePermit>)>,
    /// Whoever has it may have a page.
    pass: Arc<Semaphore>,
    live: BTreeMap<u64, Option<AbortHandle>>,
    count: u64,
}

#[derive(Serialize)]
struct Notification<'a> {
    jsonrpc: &'a str,
    method: &'a str,
    params: News<'a>,
}

#[derive(Serialize)]
struct News<'a> {
    subscription: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObjectOwned>,
}

impl Default for Follows {
    fn default() -> Self {
        let (reading, sending, live) = (JoinSet::new(), Vec::new(), BTreeMap::new());
        Self { reading, sending, pass: Arc::new(Semaphore::new(1)), live, count: 0 }
    }
}

impl Follows {
    /// Followers of one connection.
    const MAX: usize = 16;

    /// Takes a follower on, and answers with the number of its subscription.
    pub(super) fn begin(&mut self, office: &Arc<Office>, args: &Args) -> Result<u64, Refusal> {
        if self.live.len() >= Self::MAX {
            let message = format!("a connection has at most {} subscriptions", Self::MAX);
            return Err(Refusal::new(Kind::Forbidden, message)
                .hint("`logs.unfollow` ends one, and one can follow several services"));
        }
        let follower = Follower::of(office, args)?;
        self.count += 1;
        self.live.insert(self.count, None);
        self.sending.push((self.count, follower, None));
        Ok(self.count)
    }

    /// Ends a subscription, and answers whether there was one.
    pub(super) fn end(&mut self, id: u64) -> bool {
        self.sending.retain(|(it, ..)| *it != id);
        let ended = self.live.remove(&id);
        ended.iter().flatten().for_each(AbortHandle::abort);
        ended.is_some()
    }

    /// Everything has been sent: those whose pages these were go on. Whether there were any.
    pub(super) fn go_on(&mut self) -> bool {
        let any = !self.sending.is_empty();
        for (id, mut follower, _) in self.sending.drain(..) {
            let pass = Arc::clone(&self.pass);
            let task = self.reading.spawn(async move {
                let page = follower.next_with(&pass).await;
                (id, follower, page)
            });
            self.live.insert(id, Some(task));
        }
        any
    }

    /// Appends the pages that have come, a line each, and asks to be woken by the others.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        while let Poll::Ready(Some(done)) = self.reading.poll_join_next(cx) {
            let Ok((id, follower, page)) = done else { continue };
            if !self.live.contains_key(&id) {
                continue;
            }
            match page {
                Ok((page, pass)) => {
                    notify(out, News { subscription: id, result: Some(&page.told), error: None });
                    self.sending.push((id, follower, Some(pass)));
                }
                Err(refusal) => {
                    let error = Some(error_object(refusal));
                    notify(out, News { subscription: id, result: None, error });
                    self.live.remove(&id);
                }
            }
        }
    }
}

fn notify(out: &mut Vec<u8>, params: News<'_>) {
    let notification = Notification { jsonrpc: "2.0", method: NOTIFICATION, params };
    serde_json::to_writer(&mut *out, &notification).expect("a vector takes everything");
    out.push(b'\n');
}

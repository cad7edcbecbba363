//! `events.get` and `events.wait`: what happened lately, and what happens next.

use std::sync::Arc;

use super::args::Args;
use super::calls::said;
use super::methods::{Pending, Said};
use super::office::{Office, Unmet};
use crate::chronicle::Chronicle;

/// `events.get`.
pub(super) fn get(office: &Office, args: &Args) -> Said {
    let since_ms = i64::try_from(args.count(1)).unwrap_or(i64::MAX);
    let count = args.count(2).min(Chronicle::NEWS_MAX);
    said(&office.chronicle.latest(args.text_if_any(0), since_ms, count))
}

/// `events.wait`. When nothing happens in time, it answers without entries.
pub(super) fn wait(office: Arc<Office>, args: Args) -> Pending {
    // Whoever has no cursor wants what comes after the call, not after its turn.
    let cursor = args.count_if_any(0).unwrap_or_else(|| office.chronicle.cursor());
    Box::pin(async move {
        let (chronicle, service) = (&office.chronicle, args.text_if_any(2));
        let changes = chronicle.changes();
        let news = || {
            let news = chronicle.after(cursor, service);
            (!news.entries.is_empty() || news.lost > 0).then_some(news)
        };
        match office.watch(changes, args.seconds(1), news).await {
            Ok(news) => said(&news),
            Err(Unmet::Late) => said(&chronicle.after(cursor, service)),
            Err(unmet) => Err(unmet.refusal(String::new)),
        }
    })
}

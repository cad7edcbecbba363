//! A page of log lines, as it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::value::RawValue;

use super::calls::{on_disk, said};
use super::lines::unread;
use super::office::Office;
use super::search::Search;
use crate::logs::line::Mark;
use crate::logs::read::{self, Found, forward};
use crate::logs::trails::Source;
use crate::moment;
use crate::name::ServiceName;
use crate::refusal::Refusal;

/// A page that is ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    /// `{lines, cursor, more}`.
    pub(super) told: Arc<RawValue>,
    /// Whether it has no lines.
    pub(super) is_empty: bool,
    /// Whoever goes on, goes on behind this, in nanoseconds since 1970.
    pub(super) cursor_ns: i64,
    /// Whether there is something behind it already.
    pub(super) more: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    lines: Vec<Line<'a>>,
    cursor: String,
    more: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unread: &'a [String],
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    service: &'a ServiceName,
    stream: &'static str,
    incarnation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'static str>,
    text: &'a str,
}

impl Page {
    /// Writes it, which takes a while where there are many lines.
    pub(super) fn of(found: &read::Page, cursor_ns: i64, more: bool) -> Result<Self, Refusal> {
        let read::Page { lines, unread, .. } = found;
        let cursor = moment::text(cursor_ns);
        let told = Told { lines: lines.iter().map(line).collect(), cursor, more, unread };
        Ok(Self { told: said(&told)?, is_empty: lines.is_empty(), cursor_ns, more })
    }

    /// A page without lines.
    pub(super) fn nothing(cursor_ns: i64, more: bool) -> Result<Self, Refusal> {
        Self::of(&read::Page::default(), cursor_ns, more)
    }
}

fn line(it: &Found) -> Line<'_> {
    Line {
        time: moment::text(it.head.at_ns),
        service: &it.service,
        stream: if it.head.stderr { "stderr" } else { "stdout" },
        incarnation: it.head.incarnation,
        mark: match it.head.mark {
            Mark::None => None,
            Mark::Cut => Some("cut"),
            Mark::Zinit => Some("zinit"),
        },
        text: &it.text,
    }
}

/// Reads the page behind a moment. Only what is in the files for sure is looked at, so nothing can
/// come in before its cursor later; of one service alone nothing can anyway, and what it writes in a
/// flood may not be there for long.
pub(super) async fn take(
    office: &Arc<Office>,
    search: &Search,
    after_ns: i64,
    count: usize,
) -> Result<Page, Refusal> {
    let (sources, bound_ns) = search.aim(office);
    read_page(office, search, (sources, Vec::new()), (after_ns, bound_ns), count).await
}

/// The same, for somebody who has seen everything until then: says what was removed unseen.
pub(super) async fn take_next(
    office: &Arc<Office>,
    search: &Search,
    after_ns: i64,
    count: usize,
) -> Result<Page, Refusal> {
    // Behind a cursor from the future nothing would come: the clock was set back.
    let newest_ns = office.logs.trails().newest_ns();
    let after_ns = if after_ns > newest_ns + AHEAD_NS { newest_ns } else { after_ns };
    let (sources, bound_ns) = search.aim(office);
    let gone = sources.iter().filter_map(|it| gone(it, after_ns)).collect();
    read_page(office, search, (sources, gone), (after_ns, bound_ns), count).await
}

async fn read_page(
    office: &Arc<Office>,
    search: &Search,
    (mut sources, gone): (Vec<Source>, Vec<String>),
    (after_ns, bound_ns): (i64, i64),
    count: usize,
) -> Result<Page, Refusal> {
    sources.retain(|it| it.trail.has_after(after_ns));
    let end_ns = if bound_ns == i64::MAX { after_ns } else { bound_ns.max(after_ns) };
    if sources.is_empty() || bound_ns <= after_ns {
        return Page::nothing(end_ns, false);
    }
    let query = search.query(after_ns, bound_ns);
    let _turn = office.turn().await;
    on_disk(move || {
        let mut page = forward(&sources, &query, count).map_err(unread)?;
        let last_ns = page.lines.last().map_or(after_ns, |it| it.head.at_ns);
        let cursor_ns = if page.more { page.cursor_ns } else { end_ns.max(last_ns) };
        let is_empty = page.lines.is_empty() && gone.is_empty();
        page.unread.extend(gone);
        let told = Page::of(&page, cursor_ns, page.more)?;
        Ok(Page { is_empty, ..told })
    })
    .await
}

/// So far ahead of all lines no cursor can be that was answered here, unless the clock was set back.
const AHEAD_NS: i64 = 60_000_000_000;

fn gone(source: &Source, after_ns: i64) -> Option<String> {
    let gone_ns = source.trail.gone_ns.load(Ordering::Acquire);
    let (service, until) = (&source.service, moment::text(gone_ns));
    (gone_ns > after_ns)
        .then(|| format!("lines of `{service}` until {until} were removed before they were read"))
}

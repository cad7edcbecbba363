//! `logs.*`: what services wrote, read from their files on threads that may wait for a disk.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use regex::bytes::Regex;
use serde::Serialize;

use super::args::Args;
use super::calls::{on_disk, said};
use super::follow::{Follower, now_ns};
use super::methods::Pending;
use super::office::{Office, Unmet};
use super::page::{Page, take};
use super::search::{Search, bad};
use crate::clock::wall_ns;
use crate::logs::read::{Found, Query, latest};
use crate::logs::trails::{Source, Trail};
use crate::refusal::{Kind, Refusal};

/// Lines in one page, whoever asks for more.
const LINES_MAX: usize = 10_000;
/// Bytes of text in what `logs.get` and its like answer.
const BYTES_MAX: usize = 8 << 20;

/// `logs.read`.
pub(super) fn read(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let search = Search::of(&office, &args, 0, 3)?;
        let after_ns = moment(&args, 1, "since")?.map_or(0, |it| (it - 1).max(0));
        let after_ns = after_ns.max(moment(&args, 8, "cursor")?.unwrap_or(0));
        let search = search.until(moment(&args, 2, "until")?.unwrap_or(i64::MAX));
        let count = args.count(6).min(LINES_MAX);
        let page = match args.flag(7) {
            true => newest_page(&office, search, after_ns, count).await?,
            false => take(&office, &search, after_ns, count.max(1)).await?,
        };
        Ok(page.told)
    })
}

/// `logs.wait`. When nothing comes in time, it answers without lines.
pub(super) fn wait(office: Arc<Office>, args: Args) -> Pending {
    // Whoever has no cursor wants what comes after the call, not after its turn.
    let now_ns = now_ns(&office);
    Box::pin(async move {
        let search = Search::of(&office, &args, 2, 3)?;
        let after_ns = moment(&args, 0, "cursor")?.unwrap_or(now_ns);
        let mut follower = Follower::new(&office, search, after_ns);
        // However short the time is, what is there is seen.
        let page = follower.look().await?;
        if !page.is_empty {
            return Ok(page.told);
        }
        match office.before(args.seconds(1), follower.next()).await {
            Ok(page) => Ok(page?.told),
            Err(Unmet::Late) => Ok(follower.nothing()?.told),
            Err(unmet) => Err(unmet.refusal(String::new)),
        }
    })
}

/// `logs.get`.
pub(super) fn get(office: Arc<Office>, _: Args) -> Pending {
    shown(office, |office| newest(&everything(office), &Query::default(), usize::MAX))
}

/// `logs.tail`.
pub(super) fn tail(office: Arc<Office>, args: Args) -> Pending {
    let count = args.count(0);
    shown(office, move |office| newest(&everything(office), &Query::default(), count))
}

/// `logs.filter`.
pub(super) fn filter(office: Arc<Office>, args: Args) -> Pending {
    shown(office, move |office| {
        let text = args.text(0);
        let own = |it: &Source| it.service.as_str() == text;
        let mut sources = everything(office);
        if office.board.get(text).is_some() || sources.iter().any(own) {
            sources.retain(own);
            return newest(&sources, &Query::default(), usize::MAX);
        }
        containing(sources, text)
    })
}

/// The newest finished lines of one service, as it wrote them. It may wait for a disk.
pub(super) fn last(office: &Office, name: &str, count: usize) -> Vec<String> {
    let mut sources = everything(office);
    sources.retain(|it| it.service.as_str() == name);
    // A log that cannot be read has nothing to say.
    let page = latest(&sources, &Query::default(), count);
    page.map_or_else(|_| Vec::new(), |it| it.lines.into_iter().map(|it| it.text).collect())
}

/// What was dropped of a service's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    lines: u64,
    bytes: u64,
}

impl Dropped {
    /// Nothing when nothing was.
    pub(super) fn of(trail: &Trail) -> Option<Self> {
        let lines = trail.dropped_lines.load(Ordering::Relaxed);
        let bytes = trail.dropped_bytes.load(Ordering::Relaxed);
        (lines > 0 || bytes > 0).then_some(Self { lines, bytes })
    }
}

/// Parameter `index`, in nanoseconds since 1970.
pub(super) fn moment(args: &Args, index: usize, name: &str) -> Result<Option<i64>, Refusal> {
    args.time_if_any(index, wall_ns()).map_err(|why| {
        let text = args.text_if_any(index).unwrap_or_default();
        bad(name, format!("`{name}` must be a time, and `{text}` is none: {why}"))
            .hint("for example `10m` (ago) or `2026-11-23T12:00:00Z`")
    })
}

fn everything(office: &Office) -> Vec<Source> {
    office.logs.trails().sources(&[])
}

/// The newest lines as a page; there is `more` when there are older ones.
async fn newest_page(
    office: &Arc<Office>,
    search: Search,
    after_ns: i64,
    count: usize,
) -> Result<Page, Refusal> {
    let (sources, bound_ns) = search.aim(office);
    let query = search.query(after_ns, bound_ns);
    let _turn = office.turn().await;
    on_disk(move || {
        // One more tells whether there is more.
        let mut page = latest(&sources, &query, count + 1).map_err(unread)?;
        let older = page.lines.len().saturating_sub(count);
        page.lines.drain(..older);
        let cursor_ns = match bound_ns {
            i64::MAX => page.cursor_ns.max(after_ns),
            bound_ns => bound_ns.max(after_ns),
        };
        Page::of(&page, cursor_ns, page.more || older > 0)
    })
    .await
}

/// The newest lines, at most so many and at most 8 MiB: page before page.
fn newest(sources: &[Source], query: &Query, count: usize) -> io::Result<Vec<Found>> {
    let (mut lines, mut query) = (VecDeque::new(), query.clone());
    let mut bytes = 0;
    while lines.len() < count && bytes < BYTES_MAX {
        let page = latest(sources, &query, count - lines.len())?;
        let Some(first) = page.lines.first() else { break };
        query.until_ns = first.head.at_ns - 1;
        for line in page.lines.into_iter().rev() {
            bytes += line.text.len();
            lines.push_front(line);
        }
        if !page.more {
            break;
        }
    }
    let mut lines = Vec::from(lines);
    keep_bytes(&mut lines);
    Ok(lines)
}

/// Drops the oldest lines until the others are not too long.
fn keep_bytes(lines: &mut Vec<Found>) {
    let mut bytes = 0;
    let fits = |it: &&Found| {
        bytes += it.text.len();
        bytes <= BYTES_MAX
    };
    let kept = lines.iter().rev().take_while(fits).count();
    lines.drain(..lines.len() - kept);
}

/// The lines that contain a text, and all lines of services whose name does.
fn containing(sources: Vec<Source>, text: &str) -> io::Result<Vec<Found>> {
    let (named, others): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|it| it.service.as_str().contains(text));
    // One that is too long to be looked for is in no line.
    let Ok(grep) = Regex::new(&regex::escape(text)) else { return Ok(Vec::new()) };
    let query = Query { grep: Some(grep), ..Query::default() };
    let mut lines = newest(&others, &query, usize::MAX)?;
    if !named.is_empty() {
        lines.extend(newest(&named, &Query::default(), usize::MAX)?);
        lines.sort_by_key(|it| it.head.at_ns);
        keep_bytes(&mut lines);
    }
    Ok(lines)
}

/// Lines as zinit 0.3 shows them.
fn shown(
    office: Arc<Office>,
    find: impl FnOnce(&Office) -> io::Result<Vec<Found>> + Send + 'static,
) -> Pending {
    Box::pin(async move {
        let _turn = office.turn().await;
        let inside = Arc::clone(&office);
        on_disk(move || {
            let lines = find(&inside).map_err(unread)?;
            said(&lines.iter().map(plain).collect::<Vec<_>>())
        })
        .await
    })
}

/// `[+] name: text` from stdout, `[-] name: text` from stderr.
fn plain(it: &Found) -> String {
    let sign = if it.head.stderr { '-' } else { '+' };
    format!("[{sign}] {}: {}", it.service, it.text)
}

/// The files could not be read.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over by value")]
pub(super) fn unread(error: io::Error) -> Refusal {
    Refusal::new(Kind::Storage, format!("cannot read the logs: {error}"))
}

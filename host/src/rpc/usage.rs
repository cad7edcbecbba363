//! `service.stats`: what services use, and what of the CPU since the last time somebody asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::Args;
use super::calls::{on_disk, said};
use super::methods::Pending;
use super::office::Office;
use crate::board::Status;
use crate::clock::instant;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::stats::{Census, Stats, stats};

/// The CPU times that were told last, by service.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<HashMap<ServiceName, Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    pid: i32,
    at: Instant,
    cpu_ms: u64,
    /// What was told then.
    percent: f64,
}

/// What one service uses, as it is answered.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a ServiceName,
    #[serde(flatten)]
    stats: Stats,
    restarts: i64,
}

/// With fewer services than this, their processes are found faster one by one than by a census.
const FEW: usize = 16;

/// `service.stats`. It looks at many files, so it does that on a thread of its own.
pub(super) fn usage(office: Arc<Office>, args: Args) -> Pending {
    Box::pin(async move {
        let Some(name) = args.text_if_any(0) else {
            let all = office.board.all();
            return on_disk(move || said(&of_all(&office, &all))).await;
        };
        let status = office.known(name)?;
        let (known, asked) = (Arc::clone(&office), Arc::clone(&status));
        on_disk(move || match told(&known, &asked, None, true) {
            Some(told) => said(&told),
            None => Err(down(&asked)),
        })
        .await
    })
}

fn of_all<'a>(office: &Office, all: &'a [Arc<Status>]) -> Vec<Told<'a>> {
    let running: Vec<_> = all.iter().filter(|it| it.pid > 0).collect();
    let census = (running.len() > FEW).then(Census::take);
    let tell = |some: &[&'a Arc<Status>]| -> Vec<Told<'a>> {
        some.iter().filter_map(|it| told(office, it, census.as_ref(), false)).collect()
    };
    if running.len() <= FEW {
        return tell(&running);
    }
    // Each is a handful of small files of the kernel's, and one processor reads them one by one.
    let (half, other) = running.split_at(running.len() / 2);
    thread::scope(|it| {
        let other = it.spawn(|| tell(other));
        let mut all = tell(half);
        all.extend(other.join().expect("reading `/proc` does not panic"));
        all
    })
}

fn told<'a>(
    office: &Office,
    status: &'a Status,
    census: Option<&Census>,
    deep: bool,
) -> Option<Told<'a>> {
    let Status { name, pid, .. } = status;
    let leaf = office.board.leaf(name.as_str());
    let mut stats = (*pid > 0).then(|| stats(*pid, leaf.as_deref(), census, deep)).flatten()?;
    stats.own.cpu_usage = office.ledger.percent(name, &stats, instant());
    Some(Told { name, stats, restarts: status.restarts })
}

fn down(status: &Status) -> Refusal {
    let message = format!("`{}` is down, so it uses nothing", status.name);
    Refusal::new(Kind::ServiceDown, message).with("service", status.name.as_str())
}

impl Ledger {
    /// Within so short a time ticks are too coarse; what was told last is told again.
    const AGE_MIN: Duration = Duration::from_millis(200);
    /// A service that nobody has asked about for so long is looked at as if for the first time.
    const AGE_MAX: Duration = Duration::from_secs(600);

    /// The CPU time of a service in percent of the time since it was asked about last; of the time
    /// since it started, if nobody has asked.
    fn percent(&self, name: &ServiceName, stats: &Stats, now: Instant) -> f64 {
        let mut kept = self.0.lock().expect("nothing panics while it holds the samples");
        let last = kept.get(name).copied().filter(|it| it.pid == stats.own.pid);
        let percent = match last.map(|it| (it, now.saturating_duration_since(it.at))) {
            Some((last, age)) if age < Self::AGE_MIN => return last.percent,
            Some((last, age)) if age < Self::AGE_MAX => {
                stats.cpu_ms.saturating_sub(last.cpu_ms) as f64 / (age.as_secs_f64() * 10.0)
            }
            _ => {
                kept.retain(|_, it| now.saturating_duration_since(it.at) < Self::AGE_MAX);
                stats.cpu_ms as f64 / stats.uptime_ms as f64 * 100.0
            }
        };
        let sample = Sample { pid: stats.own.pid, at: now, cpu_ms: stats.cpu_ms, percent };
        kept.insert(name.clone(), sample);
        percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Usage;

    fn used(pid: i32, uptime_ms: i64, cpu_ms: u64) -> Stats {
        let own = Usage { pid, memory_usage: 0, cpu_usage: 0.0 };
        Stats {
            own,
            memory_total: 0,
            pss_total: None,
            threads: 1,
            fds: 0,
            processes: 1,
            uptime_ms,
            children: vec![],
            cpu_ms,
        }
    }

    #[test]
    fn the_first_answer_is_since_the_start_and_the_next_since_the_first() {
        let (ledger, name) = (Ledger::default(), ServiceName::parse("web").unwrap());
        let begin = instant();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(ledger.percent(&name, &used(7, 10_000, 5_000), at(0)), 50.0);
        assert_eq!(ledger.percent(&name, &used(7, 10_100, 5_100), at(100)), 50.0, "too soon");
        assert_eq!(ledger.percent(&name, &used(7, 11_000, 6_500), at(1_000)), 150.0);
        assert_eq!(ledger.percent(&name, &used(7, 12_000, 6_500), at(2_000)), 0.0);
        assert_eq!(ledger.percent(&name, &used(8, 100, 25), at(3_000)), 25.0, "another process");
        assert_eq!(ledger.percent(&name, &used(8, 700_100, 25), at(703_000)) as i64, 0);
    }
}

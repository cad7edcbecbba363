//! What a service uses: a look at `/proc`, on a thread beside this one, since it takes as long as the
//! service has processes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::clock::instant;
use crate::name::ServiceName;
use crate::stats::{Stats, stats};
use crate::view::Usage;

/// Whose processes are looked at.
pub(super) struct Whose {
    pub(super) service: ServiceName,
    pub(super) incarnation: u64,
    pub(super) pid: i32,
    /// Its cgroup, if it has one.
    pub(super) leaf: Option<PathBuf>,
}

/// What was seen last of a service.
pub(super) type Ledger = Arc<Mutex<Option<Sample>>>;

/// The CPU time of all processes of an incarnation, and when that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    incarnation: u64,
    at: Instant,
    cpu_ms: u64,
}

/// What the service uses now; `None` when its main process is gone.
pub(super) async fn look(whose: Whose, ledger: Ledger) -> Option<Usage> {
    let seen = tokio::task::spawn_blocking(move || {
        let stats = stats(whose.pid, whose.leaf.as_deref(), None, true)?;
        let cpu = percent(&ledger, whose.incarnation, &stats, instant());
        Some(Usage { memory: signed(memory(&stats)), cpu, tasks: signed(stats.threads) })
    });
    seen.await.ok().flatten()
}

/// With shared pages divided, if the kernel lets us see that.
fn memory(stats: &Stats) -> u64 {
    stats.pss_total.filter(|it| *it > 0).unwrap_or(stats.memory_total)
}

/// The CPU time since the last look in percent of one CPU; since its start, if this is the first.
fn percent(ledger: &Ledger, incarnation: u64, stats: &Stats, at: Instant) -> i64 {
    let sample = Sample { incarnation, at, cpu_ms: stats.cpu_ms };
    let last = ledger.lock().expect("nothing panics while it holds the sample").replace(sample);
    let (used_ms, passed_ms) = match last.filter(|it| it.incarnation == incarnation) {
        Some(last) => {
            let passed = at.saturating_duration_since(last.at).as_millis();
            (stats.cpu_ms.saturating_sub(last.cpu_ms), u64::try_from(passed).unwrap_or(u64::MAX))
        }
        None => (stats.cpu_ms, stats.uptime_ms.unsigned_abs()),
    };
    signed(used_ms.saturating_mul(100) / passed_ms.max(1))
}

fn signed(it: u64) -> i64 {
    i64::try_from(it).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::Usage as Own;

    fn used(cpu_ms: u64, uptime_ms: i64) -> Stats {
        Stats {
            own: Own { pid: 1, memory_usage: 0, cpu_usage: 0.0 },
            memory_total: 7,
            pss_total: None,
            threads: 1,
            fds: 0,
            processes: 1,
            uptime_ms,
            children: Vec::new(),
            cpu_ms,
        }
    }

    #[test]
    fn cpu_time_counts_since_the_last_look_at_the_same_process() {
        let (ledger, start) = (Ledger::default(), instant());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(percent(&ledger, 1, &used(500, 10_000), start), 5);
        assert_eq!(percent(&ledger, 1, &used(2_500, 11_000), later(1)), 200);
        assert_eq!(percent(&ledger, 1, &used(2_500, 13_000), later(3)), 0);
        assert_eq!(percent(&ledger, 2, &used(100, 1_000), later(4)), 10, "another process");
    }

    #[test]
    fn memory_is_told_with_shared_pages_divided_where_that_is_known() {
        assert_eq!(memory(&used(0, 1)), 7);
        assert_eq!(memory(&Stats { pss_total: Some(3), ..used(0, 1) }), 3);
        assert_eq!(memory(&Stats { pss_total: Some(0), ..used(0, 1) }), 7);
    }
}

//! What others see of a proxy: its configuration, and counts that the relay's thread alone writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::Refusal;

/// A proxy as others see it.
#[derive(Debug)]
pub struct Face {
    /// Its configuration.
    pub proxy: Arc<Proxy>,
    /// Why it does not listen, if it does not.
    pub trouble: Option<Refusal>,
    /// What it has done so far.
    pub counts: Arc<Counts>,
}

/// What a proxy has done, since the server has begun. They outlive a change of its configuration.
#[derive(Debug, Default)]
pub struct Counts {
    /// Clients that were accepted.
    pub total: AtomicU64,
    /// Those that are connected to the service now.
    pub active: AtomicU64,
    /// Those that wait now.
    pub waiting: AtomicU64,
    /// Those that were sent away, for there were too many, or they may not come in.
    pub refused: AtomicU64,
    /// Those that have waited in vain.
    pub timed_out: AtomicU64,
    /// Bytes from clients to the service.
    pub to_backend: AtomicU64,
    /// Bytes from the service to clients.
    pub from_backend: AtomicU64,
    /// How often somebody had to wait for a start.
    pub starts: AtomicU64,
    /// How long the latest ones took, in milliseconds, newest last: from the first client that came to
    /// the moment at which it was passed on.
    pub cold_ms: RwLock<Vec<u64>>,
}

/// All proxies, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faces(Arc<RwLock<BTreeMap<ServiceName, Arc<Face>>>>);

/// Of how many starts it is remembered how long they took.
const COLD_MAX: usize = 64;

impl Counts {
    /// Adds to one of them.
    pub fn add(count: &AtomicU64, much: u64) {
        count.fetch_add(much, Ordering::Relaxed);
    }

    /// Takes from one of them.
    pub fn take(count: &AtomicU64, much: u64) {
        count.fetch_sub(much, Ordering::Relaxed);
    }

    /// Remembers how long a start took.
    pub fn started(&self, took_ms: u64) {
        Self::add(&self.starts, 1);
        let mut all = self.cold_ms.write().expect("nobody panics with it");
        if all.len() == COLD_MAX {
            all.remove(0);
        }
        all.push(took_ms);
    }

    /// How long starts took, in milliseconds: the latest, the median and the longest.
    pub fn cold(&self) -> Option<(u64, u64, u64)> {
        let all = self.cold_ms.read().expect("nobody panics with it").clone();
        let last = *all.last()?;
        let mut sorted = all;
        sorted.sort_unstable();
        Some((last, sorted[sorted.len() / 2], sorted[sorted.len() - 1]))
    }
}

impl Faces {
    /// All of them, sorted by name.
    pub fn all(&self) -> Vec<Arc<Face>> {
        self.0.read().expect("nobody panics with it").values().cloned().collect()
    }

    /// The proxy of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Face>> {
        self.0.read().expect("nobody panics with it").get(name).cloned()
    }

    /// Shows one, in place of an earlier one of its name, whose counts go on; why it does not listen, if
    /// that is so.
    pub fn show(&self, proxy: Arc<Proxy>, trouble: Option<Refusal>) -> Arc<Counts> {
        let mut all = self.0.write().expect("nobody panics with it");
        let counts =
            all.get(&proxy.name).map_or_else(Arc::default, |before| Arc::clone(&before.counts));
        let face = Face { proxy: Arc::clone(&proxy), trouble, counts: Arc::clone(&counts) };
        all.insert(proxy.name.clone(), Arc::new(face));
        counts
    }

    /// Shows it no more.
    pub fn remove(&self, name: &ServiceName) {
        self.0.write().expect("nobody panics with it").remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_told_by_the_latest_the_median_and_the_longest() {
        let counts = Counts::default();
        assert_eq!(counts.cold(), None);
        for took in 0..100 {
            counts.started(took);
        }
        counts.started(7);
        assert_eq!(counts.cold(), Some((7, 68, 99)));
        assert_eq!(counts.starts.load(Ordering::Relaxed), 101);
    }
}

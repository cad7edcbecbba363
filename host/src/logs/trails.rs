//! Where the lines of each service are, and how far they go: what the thread that writes tells those
//! that read. Nobody here waits for a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::name::ServiceName;

/// All services that have a log.
#[derive(Debug)]
pub struct Trails {
    all: Mutex<BTreeMap<ServiceName, Arc<Trail>>>,
    /// The time of the newest line, in nanoseconds since 1970.
    newest: watch::Sender<u64>,
    /// No line of an earlier server is later.
    begun_ns: i64,
}

/// The log of one service.
#[derive(Debug)]
pub struct Trail {
    /// The directory of its files, which may not exist yet.
    pub dir: PathBuf,
    /// No line of it is later, in nanoseconds since 1970.
    pub last_ns: AtomicI64,
    /// Lines up to this time are gone, because their files were too many, in nanoseconds since 1970;
    /// 0 while none are.
    pub gone_ns: AtomicI64,
    /// Lines that were dropped for want of room since the server began.
    pub dropped_lines: AtomicU64,
    /// Their bytes, without newlines.
    pub dropped_bytes: AtomicU64,
}

/// Whose lines are read from where.
#[derive(Clone, Debug)]
pub struct Source {
    /// Whose lines.
    pub service: ServiceName,
    /// What is known of them.
    pub trail: Arc<Trail>,
}

impl Trails {
    /// No services. What is in files already is not later than `begun_ns`, in nanoseconds since 1970.
    pub fn new(begun_ns: i64) -> Arc<Self> {
        let newest = watch::Sender::new(begun_ns.unsigned_abs());
        Arc::new(Self { all: Mutex::default(), newest, begun_ns })
    }

    /// Enters a service, or finds it as it is. With another directory it begins anew.
    pub fn enter(&self, service: &ServiceName, dir: &Path) -> Arc<Trail> {
        let mut all = self.lock();
        match all.get(service) {
            Some(it) if it.dir == dir => Arc::clone(it),
            _ => {
                let trail = Arc::new(Trail::new(dir, self.begun_ns));
                all.insert(service.clone(), Arc::clone(&trail));
                trail
            }
        }
    }

    /// Forgets a service.
    pub fn forget(&self, service: &str) {
        self.lock().remove(service);
    }

    /// The log of a service, if it has one.
    pub fn get(&self, service: &str) -> Option<Arc<Trail>> {
        self.lock().get(service).cloned()
    }

    /// The logs of these services, or of all when none is named; those without one are left out.
    pub fn sources(&self, services: &[ServiceName]) -> Vec<Source> {
        let all = self.lock();
        let source = |(service, trail): (&ServiceName, &Arc<Trail>)| Source {
            service: service.clone(),
            trail: Arc::clone(trail),
        };
        if services.is_empty() {
            return all.iter().map(source).collect();
        }
        services.iter().filter_map(|it| all.get_key_value(it)).map(source).collect()
    }

    /// The time of the newest line of all, in nanoseconds since 1970. Every line up to it is in its
    /// file.
    pub fn newest_ns(&self) -> i64 {
        i64::try_from(*self.newest.borrow()).unwrap_or(i64::MAX)
    }

    /// Something to wait on for the next line.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Tells that all lines up to this time are in their files.
    pub fn publish(&self, newest_ns: i64) {
        self.newest.send_if_modified(|it| std::mem::replace(it, newest_ns.unsigned_abs()) != *it);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Arc<Trail>>> {
        self.all.lock().expect("nothing panics while it holds the trails")
    }
}

impl Trail {
    pub(super) fn new(dir: &Path, last_ns: i64) -> Self {
        Self {
            dir: dir.to_owned(),
            last_ns: AtomicI64::new(last_ns),
            gone_ns: AtomicI64::new(0),
            dropped_lines: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
        }
    }

    /// A line of this time is in its file.
    pub(super) fn wrote(&self, at_ns: i64) {
        self.last_ns.store(at_ns, Ordering::Release);
    }

    /// A file that ended with a line of this time is removed.
    pub(super) fn removed(&self, end_ns: i64) {
        self.gone_ns.fetch_max(end_ns, Ordering::Release);
    }

    /// So many lines of so many bytes were dropped.
    pub(super) fn dropped(&self, lines: u64, bytes: u64) {
        self.dropped_lines.fetch_add(lines, Ordering::Relaxed);
        self.dropped_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether lines later than this may have come.
    pub fn has_after(&self, at_ns: i64) -> bool {
        self.last_ns.load(Ordering::Acquire) > at_ns
    }
}

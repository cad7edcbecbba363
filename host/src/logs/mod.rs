//! What the services write: one thread drains their pipes and writes every line into a file.
//!
//! ```text
//!  keeper ─ pipes ─▶ drain ─ hot, tap      when a pipe is read, and who waits for that
//!                      │
//!                      ├─ intake            what was read and is in no file yet; survives the server
//!                      ├─ format, line, stamp    from bytes to lines with their columns
//!                      ├─ scribe, file, plan     steps that can be done again; files, and when they end
//!                      └─ print, syslog     who else gets the lines
//!  readers ◀─ trails ─┘                    where the files are, and how far they go
//!     └ read, segments                      finding lines in them
//! ```
//!
//! The thread sleeps until a service writes; a busy one is read every few milliseconds. What never
//! happens here: a decision, and waiting for whoever reads the lines. A service that prints nothing
//! costs two descriptors and some 300 bytes. Readers look into the files, on threads of their own.

mod drain;
mod file;
mod format;
mod hot;
mod intake;
pub mod line;
mod plan;
mod print;
pub mod read;
mod scribe;
pub mod segments;
mod service;
pub mod stamp;
mod syslog;
mod tap;
pub mod trails;

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use regex::Regex;

use crate::clock::wall_ns;
use crate::event::Happening;
use crate::machine::complain;
use crate::name::ServiceName;
use crate::probe::Teller;
use crate::spec::{Log, LogMode};
use drain::{BELL, Drain, Order};
use hot::Hot;
use intake::{Intake, Number, Text};
use print::Printer;
use scribe::Scribe;
use tap::Tap;
use trails::{Trail, Trails};

/// The logs of all services. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    /// Where each service has a directory of its own.
    root: PathBuf,
    trails: Arc<Trails>,
    /// The pipes, for a look at how much is in them.
    taps: Mutex<HashMap<ServiceName, Arc<Tap>>>,
    /// `None` while the thread is being ended.
    orders: Option<Sender<Order>>,
    /// Some were given since the bell rang last.
    has_orders: AtomicBool,
    bell: Arc<EventFd>,
}

/// How long a new server waits for what an earlier one has left.
const CLAIM_MAX: Duration = Duration::from_secs(2);

/// Orders are carried out after the next [`Logs::ring`].
impl Logs {
    /// Starts the thread named `logs`. The files are in `root`, of which one server at a time may be the
    /// owner; `teller` is told of ends, of lines that were waited for, and of trouble.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left. That `root` cannot be made or written is none:
    /// then services run without logs.
    pub fn start(root: &Path, teller: Teller) -> io::Result<Self> {
        // What is wrong with it is told when the first line is to be written.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(root);
        let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let bell = Arc::new(bell);
        epoll.add(&*bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let (intake, problem) = Intake::open(&root.join(".intake"));
        if let Some(error) = problem {
            let root = root.display();
            complain(&format!(
                "`{root}/.intake` cannot be used: {error}: should the server be killed, lines that it \
                 has just read are lost"
            ));
        }
        let (mut scribe, held) = Scribe::begin(intake);
        let left = held.into_iter().map(|it| {
            let name = scribe.intake.text(it, Text::Name);
            ((name, usize::from(scribe.intake.get(it, Number::Stderr) == 1)), it)
        });
        let left = left.collect();
        let begun_ns = if scribe.last_ns() > 0 { scribe.last_ns() } else { wall_ns() };
        let trails = Trails::new(begun_ns);
        let (orders, orders_in) = mpsc::channel();
        let drain = Drain {
            epoll,
            bell: Arc::clone(&bell),
            orders: orders_in,
            trails: Arc::clone(&trails),
            teller,
            scribe,
            left,
            services: Vec::new(),
            by_name: HashMap::new(),
            early: HashMap::new(),
            hot: Hot::default(),
            printer: Printer::default(),
            obeying: false,
        };
        thread::Builder::new().name("logs".into()).spawn(move || drain.run())?;
        let (root, taps, orders) = (root.to_owned(), Mutex::default(), Some(orders));
        let has_orders = AtomicBool::new(false);
        Ok(Self(Arc::new(Handle { root, trails, taps, orders, has_orders, bell })))
    }

    /// Where services have the directories of their own.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Where the lines are.
    pub fn trails(&self) -> &Arc<Trails> {
        &self.0.trails
    }

    /// A service is known, or its log is another: from now on its lines go there.
    pub fn set(&self, name: &ServiceName, log: &Arc<Log>) {
        if log.mode == LogMode::None {
            return self.0.trails.forget(name.as_str());
        }
        let trail = self.enter(name, log);
        if self.taps().contains_key(name) {
            self.order(Order::Change { name: name.clone(), log: Arc::clone(log), trail });
        }
    }

    /// Drains these pipes from now on, in place of the service's earlier ones. This process writes to
    /// them.
    ///
    /// # Errors
    /// When they are no pipes.
    pub fn attach(
        &self,
        name: &ServiceName,
        log: &Arc<Log>,
        incarnation: u64,
        pipes: [OwnedFd; 2],
    ) -> io::Result<()> {
        let tap = Arc::new(Tap::new(pipes)?);
        self.taps().insert(name.clone(), Arc::clone(&tap));
        let trail = self.enter(name, log);
        let (name, log) = (name.clone(), Arc::clone(log));
        self.order(Order::Attach { name, log, trail, incarnation, tap });
        Ok(())
    }

    /// All pipes there are at the start have been attached. Returns when everything that earlier
    /// processes have written there is in its file, or when that takes too long.
    pub fn claim(&self) {
        let (done, is_done) = mpsc::channel();
        self.order(Order::Claim { done });
        self.ring();
        // Too late is as good as done: the thread hangs on a disk.
        let _ = is_done.recv_timeout(CLAIM_MAX);
    }

    /// The processes that wrote to these pipes have ended before this server began.
    pub fn end(&self, name: &ServiceName) {
        self.order(Order::Settle { name: name.clone(), what: None });
    }

    /// This process is launched next: what comes now is its. When a line of it matches, `Ready` is told,
    /// once. To be called before each launch, with or without a pattern.
    pub fn launching(&self, name: &ServiceName, incarnation: u64, awaited: Option<Regex>) {
        if awaited.is_some() || self.taps().contains_key(name) {
            self.order(Order::Launching { name: name.clone(), incarnation, awaited });
        }
    }

    /// The processes of a service have ended. Gives `what` back if everything that they wrote is in the
    /// file; else it is told as soon as it is.
    pub fn settle(&self, name: &ServiceName, what: Happening) -> Option<Happening> {
        let settled = self.taps().get(name).is_none_or(|it| it.is_settled());
        if settled {
            return Some(what);
        }
        self.order(Order::Settle { name: name.clone(), what: Some(what) });
        self.ring();
        None
    }

    /// Closes a service's pipes. Its lines are forgotten, unless they were to be kept in files.
    pub fn forget(&self, name: &ServiceName, log: &Log) {
        self.taps().remove(name);
        self.0.trails.forget(name.as_str());
        let own = (log.mode != LogMode::File).then(|| self.own(name));
        self.order(Order::Forget { name: name.clone(), own });
    }

    fn enter(&self, name: &ServiceName, log: &Log) -> Arc<Trail> {
        self.0.trails.enter(name, &plan::dir_of(log, &self.own(name)))
    }

    fn own(&self, name: &ServiceName) -> PathBuf {
        self.0.root.join(name.as_str())
    }

    fn order(&self, order: Order) {
        let orders = self.0.orders.as_ref().expect("the thread ends with the last handle");
        // The thread is gone only when it could not wait any more: then nobody drains.
        let _ = orders.send(order);
        self.0.has_orders.store(true, Ordering::Relaxed);
    }

    /// Has everything done that was ordered. One bell for many orders, each of which would wake the
    /// thread.
    pub fn ring(&self) {
        if self.0.has_orders.swap(false, Ordering::Relaxed) {
            // A full counter rings as well.
            let _ = self.0.bell.write(1);
        }
    }

    fn taps(&self) -> MutexGuard<'_, HashMap<ServiceName, Arc<Tap>>> {
        self.0.taps.lock().expect("nothing panics while it holds the taps")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.orders = None;
        // A full counter rings as well.
        let _ = self.bell.write(1);
    }
}

#[cfg(test)]
mod tests;

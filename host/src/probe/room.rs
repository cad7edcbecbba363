//! The thread `probe`: what it is asked for, and what is under way for each service.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use zinit_keeper::wire::{Exit, Ready};

use super::lane::Lane;
use super::measure::{Ledger, Whose};
use super::notify::Ear;
use super::round::{Means, Round};
use super::{Teller, measure, names, port, ready};
use crate::event::Happening;
use crate::machine::complain;
use crate::name::ServiceName;
use crate::spec::Health;

/// What the thread is asked for.
pub(super) enum Order {
    Check { service: ServiceName, incarnation: u64, health: Arc<Health> },
    Ran { service: ServiceName, exit: Exit },
    Listen { ear: Ear, way: Ready, end: OwnedFd },
    Measure(Whose),
    FreePort { service: ServiceName, port: u16, kill: bool },
    Forget { service: ServiceName },
}

/// Starts the thread.
pub(super) fn start(teller: Teller) -> io::Result<UnboundedSender<Order>> {
    let runtime = runtime()?;
    let (sender, orders) = unbounded_channel();
    thread::Builder::new().name("probe".to_owned()).spawn(move || {
        runtime.block_on(Room::new(teller).obey(orders));
        // A name lookup that still runs must not hold anybody up.
        runtime.shutdown_background();
    })?;
    Ok(sender)
}

/// The threads beside it look up names, which may take as long as it likes; a few are left over for
/// what else may take a moment.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(names::LOOKUPS_MAX + 16)
        .thread_stack_size(512 * 1024)
        .build()
}

/// All that the thread knows.
struct Room {
    means: Arc<Means>,
    watched: HashMap<ServiceName, Watched>,
}

/// What is under way for one service.
#[derive(Default)]
struct Watched {
    round: Option<Task>,
    ear: Option<Task>,
    port: Option<Task>,
    look: Option<Task>,
    /// What its latest process had used when somebody looked last.
    ledger: Ledger,
    lane: Lane,
}

/// A task that ends when nobody needs it any more.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Task {
    fn of(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Ends it, and waits until nothing of it is left.
    async fn end(mut self) {
        self.0.abort();
        // How it ended, nobody needs to know.
        let _ = (&mut self.0).await;
    }
}

impl Room {
    fn new(teller: Teller) -> Self {
        Self { means: Arc::new(Means::new(teller)), watched: HashMap::new() }
    }

    /// The life of the thread: it ends when nobody can order anything any more.
    async fn obey(mut self, mut orders: UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Check { service, incarnation, health } => {
                    self.check(service, incarnation, health);
                }
                Order::Ran { service, exit } => self.ran(&service, exit),
                Order::Listen { ear, way, end } => self.listen(ear, way, end),
                Order::Measure(whose) => self.measure(whose),
                Order::FreePort { service, port, kill } => self.free_port(service, port, kill),
                Order::Forget { service } => self.forget(&service),
            }
        }
    }

    fn check(&mut self, service: ServiceName, incarnation: u64, health: Arc<Health>) {
        let watched = self.watched.entry(service.clone()).or_default();
        let (earlier, lane) = (watched.round.take(), watched.lane.clone());
        let round = Round { service, incarnation, health, lane, means: Arc::clone(&self.means) };
        watched.round = Some(Task::of(async move {
            if let Some(earlier) = earlier {
                earlier.end().await;
            }
            round.run().await;
        }));
    }

    fn ran(&mut self, service: &ServiceName, exit: Exit) {
        let Some(watched) = self.watched.get_mut(service) else { return };
        watched.lane.ended(exit);
        let idle = watched.round.is_none() && watched.ear.is_none() && watched.look.is_none();
        if idle && watched.port.is_none() {
            self.watched.remove(service);
        }
    }

    fn listen(&mut self, ear: Ear, way: Ready, end: OwnedFd) {
        let end = match watch(end) {
            Ok(end) => end,
            Err(error) => {
                let service = &ear.service;
                return complain(&format!("cannot hear whether `{service}` is ready: {error}"));
            }
        };
        let watched = self.watched.entry(ear.service.clone()).or_default();
        watched.ear = match way {
            Ready::Notify => Some(Task::of(ear.listen(end))),
            Ready::Fd(_) => Some(Task::of(async move {
                if ready::line(end).await {
                    ear.tell_ready();
                }
            })),
            Ready::Silent => None,
        };
    }

    fn measure(&mut self, whose: Whose) {
        let means = Arc::clone(&self.means);
        let watched = self.watched.entry(whose.service.clone()).or_default();
        let ledger = Arc::clone(&watched.ledger);
        watched.look = Some(Task::of(async move {
            let (service, incarnation) = (whose.service.clone(), whose.incarnation);
            if let Some(usage) = measure::look(whose, ledger).await {
                means.teller.happened(&service, Happening::Measured { incarnation, usage });
            }
        }));
    }

    fn free_port(&mut self, service: ServiceName, port: u16, kill: bool) {
        let means = Arc::clone(&self.means);
        let watched = self.watched.entry(service.clone()).or_default();
        watched.port = Some(Task::of(async move {
            let seen = if kill { port::free(port).await } else { port::is_free(port).await };
            let failure = seen.err();
            means.teller.happened(&service, Happening::PortFreed { failure });
        }));
    }

    /// What is left of a forgotten service is the lane in which a command still ends.
    fn forget(&mut self, service: &ServiceName) {
        let Some(watched) = self.watched.remove(service) else { return };
        let lane = watched.lane.clone();
        drop(watched);
        if lane.is_busy() {
            self.watched.insert(service.clone(), Watched { lane, ..Watched::default() });
        }
    }
}

/// Has the runtime watch a descriptor, which no longer blocks then. To be called on its thread.
#[expect(unsafe_code, reason = "the safe way to watch a descriptor is deprecated")]
pub(super) fn watch(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(&end, FcntlArg::F_GETFL)?);
    fcntl(&end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: the descriptor is owned, and lives as long as it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?)
}

//! How a running service is: its health checks, what it says of itself, and who is in its way.
//!
//! All of it happens on a thread of its own, named `probe`, which starts when it is first needed:
//! whatever hangs here, hangs nobody else. What never happens here is a decision: when to check, how
//! many failures count and what follows from them is up to the scripts.
//!
//! ```text
//!  round    one round of checks: connections, requests, commands   lane   where commands run
//!  names    from names to addresses                                port   ends who listens on one
//!  notify   `NOTIFY_SOCKET`: datagrams, and how often they count   ready  the ready descriptor
//!  datagram one datagram, its sender and its descriptors           member who belongs to a service
//!  pidfd    processes by their identity
//! ```

mod datagram;
mod lane;
mod member;
mod names;
mod notify;
mod pidfd;
mod port;
mod ready;
mod round;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::EventFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use zinit_keeper::wire::{Exit, Ready};

use crate::event::Happening;
use crate::machine::complain;
use crate::name::ServiceName;
use crate::spec::Health;
use lane::Lane;
pub use member::Membership;
use notify::Ear;
use round::{Means, Round};

/// What the core's thread is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something happened to a service.
    Happened(ServiceName, Happening),
    /// This command line is to be run in the service's slot for checks. Its end, also that it could
    /// not be run, is to be answered by [`Prober::ran`].
    Run {
        /// The service.
        service: ServiceName,
        /// Which process of it is checked.
        incarnation: u64,
        /// The command line, as a `test_cmd` has it.
        line: String,
    },
    /// The time of the command that was asked for is up: it is to be killed. Its end is still to be
    /// answered.
    Kill {
        /// The service.
        service: ServiceName,
    },
}

/// The way to the core's thread: what is told there wakes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Teller {
    news: Sender<News>,
    bell: Arc<EventFd>,
}

/// Finds out how services are. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Prober(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    teller: Teller,
    /// The way to the thread, once there is one.
    orders: Mutex<Option<UnboundedSender<Order>>>,
}

/// What the thread is asked for.
enum Order {
    Check { service: ServiceName, incarnation: u64, health: Arc<Health> },
    Ran { service: ServiceName, exit: Exit },
    Listen { ear: Ear, way: Ready, end: OwnedFd },
    FreePort { service: ServiceName, port: u16 },
    Forget { service: ServiceName },
}

impl Teller {
    /// Tells through `news`, and rings the bell.
    pub fn new(news: Sender<News>, bell: Arc<EventFd>) -> Self {
        Self { news, bell }
    }

    /// Tells something.
    pub fn tell(&self, news: News) {
        // Without a core there is nobody to be told; a full counter rings as well.
        if self.news.send(news).is_ok() {
            let _ = self.bell.write(1);
        }
    }

    pub(crate) fn happened(&self, service: &ServiceName, what: Happening) {
        self.tell(News::Happened(service.clone(), what));
    }
}

impl Prober {
    /// Tells there what it finds. Nothing runs before it is asked for something.
    pub fn new(teller: Teller) -> Self {
        Self(Arc::new(Handle { teller, orders: Mutex::default() }))
    }

    /// Does one round of checks of this process and tells `Checked`, within the time that `health`
    /// gives it. A round of the service that still runs is given up first, and tells nothing.
    pub fn check(&self, service: &ServiceName, incarnation: u64, health: Arc<Health>) {
        let order = Order::Check { service: service.clone(), incarnation, health };
        if let Err(error) = self.order(order) {
            let failure = Some(format!("it cannot be checked: {error}"));
            self.0.teller.happened(service, Happening::Checked { incarnation, failure });
        }
    }

    /// Hears that the command which was asked for by [`News::Run`] has ended.
    pub fn ran(&self, service: &ServiceName, exit: &Exit) {
        self.order_if_running(Order::Ran { service: service.clone(), exit: exit.clone() });
    }

    /// Listens where this process says that it is ready: at its notify socket (which has
    /// `SO_PASSCRED` set, and `SO_PASSPIDFD` where the kernel has it) or at its ready pipe. Tells
    /// `Ready`, once, and of a socket also `Said` and `Pinged`. An end of the service to which it
    /// has listened so far is closed.
    pub fn listen(
        &self,
        service: &ServiceName,
        incarnation: u64,
        way: Ready,
        end: OwnedFd,
        members: Membership,
    ) {
        let ear = Ear::new(service.clone(), incarnation, members, self.0.teller.clone());
        if let Err(error) = self.order(Order::Listen { ear, way, end }) {
            complain(&format!("cannot hear whether `{service}` is ready: {error}"));
        }
    }

    /// Ends whoever listens on this TCP port, but not their clients: SIGTERM, and two seconds later
    /// SIGKILL. Tells `PortFreed`.
    pub fn free_port(&self, service: &ServiceName, port: u16) {
        if let Err(error) = self.order(Order::FreePort { service: service.clone(), port }) {
            let failure = Some(format!("cannot see who listens on port {port}: {error}"));
            self.0.teller.happened(service, Happening::PortFreed { failure });
        }
    }

    /// Gives up whatever is under way for this service, and closes the end to which it listens.
    pub fn forget(&self, service: &ServiceName) {
        self.order_if_running(Order::Forget { service: service.clone() });
    }

    /// Has the thread do something, which is started if there is none.
    fn order(&self, order: Order) -> io::Result<()> {
        let mut orders = self.0.orders.lock().expect("nothing panics while it holds the sender");
        let sender = match &*orders {
            Some(sender) => sender,
            None => orders.insert(start(self.0.teller.clone())?),
        };
        sender.send(order).map_err(|_| io::Error::other("its thread has panicked"))
    }

    fn order_if_running(&self, order: Order) {
        let orders = self.0.orders.lock().expect("nothing panics while it holds the sender");
        if let Some(sender) = &*orders {
            // A thread that has panicked has nothing to forget.
            let _ = sender.send(order);
        }
    }
}

/// Starts the thread.
fn start(teller: Teller) -> io::Result<UnboundedSender<Order>> {
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
                Order::FreePort { service, port } => self.free_port(service, port),
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
        if watched.round.is_none() && watched.ear.is_none() && watched.port.is_none() {
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

    fn free_port(&mut self, service: ServiceName, port: u16) {
        let means = Arc::clone(&self.means);
        let watched = self.watched.entry(service.clone()).or_default();
        watched.port = Some(Task::of(async move {
            let failure = port::free(port).await.err();
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
fn watch(end: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = OFlag::from_bits_retain(fcntl(&end, FcntlArg::F_GETFL)?);
    fcntl(&end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    // SAFETY: the descriptor is owned, and lives as long as it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?)
}

//! How a running service is: its health checks, what it says of itself, and who is in its way.
//!
//! All of it happens on a thread of its own, named `probe`, which starts when it is first needed:
//! whatever hangs here, hangs nobody else. What never happens here is a decision: when to check, how
//! many failures count and what follows from them is up to the scripts.
//!
//! ```text
//!  room     the thread, and what is under way for each service
//!  round    one round of checks: connections, requests, commands   lane   where commands run
//!  names    from names to addresses                                port   ends who listens on one
//!  notify   `NOTIFY_SOCKET`: datagrams, and how often they count   ready  the ready descriptor
//!  datagram one datagram, its sender and its descriptors           member who belongs to a service
//!  pidfd    processes by their identity                            measure what a service uses
//! ```

mod datagram;
mod lane;
mod measure;
mod member;
mod names;
mod notify;
mod pidfd;
mod port;
mod ready;
mod room;
mod round;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use nix::sys::eventfd::EventFd;
use tokio::sync::mpsc::UnboundedSender;
use zinit_keeper::wire::{Exit, Ready};

use crate::event::Happening;
use crate::machine::complain;
use crate::name::ServiceName;
use crate::relay::Said;
use crate::spec::Health;
use crate::state::Service;
use measure::Whose;
pub use member::Membership;
use notify::Ear;
use room::Order;

/// What the core's thread is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something happened to a service.
    Happened(ServiceName, Happening),
    /// Something about a service that changes nothing for it, but that somebody should read.
    Noted {
        /// The service.
        service: ServiceName,
        /// What, as half a sentence.
        why: String,
    },
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
    /// What the relay of proxied clients has to say.
    Relay(Said),
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

    /// Looks at what the processes of a service use and tells `Measured`, unless its main process is
    /// gone.
    pub fn measure(&self, service: &Service, leaf: Option<PathBuf>) {
        let Some(process) = service.standing.process else { return };
        let whose = Whose {
            service: service.name.clone(),
            incarnation: service.standing.incarnation,
            pid: process.pid,
            leaf,
        };
        if let Err(error) = self.order(Order::Measure(whose)) {
            complain(&format!("cannot see what `{}` uses: {error}", service.name));
        }
    }

    /// Sees who listens on this TCP port and tells `PortFreed`. With `kill` it ends them first, but
    /// not their clients: SIGTERM, and two seconds later SIGKILL.
    pub fn free_port(&self, service: &ServiceName, port: u16, kill: bool) {
        let order = Order::FreePort { service: service.clone(), port, kill };
        if let Err(error) = self.order(order) {
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
            None => orders.insert(room::start(self.0.teller.clone())?),
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

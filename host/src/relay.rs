//! Proxies: clients that connect while a service is down wait, in order, until it is up, and then
//! everything is passed on, in both directions, byte by byte.
//!
//! All of it happens on a thread of its own, named `relay`, which starts when there is a proxy. It decides
//! nothing: when somebody waits it says so, and it opens the way when it is told that the service is up.
//!
//! ```text
//!  listen   opens sockets, says who is in the way        peer     who may come in
//!  room     the thread: events, orders, timers           slots    things and the keys of their events
//!  proxy    one proxy: its sockets and its clients       timers   what is to be looked at when
//!  queue    clients that wait, and how they go on        backend  connections to services, names
//!  service  the gate, idleness, and the last answers     preface  what a service is told of a client
//!  traffic  clients that are passed on                   pair     one of them and its connection
//!  handover from one server to the next                  face     what others see of all this
//! ```
//!
//! What holds:
//!
//! - A client that waits is in the keeper's hands too, and nothing of what it says is read before the keeper has
//!   let go of it: should this process be killed, the next one finds it as it came.
//! - Clients of a proxy are passed on in the order in which they came.
//! - Nobody is passed on while the last word about a service is not [`Way::Open`], or after it was said
//!   that it is idle.
//! - When nobody connects and nobody says anything, nothing runs.

mod backend;
mod face;
mod handover;
pub mod listen;
mod pair;
mod peer;
mod preface;
mod proxy;
mod pump;
mod queue;
mod room;
mod service;
mod slots;
#[cfg(test)]
mod tests;
mod timers;
mod traffic;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use nix::sys::eventfd::EventFd;

use crate::machine::complain;
use crate::name::ServiceName;
use crate::probe::Teller;
use crate::proxy::Proxy;
use listen::{Files, Opened};
use peer::Users;
use room::{Order, Stand};

pub use face::{Face, Faces};

/// Whether clients of a service may be passed on to it. Each is a later word than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Counts the words; what the relay says about this one names it.
    pub turn: u64,
    /// What it is.
    pub way: Way,
}

/// How the way to a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is up: whoever waits is passed on.
    Open,
    /// It is not, or not for long: whoever comes waits. [`Said::Drained`] is to be told as soon as no client
    /// that was passed on has said something since the service has: each has an answer, or is gone.
    Shut,
    /// It has failed and is not tried again: whoever waits is sent away, and whoever comes knocks.
    Failed,
}

/// What the relay tells the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Somebody waits for this service, and the way is not open. Told when the first one comes, and
    /// again after each [`Gate`] that leaves somebody waiting.
    Knocked {
        /// The service.
        service: ServiceName,
    },
    /// Nothing has happened for as long as the proxies' `idle_timeout` says, which counts from the last
    /// byte, the last end of a connection, or the opening of the way. From now on nobody is passed on
    /// until the next [`Gate`].
    Idle {
        /// The service.
        service: ServiceName,
        /// The word that opened the way.
        turn: u64,
        /// How many connections there are, all silent.
        connections: u64,
        /// For how long nothing has happened, in milliseconds.
        quiet_ms: u64,
    },
    /// Nobody has to be waited for any more before the service is stopped.
    Drained {
        /// The service.
        service: ServiceName,
        /// The word that shut the way.
        turn: u64,
    },
    /// The keeper is to hold these for the next brain.
    Hold {
        /// Under this key.
        key: String,
        /// With this note.
        note: String,
        /// What is to be held.
        fds: Held,
    },
    /// What the keeper holds under this key is to be closed.
    Drop {
        /// The key.
        key: String,
    },
    /// It is to be tried again to listen for this proxy.
    Retry {
        /// The proxy.
        proxy: ServiceName,
    },
    /// Something that somebody should read, as half a sentence about a proxy.
    Noted {
        /// The proxy.
        proxy: ServiceName,
        /// What.
        why: String,
    },
}

/// Descriptors on their way to the keeper.
#[derive(Clone, Debug)]
pub struct Held(pub Arc<Vec<OwnedFd>>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Held {}

/// Passes clients on. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    teller: Teller,
    faces: Faces,
    /// The files of the sockets that it listens at.
    files: Mutex<HashMap<ServiceName, Files>>,
    line: Mutex<Line>,
}

/// The way to the thread.
#[derive(Debug)]
enum Line {
    /// There is none yet, as there is no proxy. It will hear this first.
    Quiet(Vec<Order>),
    Open {
        orders: Arc<Sender<Order>>,
        bell: Arc<EventFd>,
        thread: JoinHandle<()>,
    },
    Closed,
}

impl Relay {
    /// Tells there what it has to say, and shows proxies in `faces`. Nothing runs before there is one, or
    /// somebody who has come to one.
    pub fn new(teller: Teller, faces: Faces) -> Self {
        let line = Mutex::new(Line::Quiet(Vec::new()));
        Self(Arc::new(Handle { teller, faces, files: Mutex::default(), line }))
    }

    /// What others see of the proxies.
    pub fn faces(&self) -> &Faces {
        &self.0.faces
    }

    /// Takes clients of a proxy at these sockets, in place of those that it had so far; the files of sockets
    /// that are no longer wanted are removed before this returns. Shows why it does not listen, if that is
    /// so: [`Said::Retry`] comes after a second, and with each time later, but at least every minute.
    pub fn stand(&self, proxy: Arc<Proxy>, opened: Opened) {
        let now = Files::of(&opened.addresses);
        let before = self.files().remove(&proxy.name).unwrap_or_default();
        before.remove_but(&now);
        self.files().insert(proxy.name.clone(), now);
        let Opened { sockets, trouble, again: fails, .. } = opened;
        let counts = self.0.faces.show(Arc::clone(&proxy), trouble);
        let users = Users::known(&proxy.xinit.users);
        self.begin();
        self.order(Order::Stand(Stand { proxy, sockets, users, counts, fails }));
    }

    /// Lets a proxy go: its sockets are closed, their files are removed before this returns, and whoever
    /// waits is sent away. Those who are connected go on.
    pub fn withdraw(&self, proxy: &ServiceName) {
        if let Some(files) = self.files().remove(proxy) {
            files.remove_but(&Files::default());
        }
        self.0.faces.remove(proxy);
        self.order(Order::Withdraw(proxy.clone()));
    }

    /// Hears how the way to a service is.
    pub fn gate(&self, service: &ServiceName, gate: Gate) {
        self.order(Order::Gate(service.clone(), gate));
    }

    /// Takes a client that has waited in an earlier server; the keeper holds it.
    pub fn inherit_waiting(&self, proxy: &ServiceName, serial: u64, client: OwnedFd) {
        self.begin();
        self.order(Order::Waiting { proxy: proxy.clone(), serial, client });
    }

    /// Takes a client that was connected in an earlier server, with its connection to the service; the
    /// keeper holds both.
    pub fn inherit_pair(
        &self,
        proxy: &ServiceName,
        serial: u64,
        client: OwnedFd,
        backend: OwnedFd,
    ) {
        self.begin();
        self.order(Order::Pair { proxy: proxy.clone(), serial, sockets: [client, backend] });
    }

    /// Hears that the keeper has been told to close what it holds under this key.
    pub fn released(&self, key: &str) {
        self.order(Order::Released(key.to_owned()));
    }

    /// Ends the thread for the next server. What is returned is what the keeper is to hold for it: clients
    /// that wait, and connections that are silent. All others are closed.
    pub fn retire(&self) -> Vec<Said> {
        let line = std::mem::replace(&mut *self.line(), Line::Closed);
        let Line::Open { orders, bell, thread } = line else { return Vec::new() };
        let (done, left) = mpsc::channel();
        // A thread that has panicked has nothing left.
        let _ = orders.send(Order::Retire(done));
        let _ = bell.write(1);
        let left = left.recv().unwrap_or_default();
        let _ = thread.join();
        left
    }

    /// Starts the thread, if there is none.
    fn begin(&self) {
        let mut line = self.line();
        let Line::Quiet(early) = &mut *line else { return };
        match room::start(self.0.teller.clone()) {
            Ok((orders, bell, thread)) => {
                for order in early.drain(..) {
                    // A thread that has just begun listens.
                    let _ = orders.send(order);
                }
                *line = Line::Open { orders, bell, thread };
            }
            Err(error) => complain(&format!("clients cannot be passed on: {error}")),
        }
    }

    fn order(&self, order: Order) {
        match &mut *self.line() {
            Line::Quiet(early) => keep(early, order),
            Line::Open { orders, bell, .. } if orders.send(order).is_ok() => drop(bell.write(1)),
            line @ Line::Open { .. } => {
                *line = Line::Closed;
                complain(
                    "clients are not passed on any more: the thread `relay` has ended, which is a \
                     fault of the server (`zinit server renew` has another one take over)",
                );
            }
            Line::Closed => {} // It has retired, or that was told.
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line.lock().expect("nothing panics while it holds the line")
    }

    fn files(&self) -> MutexGuard<'_, HashMap<ServiceName, Files>> {
        self.0.files.lock().expect("nothing panics while it holds the files")
    }
}

/// Keeps an order for a thread that could not be started. Before there is a proxy, nothing is to be known of
/// services.
fn keep(early: &mut Vec<Order>, order: Order) {
    if let Order::Gate(name, _) = &order {
        early.retain(|it| !matches!(it, Order::Gate(of, _) if of == name));
    }
    if matches!(order, Order::Stand(_) | Order::Waiting { .. } | Order::Pair { .. })
        || !early.is_empty()
    {
        early.push(order);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let line = std::mem::replace(
            self.line.get_mut().expect("nothing panics while it holds the line"),
            Line::Closed,
        );
        if let Line::Open { orders, bell, .. } = line {
            drop(orders);
            let _ = bell.write(1);
        }
    }
}

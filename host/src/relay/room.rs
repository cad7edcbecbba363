//! The thread `relay`: what it is told, what it knows, and its loop.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::ClockId;

use super::backend::Names;
use super::face::Counts;
use super::handover::Arriving;
use super::pair::{Pair, Side};
use super::peer::Users;
use super::proxy::{Listener, Proxied};
use super::pump::Scratch;
use super::queue::Waiting;
use super::service::{Drain, Service};
use super::slots::{BELL, Key, Part, Slots};
use super::timers::{Due, Timers};
use super::traffic::Returning;
use super::{Gate, Said};
use crate::clock::milliseconds;
use crate::name::ServiceName;
use crate::probe::{News, Teller};
use crate::proxy::Proxy;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    Stand(Stand),
    Withdraw(ServiceName),
    Gate(ServiceName, Gate),
    Waiting {
        proxy: ServiceName,
        serial: u64,
        client: OwnedFd,
    },
    Pair {
        proxy: ServiceName,
        serial: u64,
        sockets: [OwnedFd; 2],
    },
    Released(String),
    /// What a name means.
    Found(String, Result<Vec<IpAddr>, String>),
    Retire(Sender<Vec<Said>>),
}

/// A proxy, and where it listens.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) proxy: Arc<Proxy>,
    pub(super) sockets: Arc<Vec<OwnedFd>>,
    pub(super) users: Users,
    pub(super) counts: Arc<Counts>,
    /// It does not listen, and is to be tried again.
    pub(super) fails: bool,
}

/// How many events are taken at a time.
const EVENTS: usize = 256;

/// How many serials a server may use up in each millisecond of its life before it could meet those of the
/// next one.
const SERIALS_PER_MS: u64 = 1 << 20;

/// All that the thread knows.
pub(super) struct Room {
    pub(super) epoll: Epoll,
    bell: Arc<EventFd>,
    orders: Receiver<Order>,
    teller: Teller,
    /// The time, as it was when the latest events came.
    pub(super) now: i64,
    pub(super) timers: Timers,
    pub(super) names: Names,
    pub(super) scratch: Scratch,
    pub(super) services: Slots<Service>,
    pub(super) services_by_name: HashMap<ServiceName, Key>,
    pub(super) proxies: Slots<Proxied>,
    pub(super) proxies_by_name: HashMap<ServiceName, Key>,
    pub(super) listeners: Slots<Listener>,
    pub(super) guests: Slots<Guest>,
    /// Clients that are in the keeper's hands, by serial.
    pub(super) held: HashMap<u64, Key>,
    /// Clients of an earlier server that cannot go on yet.
    pub(super) arriving: Vec<Arriving>,
    /// Connections that have used up their turn and have more to do.
    pub(super) more: Vec<Key>,
    /// Clients that were reset just now.
    pub(super) returning: Vec<Returning>,
    pub(super) drains: Vec<Drain>,
    /// Whatever had come when it was looked last has been seen.
    pub(super) has_seen_all: bool,
    /// It is looked from time to time who still waits for a first answer.
    pub(super) minds_askers: bool,
    pub(super) next_serial: u64,
}

/// A client of a proxy.
pub(super) struct Guest {
    pub(super) proxy: Key,
    pub(super) ticket: Ticket,
    pub(super) stage: Stage,
}

/// What stays with a client, whether it waits or is passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// Clients that have come earlier have smaller ones.
    pub(super) serial: u64,
    /// For how long it may still wait, all in all.
    pub(super) patience_ms: i64,
    /// How often a service has ended before it has said anything to it.
    pub(super) returns: u8,
    /// The word about the service under which it was reset last.
    pub(super) reset_in: u64,
}

/// How far a client has come.
pub(super) enum Stage {
    Waiting(Box<Waiting>),
    Joined(Box<Joined>),
}

/// A client that is connected to its service.
pub(super) struct Joined {
    pub(super) pair: Pair,
    /// The word about the service under which it was passed on.
    pub(super) turn: u64,
    pub(super) asks: bool,
    /// Since when it waits for its first answer, unless what it says was taken from it for that.
    pub(super) unanswered_since: Option<i64>,
    /// It is in the list of those who have more to do.
    pub(super) has_more: bool,
}

/// The ways to the thread.
pub(super) type Begun = (Arc<Sender<Order>>, Arc<EventFd>, JoinHandle<()>);

/// Starts the thread.
///
/// # Errors
/// When the process has no descriptor or thread left.
pub(super) fn start(teller: Teller) -> io::Result<Begun> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let bell = Arc::new(bell);
    epoll.add(&*bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
    let scratch = Scratch::new()?;
    let (sender, orders) = mpsc::channel();
    let sender = Arc::new(sender);
    let names = Names::new(Arc::downgrade(&sender), Arc::clone(&bell));
    let own_bell = Arc::clone(&bell);
    // Not all of it can move to another thread, so it is made there.
    let run = move || Room::new(epoll, own_bell, orders, teller, names, scratch).run();
    let thread = thread::Builder::new().name("relay".to_owned()).spawn(run)?;
    Ok((sender, bell, thread))
}

fn now_ms() -> i64 {
    milliseconds(ClockId::CLOCK_MONOTONIC)
}

impl Room {
    fn new(
        epoll: Epoll,
        bell: Arc<EventFd>,
        orders: Receiver<Order>,
        teller: Teller,
        names: Names,
        scratch: Scratch,
    ) -> Self {
        let now = now_ms();
        Self {
            epoll,
            bell,
            orders,
            teller,
            now,
            timers: Timers::default(),
            names,
            scratch,
            services: Slots::default(),
            services_by_name: HashMap::new(),
            proxies: Slots::default(),
            proxies_by_name: HashMap::new(),
            listeners: Slots::default(),
            guests: Slots::default(),
            held: HashMap::new(),
            arriving: Vec::new(),
            more: Vec::new(),
            returning: Vec::new(),
            drains: Vec::new(),
            has_seen_all: true,
            minds_askers: false,
            next_serial: u64::try_from(now).unwrap_or(0) * SERIALS_PER_MS,
        }
    }

    /// Goes on until nobody can give orders any more, or it retires.
    fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let timeout = self.timeout();
            self.drains.iter_mut().for_each(|it| it.looks += 1);
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => return,
            };
            self.now = now_ms();
            // Whoever connects after a word was given is treated as it says.
            if events[..count].iter().any(|it| it.data() == BELL) && !self.take_orders() {
                return;
            }
            for event in events[..count].iter().filter(|it| it.data() != BELL) {
                self.heed(event.data(), event.events());
            }
            self.go_on();
            self.has_seen_all = count < EVENTS;
            self.settle_drains();
            self.look_at_timers();
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.more.is_empty() || self.drains.iter().any(Drain::is_new) {
            return EpollTimeout::ZERO;
        }
        let wait = self.timers.wait_ms(self.now);
        wait.map_or(EpollTimeout::NONE, |it| u16::try_from(it).unwrap_or(u16::MAX).into())
    }

    fn heed(&mut self, token: u64, events: EpollFlags) {
        match Key::of(token) {
            (key, Part::Listener) => self.accept(key),
            (key, part) => match self.guests.get(key).map(|it| &it.stage) {
                None => {} // It is gone by now.
                Some(Stage::Joined(_)) if part == Part::Client => {
                    self.turn(key, Side::Client, events);
                }
                Some(Stage::Joined(_)) => self.turn(key, Side::Backend, events),
                Some(Stage::Waiting(_)) if part == Part::Client => self.look_after(key, events),
                Some(Stage::Waiting(_)) => self.dialed(key),
            },
        }
    }

    /// Those who have used up their turn get another one, as everybody else has had theirs.
    fn go_on(&mut self) {
        for key in std::mem::take(&mut self.more) {
            if let Some(Stage::Joined(it)) = self.guests.get_mut(key).map(|it| &mut it.stage) {
                it.has_more = false;
            }
            self.turn(key, Side::Client, EpollFlags::empty());
        }
    }

    fn look_at_timers(&mut self) {
        while let Some((at, due)) = self.timers.due(self.now) {
            match due {
                Due::Client(key) => self.expire(key),
                Due::Backend(key) => self.admit(key),
                Due::Accept(key) => self.accept_again(key),
                Due::Listen(key) => self.listen_again(key),
                Due::Idle(key) => self.look_at_idle(key, at),
                Due::Askers => self.mind_askers(),
                Due::Return => self.take_back(None),
            }
        }
    }

    /// False when there will never be another one.
    fn take_orders(&mut self) -> bool {
        // The bell rings again for whoever comes after this.
        let _ = self.bell.read();
        loop {
            match self.orders.try_recv() {
                Ok(Order::Retire(done)) => {
                    // Who has asked for it may be gone.
                    let _ = done.send(self.left());
                    return false;
                }
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stand(stand) => self.stand(stand),
            Order::Withdraw(name) => self.withdraw(&name),
            Order::Gate(name, gate) => self.gate(name, gate),
            Order::Waiting { proxy, serial, client } => {
                self.arrive(Arriving::Waiting { proxy, serial, client });
            }
            Order::Pair { proxy, serial, sockets } => self.receive_pair(proxy, serial, sockets),
            Order::Released(key) => self.released(&key),
            Order::Found(name, found) => self.found(name, found),
            Order::Retire(_) => {} // It was the last one.
        }
    }

    pub(super) fn say(&self, said: Said) {
        self.teller.tell(News::Relay(said));
    }

    pub(super) fn note(&self, proxy: Key, why: String) {
        if let Some(it) = self.proxies.get(proxy) {
            self.say(Said::Noted { proxy: it.config.name.clone(), why });
        }
    }

    /// For one who comes new.
    pub(super) fn next_ticket(&mut self, proxy: Key) -> Ticket {
        self.next_serial += 1;
        self.ticket(proxy, self.next_serial)
    }

    /// For one who has come as this one.
    pub(super) fn ticket(&mut self, proxy: Key, serial: u64) -> Ticket {
        self.next_serial = self.next_serial.max(serial);
        let patience_ms = self.proxies.get(proxy).map(|it| it.config.xinit.connect_timeout_ms);
        Ticket { serial, patience_ms: patience_ms.unwrap_or_default(), returns: 0, reset_in: 0 }
    }
}

/// Clients by serial.
pub(super) type BySerial = BTreeMap<u64, Key>;

/// Something that is told once, and again when it goes on for a minute.
#[derive(Debug, Default)]
pub(super) struct Episode(Option<i64>);

impl Episode {
    const AGAIN_MS: i64 = 60_000;

    /// Whether it is to be told now.
    pub(super) fn tell(&mut self, now: i64) -> bool {
        let is_new = self.0.is_none_or(|it| now - it >= Self::AGAIN_MS);
        if is_new {
            self.0 = Some(now);
        }
        is_new
    }

    pub(super) fn over(&mut self) {
        self.0 = None;
    }
}

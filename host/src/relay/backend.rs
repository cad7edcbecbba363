//! Where the service itself listens, and connections to it. Names are looked up on threads of their own,
//! one name at a time on each, and never here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::sockopt::{SocketError, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, getsockopt, setsockopt,
    socket,
};

use super::room::{Order, Room};
use super::slots::Key;
use crate::address::Address;
use crate::native::net::plainly;

/// For how long it is known what a name means, and that it means nothing.
const KNOWN_MS: i64 = 30_000;
const UNKNOWN_MS: i64 = 1_000;

/// Where a service listens.
#[derive(Debug)]
pub(super) enum Backend {
    /// It gets the listening sockets themselves.
    None,
    Unix(UnixAddr),
    Ip(Vec<SocketAddr>),
    Name(String, u16),
}

/// What came of an attempt to connect.
#[derive(Debug)]
pub(super) enum Dialed {
    Connected(OwnedFd),
    /// It takes a while: the socket is writable when it is decided.
    UnderWay(Dial),
    /// The service listens, but takes nobody at the moment.
    Busy,
    /// It cannot be reached; why, as half a sentence, unless there is simply nobody.
    Failed(Option<String>),
    /// The name is being looked up.
    Unknown,
}

/// A connection that is under way.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) socket: OwnedFd,
    /// What is tried when this fails.
    rest: Vec<SocketAddr>,
}

impl Backend {
    pub(super) fn of(address: Option<&Address>) -> Self {
        match address {
            None => Self::None,
            Some(Address::Unix(path)) => unix(path),
            Some(Address::Tcp { host, port }) => tcp(host, *port),
        }
    }
}

fn unix(path: &Path) -> Backend {
    UnixAddr::new(path).map_or(Backend::None, Backend::Unix)
}

fn tcp(host: &str, port: u16) -> Backend {
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    match host.parse::<IpAddr>() {
        Ok(ip) => Backend::Ip(vec![at(ip)]),
        Err(_) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            Backend::Ip(vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())])
        }
        Err(_) => Backend::Name(host.to_owned(), port),
    }
}

/// Connects to a service, without waiting.
pub(super) fn dial(backend: &Backend, names: &mut Names, now: i64) -> Dialed {
    match backend {
        Backend::None => Dialed::Failed(Some("it has no `backend`".to_owned())),
        Backend::Unix(path) => dial_unix(path),
        Backend::Ip(all) => dial_any(all),
        Backend::Name(host, port) => match names.find(host, now) {
            None => Dialed::Unknown,
            Some(Err(why)) => Dialed::Failed(Some(why.clone())),
            Some(Ok(ips)) => {
                let all: Vec<_> = ips.iter().map(|it| SocketAddr::new(*it, *port)).collect();
                dial_any(&all)
            }
        },
    }
}

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

fn dial_unix(path: &UnixAddr) -> Dialed {
    let connected = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)
        .and_then(|it| connect(it.as_raw_fd(), path).map(|()| it));
    match connected {
        Ok(socket) => Dialed::Connected(socket),
        Err(Errno::EAGAIN) => Dialed::Busy,
        Err(errno) => failed(errno),
    }
}

/// Tries them in turn.
fn dial_any(all: &[SocketAddr]) -> Dialed {
    let mut last = failed(Errno::ECONNREFUSED);
    for (index, at) in all.iter().enumerate() {
        match dial_ip(*at) {
            Ok((socket, true)) => return Dialed::Connected(socket),
            Ok((socket, false)) => {
                return Dialed::UnderWay(Dial { socket, rest: all[index + 1..].to_vec() });
            }
            Err(errno) => last = failed(errno),
        }
    }
    last
}

/// The socket, and whether it is connected already, as it is at once on this machine.
fn dial_ip(at: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, FLAGS, None)?;
    setsockopt(&socket, TcpNoDelay, &true)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(at)) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::EINPROGRESS | Errno::EINTR) => {
            let is_connected = is_connected(&socket)?;
            Ok((socket, is_connected))
        }
        Err(errno) => Err(errno),
    }
}

/// Whether it is decided, and well.
fn is_connected(socket: &OwnedFd) -> Result<bool, Errno> {
    let mut look = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut look, PollTimeout::ZERO)? == 0 {
        return Ok(false);
    }
    let trouble = PollFlags::POLLERR | PollFlags::POLLHUP;
    if look[0].revents().is_some_and(|it| it.intersects(trouble)) {
        // One that was reset right after it was accepted has an error too, and was connected.
        let error = getsockopt(socket, SocketError).map_or(Errno::EIO, Errno::from_raw);
        return if error == Errno::UnknownErrno { Ok(true) } else { Err(error) };
    }
    Ok(true)
}

impl Dial {
    /// Sees what has come of it.
    pub(super) fn outcome(self) -> Dialed {
        match is_connected(&self.socket) {
            Ok(true) => Dialed::Connected(self.socket),
            Ok(false) => Dialed::UnderWay(self),
            Err(errno) if self.rest.is_empty() => failed(errno),
            Err(_) => dial_any(&self.rest),
        }
    }
}

fn failed(errno: Errno) -> Dialed {
    let is_absent = matches!(errno, Errno::ECONNREFUSED | Errno::ENOENT);
    Dialed::Failed((!is_absent).then(|| errno.desc().to_lowercase()))
}

/// What names mean.
#[derive(Debug)]
pub(super) struct Names {
    known: HashMap<String, Name>,
    orders: Weak<Sender<Order>>,
    bell: Arc<EventFd>,
}

#[derive(Debug)]
enum Name {
    UnderWay,
    Known { found: Found, at: i64 },
}

/// What was found, or why nothing was, as half a sentence.
type Found = Result<Vec<IpAddr>, String>;

impl Names {
    /// What is found is told as an order.
    pub(super) fn new(orders: Weak<Sender<Order>>, bell: Arc<EventFd>) -> Self {
        Self { known: HashMap::new(), orders, bell }
    }

    /// What is known of a name; if nothing is, it is looked up.
    fn find(&mut self, host: &str, now: i64) -> Option<&Found> {
        let is_old = match self.known.get(host) {
            None => true,
            Some(Name::UnderWay) => return None,
            Some(Name::Known { found: Ok(_), at }) => now - at > KNOWN_MS,
            Some(Name::Known { found: Err(_), at }) => now - at > UNKNOWN_MS,
        };
        if is_old {
            self.look_up(host, now);
        }
        match self.known.get(host) {
            Some(Name::Known { found, .. }) => Some(found),
            _ => None,
        }
    }

    fn learn(&mut self, host: String, found: Found, now: i64) {
        self.known.insert(host, Name::Known { found, at: now });
    }

    fn look_up(&mut self, host: &str, now: i64) {
        let (orders, bell) = (self.orders.clone(), Arc::clone(&self.bell));
        let name = host.to_owned();
        let ask = move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            let found = found.map(|all| all.map(|it| it.ip()).collect());
            let found = found.map_err(|it| format!("cannot look up `{name}`: {}", plainly(&it)));
            // Nobody wants to know it any more when the relay is gone.
            if let Some(orders) = orders.upgrade() {
                let _ = orders.send(Order::Found(name, found));
                let _ = bell.write(1);
            }
        };
        let state = match thread::Builder::new().name("relay-name".to_owned()).spawn(ask) {
            Ok(_) => Name::UnderWay,
            Err(error) => {
                let why = format!("cannot look up `{host}`: {}", plainly(&error));
                Name::Known { found: Err(why), at: now }
            }
        };
        self.known.insert(host.to_owned(), state);
    }
}

impl Room {
    /// A name is known: whoever waits for that tries again at once.
    pub(super) fn found(&mut self, name: String, found: Found) {
        let proxies = self.proxies_by_name.values().copied();
        let is_of = |it: &Key| {
            let backend = self.proxies.get(*it).map(|it| &it.backend);
            matches!(backend, Some(Backend::Name(host, _)) if *host == name)
        };
        let proxies: Vec<_> = proxies.filter(is_of).collect();
        self.names.learn(name, found, self.now);
        for proxy in proxies {
            self.proxies.get_mut(proxy).into_iter().for_each(|it| it.retry_at = self.now);
            self.admit(proxy);
        }
    }
}

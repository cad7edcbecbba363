//! A proxy: its listening sockets, and how its clients come in.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{SockFlag, accept4, setsockopt};

use super::Said;
use super::backend::Backend;
use super::face::Counts;
use super::listen::BACKLOG;
use super::peer::Users;
use super::room::{BySerial, Episode, Room, Stand};
use super::slots::{Key, Part};
use super::timers::Due;
use crate::address::Address;
use crate::proxy::Proxy;
use crate::spec::Mode;

/// What is known of a proxy. One that was withdrawn stays until its last client is gone.
#[derive(Debug)]
pub(super) struct Proxied {
    pub(super) config: Arc<Proxy>,
    pub(super) service: Key,
    pub(super) backend: Backend,
    pub(super) counts: Arc<Counts>,
    users: Users,
    listeners: Vec<Key>,
    pub(super) is_withdrawn: bool,
    /// Clients that wait for their turn.
    pub(super) queue: BySerial,
    /// Those whose turn has come, and who are not connected yet.
    pub(super) leaving: BySerial,
    /// How many are connected.
    pub(super) joined: u64,
    /// Whether the last attempt to reach the service was a success. If not, the first client tries it
    /// before all others follow.
    pub(super) is_reached: bool,
    /// The client who tries it, when that takes a while.
    pub(super) scout: Option<Key>,
    /// When it is tried again, and how long after that.
    pub(super) retry_at: i64,
    pub(super) retry_ms: i64,
    /// Why the service could not be reached, unless there was simply nobody.
    pub(super) trouble: Option<String>,
    /// Since when somebody waits for a start.
    pub(super) cold_since: Option<i64>,
    /// How often in a row it could not listen.
    failures: u32,
    pub(super) in_vain: Episode,
    crowded: Episode,
    forbidden: Episode,
    unaccepted: Episode,
    unwelcome: Episode,
    pub(super) hopeless: Episode,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    proxy: Key,
    /// All of the proxy's.
    sockets: Arc<Vec<OwnedFd>>,
    index: usize,
}

/// How many clients are accepted at a time.
const BATCH: usize = 64;
/// For how long nobody is accepted when the process has no descriptor left.
const BREATH_MS: i64 = 50;
/// How soon it is tried again to reach a service, and to listen.
pub(super) const RETRY_MS: i64 = 10;
const LISTEN_MS: i64 = 1_000;
const LISTEN_MS_MAX: i64 = 60_000;

impl Proxied {
    fn new(stand: &Stand, service: Key) -> Self {
        let config = Arc::clone(&stand.proxy);
        Self {
            backend: Backend::of(config.xinit.backend.as_ref()),
            config,
            service,
            counts: Arc::clone(&stand.counts),
            users: stand.users.clone(),
            listeners: Vec::new(),
            is_withdrawn: false,
            queue: BySerial::new(),
            leaving: BySerial::new(),
            joined: 0,
            is_reached: false,
            scout: None,
            retry_at: 0,
            retry_ms: RETRY_MS,
            trouble: None,
            cold_since: None,
            failures: 0,
            in_vain: Episode::default(),
            crowded: Episode::default(),
            forbidden: Episode::default(),
            unaccepted: Episode::default(),
            unwelcome: Episode::default(),
            hopeless: Episode::default(),
        }
    }

    /// Whether one more may be connected.
    pub(super) fn has_room(&self) -> bool {
        let most = u64::from(self.config.xinit.max_connections);
        most == 0 || self.joined + (self.leaving.len() as u64) < most
    }
}

impl Room {
    /// Lets a proxy stand, in place of an earlier one of its name.
    pub(super) fn stand(&mut self, stand: Stand) {
        let name = stand.proxy.name.clone();
        let service = self.service(&stand.proxy.service);
        let before = self.proxies_by_name.get(&name).copied();
        let mut next = Proxied::new(&stand, service);
        let key = match before.filter(|it| self.serves(*it, service)) {
            Some(key) => {
                self.recall(key);
                self.unlisten(key);
                let Some(proxied) = self.proxies.get_mut(key) else { return };
                std::mem::swap(&mut proxied.queue, &mut next.queue);
                (next.joined, next.cold_since) = (proxied.joined, proxied.cold_since);
                next.failures = proxied.failures;
                *proxied = next;
                key
            }
            None => {
                let key = self.proxies.insert(next);
                before.into_iter().for_each(|it| self.move_queue(it, key));
                self.proxies_by_name.insert(name, key);
                if let Some(service) = self.services.get_mut(service) {
                    service.proxies.push(key);
                }
                key
            }
        };
        self.settle(key, &stand);
    }

    fn serves(&self, proxy: Key, service: Key) -> bool {
        self.proxies.get(proxy).is_some_and(|it| it.service == service)
    }

    /// Its sockets are heard, and its clients go on, as far as they can.
    fn settle(&mut self, key: Key, stand: &Stand) {
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        let service = proxied.service;
        if stand.fails {
            let wait = LISTEN_MS << proxied.failures.min(6);
            proxied.failures += 1;
            self.timers.set(self.now + wait.min(LISTEN_MS_MAX), Due::Listen(key));
        } else {
            proxied.failures = 0;
        }
        self.listen(key, &stand.sockets);
        self.take_arrived(&stand.proxy.name);
        self.watch_idle(service);
        self.admit(key);
        self.knock_for_waiting(service);
    }

    fn listen(&mut self, proxy: Key, sockets: &Arc<Vec<OwnedFd>>) {
        for (index, socket) in sockets.iter().enumerate() {
            let key =
                self.listeners.insert(Listener { proxy, sockets: Arc::clone(sockets), index });
            let event = EpollEvent::new(self.interest(proxy), key.token(Part::Listener));
            if let Err(errno) = self.epoll.add(socket, event) {
                let why = errno.desc().to_lowercase();
                self.note(proxy, format!("nobody is accepted: cannot watch a socket: {why}"));
            }
            if let Some(it) = self.proxies.get_mut(proxy) {
                it.listeners.push(key);
            }
        }
    }

    /// What is to be told of a listening socket: one that the service has itself is only looked at while the
    /// service is not up, and once.
    fn interest(&self, proxy: Key) -> EpollFlags {
        let mode = self.proxies.get(proxy).map(|it| it.config.xinit.mode);
        match mode {
            Some(Mode::Pass) if self.is_open(proxy) => EpollFlags::EPOLLONESHOT,
            Some(Mode::Pass) => EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT,
            _ => EpollFlags::EPOLLIN,
        }
    }

    fn unlisten(&mut self, proxy: Key) {
        let keys = self.proxies.get_mut(proxy).map(|it| std::mem::take(&mut it.listeners));
        for listener in keys.into_iter().flatten().filter_map(|it| self.listeners.remove(it)) {
            // The keeper has it open too, so it does not leave by itself.
            let _ = self.epoll.delete(&listener.sockets[listener.index]);
        }
    }

    fn watch(&mut self, key: Key, interest: EpollFlags) {
        let Some(listener) = self.listeners.get(key) else { return };
        let mut event = EpollEvent::new(interest, key.token(Part::Listener));
        let _ = self.epoll.modify(&listener.sockets[listener.index], &mut event);
    }

    /// Looks, or looks no more, at sockets that the service has itself.
    fn watch_passed(&mut self, proxy: Key) {
        let Some(it) = self.proxies.get(proxy) else { return };
        if it.config.xinit.mode == Mode::Pass {
            let interest = self.interest(proxy);
            it.listeners.clone().into_iter().for_each(|it| self.watch(it, interest));
        }
    }

    /// The service is up.
    pub(super) fn open(&mut self, key: Key) {
        self.watch_passed(key);
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        (proxied.is_reached, proxied.trouble) = (false, None);
        (proxied.retry_at, proxied.retry_ms) = (self.now, RETRY_MS);
        proxied.in_vain.over();
        proxied.unwelcome.over();
        if proxied.config.xinit.mode == Mode::Pass {
            self.has_started(key);
        }
        self.admit(key);
    }

    /// The service is not up, or is not to be reached any more.
    pub(super) fn shut(&mut self, key: Key) {
        self.watch_passed(key);
        self.recall(key);
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        if !proxied.queue.is_empty() {
            proxied.cold_since.get_or_insert(self.now);
        }
    }

    /// The service is down and stays so: whoever has come is sent away, and whoever comes knocks.
    pub(super) fn fail(&mut self, key: Key) {
        self.turn_away(key);
        self.shut(key);
        self.send_away(key);
    }

    /// Sends those away who wait in the kernel for a service that has the sockets itself: it is down, and
    /// they would knock for ever.
    fn turn_away(&mut self, key: Key) {
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        if proxied.config.xinit.mode != Mode::Pass {
            return;
        }
        proxied.cold_since = None;
        let listeners = proxied.listeners.iter().filter_map(|it| self.listeners.get(*it));
        let count = listeners.map(|it| clear_backlog(&it.sockets[it.index])).sum();
        Counts::add(&proxied.counts.total, count);
        self.have_sent_away(key, count);
    }

    /// So many were sent away, as nobody is started for them.
    pub(super) fn have_sent_away(&mut self, key: Key, count: u64) {
        let Some(proxied) = self.proxies.get_mut(key).filter(|_| count > 0) else { return };
        Counts::add(&proxied.counts.refused, count);
        if proxied.unwelcome.tell(self.now) {
            let service = &proxied.config.service;
            let why = format!("`{service}` is down and is not started for them");
            self.note(key, format!("clients are sent away: {why}"));
        }
    }

    /// Somebody was passed on to a service that was started for them.
    pub(super) fn has_started(&mut self, key: Key) {
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        if let Some(since) = proxied.cold_since.take() {
            proxied.counts.started(u64::try_from(self.now - since).unwrap_or(0));
        }
    }

    /// Lets a proxy go.
    pub(super) fn withdraw(&mut self, name: &crate::name::ServiceName) {
        self.forget_arriving(name);
        let Some(key) = self.proxies_by_name.remove(name) else { return };
        self.let_go(key);
    }

    /// Sends those who wait away, and keeps those who are connected.
    pub(super) fn let_go(&mut self, key: Key) {
        self.unlisten(key);
        self.recall(key);
        let Some(proxied) = self.proxies.get_mut(key) else { return };
        proxied.is_withdrawn = true;
        let (service, waiting) = (proxied.service, proxied.queue.clone());
        waiting.into_values().for_each(|it| self.dismiss(it));
        if let Some(service) = self.services.get_mut(service) {
            service.proxies.retain(|it| *it != key);
        }
        self.watch_idle(service);
        self.forget_if_over(key);
    }

    /// Forgets a proxy that was withdrawn when its last client is gone.
    pub(super) fn forget_if_over(&mut self, key: Key) {
        let is_over = |it: &&Proxied| it.is_withdrawn && it.joined == 0;
        if let Some(service) = self.proxies.get(key).filter(is_over).map(|it| it.service) {
            self.proxies.remove(key);
            self.forget_if_unused(service);
        }
    }

    /// It is to be tried again to listen, if it was not done meanwhile.
    pub(super) fn listen_again(&mut self, key: Key) {
        let fails = |it: &&Proxied| it.failures > 0 && !it.is_withdrawn;
        if let Some(proxied) = self.proxies.get(key).filter(fails) {
            self.say(Said::Retry { proxy: proxied.config.name.clone() });
        }
    }

    /// Somebody connects.
    pub(super) fn accept(&mut self, key: Key) {
        let Some(proxy) = self.listeners.get(key).map(|it| it.proxy) else { return };
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        if proxied.config.xinit.mode == Mode::Pass {
            return self.accept_none(key, proxy);
        }
        for _ in 0..BATCH {
            let Some(listener) = self.listeners.get(key) else { return };
            match accepted(&listener.sockets[listener.index]) {
                Ok(client) => self.receive(proxy, client),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(errno) => return self.accept_later(key, proxy, errno),
            }
        }
    }

    /// Somebody connects to a service that has the socket itself.
    fn accept_none(&mut self, key: Key, proxy: Key) {
        let Some(listener) = self.listeners.get(key) else { return };
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        if !has_backlog(&listener.sockets[listener.index]) {
            return self.watch_passed(proxy); // It was sent away meanwhile.
        }
        proxied.cold_since.get_or_insert(self.now);
        let service = proxied.service;
        self.knock(service);
    }

    fn accept_later(&mut self, key: Key, proxy: Key, errno: Errno) {
        self.watch(key, EpollFlags::empty());
        self.timers.set(self.now + BREATH_MS, Due::Accept(key));
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        if proxied.unaccepted.tell(self.now) {
            self.note(proxy, format!("cannot accept clients: {}", errno.desc().to_lowercase()));
        }
    }

    pub(super) fn accept_again(&mut self, key: Key) {
        if let Some(listener) = self.listeners.get(key) {
            let interest = self.interest(listener.proxy);
            self.watch(key, interest);
        }
    }

    /// Lets a new client in, unless it may not, or too many are there.
    fn receive(&mut self, proxy: Key, client: OwnedFd) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        Counts::add(&proxied.counts.total, 1);
        if let Err(uid) = proxied.users.admit(&client) {
            Counts::add(&proxied.counts.refused, 1);
            if proxied.forbidden.tell(self.now) {
                self.note(proxy, format!("user {uid} may not connect: `users` does not name them"));
            }
            return;
        }
        let Some(client) = self.pass_on(proxy, client) else { return };
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        let most = proxied.config.xinit.max_waiting;
        if proxied.queue.len() < most as usize {
            let ticket = self.next_ticket(proxy);
            return self.wait(proxy, client, ticket, false);
        }
        Counts::add(&proxied.counts.refused, 1);
        let is_new = proxied.crowded.tell(self.now);
        reset(client);
        if is_new {
            self.note(proxy, format!("clients are refused: {most} wait already (`max_waiting`)"));
        }
    }

    /// The queue is shorter than it may be.
    pub(super) fn has_place(&mut self, proxy: Key) {
        if let Some(it) = self.proxies.get_mut(proxy) {
            it.crowded.over();
        }
    }
}

/// Accepts and closes whoever waits at a socket, which blocks whoever has it at other times. How many
/// they were; of those who keep coming so many as a backlog can have.
fn clear_backlog(listener: &OwnedFd) -> u64 {
    let Ok(flags) = fcntl(listener, FcntlArg::F_GETFL).map(OFlag::from_bits_retain) else {
        return 0;
    };
    if fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).is_err() {
        return 0;
    }
    let mut count = 0;
    for _ in 0..BACKLOG {
        match accepted(listener) {
            Ok(client) => {
                reset(client);
                count += 1;
            }
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(_) => break,
        }
    }
    // The descriptor is as it was, which cannot be refused.
    let _ = fcntl(listener, FcntlArg::F_SETFL(flags));
    count
}

/// Whether somebody waits at a socket.
fn has_backlog(listener: &OwnedFd) -> bool {
    let mut look = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut look, PollTimeout::ZERO).is_ok_and(|it| it > 0)
}

#[expect(unsafe_code, reason = "what is accepted has a number and no owner yet")]
fn accepted(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    // SAFETY: the kernel has just made it for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes a connection so that the other end sees that it was not an orderly end, where there is a way to
/// say so: a Unix socket is simply closed.
pub(super) fn reset(client: OwnedFd) {
    let _ = setsockopt(&client, Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// How a backend is called.
pub(super) fn named(address: Option<&Address>) -> String {
    address.map_or_else(|| "its backend".to_owned(), ToString::to_string)
}

//! Clients that wait, in the order in which they came, and how they go on.
//!
//! Who waits is in the keeper's hands too (`Hold`). When its turn comes the keeper lets go of it (`Drop`), and
//! only when that is on its way ([`Relay::released`](super::Relay::released)) is it connected. The first one
//! tries whether the service can be reached; all others follow when it can.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, MsgFlags, SockaddrLike, SockaddrStorage, getsockname, recv};

use super::backend::{Dial, Dialed, dial};
use super::face::Counts;
use super::proxy::{Proxied, RETRY_MS, named, reset};
use super::room::{Guest, Room, Stage, Ticket};
use super::slots::{Key, Part};
use super::timers::Due;
use super::{Held, Said};
use crate::name::ServiceName;

/// A client that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: OwnedFd,
    /// When it is sent away.
    deadline: i64,
    hold: Hold,
    line: Line,
}

/// Whether the keeper has a client too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    No,
    Yes,
    /// It was said that it need not any more.
    Leaving,
}

/// The connection of a client that waits.
#[derive(Debug)]
enum Line {
    None,
    Dialing(Dial),
    Connected(OwnedFd),
}

const RETRY_MS_MAX: i64 = 100;

/// The key under which the keeper holds a client that waits.
pub(super) fn key_of(proxy: &ServiceName, serial: u64) -> String {
    format!("xinit/{proxy}/wait/{serial}")
}

impl Room {
    /// A client waits from now on; `held` by the keeper already, if it has waited before.
    pub(super) fn wait(&mut self, proxy: Key, client: OwnedFd, ticket: Ticket, held: bool) {
        let hold = if held { Hold::Yes } else { Hold::No };
        let stage = self.waiting(client, &ticket, hold);
        let key = self.guests.insert(Guest { proxy, ticket, stage });
        self.queue(key);
    }

    fn waiting(&self, client: OwnedFd, ticket: &Ticket, hold: Hold) -> Stage {
        let deadline = self.now + ticket.patience_ms.max(1);
        Stage::Waiting(Box::new(Waiting { client, deadline, hold, line: Line::None }))
    }

    /// One who waits is counted, watched and put into the queue.
    fn queue(&mut self, key: Key) {
        let Some(proxy) = self.begin_wait(key) else { return };
        let Some(guest) = self.guests.get(key) else { return };
        let (serial, is_open) = (guest.ticket.serial, self.is_open(proxy));
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        proxied.queue.insert(serial, key);
        if !is_open {
            proxied.cold_since.get_or_insert(self.now);
        }
        let service = proxied.service;
        self.hold(key);
        self.knock(service);
        self.admit(proxy);
    }

    fn begin_wait(&mut self, key: Key) -> Option<Key> {
        let guest = self.guests.get(key)?;
        let (proxy, Stage::Waiting(waiting)) = (guest.proxy, &guest.stage) else { return None };
        // Only that it goes is told: what it says is for the service.
        let interest = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let _ = self.epoll.add(&waiting.client, EpollEvent::new(interest, key.token(Part::Client)));
        self.timers.set(waiting.deadline, Due::Client(key));
        Counts::add(&self.proxies.get(proxy)?.counts.waiting, 1);
        self.service_of(proxy)?.waiting += 1;
        Some(proxy)
    }

    /// The keeper is to have it too, if it does not.
    fn hold(&mut self, key: Key) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let Stage::Waiting(waiting) = &mut guest.stage else { return };
        let Some(proxied) = self.proxies.get(guest.proxy) else { return };
        self.held.insert(guest.ticket.serial, key);
        if waiting.hold != Hold::No {
            return;
        }
        // Without a descriptor for it, it waits unprotected.
        let Ok(copy) = waiting.client.try_clone() else { return };
        waiting.hold = Hold::Yes;
        let (key, note) =
            (key_of(&proxied.config.name, guest.ticket.serial), proxied.config.service.to_string());
        self.say(Said::Hold { key, note, fds: Held(Arc::new(vec![copy])) });
    }

    /// The keeper need not have it any more; true when it does not already.
    fn unhold(&mut self, key: Key) -> bool {
        let Some(guest) = self.guests.get_mut(key) else { return true };
        let Stage::Waiting(waiting) = &mut guest.stage else { return true };
        let Some(proxied) = self.proxies.get(guest.proxy) else { return true };
        if waiting.hold == Hold::Yes {
            waiting.hold = Hold::Leaving;
            let key = key_of(&proxied.config.name, guest.ticket.serial);
            self.say(Said::Drop { key });
            return false;
        }
        waiting.hold == Hold::No
    }

    /// Whether the keeper still has a client whose turn has come.
    fn is_kept(&self, key: Key) -> bool {
        let stage = self.guests.get(key).map(|it| &it.stage);
        matches!(stage, Some(Stage::Waiting(it)) if it.hold == Hold::Leaving)
    }

    /// The keeper has let go of a client.
    pub(super) fn let_go_of(&mut self, serial: u64) {
        let Some(key) = self.held.get(&serial).copied() else { return };
        let Some(guest) = self.guests.get_mut(key) else { return };
        let proxy = guest.proxy;
        let Stage::Waiting(waiting) = &mut guest.stage else { return };
        waiting.hold = Hold::No;
        if self.proxies.get(proxy).is_some_and(|it| it.leaving.contains_key(&serial)) {
            self.proceed(key);
        } else {
            self.hold(key); // It was called back meanwhile.
        }
        self.admit(proxy);
    }

    /// Passes a new client on at once, if nothing is in the way.
    pub(super) fn pass_on(&mut self, proxy: Key, client: OwnedFd) -> Option<OwnedFd> {
        // Nobody overtakes who still waits for the keeper.
        let is_free = |it: &Proxied| {
            it.queue.is_empty() && it.has_room() && !it.leaving.values().any(|it| self.is_kept(*it))
        };
        if !self.is_open(proxy) || !self.proxies.get(proxy).is_some_and(is_free) {
            return Some(client);
        }
        match self.dial(proxy) {
            Dialed::Connected(backend) => {
                let ticket = self.next_ticket(proxy);
                self.join_new(proxy, ticket, client, backend);
                None
            }
            Dialed::UnderWay(dial) => {
                self.wait_for_line(proxy, client, dial);
                None
            }
            other => {
                self.retry_later(proxy, other);
                Some(client)
            }
        }
    }

    /// A new client whose connection takes a while.
    fn wait_for_line(&mut self, proxy: Key, client: OwnedFd, dial: Dial) {
        let ticket = self.next_ticket(proxy);
        let stage = self.waiting(client, &ticket, Hold::No);
        let key = self.guests.insert(Guest { proxy, ticket, stage });
        if self.begin_wait(key).is_some() {
            let proxied = self.proxies.get_mut(proxy);
            if let Some(proxied) = proxied {
                proxied.leaving.insert(ticket.serial, key);
            }
            self.keep_line(key, dial);
        }
    }

    pub(super) fn dial(&mut self, proxy: Key) -> Dialed {
        match self.proxies.get(proxy) {
            Some(it) => dial(&it.backend, &mut self.names, self.now),
            None => Dialed::Failed(None),
        }
    }

    /// The service could not be reached: the first who waits tries it again, soon.
    fn retry_later(&mut self, proxy: Key, dialed: Dialed) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        proxied.is_reached = false;
        proxied.scout = None;
        if matches!(dialed, Dialed::Unknown) {
            return proxied.retry_at = i64::MAX; // As soon as the name is known.
        }
        if let Dialed::Failed(why) = dialed {
            proxied.trouble = why;
        }
        if proxied.retry_at > self.now {
            return; // It is due already.
        }
        proxied.retry_at = self.now + proxied.retry_ms;
        proxied.retry_ms = (proxied.retry_ms * 2).min(RETRY_MS_MAX);
        self.timers.set(proxied.retry_at, Due::Backend(proxy));
    }

    /// Has as many of those who wait go on as can.
    pub(super) fn admit(&mut self, proxy: Key) {
        while self.is_open(proxy) {
            let Some(proxied) = self.proxies.get(proxy).filter(|it| it.has_room()) else { return };
            let Some(key) = proxied.queue.first_key_value().map(|it| *it.1) else { return };
            if proxied.is_reached {
                self.leave(key, Line::None);
            } else if proxied.scout.is_some() || self.now < proxied.retry_at || !self.scout(key) {
                return;
            }
        }
    }

    /// Has one who waits try whether the service can be reached; true when it can.
    fn scout(&mut self, key: Key) -> bool {
        let Some(proxy) = self.guests.get(key).map(|it| it.proxy) else { return false };
        match self.dial(proxy) {
            Dialed::Connected(backend) => {
                self.has_reached(proxy);
                self.leave(key, Line::Connected(backend));
                return true;
            }
            Dialed::UnderWay(dial) => {
                self.proxies.get_mut(proxy).into_iter().for_each(|it| it.scout = Some(key));
                self.keep_line(key, dial);
            }
            other => self.retry_later(proxy, other),
        }
        false
    }

    fn has_reached(&mut self, proxy: Key) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        (proxied.is_reached, proxied.scout, proxied.trouble) = (true, None, None);
        (proxied.retry_at, proxied.retry_ms) = (0, RETRY_MS);
    }

    /// Waits until it is decided whether a client is connected.
    fn keep_line(&mut self, key: Key, dial: Dial) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let Stage::Waiting(waiting) = &mut guest.stage else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLOUT, key.token(Part::Backend));
        // Where it cannot be watched, the client's time runs out.
        let _ = self.epoll.add(&dial.socket, event);
        waiting.line = Line::Dialing(dial);
    }

    /// It is decided whether a client is connected.
    pub(super) fn dialed(&mut self, key: Key) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let (proxy, serial) = (guest.proxy, guest.ticket.serial);
        let Stage::Waiting(waiting) = &mut guest.stage else { return };
        let Line::Dialing(dial) = std::mem::replace(&mut waiting.line, Line::None) else { return };
        let _ = self.epoll.delete(&dial.socket);
        let is_leaving = self.proxies.get(proxy).is_some_and(|it| it.leaving.contains_key(&serial));
        match dial.outcome() {
            Dialed::UnderWay(dial) => self.keep_line(key, dial),
            Dialed::Connected(backend) => {
                self.has_reached(proxy);
                if is_leaving {
                    self.set_line(key, Line::Connected(backend));
                    self.proceed(key);
                } else {
                    self.leave(key, Line::Connected(backend));
                }
                self.admit(proxy);
            }
            other => {
                self.retry_later(proxy, other);
                if is_leaving {
                    self.call_back(key);
                }
            }
        }
    }

    fn set_line(&mut self, key: Key, line: Line) {
        if let Some(Stage::Waiting(it)) = self.guests.get_mut(key).map(|it| &mut it.stage) {
            it.line = line;
        }
    }

    /// A client's turn has come.
    fn leave(&mut self, key: Key, line: Line) {
        let Some(guest) = self.guests.get(key) else { return };
        let (proxy, serial) = (guest.proxy, guest.ticket.serial);
        if let Some(proxied) = self.proxies.get_mut(proxy) {
            proxied.queue.remove(&serial);
            proxied.leaving.insert(serial, key);
        }
        self.has_place(proxy);
        self.set_line(key, line);
        if self.unhold(key) {
            self.proceed(key);
        }
    }

    /// Goes on with a client whose turn has come, and of whom nobody else has anything.
    fn proceed(&mut self, key: Key) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let proxy = guest.proxy;
        let Stage::Waiting(waiting) = &mut guest.stage else { return };
        match std::mem::replace(&mut waiting.line, Line::None) {
            Line::Connected(backend) => return self.join(key, backend),
            Line::Dialing(dial) => return waiting.line = Line::Dialing(dial),
            Line::None => {}
        }
        match self.dial(proxy) {
            Dialed::Connected(backend) => self.join(key, backend),
            Dialed::UnderWay(dial) => self.keep_line(key, dial),
            other => {
                self.retry_later(proxy, other);
                self.call_back(key);
            }
        }
    }

    /// Calls all back whose turn had come.
    pub(super) fn recall(&mut self, proxy: Key) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        let (scout, leaving) = (proxied.scout.take(), proxied.leaving.clone());
        scout.into_iter().for_each(|it| self.set_line(it, Line::None));
        leaving.into_values().for_each(|it| self.call_back(it));
    }

    /// A client waits again, where it has waited before.
    fn call_back(&mut self, key: Key) {
        self.set_line(key, Line::None);
        let Some(guest) = self.guests.get(key) else { return };
        let (proxy, serial) = (guest.proxy, guest.ticket.serial);
        if let Some(proxied) = self.proxies.get_mut(proxy)
            && proxied.leaving.remove(&serial).is_some()
        {
            proxied.queue.insert(serial, key);
        }
        self.hold(key);
    }

    /// Something has happened to a client that waits: perhaps it is gone. One that has ended its half waits
    /// on if it has said something, or if it can be told that it still listens: of TCP it cannot before
    /// something is sent to it, and a service is not started for who may be gone.
    pub(super) fn look_after(&mut self, key: Key, events: EpollFlags) {
        let Some(guest) = self.guests.get(key) else { return };
        let Stage::Waiting(waiting) = &guest.stage else { return };
        if events.contains(EpollFlags::EPOLLERR) {
            return self.dismiss(key); // What it has said is of no use to it any more.
        }
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(waiting.client.as_raw_fd(), &mut [0], flags) {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) if !events.contains(EpollFlags::EPOLLHUP) && is_unix(&waiting.client) => {}
            Ok(0) | Err(_) => self.dismiss(key),
        }
    }

    /// A client has waited for long enough.
    pub(super) fn expire(&mut self, key: Key) {
        let Some(guest) = self.guests.get(key) else { return };
        let Stage::Waiting(waiting) = &guest.stage else { return };
        if waiting.deadline > self.now {
            return;
        }
        let proxy = guest.proxy;
        let why = self.why_in_vain(proxy);
        self.in_vain(proxy, why);
        self.dismiss(key);
    }

    /// Sends all away who wait.
    pub(super) fn send_away(&mut self, proxy: Key) {
        let Some(proxied) = self.proxies.get(proxy) else { return };
        let all = proxied.queue.clone();
        self.have_sent_away(proxy, all.len() as u64);
        all.into_values().for_each(|it| self.dismiss(it));
    }

    fn in_vain(&mut self, proxy: Key, why: String) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        Counts::add(&proxied.counts.timed_out, 1);
        if proxied.in_vain.tell(self.now) {
            self.note(proxy, format!("clients have waited in vain: {why}"));
        }
    }

    fn why_in_vain(&self, proxy: Key) -> String {
        let Some(proxied) = self.proxies.get(proxy) else { return String::new() };
        let config = &proxied.config;
        let ms = config.xinit.connect_timeout_ms;
        let long = if ms % 1_000 == 0 { format!("{}s", ms / 1_000) } else { format!("{ms}ms") };
        let backend = named(config.xinit.backend.as_ref());
        let most = config.xinit.max_connections;
        match &proxied.trouble {
            _ if !self.is_open(proxy) => format!("`{}` was not up for {long}", config.service),
            Some(why) => format!("{backend} could not be reached for {long}: {why}"),
            None if !proxied.has_room() => {
                format!("{most} were connected (`max_connections`) for {long}")
            }
            None => format!("nobody listened at {backend} for {long}"),
        }
    }

    /// Closes a client that waits.
    pub(super) fn dismiss(&mut self, key: Key) {
        self.unhold(key);
        let Some((proxy, _, client)) = self.end_wait(key) else { return };
        reset(client);
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        if proxied.queue.is_empty() && proxied.leaving.is_empty() {
            proxied.cold_since = None;
        }
        self.has_place(proxy);
        self.admit(proxy);
    }

    /// Takes one who waits out of everything. What is left of it waits no longer.
    pub(super) fn end_wait(&mut self, key: Key) -> Option<(Key, Ticket, OwnedFd)> {
        let guest = self.guests.get(key)?;
        let (proxy, serial) = (guest.proxy, guest.ticket.serial);
        let Stage::Waiting(waiting) = &guest.stage else { return None };
        // The keeper may still have it open, so it does not leave by itself.
        let _ = self.epoll.delete(&waiting.client);
        self.held.remove(&serial);
        if let Some(proxied) = self.proxies.get_mut(proxy) {
            proxied.queue.remove(&serial);
            proxied.leaving.remove(&serial);
            proxied.scout = proxied.scout.filter(|it| *it != key);
            Counts::take(&proxied.counts.waiting, 1);
        }
        self.service_of(proxy)?.wait_no_more(1);
        let Guest { mut ticket, stage, .. } = self.guests.remove(key)?;
        let Stage::Waiting(waiting) = stage else { return None };
        ticket.patience_ms = waiting.deadline - self.now;
        Some((proxy, ticket, waiting.client))
    }

    /// Hands those who wait over to the proxy that stands in place of this one, before another service.
    pub(super) fn move_queue(&mut self, from: Key, to: Key) {
        self.recall(from);
        let Some(proxied) = self.proxies.get_mut(from) else { return };
        let moved = std::mem::take(&mut proxied.queue);
        let count = moved.len() as u64;
        for key in moved.values() {
            self.guests.get_mut(*key).into_iter().for_each(|it| it.proxy = to);
        }
        self.service_of(from).into_iter().for_each(|it| it.wait_no_more(count));
        if let Some(service) = self.service_of(to) {
            service.waiting += count;
        }
        if let Some(proxied) = self.proxies.get_mut(to).filter(|_| count > 0) {
            proxied.queue = moved;
            proxied.cold_since = Some(self.now);
        }
        self.let_go(from);
    }
}

fn is_unix(socket: &OwnedFd) -> bool {
    let family = getsockname::<SockaddrStorage>(socket.as_raw_fd()).map(|it| it.family());
    family == Ok(Some(AddressFamily::Unix))
}

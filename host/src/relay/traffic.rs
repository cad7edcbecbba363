//! Clients that are passed on: they begin, have their turns, end, or come back.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::epoll::EpollFlags;

use super::face::Counts;
use super::pair::{Moved, Outcome, Pair, Return, Side};
use super::preface::preface;
use super::proxy::reset;
use super::room::{Guest, Joined, Room, Stage, Ticket};
use super::slots::{Key, Part};
use super::timers::Due;

/// How long what a client says is kept for another service when this one says nothing.
const PATIENCE_MS: i64 = 10_000;

/// How often a client goes on to the next service when one has ended before its first byte.
const RETURNS_MAX: u8 = 3;

/// How long it may take until the end of a process that has reset its connections is known.
const SUSPENSE_MS: i64 = 50;

/// A client that was reset by its service, which may have ended.
pub(super) struct Returning {
    pub(super) at: i64,
    proxy: Key,
    client: OwnedFd,
    ticket: Ticket,
}

impl Room {
    /// Connects one who has waited.
    pub(super) fn join(&mut self, key: Key, backend: OwnedFd) {
        if let Some((proxy, ticket, client)) = self.end_wait(key) {
            self.has_started(proxy);
            self.join_new(proxy, ticket, client, backend);
        }
    }

    /// Connects a client to its service.
    pub(super) fn join_new(
        &mut self,
        proxy: Key,
        ticket: Ticket,
        client: OwnedFd,
        backend: OwnedFd,
    ) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        proxied.in_vain.over();
        let greeting = preface(&client, proxied.config.xinit.proxy_protocol);
        let pair = Pair::begin(&self.epoll, client, backend, self.tokens(), &greeting);
        self.has_joined(proxy, ticket, pair);
    }

    /// Goes on with a client and its service, who were joined by an earlier server.
    pub(super) fn join_again(&mut self, proxy: Key, ticket: Ticket, sockets: [OwnedFd; 2]) {
        let [client, backend] = sockets;
        let pair = Pair::resume(&self.epoll, client, backend, self.tokens());
        self.has_joined(proxy, ticket, pair);
    }

    /// What epoll says about the next guest.
    fn tokens(&self) -> [u64; 2] {
        let key = self.guests.next_key();
        [key.token(Part::Client), key.token(Part::Backend)]
    }

    fn has_joined(&mut self, proxy: Key, ticket: Ticket, pair: io::Result<Pair>) {
        let Ok(pair) = pair else {
            // The process is out of something, and both are closed by now.
            return self.note(proxy, "a client was closed: it cannot be watched".to_owned());
        };
        let now = self.now;
        let Some(service) = self.service_of(proxy) else { return };
        service.joined += 1;
        service.active_ms = now;
        let turn = service.turn();
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        proxied.joined += 1;
        Counts::add(&proxied.counts.active, 1);
        let joined = Joined { pair, turn, asks: false, unanswered_since: None, has_more: false };
        self.guests.insert(Guest { proxy, ticket, stage: Stage::Joined(Box::new(joined)) });
    }

    /// One side of a connection has something, or can take something.
    pub(super) fn turn(&mut self, key: Key, side: Side, events: EpollFlags) {
        let Some(guest) = self.guests.get_mut(key) else { return };
        let proxy = guest.proxy;
        let Stage::Joined(joined) = &mut guest.stage else { return };
        let Some(proxied) = self.proxies.get(proxy) else { return };
        let service = self.services.get(proxied.service);
        let is_up = service.is_some_and(|it| it.is_open() && it.turn() == joined.turn);
        let returns = match proxied.is_withdrawn {
            true => Return::Never,
            false if is_up => Return::Reset,
            false => Return::AnyEnd,
        };
        let (outcome, moved) = joined.pair.turn(side, events, &mut self.scratch, returns);
        if matches!(outcome, Outcome::Open) {
            let asks = joined.pair.asks();
            let asked = std::mem::replace(&mut joined.asks, asks);
            if asks && !asked && joined.pair.is_unanswered() {
                joined.unanswered_since = Some(self.now);
                if !std::mem::replace(&mut self.minds_askers, true) {
                    self.timers.set(self.now + PATIENCE_MS, Due::Askers);
                }
            }
            if joined.pair.wants_more() && !std::mem::replace(&mut joined.has_more, true) {
                self.more.push(key);
            }
            self.count(proxy, &moved, asked, asks);
        } else {
            let asked = std::mem::replace(&mut joined.asks, false);
            self.count(proxy, &moved, asked, false);
        }
        match outcome {
            Outcome::Open => {}
            Outcome::Over => self.part(key),
            Outcome::Unheard(client) => self.unheard(key, client),
        }
    }

    fn count(&mut self, proxy: Key, moved: &Moved, asked: bool, asks: bool) {
        let (to, from, now) = (moved.to_backend, moved.from_backend, self.now);
        let Some(proxied) = self.proxies.get(proxy) else { return };
        if to > 0 {
            Counts::add(&proxied.counts.to_backend, to);
        }
        if from > 0 {
            Counts::add(&proxied.counts.from_backend, from);
        }
        let Some(service) = self.services.get_mut(proxied.service) else { return };
        if to + from > 0 {
            service.active_ms = now;
        }
        service.asking = service.asking + u64::from(asks) - u64::from(asked);
    }

    /// Takes what they say from those who have waited for a first answer for long: what lies unread may
    /// keep them from saying the rest.
    pub(super) fn mind_askers(&mut self) {
        let late = self.now - PATIENCE_MS;
        self.minds_askers = false;
        for key in self.guests.keys() {
            let Some(guest) = self.guests.get_mut(key) else { continue };
            let Stage::Joined(joined) = &mut guest.stage else { continue };
            let is_unanswered = joined.pair.is_unanswered();
            let Some(since) = joined.unanswered_since.filter(|_| is_unanswered) else { continue };
            if since <= late {
                joined.unanswered_since = None;
                joined.pair.waive(&mut self.scratch);
                self.turn(key, Side::Client, EpollFlags::empty());
            } else {
                self.minds_askers = true;
            }
        }
        if self.minds_askers {
            self.timers.set(self.now + PATIENCE_MS, Due::Askers);
        }
    }

    /// A connection has ended.
    fn part(&mut self, key: Key) {
        let Some(guest) = self.guests.remove(key) else { return };
        self.has_parted(guest.proxy);
        self.admit(guest.proxy);
        self.forget_if_over(guest.proxy);
    }

    fn has_parted(&mut self, proxy: Key) {
        let now = self.now;
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        proxied.joined -= 1;
        Counts::take(&proxied.counts.active, 1);
        if let Some(service) = self.service_of(proxy) {
            service.joined -= 1;
            service.active_ms = now;
        }
    }

    /// The service has ended before it has said anything: the client goes to the next one. While there is
    /// no word that this one is gone it tries it once more, a little later, for a process that dies closes
    /// its connections before its end is known. Reset again under the same word, it is not wanted there.
    fn unheard(&mut self, key: Key, client: OwnedFd) {
        // A descriptor of it may be elsewhere, so it does not leave by itself.
        let _ = self.epoll.delete(&client);
        let Some(guest) = self.guests.remove(key) else { return };
        let (proxy, mut ticket) = (guest.proxy, guest.ticket);
        let turn = if let Stage::Joined(it) = &guest.stage { it.turn } else { 0 };
        drop(guest);
        self.has_parted(proxy);
        ticket.returns += 1;
        let still =
            self.is_open(proxy) && self.service_of(proxy).is_some_and(|it| it.turn() == turn);
        let again = std::mem::replace(&mut ticket.reset_in, turn) == turn;
        if ticket.returns > RETURNS_MAX {
            self.gives_up(proxy);
        }
        if ticket.returns > RETURNS_MAX || still && again {
            reset(client);
            self.admit(proxy);
        } else if still {
            let at = self.now + SUSPENSE_MS;
            self.returning.push(Returning { at, proxy, client, ticket });
            self.timers.set(at, Due::Return);
        } else {
            self.wait(proxy, client, ticket, false);
        }
        self.forget_if_over(proxy);
    }

    /// Who was reset waits again: those of a service about which there is another word, and those of whom
    /// nothing was heard for long enough.
    pub(super) fn take_back(&mut self, word_about: Option<Key>) {
        let now = self.now;
        let service = |it: &Returning| self.proxies.get(it.proxy).map(|it| it.service);
        let is_due =
            |it: &Returning| it.at <= now || word_about.is_some() && service(it) == word_about;
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.returning).into_iter().partition(is_due);
        self.returning = rest;
        for Returning { proxy, client, ticket, .. } in due {
            self.wait(proxy, client, ticket, false);
        }
    }

    /// Nobody else is to be ended by what this client says, if it was that.
    fn gives_up(&mut self, proxy: Key) {
        let Some(proxied) = self.proxies.get_mut(proxy) else { return };
        Counts::add(&proxied.counts.timed_out, 1);
        if proxied.hopeless.tell(self.now) {
            let service = &proxied.config.service;
            let times = u32::from(RETURNS_MAX) + 1;
            let why = format!("`{service}` has ended {times} times before its first byte to it");
            self.note(proxy, format!("a client is sent away: {why}"));
        }
    }
}

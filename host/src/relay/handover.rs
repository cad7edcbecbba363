//! From one server to the next: clients that waited in an earlier one, and connections that were silent
//! when it was replaced.
//!
//! Whoever was killed has left its waiting clients with the keeper. Whoever is replaced leaves those, and the
//! connections of which nothing is in its memory.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::queue::key_of;
use super::room::{Room, Stage};
use super::slots::Key;
use super::{Held, Said};
use crate::name::ServiceName;

/// A client of an earlier server that cannot go on yet.
pub(super) enum Arriving {
    /// Its proxy does not stand yet.
    Waiting { proxy: ServiceName, serial: u64, client: OwnedFd },
    /// Its proxy does not stand yet, or the keeper has not let go of it.
    Pair { proxy: ServiceName, serial: u64, sockets: [OwnedFd; 2], is_released: bool },
}

impl Arriving {
    pub(super) fn proxy(&self) -> &ServiceName {
        match self {
            Self::Waiting { proxy, .. } | Self::Pair { proxy, .. } => proxy,
        }
    }

    fn can_go_on(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Pair { is_released: true, .. })
    }
}

fn key_of_pair(proxy: &ServiceName, serial: u64) -> String {
    format!("xinit/{proxy}/pair/{serial}")
}

impl Room {
    /// Takes a connection of an earlier server, of which nothing is read while the keeper has it.
    pub(super) fn receive_pair(&mut self, proxy: ServiceName, serial: u64, sockets: [OwnedFd; 2]) {
        self.say(Said::Drop { key: key_of_pair(&proxy, serial) });
        self.arrive(Arriving::Pair { proxy, serial, sockets, is_released: false });
    }

    /// Takes a client of an earlier server.
    pub(super) fn arrive(&mut self, arriving: Arriving) {
        let name = arriving.proxy().clone();
        self.arriving.push(arriving);
        self.take_arrived(&name);
    }

    /// Has those go on who have come for this proxy, if it stands.
    pub(super) fn take_arrived(&mut self, name: &ServiceName) {
        let Some(proxy) = self.proxies_by_name.get(name).copied() else { return };
        let ready = |it: &mut Arriving| it.proxy() == name && it.can_go_on();
        let ready: Vec<_> = self.arriving.extract_if(.., ready).collect();
        for it in ready {
            match it {
                Arriving::Waiting { serial, client, .. } => {
                    let ticket = self.ticket(proxy, serial);
                    self.wait(proxy, client, ticket, true);
                }
                Arriving::Pair { serial, sockets, .. } => {
                    let ticket = self.ticket(proxy, serial);
                    self.join_again(proxy, ticket, sockets);
                }
            }
        }
    }

    /// Closes those who have come for a proxy that will not stand. The keeper has been told already to let
    /// go of connections.
    pub(super) fn forget_arriving(&mut self, name: &ServiceName) {
        let gone: Vec<_> = self.arriving.extract_if(.., |it| it.proxy() == name).collect();
        for it in gone {
            if let Arriving::Waiting { proxy, serial, .. } = it {
                self.say(Said::Drop { key: key_of(&proxy, serial) });
            }
        }
    }

    /// The keeper has let go of what it held under this key.
    pub(super) fn released(&mut self, key: &str) {
        let mut words = key.rsplit('/');
        let Some(serial) = words.next().and_then(|it| it.parse().ok()) else { return };
        if words.next() != Some("pair") {
            return self.let_go_of(serial);
        }
        let mut released = None;
        for it in &mut self.arriving {
            if let Arriving::Pair { proxy, serial: its, is_released, .. } = it
                && *its == serial
                && key == key_of_pair(proxy, serial)
            {
                *is_released = true;
                released = Some(proxy.clone());
            }
        }
        if let Some(proxy) = released {
            self.take_arrived(&proxy);
        }
    }

    /// What the keeper is to hold for the next server.
    pub(super) fn left(&mut self) -> Vec<Said> {
        let returning = self.returning.iter().map(|it| it.at).max();
        self.now = self.now.max(returning.unwrap_or_default());
        self.take_back(None);
        let keys = self.guests.keys();
        let guests = keys.into_iter().filter_map(|it| self.left_of(it));
        let mut left: Vec<_> = guests.collect();
        left.extend(self.arriving.drain(..).filter_map(|it| match it {
            Arriving::Waiting { .. } => None, // The keeper has it.
            Arriving::Pair { proxy, serial, sockets, .. } => {
                Some(pair_to_hold(&proxy, serial, sockets))
            }
        }));
        left
    }

    fn left_of(&mut self, key: Key) -> Option<Said> {
        let guest = self.guests.remove(key)?;
        let proxied = self.proxies.get(guest.proxy)?;
        match guest.stage {
            // Also one that the keeper may have: who tells it so may not have come to that.
            Stage::Waiting(it) => Some(Said::Hold {
                key: key_of(&proxied.config.name, guest.ticket.serial),
                note: proxied.config.service.to_string(),
                fds: Held(Arc::new(vec![it.client])),
            }),
            Stage::Joined(it) if it.pair.is_still() && !it.pair.is_unanswered() => {
                let sockets = it.pair.into_sockets();
                Some(pair_to_hold(&proxied.config.name, guest.ticket.serial, sockets))
            }
            Stage::Joined(_) => None,
        }
    }
}

fn pair_to_hold(proxy: &ServiceName, serial: u64, sockets: [OwnedFd; 2]) -> Said {
    let key = key_of_pair(proxy, serial);
    Said::Hold { key, note: String::new(), fds: Held(Arc::new(sockets.into())) }
}

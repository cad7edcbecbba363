//! Proxies, as far as this thread has a part in them: it opens their sockets and gives them to the
//! keeper, before anything is launched that is to get them, and passes words on to the relay and from it.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use zinit_keeper::wire::{Request, Sockets};

use super::{RealMachine, complain, complain_of};
use crate::event::Demand;
use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::relay::{Held, Relay, Said, listen};
use crate::spec::Mode;
use crate::supervise::Wake;

/// The first version of a keeper that holds descriptors.
const HOLDS: u32 = 6;

/// What the keys begin with under which the keeper holds what is ours.
const KEYS: &str = "xinit/";

/// Proxies and their sockets.
pub(super) struct Doors {
    pub(super) relay: Relay,
    /// What an earlier brain has left of a proxy's sockets, each with its address.
    left: HashMap<ServiceName, Vec<(String, OwnedFd)>>,
    /// The proxies whose clients an earlier brain has left.
    guests: BTreeSet<ServiceName>,
    open: HashMap<ServiceName, Open>,
    /// What each service that answers its clients itself is launched with, or why it cannot be.
    passed: HashMap<ServiceName, Result<Sockets, String>>,
    /// What the relay waits for: that the keeper has been told to close this.
    released: Vec<String>,
}

/// The sockets of a proxy.
struct Open {
    note: String,
    sockets: Arc<Vec<OwnedFd>>,
}

impl Doors {
    pub(super) fn new(relay: Relay) -> Self {
        Self {
            relay,
            left: HashMap::new(),
            guests: BTreeSet::new(),
            open: HashMap::new(),
            passed: HashMap::new(),
            released: Vec::new(),
        }
    }

    /// What a service is launched with; why it cannot be, as half a sentence.
    pub(super) fn sockets_of(&self, service: &ServiceName) -> Result<Option<Sockets>, String> {
        self.passed.get(service).cloned().transpose()
    }
}

impl RealMachine {
    /// Clients come in by this proxy from now on.
    pub(super) fn proxied(&mut self, proxy: Arc<Proxy>, refused: Option<Refusal>) {
        let opened = match refused {
            Some(refusal) => Err(refusal),
            None => listen::open(&proxy, self.sockets_so_far(&proxy.name)),
        };
        if let Some(before) = self.doors.relay.faces().get(proxy.name.as_str()) {
            self.doors.passed.remove(&before.proxy.service);
        }
        match opened {
            Ok(sockets) => self.opened(proxy, Arc::new(sockets)),
            Err(refusal) => {
                let known = self.doors.relay.faces().get(proxy.name.as_str());
                if known.is_none_or(|it| it.trouble.as_ref() != Some(&refusal)) {
                    complain_of(&refusal);
                }
                if proxy.xinit.mode == Mode::Pass {
                    let why = format!("its sockets are not open: {refusal}");
                    self.doors.passed.insert(proxy.service.clone(), Err(why));
                }
                self.doors.open.remove(&proxy.name);
                self.drop_held(key_of(&proxy.name));
                self.doors.relay.fails(proxy, refusal);
            }
        }
    }

    fn opened(&mut self, proxy: Arc<Proxy>, sockets: Arc<Vec<OwnedFd>>) {
        let (key, note) = (key_of(&proxy.name), listen::note(&proxy, &sockets));
        let waits = proxy.xinit.mode == Mode::Pass;
        sockets.iter().for_each(|it| set_waiting(it, waits));
        if waits {
            let passed = match self.about.version {
                HOLDS.. => Ok(Sockets { key: key.clone(), names: names(&proxy, &note) }),
                _ => Err("the keeper is of an older version until the next start of everything"
                    .to_owned()),
            };
            self.doors.passed.insert(proxy.service.clone(), passed);
        }
        self.hold_for_next(key, note.clone(), Held(Arc::clone(&sockets)));
        let open = Open { note, sockets: Arc::clone(&sockets) };
        self.doors.open.insert(proxy.name.clone(), open);
        self.doors.relay.serve(proxy, sockets);
    }

    /// The sockets that a proxy has, or that an earlier brain has left of it, each with its address.
    fn sockets_so_far(&mut self, proxy: &ServiceName) -> Vec<(String, OwnedFd)> {
        if let Some(left) = self.doors.left.remove(proxy) {
            return left;
        }
        let Some(Open { note, sockets }) = self.doors.open.get(proxy) else { return Vec::new() };
        let copies = sockets.iter().map(OwnedFd::try_clone);
        addresses(note)
            .into_iter()
            .zip(copies)
            .filter_map(|(at, it)| Some((at, it.ok()?)))
            .collect()
    }

    /// Nobody comes in by this proxy any more.
    pub(super) fn unproxied(&mut self, proxy: &ServiceName) {
        if let Some(face) = self.doors.relay.faces().get(proxy.as_str()) {
            self.doors.passed.remove(&face.proxy.service);
        }
        self.doors.open.remove(proxy);
        self.drop_held(key_of(proxy));
        self.doors.relay.withdraw(proxy);
    }

    pub(super) fn hear_relay(&mut self, said: Said, wakes: &mut Vec<Wake>) {
        match said {
            Said::Knocked { service } => wakes.push(Wake::Demanded(service, Demand::Knocked)),
            Said::Idle { service, turn, connections, quiet_ms } => {
                let count = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
                let (connections, quiet_ms) = (count(connections), count(quiet_ms));
                wakes.push(Wake::Demanded(service, Demand::Idle { turn, connections, quiet_ms }));
            }
            Said::Drained { service, turn } => {
                wakes.push(Wake::Demanded(service, Demand::Drained { turn }));
            }
            Said::Hold { key, note, fds } => self.hold_for_next(key, note, fds),
            Said::Drop { key } => {
                self.drop_held(key.clone());
                self.doors.released.push(key);
            }
            Said::Retry { proxy } => {
                if let Some(face) = self.doors.relay.faces().get(proxy.as_str()) {
                    self.proxied(Arc::clone(&face.proxy), None);
                }
            }
            Said::Noted { proxy, why } => {
                if let Some(face) = self.doors.relay.faces().get(proxy.as_str()) {
                    self.note_down(&face.proxy.service, &why);
                }
            }
        }
    }

    /// Takes what an earlier brain has given to the keeper.
    pub(super) fn inherit(&mut self, key: &str, note: &str, fds: Vec<OwnedFd>) {
        let rest = key.strip_prefix(KEYS).unwrap_or_default();
        let mut parts = rest.split('/');
        let name = parts.next().and_then(|it| ServiceName::parse(it).ok());
        let serial = |it: Option<&str>| it.and_then(|it| it.parse().ok());
        let mut fds = fds.into_iter();
        match (name, parts.next(), serial(parts.next()), fds.next(), fds.next()) {
            (Some(name), None, None, Some(first), second) => {
                let all = [first].into_iter().chain(second).chain(fds);
                self.doors.left.insert(name, addresses(note).into_iter().zip(all).collect());
            }
            (Some(name), Some("wait"), Some(serial), Some(client), None) => {
                self.doors.relay.inherit_waiting(&name, serial, client);
                self.doors.guests.insert(name);
            }
            (Some(name), Some("pair"), Some(serial), Some(client), Some(backend)) => {
                self.doors.relay.inherit_pair(&name, serial, client, backend, note);
                self.doors.guests.insert(name);
            }
            // It was lost on the way, or is of a newer version.
            _ => self.drop_held(key.to_owned()),
        }
    }

    /// All proxies are known: what is left of others is nobody's.
    pub(super) fn let_go_of_the_rest(&mut self) {
        for (proxy, sockets) in std::mem::take(&mut self.doors.left) {
            listen::remove_files(sockets.iter().map(|(at, _)| at.as_str()));
            self.drop_held(key_of(&proxy));
        }
        for proxy in std::mem::take(&mut self.doors.guests) {
            if self.doors.relay.faces().get(proxy.as_str()).is_none() {
                self.doors.relay.withdraw(&proxy);
            }
        }
    }

    /// Everything is down: nobody is to find a way that leads nowhere.
    pub fn close_doors(&mut self) {
        let open: Vec<_> = self.doors.open.drain().map(|(proxy, _)| proxy).collect();
        open.iter().for_each(|it| self.doors.relay.withdraw(it));
    }

    /// Another brain takes over: it gets the clients that can be given to it.
    pub fn retire(&mut self) {
        for said in self.doors.relay.retire() {
            self.hear_relay(said, &mut Vec::new());
        }
        self.send_off();
    }

    fn hold_for_next(&mut self, key: String, note: String, Held(fds): Held) {
        if self.about.version < HOLDS {
            return;
        }
        let request = Request::Hold { key, note, count: fds.len() };
        if let Err(error) = self.keeper.send_with(&[request], fds) {
            complain(&format!("cannot give sockets to the keeper: {error}"));
        }
    }

    fn drop_held(&mut self, key: String) {
        if self.about.version >= HOLDS {
            self.ask(vec![Request::Drop { key }]);
        }
    }

    /// The keeper has heard everything so far.
    pub(super) fn tell_released(&mut self) {
        for key in std::mem::take(&mut self.doors.released) {
            self.doors.relay.released(&key);
        }
    }
}

/// Whether who accepts clients at a socket waits when there are none, which services are used to.
fn set_waiting(socket: &OwnedFd, waits: bool) {
    let flags = if waits { OFlag::empty() } else { OFlag::O_NONBLOCK };
    // Setting flags of an open description cannot fail.
    let _ = fcntl(socket, FcntlArg::F_SETFL(flags));
}

fn key_of(proxy: &ServiceName) -> String {
    format!("{KEYS}{proxy}")
}

/// The addresses in a note, one for each descriptor.
fn addresses(note: &str) -> Vec<String> {
    serde_json::from_str(note).unwrap_or_default()
}

/// What each of a proxy's sockets is called: as its user says, and else as the proxy.
fn names(proxy: &Proxy, note: &str) -> Vec<String> {
    let place = |at: &String| proxy.xinit.listen.iter().position(|it| it.full() == *at);
    let said = |at: &String| proxy.xinit.fd_names.get(place(at)?).cloned();
    let name = |at| said(&at).unwrap_or_else(|| proxy.name.to_string());
    addresses(note).into_iter().map(name).collect()
}

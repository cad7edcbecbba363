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
use crate::relay::listen::{self, Opened};
use crate::relay::{Held, Relay, Said};
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
    /// Those of which what is left is kept.
    kept: BTreeSet<ServiceName>,
    open: HashMap<ServiceName, Open>,
    /// Sockets that a proxy had until now, each with its address.
    spare: Vec<(String, OwnedFd)>,
    /// Proxies that could not listen just now.
    again: Vec<Arc<Proxy>>,
    /// By proxy: a service that answers its clients itself, and what it is launched with, or why it cannot
    /// be.
    passed: HashMap<ServiceName, (ServiceName, Result<Sockets, String>)>,
    /// What the relay waits for: that the keeper has been told to close this.
    released: Vec<String>,
}

/// The sockets of a proxy, each with its address.
struct Open {
    addresses: Vec<String>,
    sockets: Arc<Vec<OwnedFd>>,
}

impl Doors {
    pub(super) fn new(relay: Relay) -> Self {
        Self {
            relay,
            left: HashMap::new(),
            guests: BTreeSet::new(),
            kept: BTreeSet::new(),
            open: HashMap::new(),
            spare: Vec::new(),
            again: Vec::new(),
            passed: HashMap::new(),
            released: Vec::new(),
        }
    }

    /// Whether somebody waits until the keeper has heard all.
    pub(super) fn is_in_a_hurry(&self) -> bool {
        !self.released.is_empty()
    }

    /// What a service is launched with; why it cannot be, as half a sentence.
    pub(super) fn sockets_of(&self, service: &ServiceName) -> Result<Option<Sockets>, String> {
        let of_service = self.passed.values().find(|(it, _)| it == service);
        of_service.map(|(_, passed)| passed.clone()).transpose()
    }
}

impl RealMachine {
    /// Clients come in by this proxy from now on, unless it is refused.
    pub(super) fn proxied(&mut self, proxy: Arc<Proxy>, refused: Option<Refusal>) {
        self.make_spare(&proxy.name);
        let opened = match refused {
            Some(refusal) => Opened::never(refusal),
            None => listen::open(&proxy, &mut self.doors.spare),
        };
        self.complain_of_trouble(&proxy, &opened);
        let waits = proxy.xinit.mode == Mode::Pass;
        opened.sockets.iter().for_each(|it| set_waiting(it, waits));
        self.doors.passed.remove(&proxy.name);
        if waits {
            let passed = self.passed(&proxy, &opened);
            self.doors.passed.insert(proxy.name.clone(), (proxy.service.clone(), passed));
        }
        let (key, sockets) = (key_of(&proxy.name), Arc::clone(&opened.sockets));
        match sockets.is_empty() {
            true => self.drop_held(key),
            false => self.hold_for_next(key, opened.note(), Held(Arc::clone(&sockets))),
        }
        let open = Open { addresses: opened.addresses.clone(), sockets };
        self.doors.open.insert(proxy.name.clone(), open);
        if opened.again {
            self.doors.again.push(Arc::clone(&proxy));
        }
        self.doors.relay.stand(proxy, opened);
    }

    /// Once is enough, as it is tried again and again.
    fn complain_of_trouble(&self, proxy: &Proxy, opened: &Opened) {
        let known = self.doors.relay.faces().get(proxy.name.as_str());
        let known = known.and_then(|it| it.trouble.clone());
        opened.trouble.iter().filter(|it| known.as_ref() != Some(it)).for_each(complain_of);
    }

    fn passed(&self, proxy: &Proxy, opened: &Opened) -> Result<Sockets, String> {
        if let Some(refusal) = &opened.trouble {
            return Err(format!("its sockets are not open: {refusal}"));
        }
        if self.about.version < HOLDS {
            let why =
                "the keeper is of an older version: `zinit server renew` begins its program anew";
            return Err(why.to_owned());
        }
        Ok(Sockets { key: key_of(&proxy.name), names: names(proxy, &opened.addresses) })
    }

    /// What a proxy has, or an earlier brain has left of it, is for whoever wants it next: addresses may
    /// go from one to another.
    fn make_spare(&mut self, proxy: &ServiceName) {
        self.doors.spare.extend(self.doors.left.remove(proxy).into_iter().flatten());
        if let Some(Open { addresses, sockets }) = self.doors.open.remove(proxy) {
            let copies = sockets.iter().map(OwnedFd::try_clone);
            let each = addresses.into_iter().zip(copies);
            self.doors.spare.extend(each.filter_map(|(at, it)| Some((at, it.ok()?))));
        }
    }

    /// Everything of this batch is decided: who could not listen tries it with what others have let go.
    pub(super) fn open_what_was_let_go(&mut self) {
        let again = std::mem::take(&mut self.doors.again);
        if !self.doors.spare.is_empty() {
            again.into_iter().for_each(|it| self.proxied(it, None));
            self.doors.again.clear();
            self.doors.spare.clear();
        }
    }

    /// Nobody comes in by this proxy any more.
    pub(super) fn unproxied(&mut self, proxy: &ServiceName) {
        self.make_spare(proxy);
        self.doors.passed.remove(proxy);
        self.doors.again.retain(|it| it.name != *proxy);
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
                self.doors.relay.inherit_pair(&name, serial, client, backend);
                self.doors.guests.insert(name);
            }
            // Of a newer version, or it was lost on the way: then the next brain gets it.
            (name, ..) if name.is_none() => self.drop_held(key.to_owned()),
            _ => complain(&format!("there is no room for what the keeper holds as `{key}`")),
        }
    }

    /// What is left of these proxies is kept though they are not known: what is wrong with their files may
    /// be mended.
    pub fn keep_doors(&mut self, has_file: impl Fn(&ServiceName) -> bool) {
        let left = self.doors.left.keys().chain(&self.doors.guests);
        self.doors.kept = left.filter(|it| has_file(it)).cloned().collect();
    }

    /// All proxies are known: what is left of others is nobody's.
    pub(super) fn let_go_of_the_rest(&mut self) {
        let kept = std::mem::take(&mut self.doors.kept);
        let gone = self.doors.left.extract_if(|it, _| !kept.contains(it));
        for (proxy, sockets) in gone.collect::<Vec<_>>() {
            listen::remove_files(sockets.iter().map(|(at, _)| at.as_str()));
            self.drop_held(key_of(&proxy));
        }
        for proxy in std::mem::take(&mut self.doors.guests) {
            if !kept.contains(&proxy) && self.doors.relay.faces().get(proxy.as_str()).is_none() {
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
fn names(proxy: &Proxy, addresses: &[String]) -> Vec<String> {
    let place = |at: &String| proxy.xinit.listen.iter().position(|it| it.full() == *at);
    let said = |at: &String| proxy.xinit.fd_names.get(place(at)?).cloned();
    addresses.iter().map(|at| said(at).unwrap_or_else(|| proxy.name.to_string())).collect()
}

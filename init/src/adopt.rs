//! How a keeper takes over from one before it: what was written down is compared with what lives.
//!
//! Nobody is taken for a service's process by its number or its looks: it is who was written down
//! ([`Who`]), or it says the mark of exactly this incarnation. Whoever cannot be told is left alone.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::GIVEN_UP;
use crate::held::{Given, Holding};
use crate::keep::Keep;
use crate::ledger::{Entry, Record, Reign, Stands, VERSION, world};
use crate::pool::{Key, Pool, reopen};
use crate::proc::{Says, environ_says, name_of};
use crate::reap::pidfd_of;
use crate::setup;
use crate::slot::{Emptying, Life, ReadyEnd, SlotId};
use crate::stream::{Input, Pipes};
use crate::who::{Who, end_of, has_ended};
use crate::wire::{Exit, NOTE_MAX, Request};

/// How many milliseconds a child that is between fork and exec is waited for.
const BEGINS_MS: u32 = 100;

/// What a keeper has left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Estate {
    pub(crate) reign: Reign,
    pub(crate) found: Vec<Found>,
    /// What was held, in the order in which it came.
    pub(crate) held: Vec<Holding>,
}

/// A slot, and the notes that go with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) note: Option<String>,
    pub(crate) config: String,
}

impl Estate {
    /// What is left in this file of somebody who kept here; why that cannot be told.
    pub(crate) fn of_file(path: &Path) -> Result<Option<Self>, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let estate = Self::read(&bytes)?;
        Ok((estate.reign.world == world()).then_some(estate))
    }

    /// Reads the lines of a ledger. What means nothing is not there, as a last line that is torn.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut lines = bytes.split(|it| *it == b'\n');
        let first = lines.next().unwrap_or_default();
        let Ok(Entry::Keeper(reign)) = serde_json::from_slice(first) else {
            return Err("it does not begin as a keeper's".to_owned());
        };
        if reign.version > VERSION {
            return Err("it is of a newer version".to_owned());
        }
        let mut slots: HashMap<String, Found> = HashMap::new();
        let mut order = Vec::new();
        let mut held: HashMap<String, (usize, Holding)> = HashMap::new();
        for (index, line) in lines.enumerate() {
            let mut of = |service: &str| {
                if !slots.contains_key(service) {
                    order.push(service.to_owned());
                    let record = Record { service: service.to_owned(), ..Record::default() };
                    slots.insert(service.to_owned(), Found { record, ..Found::default() });
                }
            };
            match serde_json::from_slice::<Entry>(line) {
                Ok(Entry::Slot(record)) => {
                    of(&record.service);
                    if let Some(it) = slots.get_mut(&record.service) {
                        it.record = *record;
                    }
                }
                Ok(Entry::Born { service, incarnation, pid }) => {
                    of(&service);
                    if let Some(it) = slots.get_mut(&service) {
                        it.record.is_born(incarnation, pid);
                    }
                }
                Ok(Entry::Forgotten { service }) => {
                    slots.remove(&service);
                }
                Ok(Entry::Held(it)) => {
                    held.insert(it.key.clone(), (index, it));
                }
                Ok(Entry::Dropped { key }) => {
                    held.remove(&key);
                }
                Ok(Entry::Keeper(_)) => {}
                Err(_) => {
                    let Ok(Request::Note { service, note, config }) = serde_json::from_slice(line)
                    else {
                        continue;
                    };
                    if note.len().max(config.as_ref().map_or(0, String::len)) > NOTE_MAX {
                        continue;
                    }
                    of(&service);
                    if let Some(it) = slots.get_mut(&service) {
                        it.note = Some(note);
                        it.config = config.unwrap_or(std::mem::take(&mut it.config));
                    }
                }
            }
        }
        let found = order.iter().filter_map(|it| slots.remove(it)).collect();
        let mut held: Vec<_> = held.into_values().collect();
        held.sort_unstable_by_key(|(index, _)| *index);
        Ok(Self { reign, found, held: held.into_iter().map(|(_, it)| it).collect() })
    }
}

impl Record {
    /// Its child says that it lives; often this is known already.
    fn is_born(&mut self, incarnation: u64, pid: i32) {
        let known = self.incarnation == incarnation && self.stands != Stands::Begins;
        if incarnation >= self.incarnation && !known {
            (self.incarnation, self.pid, self.who) = (incarnation, pid, None);
            self.stands = Stands::Up;
        }
    }
}

impl Keep {
    /// Takes over what another keeper has left, with the descriptors that are there; or what this
    /// process has left itself, `again`.
    pub(crate) fn adopt(&mut self, found: Vec<Found>, pool: &mut Pool, again: bool) {
        let mut inputs = Vec::new();
        for Found { record, note, config } in found {
            let Ok(id) = self.slots.obtain(&record.service) else { continue };
            let main = self.main_of(&record, pool);
            let pid = main.as_ref().map_or(0, |_| record.pid);
            let leaf = record
                .leaf
                .clone()
                .and_then(|limited| self.cgroups.as_ref()?.leaf_again(&record.service, limited));
            let Some(slot) = self.slots.get_mut(id) else { continue };
            (slot.incarnation, slot.pid, slot.killing) =
                (record.incarnation, record.pid, record.killing);
            slot.foreign = record.foreign || !again;
            slot.noted = note.is_some();
            slot.note = note.unwrap_or_default().into_boxed_str();
            slot.config = config.into_boxed_str();
            slot.writes_to = record.writes_to.clone();
            let given = |key: &str| Box::new(Given { key: key.into(), fds: None });
            slot.sockets = record.sockets.as_deref().map(given);
            slot.leaf = leaf;
            slot.pipes = pipes_again(&record, pid, pool);
            if record.ready != 0 && main.is_some() {
                let name = record.ready_name.as_deref();
                slot.ready = ReadyEnd::again(pool, record.ready, name, pid).map(Box::new);
            }
            if record.input != 0 {
                inputs.push((id, record.input));
            }
            self.stands_again(id, &record, main);
        }
        // Who writes to it may hold it as well as who reads it.
        for (id, inode) in inputs {
            let input = self.input_again(id, inode, pool);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.input = input.map(Box::new);
            }
        }
    }

    /// The main process of a slot, dead or alive, if it can be told.
    fn main_of(&self, record: &Record, pool: &mut Pool) -> Option<OwnedFd> {
        if record.stands != Stands::Up {
            return None;
        }
        match record.who {
            Some(who @ Who::Inode(number)) => {
                pool.take(Key::Process(number)).or_else(|| who.find(record.pid))
            }
            Some(who) => who.find(record.pid),
            None => self.marked(record),
        }
    }

    /// A process of that number which says that it is of this incarnation: nobody else can.
    fn marked(&self, record: &Record) -> Option<OwnedFd> {
        let pidfd = pidfd_of(record.pid).ok()?;
        let mark = self.kin.mark_of(&record.service, record.incarnation);
        // A program that is just being started says so in a moment.
        for _ in 0..1000 {
            match environ_says(record.pid, &mark) {
                Says::This(rest) => return rest.is_empty().then_some(pidfd),
                Says::Nothing => return None,
                Says::Later => std::thread::yield_now(),
            }
        }
        None
    }

    fn stands_again(&mut self, id: SlotId, record: &Record, main: Option<OwnedFd>) {
        match (record.stands.clone(), main) {
            (Stands::Down, _) => {}
            (Stands::Ended(exit), _) => {
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.life = Life::Ended(exit);
                }
            }
            (Stands::Emptying(exit), _) => self.is_left(id, exit),
            (Stands::Begins, _) => self.is_left(id, lost_launch()),
            (Stands::Up, None) => self.is_left(id, Exit::Unknown),
            (Stands::Up, Some(pidfd)) => self.lives_again(id, pidfd, record.started),
        }
    }

    fn lives_again(&mut self, id: SlotId, pidfd: OwnedFd, started: bool) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let pid = slot.pid;
        let started = started || begins_or_ends(&pidfd, pid);
        if slot.foreign && has_ended(&pidfd) {
            let exit = unless_lost(end_of(&pidfd, pid), started);
            return self.is_left(id, exit);
        }
        slot.who = Who::of(&pidfd, pid);
        slot.life = Life::Up { pidfd, started: true };
        if slot.foreign {
            self.watch_foreign(id);
        } else {
            self.slots.bind(pid, id);
        }
    }

    /// The main process is gone; whether others are left is still to be seen.
    fn is_left(&mut self, id: SlotId, exit: Exit) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.life = Life::Emptying(Box::new(Emptying { exit, left: Vec::new(), events: None }));
        self.empties(id);
    }

    fn input_again(&self, id: SlotId, inode: u64, pool: &mut Pool) -> Option<Input> {
        let held = pool.take(Key::Writes(inode)).or_else(|| pool.take(Key::Reads(inode)));
        let name = self.slots.get(id)?.name.clone();
        let near = self
            .slots
            .iter()
            .filter(|it| it.name == name || it.writes_to.as_deref() == Some(&*name));
        let mut living = near.filter(|it| it.leader().is_some());
        let end = held.or_else(|| living.find_map(|it| reopen(it.pid, inode, OFlag::O_RDWR)))?;
        Input::again(&end)
    }
}

/// Waits until a child of a dead keeper runs its program, which it does at once, or gives up; false if
/// it did that.
fn begins_or_ends(pidfd: &OwnedFd, pid: i32) -> bool {
    let mut looks = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    for _ in 0..BEGINS_MS {
        if name_of(pid).is_some_and(|it| it != setup::NAME) {
            return true;
        }
        if poll(&mut looks, PollTimeout::from(1_u8)).is_ok_and(|ready| ready > 0) {
            return false;
        }
    }
    true
}

/// The end of a process that never ran its program, since its keeper died meanwhile.
fn lost_launch() -> Exit {
    Exit::Launch { step: "its launch was lost".to_owned(), errno: 0 }
}

/// What an end means: a child gives up so when its keeper is gone before it runs its program.
fn unless_lost(exit: Exit, started: bool) -> Exit {
    if !started && exit == Exit::Code(GIVEN_UP) { lost_launch() } else { exit }
}

/// The pipes that a slot had: handed over, or opened where its process has them.
fn pipes_again(record: &Record, pid: i32, pool: &mut Pool) -> Option<Pipes> {
    let mut end = |inode: u64| {
        let held = pool.take(Key::Reads(inode));
        held.or_else(|| (pid != 0).then(|| reopen(pid, inode, OFlag::O_RDONLY))?)
    };
    (record.out != 0).then(|| Pipes::again([end(record.out)?, end(record.err)?]))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{born_line, line_of};

    fn record(service: &str, incarnation: u64, pid: i32, stands: Stands) -> Record {
        let service = service.to_owned();
        Record { service, incarnation, pid, stands, ..Record::default() }
    }

    fn file(lines: &[Vec<u8>]) -> Vec<u8> {
        let reign = Reign { version: VERSION, ..Reign::default() };
        let mut all = vec![line_of(&Entry::Keeper(reign))];
        all.extend_from_slice(lines);
        all.join(&b'\n')
    }

    fn slot(record: Record) -> Vec<u8> {
        line_of(&Entry::Slot(Box::new(record)))
    }

    fn born(service: &str, incarnation: u64, rest: &str) -> Vec<u8> {
        [&born_line(service, incarnation), rest.as_bytes()].concat()
    }

    #[test]
    fn the_last_line_about_a_thing_holds_and_a_torn_one_does_not() {
        let note = |service: &str, note: &str, config: Option<&str>| {
            let (service, note) = (service.to_owned(), note.to_owned());
            line_of(&Request::Note { service, note, config: config.map(str::to_owned) })
        };
        let bytes = file(&[
            note("web", "one", Some("exec: x")),
            slot(record("web", 1, 0, Stands::Begins)),
            born("web", 1, "        77}"),
            note("web", "two", None),
            slot(record("db", 4, 5, Stands::Up)),
            line_of(&Entry::Forgotten { service: "db".to_owned() }),
            b"{\"entry\":\"from the future\"}".to_vec(),
            note("web", "three", None)[..20].to_vec(),
        ]);
        let estate = Estate::read(&bytes).expect("a ledger");
        let [web] = &estate.found[..] else { panic!("{estate:?}") };
        assert_eq!(web.record, record("web", 1, 77, Stands::Up));
        assert_eq!((web.note.as_deref(), &*web.config), (Some("two"), "exec: x"));
    }

    #[test]
    fn what_is_held_at_last_is_known_in_the_order_in_which_it_came() {
        let held = |key: &str, inodes: &[u64]| Holding {
            key: key.to_owned(),
            note: "n".to_owned(),
            inodes: inodes.to_vec(),
        };
        let line = |it: Holding| line_of(&Entry::Held(it));
        let bytes = file(&[
            line(held("b", &[1, 2])),
            line(held("a", &[3])),
            line(held("gone", &[4])),
            line(held("b", &[5])),
            line_of(&Entry::Dropped { key: "gone".to_owned() }),
            line(held("torn", &[6]))[..20].to_vec(),
        ]);
        let estate = Estate::read(&bytes).expect("a ledger");
        assert_eq!(estate.held, [held("a", &[3]), held("b", &[5])]);
    }

    #[test]
    fn what_a_child_says_late_changes_nothing() {
        let ended = record("web", 2, 78, Stands::Ended(Exit::Code(1)));
        let bytes = file(&[slot(ended.clone()), born("web", 2, "78}"), born("web", 1, "77}")]);
        let estate = Estate::read(&bytes).expect("a ledger");
        assert_eq!(estate.found[0].record, ended);
    }

    #[test]
    fn what_cannot_be_understood_is_not_taken_for_nothing() {
        for bytes in
            [&b""[..], b"{}", b"nonsense\n", b"{\"entry\":\"forgotten\",\"service\":\"a\"}"]
        {
            assert!(Estate::read(bytes).is_err());
        }
        let newer = Reign { version: VERSION + 1, ..Reign::default() };
        let refused = Estate::read(&line_of(&Entry::Keeper(newer))).expect_err("it is newer");
        assert!(refused.contains("newer"));
    }
}

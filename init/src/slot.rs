//! The services, as far as the keeper knows them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::clone::Born;
use crate::foreign;
use crate::held::Given;
use crate::leaf::Leaf;
use crate::reap;
use crate::stream::{Input, Pipes};
use crate::who::Who;
use crate::wire::{self, Exit, Report};

/// The most services. A brain that asks for more is told so.
const SLOTS_MAX: usize = 16 * 1024;

/// The longest name of a service, in bytes.
const NAME_MAX: usize = 255;

/// Beside what is due: this brain has the descriptors.
const PIPES_TOLD: u8 = 64;
const READY_TOLD: u8 = 128;

/// Names a slot while it exists.
pub(crate) type SlotId = usize;

/// A service: its latest process, what that reads and writes, and what the brain wants remembered.
pub(crate) struct Slot {
    pub(crate) name: Rc<str>,
    pub(crate) incarnation: u64,
    /// The process id of the latest incarnation, alive or not; 0 when it never had one.
    pub(crate) pid: i32,
    pub(crate) life: Life,
    pub(crate) pipes: Option<Pipes>,
    /// What others write to it; a slot may be there for nothing else.
    pub(crate) input: Option<Box<Input>>,
    /// The service whose input its latest process writes to.
    pub(crate) writes_to: Option<Box<str>>,
    pub(crate) note: Box<str>,
    /// Something was to be remembered, be it empty.
    pub(crate) noted: bool,
    pub(crate) config: Box<str>,
    /// Where its processes are, once it was launched there.
    pub(crate) leaf: Option<Leaf>,
    /// A limit could not be set there, which was complained of.
    pub(crate) unlimited: bool,
    /// The latest incarnation is to be killed, to its last process.
    pub(crate) killing: bool,
    /// Where the latest incarnation says that it is ready.
    pub(crate) ready: Option<Box<ReadyEnd>>,
    /// The sockets that the latest incarnation was started with, or is to be.
    pub(crate) sockets: Option<Box<Given>>,
    /// Who its process is, so that nobody who has its number later is taken for it.
    pub(crate) who: Option<Who>,
    /// Its process is not our child: a keeper before this one made it, and somebody else reaps it.
    pub(crate) foreign: bool,
    /// The ledger does not have it as it is now.
    unwritten: bool,
    /// What this brain has not been told yet; a set of [`due`] bits.
    due: u8,
    /// Whether this brain has the reading ends.
    pipes_told: bool,
    ready_told: bool,
    queued: bool,
}

/// Where the latest incarnation is in its life.
pub(crate) enum Life {
    /// There is none, or its exit was acknowledged.
    Down,
    /// Waiting for a place to be forked in, with the place of its request among those that wait.
    Waiting(Range<u32>),
    /// It was forked, and is not reaped.
    Up { pidfd: OwnedFd, started: bool },
    /// The main process is reaped, and others live on.
    Emptying(Box<Emptying>),
    /// It is gone, and no brain has acknowledged that.
    Ended(Exit),
}

/// What is known while an incarnation outlives its main process.
pub(crate) struct Emptying {
    pub(crate) exit: Exit,
    /// Some of those that are left, as they are told.
    pub(crate) left: Vec<i32>,
    /// What changes when the last one leaves the cgroup.
    pub(crate) events: Option<File>,
}

/// Where an incarnation says that it is ready.
pub(crate) struct ReadyEnd {
    pub(crate) reader: OwnedFd,
    pub(crate) inode: u64,
    /// What its socket is called, if it is one.
    pub(crate) name: Option<Box<str>>,
}

/// What may be due to be told.
pub(crate) mod due {
    pub(crate) const LAUNCHED: u8 = 1;
    pub(crate) const STARTED: u8 = 2;
    pub(crate) const EXITED: u8 = 4;
    pub(crate) const DIED: u8 = 16;
    /// The whole slot, instead of all of these.
    pub(crate) const TABLE: u8 = 8;
}

impl Slot {
    fn new(name: Rc<str>) -> Self {
        Self {
            name,
            incarnation: 0,
            pid: 0,
            life: Life::Down,
            pipes: None,
            input: None,
            writes_to: None,
            note: Box::default(),
            noted: false,
            config: Box::default(),
            leaf: None,
            unlimited: false,
            killing: false,
            ready: None,
            sockets: None,
            who: None,
            foreign: false,
            unwritten: false,
            due: 0,
            pipes_told: false,
            ready_told: false,
            queued: false,
        }
    }

    /// A process has just been made for it.
    pub(crate) fn begins(&mut self, born: Born) {
        self.pid = born.pid;
        self.who = Who::of(&born.pidfd, born.pid);
        self.life = Life::Up { pidfd: born.pidfd, started: false };
        (self.killing, self.foreign, self.ready_told) = (false, false, false);
    }

    /// Nothing of the incarnation is left.
    pub(crate) fn ends(&mut self, exit: Exit) {
        (self.life, self.killing, self.ready) = (Life::Ended(exit), false, None);
        self.sockets = None;
    }

    /// Why nothing may be launched here now.
    pub(crate) fn refuses(&self, incarnation: u64) -> Option<&'static str> {
        match self.life {
            Life::Waiting(..) => Some("an earlier launch waits for its turn"),
            Life::Up { .. } => Some("a process of the service lives"),
            Life::Emptying(_) => Some("processes of the service are left"),
            Life::Ended(_) => Some("an exit of the service is not acknowledged"),
            Life::Down if incarnation <= self.incarnation => {
                Some("the incarnation is not a new one")
            }
            Life::Down => None,
        }
    }

    /// Whether a brain has asked for it by its name, and is to be told of it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.incarnation > 0 || self.noted
    }

    /// Whether processes of it may be alive.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.life, Life::Up { .. } | Life::Emptying(_))
    }

    /// The main process, while it is not reaped.
    pub(crate) fn leader(&self) -> Option<i32> {
        matches!(self.life, Life::Up { .. }).then_some(self.pid)
    }

    /// Signals the process group, if its leader is not reaped; false when only the leader was.
    pub(crate) fn signal_group(&self, signal: i32) -> bool {
        let Life::Up { pidfd, .. } = &self.life else { return false };
        let reached = match self.foreign {
            // Its number may be somebody else's by now.
            true => foreign::signal_group(pidfd.as_fd(), signal),
            false => reap::signal_group(self.pid, signal),
        };
        // Just born, it may not lead a group yet, and is alone.
        if !reached {
            reap::signal_one(pidfd.as_fd(), signal);
        }
        reached
    }

    /// What is still to be told, and whether the descriptors were, for the next program.
    pub(crate) fn telling(&self) -> u8 {
        let told = |it: bool, bit: u8| if it { bit } else { 0 };
        self.due | told(self.pipes_told, PIPES_TOLD) | told(self.ready_told, READY_TOLD)
    }

    fn sends_pidfd(&self, knows: bool) -> Option<BorrowedFd<'_>> {
        let Life::Up { pidfd, .. } = &self.life else { return None };
        (knows && self.due & (due::LAUNCHED | due::TABLE) != 0).then(|| pidfd.as_fd())
    }

    fn sends_pipes(&self) -> bool {
        self.pipes.is_some() && !self.pipes_told && self.due & (due::LAUNCHED | due::TABLE) != 0
    }

    fn sends_ready(&self) -> bool {
        self.ready.is_some() && !self.ready_told && self.due & (due::LAUNCHED | due::TABLE) != 0
    }

    /// Appends what is due, and the descriptors that go with it.
    pub(crate) fn tell<'a>(
        &'a self,
        pidfds: bool,
        out: &mut Vec<Report>,
        fds: &mut Vec<BorrowedFd<'a>>,
    ) {
        let pipes = self.sends_pipes();
        if let (true, Some(both)) = (pipes, &self.pipes) {
            fds.extend([both.out.0.as_fd(), both.err.0.as_fd()]);
        }
        let ready = self.sends_ready();
        fds.extend(self.ready.iter().filter(|_| ready).map(|it| it.reader.as_fd()));
        fds.extend(self.sends_pidfd(pidfds));
        let pidfd = self.sends_pidfd(pidfds).is_some();
        let (service, incarnation) = (self.name.to_string(), self.incarnation);
        if self.due & due::TABLE != 0 {
            out.push(Report::Slot(self.as_told(pipes, ready, pidfd)));
            return;
        }
        if self.due & due::LAUNCHED != 0 {
            let service = service.clone();
            out.push(Report::Launched { service, incarnation, pid: self.pid, pipes, ready, pidfd });
        }
        if self.due & due::STARTED != 0 {
            out.push(Report::Started { service: service.clone(), incarnation });
        }
        if let (true, Life::Emptying(it)) = (self.due & due::DIED != 0, &self.life) {
            let (service, exit, left) = (service.clone(), it.exit.clone(), it.left.clone());
            out.push(Report::Died { service, incarnation, exit, left });
        }
        if let (true, Life::Ended(exit)) = (self.due & due::EXITED != 0, &self.life) {
            out.push(Report::Exited { service, incarnation, exit: exit.clone() });
        }
    }

    fn as_told(&self, pipes: bool, ready: bool, pidfd: bool) -> wire::Slot {
        let (pid, started) = match &self.life {
            Life::Up { started, .. } => (self.pid, *started),
            Life::Emptying(_) => (self.pid, true),
            Life::Down | Life::Waiting(..) | Life::Ended(_) => (0, false),
        };
        let (died, exit) = match &self.life {
            Life::Emptying(it) => (Some(it.exit.clone()), None),
            Life::Ended(exit) => (None, Some(exit.clone())),
            Life::Down | Life::Waiting(..) | Life::Up { .. } => (None, None),
        };
        wire::Slot {
            service: self.name.to_string(),
            incarnation: self.incarnation,
            pid,
            started,
            died,
            exit,
            note: self.note.to_string(),
            config: self.config.to_string(),
            pipes,
            ready,
            pidfd,
        }
    }
}

/// All slots, found by id, by name and by process id.
#[derive(Default)]
pub(crate) struct Slots {
    all: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    names: HashMap<Rc<str>, SlotId>,
    pids: HashMap<i32, SlotId>,
    /// Slots with something due, in the order in which it came up; each is here at most once.
    told_next: VecDeque<SlotId>,
    /// Whether this brain knows what to do with what names processes.
    pub(crate) knows_pidfds: bool,
    /// Slots that the ledger does not have as they are now, if there is a ledger.
    unwritten: Option<Vec<SlotId>>,
}

impl Slots {
    pub(crate) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.all.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.all.get_mut(id)?.as_mut()
    }

    pub(crate) fn find(&self, name: &str) -> Option<SlotId> {
        self.names.get(name).copied()
    }

    /// The slot of that name, made when there is none; half a sentence when there cannot be one.
    pub(crate) fn obtain(&mut self, name: &str) -> Result<SlotId, &'static str> {
        if let Some(id) = self.find(name) {
            return Ok(id);
        }
        if name.is_empty() || name.len() > NAME_MAX {
            return Err("a service's name has 1 to 255 bytes");
        }
        if self.names.len() >= SLOTS_MAX {
            return Err("the keeper holds as many services as it can");
        }
        let name: Rc<str> = name.into();
        let slot = Some(Slot::new(Rc::clone(&name)));
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id] = slot;
                id
            }
            None => {
                self.all.push(slot);
                self.all.len() - 1
            }
        };
        self.names.insert(name, id);
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let slot = self.all.get_mut(id).and_then(Option::take)?;
        self.names.remove(&slot.name);
        self.free.push(id);
        if slot.queued {
            self.told_next.retain(|it| *it != id);
        }
        Some(slot)
    }

    /// How many are due as a table.
    pub(crate) fn table_len(&self) -> usize {
        self.due().filter(|it| it.due & due::TABLE != 0).count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.all.iter().flatten()
    }

    /// The slots in which processes may be alive.
    pub(crate) fn living(&self) -> Vec<SlotId> {
        let lives = |id: &SlotId| self.get(*id).is_some_and(Slot::lives);
        (0..self.all.len()).filter(lives).collect()
    }

    /// Remembers whose process this is.
    pub(crate) fn bind(&mut self, pid: i32, id: SlotId) {
        self.pids.insert(pid, id);
    }

    /// Whose process this was.
    pub(crate) fn unbind(&mut self, pid: i32) -> Option<SlotId> {
        self.pids.remove(&pid)
    }

    pub(crate) fn of_pid(&self, pid: i32) -> Option<SlotId> {
        self.pids.get(&pid).copied()
    }

    /// From now on, who changes is remembered for the ledger.
    pub(crate) fn keep_track(&mut self) {
        self.unwritten = Some(Vec::new());
        self.all.iter_mut().flatten().for_each(|it| it.unwritten = false);
    }

    /// A slot has changed in what the ledger is to have of it.
    pub(crate) fn touch(&mut self, id: SlotId) {
        if let (Some(list), Some(Some(slot))) = (&mut self.unwritten, self.all.get_mut(id))
            && !std::mem::replace(&mut slot.unwritten, true)
        {
            list.push(id);
        }
    }

    /// The slots that are to be written down.
    pub(crate) fn take_unwritten(&mut self) -> Vec<SlotId> {
        let mut list = self.unwritten.as_mut().map(std::mem::take).unwrap_or_default();
        list.retain(|id| {
            let slot = self.all.get_mut(*id).and_then(Option::as_mut);
            slot.is_some_and(|it| std::mem::take(&mut it.unwritten))
        });
        list
    }

    /// Makes something due to be told.
    pub(crate) fn mark(&mut self, id: SlotId, what: u8) {
        if what & (due::LAUNCHED | due::STARTED | due::DIED | due::EXITED) != 0 {
            self.touch(id);
        }
        let Some(slot) = self.all.get_mut(id).and_then(Option::as_mut) else { return };
        slot.due |= what;
        if !slot.queued {
            slot.queued = true;
            self.told_next.push_back(id);
        }
    }

    /// Takes back what is due of a slot whose story begins anew.
    pub(crate) fn unmark(&mut self, id: SlotId) {
        if let Some(slot) = self.get_mut(id) {
            slot.due &= due::TABLE;
        }
    }

    /// A new brain knows nothing: everything is due, as a table.
    pub(crate) fn mark_all(&mut self) {
        self.told_next.clear();
        for (id, slot) in self.all.iter_mut().enumerate() {
            let Some(slot) = slot else { continue };
            (slot.due, slot.queued) = (0, false);
            (slot.pipes_told, slot.ready_told) = (false, false);
            if !slot.is_asked_for() {
                continue;
            }
            (slot.due, slot.queued) = (due::TABLE, true);
            self.told_next.push_back(id);
        }
    }

    /// The slots with something due, the longest waiting first.
    pub(crate) fn due(&self) -> impl Iterator<Item = &Slot> {
        self.told_next.iter().filter_map(|id| self.get(*id))
    }

    pub(crate) fn anything_due(&self) -> bool {
        !self.told_next.is_empty()
    }

    /// Goes on telling where the program before has stopped.
    pub(crate) fn go_on_telling(&mut self, name: &str, telling: u8) {
        let Some(id) = self.find(name) else { return };
        if let Some(slot) = self.get_mut(id) {
            slot.pipes_told = telling & PIPES_TOLD != 0;
            slot.ready_told = telling & READY_TOLD != 0;
        }
        let due = telling & !(PIPES_TOLD | READY_TOLD);
        if due != 0 {
            self.mark(id, due);
        }
    }

    /// The first `count` of [`due`](Self::due) have been told.
    pub(crate) fn told(&mut self, count: usize) {
        for _ in 0..count {
            let Some(id) = self.told_next.pop_front() else { return };
            let Some(slot) = self.get_mut(id) else { continue };
            slot.pipes_told |= slot.sends_pipes();
            slot.ready_told |= slot.sends_ready();
            (slot.due, slot.queued) = (0, false);
        }
    }
}

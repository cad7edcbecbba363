//! What the brain is still to be told, and how that is put into packets.
//!
//! Reports are levels: what is due is a few bits in each slot, and a report is written only when there
//! is room in the socket. A brain that does not read costs the keeper nothing.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use nix::libc::{SIGINT, SIGTERM};
use nix::unistd::getpid;
use serde::{Deserialize, Serialize};

use crate::halt;
use crate::held::{self, Held};
use crate::slot::Slots;
use crate::wire::{PACKET_FDS_MAX, PACKET_MAX, Report, VERSION};

/// A packet is sent when it has grown to this size; one large report may make it larger.
const PACKET_AIM: usize = 32 * 1024;

/// Of the signals that ask for the end, so many mean something: the second, that it is urgent.
const ENDING_MAX: usize = 2;

/// The most refusals that wait to be told. A brain that causes more and reads none loses some.
const REFUSALS_MAX: usize = 256;

/// The reports that are due, except those that the slots remember themselves.
#[derive(Default)]
pub(crate) struct Reports {
    /// `Hello` is to be answered.
    pub(crate) welcome: bool,
    /// How many slots of the table are still to be told.
    pub(crate) table_left: usize,
    /// The keys of what is held that are to be told after it.
    untold: VecDeque<Rc<str>>,
    /// Whether this brain knows what to do with those.
    pub(crate) knows_held: bool,
    /// Where the services' cgroups are, and the controllers that those have.
    pub(crate) cgroups: (String, Vec<String>),
    /// Signals to pass on, each once, except those that ask for the end.
    signals: Vec<i32>,
    /// The signals that asked for the end, the first and the latest; each new brain is told again.
    ending: Vec<i32>,
    refusals: VecDeque<Report>,
}

/// What a packet told, to be crossed off when it was sent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    welcome: bool,
    signals: usize,
    refusals: usize,
    slots: usize,
    held: usize,
}

/// What goes through to the next program.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    welcome: bool,
    table_left: usize,
    untold: Vec<String>,
    knows_held: bool,
    signals: Vec<i32>,
    ending: Vec<i32>,
    refusals: VecDeque<Report>,
}

impl Reports {
    /// What the next program is to tell.
    pub(crate) fn pass_on(&self) -> Passed {
        Passed {
            welcome: self.welcome,
            table_left: self.table_left,
            untold: self.untold.iter().map(|it| it.to_string()).collect(),
            knows_held: self.knows_held,
            signals: self.signals.clone(),
            ending: self.ending.clone(),
            refusals: self.refusals.clone(),
        }
    }

    /// Goes on where the program before has stopped.
    pub(crate) fn go_on(&mut self, passed: Passed) {
        (self.welcome, self.table_left) = (passed.welcome, passed.table_left);
        self.untold = passed.untold.iter().map(|it| it.as_str().into()).collect();
        self.knows_held = passed.knows_held;
        (self.signals, self.ending) = (passed.signals, passed.ending);
        self.refusals = passed.refusals;
    }

    pub(crate) fn signalled(&mut self, signal: i32) {
        let ends = matches!(signal, SIGTERM | SIGINT);
        if ends {
            self.ending.truncate(ENDING_MAX - 1);
            self.ending.push(signal);
        }
        let most = if ends { ENDING_MAX } else { 1 };
        if self.signals.iter().filter(|it| **it == signal).count() < most {
            self.signals.push(signal);
        }
    }

    /// The latest signal that asked for the end, if one did.
    pub(crate) fn ending(&self) -> Option<i32> {
        self.ending.last().copied()
    }

    /// Drops a signal that has found its purpose without the brain.
    pub(crate) fn take_back(&mut self, signal: i32) {
        self.signals.retain(|it| *it != signal);
    }

    /// Queues a refusal; false when there are too many.
    pub(crate) fn refused(&mut self, service: &str, incarnation: u64, why: &str) -> bool {
        if self.refusals.len() >= REFUSALS_MAX {
            return false;
        }
        let (service, why) = (service.chars().take(64).collect(), why.to_owned());
        self.refusals.push_back(Report::Refused { service, incarnation, why });
        true
    }

    /// A brain has said `Hello`: it is due a welcome, and everything that is.
    pub(crate) fn greet(&mut self, slots: &mut Slots, held: &Held) {
        slots.mark_all();
        (self.welcome, self.table_left) = (true, slots.table_len());
        self.untold = if self.knows_held { held.keys().into() } else { VecDeque::new() };
        self.signals.retain(|it| !self.ending.contains(it));
        self.signals.extend(&self.ending);
    }

    /// The brain is gone: what was addressed to it alone is void.
    pub(crate) fn forget_brain(&mut self) {
        (self.welcome, self.table_left) = (false, 0);
        self.untold.clear();
        self.refusals.clear();
    }

    /// Whether the answer to `Hello` is not out yet.
    pub(crate) fn greeting(&self) -> bool {
        self.welcome || self.table_left > 0 || !self.untold.is_empty()
    }

    pub(crate) fn anything_due(&self, slots: &Slots) -> bool {
        self.greeting()
            || !self.signals.is_empty()
            || !self.refusals.is_empty()
            || slots.anything_due()
    }

    /// Writes as much as fits one packet.
    pub(crate) fn compose<'a>(
        &self,
        slots: &'a Slots,
        held: &'a Held,
        bytes: &mut Vec<u8>,
        fds: &mut Vec<BorrowedFd<'a>>,
    ) -> Told {
        bytes.clear();
        let mut told = Told::default();
        if self.welcome {
            let (version, keeper) = (VERSION, getpid().as_raw());
            told.welcome = append(
                bytes,
                &Report::Welcome {
                    version,
                    keeper,
                    slots: slots.table_len(),
                    held: self.untold.len(),
                    cgroup: self.cgroups.0.clone(),
                    controllers: self.cgroups.1.clone(),
                    machine: halt::is_machine(),
                },
            );
        }
        let told_all = self.table_left == 0 && self.untold.is_empty();
        let signals = self.signals.iter().filter(|_| told_all);
        told.signals =
            signals.take_while(|it| append(bytes, &Report::Signalled { signal: **it })).count();
        told.refusals = self.refusals.iter().take_while(|it| append(bytes, it)).count();
        // What is held comes between the table and what is new.
        let most = if self.untold.is_empty() { usize::MAX } else { self.table_left };
        told.slots = tell_slots(slots, most, bytes, fds);
        if told.slots >= self.table_left {
            told.held = self.tell_held(held, bytes, fds);
        }
        told
    }

    fn tell_held<'a>(
        &self,
        held: &'a Held,
        bytes: &mut Vec<u8>,
        fds: &mut Vec<BorrowedFd<'a>>,
    ) -> usize {
        let mut told = 0;
        for key in &self.untold {
            // It was counted, so it is told, with nothing, should it be gone.
            let (note, its) = held.get(key).unwrap_or_default();
            let (key, note, count) = (key.to_string(), note.to_owned(), its.len());
            let fits = fds.len() + count <= PACKET_FDS_MAX;
            if !fits || !append(bytes, &Report::Held { key, note, count }) {
                break;
            }
            fds.extend(held::borrowed(its));
            told += 1;
        }
        told
    }

    /// Nothing of what is due fits into a packet, which is a bug: the first of it is given up.
    pub(crate) fn give_up_first(&mut self, slots: &mut Slots) {
        let held = usize::from(self.table_left == 0 && !self.untold.is_empty());
        let slots_told = usize::from(held == 0 && slots.anything_due());
        self.sent(Told { slots: slots_told, held, ..Told::default() }, slots);
    }

    /// Crosses off what was sent.
    pub(crate) fn sent(&mut self, told: Told, slots: &mut Slots) {
        self.welcome &= !told.welcome;
        self.signals.drain(..told.signals);
        self.refusals.drain(..told.refusals);
        self.table_left = self.table_left.saturating_sub(told.slots);
        self.untold.drain(..told.held);
        slots.told(told.slots);
    }
}

/// Writes what is due of at most so many slots, and says of how many it did.
fn tell_slots<'a>(
    slots: &'a Slots,
    most: usize,
    bytes: &mut Vec<u8>,
    fds: &mut Vec<BorrowedFd<'a>>,
) -> usize {
    let mut told = 0;
    let mut reports = Vec::new();
    for slot in slots.due().take(most) {
        let (length, descriptors) = (bytes.len(), fds.len());
        slot.tell(slots.knows_pidfds, &mut reports, fds);
        let fits = fds.len() <= PACKET_FDS_MAX && reports.drain(..).all(|it| append(bytes, &it));
        if !fits {
            bytes.truncate(length);
            fds.truncate(descriptors);
            break;
        }
        told += 1;
    }
    told
}

/// Appends a report as a line, unless the packet is full.
fn append(bytes: &mut Vec<u8>, report: &Report) -> bool {
    if bytes.len() >= PACKET_AIM {
        return false;
    }
    let before = bytes.len();
    let written = serde_json::to_writer(&mut *bytes, report).is_ok();
    bytes.push(b'\n');
    // Only a first report can be larger than what is left: notes and names are bounded.
    if !written || bytes.len() > PACKET_MAX {
        bytes.truncate(before);
        return false;
    }
    true
}

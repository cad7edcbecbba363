//! What the brain asks, and how far the keeper goes along.

use std::os::fd::OwnedFd;
use std::vec::IntoIter;

use nix::libc;

use crate::clock;
use crate::command::Command;
use crate::keep::{Keep, QUIET};
use crate::slot::{Life, SlotId, due};
use crate::stream;
use crate::wire::{Exit, Launch, NOTE_MAX, Output, Request};

/// The most that launches which wait may take, in bytes of their requests.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The first version of a brain that knows of descriptors which name processes: it would take them for
/// others.
const PIDFDS: u32 = 5;

/// The first version of a brain that knows of what is held; likewise.
const HELD: u32 = 6;

/// Signals that do not end a process that has no handler for them.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

impl Keep {
    /// Handles a packet whole, with its descriptors. A line that means nothing does not spoil the others,
    /// except that nobody knows how many descriptors are its: all that are left are closed.
    pub(crate) fn hear_lines(&mut self, length: usize, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let inbox = std::mem::take(&mut self.inbox);
        for line in inbox[..length].split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(request) => self.hear_request(request, line, &mut fds),
                Err(error) => {
                    self.complaints.say(format_args!("the server sent a bad line: {error}"));
                    self.close_left(&mut fds);
                }
            }
        }
        self.inbox = inbox;
    }

    /// Closes descriptors of which it cannot be told any more whose they are.
    fn close_left(&mut self, fds: &mut IntoIter<OwnedFd>) {
        let left = fds.by_ref().map(drop).count();
        if left > 0 {
            self.complaints.say(format_args!("closed {left} descriptors that came behind that"));
        }
    }

    fn hear_request(&mut self, request: Request, line: &[u8], fds: &mut IntoIter<OwnedFd>) {
        if self.brain.has_said_farewell() {
            return;
        }
        match request {
            Request::Hello { version } => {
                self.brain.says_hello();
                self.slots.knows_pidfds = version >= PIDFDS;
                self.reports.knows_held = version >= HELD;
            }
            Request::Launch(launch) => self.accept(&launch, line),
            Request::Signal { service, incarnation, signal } => {
                self.signal(&service, incarnation, signal);
            }
            Request::Ack { service, incarnation } => self.acknowledge(&service, incarnation),
            Request::Note { service, note, config } => {
                if self.note(&service, note, config)
                    && let Some(ledger) = &mut self.ledger
                {
                    ledger.add(line);
                }
            }
            Request::Forget { service } => self.forget(&service),
            Request::Serving => {
                self.brain.serves();
                self.settled_at = Some(clock::now() + QUIET);
            }
            Request::Farewell { code, then } => self.brain.says_farewell(code, then),
            Request::Renew => self.ask_for_renewal(),
            Request::Hold { key, note, count } => self.hold(&key, &note, count, fds),
            Request::Drop { key } => self.drop_held(&key),
            // What is new may have descriptors as well.
            Request::Unknown => self.close_left(fds),
        }
    }

    /// Queues a launch, or says why not.
    fn accept(&mut self, launch: &Launch, line: &[u8]) {
        let accepted = Command::of(launch, &self.environ, &[]).and_then(|_| {
            if self.waiting_text.len() + line.len() > WAITING_BYTES_MAX {
                return Err("too many launches wait");
            }
            let given = self.held.give(launch)?;
            let id = self.slots.obtain(&launch.service)?;
            let slot = self.slots.get(id).ok_or("the slot is gone")?;
            slot.refuses(launch.incarnation).map_or(Ok(()), Err)?;
            if let Output::To(consumer) = &launch.output {
                if *consumer == launch.service {
                    return Err("its output cannot be its own input");
                }
                self.slots.obtain(consumer)?;
            }
            let slot = self.slots.get_mut(id).ok_or("the slot is gone")?;
            (slot.incarnation, slot.pid, slot.sockets) = (launch.incarnation, 0, given);
            let begin = self.waiting_text.len() as u32;
            slot.life = Life::Waiting(begin..begin + line.len() as u32);
            Ok(id)
        });
        match accepted {
            Ok(id) => {
                self.waiting_text.extend_from_slice(line);
                self.slots.unmark(id);
                self.waiting.push_back(id);
            }
            Err(why) => {
                if !self.reports.refused(&launch.service, launch.incarnation, why) {
                    self.complaints.say(format_args!("launches are refused faster than read"));
                }
            }
        }
    }

    /// Signals an incarnation, if one lives or waits.
    fn signal(&mut self, service: &str, incarnation: u64, signal: i32) {
        if !(1..=libc::SIGRTMAX()).contains(&signal) {
            return self.complaints.say(format_args!("there is no signal {signal}"));
        }
        let Some(id) = self.of(service, incarnation) else { return };
        let Some(slot) = self.slots.get(id) else { return };
        match &slot.life {
            Life::Up { .. } | Life::Emptying(_) => self.signal_all(id, signal),
            Life::Waiting(..) if !HARMLESS.contains(&signal) => {
                self.take_waiting(id);
                self.waiting.retain(|it| *it != id);
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.ends(Exit::Signal { signal, core: false });
                }
                self.slots.mark(id, due::EXITED);
            }
            Life::Waiting(..) | Life::Down | Life::Ended(_) => {}
        }
    }

    fn acknowledge(&mut self, service: &str, incarnation: u64) {
        let Some(id) = self.of(service, incarnation) else { return };
        if let Some(slot) = self.slots.get_mut(id)
            && matches!(slot.life, Life::Ended(_))
        {
            slot.life = Life::Down;
            self.slots.touch(id);
        }
    }

    /// Remembers a note; false when that cannot be.
    fn note(&mut self, service: &str, note: String, config: Option<String>) -> bool {
        let length = note.len().max(config.as_ref().map_or(0, String::len));
        if length > NOTE_MAX {
            self.complaints.say(format_args!("a note of {length} bytes is too long"));
            return false;
        }
        match self.slots.obtain(service) {
            Ok(id) => {
                if let Some(slot) = self.slots.get_mut(id) {
                    (slot.note, slot.noted) = (note.into_boxed_str(), true);
                    if let Some(config) = config {
                        slot.config = config.into_boxed_str();
                    }
                }
                true
            }
            Err(why) => {
                self.complaints.say(format_args!("a note is lost: {why}"));
                false
            }
        }
    }

    fn forget(&mut self, service: &str) {
        let Some(id) = self.slots.find(service) else { return };
        match self.slots.get(id) {
            Some(slot) if slot.lives() => {
                self.complaints.say(format_args!("cannot forget `{service}`, which lives"));
            }
            _ => {
                if self.take_waiting(id).is_some() {
                    self.waiting.retain(|it| *it != id);
                }
                // Its place may be another service's at once.
                self.others.retain(|(it, ..)| *it != id);
                let Some(mut slot) = self.slots.remove(id) else { return };
                if let Some(ledger) = &mut self.ledger {
                    ledger.forget(&slot.name);
                }
                if let Some(leaf) = slot.leaf.take() {
                    leaf.remove();
                }
                stream::outlive(&mut self.slots, slot);
            }
        }
    }

    /// The slot of a service, if this is its latest incarnation.
    fn of(&self, service: &str, incarnation: u64) -> Option<SlotId> {
        let id = self.slots.find(service)?;
        (self.slots.get(id)?.incarnation == incarnation).then_some(id)
    }
}

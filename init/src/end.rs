//! How an incarnation ends: with its last process, whoever that is.
//!
//! Of a slot with a cgroup the kernel says who is in it and when it is empty; the others' processes
//! are tracked ([`kin`](crate::kin)). Nobody is killed here who was not asked to be.

use std::rc::Rc;
use std::time::Duration;

use nix::libc;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::unistd::{Pid, getpgid};

use crate::clock;
use crate::keep::{Keep, LEAVES};
use crate::kin;
use crate::launch::Progress;
use crate::leaf::populated;
use crate::reap::{self, Dead};
use crate::slot::{Emptying, Life, SlotId, due};
use crate::who::has_ended;
use crate::wire::Exit;

/// Deaths that are taken before everything else has its turn again: when all are told to end, that
/// the rest is told comes first.
const DEATHS_PER_TURN: usize = 64;

/// How long the processes that have left the group of a main process wait for its signal. Most
/// services are gone by then, and to find out who is in a cgroup costs more than to signal a group:
/// the last of 1,000 services would wait for the looks at all others.
const OTHERS_AFTER: Duration = Duration::from_millis(5);

/// The most process ids that a report names.
const LEFT_MAX: usize = 16;

/// A process that is just being given its program says only then whose it is. So long after a look
/// there is another, and so many are the most.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
const LOOKS_MAX: u32 = 200;

/// Whose group a number was, of those who have just died.
pub(crate) type Leaders = Vec<(i32, Rc<str>)>;

impl Keep {
    /// Takes the deaths that there are, so many in a turn that the brain is heard between them, and
    /// then looks who is left of those that were not alone.
    pub(crate) fn bury_dead(&mut self) {
        let mut orphans = false;
        let mut left = DEATHS_PER_TURN;
        self.more_dead = false;
        while let Some(dead) = reap::next_dead() {
            if self.brain.is(dead.pid) {
                self.brain_died(dead);
            } else if let Some(id) = self.slots.of_pid(dead.pid) {
                self.service_died(id, dead);
            } else {
                reap::reap(dead.pid); // An orphan whose parents have left.
                self.kin.died(dead.pid);
                orphans = true;
            }
            left -= 1;
            if left == 0 {
                self.more_dead = true;
                break;
            }
        }
        let orphans = orphans && !self.emptying.is_empty();
        if orphans || !self.more_dead && !self.leaders.is_empty() {
            self.look_at_kin();
        }
        self.kin.forget_dead();
    }

    fn service_died(&mut self, id: SlotId, dead: Dead) {
        let place = self.tenants.iter().position(|it| *it == Some(id));
        let exit = match place.map_or(Progress::Gone, |it| self.launcher.last_word(it)) {
            Progress::Failed((step, errno)) => {
                let step = self.launcher.explain(place.unwrap_or_default(), step);
                Exit::Launch { step, errno }
            }
            Progress::Gone | Progress::Underway => dead.exit,
        };
        if let Some(place) = place {
            self.notice_outside(place);
            self.leave(place);
        }
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.life = Life::Emptying(Box::new(Emptying { exit, left: Vec::new(), events: None }));
        self.write_down_end(id);
        reap::reap(dead.pid);
        self.slots.unbind(dead.pid);
        self.empties(id);
    }

    /// The main process is gone: with the last of the others the incarnation is over.
    pub(crate) fn empties(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(id) else { return };
        let pid = slot.pid;
        if slot.leaf.is_none() || !self.watch_leaf(id) {
            self.track(id, pid);
        }
    }

    /// Leaves it to [`look_at_kin`](Self::look_at_kin) to find out whether anybody is left.
    fn track(&mut self, id: SlotId, pid: i32) {
        let Some(slot) = self.slots.get(id) else { return };
        if slot.foreign {
            // No child of ours tells that it is over: somebody has to look.
            self.look_again.get_or_insert_with(clock::now);
        } else {
            self.leaders.push((pid, Rc::clone(&slot.name)));
        }
        self.emptying.push(id);
    }

    /// Waits for a cgroup to be empty, if it is not; false when it cannot be waited for.
    fn watch_leaf(&mut self, id: SlotId) -> bool {
        let Some(slot) = self.slots.get_mut(id) else { return true };
        let (Some(leaf), Life::Emptying(it)) = (&slot.leaf, &mut slot.life) else { return true };
        let Ok(events) = leaf.events() else { return false };
        if populated(&events).unwrap_or_default() {
            let event = EpollEvent::new(EpollFlags::EPOLLPRI, LEAVES + id as u64);
            if self.epoll.add(&events, event).is_err() {
                return false;
            }
            it.events = Some(events);
            it.left = leaf.members();
            it.left.truncate(LEFT_MAX);
            if !it.left.is_empty() {
                self.slots.mark(id, due::DIED);
            }
        }
        // It may have become empty between the two looks.
        self.look_at_leaf(id);
        true
    }

    /// Looks whether the last process has left a cgroup.
    pub(crate) fn look_at_leaf(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(id) else { return };
        let Life::Emptying(it) = &slot.life else { return };
        if it.events.as_ref().is_none_or(|it| !populated(it).unwrap_or_default()) {
            return self.empty(id);
        }
        if let (true, Some(leaf)) = (slot.killing, &slot.leaf) {
            leaf.kill();
        }
    }

    /// Looks who is left of the slots without a cgroup.
    pub(crate) fn look_at_kin(&mut self) {
        let sure = self.look_for_orphans(self.looks >= LOOKS_MAX);
        for id in std::mem::take(&mut self.emptying) {
            let Some(slot) = self.slots.get_mut(id) else { continue };
            let Life::Emptying(it) = &mut slot.life else { continue };
            let orphans = self.kin.orphans(&slot.name);
            let marked = self.kin.marked(&slot.name);
            if sure && orphans.is_empty() && marked.is_empty() {
                self.empty(id);
                continue;
            }
            self.emptying.push(id);
            if it.left.is_empty() && !(orphans.is_empty() && marked.is_empty()) {
                let tree = self.kin.tree(orphans);
                it.left = tree.iter().chain(&marked).map(|it| it.pid).collect();
                it.left.truncate(LEFT_MAX);
                self.slots.mark(id, due::DIED);
            }
            if self.slots.get(id).is_some_and(|it| it.killing) {
                self.kill_kin(id);
            }
        }
        if sure {
            self.leaders.clear();
        }
        self.watch_strays();
        self.look_again = (!sure).then(|| clock::now() + LOOK);
        self.looks = if sure { 0 } else { self.looks + 1 };
    }

    fn look_for_orphans(&mut self, must: bool) -> bool {
        self.look_wide();
        let Self { kin, slots, brain, leaders, .. } = self;
        let died = |group| Some(Rc::clone(&leaders.iter().find(|(pid, _)| *pid == group)?.1));
        let led = |group| {
            let living = slots.of_pid(group).and_then(|it| slots.get(it));
            living.map(|it| Rc::clone(&it.name)).or_else(|| died(group))
        };
        kin.look(must, |pid| brain.is(pid) || slots.of_pid(pid).is_some(), led)
    }

    /// Looks for the processes of services that are not our children, and of which somebody wants to
    /// know now.
    fn look_wide(&mut self) {
        let Self { kin, slots, brain, wide, emptying, .. } = self;
        let foreign = |id: &SlotId| slots.get(*id).filter(|it| it.foreign && it.leaf.is_none());
        let wanted = emptying.iter().chain(wide.iter()).filter_map(foreign);
        let names: Vec<Rc<str>> = wanted.map(|it| Rc::clone(&it.name)).collect();
        if names.is_empty() && !kin.has_strays() {
            return;
        }
        let leaders: Vec<i32> = wide.iter().filter_map(|it| slots.get(*it)?.leader()).collect();
        let leads = |pid| brain.is(pid) || slots.of_pid(pid).is_some() || leaders.contains(&pid);
        kin.look_wide(&names, leads);
    }

    /// The last process of an incarnation is gone.
    fn empty(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let Life::Emptying(it) = std::mem::replace(&mut slot.life, Life::Down) else { return };
        if let Some(events) = &it.events {
            let _ = self.epoll.delete(events);
        }
        self.kin.forget(&slot.name);
        self.wide.retain(|it| *it != id);
        slot.ends(it.exit);
        self.slots.mark(id, due::EXITED);
    }

    /// Signals every process of an incarnation that lives: the main process and its group at once, and
    /// who has left that too; when it is SIGTERM a moment later, if anybody is left then.
    pub(crate) fn signal_all(&mut self, id: SlotId, signal: i32) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.killing |= signal == libc::SIGKILL;
        let Some(leaf) = &slot.leaf else { return self.signal_kin(id, signal) };
        if signal == libc::SIGKILL {
            leaf.kill();
            // One that joins by itself may not be in it yet.
            slot.signal_group(signal);
            return;
        }
        let Some(leader) = slot.leader() else { return leaf.signal(signal, |_| true) };
        if signal == libc::SIGTERM {
            if slot.signal_group(signal) {
                self.others.push((id, slot.incarnation));
                self.others_at.get_or_insert_with(|| clock::now() + OTHERS_AFTER);
            } else {
                leaf.signal(signal, |it| it != leader);
            }
            return;
        }
        // Whoever is born by the signal does not get it: who is there is asked first.
        let others: Vec<i32> =
            leaf.members().into_iter().filter(|it| !is_in_group(*it, leader)).collect();
        if !slot.signal_group(signal) {
            leaf.signal(signal, |it| it != leader);
        } else if !others.is_empty() {
            leaf.signal(signal, |it| others.contains(&it));
        }
    }

    /// Sends SIGTERM to those who are not in the group of the main process, which has it already.
    pub(crate) fn signal_others(&mut self) {
        self.others_at = None;
        for (id, incarnation) in std::mem::take(&mut self.others) {
            let slot = self.slots.get(id).filter(|it| it.incarnation == incarnation && it.lives());
            if let Some(slot) = slot
                && let Some(leaf) = &slot.leaf
            {
                leaf.signal(libc::SIGTERM, |it| !is_in_group(it, slot.pid));
            }
        }
    }

    fn signal_kin(&mut self, id: SlotId, signal: i32) {
        let foreign = self.slots.get(id).is_some_and(|it| it.foreign);
        if foreign && !self.wide.contains(&id) {
            self.wide.push(id);
        }
        if !self.kin.fresh || foreign {
            self.look_for_orphans(false);
        }
        let found = self.kin_of(id);
        let Some(slot) = self.slots.get(id) else { return };
        let leader = slot.leader();
        if let Some(pid) = leader {
            self.kin.remember(&slot.name, found.iter().filter(|it| it.pid != pid));
        }
        if signal == libc::SIGKILL {
            return self.kill_kin(id);
        }
        let grouped = slot.signal_group(signal);
        let in_group = |it: &kin::Process| {
            leader.is_some_and(|pid| it.pid == pid || grouped && it.group == pid)
        };
        found.iter().filter(|it| !in_group(it)).for_each(|it| it.signal(signal));
    }

    /// The processes of a slot without a cgroup.
    fn kin_of(&self, id: SlotId) -> Vec<kin::Process> {
        let Some(slot) = self.slots.get(id) else { return Vec::new() };
        let mut roots = self.kin.orphans(&slot.name);
        if !slot.foreign {
            roots.extend(slot.leader());
            return self.kin.tree(roots);
        }
        let mut found = self.kin.tree(roots);
        found.extend(self.kin.marked(&slot.name));
        if let Life::Up { pidfd, .. } = &slot.life {
            let below = kin::below(slot.pid);
            // What was found below its number was not if it is gone by now.
            found.extend(below.into_iter().filter(|_| !has_ended(pidfd)));
        }
        found
    }

    fn kill_kin(&mut self, id: SlotId) {
        kin::kill_all(|| {
            self.look_for_orphans(false);
            self.kin_of(id)
        });
        // Just born, the main process may not have been found.
        if let Some(slot) = self.slots.get(id) {
            slot.signal_group(libc::SIGKILL);
        }
    }

    /// Kills what is known to come from services that have no incarnation any more.
    pub(crate) fn kill_strays(&mut self) {
        self.kin.forget_strangers();
        kin::kill_all(|| {
            self.look_for_orphans(false);
            self.kin.tree(self.kin.owned())
        });
    }
}

/// Whether a process is this one, or in the group that it leads.
fn is_in_group(pid: i32, leader: i32) -> bool {
    let group = getpgid(Some(Pid::from_raw(pid))).map(Pid::as_raw);
    pid == leader || group == Ok(leader)
}

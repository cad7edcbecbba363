//! How a service's process begins: what its launch needs is made, and what cannot be is told.

use std::os::fd::AsFd;

use nix::libc;
use nix::unistd::{getegid, geteuid, getgroups};

use crate::child::Rights;
use crate::clock;
use crate::command::Command;
use crate::held;
use crate::keep::{Keep, QUIET};
use crate::launch::{Failure, Start, Streams};
use crate::ledger::born_line;
use crate::ready::Ends;
use crate::slot::{SlotId, due};
use crate::stream;
use crate::wire::{Exit, Identity, Launch};

impl Keep {
    /// Forks what waits, while there is room.
    pub(crate) fn launch_waiting(&mut self) {
        while let Some(place) = self.tenants.iter().position(Option::is_none)
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(line) = self.take_waiting(id) else { continue };
            if let Err((step, errno)) = self.launch(id, place, &line)
                && let Some(slot) = self.slots.get_mut(id)
            {
                slot.ends(Exit::Launch { step: step.to_owned(), errno });
                // It may have been the cgroup, if somebody has removed that; there is another next time.
                if let Some(leaf) = slot.leaf.take() {
                    leaf.remove();
                }
                self.slots.mark(id, due::EXITED);
            }
        }
        if self.waiting.is_empty() {
            self.waiting_text = Vec::new();
        }
    }

    fn launch(&mut self, id: SlotId, place: usize, line: &[u8]) -> Result<(), Failure> {
        // Neither can be: it was accepted by these same words.
        let invalid = ("request", libc::EINVAL);
        let launch: Launch = serde_json::from_slice(line).map_err(|_| invalid)?;
        let mut ends = Ends::new(launch.ready).map_err(|errno| ("ready", errno as i32))?;
        let mark = self.kin.mark_of(&launch.service, launch.incarnation);
        let mut more: Vec<String> = ends.variable.iter().cloned().chain([mark]).collect();
        let given = self.slots.get_mut(id).and_then(|it| it.sockets.as_mut());
        let sockets = given.and_then(|it| it.fds.take());
        if let (Some(asked), Some(fds)) = (&launch.sockets, &sockets) {
            more.extend(held::variables(&asked.names, fds.len()));
        }
        let command = Command::of(&launch, &self.environ, &more).map_err(|_| invalid)?;
        self.prepare_leaf(id, &launch);
        let streams = stream::of_launch(&mut self.slots, id, &launch)?;
        let streams = Streams::Given(streams.each_ref().map(|it| it.as_ref().map(AsFd::as_fd)));
        self.slots.get_mut(id).ok_or(invalid)?.ready = ends.reader.take().map(Box::new);
        self.write_down_launch(id);
        let (rights, ready) = (rights(&launch), ends.for_child());
        let sign = self.ledger.is_some().then(|| born_line(&launch.service, launch.incarnation));
        let slot = self.slots.get_mut(id).ok_or(invalid)?;
        let leaf = slot.leaf.as_ref().map(AsFd::as_fd);
        let start = Start { command, streams, rights, leaf, ready, sockets, sign };
        let born = self.launcher.launch(place, start)?;
        let pid = born.pid;
        slot.begins(born);
        self.tenants[place] = Some(id);
        self.slots.bind(pid, id);
        self.slots.mark(id, due::LAUNCHED);
        self.watch_launch(place);
        if let Some(at) = &mut self.settled_at {
            *at = clock::now() + QUIET;
        }
        Ok(())
    }

    /// Makes the slot's cgroup, unless it has one, and sets its limits. Where there can be none, its
    /// processes are tracked.
    fn prepare_leaf(&mut self, id: SlotId, launch: &Launch) {
        let (Some(cgroups), Some(slot)) = (&self.cgroups, self.slots.get_mut(id)) else { return };
        // What a launch before had set would still hold.
        if let Some(old) = slot.leaf.take_if(|it| !it.suits(&launch.cgroup)) {
            old.remove();
        }
        if slot.leaf.is_none() {
            slot.leaf = cgroups.leaf(&launch.service).ok();
        }
        let Some(leaf) = &mut slot.leaf else { return };
        for (file, value) in &launch.cgroup {
            if let Err(error) = leaf.limit(file, value)
                && !std::mem::replace(&mut slot.unlimited, true)
            {
                let service = &launch.service;
                self.complaints.say(format_args!("cannot set `{file}` of `{service}`: {error}"));
            }
        }
    }

    /// A child that could not join its cgroup is tracked without.
    pub(crate) fn notice_outside(&mut self, place: usize) {
        if self.launcher.is_outside(place)
            && let Some(slot) = self.tenants.get(place).and_then(|id| self.slots.get_mut((*id)?))
            && let Some(leaf) = slot.leaf.take()
        {
            leaf.remove();
        }
    }
}

/// What a launch asks for. Who is to be who the keeper is, needs no right to become that.
fn rights(launch: &Launch) -> Rights {
    let identity = launch.identity.clone().filter(|it| !is_own(it));
    Rights {
        identity,
        umask: launch.umask,
        nice: launch.nice,
        oom_score_adj: launch.oom_score_adj.map(|it| it.to_string()),
        limits: launch.limits.iter().map(|it| (it.resource, [it.soft, it.hard])).collect(),
        no_new_privs: launch.no_new_privs,
    }
}

fn is_own(identity: &Identity) -> bool {
    let mut own: Vec<u32> = getgroups().into_iter().flatten().map(|it| it.as_raw()).collect();
    let mut groups = identity.groups.clone();
    own.sort_unstable();
    groups.sort_unstable();
    (geteuid().as_raw(), getegid().as_raw()) == (identity.uid, identity.gid) && own == groups
}

//! The loop: one thread that waits for signals, the brain, and launches under way.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signalfd::SignalFd;

use crate::brain::Brain;
use crate::clock;
use crate::command::{Command, Environ};
use crate::complain::Complaints;
use crate::launch::{Failure, Launcher, Progress, Streams};
use crate::reap::{self, Dead};
use crate::reports::Reports;
use crate::setup::{self, Setup};
use crate::slot::{Life, Pipes, SlotId, Slots, due};
use crate::wire::{Exit, Launch, Output, PACKET_MAX};

/// Launches between fork and exec at once, for each processor. Measured with 1,000 services on two
/// processors: half as many take 10% longer; many more cost processor time and win nothing.
const LAUNCHES_PER_CPU: usize = 8;

/// How long the rest of a group may take to die before its leader's exit is told all the same.
const EMPTYING_MAX: Duration = Duration::from_secs(2);

/// How often a group is looked at whose members are not all our children.
const EMPTYING_LOOK: Duration = Duration::from_millis(20);

/// How long after a failed send (no memory, too many descriptors in flight) the next is tried.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// What an event is about: these two, or the launch in place `token - PLACES`.
const SIGNALS: u64 = 0;
pub(crate) const BRAIN: u64 = 1;
pub(crate) const PLACES: u64 = 2;

/// Everything the keeper has.
pub(crate) struct Keep {
    pub(crate) epoll: Epoll,
    signals: SignalFd,
    pub(crate) environ: Environ,
    pub(crate) launcher: Launcher,
    /// Whose launch is in each place. The last place is the brain's.
    tenants: Vec<Option<SlotId>>,
    pub(crate) slots: Slots,
    /// Slots whose launch waits for a place, in order.
    pub(crate) waiting: VecDeque<SlotId>,
    /// The size of the requests of those.
    pub(crate) waiting_bytes: usize,
    /// Slots whose leader is reaped while others of the group still die.
    emptying: Vec<SlotId>,
    emptying_look: Instant,
    pub(crate) brain: Brain,
    pub(crate) reports: Reports,
    pub(crate) inbox: Box<[u8]>,
    pub(crate) outbox: Vec<u8>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) complaints: Complaints,
}

impl Keep {
    pub(crate) fn new(setup: Setup, brain: Brain) -> nix::Result<Self> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let places = cpus.min(64) * LAUNCHES_PER_CPU;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&setup.signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        Ok(Self {
            epoll,
            signals: setup.signals,
            environ: Environ::own(),
            launcher: Launcher::new(places + 1, setup.nofile)?,
            tenants: vec![None; places],
            slots: Slots::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            emptying: Vec::new(),
            emptying_look: clock::now(),
            brain,
            reports: Reports::default(),
            inbox: vec![0; PACKET_MAX].into_boxed_slice(),
            outbox: Vec::new(),
            retry_at: None,
            complaints: Complaints::default(),
        })
    }

    /// Keeps, until the brain says farewell or cannot be started at all.
    pub(crate) fn run(mut self) -> i32 {
        self.start_brain();
        let mut events = [EpollEvent::empty(); 32];
        loop {
            if let Some(code) = self.finished() {
                return code;
            }
            let count = match self.epoll.wait(&mut events, self.patience()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => {
                    self.complaints.say(format_args!("cannot wait for events: {errno}"));
                    return 1;
                }
            };
            for event in events.iter().take(count) {
                match event.data() {
                    SIGNALS => self.hear_signals(),
                    BRAIN => self.hear_brain(),
                    token => self.hear_launch((token - PLACES) as usize),
                }
            }
            self.look_at_clock();
            self.launch_waiting();
            self.tell_brain();
        }
    }

    /// Every death is taken before anything else is launched.
    fn hear_signals(&mut self) {
        let mut children = false;
        while let Ok(Some(info)) = self.signals.read_signal() {
            match info.ssi_signo as i32 {
                libc::SIGCHLD => children = true,
                signal => self.pass_on(signal),
            }
        }
        if !children {
            return;
        }
        while let Some(dead) = reap::next_dead() {
            if self.brain.is(dead.pid) {
                self.brain_died(dead);
            } else if let Some(id) = self.slots.of_pid(dead.pid) {
                self.service_died(id, dead);
            } else {
                reap::reap(dead.pid); // An orphan whose parents have left.
            }
        }
        self.look_at_emptying();
    }

    /// Forks what waits, while there is room.
    fn launch_waiting(&mut self) {
        while let Some(place) = self.tenants.iter().position(Option::is_none)
            && let Some(id) = self.waiting.pop_front()
        {
            self.launch(id, place);
        }
    }

    fn launch(&mut self, id: SlotId, place: usize) {
        let Some(line) = self.take_waiting(id) else { return };
        let parsed = serde_json::from_slice(&line).ok();
        let Some((command, output)) =
            parsed.and_then(|it: Launch| Some((Command::of(&it, &self.environ).ok()?, it.output)))
        else {
            // Cannot be: it was accepted by these same words.
            return self.launch_failed(id, ("request", libc::EINVAL));
        };
        let Some(slot) = self.slots.get_mut(id) else { return };
        if output == Output::Pipes && slot.pipes.is_none() {
            match Pipes::new() {
                Ok(pipes) => slot.pipes = Some(pipes),
                Err(errno) => return self.launch_failed(id, ("pipe", errno as i32)),
            }
        }
        let streams = match (&slot.pipes, output) {
            (Some(it), Output::Pipes) => Streams::Into(it.out.1.as_fd(), it.err.1.as_fd()),
            _ => Streams::Null,
        };
        match self.launcher.launch(place, command, streams) {
            Err(failure) => self.launch_failed(id, failure),
            Ok(born) => {
                slot.pid = born.pid;
                slot.life = Life::Up { pidfd: born.pidfd, started: false };
                self.tenants[place] = Some(id);
                self.slots.bind(born.pid, id);
                self.slots.mark(id, due::LAUNCHED);
                self.watch_launch(place);
            }
        }
    }

    /// Takes the request of a slot that waits, which is then down.
    pub(crate) fn take_waiting(&mut self, id: SlotId) -> Option<Box<[u8]>> {
        let slot = self.slots.get_mut(id)?;
        match std::mem::replace(&mut slot.life, Life::Down) {
            Life::Waiting(line) => {
                self.waiting_bytes -= line.len();
                Some(line)
            }
            other => {
                slot.life = other;
                None
            }
        }
    }

    fn launch_failed(&mut self, id: SlotId, (step, errno): Failure) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.life = Life::Ended(Exit::Launch { step: step.to_owned(), errno });
        self.slots.mark(id, due::EXITED);
    }

    /// The place of the brain's own launches.
    pub(crate) fn brain_place(&self) -> usize {
        self.tenants.len()
    }

    pub(crate) fn watch_launch(&mut self, place: usize) {
        let Some(reader) = self.launcher.reader(place) else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, PLACES + place as u64);
        // Without it the place is free again when the process ends.
        let _ = self.epoll.add(reader, event);
    }

    pub(crate) fn unwatch_launch(&mut self, place: usize) {
        if let Some(reader) = self.launcher.reader(place) {
            let _ = self.epoll.delete(reader);
        }
    }

    fn hear_launch(&mut self, place: usize) {
        match self.launcher.progress(place) {
            Progress::Underway => {}
            // What went wrong is told with the exit, which follows at once.
            Progress::Failed(_) => self.unwatch_launch(place),
            Progress::Gone => {
                let tenant = self.leave(place);
                let Some((id, slot)) = tenant.and_then(|id| Some((id, self.slots.get_mut(id)?)))
                else {
                    return;
                };
                if let Life::Up { started, .. } = &mut slot.life {
                    *started = true;
                    self.slots.mark(id, due::STARTED);
                }
            }
        }
    }

    /// Makes a place free for the next launch.
    pub(crate) fn leave(&mut self, place: usize) -> Option<SlotId> {
        self.unwatch_launch(place);
        self.launcher.clear(place);
        self.tenants.get_mut(place).and_then(Option::take)
    }

    fn service_died(&mut self, id: SlotId, dead: Dead) {
        let place = self.tenants.iter().position(|it| *it == Some(id));
        let word = place.map_or(Progress::Gone, |it| self.launcher.last_word(it));
        place.map(|it| self.leave(it));
        // The zombie still holds the number of its group, so this hits nobody else.
        reap::signal_group(dead.pid, libc::SIGKILL);
        reap::reap(dead.pid);
        self.slots.unbind(dead.pid);
        let exit = match word {
            Progress::Failed((step, errno)) => Exit::Launch { step: step.to_owned(), errno },
            Progress::Gone | Progress::Underway => dead.exit,
        };
        let Some(slot) = self.slots.get_mut(id) else { return };
        if reap::group_lives(dead.pid) {
            slot.life = Life::Emptying { exit, until: clock::now() + EMPTYING_MAX };
            self.emptying.push(id);
            self.emptying_look = clock::now() + EMPTYING_LOOK;
        } else {
            slot.life = Life::Ended(exit);
            self.slots.mark(id, due::EXITED);
        }
    }

    /// Tells of the exits whose group has died out, or had its time.
    fn look_at_emptying(&mut self) {
        if self.emptying.is_empty() {
            return;
        }
        let now = clock::now();
        self.emptying_look = now + EMPTYING_LOOK;
        let slots = &mut self.slots;
        self.emptying.retain(|id| {
            let Some(slot) = slots.get_mut(*id) else { return false };
            let Life::Emptying { exit, until } = &slot.life else { return false };
            if now < *until && reap::group_lives(slot.pid) {
                return true;
            }
            slot.life = Life::Ended(exit.clone());
            slots.mark(*id, due::EXITED);
            false
        });
    }

    /// How long to wait for events: for ever, unless something is to be done at a time.
    fn patience(&self) -> EpollTimeout {
        let look = (!self.emptying.is_empty()).then_some(self.emptying_look);
        let alarms = self.brain.alarms().into_iter().chain([look, self.retry_at]);
        let Some(next) = alarms.flatten().min() else { return EpollTimeout::NONE };
        let left = next.saturating_duration_since(clock::now()) + Duration::from_millis(1);
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    }

    fn look_at_clock(&mut self) {
        if !self.emptying.is_empty() && self.emptying_look <= clock::now() {
            self.look_at_emptying();
        }
        if self.retry_at.is_some_and(|it| it <= clock::now()) {
            self.retry_at = None;
        }
        self.look_at_brain();
    }
}

/// Makes this process a keeper, and keeps.
pub(crate) fn run(brain: Brain) -> i32 {
    let kept = setup::become_keeper().and_then(|setup| Keep::new(setup, brain));
    match kept {
        Ok(keep) => keep.run(),
        Err(errno) => {
            Complaints::default().say(format_args!("cannot begin: {errno}"));
            1
        }
    }
}

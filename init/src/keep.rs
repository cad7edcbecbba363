//! The loop: one thread that waits for signals, the brain, and launches under way.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signalfd::SignalFd;
use nix::unistd::getpid;

use crate::adopt::Estate;
use crate::brain::Brain;
use crate::cgroup::Cgroups;
use crate::clock;
use crate::command::Environ;
use crate::complain::Complaints;
use crate::end::{LOOK, Leaders};
use crate::foreign::Zombie;
use crate::halt;
use crate::held::Held;
use crate::kin::Kin;
use crate::launch::{Launcher, Progress, places};
use crate::ledger::Ledger;
use crate::renew::{self, Legacy};
use crate::reports::Reports;
use crate::setup::{self, Setup};
use crate::slot::{Life, Slot, SlotId, Slots, due};
use crate::thrift;
use crate::wire::PACKET_MAX;

/// How long after a failed send (no memory, too many descriptors in flight) the next is tried.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// When nothing is launched for so long after a brain has begun to serve, the start is over.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

/// What an event is about: these two, the launch in place `token - PLACES`, the cgroup of the slot
/// `token - LEAVES`, the main process of the slot `token - FOREIGN`, which is not our child, or others
/// that are not.
const SIGNALS: u64 = 0;
pub(crate) const BRAIN: u64 = 1;
pub(crate) const PLACES: u64 = 2;
pub(crate) const LEAVES: u64 = 1 << 32;
pub(crate) const FOREIGN: u64 = 1 << 33;
pub(crate) const STRAYS: u64 = 1 << 34;

/// Everything the keeper has.
pub(crate) struct Keep {
    pub(crate) epoll: Epoll,
    signals: SignalFd,
    pub(crate) environ: Environ,
    pub(crate) launcher: Launcher,
    /// Whose launch is in each place. The last place is the brain's.
    pub(crate) tenants: Vec<Option<SlotId>>,
    pub(crate) slots: Slots,
    /// What brains have given to hold.
    pub(crate) held: Held,
    /// Slots whose launch waits for a place, in order.
    pub(crate) waiting: VecDeque<SlotId>,
    /// The requests of those as they came, in one piece: between what lasts, a thousand small ones would
    /// leave holes in the heap for ever.
    pub(crate) waiting_text: Vec<u8>,
    /// Where services have cgroups of their own, if they can.
    pub(crate) cgroups: Option<Cgroups>,
    /// Whose a process is that has no cgroup.
    pub(crate) kin: Kin,
    /// Slots whose processes are not our children and were signalled: who else is theirs is looked for
    /// among all processes.
    pub(crate) wide: Vec<SlotId>,
    /// Slots without a cgroup whose main process is reaped while others live on.
    pub(crate) emptying: Vec<SlotId>,
    /// The main processes among those that have just died.
    pub(crate) leaders: Leaders,
    /// The incarnations whose groups have SIGTERM, and when all others of them get it.
    pub(crate) others: Vec<(SlotId, u64)>,
    pub(crate) others_at: Option<Instant>,
    /// When the memory that only the start needed is given back.
    pub(crate) settled_at: Option<Instant>,
    /// More have died than were taken in this turn.
    pub(crate) more_dead: bool,
    /// When it is looked again whose an orphan is that had no environment at the last look, and the
    /// count of those looks.
    pub(crate) look_again: Option<Instant>,
    pub(crate) looks: u32,
    /// Main processes that have ended and that somebody else has not reaped, and when it is looked again.
    pub(crate) zombies: Vec<Zombie>,
    pub(crate) zombies_at: Option<Instant>,
    /// Where it is written down what the next keeper takes over.
    pub(crate) ledger: Option<Ledger>,
    pub(crate) ledger_path: Option<PathBuf>,
    /// When it is tried again, as it could not be written.
    pub(crate) ledger_at: Option<Instant>,
    pub(crate) brain: Brain,
    pub(crate) reports: Reports,
    pub(crate) inbox: Box<[u8]>,
    pub(crate) outbox: Vec<u8>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) complaints: Complaints,
    /// The program that this is, in a file that may change.
    pub(crate) program: PathBuf,
    /// It is to begin anew, and is tried until then.
    pub(crate) renew_until: Option<Instant>,
    /// What whoever started the first program has left to us beside the standard streams.
    pub(crate) heirlooms: Vec<OwnedFd>,
}

impl Keep {
    pub(crate) fn new(setup: Setup, brain: Brain, legacy: &Legacy) -> nix::Result<Self> {
        let places = places();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&setup.signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        let estate = legacy.estate.as_ref();
        let enabled = legacy.passed.as_ref().map_or(Vec::new(), |it| it.enabled.clone());
        let cgroups = estate
            .and_then(|it| Cgroups::again(Path::new(&it.reign.cgroup), enabled))
            .or_else(Cgroups::new);
        let mut reports = Reports::default();
        if let Some(it) = &cgroups {
            reports.cgroups = (it.path().display().to_string(), it.controllers().to_vec());
        }
        Ok(Self {
            epoll,
            signals: setup.signals,
            environ: Environ::own(),
            launcher: Launcher::new(places + 1, setup.nofile)?,
            tenants: vec![None; places],
            slots: Slots::default(),
            held: Held::new(),
            waiting: VecDeque::new(),
            waiting_text: Vec::new(),
            cgroups,
            kin: estate.map_or_else(Kin::new, |it| Kin::after(&it.reign.mark)),
            wide: Vec::new(),
            emptying: Vec::new(),
            leaders: Leaders::new(),
            others: Vec::new(),
            others_at: None,
            settled_at: None,
            more_dead: false,
            look_again: None,
            looks: 0,
            zombies: Vec::new(),
            zombies_at: None,
            ledger: None,
            ledger_path: None,
            ledger_at: None,
            brain,
            reports,
            inbox: vec![0; PACKET_MAX].into_boxed_slice(),
            outbox: Vec::new(),
            retry_at: None,
            complaints: Complaints::default(),
            program: renew::own_program().unwrap_or_default(),
            renew_until: None,
            heirlooms: setup.heirlooms,
        })
    }

    /// Keeps, until the brain says farewell or cannot be started at all.
    pub(crate) fn run(mut self) -> i32 {
        let code = self.keep();
        if !self.slots.iter().any(Slot::lives) {
            self.end_ledger();
        }
        if let Some(cgroups) = self.cgroups.take() {
            cgroups.remove();
        }
        halt::follow(self.brain.then, &self.signals, &mut self.complaints);
        code
    }

    /// Goes on with what others have left, and writes down from now on what is to be left.
    fn take_over(&mut self, legacy: Legacy, ledger: Option<PathBuf>) {
        // Nobody waits for the first start of one that goes on for another.
        if legacy.is_heir() {
            self.brain.goes_on_serving();
        }
        let Legacy { estate, passed, mut pool, .. } = legacy;
        if let Some(passed) = &passed {
            self.kin.go_on(&passed.kin);
        }
        if let Some(estate) = estate {
            self.adopt(estate.found, &mut pool, passed.is_some());
            self.hold_again(&estate.held, &mut pool);
        }
        if let Some(passed) = passed {
            self.brain.go_on(passed.brain, &mut pool);
            self.listen_again();
            self.reports.go_on(passed.reports);
            self.slots.knows_pidfds = passed.knows_pidfds;
            for (name, telling) in passed.told {
                self.slots.go_on_telling(&name, telling);
            }
            self.settled_at = Some(clock::now() + QUIET);
        }
        // Somebody may have died while nobody listened.
        self.more_dead = true;
        self.ledger_path = ledger;
        self.begin_ledger();
    }

    fn keep(&mut self) -> i32 {
        if !self.kin.has_proc() {
            let why = "a process that leaves the group of its service is not found when that stops";
            self.complaints.say(format_args!("/proc is not that of our processes: {why}"));
        }
        if !self.brain.goes_on() {
            self.start_brain();
        }
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
            self.kin.fresh = false;
            for event in events.iter().take(count) {
                match event.data() {
                    SIGNALS => self.hear_signals(),
                    BRAIN => self.hear_brain(),
                    STRAYS => {
                        self.look_again = self.look_again.or_else(|| Some(clock::now() + LOOK))
                    }
                    token if token >= FOREIGN => self.hear_foreign((token - FOREIGN) as usize),
                    token if token >= LEAVES => self.look_at_leaf((token - LEAVES) as usize),
                    token => self.hear_launch((token - PLACES) as usize),
                }
            }
            if self.more_dead {
                self.bury_dead();
            }
            self.look_at_clock();
            self.keep_ledger();
            self.launch_waiting();
            self.keep_ledger();
            self.tell_brain();
            self.renew_if_quiet();
        }
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match info.ssi_signo as i32 {
                libc::SIGCHLD => self.more_dead = true,
                signal => self.pass_on(signal),
            }
        }
    }

    /// Takes the request of a slot that waits, which is then down.
    pub(crate) fn take_waiting(&mut self, id: SlotId) -> Option<Vec<u8>> {
        let slot = self.slots.get_mut(id)?;
        let Life::Waiting(place) = &slot.life else { return None };
        let line = self.waiting_text.get(place.start as usize..place.end as usize)?.to_vec();
        slot.life = Life::Down;
        Some(line)
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
                self.notice_outside(place);
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

    /// How long to wait for events: for ever, unless something is to be done at a time.
    fn patience(&self) -> EpollTimeout {
        if self.more_dead {
            return EpollTimeout::ZERO;
        }
        let own =
            [self.look_again, self.others_at, self.zombies_at, self.retry_at, self.settled_at]
                .into_iter()
                .chain([self.renew_until, self.ledger_at]);
        let alarms = self.brain.alarms().into_iter().chain(own);
        let Some(next) = alarms.flatten().min() else { return EpollTimeout::NONE };
        let left = next.saturating_duration_since(clock::now()) + Duration::from_millis(1);
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    }

    fn look_at_clock(&mut self) {
        if self.others_at.is_some_and(|it| it <= clock::now()) {
            self.signal_others();
        }
        if self.look_again.is_some_and(|it| it <= clock::now()) {
            self.look_at_kin();
        }
        if self.zombies_at.is_some_and(|it| it <= clock::now()) {
            self.look_at_zombies();
        }
        if self.settled_at.is_some_and(|it| it <= clock::now()) {
            self.settled_at = None;
            self.launcher.give_back();
            thrift::give_back();
        }
        if self.retry_at.is_some_and(|it| it <= clock::now()) {
            self.retry_at = None;
        }
        self.look_at_brain();
    }
}

/// Makes this process a keeper, and keeps.
pub(crate) fn run(brain: Brain, ledger: Option<PathBuf>) -> i32 {
    let mut legacy = Legacy::inherited();
    // Nothing outlives the first process of a namespace.
    let ledger = ledger.filter(|_| getpid().as_raw() != 1);
    if let (None, Some(path)) = (&legacy.estate, &ledger) {
        match Estate::of_file(path) {
            Ok(estate) => legacy.estate = estate,
            Err(why) => return refuse(path, &why),
        }
    }
    let kept = setup::become_keeper(&legacy).and_then(|setup| Keep::new(setup, brain, &legacy));
    match kept {
        Ok(mut keep) => {
            keep.take_over(legacy, ledger);
            keep.run()
        }
        Err(errno) => {
            let about = if fs::exists("/dev/null").unwrap_or(true) { "" } else { "/dev/null: " };
            let why = errno.desc();
            Complaints::default().say(format_args!("cannot begin: {about}{why}"));
            1
        }
    }
}

/// What cannot be read may tell of services that run, and a second copy of each is worse than none.
fn refuse(ledger: &Path, why: &str) -> i32 {
    let path = ledger.display();
    let mut complaints = Complaints::default();
    complaints.say(format_args!("cannot tell what runs already: `{path}`: {why}"));
    complaints.say(format_args!("if nothing does, remove that file"));
    1
}

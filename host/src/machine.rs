//! The real world: the keeper's socket, the clock, alarms, signals, and the clients' desk. Nothing
//! else reads a clock or asks for a process.

mod alarms;
mod doors;
pub mod ending;
mod greet;
mod launch;
mod output;
mod say;
mod status;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::signalfd::SignalFd;
use nix::time::ClockId;
use tokio::sync::Notify;
use zinit_keeper::thrift;
use zinit_keeper::wire::{Exit, Ready, Report, Request};

use alarms::Alarms;
use doors::Doors;
use output::Outputs;
pub use say::{complain, complain_of, say};
use tasks::Tasks;

use crate::board::Board;
use crate::chronicle::{Change, Chronicle};
use crate::clock::{self, milliseconds};
use crate::core::Effect;
use crate::desk::{Answer, Letter};
use crate::ending::Asker;
use crate::event::{Happening, Task, Tick, Wall};
use crate::journal::{self, Journal};
use crate::keeper::{Descriptors, KeeperLink};
use crate::logs::Logs;
use crate::name::ServiceName;
use crate::note::Note;
use crate::probe::{News, Prober};
use crate::relay::Relay;
use crate::state::Service;
use crate::supervise::{Machine, Wake};

/// Letters that are read before everything else has its turn again.
const LETTERS_MAX: usize = 256;

/// The slot whose note is the server's own; no service can have this name.
pub const SERVER_SLOT: &str = "@server";

/// When nothing happens for so long, the start is over.
const QUIET_MS: u8 = 100;

/// The machine that the server runs on.
pub struct RealMachine {
    keeper: KeeperLink,
    inbox: Receiver<Letter>,
    bell: Arc<EventFd>,
    signals: SignalFd,
    alarms: Alarms,
    board: Arc<Board>,
    chronicle: Arc<Chronicle>,
    journal: Journal,
    logs: Logs,
    prober: Prober,
    doors: Doors,
    news: Receiver<News>,
    /// What a step asks of the keeper; it is complete, and leaves, with the step's note.
    group: Vec<Request>,
    changed: BTreeMap<ServiceName, Rc<Service>>,
    forgotten: BTreeSet<ServiceName>,
    answers: Vec<(Letter, Answer)>,
    outputs: Outputs,
    tasks: Tasks,
    /// How the process of a service says that it is ready.
    ways: HashMap<ServiceName, Ready>,
    latest: HashMap<ServiceName, Latest>,
    /// What names the processes, for the keeper that this one becomes when its own is dead.
    pidfds: HashMap<ServiceName, OwnedFd>,
    /// What the keeper says of itself.
    about: About,
    /// What was warned of; once is enough.
    warned: BTreeSet<String>,
    /// Everything is brought down, by this brain or the next: of a service the keeper need remember
    /// no more than it does already, and its exit is told until the end.
    ending: bool,
    /// When a shutdown is to be over.
    deadline: Option<Tick>,
    /// Until the services are on the board for the first time.
    known: Option<Sender<()>>,
    /// What has happened before anybody waited for it.
    early: Vec<Wake>,
    /// The start is over: for a moment nothing has happened.
    settled: bool,
    /// Monotonic milliseconds to wall-clock milliseconds.
    epoch_ms: i64,
    /// Rings when the files are to be read again.
    hangup: Arc<Notify>,
}

/// What the machine is made of.
pub struct Parts {
    /// The way to the keeper.
    pub keeper: KeeperLink,
    /// Letters from clients.
    pub inbox: Receiver<Letter>,
    /// It rings when there are any.
    pub bell: Arc<EventFd>,
    /// Signals sent to the server itself.
    pub signals: SignalFd,
    /// Where statuses are shown.
    pub board: Arc<Board>,
    /// Where changes are written down.
    pub chronicle: Arc<Chronicle>,
    /// Where decisions are.
    pub journal: journal::Way,
    /// Where output goes.
    pub logs: Logs,
    /// Finds out how services are.
    pub prober: Prober,
    /// Passes clients on.
    pub relay: Relay,
    /// What both find.
    pub news: Receiver<News>,
    /// Told when the services are known and clients may be answered.
    pub known: Sender<()>,
    /// Rung when a signal asks that the files are read again.
    pub hangup: Arc<Notify>,
}

type Received = Vec<(Report, Descriptors)>;

/// A service as it stood last.
struct Latest {
    service: Rc<Service>,
    /// Whether the keeper has this configuration of it.
    told: bool,
}

/// What the keeper says of itself.
#[derive(Debug, Default)]
struct About {
    pid: i32,
    version: u32,
    /// Where the services have their cgroups, if they have any.
    cgroup: Option<PathBuf>,
    controllers: Vec<String>,
    /// Whether it is the first process of the machine.
    machine: bool,
}

impl RealMachine {
    /// A machine of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { keeper, inbox, bell, signals, board, chronicle, journal, .. } = parts;
        let Parts { logs, prober, relay, news, known, hangup, .. } = parts;
        Self {
            keeper,
            inbox,
            bell,
            signals,
            alarms: Alarms::default(),
            board,
            chronicle,
            journal: Journal::new(journal),
            logs,
            prober,
            doors: Doors::new(relay),
            news,
            group: Vec::new(),
            changed: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            answers: Vec::new(),
            outputs: Outputs::default(),
            tasks: Tasks::default(),
            ways: HashMap::new(),
            latest: HashMap::new(),
            pidfds: HashMap::new(),
            about: About::default(),
            warned: BTreeSet::new(),
            ending: false,
            deadline: None,
            known: Some(known),
            early: Vec::new(),
            settled: false,
            epoch_ms: milliseconds(ClockId::CLOCK_REALTIME)
                - milliseconds(ClockId::CLOCK_MONOTONIC),
            hangup,
        }
    }

    fn wait_for_keeper(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.keeper.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ask(&mut self, group: Vec<Request>) {
        if let Err(error) = self.keeper.send(&group) {
            complain(&format!("cannot ask the keeper: {error}"));
        }
    }

    fn send_off(&mut self) {
        if let Err(error) = self.keeper.flush() {
            complain(&format!("cannot reach the keeper: {error}"));
        }
        self.tell_released();
    }

    fn launch(&mut self, service: &Rc<Service>, incarnation: u64, input: bool) {
        let (name, spec) = (&service.name, &service.spec);
        self.set_log(name, spec);
        self.warn_of_unread_output(service);
        let prepared =
            self.refuse_shared_log(service).and_then(|()| self.doors.sockets_of(name)).and_then(
                |sockets| launch::of_service(service, incarnation, (input, sockets), &self.about),
            );
        match prepared {
            Ok(launch::Prepared { launch, warnings }) => {
                if launch.ready == Ready::Silent {
                    self.ways.remove(name);
                } else {
                    self.ways.insert(name.clone(), launch.ready);
                }
                self.launching(name, incarnation, &spec.readiness);
                self.group.push(Request::Launch(Box::new(launch)));
                warnings.into_iter().for_each(|it| self.warn(it));
            }
            Err(why) => {
                let exit = Exit::Launch { step: why, errno: 0 };
                let what = Happening::Exited { incarnation, exit };
                self.early.push(Wake::Happened(name.clone(), what));
            }
        }
    }

    fn warn(&mut self, sentence: String) {
        if self.warned.insert(sentence.clone()) {
            complain(&sentence);
        }
    }

    /// The end of a step: what it asks of the keeper leaves together with the note of it.
    fn remember(&mut self, service: Rc<Service>) {
        let told = self.is_told(&service);
        if !self.ending {
            let note = Note::of(&service);
            let config = (!told).then(|| Note::config_of(&service));
            self.group.push(Request::Note { service: service.name.to_string(), note, config });
        }
        let group = std::mem::take(&mut self.group);
        self.ask(group);
        self.will_show(service, told || !self.ending);
    }

    fn forget(&mut self, name: ServiceName) {
        self.group.push(Request::Forget { service: name.to_string() });
        let group = std::mem::take(&mut self.group);
        self.ask(group);
        self.forget_log(&name);
        self.prober.forget(&name);
        let kill = self.tasks.kill(&name, Task::GiveUp);
        self.ask(kill.into_iter().collect());
        self.ways.remove(&name);
        if let Some(it) = self.latest.remove(&name) {
            let change = Change::forgotten(it.service.standing.state.word().into(), name.clone());
            self.tell(change);
        }
        self.journal.forget(&name);
        self.changed.remove(&name);
        self.forgotten.insert(name);
    }

    fn read_keeper(&mut self, wakes: &mut Vec<Wake>) {
        let mut received = Received::new();
        let alive = self.keeper.receive(&mut received).unwrap_or(false);
        for (report, descriptors) in received {
            self.hear(report, descriptors, wakes);
        }
        if !alive {
            wakes.push(Wake::Orphaned);
        }
    }

    fn hear(&mut self, report: Report, descriptors: Descriptors, wakes: &mut Vec<Wake>) {
        let (service, what) = match report {
            Report::Launched { service, incarnation, pid, .. } => {
                self.attach(&service, incarnation, descriptors.pipes);
                self.listen(&service, incarnation, pid, descriptors.ready);
                self.hold(&service, descriptors.pidfd);
                (service, Happening::Launched { incarnation, pid })
            }
            Report::Started { service, incarnation } => {
                (service, Happening::Started { incarnation })
            }
            Report::Died { service, incarnation, exit, .. } => {
                (service, Happening::Died { incarnation, exit })
            }
            Report::Exited { service, incarnation, exit } => {
                (service, Happening::Exited { incarnation, exit })
            }
            Report::Refused { service, incarnation, why } => {
                let exit = Exit::Launch { step: why, errno: 0 };
                (service, Happening::Exited { incarnation, exit })
            }
            Report::Signalled { signal } => {
                return wakes.extend(self.meaning(signal, Asker::Keeper));
            }
            Report::Welcome { .. } | Report::Slot(_) | Report::Held { .. } | Report::Unknown => {
                return;
            }
        };
        match ServiceName::parse(&service) {
            Ok(name) if matches!(what, Happening::Exited { .. }) => {
                self.pidfds.remove(&name);
                // What it said before its end came before it.
                self.read_news(wakes);
                wakes.extend(self.settle(name, what));
            }
            Ok(name) => wakes.push(Wake::Happened(name, what)),
            Err(_) => self.hear_of_task(service, what, wakes),
        }
    }

    fn read_desk(&mut self, wakes: &mut Vec<Wake>) {
        let _ = self.bell.read();
        let letters: Vec<_> = self.inbox.try_iter().take(LETTERS_MAX).collect();
        if letters.len() == LETTERS_MAX {
            let _ = self.bell.write(1);
        }
        wakes.extend(letters.into_iter().map(Wake::Asked));
    }

    fn read_signals(&mut self, wakes: &mut Vec<Wake>) {
        while let Ok(Some(sent)) = self.signals.read_signal() {
            let number = i32::try_from(sent.ssi_signo).unwrap_or_default();
            wakes.extend(self.meaning(number, Asker::Signal));
        }
    }

    /// Shows what has changed, then answers those who asked for it.
    fn show(&mut self) {
        if !self.changed.is_empty() || !self.forgotten.is_empty() {
            self.epoch_ms = milliseconds(ClockId::CLOCK_REALTIME) - self.now().0;
            for service in std::mem::take(&mut self.changed).values() {
                self.board.post(self.status(service));
            }
            for name in std::mem::take(&mut self.forgotten) {
                self.board.remove(name.as_str());
            }
            self.board.announce();
            self.chronicle.announce();
        }
        for (letter, answer) in std::mem::take(&mut self.answers) {
            // Whoever asked may have gone.
            let _ = letter.answer.send(answer);
        }
    }
}

impl Machine for RealMachine {
    fn wait(&mut self) -> Vec<Wake> {
        if !self.early.is_empty() {
            return std::mem::take(&mut self.early);
        }
        loop {
            let mut timeout = self.alarms.timeout(self.now(), self.next_limit());
            let quiet = PollTimeout::from(QUIET_MS);
            if !self.settled && (timeout.is_none() || timeout > quiet) {
                timeout = quiet;
            }
            let mut fds = [
                PollFd::new(self.keeper.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let ready = match poll(&mut fds, timeout) {
                Ok(0) if !self.settled && timeout == quiet => {
                    thrift::give_back();
                    self.settled = true;
                    continue;
                }
                Ok(_) => fds.map(|it| it.any().unwrap_or(true)),
                Err(_) => [false; 3],
            };
            let mut wakes = Vec::new();
            if ready[0] {
                self.read_keeper(&mut wakes);
            }
            if ready[1] {
                self.read_desk(&mut wakes);
                self.read_news(&mut wakes);
            }
            if ready[2] {
                self.read_signals(&mut wakes);
            }
            let due = self.alarms.due(self.now());
            wakes.extend(due.into_iter().map(|it| Wake::Happened(it, Happening::Elapsed)));
            self.settle_late(&mut wakes);
            if self.deadline.is_some_and(|at| at <= self.now()) {
                self.deadline = None;
                wakes.push(Wake::Deadline);
            }
            if !wakes.is_empty() {
                return wakes;
            }
            // Something is asked of the keeper, and nothing is to be decided.
            let group = std::mem::take(&mut self.group);
            self.ask(group);
            if self.keeper.is_behind() {
                self.send_off();
            }
        }
    }

    fn now(&self) -> Tick {
        Tick(milliseconds(ClockId::CLOCK_MONOTONIC))
    }

    fn wall(&self) -> Wall {
        clock::wall()
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { service, incarnation, input } => {
                self.launch(&service, incarnation, input);
            }
            Effect::Check { service } => {
                let Service { name, spec, standing, .. } = &*service;
                self.prober.check(name, standing.incarnation, Arc::clone(&spec.health));
            }
            Effect::Run { service, task, line } => self.run_task(&service, task, &line),
            Effect::Measure { service } => {
                let leaf = self.board.leaf(service.name.as_str());
                self.prober.measure(&service, leaf);
            }
            Effect::FreePort { service, port, kill } => {
                self.prober.free_port(&service, port, kill);
            }
            Effect::Deadline(at) => self.deadline = Some(at),
            Effect::Signal { service, incarnation, signal } => {
                let service = service.to_string();
                self.group.push(Request::Signal { service, incarnation, signal: signal as i32 });
            }
            Effect::Acknowledge { service, incarnation } => {
                self.end_tasks(&service);
                if !self.ending {
                    self.group.push(Request::Ack { service: service.to_string(), incarnation });
                }
            }
            Effect::Arm { service, at } => self.alarms.set(service, at),
            Effect::Known(service) => {
                let told = self.is_told(&service);
                self.will_show(service, told);
            }
            Effect::Changed(service) => self.remember(service),
            Effect::Forgotten(name) => self.forget(name),
            Effect::Decided(it) => self.journal.decided(self.epoch_ms + it.now.0, &it),
            Effect::DecidedBy(sources) => self.journal.decided_by(self.wall_ms(), &sources),
            Effect::Faulted(service, fault) => self.note_fault(service.as_ref(), &fault),
            Effect::Complain(sentence) => complain(&sentence),
            Effect::Ending(ending) => self.remember_ending(&ending),
            Effect::Ended { code, then } => self.ask(vec![Request::Farewell { code, then }]),
            Effect::RenewKeeper => self.ask(vec![Request::Renew]),
            Effect::Proxied(proxy, refused) => self.proxied(proxy, refused),
            Effect::Unproxied(proxy) => self.unproxied(&proxy),
            Effect::Gate { service, gate } => self.doors.relay.gate(&service, gate),
            Effect::HandOver => {}
        }
    }

    fn answer(&mut self, letter: Letter, answer: Answer) {
        self.journal.asked(self.wall_ms(), &letter.command, &answer);
        self.answers.push((letter, answer));
    }

    fn flush(&mut self) {
        let rest = std::mem::take(&mut self.group);
        if !rest.is_empty() {
            self.ask(rest);
        }
        self.journal.flush().iter().for_each(|it| complain(it));
        // Before the keeper hears of a launch, the thread knows whose lines come next.
        self.logs.ring();
        self.send_off();
        self.show();
        if let Some(known) = self.known.take() {
            self.let_go_of_the_rest();
            self.ask(vec![Request::Serving]);
            self.send_off();
            // Whoever waits for it may have failed meanwhile, and says so itself.
            let _ = known.send(());
        }
    }
}

//! The real world: the keeper's socket, the clock, alarms, signals, and the clients' desk. Nothing
//! else reads a clock or asks for a process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::time::ClockId;
use zinit_keeper::thrift;
use zinit_keeper::wire::{Exit, Launch, NOTE_MAX, Output, PACKET_MAX, Report, Request, Slot};

use crate::board::{Board, Status};
use crate::clock::milliseconds;
use crate::core::Effect;
use crate::desk::{Answer, Letter};
use crate::draft::last_exit;
use crate::event::{Happening, Tick};
use crate::keeper::{Descriptors, Heeded, KeeperLink};
use crate::logs::Logs;
use crate::name::ServiceName;
use crate::note::Note;
use crate::spec::{LogMode, Spec};
use crate::state::Service;
use crate::supervise::{Machine, Wake};

/// Letters that are read before everything else has its turn again.
const LETTERS_MAX: usize = 256;

/// The largest launch that fits into a packet with all that belongs to it.
const LAUNCH_MAX: usize = PACKET_MAX - NOTE_MAX - 4096;

/// The slot whose note is the server's own; no service can have this name.
pub const SERVER_SLOT: &str = "@server";

/// What that note says when everything is to be brought down, whoever is the brain.
const ENDING: &str = "ending";

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
    logs: Logs,
    /// What a step asks of the keeper; it is complete, and leaves, with the step's note.
    group: Vec<Request>,
    changed: BTreeMap<ServiceName, Rc<Service>>,
    forgotten: BTreeSet<ServiceName>,
    answers: Vec<(Letter, Answer)>,
    modes: HashMap<ServiceName, LogMode>,
    /// Until the services are on the board for the first time.
    known: Option<Sender<()>>,
    /// What has happened before anybody waited for it.
    early: Vec<Wake>,
    /// The start is over: for a moment nothing has happened.
    settled: bool,
    /// Monotonic milliseconds to wall-clock milliseconds.
    epoch_ms: i64,
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
    /// Where output goes.
    pub logs: Logs,
    /// Told when the services are known and clients may be answered.
    pub known: Sender<()>,
}

type Received = Vec<Heeded>;

impl RealMachine {
    /// A machine of these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { keeper, inbox, bell, signals, board, logs, known } = parts;
        Self {
            keeper,
            inbox,
            bell,
            signals,
            alarms: Alarms::default(),
            board,
            logs,
            group: Vec::new(),
            changed: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            answers: Vec::new(),
            modes: HashMap::new(),
            known: Some(known),
            early: Vec::new(),
            settled: false,
            epoch_ms: 0,
        }
    }

    /// Greets the keeper and hears what it keeps for us. `modes` says where output goes.
    ///
    /// # Errors
    /// When the keeper does not answer.
    pub fn greet(&mut self, modes: HashMap<ServiceName, LogMode>) -> io::Result<Vec<Slot>> {
        self.modes = modes;
        self.keeper.send(&[Request::Hello { version: zinit_keeper::wire::VERSION }])?;
        self.keeper.flush()?;
        let mut expected = None;
        let mut slots = Vec::new();
        let mut early = Vec::new();
        while expected.is_none_or(|count| slots.len() < count) {
            self.wait_for_keeper()?;
            let mut received = Received::new();
            if !self.keeper.receive(&mut received)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for (report, fds) in received {
                match report {
                    Report::Welcome { slots, .. } => expected = Some(slots),
                    Report::Slot(slot) => {
                        self.attach(&slot.service, fds.pipes);
                        slots.push(slot);
                    }
                    // News that came behind the table, in the same breath.
                    news => self.hear(news, fds, &mut early),
                }
            }
        }
        if slots.iter().any(|it| it.service == SERVER_SLOT && it.note == ENDING) {
            early.push(Wake::Shutdown);
        }
        self.early = early;
        Ok(slots)
    }

    fn set_mode(&mut self, name: &ServiceName, mode: LogMode) {
        if self.modes.insert(name.clone(), mode) != Some(mode) {
            self.logs.set_mode(name.as_str(), mode);
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

    fn attach(&mut self, service: &str, pipes: Option<[OwnedFd; 2]>) {
        let (Ok(name), Some([stdout, stderr])) = (ServiceName::parse(service), pipes) else {
            return;
        };
        let mode = self.modes.get(&name).copied().unwrap_or_default();
        if let Err(error) = self.logs.attach(name, mode, stdout, stderr) {
            complain(&format!("cannot read the output of `{service}`: {error}"));
        }
    }

    fn send_off(&mut self) {
        if let Err(error) = self.keeper.flush() {
            complain(&format!("cannot reach the keeper: {error}"));
        }
    }

    fn launch(&mut self, service: &ServiceName, incarnation: u64, spec: &Spec) {
        self.set_mode(service, spec.log);
        let launch = Launch {
            service: service.to_string(),
            incarnation,
            argv: spec.argv(),
            env: spec.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            dir: spec.dir.clone(),
            output: if spec.log == LogMode::None { Output::Null } else { Output::Pipes },
            ..Launch::default()
        };
        let request = Request::Launch(Box::new(launch));
        let length = serde_json::to_vec(&request).map_or(usize::MAX, |it| it.len());
        if length <= LAUNCH_MAX {
            self.group.push(request);
            return;
        }
        let step = "its command line and environment are too large".to_owned();
        let exit = Exit::Launch { step, errno: nix::errno::Errno::E2BIG as i32 };
        let what = Happening::Exited { incarnation, exit };
        self.early.push(Wake::Happened(service.clone(), what));
    }

    /// The end of a step: what it asks of the keeper leaves together with the note of it.
    fn remember(&mut self, service: Rc<Service>) {
        let note = Note::of(&service);
        self.group.push(Request::Note { service: service.name.to_string(), note });
        let group = std::mem::take(&mut self.group);
        self.ask(group);
        self.will_show(service);
    }

    fn will_show(&mut self, service: Rc<Service>) {
        self.forgotten.remove(&service.name);
        self.changed.insert(service.name.clone(), service);
    }

    fn forget(&mut self, name: ServiceName) {
        self.group.push(Request::Forget { service: name.to_string() });
        let group = std::mem::take(&mut self.group);
        self.ask(group);
        self.logs.detach(name.as_str());
        self.modes.remove(&name);
        self.changed.remove(&name);
        self.forgotten.insert(name);
    }

    fn read_keeper(&mut self, wakes: &mut Vec<Wake>) {
        let mut received = Received::new();
        let alive = self.keeper.receive(&mut received).unwrap_or(false);
        for (report, fds) in received {
            self.hear(report, fds, wakes);
        }
        if !alive {
            wakes.push(Wake::Orphaned);
        }
    }

    fn hear(&mut self, report: Report, fds: Descriptors, wakes: &mut Vec<Wake>) {
        let (service, what) = match report {
            Report::Launched { service, incarnation, pid, .. } => {
                self.attach(&service, fds.pipes);
                (service, Happening::Launched { incarnation, pid })
            }
            Report::Started { service, incarnation } => {
                (service, Happening::Started { incarnation })
            }
            Report::Exited { service, incarnation, exit } => {
                (service, Happening::Exited { incarnation, exit })
            }
            Report::Refused { service, incarnation, why } => {
                let exit = Exit::Launch { step: why, errno: 0 };
                (service, Happening::Exited { incarnation, exit })
            }
            Report::Signalled { signal } => {
                return wakes.extend(Signal::try_from(signal).ok().and_then(meaning));
            }
            Report::Died { .. } | Report::Welcome { .. } | Report::Slot(_) | Report::Unknown => {
                return;
            }
        };
        if let Ok(name) = ServiceName::parse(&service) {
            wakes.push(Wake::Happened(name, what));
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
            wakes.extend(Signal::try_from(number).ok().and_then(meaning));
        }
    }

    fn status(&self, service: &Service) -> Status {
        let standing = &service.standing;
        Status {
            name: service.name.clone(),
            pid: standing.process.map_or(0, |it| it.pid),
            state: standing.state.word().into(),
            target: standing.target.word().into(),
            reason: Arc::clone(&standing.why),
            since_ms: self.epoch_ms + standing.since.0,
            restarts: standing.restarts,
            last_exit: last_exit(standing),
            oneshot: service.spec.oneshot,
            after: service.spec.after.clone(),
            requires: service.spec.requires.clone(),
            wants: service.spec.wants.clone(),
            groups: service.spec.groups.clone(),
            waits_for: Vec::new(),
            next_ms: 0,
            next: "".into(),
            health: "".into(),
            says: "".into(),
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
            let mut timeout = self.alarms.timeout(self.now());
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
            }
            if ready[2] {
                self.read_signals(&mut wakes);
            }
            let due = self.alarms.due(self.now());
            wakes.extend(due.into_iter().map(|it| Wake::Happened(it, Happening::Elapsed)));
            if !wakes.is_empty() {
                return wakes;
            }
        }
    }

    fn now(&self) -> Tick {
        Tick(milliseconds(ClockId::CLOCK_MONOTONIC))
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { service, incarnation, spec } => {
                self.launch(&service, incarnation, &spec);
            }
            Effect::Signal { service, incarnation, signal } => {
                let service = service.to_string();
                self.group.push(Request::Signal { service, incarnation, signal: signal as i32 });
            }
            Effect::Acknowledge { service, incarnation } => {
                self.group.push(Request::Ack { service: service.to_string(), incarnation });
            }
            Effect::Arm { service, at } => self.alarms.set(service, at),
            Effect::Known(service) => self.will_show(service),
            Effect::Changed(service) => self.remember(service),
            Effect::Forgotten(name) => self.forget(name),
            Effect::Complain(sentence) => complain(&sentence),
            Effect::Ending => self.ask(vec![Request::Note {
                service: SERVER_SLOT.to_owned(),
                note: ENDING.to_owned(),
            }]),
            Effect::Ended => self.ask(vec![Request::Farewell { code: 0 }]),
        }
    }

    fn answer(&mut self, letter: Letter, answer: Answer) {
        self.answers.push((letter, answer));
    }

    fn flush(&mut self) {
        let rest = std::mem::take(&mut self.group);
        if !rest.is_empty() {
            self.ask(rest);
        }
        self.send_off();
        self.show();
        if let Some(known) = self.known.take() {
            self.ask(vec![Request::Serving]);
            self.send_off();
            // Whoever waits for it may have failed meanwhile, and says so itself.
            let _ = known.send(());
        }
    }
}

/// What a signal to the server, or passed on by the keeper, asks for.
fn meaning(signal: Signal) -> Option<Wake> {
    match signal {
        Signal::SIGTERM | Signal::SIGINT => Some(Wake::Shutdown),
        Signal::SIGUSR1 => Some(Wake::HandOver),
        _ => None,
    }
}

/// Says on stderr what somebody should read. Supervision goes on when nobody can: the terminal is
/// gone, the disk is full, or the reader of a pipe is asleep.
pub fn complain(sentence: &str) {
    say(io::stderr(), &format!("zinit-server: {sentence}\n"));
}

/// Writes a text if that is possible now.
pub fn say(mut to: impl io::Write + AsFd, text: &str) {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO) == Ok(1) {
        // What cannot be said is not said.
        let _ = to.write_all(text.as_bytes());
    }
}

/// At most one alarm per service, the next one first.
#[derive(Debug, Default)]
struct Alarms {
    by_time: BTreeSet<(Tick, ServiceName)>,
    by_name: HashMap<ServiceName, Tick>,
}

impl Alarms {
    fn set(&mut self, name: ServiceName, at: Option<Tick>) {
        if let Some(old) = self.by_name.remove(&name) {
            self.by_time.remove(&(old, name.clone()));
        }
        if let Some(at) = at {
            self.by_name.insert(name.clone(), at);
            self.by_time.insert((at, name));
        }
    }

    /// Takes out what is due.
    fn due(&mut self, now: Tick) -> Vec<ServiceName> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.by_time.pop_first().expect("there is a first one");
            self.by_name.remove(&name);
            due.push(name);
        }
        due
    }

    fn timeout(&self, now: Tick) -> PollTimeout {
        match self.by_time.first() {
            None => PollTimeout::NONE,
            Some((at, _)) => {
                let wait = (at.0 - now.0).clamp(0, i64::from(i32::MAX));
                PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
            }
        }
    }
}

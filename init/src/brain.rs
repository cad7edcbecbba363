//! The brain's process and the socket to it.

mod passed;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::signal::Signal;

use crate::child::Rights;
use crate::clock;
use crate::command::Command;
use crate::keep::{BRAIN, Keep, RETRY};
use crate::launch::{Progress, Start, Streams};
use crate::packet::{self, Heard};
use crate::reap::{self, Dead};
use crate::reports::Told;
use crate::slot::Slot;
use crate::thrift;
use crate::wire::{Exit, SOCKET_ENV, Then};

pub(crate) use passed::Passed;

/// A brain that lived longer than this after its `Hello` is started again at once.
const STABLE: Duration = Duration::from_secs(1);

/// The wait before another start is doubled from the first to the second of these, and is the first
/// again after a brain that got as far as serving.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A brain that closed its socket, or said farewell, gets this long to end.
const HUNG_UP_GRACE: Duration = Duration::from_secs(1);
const FAREWELL_GRACE: Duration = Duration::from_secs(10);

/// So many brains in a row may end without having served before a keeper that is asked to end does
/// that without one; and what the services get to end by themselves then.
const FUTILE_MAX: u32 = 3;
const ALONE_GRACE: Duration = Duration::from_secs(5);

/// What is left of the services after a farewell gets this long to die.
const LEFTOVERS_GRACE: Duration = Duration::from_secs(2);

/// So many packets are read before other events get their turn.
const PACKETS_PER_TURN: usize = 64;

/// So many packets of a dead brain are read: more than its socket holds, unless somebody else, who
/// has inherited it, keeps sending.
const LAST_PACKETS_MAX: usize = 4096;

/// The brain: how it is started, what runs now, and what it has said about itself.
pub(crate) struct Brain {
    program: PathBuf,
    args: Vec<OsString>,
    ready: Option<OwnedFd>,
    pid: Option<i32>,
    link: Option<Link>,
    served: bool,
    /// The latest one served.
    served_last: bool,
    /// It lived long enough to be started again at once.
    stable: bool,
    /// It will end of its own accord, to be started again.
    renewing: bool,
    /// So many have ended in a row without having served, or failed when they were told to end.
    futile: u32,
    backoff: Duration,
    start_at: Option<Instant>,
    kill_at: Option<Instant>,
    farewell: Option<i32>,
    /// What is asked for after it.
    pub(crate) then: Then,
    /// When what is left of the services is killed, as there is no brain to do that.
    kill_left_at: Option<Instant>,
    leave_at: Option<Instant>,
    /// The keeper's exit status, when the very first start failed.
    stillborn: Option<i32>,
}

struct Link {
    socket: OwnedFd,
    /// When it said `Hello`; nothing is told before.
    hello: Option<Instant>,
    /// `Hello` waits until nothing is between request and fork, so that the table is whole.
    unanswered: bool,
    /// The last packet found no room.
    full: bool,
    interest: EpollFlags,
}

impl Brain {
    pub(crate) fn new(program: PathBuf, args: Vec<OsString>, ready: Option<OwnedFd>) -> Self {
        Self {
            program,
            args,
            ready,
            pid: None,
            link: None,
            served: false,
            served_last: false,
            stable: false,
            renewing: false,
            futile: 0,
            backoff: BACKOFF.0,
            start_at: None,
            kill_at: None,
            farewell: None,
            then: Then::Exit,
            kill_left_at: None,
            leave_at: None,
            stillborn: None,
        }
    }

    pub(crate) fn is(&self, pid: i32) -> bool {
        self.pid == Some(pid)
    }

    pub(crate) fn has_said_farewell(&self) -> bool {
        self.farewell.is_some()
    }

    pub(crate) fn alarms(&self) -> [Option<Instant>; 4] {
        [self.start_at, self.kill_at, self.kill_left_at, self.leave_at]
    }

    pub(crate) fn says_hello(&mut self) {
        if let Some(link) = &mut self.link {
            link.hello.get_or_insert_with(clock::now);
            link.unanswered = true;
        }
    }

    pub(crate) fn serves(&mut self) {
        if !self.served {
            thrift::give_back();
        }
        (self.served, self.served_last) = (true, true);
        if let Some(ready) = self.ready.take() {
            let _ = nix::unistd::write(&ready, b"\n");
        }
    }

    pub(crate) fn says_farewell(&mut self, code: i32, then: Then) {
        (self.farewell, self.then) = (Some(code), then);
        self.kill_at = Some(clock::now() + FAREWELL_GRACE);
    }
}

impl Keep {
    /// Hears the brain that the program before has started.
    pub(crate) fn listen_again(&mut self) {
        let Some(link) = &self.brain.link else { return };
        if let Err(errno) = self.epoll.add(&link.socket, EpollEvent::new(link.interest, BRAIN)) {
            self.complaints.say(format_args!("cannot listen to the brain: {errno}"));
        }
    }

    pub(crate) fn start_brain(&mut self) {
        self.brain.start_at = None;
        self.reports.take_back(libc::SIGUSR1);
        if let Err((step, errno)) = self.try_start_brain() {
            let exit = Exit::Launch { step: step.to_owned(), errno };
            self.after_brain(exit);
        }
    }

    fn try_start_brain(&mut self) -> Result<(), (&'static str, i32)> {
        let place = self.brain_place();
        let (ours, theirs) = packet::pair()
            .map_err(|error| ("socketpair", error.raw_os_error().unwrap_or_default()))?;
        let variable = (SOCKET_ENV, self.launcher.kept(place));
        let brain = &self.brain;
        let command =
            Command::brain(brain.program.as_os_str(), &brain.args, variable, &self.environ)
                .map_err(|_| ("exec", libc::EINVAL))?;
        let streams = Streams::Own(theirs.as_fd());
        let start = Start {
            command,
            streams,
            rights: Rights::default(),
            leaf: None,
            ready: None,
            sockets: None,
            sign: None,
        };
        let born = self.launcher.launch(place, start)?;
        self.watch_launch(place);
        self.brain.pid = Some(born.pid);
        let interest = EpollFlags::EPOLLIN;
        if let Err(errno) = self.epoll.add(&ours, EpollEvent::new(interest, BRAIN)) {
            self.complaints.say(format_args!("cannot listen to the brain: {errno}"));
            reap::signal_one(born.pidfd.as_fd(), libc::SIGKILL);
        }
        let (hello, unanswered, full) = (None, false, false);
        self.brain.link = Some(Link { socket: ours, hello, unanswered, full, interest });
        Ok(())
    }

    /// A signal that is not about children is the brain's business.
    pub(crate) fn pass_on(&mut self, signal: i32) {
        let up = self.brain.pid.is_some();
        match signal {
            libc::SIGUSR1 if up => self.brain.renewing = true,
            _ if up || self.brain.has_said_farewell() => {}
            // It is about to be started anyway; somebody who is asked to end does not wait for that.
            _ => self.brain.start_at = Some(clock::now()),
        }
        if up || signal != libc::SIGUSR1 {
            self.reports.signalled(signal);
        }
        // Nobody else is there who could be told to hurry.
        if let (Some(at), libc::SIGTERM | libc::SIGINT) = (&mut self.brain.kill_left_at, signal) {
            *at = clock::now();
        }
    }

    /// Handles what the brain has sent, a packet at a time.
    pub(crate) fn hear_brain(&mut self) {
        for _ in 0..PACKETS_PER_TURN {
            let Some(link) = &mut self.brain.link else { return };
            link.full = false;
            if link.unanswered || self.reports.greeting() || self.renew_until.is_some() {
                self.notice_hang_up();
                return;
            }
            match self.hear_packet() {
                Heard::Packet(_) | Heard::TooLarge => {}
                Heard::Nothing => return,
                Heard::Gone => return self.hung_up(),
            }
        }
    }

    fn hear_packet(&mut self) -> Heard {
        let Some(link) = &self.brain.link else { return Heard::Gone };
        let mut fds = Vec::new();
        let heard = packet::receive(link.socket.as_fd(), &mut self.inbox, &mut fds);
        match heard {
            Ok(Heard::Packet(length)) => self.hear_lines(length, fds),
            Ok(Heard::TooLarge) => {
                self.complaints.say(format_args!("the brain sent a packet that is too large"));
            }
            Ok(_) => {}
            Err(error) => {
                self.complaints.say(format_args!("cannot hear the brain: {error}"));
                return Heard::Gone;
            }
        }
        heard.unwrap_or(Heard::Gone)
    }

    /// While the table is on its way nothing is read, but a closed socket is still noticed.
    fn notice_hang_up(&mut self) {
        let Some(link) = &self.brain.link else { return };
        if packet::hung_up(link.socket.as_fd()) {
            self.hung_up();
        }
    }

    /// The socket is closed: usually the process is on its way out, and SIGCHLD follows.
    fn hung_up(&mut self) {
        self.drop_link();
        self.brain.kill_at.get_or_insert(clock::now() + HUNG_UP_GRACE);
    }

    /// Everything that the brain has said counts, then it is forgotten.
    fn drop_link(&mut self) {
        self.reports.forget_brain();
        for _ in 0..LAST_PACKETS_MAX {
            let (Heard::Packet(_) | Heard::TooLarge) = self.hear_packet() else { break };
        }
        self.reports.forget_brain();
        if let Some(link) = self.brain.link.take() {
            let _ = self.epoll.delete(&link.socket);
            self.brain.stable =
                link.hello.is_some_and(|it| clock::now().duration_since(it) > STABLE);
        }
    }

    pub(crate) fn brain_died(&mut self, dead: Dead) {
        let place = self.brain_place();
        let word = self.launcher.last_word(place);
        self.leave(place);
        reap::signal_group(dead.pid, libc::SIGKILL);
        reap::reap(dead.pid);
        self.brain.pid = None;
        self.drop_link();
        self.brain.kill_at = None;
        self.after_brain(match word {
            Progress::Failed((step, errno)) => Exit::Launch { step: step.to_owned(), errno },
            Progress::Gone | Progress::Underway => dead.exit,
        });
    }

    /// Decides what follows a brain: the end, or another one.
    fn after_brain(&mut self, exit: Exit) {
        let served = std::mem::take(&mut self.brain.served_last);
        let told_to = std::mem::take(&mut self.brain.renewing);
        if !served {
            // Whoever waits for the start need not wait for the next attempt.
            self.brain.ready = None;
        }
        // One that served and ends well hands over to the next.
        let renewing = (served || told_to) && exit == Exit::Code(0);
        let stable = std::mem::take(&mut self.brain.stable);
        if served {
            self.brain.backoff = BACKOFF.0;
        }
        if self.brain.has_said_farewell() {
            return self.end_leftovers();
        }
        if let Exit::Launch { step, errno } = &exit {
            let (program, errno) = (self.brain.program.display(), Errno::from_raw(*errno));
            self.complaints.say(format_args!("cannot run `{program}`: {step}: {}", errno.desc()));
        }
        // One that is told to end and fails at that would do so for ever.
        let balks = self.reports.ending().is_some() && matches!(exit, Exit::Code(1..));
        let useful = told_to || served && !balks;
        self.brain.futile = if useful { 0 } else { self.brain.futile + 1 };
        if !self.brain.served && !self.slots.iter().any(Slot::lives) && self.waiting.is_empty() {
            self.brain.stillborn = Some(status(&exit));
        } else if let (FUTILE_MAX.., Some(signal)) = (self.brain.futile, self.reports.ending()) {
            self.end_alone(signal);
        } else if renewing || stable {
            self.brain.backoff = BACKOFF.0;
            self.brain.start_at = Some(clock::now());
        } else {
            let wait = self.brain.backoff;
            self.brain.start_at = Some(clock::now() + wait);
            self.brain.backoff = (wait * 2).min(BACKOFF.1);
            let wait = wait.as_millis();
            let how = in_words(&exit);
            self.complaints.say(format_args!("the server {how}; the next one begins in {wait} ms"));
        }
    }

    /// The brain said that all was down. What is not is taken down now.
    fn end_leftovers(&mut self) {
        let left = self.slots.living();
        for id in &left {
            self.signal_all(*id, libc::SIGKILL);
        }
        self.kill_strays();
        if !left.is_empty() {
            let count = left.len();
            self.complaints.say(format_args!("the server left {count} services; killed"));
        }
        self.brain.leave_at = Some(clock::now() + LEFTOVERS_GRACE);
    }

    /// Ends without a brain, since none serves, as `signal` asks for: the services are asked to end,
    /// and killed when they do not.
    fn end_alone(&mut self, signal: i32) {
        self.complaints.say(format_args!("no server can be started; the services are ended"));
        self.brain.farewell = Some(128 + signal);
        for id in std::mem::take(&mut self.waiting) {
            self.take_waiting(id);
        }
        for id in self.slots.living() {
            self.signal_all(id, libc::SIGTERM);
        }
        self.brain.kill_left_at = Some(clock::now() + ALONE_GRACE);
    }

    pub(crate) fn look_at_brain(&mut self) {
        let due = |at: Option<Instant>| at.is_some_and(|it| it <= clock::now());
        if due(self.brain.kill_at) {
            self.brain.kill_at = None;
            if let Some(pid) = self.brain.pid {
                self.complaints.say(format_args!("the server does not end; killed"));
                reap::signal_group(pid, libc::SIGKILL);
            }
        }
        if due(self.brain.kill_left_at) {
            self.brain.kill_left_at = None;
            self.end_leftovers();
        }
        if due(self.brain.start_at) {
            self.start_brain();
        }
    }

    /// The status to end with, when it is time to.
    pub(crate) fn finished(&self) -> Option<i32> {
        if self.brain.pid.is_some() {
            return None;
        }
        let late = self.brain.leave_at.is_some_and(|it| it <= clock::now());
        let empty = late || !self.slots.iter().any(Slot::lives);
        self.brain.stillborn.or(self.brain.farewell.filter(|_| empty))
    }

    /// Tells the brain what is due, as long as the socket takes it.
    pub(crate) fn tell_brain(&mut self) {
        self.answer_hello();
        while self.reports.anything_due(&self.slots) && self.retry_at.is_none() {
            let Some(link) = &mut self.brain.link else { return };
            if link.hello.is_none() || link.unanswered || link.full {
                break;
            }
            let mut fds = Vec::new();
            let told = self.reports.compose(&self.slots, &self.held, &mut self.outbox, &mut fds);
            if told == Told::default() {
                drop(fds);
                self.complaints.say(format_args!("what is to be told to the server is too long"));
                self.reports.give_up_first(&mut self.slots);
                continue;
            }
            let sent = match self.outbox.is_empty() {
                true => Ok(true), // What was due has become void.
                false => packet::send(link.socket.as_fd(), &self.outbox, &fds),
            };
            drop(fds);
            match sent {
                Ok(true) => self.reports.sent(told, &mut self.slots),
                Ok(false) => link.full = true,
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => return, // It hung up.
                Err(error) => {
                    self.complaints.say(format_args!("cannot tell the brain: {error}"));
                    self.retry_at = Some(clock::now() + RETRY);
                }
            }
        }
        self.set_interest();
    }

    fn answer_hello(&mut self) {
        if let Some(link) = &mut self.brain.link
            && link.unanswered
            && self.waiting.is_empty()
        {
            link.unanswered = false;
            self.reports.greet(&mut self.slots, &self.held);
        }
    }

    /// Listens while requests are welcome, and waits for room only when there is none.
    fn set_interest(&mut self) {
        let Some(link) = &mut self.brain.link else { return };
        let mut interest = EpollFlags::empty();
        let waits = self.renew_until.is_some();
        let welcome = !link.unanswered && !self.reports.greeting() && !waits;
        interest.set(EpollFlags::EPOLLIN, welcome);
        interest.set(EpollFlags::EPOLLOUT, link.full);
        if interest != link.interest {
            let mut event = EpollEvent::new(interest, BRAIN);
            if self.epoll.modify(&link.socket, &mut event).is_ok() {
                link.interest = interest;
            }
        }
    }
}

/// How a brain ended.
fn in_words(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("ended with code {code}"),
        Exit::Signal { signal, core } => {
            let name = Signal::try_from(*signal).map_or("a real-time signal", Signal::as_str);
            let core = if *core { " and dumped core" } else { "" };
            format!("was ended by {name}{core}")
        }
        Exit::Unknown => "ended".to_owned(),
        Exit::Launch { step, errno } => {
            format!("cannot begin: {step}: {}", Errno::from_raw(*errno).desc())
        }
    }
}

/// The exit status that says the same, as a shell has it.
fn status(exit: &Exit) -> i32 {
    match exit {
        Exit::Code(code) => *code,
        Exit::Signal { signal, .. } => 128 + signal,
        Exit::Unknown => 1,
        Exit::Launch { .. } => 127,
    }
}

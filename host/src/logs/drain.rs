//! The thread that empties the pipes and writes what was in them into files. It owns everything about
//! that; others send it orders and wait for nothing.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::time::ClockId;
use nix::unistd::read;
use regex::Regex;

use super::file::LogFile;
use super::hot::{Hot, Next};
use super::intake::{Berth, CHUNK, Number, Text};
use super::plan::Plan;
use super::print::Printer;
use super::scribe::Scribe;
use super::service::{Service, Stream};
use super::tap::Tap;
use super::trails::{Trail, Trails};
use crate::clock::milliseconds;
use crate::event::Happening;
use crate::name::ServiceName;
use crate::probe::Teller;
use crate::spec::{Full, Log};

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// From now on these are the pipes of a service, and this process writes to them.
    Attach { name: ServiceName, log: Arc<Log>, trail: Arc<Trail>, incarnation: u64, tap: Arc<Tap> },
    /// Its lines are to go elsewhere.
    Change { name: ServiceName, log: Arc<Log>, trail: Arc<Trail> },
    /// This process is launched next; a line of it may be waited for.
    Launching { name: ServiceName, incarnation: u64, awaited: Option<Regex> },
    /// Its process has ended, which may have to be told when everything it wrote is in the file.
    Settle { name: ServiceName, what: Option<Happening> },
    /// Whoever has left something has come for it, or never will.
    Claim { done: Sender<()> },
    /// The service is forgotten, and this directory with its lines.
    Forget { name: ServiceName, own: Option<PathBuf> },
}

/// The epoll key of the bell; pipes have even and odd numbers from 0.
pub(super) const BELL: u64 = u64::MAX;

/// How often a pipe is read before the others have their turn.
const ROUNDS: usize = 16;
/// The same when its service has ended; then only a stranger can still write.
const ROUNDS_LAST: usize = 256;

/// What a pipe of a service that floods may hold.
const PIPE_GROWN: i32 = 1 << 20;

/// When a log cannot be written, and its service waits for it, it is tried again so often.
const AGAIN_MS: i64 = 1000;

pub(super) struct Drain {
    pub(super) epoll: Arc<Epoll>,
    pub(super) bell: Arc<EventFd>,
    pub(super) orders: Receiver<Order>,
    pub(super) trails: Arc<Trails>,
    pub(super) teller: Teller,
    pub(super) scribe: Scribe,
    /// What earlier processes have left, by service and stream.
    pub(super) left: HashMap<(String, usize), Berth>,
    /// Service `i` has the keys `2 i` (stdout) and `2 i + 1` (stderr).
    pub(super) services: Vec<Option<Service>>,
    pub(super) by_name: HashMap<ServiceName, usize>,
    /// Lines that are waited for of services that have no pipes yet.
    pub(super) early: HashMap<ServiceName, Regex>,
    pub(super) hot: Hot,
    pub(super) printer: Printer,
    /// An order is being carried out.
    pub(super) obeying: bool,
}

/// What became of a look at a pipe.
#[derive(PartialEq, Eq)]
enum Look {
    /// So much was there.
    Read(usize),
    /// Thousands of services are within a line each, and there is no place for one more.
    Full,
    /// Nobody can write to it any more.
    Over,
    /// It is another's by now, or nobody's.
    Void,
}

impl Drain {
    /// Goes on until nobody can send orders any more.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let wait = self.hot.wait_ms(now_ms());
            let timeout = wait.map_or(EpollTimeout::NONE, |it| {
                EpollTimeout::from(u16::try_from(it).unwrap_or(u16::MAX))
            });
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in &events[..count] {
                if event.data() == BELL {
                    let _ = self.bell.read();
                    if !self.take_orders() {
                        return;
                    }
                } else {
                    self.turn(event.data(), event.events().contains(EpollFlags::EPOLLHUP));
                }
            }
            self.look_at_hot();
            self.trails.publish(self.scribe.last_ns());
        }
    }

    fn look_at_hot(&mut self) {
        let now_ms = now_ms();
        while let Some(key) = self.hot.due(now_ms) {
            let (index, stream) = place(key);
            let Some(service) = self.services.get_mut(index).and_then(Option::as_mut) else {
                continue;
            };
            if std::mem::take(&mut service.streams[stream].hot) {
                self.turn(key, false);
            }
        }
        if self.hot.wait_ms(now_ms).is_none() {
            self.scribe.rest();
        }
    }

    /// One pipe has its turn.
    fn turn(&mut self, key: u64, hung_up: bool) {
        let (index, stream) = place(key);
        let (mut total, mut rest, mut stuck) = (0, true, false);
        for _ in 0..ROUNDS {
            if !self.digest(index, stream, false) {
                stuck = true;
                break;
            }
            match self.read(index, stream, hung_up) {
                Look::Read(count) => {
                    total += count;
                    // What was there is read; what comes meanwhile has time.
                    if count < CHUNK / 2 {
                        rest = false;
                        break;
                    }
                }
                Look::Full => {
                    stuck = true;
                    break;
                }
                Look::Over => return self.end_stream(index, stream),
                Look::Void => return,
            }
        }
        if !stuck {
            stuck = !self.digest(index, stream, false);
        }
        self.arrange(index, stream, total, rest, stuck);
    }

    /// Reads what is in a pipe, at most a chunk. What was ordered before it was written is done first.
    fn read(&mut self, index: usize, stream: usize, hung_up: bool) -> Look {
        let Some(service) = self.service(index) else { return Look::Void };
        let tap = Arc::clone(&service.tap);
        let available = tap.available(stream);
        if available == 0 {
            let over = hung_up && read(tap.end(stream), &mut [0]) == Ok(0);
            return if over { Look::Over } else { Look::Read(0) };
        }
        // Within an order there is none before it.
        if !self.obeying && !self.take_orders() {
            return Look::Void;
        }
        let Some(service) = self.service(index).filter(|it| Arc::ptr_eq(&it.tap, &tap)) else {
            return Look::Void;
        };
        let berth = match service.streams[stream].berth {
            Some(it) => it,
            None => match self.take_berth(index, stream) {
                Some(it) => it,
                None => return Look::Full,
            },
        };
        tap.set_pending(stream, true);
        let room = self.scribe.intake.begin_reading(berth, available);
        let count = read(tap.end(stream), room).unwrap_or(0);
        self.scribe.intake.end_reading(berth, count);
        Look::Read(count)
    }

    fn take_berth(&mut self, index: usize, stream: usize) -> Option<Berth> {
        let Self { scribe, services, .. } = self;
        let Service { name, file, incarnation, streams, .. } = services[index].as_mut()?;
        let dir = file.trail().dir.to_string_lossy();
        let berth = scribe.intake.take((name.as_str(), &dir), stream == 1, *incarnation)?;
        streams[stream].berth = Some(berth);
        Some(berth)
    }

    /// Writes the lines of a stream that are whole; with `flush`, also one that is not. False when
    /// they cannot be written now, and the service is to wait for that.
    fn write_lines(&mut self, index: usize, stream: usize, flush: bool) -> bool {
        let Self { scribe, services, printer, teller, .. } = self;
        let Some(service) = services[index].as_mut() else { return true };
        let Some(berth) = service.streams[stream].berth else { return true };
        loop {
            let Service { file, plan, .. } = &mut *service;
            match scribe.write(berth, file, plan, flush) {
                Ok(step) if step.made.consumed == 0 => break,
                Ok(step) if step.made.lines == 0 => {}
                Ok(step) => {
                    file.trail().wrote(step.last_ns);
                    service.works(teller);
                    service.pass_on(scribe.written(), printer, teller);
                }
                Err(error) => {
                    service.fails(&error, teller);
                    if service.plan.full == Full::Block {
                        return false;
                    }
                    let made = scribe.drop_lines(berth, &service.plan, flush);
                    service.file.trail().dropped(made.lines, made.bytes);
                    service.pass_on(scribe.written(), printer, teller);
                }
            }
        }
        if scribe.leave_if_empty(berth) {
            service.streams[stream].berth = None;
        }
        true
    }

    fn digest(&mut self, index: usize, stream: usize, flush: bool) -> bool {
        let Some(before) = self.service(index).map(|it| it.in_trouble) else { return true };
        let done = self.write_lines(index, stream, flush);
        let Some(service) = self.service(index) else { return done };
        let pending = service.streams[stream].berth.is_some();
        service.tap.set_pending(stream, pending);
        if flush || (before && !service.in_trouble) {
            self.tell_dropped(index);
        }
        done
    }

    /// Says in the log how much is missing there, if that can be written by now.
    fn tell_dropped(&mut self, index: usize) {
        let Self { scribe, services, .. } = self;
        let Some(Service { streams, file, plan, tap, .. }) = services[index].as_mut() else {
            return;
        };
        for (stream, it) in streams.iter_mut().enumerate() {
            let Some(berth) = it.berth else { continue };
            if scribe.intake.get(berth, Number::DroppedLines) == 0 {
                continue;
            }
            if let Ok(at_ns) = scribe.tell_dropped(berth, file, plan) {
                file.trail().wrote(at_ns);
            }
            if scribe.leave_if_empty(berth) {
                it.berth = None;
                tap.set_pending(stream, false);
            }
        }
    }

    /// Decides when the pipe is read next.
    fn arrange(&mut self, index: usize, stream: usize, count: usize, rest: bool, stuck: bool) {
        let (now_ms, key) = (now_ms(), key(index, stream));
        let Some(service) = self.service(index) else { return };
        let tap = Arc::clone(&service.tap);
        let next = service.streams[stream].pace.next(now_ms, count, rest);
        let at_ms = match next {
            _ if stuck => now_ms + AGAIN_MS,
            Next::Watch => return self.watch(&tap, stream, key),
            Next::Look(at_ms) => at_ms,
            Next::Grow(at_ms) => {
                // Where that is not allowed, it stays as it is.
                let _ = fcntl(tap.end(stream), FcntlArg::F_SETPIPE_SZ(PIPE_GROWN));
                at_ms
            }
        };
        service.streams[stream].hot = true;
        self.hot.add(at_ms, key);
    }

    fn watch(&self, tap: &Tap, stream: usize, key: u64) {
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key);
        // A pipe that is no longer watched is another's by now.
        let _ = self.epoll.modify(tap.end(stream), &mut event);
    }

    /// False when nobody is left who could send any.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    self.obeying = true;
                    self.obey(order);
                    self.obeying = false;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Attach { name, log, trail, incarnation, tap } => {
                self.attach(name, (&log, trail), incarnation, tap);
            }
            Order::Change { name, log, trail } => {
                let index = self.by_name.get(&name).copied();
                let service = index.and_then(|it| self.service(it));
                service.into_iter().for_each(|it| it.change(&log, &trail));
            }
            Order::Launching { name, incarnation, awaited } => {
                self.launching(name, incarnation, awaited);
            }
            Order::Settle { name, what } => {
                if let Some(index) = self.by_name.get(&name).copied() {
                    self.settle(index);
                }
                self.trails.publish(self.scribe.last_ns());
                what.into_iter().for_each(|it| self.teller.happened(&name, it));
            }
            Order::Claim { done } => {
                self.claim();
                self.trails.publish(self.scribe.last_ns());
                // Who has not waited so long does not hear it.
                let _ = done.send(());
            }
            Order::Forget { name, own } => self.forget(&name, own),
        }
    }

    fn launching(&mut self, name: ServiceName, incarnation: u64, awaited: Option<Regex>) {
        let Some(index) = self.by_name.get(&name).copied() else {
            self.early.remove(&name);
            self.early.extend(awaited.map(|it| (name, it)));
            return;
        };
        self.begin(index, incarnation);
        self.service(index).into_iter().for_each(|it| it.awaited = awaited.clone().map(Box::new));
    }

    fn forget(&mut self, name: &ServiceName, own: Option<PathBuf>) {
        self.early.remove(name);
        if let Some(index) = self.by_name.remove(name) {
            self.detach(index);
            self.services[index] = None;
        }
        // What is not there need not be removed.
        own.into_iter().for_each(|it| drop(std::fs::remove_dir_all(it)));
    }

    fn attach(
        &mut self,
        name: ServiceName,
        (log, trail): (&Log, Arc<Trail>),
        incarnation: u64,
        tap: Arc<Tap>,
    ) {
        let awaited = match self.by_name.get(&name).copied() {
            Some(before) => {
                self.detach(before);
                self.services[before].take().and_then(|it| it.awaited)
            }
            None => self.early.remove(&name).map(Box::new),
        };
        let index = self.place_of(&name);
        let streams = [0, 1].map(|stream| {
            let berth = self.left.remove(&(name.to_string(), stream));
            tap.set_pending(stream, berth.is_some());
            Stream::new(berth)
        });
        // Whose is what is left?
        let mut berths = streams.iter().filter_map(|it| it.berth);
        let left_by = berths.next().map(|it| self.scribe.intake.get(it, Number::Incarnation));
        let mut service = Service::new(name, log, trail, Arc::clone(&tap), streams);
        service.incarnation = left_by.unwrap_or(incarnation);
        service.awaited = awaited;
        self.services[index] = Some(service);
        self.begin(index, incarnation);
        for stream in [0, 1] {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
            // Without room to watch it, it is never read, and its service waits.
            let _ = self.epoll.add(tap.end(stream), EpollEvent::new(flags, key(index, stream)));
        }
    }

    /// Ends the lines of whoever wrote before this process.
    fn begin(&mut self, index: usize, incarnation: u64) {
        let Some(service) = self.service(index) else { return };
        if service.incarnation == incarnation {
            return;
        }
        for stream in [0, 1] {
            self.digest(index, stream, true);
        }
        self.service(index).into_iter().for_each(|it| it.incarnation = incarnation);
    }

    /// Reads and writes everything that its process has left.
    fn settle(&mut self, index: usize) {
        for stream in [0, 1] {
            for _ in 0..ROUNDS_LAST {
                if !self.digest(index, stream, false) {
                    break;
                }
                if !matches!(self.read(index, stream, false), Look::Read(1..)) {
                    break;
                }
            }
            self.digest(index, stream, true);
        }
        self.service(index).into_iter().for_each(|it| it.file.close());
    }

    /// What nobody has come for is written where it belongs.
    fn claim(&mut self) {
        for berth in std::mem::take(&mut self.left).into_values() {
            let dir = PathBuf::from(self.scribe.intake.text(berth, Text::Dir));
            if !dir.is_absolute() {
                self.scribe.intake.leave(berth);
                continue;
            }
            let mut file = LogFile::new(Arc::new(Trail::new(&dir, 0)));
            let plan = Plan::untouched();
            let mut write = || self.scribe.write(berth, &mut file, &plan, true);
            while matches!(write(), Ok(step) if step.made.consumed > 0) {}
            self.scribe.leave_if_empty(berth);
        }
    }

    /// Stops looking at its pipes. What was read of them is written.
    fn detach(&mut self, index: usize) {
        for stream in [0, 1] {
            self.digest(index, stream, true);
            self.end_stream(index, stream);
            let berth = self.stream(index, stream).berth.take();
            berth.into_iter().for_each(|it| self.scribe.intake.leave(it));
        }
    }

    fn end_stream(&mut self, index: usize, stream: usize) {
        let Some(service) = self.service(index) else { return };
        let tap = Arc::clone(&service.tap);
        // It may have been watched or not.
        let _ = self.epoll.delete(tap.end(stream).as_fd());
        self.digest(index, stream, true);
    }

    /// The place of a service; a new one gets one that is free.
    fn place_of(&mut self, name: &ServiceName) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.services.iter().position(Option::is_none).unwrap_or(self.services.len());
        self.services.resize_with(self.services.len().max(index + 1), || None);
        self.by_name.insert(name.clone(), index);
        index
    }

    fn service(&mut self, index: usize) -> Option<&mut Service> {
        self.services.get_mut(index)?.as_mut()
    }

    fn stream(&mut self, index: usize, stream: usize) -> &mut Stream {
        &mut self.services[index].as_mut().expect("it was just looked at").streams[stream]
    }
}

fn key(index: usize, stream: usize) -> u64 {
    2 * index as u64 + stream as u64
}

fn place(key: u64) -> (usize, usize) {
    let index = usize::try_from(key / 2).expect("keys are indices of a table");
    (index, usize::from(key % 2 == 1))
}

fn now_ms() -> i64 {
    milliseconds(ClockId::CLOCK_MONOTONIC)
}

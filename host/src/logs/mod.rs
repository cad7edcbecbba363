//! What the services print: one thread drains their pipes and keeps the last lines of each.
//!
//! The thread sleeps until a service writes. It reads at most 64 KiB of one pipe before it looks
//! at the next, so a service that floods starves nobody. A service keeps at most 128 KiB of lines
//! and all together 32 MiB; one that prints nothing costs two descriptors and about 300 bytes.
//! What never happens here: a decision, and waiting for whoever reads the server's output.
//!
//! A service may also say by a line that it is ready. Such a line must be of the process that was
//! launched last, so what the one before has left in the pipes is read before the launch.

pub mod line;
mod print;
pub mod read;
mod ring;
pub mod segments;
mod split;
pub mod stamp;
mod table;
pub mod trails;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::read;
use regex::Regex;

use crate::event::Happening;
use crate::name::ServiceName;
use crate::probe::Teller;
use crate::spec::LogMode;
use print::Printer;
use table::{Awaited, Table, Taken};
use trails::Trails;

/// The keeper of the last lines. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    /// Rings when the thread is to end.
    bell: EventFd,
    table: Mutex<Table>,
    printer: Mutex<Printer>,
    /// Whether any line was ever waited for: who waits for none does not wait for the table either.
    has_awaited: AtomicBool,
    /// Who is told of lines that were waited for.
    teller: OnceLock<Teller>,
    /// Where the lines of each service are.
    trails: Arc<Trails>,
}

/// How much of a pipe is read at once: what it usually holds.
const CHUNK: usize = 64 * 1024;

/// The epoll key of the bell; pipes have even and odd numbers from 0.
const BELL: u64 = u64::MAX;

impl Logs {
    /// Starts the thread named `logs`.
    ///
    /// # Errors
    /// When the process has no descriptor or thread left.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            bell: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            table: Mutex::default(),
            printer: Mutex::default(),
            has_awaited: AtomicBool::new(false),
            teller: OnceLock::new(),
            trails: Trails::new(),
        });
        shared.epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let drained = Arc::clone(&shared);
        thread::Builder::new().name("logs".into()).spawn(move || drained.drain())?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Where the lines of each service are.
    pub fn trails(&self) -> &Arc<Trails> {
        &self.0.0.trails
    }

    /// Drains these pipes from now on, in place of the service's earlier ones; its lines stay.
    ///
    /// # Errors
    /// When the kernel refuses to watch a pipe.
    pub fn attach(
        &self,
        name: ServiceName,
        mode: LogMode,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<()> {
        let pipes = [Arc::new(stdout), Arc::new(stderr)];
        for pipe in &pipes {
            let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
            fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let shared = &self.0.0;
        let mut table = shared.lock();
        let (first_key, old) = table.attach(name, mode, &pipes);
        shared.forget(&old);
        for (key, pipe) in (first_key..).zip(&pipes) {
            shared.epoll.add(pipe, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
        }
        Ok(())
    }

    /// Closes a service's pipes and forgets its lines.
    pub fn detach(&self, name: &str) {
        let shared = &self.0.0;
        let old = shared.lock().detach(name);
        shared.forget(&old);
    }

    /// Tells there when a line has come that was waited for. The first one given counts.
    pub fn report_to(&self, teller: Teller) {
        // A second one would be told the same.
        let _ = self.0.0.teller.set(teller);
    }

    /// Waits for a line of this service that matches, and then tells `Ready` of this incarnation,
    /// once. To be called before each launch, with or without a pattern: what is in the pipes by now
    /// does not count. That is read here, at most 128 KiB of each pipe, without waiting. A service
    /// without output has no lines.
    pub fn await_line(&self, name: &ServiceName, incarnation: u64, pattern: Option<Regex>) {
        let shared = &self.0.0;
        let has_awaited = &shared.has_awaited;
        if pattern.is_none() && !has_awaited.load(Ordering::Relaxed) {
            return;
        }
        has_awaited.store(true, Ordering::Relaxed);
        let mut table = shared.lock();
        table.await_none(name.as_str());
        let Some(pattern) = pattern else { return };
        let printed = end_lines(&mut table, name.as_str());
        table.await_line(name.clone(), Awaited { incarnation, pattern });
        drop(table);
        shared.print(&printed);
    }

    /// Changes where a service's lines go from now on.
    pub fn set_mode(&self, name: &str, mode: LogMode) {
        self.0.0.lock().set_mode(name, mode);
    }

    /// The lines of all services in the order in which they were read, as zinit 0.3 shows them:
    /// `[+] name: text` from stdout, `[-] name: text` from stderr. At most the newest 8 MiB.
    pub fn get(&self) -> Vec<String> {
        self.0.0.lock().lines(usize::MAX, |_, _| true)
    }

    /// The lines of this service. If none has that name: the lines that contain the text, as
    /// zinit 0.3 did it.
    pub fn filter(&self, text: &str) -> Vec<String> {
        let table = self.0.0.lock();
        if table.knows(text) {
            table.lines(usize::MAX, |name, _| name == text)
        } else {
            table.lines(usize::MAX, |name, line| name.contains(text) || line.contains(text))
        }
    }

    /// The newest `count` finished lines of one service, as it wrote them.
    pub fn last(&self, name: &str, count: usize) -> Vec<String> {
        self.0.0.lock().last(name, count)
    }

    /// The newest `count` lines of all services.
    pub fn tail(&self, count: usize) -> Vec<String> {
        self.0.0.lock().lines(count, |_, _| true)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A full counter rings as well.
        let _ = self.0.bell.write(1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds the lines")
    }

    fn forget(&self, pipes: &[Arc<OwnedFd>]) {
        for pipe in pipes {
            // One that has ended is no longer watched.
            let _ = self.epoll.delete(pipe);
        }
    }

    fn print(&self, lines: &str) {
        if !lines.is_empty() {
            self.printer.lock().expect("printing does not panic").print(lines);
        }
    }

    /// The thread: one read per ready pipe and round, until the bell rings.
    fn drain(&self) {
        let mut buffer = vec![0; CHUNK];
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in &events[..count] {
                if event.data() == BELL {
                    return;
                }
                self.read_once(event.data(), &mut buffer);
            }
        }
    }

    /// Nobody else sees the table between the reading and the taking, so `await_line` knows that
    /// what it does not find in the pipe is on the table.
    fn read_once(&self, key: u64, buffer: &mut [u8]) {
        let mut table = self.lock();
        let Some(pipe) = table.pipe(key) else { return };
        match read(&*pipe, buffer) {
            Ok(count @ 1..) => {
                let Taken { printed, ready } = table.take(key, &pipe, &buffer[..count]);
                // Whoever sees the line knows that it was told.
                if let (Some((name, incarnation)), Some(teller)) = (ready, self.teller.get()) {
                    teller.happened(&name, Happening::Ready { incarnation });
                }
                drop(table);
                self.print(&printed);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) | Err(_) => {
                // Its writers are all gone, or it is no pipe.
                let _ = self.epoll.delete(&*pipe);
                table.close(key, &pipe);
            }
        }
    }
}

/// Reads what is in a service's pipes, and ends the lines that were begun: whoever writes next is
/// somebody else. Answers what is to be printed.
fn end_lines(table: &mut Table, name: &str) -> String {
    let mut printed = String::new();
    for (key, pipe) in table.pipes(name) {
        let mut buffer = vec![0; CHUNK];
        for _ in 0..2 {
            match read(&*pipe, &mut buffer) {
                Ok(count @ 1..) => printed += &table.take(key, &pipe, &buffer[..count]).printed,
                // The thread sees to the end of a pipe.
                _ => break,
            }
        }
        if table.is_within_line(key) {
            printed += &table.take(key, &pipe, b"\n").printed;
        }
    }
    printed
}

#[cfg(test)]
mod tests;

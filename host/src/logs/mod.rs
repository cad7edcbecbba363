//! What the services print: one thread drains their pipes and keeps the last lines of each.
//!
//! The thread sleeps until a service writes. It reads at most 64 KiB of one pipe before it looks
//! at the next, so a service that floods starves nobody. A service keeps at most 128 KiB of lines
//! and all together 32 MiB; one that prints nothing costs two descriptors and about 300 bytes.
//! What never happens here: a decision, and waiting for whoever reads the server's output.

mod print;
mod ring;
mod split;
mod table;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::read;

use crate::name::ServiceName;
use crate::spec::LogMode;
use print::Printer;
use table::Table;

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
}

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
        });
        shared.epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let drained = Arc::clone(&shared);
        thread::Builder::new().name("logs".into()).spawn(move || drained.drain())?;
        Ok(Self(Arc::new(Handle(shared))))
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

    /// The thread: one read per ready pipe and round, until the bell rings.
    fn drain(&self) {
        let mut buffer = vec![0; 64 * 1024];
        let mut events = [EpollEvent::empty(); 64];
        let mut printer = Printer::default();
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
                self.read_once(event.data(), &mut buffer, &mut printer);
            }
        }
    }

    fn read_once(&self, key: u64, buffer: &mut [u8], printer: &mut Printer) {
        let Some(pipe) = self.lock().pipe(key) else { return };
        match read(&*pipe, buffer) {
            Ok(count @ 1..) => {
                let printed = self.lock().take(key, &pipe, &buffer[..count]);
                printer.print(&printed);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(0) | Err(_) => {
                // Its writers are all gone, or it is no pipe.
                let _ = self.epoll.delete(&*pipe);
                self.lock().close(key, &pipe);
            }
        }
    }
}

#[cfg(test)]
mod tests;

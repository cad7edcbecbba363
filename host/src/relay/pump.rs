//! One direction of a proxied connection: from a source to a sink, without waiting for either.
//!
//! What is small is read into a buffer that all connections share, and written: two system calls for a
//! message. A read that does not fill the buffer has emptied the socket, so nobody reads a second time to
//! find nothing; what comes later is told by another edge. A source that does fill it is spliced from
//! then on: the kernel moves its pages through a pipe and nobody copies them, until it slows down again.
//!
//! What the sink does not take at once is kept, in a buffer made for it or in the pipe, and until it is gone
//! nothing more is read: so a slow receiver slows its sender down, and never fills this process. A
//! direction where nothing moves has neither buffer nor pipe.
//!
//! `splice` knows no `MSG_NOSIGNAL`: the process has to ignore `SIGPIPE`, as every Rust program does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::sockopt::{RcvBuf, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, recv, recvmsg, send, setsockopt,
    socket,
};
use nix::unistd::pipe2;

/// The length of the shared buffer.
const BUFFER: usize = 64 * 1024;
/// What a pipe is asked to hold, and how much is moved into it at a time. Measured over TCP: 64 KiB cost 46
/// ticks of the processor for a gigabyte, 256 KiB 37, 1 MiB 21, and copying 52.
const PIPE: usize = 1024 * 1024;
/// A splice that moves less than this cost more than a copy would have.
const LITTLE: usize = 16 * 1024;
/// How many pipes there may be, and how many of them may lie idle. Beyond them bytes are copied.
const PIPES_MAX: usize = 64;
const PIPES_IDLE_MAX: usize = 8;
/// How many rounds, and about how many bytes, one direction gets before it is another one's turn.
const ROUNDS_MAX: usize = 16;
pub(super) const TURN: u64 = 1024 * 1024;
/// How much of what a client says is left in its socket, at most, until the service answers.
const PEEK_MAX: usize = 64 * 1024;

/// What all connections of one loop share.
pub(super) struct Scratch {
    pub(super) buffer: Box<[u8]>,
    /// What is to be forgotten goes here; it costs no memory until then.
    pub(super) waste: Box<[u8]>,
    /// How much may be left unread of a client. A receive buffer that is too full closes the window, and a
    /// client that cannot finish what it says is never answered: a quarter of it is safe.
    pub(super) peek_max: usize,
    pipes: Vec<Pipe>,
    /// Every pipe has one of these.
    all: Arc<()>,
}

/// A pipe. It is empty whenever it is not kept.
struct Pipe {
    mouth: OwnedFd,
    tail: OwnedFd,
    _one_of: Arc<()>,
}

/// One of the two connections that belong together. It does not block.
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) is_unix: bool,
}

/// What one direction knows.
pub(super) struct Flow {
    /// What was read and not taken yet.
    kept: Option<Box<Kept>>,
    /// Whether the source may have something: an edge came, and it was not emptied since.
    readable: bool,
    /// Whether the sink may take something.
    writable: bool,
    /// Whether the end of the source is near: it is read until it is reached, for no edge may follow.
    ending: bool,
    /// Whether it is worth to splice.
    bulk: bool,
    end: Option<End>,
}

/// What was read and not taken yet.
enum Kept {
    Bytes { all: Vec<u8>, sent: usize },
    Piped { pipe: Pipe, left: usize },
}

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The source has said that nothing more comes.
    Orderly,
    /// The source was reset.
    Reset,
    /// The sink takes nothing any more.
    Refused,
}

impl Scratch {
    /// Makes one, without pipes yet.
    ///
    /// # Errors
    /// When the kernel has no socket to ask for the usual size of receive buffers.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            buffer: vec![0; BUFFER].into(),
            waste: vec![0; BUFFER].into(),
            peek_max: PEEK_MAX.min(usual_receive_buffer()? / 4),
            pipes: Vec::new(),
            all: Arc::new(()),
        })
    }

    fn pipe(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.pipes.pop() {
            return Some(pipe);
        }
        let may = Arc::strong_count(&self.all) <= PIPES_MAX;
        may.then(|| Pipe::new(Arc::clone(&self.all)).ok()).flatten()
    }

    /// Whether no connection has a pipe.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        Arc::strong_count(&self.all) == 1 + self.pipes.len()
    }

    fn give_back(&mut self, empty: Pipe) {
        if self.pipes.len() < PIPES_IDLE_MAX {
            self.pipes.push(empty);
        }
    }
}

fn usual_receive_buffer() -> io::Result<usize> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let asked = socket(AddressFamily::Inet, SockType::Stream, flags, None)
        .or_else(|_| socket(AddressFamily::Inet6, SockType::Stream, flags, None))
        .or_else(|_| socket(AddressFamily::Unix, SockType::Stream, flags, None))?;
    Ok(getsockopt(&asked, RcvBuf)?)
}

impl Pipe {
    fn new(one_of: Arc<()>) -> io::Result<Self> {
        let (tail, mouth) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let wanted = i32::try_from(PIPE).expect("a pipe's size is small");
        // A smaller one is as good, only slower: users may be denied large ones.
        fcntl(&mouth, FcntlArg::F_SETPIPE_SZ(wanted)).ok();
        Ok(Self { mouth, tail, _one_of: one_of })
    }

    fn fill(&self, source: BorrowedFd) -> nix::Result<usize> {
        splice(source, None, &self.mouth, None, PIPE, unblocked())
    }

    /// Returns how much of `left` is still in it.
    fn pour(&self, mut left: usize, sink: BorrowedFd) -> nix::Result<usize> {
        while left > 0 {
            match splice(&self.tail, None, sink, None, left, unblocked()) {
                Err(Errno::EAGAIN) => break,
                moved => left -= moved?,
            }
        }
        Ok(left)
    }
}

fn unblocked() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

impl Socket {
    /// Takes one, and has the kernel send what is written without waiting for more: a proxy that waits
    /// adds to what the two ends wait already.
    pub(super) fn new(fd: OwnedFd) -> Self {
        let is_unix = setsockopt(&fd, TcpNoDelay, &true).is_err();
        Self { fd, is_unix }
    }

    /// Reads, and tells whether what came short of the buffer's length was all there was.
    ///
    /// A Unix socket also stops after bytes that came with descriptors, which are not passed on.
    pub(super) fn read(&self, into: &mut [u8], flags: MsgFlags) -> nix::Result<(usize, bool)> {
        let (fd, flags) = (self.fd.as_raw_fd(), flags | MsgFlags::MSG_DONTWAIT);
        if !self.is_unix {
            return recv(fd, into, flags).map(|length| (length, true));
        }
        let mut into = [io::IoSliceMut::new(into)];
        let read = recvmsg::<()>(fd, &mut into, None, flags)?;
        Ok((read.bytes, !read.flags.contains(MsgFlags::MSG_CTRUNC)))
    }
}

impl Flow {
    /// One through which nothing has gone yet; its sink is to get `first` before all else.
    pub(super) fn new(first: &[u8]) -> Self {
        let kept = (!first.is_empty()).then(|| keep(first));
        let writable = kept.is_none();
        Self { kept, readable: false, writable, ending: false, bulk: false, end: None }
    }

    /// The source may have something; if `ending`, its end is near.
    pub(super) fn rouse(&mut self, ending: bool) {
        self.readable = true;
        self.ending |= ending;
    }

    /// The sink may take something.
    pub(super) fn relieve(&mut self) {
        self.writable = true;
    }

    /// Whether it has more to do without another edge.
    pub(super) fn can_move(&self) -> bool {
        match self.kept {
            Some(_) => self.writable,
            None => self.readable && self.end.is_none(),
        }
    }

    /// Whether something was read and not taken yet.
    pub(super) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether it waits for the sink.
    pub(super) fn is_stuck(&self) -> bool {
        self.keeps() && !self.writable
    }

    /// How it has ended, if it has and everything is delivered.
    pub(super) fn over(&self) -> Option<End> {
        self.end.filter(|_| self.kept.is_none())
    }

    /// Passes on what there is, within the budget of a turn. Returns how much it has read.
    pub(super) fn run(&mut self, source: &Socket, sink: &Socket, scratch: &mut Scratch) -> u64 {
        let mut read = 0;
        for _ in 0..ROUNDS_MAX {
            if !self.can_move() || read >= TURN {
                break;
            }
            read += match (self.keeps(), self.bulk) {
                (true, _) => self.flush(sink, scratch),
                (false, true) => self.splice(source, sink, scratch),
                (false, false) => self.copy(source, sink, scratch),
            };
        }
        read
    }

    /// Gives the sink what was kept, as far as it takes it. Reads nothing.
    pub(super) fn flush(&mut self, sink: &Socket, scratch: &mut Scratch) -> u64 {
        let Some(kept) = self.kept.take() else { return 0 };
        match *kept {
            Kept::Bytes { all, sent } => match push(sink, &all[sent..]) {
                Err(_) => self.refuse(),
                Ok(more) if sent + more == all.len() => {}
                Ok(more) => self.wait_with(Kept::Bytes { all, sent: sent + more }),
            },
            Kept::Piped { pipe, left } => self.pour(pipe, left, sink, scratch),
        }
        0
    }

    fn copy(&mut self, source: &Socket, sink: &Socket, scratch: &mut Scratch) -> u64 {
        let length = self.take(source, &mut scratch.buffer, MsgFlags::empty());
        self.bulk = length == scratch.buffer.len();
        self.give(sink, &scratch.buffer[..length]);
        length as u64
    }

    /// Reads once, or finds out that there is nothing to read, or never will be. Then it is 0.
    pub(super) fn take(&mut self, source: &Socket, into: &mut [u8], flags: MsgFlags) -> usize {
        match source.read(into, flags) {
            Ok((0, _)) => self.end = Some(End::Orderly),
            Ok((length, is_all)) => {
                self.readable = length == into.len() || self.ending || !is_all;
                return length;
            }
            Err(Errno::EAGAIN) => self.readable = false,
            Err(_) => self.end = Some(End::Reset),
        }
        0
    }

    /// There is nothing more to read for now, and if the end is near, ever.
    pub(super) fn is_dry(&mut self) {
        self.readable = false;
        self.end = self.ending.then_some(End::Orderly);
    }

    /// Writes to the sink, and keeps what it does not take.
    pub(super) fn give(&mut self, sink: &Socket, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match push(sink, bytes) {
            Err(_) => self.refuse(),
            Ok(sent) if sent == bytes.len() => {}
            Ok(sent) => {
                self.kept = Some(keep(&bytes[sent..]));
                self.writable = false;
            }
        }
    }

    fn splice(&mut self, source: &Socket, sink: &Socket, scratch: &mut Scratch) -> u64 {
        let Some(pipe) = scratch.pipe() else {
            return self.copy(source, sink, scratch);
        };
        match pipe.fill(source.fd.as_fd()) {
            Ok(0) => self.end = Some(End::Orderly),
            Ok(length) => {
                self.bulk = length >= LITTLE;
                self.pour(pipe, length, sink, scratch);
                return length as u64;
            }
            Err(Errno::EAGAIN) => self.readable = false,
            Err(_) => self.end = Some(End::Reset),
        }
        scratch.give_back(pipe);
        0
    }

    fn pour(&mut self, pipe: Pipe, left: usize, sink: &Socket, scratch: &mut Scratch) {
        match pipe.pour(left, sink.fd.as_fd()) {
            Err(_) => self.refuse(),
            Ok(0) => scratch.give_back(pipe),
            Ok(left) => self.wait_with(Kept::Piped { pipe, left }),
        }
    }

    fn wait_with(&mut self, kept: Kept) {
        self.kept = Some(Box::new(kept));
        self.writable = false;
    }

    fn refuse(&mut self) {
        self.kept = None;
        self.end = Some(End::Refused);
    }
}

fn keep(bytes: &[u8]) -> Box<Kept> {
    Box::new(Kept::Bytes { all: bytes.to_vec(), sent: 0 })
}

/// Writes, and returns how much was taken, which may be nothing.
fn push(sink: &Socket, bytes: &[u8]) -> nix::Result<usize> {
    match send(sink.fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Err(Errno::EAGAIN) => Ok(0),
        sent => sent,
    }
}

//! One client and its connection to the service: two directions, and how they begin and end.
//!
//! **Before the first answer** the client's bytes are only looked at (`MSG_PEEK`) and sent to the service;
//! they leave the client's socket when the first byte of the answer comes. A service that dies before it
//! has reset its connection, and then the client is given back as it came, to be passed on to the next
//! one. The protection ends early when more was said than can safely lie unread, and when the service ends
//! the connection in an orderly way without a word, which is passed on.
//!
//! **The end** of one direction is passed on when everything is delivered, and the other one goes on. A reset
//! becomes a reset of the other side, after what was received before it is delivered. A Unix socket cannot
//! be made to reset its peer: closing it does so when something unread is in it, and is an orderly
//! end otherwise.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{MsgFlags, Shutdown, recv, setsockopt, shutdown};

use super::pump::{End, Flow, Scratch, Socket};

/// After so many looks at what a client says before it is answered, it is taken from it: where the kernel
/// looks from the front each time, every look costs more than the one before.
const LOOKS_MAX: u8 = 128;

/// One of the two ends of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who has connected.
    Client,
    /// The service.
    Backend,
}

/// How a connection is after a turn.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It goes on.
    Open,
    /// It has ended, both ways: it is to be dropped, which closes both sockets.
    Over,
    /// The service was reset before its first byte. The client is as it came, with everything it has said,
    /// and no epoll knows it; the rest is to be dropped.
    Unheard(OwnedFd),
}

/// How many bytes were received in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// From the client. What is sent again to another service counts again.
    pub(super) to_backend: u64,
    /// From the service.
    pub(super) from_backend: u64,
}

/// From where on the client's bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// From the first one on, and nobody has asked for anything else yet.
    Start,
    /// From the first unknown one on: the socket remembers.
    Unknown,
    /// From the first one on each time: the kernel knows nothing else.
    Front,
}

/// One client and its connection to the service.
pub(super) struct Pair {
    /// `None` once it was given back.
    client: Option<Socket>,
    backend: Socket,
    asking: Flow,
    answering: Flow,
    epoll: RawFd,
    tokens: [u64; 2],
    /// Which of the two are watched for room to write: TCP tells of it only when there was none, a Unix
    /// socket each time its peer has read, so that one is watched from the first time on that it is full.
    for_room: [bool; 2],
    /// How much of what the client has said went to the service and is still in the client's socket.
    peeked: u32,
    looks: u8,
    from: From,
    /// Whether what the client says stays in its socket.
    protected: bool,
    asked: bool,
    heard: bool,
    /// Whether the end of what one side says was passed on to the other.
    asking_shut: bool,
    answering_shut: bool,
}

impl Pair {
    /// Joins two connected sockets that do not block, and registers them under these tokens, for edges.
    /// `greeting` goes to the service before all else.
    ///
    /// `epoll` has to be open as long as the pair is.
    ///
    /// # Errors
    /// When they cannot be registered; both are closed then.
    pub(super) fn begin(
        epoll: &Epoll,
        client: OwnedFd,
        backend: OwnedFd,
        tokens: [u64; 2],
        greeting: &[u8],
    ) -> io::Result<Self> {
        let (client, backend) = (Socket::new(client), Socket::new(backend));
        let for_room = [!client.is_unix, !backend.is_unix || !greeting.is_empty()];
        epoll.add(&client.fd, EpollEvent::new(edges(for_room[0]), tokens[0]))?;
        epoll.add(&backend.fd, EpollEvent::new(edges(for_room[1]), tokens[1]))?;
        Ok(Self {
            client: Some(client),
            backend,
            asking: Flow::new(greeting),
            answering: Flow::new(&[]),
            epoll: epoll.0.as_raw_fd(),
            tokens,
            for_room,
            peeked: 0,
            looks: 0,
            from: From::Start,
            protected: true,
            asked: false,
            heard: false,
            asking_shut: false,
            answering_shut: false,
        })
    }

    /// Joins two sockets that were joined before, maybe by another process: nothing is protected, for
    /// nobody knows any more what the client has said.
    ///
    /// # Errors
    /// When they cannot be registered; both are closed then.
    pub(super) fn resume(
        epoll: &Epoll,
        client: OwnedFd,
        backend: OwnedFd,
        tokens: [u64; 2],
    ) -> io::Result<Self> {
        let begun = Self::begin(epoll, client, backend, tokens, &[])?;
        Ok(Self { protected: false, heard: true, ..begun })
    }

    /// Does what an event of one side calls for; without events, what is left to do. The client is given
    /// back only if it `may_return`; otherwise a service's reset is passed on to it.
    pub(super) fn turn(
        &mut self,
        side: Side,
        events: EpollFlags,
        scratch: &mut Scratch,
        may_return: bool,
    ) -> (Outcome, Moved) {
        self.hear_of(side, events);
        let mut moved = Moved::default();
        if self.client.is_some() {
            moved.to_backend = self.ask(scratch);
            moved.from_backend = self.answer(scratch);
        }
        (self.outcome(may_return), moved)
    }

    fn hear_of(&mut self, side: Side, events: EpollFlags) {
        let dead = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        let last = dead | EpollFlags::EPOLLRDHUP;
        let (from, to) = match side {
            Side::Client => (&mut self.asking, &mut self.answering),
            Side::Backend => (&mut self.answering, &mut self.asking),
        };
        if events.intersects(last | EpollFlags::EPOLLIN) {
            from.rouse(events.intersects(last));
        }
        if events.intersects(dead | EpollFlags::EPOLLOUT) {
            to.relieve();
        }
    }

    /// Whether it has more to do without another event: its budget for one turn was used up.
    pub(super) fn wants_more(&self) -> bool {
        self.asking.can_move() || self.answering.can_move()
    }

    /// Whether the client has said something, and the service has neither answered with its first byte
    /// yet nor ended what it says.
    pub(super) fn asks(&self) -> bool {
        self.asked && !self.heard && self.answering.over().is_none()
    }

    /// Whether nothing of it is in this process: it may be handed over to another one.
    pub(super) fn is_still(&self) -> bool {
        !self.asking.keeps() && !self.answering.keeps()
    }

    /// The two sockets, the client's first. What was passed on does not come again, so who goes on with
    /// them [resumes](Self::resume).
    pub(super) fn into_sockets(mut self) -> [OwnedFd; 2] {
        self.consume(&mut vec![0; self.peeked as usize]);
        [self.client.expect("it was not given back").fd, self.backend.fd]
    }

    /// Takes what the client has said from it, which ends the protection.
    ///
    /// Until then it lies in the client's socket, and a client at a Unix socket that has made some hundred
    /// tiny writes can make no more (the kernel counts what each of them costs it, and nobody can see that
    /// from here). A service that answers only when it has heard more would wait for ever: so this
    /// is to be called when a client [asks](Self::asks) for long.
    pub(super) fn waive(&mut self, scratch: &mut Scratch) {
        if self.protected {
            self.consume(&mut scratch.waste);
        }
    }

    /// Passes on what the client says.
    fn ask(&mut self, scratch: &mut Scratch) -> u64 {
        let mut read = 0;
        while self.protected && self.asking.can_move() {
            match self.asking.keeps() {
                true => read += self.asking.flush(&self.backend, scratch),
                false => read += self.look(scratch),
            }
        }
        if self.protected {
            return read;
        }
        let client = self.client.as_ref().expect("it was not given back");
        let more = self.asking.run(client, &self.backend, scratch);
        self.asked |= more > 0;
        read + more
    }

    /// Looks at what the client has said since the last look, and passes it on.
    fn look(&mut self, scratch: &mut Scratch) -> u64 {
        self.look_beyond();
        let client = self.client.as_ref().expect("it was not given back");
        let peeked = self.peeked as usize;
        let known = if self.from == From::Front { peeked } else { 0 };
        let into = &mut scratch.buffer[..scratch.peek_max - peeked + known];
        let length = self.asking.take(client, into, MsgFlags::MSG_PEEK);
        if length == known {
            if known > 0 {
                self.asking.is_dry();
            }
            return 0;
        }
        self.asking.give(&self.backend, &scratch.buffer[known..length]);
        let new = length - known;
        self.asked = true;
        self.looks += 1;
        self.peeked += u32::try_from(new).expect("less than the buffer's length");
        if peeked + new == scratch.peek_max || self.looks == LOOKS_MAX {
            self.consume(&mut scratch.waste);
        }
        new as u64
    }

    /// Has the second look, and every later one, begin behind what is known, if the kernel can do that.
    fn look_beyond(&mut self) {
        if self.looks == 0 || self.from != From::Start {
            return;
        }
        let client = self.client.as_ref().expect("it was not given back");
        let known = i32::try_from(self.peeked).expect("less than the buffer's length");
        let set = look_from(client.fd.as_fd(), known);
        self.from = if set.is_ok() { From::Unknown } else { From::Front };
    }

    /// Passes on what the service says.
    fn answer(&mut self, scratch: &mut Scratch) -> u64 {
        let mut first = 0;
        if !self.heard && self.answering.can_move() {
            first = self.first_answer(scratch);
        }
        let client = self.client.as_ref().expect("it was not given back");
        first + self.answering.run(&self.backend, client, scratch)
    }

    fn first_answer(&mut self, scratch: &mut Scratch) -> u64 {
        let length = self.answering.take(&self.backend, &mut scratch.buffer, MsgFlags::empty());
        self.heard = length > 0;
        let ended = self.answering.over() == Some(End::Orderly) && !self.is_refused();
        if self.protected && (self.heard || ended) {
            self.consume(&mut scratch.waste);
        }
        let client = self.client.as_ref().expect("it was not given back");
        self.answering.give(client, &scratch.buffer[..length]);
        length as u64
    }

    fn is_refused(&self) -> bool {
        self.asking.over() == Some(End::Refused)
    }

    /// Takes from the client's socket what was only looked at.
    fn consume(&mut self, waste: &mut [u8]) {
        self.protected = false;
        let Some(client) = &self.client else { return };
        // TCP can forget without copying.
        let forget = if client.is_unix { MsgFlags::empty() } else { MsgFlags::MSG_TRUNC };
        let mut left = std::mem::take(&mut self.peeked) as usize;
        while left > 0 {
            let part = left.min(waste.len());
            let flags = forget | MsgFlags::MSG_DONTWAIT;
            match recv(client.fd.as_raw_fd(), &mut waste[..part], flags) {
                Ok(length) if length > 0 => left -= length,
                _ => break,
            }
        }
    }

    /// Draws the conclusion of what both directions have come to.
    fn outcome(&mut self, may_return: bool) -> Outcome {
        let (asking, answering) = (self.asking.over(), self.answering.over());
        let refused = |it| it == Some(End::Refused);
        let client_gone = asking == Some(End::Reset) || asking.is_some() && refused(answering);
        let backend_gone = answering == Some(End::Reset) || answering.is_some() && refused(asking);
        match (client_gone, backend_gone) {
            (true, true) => {}
            (false, true) if self.protected && may_return => return self.give_back(),
            (false, true) => self.client.as_ref().map_or((), reset),
            (true, false) => reset(&self.backend),
            (false, false) if asking.is_some() && answering.is_some() => {}
            (false, false) => {
                self.pass_ends_on(asking, answering);
                self.watch_for_room();
                return Outcome::Open;
            }
        }
        Outcome::Over
    }

    /// The other direction goes on. A socket that is gone says so by other means.
    fn pass_ends_on(&mut self, asking: Option<End>, answering: Option<End>) {
        if asking == Some(End::Orderly) && !self.asking_shut {
            self.asking_shut = true;
            shutdown(self.backend.fd.as_raw_fd(), Shutdown::Write).ok();
        }
        if answering == Some(End::Orderly) && !self.answering_shut {
            self.answering_shut = true;
            let client = self.client.as_ref().map(|it| it.fd.as_raw_fd());
            client.map(|it| shutdown(it, Shutdown::Write));
        }
    }

    fn watch_for_room(&mut self) {
        let stuck = [self.answering.is_stuck(), self.asking.is_stuck()];
        for at in [0, 1] {
            if stuck[at] && !self.for_room[at] {
                self.for_room[at] = true;
                let client = self.client.as_ref().expect("it was not given back");
                let socket = [client, &self.backend][at];
                let event = EpollEvent::new(edges(true), self.tokens[at]);
                control(self.epoll, libc::EPOLL_CTL_MOD, socket.fd.as_fd(), event);
            }
        }
    }

    fn give_back(&mut self) -> Outcome {
        let Some(client) = self.client.take() else { return Outcome::Over };
        if self.from == From::Unknown {
            look_from(client.fd.as_fd(), -1).ok();
        }
        control(self.epoll, libc::EPOLL_CTL_DEL, client.fd.as_fd(), EpollEvent::empty());
        Outcome::Unheard(client.fd)
    }
}

/// Makes its closing a reset.
fn reset(socket: &Socket) {
    if !socket.is_unix {
        setsockopt(&socket.fd, Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).ok();
    }
}

/// What a socket is watched for.
fn edges(for_room: bool) -> EpollFlags {
    let read = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    if for_room { read | EpollFlags::EPOLLOUT } else { read }
}

#[expect(unsafe_code, reason = "a reference to the epoll would bind every connection to it")]
fn control(epoll: RawFd, what: libc::c_int, fd: BorrowedFd, event: EpollEvent) {
    let mut event = libc::epoll_event { events: event.events().bits() as u32, u64: event.data() };
    // SAFETY: the event lives during the call. `begin` asks for an epoll that is open as long as the pair is.
    unsafe {
        libc::epoll_ctl(epoll, what, fd.as_raw_fd(), &raw mut event);
    }
}

/// Has `MSG_PEEK` look from there on, or from the front again: -1. Unix sockets know that since Linux 3.4,
/// TCP since 6.9.
#[expect(unsafe_code, reason = "the option has no wrapper")]
fn look_from(fd: BorrowedFd, known: i32) -> nix::Result<()> {
    let (option, length) = (&raw const known, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the option is an int, and lives during the call.
    let set = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEEK_OFF, option.cast(), length)
    };
    Errno::result(set).map(drop)
}

#[cfg(test)]
mod tests;

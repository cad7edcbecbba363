//! Two connections that are one: a client's and the one to its service.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(vec![0; 65536]))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

pub(super) enum Outcome {
    Open,
    Over,
    /// The backend was reset before its first byte; the client is as it came.
    Unheard(OwnedFd),
}

#[derive(Default)]
pub(super) struct Moved {
    pub(super) to_backend: u64,
    pub(super) from_backend: u64,
}

pub(super) struct Pair {
    client: Option<OwnedFd>,
    backend: OwnedFd,
    answered: bool,
    peeked: usize,
    /// Unsent bytes to backend / to client.
    rest: [Vec<u8>; 2],
    ended: [bool; 2],
    closed: [bool; 2],
}

impl Pair {
    pub(super) fn begin(
        epoll: &Epoll,
        client: OwnedFd,
        backend: OwnedFd,
        tokens: [u64; 2],
        greeting: &[u8],
    ) -> io::Result<Self> {
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        epoll.add(&client, EpollEvent::new(flags, tokens[0]))?;
        epoll.add(&backend, EpollEvent::new(flags, tokens[1]))?;
        Ok(Self {
            client: Some(client),
            backend,
            answered: false,
            peeked: 0,
            rest: [greeting.to_vec(), Vec::new()],
            ended: [false; 2],
            closed: [false; 2],
        })
    }

    pub(super) fn turn(
        &mut self,
        _side: Side,
        _events: EpollFlags,
        scratch: &mut Scratch,
        may_return: bool,
    ) -> (Outcome, Moved) {
        let mut moved = Moved::default();
        match self.step(&mut scratch.0, &mut moved) {
            Ok(()) if self.closed == [true; 2] => (Outcome::Over, moved),
            Ok(()) => (Outcome::Open, moved),
            Err(_) if !self.answered && may_return => {
                (self.client.take().map_or(Outcome::Over, Outcome::Unheard), moved)
            }
            Err(_) => (Outcome::Over, moved),
        }
    }

    fn step(&mut self, buffer: &mut [u8], moved: &mut Moved) -> Result<(), Errno> {
        let client = self.client.as_ref().ok_or(Errno::EBADF)?.as_raw_fd();
        let backend = self.backend.as_raw_fd();
        loop {
            flush(backend, &mut self.rest[0])?;
            let got = peek(backend, buffer, MsgFlags::empty())?;
            if let Some(count) = got {
                if !self.answered && self.peeked > 0 {
                    let _ = recv(client, &mut buffer[count..][..self.peeked], MsgFlags::empty());
                }
                self.answered |= count > 0;
                self.ended[1] |= count == 0;
                self.rest[1].extend(&buffer[..count]);
                moved.from_backend += count as u64;
            }
            flush(client, &mut self.rest[1])?;
            let said = if self.answered {
                peek(client, buffer, MsgFlags::empty())?.map(|it| (0, it))
            } else {
                let seen = peek(client, buffer, MsgFlags::MSG_PEEK)?;
                seen.map(|it| (std::mem::replace(&mut self.peeked, it), it))
            };
            let mut quiet = true;
            if let Some((from, to)) = said {
                self.ended[0] |= to == 0;
                quiet = from == to;
                self.rest[0].extend(&buffer[from..to]);
                moved.to_backend += (to - from) as u64;
            }
            flush(backend, &mut self.rest[0])?;
            for (index, to) in [(0, backend), (1, client)] {
                if self.ended[index] && self.rest[index].is_empty() && !self.closed[index] {
                    let _ = shutdown(to, Shutdown::Write);
                    self.closed[index] = true;
                }
            }
            if quiet && got.is_none_or(|it| it == 0) {
                return Ok(());
            }
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        false
    }

    pub(super) fn asks(&self) -> bool {
        !self.answered && self.peeked > 0
    }

    pub(super) fn is_still(&self) -> bool {
        self.rest.iter().all(Vec::is_empty) && self.closed == [false; 2]
    }

    pub(super) fn into_sockets(self) -> [OwnedFd; 2] {
        [self.client.expect("it was not given back"), self.backend]
    }
}

fn peek(from: i32, buffer: &mut [u8], flags: MsgFlags) -> Result<Option<usize>, Errno> {
    let half = buffer.len() / 2;
    match recv(from, &mut buffer[..half], flags) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn flush(to: i32, rest: &mut Vec<u8>) -> Result<(), Errno> {
    while !rest.is_empty() {
        match send(to, rest, MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => drop(rest.drain(..count)),
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

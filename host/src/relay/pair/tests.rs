//! Pairs between real sockets, of TCP and of Unix, whose two ends the tests play.

mod first;
mod passing;

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::thread;

use nix::sys::epoll::{EpollCreateFlags, EpollTimeout};
use nix::sys::socket::{ControlMessage, sendmsg};

use super::super::pump::TURN;
use super::*;

/// A loop with one pair.
struct Rig {
    epoll: Epoll,
    scratch: Scratch,
    pair: Option<Pair>,
    outcome: Outcome,
    moved: Moved,
    /// The most that one turn has moved in one direction.
    longest: u64,
    may_return: bool,
}

/// A socket of either family, and how it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    Tcp,
    Unix,
}
use Family::{Tcp, Unix};

const ALL: [[Family; 2]; 4] = [[Tcp, Tcp], [Unix, Unix], [Tcp, Unix], [Unix, Tcp]];
const TICKS: usize = 400;
const TICK_MS: u16 = 50;

/// Both ends of a connection. What it is called does not matter: reading, writing and shutting down are
/// the same for both families.
fn connection(family: Family) -> (TcpStream, TcpStream) {
    match family {
        Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (from, listener.accept().unwrap().0)
        }
        Unix => {
            let (from, to) = UnixStream::pair().unwrap();
            (OwnedFd::from(from).into(), OwnedFd::from(to).into())
        }
    }
}

/// A client, a service, and what is between them.
fn joined(families: [Family; 2], greeting: &[u8]) -> (TcpStream, TcpStream, Rig) {
    let (client, its_end) = connection(families[0]);
    let (backend, service) = connection(families[1]);
    (client, service, Rig::new(its_end, backend, greeting))
}

impl Rig {
    fn new(client: TcpStream, backend: TcpStream, greeting: &[u8]) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let scratch = Scratch::new().unwrap();
        let (outcome, moved) = (Outcome::Open, Moved::default());
        let mut it =
            Self { epoll, scratch, pair: None, outcome, moved, longest: 0, may_return: true };
        it.join(client.into(), backend, greeting);
        it
    }

    fn join(&mut self, client: OwnedFd, backend: TcpStream, greeting: &[u8]) {
        let client = TcpStream::from(client);
        client.set_nonblocking(true).unwrap();
        backend.set_nonblocking(true).unwrap();
        let pair = Pair::begin(&self.epoll, client.into(), backend.into(), [0, 1], greeting);
        (self.pair, self.outcome) = (Some(pair.unwrap()), Outcome::Open);
    }

    fn pair(&self) -> &Pair {
        self.pair.as_ref().expect("it has not ended")
    }

    /// Waits for events, a moment at most, and lets the pair do what they call for.
    fn step(&mut self) {
        let more = self.pair.as_ref().is_some_and(Pair::wants_more);
        let mut events = [EpollEvent::empty(); 4];
        let wait = if more { EpollTimeout::ZERO } else { EpollTimeout::from(TICK_MS) };
        let count = self.epoll.wait(&mut events, wait).unwrap();
        if more {
            self.turn(Side::Client, EpollFlags::empty());
        }
        for event in &events[..count] {
            let side = if event.data() == 0 { Side::Client } else { Side::Backend };
            self.turn(side, event.events());
        }
    }

    fn turn(&mut self, side: Side, events: EpollFlags) {
        let Some(pair) = &mut self.pair else { return };
        let (outcome, moved) = pair.turn(side, events, &mut self.scratch, self.may_return);
        self.moved.to_backend += moved.to_backend;
        self.moved.from_backend += moved.from_backend;
        self.longest = self.longest.max(moved.to_backend).max(moved.from_backend);
        if !matches!(outcome, Outcome::Open) {
            self.pair = None;
        }
        self.outcome = outcome;
    }

    fn until(&mut self, mut so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TICKS {
            if so(self) {
                return;
            }
            self.step();
        }
        panic!("it has not come to that");
    }

    /// Runs it to its end, however many turns that takes.
    fn end(&mut self) -> &Outcome {
        while self.pair.is_some() {
            let before = self.moved;
            self.until(|it| it.pair.is_none() || it.moved != before);
        }
        &self.outcome
    }

    /// The client that was given back.
    fn unheard(&mut self) -> OwnedFd {
        self.end();
        match std::mem::replace(&mut self.outcome, Outcome::Over) {
            Outcome::Unheard(client) => client,
            other => panic!("{other:?}"),
        }
    }

    /// What comes out at `end`, which is as long as `wanted` and is that.
    fn brings(&mut self, end: &TcpStream, wanted: &[u8]) {
        let mut got = Vec::new();
        while got.len() < wanted.len() {
            let part = self.next(end).expect("no reset");
            assert!(!part.is_empty(), "ended after {}", String::from_utf8_lossy(&got));
            got.extend(part);
        }
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    }

    /// The next that comes out at `end`; nothing when that is the end.
    fn next(&mut self, mut end: &TcpStream) -> io::Result<Vec<u8>> {
        let mut part = [0; 4096];
        let mut read = Err(ErrorKind::WouldBlock.into());
        end.set_nonblocking(true).unwrap();
        self.until(|_| {
            read = end.read(&mut part);
            !read.as_ref().is_err_and(|it: &io::Error| it.kind() == ErrorKind::WouldBlock)
        });
        end.set_nonblocking(false).unwrap();
        read.map(|length| part[..length].to_vec())
    }

    fn is_reset(&mut self, end: &TcpStream) {
        assert_eq!(self.next(end).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    fn is_ended(&mut self, end: &TcpStream) {
        assert!(self.next(end).unwrap().is_empty());
    }
}

/// Has its closing reset it, as TCP can.
fn drop_hard(end: TcpStream) {
    setsockopt(&end, Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

/// A text that begins again after a prime number of bytes, so that no buffer's length hides a gap.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut seed = 1_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..999_983).map(|_| next()).collect()
});

/// What of it comes after so many bytes.
fn text_after(at: u64) -> &'static [u8] {
    &TEXT[(at % TEXT.len() as u64) as usize..]
}

fn write_text(mut to: &TcpStream, length: u64) {
    let mut at = 0;
    while at < length {
        let part = text_after(at);
        let part = &part[..part.len().min((length - at) as usize)];
        to.write_all(part).unwrap();
        at += part.len() as u64;
    }
}

/// Reads to the end what is to be such a text, `pace` bytes at a time at most, and yields in between.
fn read_text(mut from: &TcpStream, pace: usize) -> u64 {
    let (mut at, mut part) = (0, vec![0; pace]);
    loop {
        let wanted = text_after(at);
        let length = from.read(&mut part[..pace.min(wanted.len())]).unwrap();
        assert!(part[..length] == wanted[..length], "somewhere in the {length} bytes after {at}");
        at += length as u64;
        if length == 0 {
            return at;
        }
        thread::yield_now();
    }
}

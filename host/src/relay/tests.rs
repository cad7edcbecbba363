//! The relay among real sockets: who connects, who serves, and a core and a keeper that are played.

mod coming;
mod going;
mod handing;
mod listening;
mod storm;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::eventfd::EventFd;

use super::listen::{self, Opened};
use super::{Faces, Gate, Held, Relay, Said, Way};
use crate::address::Address;
use crate::name::ServiceName;
use crate::probe::{News, Teller};
use crate::proxy::Proxy;
use crate::spec::Xinit;

/// Whatever takes longer will never come.
const LIMIT: Duration = Duration::from_secs(10);

/// What the keeper holds: a note and descriptors under each key.
type Keeper = Arc<Mutex<BTreeMap<String, Held>>>;

struct World {
    relay: Relay,
    faces: Faces,
    said: Receiver<Said>,
    keeper: Keeper,
    dir: PathBuf,
    turn: AtomicU64,
}

impl World {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zr-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
        Self::in_dir(dir, Keeper::default())
    }

    fn in_dir(dir: PathBuf, keeper: Keeper) -> Self {
        let (news, heard) = mpsc::channel();
        let teller = Teller::new(news, Arc::new(EventFd::new().expect("an eventfd")));
        let faces = Faces::default();
        let relay = Relay::new(teller, faces.clone());
        let (tell, said) = mpsc::channel();
        let (its, holds) = (Arc::downgrade(&relay.0), Arc::clone(&keeper));
        thread::spawn(move || {
            for news in heard {
                let News::Relay(what) = news else { continue };
                match what {
                    Said::Hold { key, fds, .. } => {
                        holds.lock().expect("no panic").insert(key, fds);
                    }
                    Said::Drop { key } => {
                        holds.lock().expect("no panic").remove(&key);
                        its.upgrade().into_iter().for_each(|it| Relay(it).released(&key));
                    }
                    other => drop(tell.send(other)),
                }
            }
        });
        Self { relay, faces, said, keeper, dir, turn: AtomicU64::new(0) }
    }

    /// One whose service is up and listens.
    fn open(test: &str) -> (Self, UnixListener) {
        let world = Self::new(test);
        world.serve(|_| {});
        let backend = world.backend();
        world.gate(Way::Open);
        (world, backend)
    }

    /// And a client that was passed on to it.
    fn joined(test: &str) -> (Self, UnixListener, UnixStream, UnixStream) {
        let (world, backend) = Self::open(test);
        let client = world.connect();
        let served = accept(&backend);
        (world, backend, client, served)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The proxy `web` at `front`, before `back`.
    fn proxy(&self, change: impl FnOnce(&mut Xinit)) -> Arc<Proxy> {
        let mut xinit = Xinit {
            enabled: true,
            listen: vec![Address::Unix(self.path("front"))],
            backend: Some(Address::Unix(self.path("back"))),
            ..Xinit::default()
        };
        change(&mut xinit);
        let xinit = Arc::new(xinit);
        Arc::new(Proxy { name: name("web"), service: name("web"), in_service: true, xinit })
    }

    fn serve(&self, change: impl FnOnce(&mut Xinit)) -> Arc<Vec<OwnedFd>> {
        let proxy = self.proxy(change);
        let opened = open(&proxy);
        let sockets = Arc::clone(&opened.sockets);
        self.relay.stand(proxy, opened);
        sockets
    }

    /// Serves at a socket that an earlier world has opened.
    fn goes_on_at(&self, sockets: Arc<Vec<OwnedFd>>) {
        let proxy = self.proxy(|_| {});
        let addresses = proxy.xinit.listen.iter().map(Address::full).collect();
        self.relay.stand(proxy, Opened { sockets, addresses, ..Opened::default() });
    }

    fn gate(&self, way: Way) -> u64 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        self.relay.gate(&name("web"), Gate { turn, way });
        turn
    }

    fn hear(&self) -> Said {
        self.said.recv_timeout(LIMIT).expect("something is said")
    }

    fn hears_a_knock(&self) {
        assert_eq!(self.hear(), Said::Knocked { service: name("web") });
    }

    /// Whatever was to be said about what has happened so far is said.
    fn hears_nothing(&self) {
        let other = name("other");
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        self.relay.gate(&other, Gate { turn, way: Way::Shut });
        assert_eq!(self.hear(), Said::Drained { service: other, turn });
    }

    fn connect(&self) -> UnixStream {
        let client = UnixStream::connect(self.path("front")).expect("it listens");
        client.set_read_timeout(Some(LIMIT)).expect("a socket has time limits");
        client
    }

    /// The service that listens at `back`.
    fn backend(&self) -> UnixListener {
        let _ = fs::remove_file(self.path("back"));
        UnixListener::bind(self.path("back")).expect("nobody listens there")
    }

    fn count(&self, of: impl Fn(&super::face::Counts) -> &AtomicU64) -> u64 {
        let face = self.faces.get("web").expect("it stands");
        of(&face.counts).load(Ordering::Relaxed)
    }

    /// Waits until a count is so.
    fn comes_to(&self, want: u64, of: impl Fn(&super::face::Counts) -> &AtomicU64) {
        let begin = crate::clock::instant();
        while self.count(&of) != want {
            assert!(begin.elapsed() < LIMIT, "it is {}, not {want}", self.count(&of));
            thread::yield_now();
        }
    }

    /// Waits until the keeper holds so many.
    fn holds(&self, want: usize) {
        let begin = crate::clock::instant();
        while self.held() != want {
            assert!(begin.elapsed() < LIMIT, "{} are held, not {want}", self.held());
            thread::yield_now();
        }
    }

    fn held(&self) -> usize {
        self.keeper.lock().expect("no panic").len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Opens all sockets of a proxy anew.
fn open(proxy: &Proxy) -> Opened {
    let opened = listen::open(proxy, &mut Vec::new());
    assert_eq!(opened.trouble, None);
    opened
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("a name")
}

fn at(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has one").port()
}

fn tcp(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a socket has time limits");
    client
}

fn say(mut to: impl Write, text: &str) {
    to.write_all(text.as_bytes()).expect("it can be written");
}

/// Reads so much as is expected.
fn reads(mut from: impl Read, want: &str) {
    let mut text = vec![0; want.len()];
    from.read_exact(&mut text).expect("it can be read");
    assert_eq!(String::from_utf8_lossy(&text), want);
}

fn ends(mut from: impl Read) {
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).expect("it ends in an orderly way");
    assert_eq!(rest, b"");
}

/// A Unix client of whom something is unread is reset.
fn ends_somehow(mut from: impl Read) {
    assert!(from.read(&mut [0]).map_or(true, |it| it == 0));
}

fn accept(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().expect("somebody comes");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket has time limits");
    stream
}

//! The service behind the proxies of the tests: it gives back what it is told.
//!
//! `xinit-backend ADDRESS [WORD[=VALUE]...]`, where the address is `host:port`, a path, or `fds` for the
//! sockets that it is started with:
//!
//! | word | does |
//! |---|---|
//! | `delay=MS` | lets so long pass before it listens; `ever` for ever |
//! | `starts=FILE` | appends its process id to the file, each time it is started |
//! | `greet` | says to each client, as soon as it comes, which one it is: `0\n`, `1\n` ... |
//! | `finish` | when it is told to end it takes whoever has come, and waits until all clients are gone |
//! | `idle=MS` | ends with 0 when nobody is connected for so long |
//!
//! To clients whose first words are `pid\n` or `env\n` it says its process id, or what it was told of its
//! sockets; one that says `reset\n` is reset.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt::Linger};

struct Backend {
    listeners: Vec<OwnedFd>,
    signals: SignalFd,
    greets: bool,
    finishes: bool,
    idle: PollTimeout,
    /// How many have come.
    count: u64,
    /// Each client has one: who is alone with it has no clients.
    present: Arc<()>,
}

fn main() -> ExitCode {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.thread_block().expect("signals can be blocked");
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |word: &str| {
        args.iter().find_map(|it| it.strip_prefix(word)?.strip_prefix('=').map(str::to_owned))
    };
    let has = |word: &str| args.iter().any(|it| it == word);
    if let Some(path) = value("starts") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let line = format!("{}\n", std::process::id());
        file.expect("it may be written").write_all(line.as_bytes()).expect("there is room");
    }
    let signals = SignalFd::new(&set).expect("signals can be read");
    let delay = value("delay").map(|it| it.parse().map_or(PollTimeout::NONE, limit));
    if delay.is_some_and(|it| is_told(&signals, it)) {
        return ExitCode::SUCCESS;
    }
    let mut backend = Backend {
        listeners: listeners(&args[0]),
        signals,
        greets: has("greet"),
        finishes: has("finish"),
        idle: value("idle").and_then(|it| it.parse().ok()).map_or(PollTimeout::NONE, limit),
        count: 0,
        present: Arc::new(()),
    };
    say_ready();
    backend.serve();
    ExitCode::SUCCESS
}

fn limit(ms: u16) -> PollTimeout {
    PollTimeout::from(ms)
}

/// Whether it is told to end within this time.
fn is_told(signals: &SignalFd, limit: PollTimeout) -> bool {
    poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], limit).is_ok_and(|it| it > 0)
}

fn listeners(address: &str) -> Vec<OwnedFd> {
    let all: Vec<OwnedFd> = match address {
        "fds" => given(),
        path if path.starts_with('/') => {
            // Its own, of an earlier life.
            let _ = fs::remove_file(path);
            vec![UnixListener::bind(path).expect("the path is free").into()]
        }
        _ => vec![TcpListener::bind(address).expect("the port is free").into()],
    };
    for it in &all {
        fcntl(it, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a socket has flags");
    }
    all
}

#[expect(unsafe_code, reason = "the sockets that it is started with have numbers and no owner")]
fn given() -> Vec<OwnedFd> {
    let count: i32 = variable("LISTEN_FDS").parse().unwrap_or(0);
    // SAFETY: nobody else here knows these numbers.
    (3..3 + count).map(|it| unsafe { OwnedFd::from_raw_fd(it) }).collect()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn say_ready() {
    let path = variable("NOTIFY_SOCKET");
    if !path.is_empty() {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&path),
        };
        let socket = UnixDatagram::unbound().expect("there are sockets");
        let said = socket.send_to_addr(b"READY=1", &address.expect("it is one"));
        said.expect("somebody hears it");
    }
}

impl Backend {
    fn serve(&mut self) {
        loop {
            let mut fds: Vec<_> = self
                .listeners
                .iter()
                .map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN))
                .collect();
            fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
            let ready = poll(&mut fds, self.idle).unwrap_or(1);
            let is_told = is_told(&self.signals, PollTimeout::ZERO);
            if is_told && !self.finishes || ready == 0 && Arc::strong_count(&self.present) == 1 {
                return;
            }
            self.take_all();
            if is_told {
                return self.finish();
            }
        }
    }

    fn take_all(&mut self) {
        for index in 0..self.listeners.len() {
            while let Some(client) = accepted(&self.listeners[index]) {
                let (present, greeting) = (Arc::clone(&self.present), self.greeting());
                self.count += 1;
                let serve = move || {
                    // Whoever is gone needs no answer.
                    let _ = answer(client, &greeting);
                    drop(present);
                };
                std::thread::spawn(serve);
            }
        }
    }

    fn greeting(&self) -> String {
        if self.greets { format!("{}\n", self.count) } else { String::new() }
    }

    fn finish(&self) {
        while Arc::strong_count(&self.present) > 1 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

#[expect(unsafe_code, reason = "what is accepted has a number and no owner yet")]
fn accepted(listener: &OwnedFd) -> Option<OwnedFd> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made it, and nobody else knows its number.
            Ok(fd) => return Some(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(_) => return None,
        }
    }
}

fn answer(client: OwnedFd, greeting: &str) -> io::Result<()> {
    let mut client = File::from(client);
    client.write_all(greeting.as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            count => match &buffer[..count] {
                b"pid\n" => client.write_all(format!("{}\n", std::process::id()).as_bytes())?,
                b"env\n" => client.write_all(told_of_sockets().as_bytes())?,
                b"reset\n" => {
                    let now = libc::linger { l_onoff: 1, l_linger: 0 };
                    return Ok(setsockopt(&client, Linger, &now)?);
                }
                said => client.write_all(said)?,
            },
        }
    }
}

fn told_of_sockets() -> String {
    let is_ours = variable("LISTEN_PID") == std::process::id().to_string();
    format!("{} {} ours={is_ours}\n", variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"))
}

//! Clients of sockets, whatever the sockets are, and what becomes of them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// A port that nobody has just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    listener.local_addr().expect("it has one").port()
}

/// An address that nobody has just now.
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A client.
#[derive(Debug)]
pub enum Client {
    /// Of a port.
    Tcp(TcpStream),
    /// Of a path.
    Unix(UnixStream),
}

impl Client {
    /// Connects to a path or to `host:port`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(address: &str) -> io::Result<Self> {
        if address.starts_with('/') {
            let stream = UnixStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return Ok(Self::Unix(stream));
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::Tcp(stream))
    }

    /// Connects; that must be possible.
    pub fn to(address: &str) -> Self {
        Self::connect(address).unwrap_or_else(|why| panic!("no connection to {address}: {why}"))
    }

    /// Says something.
    pub fn say(&mut self, text: &str) {
        self.write_all(text.as_bytes()).expect("somebody hears it");
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            match self.read(&mut byte) {
                Ok(0) => panic!("it ended after {:?}", String::from_utf8_lossy(&line)),
                Ok(_) if byte[0] == b'\n' => return String::from_utf8(line).expect("it is text"),
                Ok(_) => line.push(byte[0]),
                Err(why) => panic!("{why} after {:?}", String::from_utf8_lossy(&line)),
            }
        }
    }

    /// Says a line, and returns the line that comes back.
    pub fn asks(&mut self, text: &str) -> String {
        self.say(&format!("{text}\n"));
        self.line()
    }

    /// Says no more.
    pub fn ends_its_half(&self) {
        match self {
            Self::Tcp(it) => it.shutdown(Shutdown::Write),
            Self::Unix(it) => it.shutdown(Shutdown::Write),
        }
        .expect("it is connected");
    }

    /// All that comes, to the end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rest(&mut self) -> io::Result<String> {
        let mut rest = String::new();
        self.read_to_string(&mut rest)?;
        Ok(rest)
    }

    /// Waits for its end, before which nothing comes: `end`, or `reset`.
    pub fn fate(&mut self) -> &'static str {
        match self.read(&mut [0]) {
            Ok(0) => "end",
            Ok(_) => "a byte",
            Err(why) if why.kind() == ErrorKind::ConnectionReset => "reset",
            Err(why) => panic!("{why}"),
        }
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.read(buffer),
            Self::Unix(it) => it.read(buffer),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.write(bytes),
            Self::Unix(it) => it.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(it) => it.as_fd(),
            Self::Unix(it) => it.as_fd(),
        }
    }
}

/// What becomes of a client that says 64 bytes and wants them back: `served`, `refused`, `unheard` when it
/// could not say them, `reset` or `ended` before its first byte, `cut` after it, or `silence`.
pub fn outcome(address: &str) -> &'static str {
    let (said, mut heard) = ([b'x'; 64], [0; 64]);
    let Ok(mut client) = Client::connect(address) else { return "refused" };
    if client.write_all(&said).is_err() {
        return "unheard";
    }
    let mut count = 0;
    while count < said.len() {
        match client.read(&mut heard[count..]) {
            Ok(0) if count == 0 => return "ended",
            Err(why) if why.kind() == ErrorKind::WouldBlock => return "silence",
            Err(_) if count == 0 => return "reset",
            Ok(0) | Err(_) => return "cut",
            Ok(more) => count += more,
        }
    }
    if said == heard { "served" } else { "garbled" }
}

/// Clients that come one after the other, several at a time, until they are called off.
#[derive(Debug)]
pub struct Crowd {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    outcomes: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many at a time.
    pub fn of(size: usize, address: &str) -> Self {
        let mut crowd = Self {
            is_over: Arc::default(),
            count: Arc::default(),
            outcomes: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..size {
            let (is_over, count) = (Arc::clone(&crowd.is_over), Arc::clone(&crowd.count));
            let (outcomes, address) = (Arc::clone(&crowd.outcomes), address.to_owned());
            let come = move || {
                while !is_over.load(Ordering::Relaxed) {
                    let outcome = outcome(&address);
                    *outcomes.lock().expect("nobody panics").entry(outcome).or_default() += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            crowd.threads.push(std::thread::spawn(come));
        }
        crowd
    }

    /// How many have come and gone.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Lets nobody come any more, and says what has become of them.
    pub fn over(self) -> BTreeMap<&'static str, usize> {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no client panics");
        }
        self.outcomes.lock().expect("nobody panics").clone()
    }
}

/// Lets time pass, where a time is what is tried.
#[expect(clippy::disallowed_methods, reason = "the time is what is tried")]
pub fn let_pass(time: Duration) {
    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()).filter(|it| !it.is_zero()) {
        std::thread::park_timeout(left);
    }
}

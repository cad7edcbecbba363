//! Lines on their way to a system log. Nobody waits for it: what it does not take is counted, and it
//! is told so when it takes something again.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use super::line::Head;
use super::stamp;

/// The way to a system log, for one service.
#[derive(Debug)]
pub(super) struct Syslog {
    address: String,
    /// What it is called there.
    tag: String,
    way: Option<Way>,
    /// When it is looked for again, in milliseconds.
    again_ms: i64,
    lost: u64,
}

#[derive(Debug)]
enum Way {
    /// To a daemon on this machine, which stamps what it gets (RFC 3164).
    Local(UnixDatagram),
    /// To another machine (RFC 5424).
    Udp(UdpSocket),
}

/// The facility for daemons, and what a line is there: information from stdout, an error from stderr.
const INFO: u8 = 3 * 8 + 6;
const ERROR: u8 = 3 * 8 + 3;

/// A daemon that is not there is looked for again after so long.
const AGAIN_MS: i64 = 1000;

impl Syslog {
    pub(super) fn new(address: &str, tag: &str) -> Self {
        let (address, tag) = (address.to_owned(), tag.to_owned());
        Self { address, tag, way: None, again_ms: i64::MIN, lost: 0 }
    }

    /// Sends a line, or counts it.
    pub(super) fn send(&mut self, now_ms: i64, head: &Head, text: &str) {
        if self.way.is_none() && now_ms >= self.again_ms {
            self.way = Way::open(&self.address).ok();
            self.again_ms = now_ms + AGAIN_MS;
        }
        if self.lost > 0 {
            let text = format!("{} lines did not get here", self.lost);
            if !self.put(head, &text) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        self.lost += u64::from(!self.put(head, text));
    }

    fn put(&mut self, head: &Head, text: &str) -> bool {
        let Some(way) = &self.way else { return false };
        let priority = if head.stderr { ERROR } else { INFO };
        let sent = match way {
            Way::Local(socket) => {
                socket.send(format!("<{priority}>{}: {text}", self.tag).as_bytes())
            }
            Way::Udp(socket) => {
                let mut time = [0; stamp::LEN];
                stamp::write(head.at_ns, &mut time);
                // Six digits behind the seconds are what the standard allows.
                let time = String::from_utf8_lossy(&time[..26]);
                socket.send(format!("<{priority}>1 {time}Z - {} - - - {text}", self.tag).as_bytes())
            }
        };
        // It is full, which passes, or it is another by now.
        let is_gone = sent.as_ref().is_err_and(|it| it.kind() != io::ErrorKind::WouldBlock);
        if is_gone {
            self.way = None;
        }
        sent.is_ok()
    }
}

impl Way {
    fn open(address: &str) -> io::Result<Self> {
        if let Some(peer) = address.strip_prefix("udp://") {
            // A name would have to be looked up, which takes its time.
            let peer: SocketAddr = peer.parse().map_err(io::Error::other)?;
            let socket = UdpSocket::bind(if peer.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" })?;
            socket.set_nonblocking(true)?;
            socket.connect(peer)?;
            return Ok(Self::Udp(socket));
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        Ok(Self::Local(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::line::Mark;

    fn head(stderr: bool) -> Head {
        Head { at_ns: 1_795_438_329_123_456_789, stderr, incarnation: 1, mark: Mark::None }
    }

    fn heard(count: io::Result<usize>, buffer: &[u8]) -> String {
        String::from_utf8_lossy(&buffer[..count.expect("received")]).into_owned()
    }

    #[test]
    fn a_daemon_of_this_machine_gets_the_line_and_what_it_missed() {
        let dir = std::env::temp_dir().join(format!("zinit-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("log");
        let mut buffer = [0; 256];
        let mut syslog = Syslog::new(path.to_str().expect("text"), "web");
        syslog.send(0, &head(false), "nobody is there");
        let daemon = UnixDatagram::bind(&path).expect("bound");
        syslog.send(AGAIN_MS - 1, &head(false), "nor yet");
        syslog.send(AGAIN_MS, &head(true), "hello");
        assert_eq!(heard(daemon.recv(&mut buffer), &buffer), "<27>web: 2 lines did not get here");
        assert_eq!(heard(daemon.recv(&mut buffer), &buffer), "<27>web: hello");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn another_machine_gets_it_with_the_time() {
        let peer = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = format!("udp://{}", peer.local_addr().expect("an address"));
        let mut buffer = [0; 256];
        Syslog::new(&address, "web").send(0, &head(false), "hello");
        let line = "<30>1 2026-11-23T12:52:09.123456Z - web - - - hello";
        assert_eq!(heard(peer.recv(&mut buffer), &buffer), line);
    }
}

//! The brain's end of the keeper's socket: what the keeper hears comes from here, and only from here.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zinit_keeper::packet::{self, Heard};
use zinit_keeper::wire::{PACKET_FDS_MAX, PACKET_MAX, Report, Request, SOCKET_ENV};

use crate::refusal::{Kind, Refusal};

/// Groups share a packet up to this size.
const PACKET_AIM: usize = 32 * 1024;

/// A report, and the descriptors that came with it.
pub type Heeded = (Report, Descriptors);

/// What comes with a report. Where this process has no descriptor left, they are lost: the report
/// says that they come, and they do not. The next brain gets them again.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The reading ends of stdout and stderr.
    pub pipes: Option<[OwnedFd; 2]>,
    /// The end at which the incarnation says that it is ready: a notify socket or a pipe. It is
    /// non-blocking.
    pub ready: Option<OwnedFd>,
    /// What names the process, whoever has its number later.
    pub pidfd: Option<OwnedFd>,
    /// What was held ([`Report::Held`]): as many as that says, or none.
    pub held: Vec<OwnedFd>,
}

/// Whole groups of requests, and what goes with them, which stays open until it is sent.
struct Packet {
    lines: Vec<u8>,
    fds: Option<Arc<Vec<OwnedFd>>>,
}

/// The connection of a brain to its keeper.
///
/// The first words are `Hello`, [`flush`](Self::flush), and [`receive`](Self::receive) until the whole
/// table is here: the keeper reads nothing else before it has told its table.
pub struct KeeperLink {
    socket: OwnedFd,
    /// What waits to be sent.
    packets: VecDeque<Packet>,
    buffer: Box<[u8]>,
}

impl KeeperLink {
    /// Takes the socket that the keeper left to this process. To be called while there is one thread.
    pub fn from_env() -> Result<Self, Refusal> {
        let none = || {
            let message = format!("cannot reach the keeper: `{SOCKET_ENV}` names no open socket");
            Refusal::new(Kind::Internal, message).hint("only the keeper starts a brain")
        };
        packet::inherited().map(Self::new).ok_or_else(none)
    }

    /// Speaks to the keeper over this socket.
    pub fn new(socket: OwnedFd) -> Self {
        let buffer = vec![0; PACKET_MAX].into_boxed_slice();
        Self { socket, packets: VecDeque::new(), buffer }
    }

    /// The socket, to wait on: it is readable when there is something to receive.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Queues requests that the keeper is to handle as one: they travel in one packet.
    ///
    /// A group that no packet can hold is an error (`E2BIG`), and nothing of it is sent.
    pub fn send(&mut self, group: &[Request]) -> io::Result<()> {
        let mut lines = lines_of(group)?;
        match self.packets.back_mut().filter(|it| it.fds.is_none()) {
            Some(last) if last.lines.len() + lines.len() <= PACKET_AIM => {
                last.lines.append(&mut lines);
            }
            _ if lines.is_empty() => {}
            _ => self.packets.push_back(Packet { lines, fds: None }),
        }
        Ok(())
    }

    /// The same for requests that have descriptors ([`Request::Hold`]), in the order of the requests. They
    /// get a packet of their own, and keep their place among the others.
    ///
    /// More than [`PACKET_FDS_MAX`] descriptors are an error (`E2BIG`) as well.
    pub fn send_with(&mut self, group: &[Request], fds: Arc<Vec<OwnedFd>>) -> io::Result<()> {
        let lines = lines_of(group)?;
        if fds.len() > PACKET_FDS_MAX {
            return Err(Errno::E2BIG.into());
        }
        if !lines.is_empty() {
            self.packets.push_back(Packet { lines, fds: Some(fds) });
        }
        Ok(())
    }

    /// Whether something is queued.
    pub fn is_behind(&self) -> bool {
        !self.packets.is_empty()
    }

    /// Sends what is queued, and waits while the keeper's buffer is full.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(packet) = self.packets.front() {
            let fds: Vec<_> = packet.fds.iter().flat_map(|it| it.iter()).map(AsFd::as_fd).collect();
            if packet::send(self.socket.as_fd(), &packet.lines, &fds)? {
                self.packets.pop_front();
                continue;
            }
            let mut room = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut room, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Appends everything that is here to `out`, without waiting; false when the keeper is gone.
    pub fn receive(&mut self, out: &mut Vec<Heeded>) -> io::Result<bool> {
        let mut fds = Vec::with_capacity(PACKET_FDS_MAX);
        loop {
            fds.clear();
            match packet::receive(self.socket.as_fd(), &mut self.buffer, &mut fds)? {
                Heard::Packet(length) => read_packet(&self.buffer[..length], &mut fds, out),
                Heard::TooLarge => {} // From a keeper that breaks its own rule.
                Heard::Nothing => return Ok(true),
                Heard::Gone => return Ok(false),
            }
        }
    }
}

/// Requests as they are sent; `E2BIG` when no packet can hold them.
fn lines_of(group: &[Request]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for request in group {
        serde_json::to_writer(&mut lines, request)?;
        lines.push(b'\n');
    }
    if lines.len() > PACKET_MAX { Err(Errno::E2BIG.into()) } else { Ok(lines) }
}

/// Reads the reports of a packet; each owns as many of the next descriptors as it says.
fn read_packet(bytes: &[u8], fds: &mut Vec<OwnedFd>, out: &mut Vec<Heeded>) {
    let mut fds = fds.drain(..);
    for line in bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
        let report: Report = serde_json::from_slice(line).unwrap_or(Report::Unknown);
        let (pipes, ready, pidfd) = match &report {
            Report::Launched { pipes, ready, pidfd, .. } => (*pipes, *ready, *pidfd),
            Report::Slot(slot) => (slot.pipes, slot.ready, slot.pidfd),
            _ => (false, false, false),
        };
        let pipes = pipes.then(|| Some([fds.next()?, fds.next()?])).flatten();
        let ready = ready.then(|| fds.next()).flatten();
        let pidfd = pidfd.then(|| fds.next()).flatten();
        let count = if let Report::Held { count, .. } = report { count } else { 0 };
        let mut held: Vec<OwnedFd> = fds.by_ref().take(count).collect();
        if held.len() < count {
            held.clear();
        }
        out.push((report, Descriptors { pipes, ready, pidfd, held }));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::unistd::{pipe, read};

    use super::*;

    fn link() -> (KeeperLink, OwnedFd) {
        let (ours, keepers) = packet::pair().expect("a socket pair");
        (KeeperLink::new(ours), keepers)
    }

    fn hear(keeper: &OwnedFd) -> Option<Vec<u8>> {
        let mut buffer = vec![0; PACKET_MAX];
        match packet::receive(keeper.as_fd(), &mut buffer, &mut Vec::new()) {
            Ok(Heard::Packet(length)) => Some(buffer[..length].to_vec()),
            _ => None,
        }
    }

    fn forget(service: &str) -> Request {
        Request::Forget { service: service.to_owned() }
    }

    #[test]
    fn small_groups_share_a_packet_and_none_is_split() {
        let (mut link, keeper) = link();
        let long = "x".repeat(PACKET_AIM - 1000);
        for group in [vec![forget("a")], vec![forget("b"), forget("c")], vec![forget(&long)]] {
            link.send(&group).expect("queued");
        }
        link.send(&[]).expect("nothing to queue");
        link.send(&[forget(&long), forget("d")]).expect("queued");
        link.flush().expect("sent");
        let lines = |packet: Vec<u8>| packet.iter().filter(|it| **it == b'\n').count();
        let packets = [4, 2].map(|_| hear(&keeper).map(lines));
        assert_eq!(packets, [Some(4), Some(2)]);
        assert_eq!(hear(&keeper), None);
    }

    #[test]
    fn a_group_that_fits_no_packet_is_an_error_and_nothing_of_it_is_sent() {
        let (mut link, keeper) = link();
        let error =
            link.send(&[forget("a"), forget(&"x".repeat(PACKET_MAX))]).expect_err("too big");
        assert_eq!(error.raw_os_error(), Some(Errno::E2BIG as i32));
        link.flush().expect("nothing to send");
        assert_eq!(hear(&keeper), None);
    }

    fn socket_named() -> (OwnedFd, u64) {
        let (socket, _) = packet::pair().expect("a socket pair");
        let inode = inode_of(&socket);
        (socket, inode)
    }

    fn inode_of(fd: &OwnedFd) -> u64 {
        nix::sys::stat::fstat(fd).expect("it is open").st_ino
    }

    fn hold(key: &str, count: usize) -> Request {
        Request::Hold { key: key.to_owned(), note: String::new(), count }
    }

    #[test]
    fn descriptors_go_with_their_group_and_stay_open_until_then() {
        let (mut link, keeper) = link();
        let ((one, one_is), (two, two_is)) = (socket_named(), socket_named());
        link.send(&[forget("a")]).expect("queued");
        let both = Arc::new(vec![one, two]);
        link.send_with(&[hold("x", 1), hold("y", 1)], Arc::clone(&both)).expect("queued");
        link.send(&[forget("b")]).expect("queued");
        let kept = Arc::downgrade(&both);
        drop(both);
        let mut heard = Vec::new();
        assert!(kept.upgrade().is_some());
        link.flush().expect("sent");
        assert!(kept.upgrade().is_none(), "nobody needs them any more");
        for _ in 0..3 {
            let (mut buffer, mut fds) = (vec![0; PACKET_MAX], Vec::new());
            let got = packet::receive(keeper.as_fd(), &mut buffer, &mut fds).expect("a packet");
            let Heard::Packet(length) = got else { panic!("{got:?}") };
            let lines = buffer[..length].iter().filter(|it| **it == b'\n').count();
            heard.push((lines, fds.iter().map(inode_of).collect::<Vec<_>>()));
        }
        assert_eq!(heard, [(1, vec![]), (2, vec![one_is, two_is]), (1, vec![])]);
        let many = (0..=PACKET_FDS_MAX).map(|_| socket_named().0).collect();
        let error = link.send_with(&[hold("z", 0)], Arc::new(many)).expect_err("too many");
        assert_eq!(error.raw_os_error(), Some(Errno::E2BIG as i32));
    }

    #[test]
    fn what_is_held_comes_whole_or_not_at_all() {
        let (mut link, keeper) = link();
        let sockets = [(); 3].map(|()| socket_named());
        let held = |key: &str, count| {
            let (key, note) = (key.to_owned(), String::new());
            serde_json::to_string(&Report::Held { key, note, count }).expect("JSON") + "\n"
        };
        let packet = [held("x", 2), held("y", 0), held("z", 2)].concat();
        let fds: Vec<_> = sockets.iter().map(|it| it.0.as_fd()).collect();
        assert!(packet::send(keeper.as_fd(), packet.as_bytes(), &fds).expect("sent"));
        let mut heard = Vec::new();
        assert!(link.receive(&mut heard).expect("received"));
        let got: Vec<Vec<u64>> =
            heard.iter().map(|(_, it)| it.held.iter().map(inode_of).collect()).collect();
        assert_eq!(got, [vec![sockets[0].1, sockets[1].1], vec![], vec![]]);
    }

    #[test]
    fn flush_waits_for_a_keeper_that_is_busy() {
        let (mut link, keeper) = link();
        let long = "x".repeat(PACKET_AIM);
        (0..64).for_each(|_| link.send(&[forget(&long)]).expect("queued"));
        let reader = std::thread::spawn(move || {
            let mut heard = 0;
            while heard < 64 {
                let mut look = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
                poll(&mut look, PollTimeout::NONE).expect("poll");
                heard += usize::from(hear(&keeper).is_some());
            }
        });
        link.flush().expect("sent");
        reader.join().expect("the reader ends");
    }

    #[test]
    fn reports_get_the_descriptors_that_are_theirs() {
        let (mut link, keeper) = link();
        let (out, mut out_writer) = pipe().map(|(r, w)| (r, std::fs::File::from(w))).expect("pipe");
        let (err, _err_writer) = pipe().expect("pipe");
        let line = r#"{"report":"launched","service":"a","incarnation":1,"pid":7,"pipes":true}"#;
        let both = line.replace(":true}", ":true,\"ready\":true}");
        let packet = format!("{{\"report\":\"from_the_future\"}}\n{both}\n{line}\nnonsense\n");
        let (ready, ready_writer) = pipe().expect("pipe");
        let fds = [out.as_fd(), err.as_fd(), ready.as_fd()];
        let sent = packet::send(keeper.as_fd(), packet.as_bytes(), &fds);
        assert!(sent.expect("sent"));
        drop(keeper);
        let mut heard = Vec::new();
        assert!(!link.receive(&mut heard).expect("received"), "the keeper is gone");
        let with: Vec<_> = heard
            .iter()
            .map(|(report, it)| (report.clone(), it.pipes.is_some(), it.ready.is_some()))
            .collect();
        let (service, incarnation, pid, pipes) = ("a".to_owned(), 1, 7, true);
        let launched = |ready| {
            let service = service.clone();
            Report::Launched { service, incarnation, pid, pipes, ready, pidfd: false }
        };
        assert_eq!(
            with,
            [
                (Report::Unknown, false, false),
                (launched(true), true, true),
                (launched(false), false, false), // Its pipes were lost.
                (Report::Unknown, false, false),
            ]
        );
        out_writer.write_all(b"hello").expect("written");
        drop(ready);
        let (_, Descriptors { pipes: Some([stdout, _]), ready: Some(ready), .. }) = &heard[1]
        else {
            panic!("no descriptors")
        };
        let mut text = [0; 5];
        assert_eq!((read(stdout, &mut text), &text), (Ok(5), b"hello"));
        std::fs::File::from(ready_writer).write_all(b"ready").expect("written");
        assert_eq!((read(ready, &mut text), &text), (Ok(5), b"ready"));
    }
}

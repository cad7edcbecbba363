//! Processes beside the test: this program once more, told by its environment what to do.

#![expect(clippy::disallowed_methods, reason = "no keeper is there to launch anything")]

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Read, Write, stdin, stdout};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::unistd::pipe;

const ROLE: &str = "ZINIT_PROBE_TEST_ROLE";

/// A process that plays a role until its standard input is closed, or it is killed with this.
pub(crate) struct Actor {
    child: Child,
    stdin: Option<ChildStdin>,
    /// The first line that it printed.
    pub(crate) word: String,
}

impl Actor {
    /// Starts it and waits for its first line. It leads a process group of its own.
    pub(crate) fn start(role: &str) -> Self {
        Self::of(Command::new(env::current_exe().unwrap()), role)
    }

    /// One that ignores SIGTERM.
    pub(crate) fn deaf(role: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "trap '' TERM; exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
        Self::of(shell, role)
    }

    fn of(mut command: Command, role: &str) -> Self {
        command.args(["--exact", "children::plays_its_role", "--nocapture"]).env(ROLE, role);
        let mut child =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let said = |it: String| it.split_once("I am ").map(|(_, word)| word.to_owned());
        let word = out.lines().map_while(Result::ok).find_map(said).unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin, word }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Tells it to go on.
    pub(crate) fn go_on(&mut self) {
        drop(self.stdin.take());
    }

    /// Tells it to go on, and waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.go_on();
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test, but what the processes do.
#[test]
fn plays_its_role() {
    let Ok(role) = env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["waits"] => be("here"),
        ["listens"] => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            be(&listener.local_addr().unwrap().port().to_string());
        }
        // Says it when it is told to go on, and ends at once.
        ["says", socket, word] => {
            be("here");
            say(socket, word);
        }
        // As `says`, and lives until it was heard.
        ["is-heard", socket, word] => {
            be("here");
            say(socket, word);
            barrier(socket);
        }
        // As `is-heard`, but a child of it is.
        ["has-it-heard", socket, word] => {
            be("here");
            Actor::start(&format!("is-heard {socket} {word}")).end();
        }
        _ => panic!("no role: {role}"),
    }
    std::process::exit(0);
}

/// Says what it is, and waits until it may go on.
fn be(word: &str) {
    println!("I am {word}");
    stdout().flush().unwrap();
    let _ = stdin().read(&mut [0]);
}

/// Sends a datagram to an abstract socket.
pub(crate) fn say(socket: &str, word: &str) {
    let address = SocketAddr::from_abstract_name(socket).unwrap();
    let sent = UnixDatagram::unbound().unwrap().send_to_addr(word.as_bytes(), &address);
    assert_eq!(sent.unwrap(), word.len());
}

/// Waits until all that was said before is heard, as sd_notify_barrier(3) does.
pub(crate) fn barrier(socket: &str) {
    let (read, write) = pipe().unwrap();
    let address = UnixAddr::new_abstract(socket.as_bytes()).unwrap();
    let from = UnixDatagram::unbound().unwrap();
    let (text, fds) = ([IoSlice::new(b"BARRIER=1")], [write.as_raw_fd()]);
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg(from.as_raw_fd(), &text, &message, MsgFlags::empty(), Some(&address)).unwrap();
    drop(write);
    assert_eq!(File::from(read).read(&mut [0]).unwrap(), 0);
}

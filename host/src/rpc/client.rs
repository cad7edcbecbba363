//! The blocking client: one line out, one line back, over the Unix socket.
//!
//! No runtime: it polls its socket, the interrupt and its deadline, so that it starts at once and
//! Ctrl-C ends any call.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::interrupt::{Deadline, Interrupt, Woken, wait};
use crate::refusal::{Kind, Refusal};

/// How long a server may take to follow another one, and how often it is looked for meanwhile.
const SUCCESSION: Duration = Duration::from_secs(5);
const SUCCESSION_LOOK: Duration = Duration::from_millis(5);

/// A connection to a server. It is kept between calls, and made anew if the server was.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
    received: Vec<u8>,
    calls: u64,
    interrupt: Option<Arc<Interrupt>>,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: Value,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i32,
    message: String,
    data: Option<Value>,
}

impl Client {
    const CHUNK: usize = 64 * 1024;

    /// Connects to the server at this socket.
    ///
    /// # Errors
    /// [`Kind::NoServer`] when nothing answers there, [`Kind::Forbidden`] when it is not ours.
    pub fn connect(path: &Path) -> Result<Self, Refusal> {
        Self::made(path, None)
    }

    /// As [`connect`](Self::connect); this interrupt ends that, and calls.
    ///
    /// # Errors
    /// As there, and [`Kind::Interrupted`].
    pub fn connect_unless(path: &Path, interrupt: &Arc<Interrupt>) -> Result<Self, Refusal> {
        Self::made(path, Some(Arc::clone(interrupt)))
    }

    fn made(path: &Path, interrupt: Option<Arc<Interrupt>>) -> Result<Self, Refusal> {
        let stream = connected_patiently(path, interrupt.as_deref())?;
        Ok(Self { path: path.to_owned(), stream, received: Vec::new(), calls: 0, interrupt })
    }

    /// Lets this interrupt end calls.
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: &Arc<Interrupt>) -> Self {
        self.interrupt = Some(Arc::clone(interrupt));
        self
    }

    /// Calls a method and waits for its result, however long it takes.
    ///
    /// # Errors
    /// What the server refused, or that it went away.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Refusal> {
        self.call_until(method, params, Deadline::NEVER)
    }

    /// Calls a method and waits for its result, but not longer than `limit`.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`Kind::TimedOut`].
    pub fn call_within(
        &mut self,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, Refusal> {
        self.call_until(method, params, Deadline::within(limit))
    }

    /// Waits until the server has closed the connection. `false` if it has not by then.
    ///
    /// # Errors
    /// When interrupted.
    pub fn wait_closed(&mut self, limit: Duration) -> Result<bool, Refusal> {
        let deadline = Deadline::within(limit);
        loop {
            match self.receive(deadline) {
                Ok(()) => self.received.clear(),
                Err(refusal) if refusal.kind == Kind::TimedOut => return Ok(false),
                Err(refusal) if refusal.kind == Kind::Interrupted => return Err(refusal),
                Err(_) => return Ok(true),
            }
        }
    }

    fn call_until(
        &mut self,
        method: &str,
        params: Value,
        deadline: Deadline,
    ) -> Result<Value, Refusal> {
        self.calls += 1;
        let request = Request { jsonrpc: "2.0", id: self.calls, method, params };
        let mut line = serde_json::to_vec(&request)
            .map_err(|it| Refusal::new(Kind::BadArgument, format!("cannot be sent: {it}")))?;
        line.push(b'\n');
        if self.is_gone() || self.send(&line, deadline)? == Sent::Nothing {
            self.reconnect()?;
            if self.send(&line, deadline)? == Sent::Nothing {
                return Err(no_server(&self.path));
            }
        }
        self.reply(deadline)
    }

    /// Whether the server has closed the connection since the last call.
    fn is_gone(&self) -> bool {
        let ready = Some((self.stream.as_fd(), PollFlags::POLLHUP));
        wait(ready, None, Deadline::within(Duration::ZERO)) != Ok(Woken::Elapsed)
    }

    fn reconnect(&mut self) -> Result<(), Refusal> {
        self.stream = connected_patiently(&self.path, self.interrupt.as_deref())?;
        self.received.clear();
        Ok(())
    }

    fn send(&mut self, line: &[u8], deadline: Deadline) -> Result<Sent, Refusal> {
        let mut rest = line;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, deadline)?;
                }
                Err(_) if rest.len() == line.len() => return Ok(Sent::Nothing),
                Err(error) => return Err(gone(&error)),
            }
        }
        Ok(Sent::All)
    }

    /// The reply to the latest call. Replies to earlier ones, which were given up, are skipped.
    fn reply(&mut self, deadline: Deadline) -> Result<Value, Refusal> {
        let mut searched = 0;
        loop {
            let end = self.received[searched..].iter().position(|it| *it == b'\n');
            let Some(end) = end.map(|it| searched + it) else {
                searched = self.received.len();
                self.receive(deadline)?;
                continue;
            };
            let reply: Reply = serde_json::from_slice(&self.received[..end]).map_err(garbled)?;
            self.received.drain(..=end);
            searched = 0;
            if reply.id == self.calls || (reply.id.is_null() && reply.error.is_some()) {
                return reply.error.map_or(Ok(reply.result), |it| Err(it.into()));
            }
        }
    }

    fn receive(&mut self, deadline: Deadline) -> Result<(), Refusal> {
        loop {
            let had = self.received.len();
            self.received.resize(had + Self::CHUNK, 0);
            let count = self.stream.read(&mut self.received[had..]);
            self.received.truncate(had + *count.as_ref().unwrap_or(&0));
            match count {
                Ok(0) => return Err(gone(&ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN, deadline)?;
                }
                Err(error) => return Err(gone(&error)),
            }
        }
    }

    fn wait(&self, flags: PollFlags, deadline: Deadline) -> Result<(), Refusal> {
        match wait(Some((self.stream.as_fd(), flags)), self.interrupt.as_deref(), deadline) {
            Ok(Woken::Ready) => Ok(()),
            Ok(Woken::Elapsed) => {
                Err(Refusal::new(Kind::TimedOut, "the server did not answer in time"))
            }
            Ok(Woken::Interrupted) => Err(Refusal::new(Kind::Interrupted, "interrupted")),
            Err(errno) => Err(gone(&errno.into())),
        }
    }
}

/// How much of a request went out before the connection turned out to be dead.
#[derive(PartialEq, Eq)]
enum Sent {
    All,
    Nothing,
}

/// While a keeper lives, a server that does not answer is about to be followed by one that does.
fn connected_patiently(path: &Path, interrupt: Option<&Interrupt>) -> Result<UnixStream, Refusal> {
    let deadline = Deadline::within(SUCCESSION);
    loop {
        match connected(path) {
            Err(refusal) if refusal.kind == Kind::NoServer && !deadline.has_passed() => {
                if !is_kept(path) {
                    return Err(refusal);
                }
                // A failed wait is a short one.
                let look = Deadline::within(SUCCESSION_LOOK);
                if wait(None, interrupt, look) == Ok(Woken::Interrupted) {
                    return Err(Refusal::new(Kind::Interrupted, "interrupted"));
                }
            }
            other => return other,
        }
    }
}

/// Whether the keeper of the home that this socket is in lives, as far as its lock file says.
fn is_kept(socket: &Path) -> bool {
    let lock = socket.parent().map(|it| it.join("zinit/lock"));
    let lock = lock.and_then(|it| fs::read_to_string(it).ok()).unwrap_or_default();
    let pid = lock.lines().find_map(|it| it.strip_prefix("pid "));
    let comm = pid.and_then(|it| fs::read_to_string(format!("/proc/{it}/comm")).ok());
    comm.is_some_and(|it| it == "zinit-keeper\n")
}

fn connected(path: &Path) -> Result<UnixStream, Refusal> {
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            no_server(path)
        }
        ErrorKind::PermissionDenied => {
            let message = format!("may not connect to {}", path.display());
            Refusal::new(Kind::Forbidden, message).hint("the socket belongs to another user")
        }
        ErrorKind::InvalidInput => {
            let message = format!("no socket can be at {}: {error}", path.display());
            Refusal::new(Kind::BadArgument, message).hint("`--socket PATH` names a shorter one")
        }
        _ => {
            let message = format!("cannot connect to {}: {error}", path.display());
            Refusal::new(Kind::Internal, message)
        }
    })?;
    stream.set_nonblocking(true).map_err(|it| gone(&it))?;
    Ok(stream)
}

fn no_server(path: &Path) -> Refusal {
    Refusal::new(Kind::NoServer, format!("no server answers at {}", path.display()))
        .hint("`zinit server start` starts one")
        .with("path", path.display().to_string())
}

/// The server went away in the middle of a call, so nobody knows what came of it.
fn gone(error: &io::Error) -> Refusal {
    let message = match error.kind() {
        ErrorKind::UnexpectedEof => "the server went away before it answered".to_owned(),
        _ => format!("the connection to the server broke: {error}"),
    };
    Refusal::new(Kind::NoServer, message).hint(
        "it may or may not have done what was asked; `zinit server status` shows if it is back",
    )
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over by value")]
fn garbled(error: serde_json::Error) -> Refusal {
    Refusal::new(Kind::Internal, format!("the server's answer makes no sense: {error}"))
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let mut data = match failure.data {
            Some(Value::Object(data)) => data,
            Some(Value::Null) | None => Map::new(),
            Some(other) => Map::from_iter([("detail".to_owned(), other)]),
        };
        // The kind as a word, which the code says already.
        data.remove("reason");
        let hint = match data.remove("hint") {
            Some(Value::String(hint)) => Some(hint),
            _ => None,
        };
        Self { kind: Kind::of_code(failure.code), message: failure.message, hint, data }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use serde_json::json;

    use super::*;

    /// A server that answers each connection with one of these scripts, line by line.
    fn fake(name: &str, connections: Vec<Vec<String>>) -> PathBuf {
        let path = std::env::temp_dir().join(format!("zc-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a free path");
        thread::spawn(move || {
            for answers in connections {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
                for answer in answers {
                    let _ = lines.next();
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        path
    }

    fn ok(id: u64, result: &Value) -> String {
        format!("{}\n", json!({ "jsonrpc": "2.0", "result": result, "id": id }))
    }

    #[test]
    fn where_nothing_listens_one_line_says_so_and_names_the_command() {
        let refusal = Client::connect(Path::new("/nowhere/zinit.sock")).expect_err("no server");
        assert_eq!(refusal.kind, Kind::NoServer);
        assert_eq!(refusal.message, "no server answers at /nowhere/zinit.sock");
        assert_eq!(refusal.hint.as_deref(), Some("`zinit server start` starts one"));
    }

    #[test]
    fn a_connection_serves_many_calls_and_replies_of_any_size() {
        let big = Value::String("x".repeat(3_000_000));
        let path = fake("many", vec![vec![ok(1, &json!("pong")), ok(2, &big)]]);
        let mut client = Client::connect(&path).expect("a server");
        assert_eq!(client.call("system.ping", json!([])), Ok(json!("pong")));
        assert_eq!(client.call("logs.get", json!([])), Ok(big));
    }

    #[test]
    fn a_server_that_came_back_is_called_on_a_new_connection() {
        let path = fake("again", vec![vec![ok(1, &json!(1))], vec![ok(2, &json!(2))]]);
        let mut client = Client::connect(&path).expect("a server");
        assert_eq!(client.call("a", json!([])), Ok(json!(1)));
        assert_eq!(client.wait_closed(Duration::from_secs(5)), Ok(true));
        assert_eq!(client.call("b", json!([])), Ok(json!(2)));
    }

    #[test]
    fn an_error_becomes_a_refusal_with_its_hint_and_facts() {
        let data =
            json!({ "reason": "unknown_service", "hint": "did you mean `web`?", "service": "wbe" });
        let error = json!({ "code": -32000, "message": "there is no service `wbe`", "data": data });
        let reply = format!("{}\n", json!({ "jsonrpc": "2.0", "error": error, "id": 1 }));
        let path = fake("error", vec![vec![reply]]);
        let mut client = Client::connect(&path).expect("a server");
        let refusal = client.call("service.status", json!(["wbe"])).expect_err("an error");
        assert_eq!(refusal.kind, Kind::UnknownService);
        assert_eq!(refusal.hint.as_deref(), Some("did you mean `web`?"));
        assert_eq!(refusal.data, Map::from_iter([("service".to_owned(), json!("wbe"))]));
    }

    #[test]
    fn a_late_reply_to_a_call_that_was_given_up_is_not_taken_for_the_next_one() {
        let late = format!("{}{}", ok(1, &json!("late")), ok(2, &json!("mine")));
        let path = fake("late", vec![vec![String::new(), late]]);
        let mut client = Client::connect(&path).expect("a server");
        let first = client.call_within("slow", json!([]), Duration::from_millis(20));
        assert_eq!(first.expect_err("no answer").kind, Kind::TimedOut);
        assert_eq!(client.call("quick", json!([])), Ok(json!("mine")));
    }

    #[test]
    fn an_interrupt_ends_a_call_at_once() {
        let path = fake("stuck", vec![vec![String::new(), String::new()]]);
        let interrupt = Interrupt::new().expect("a descriptor");
        let mut client = Client::connect(&path).expect("a server").interrupted_by(&interrupt);
        interrupt.raise();
        assert_eq!(client.call("x", json!([])).expect_err("none").kind, Kind::Interrupted);
    }
}

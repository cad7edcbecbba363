//! The server as its clients see it: JSON-RPC, a line each way, on a connection for each question.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_keeper::home;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// JSON-RPC for a method that is not there.
const NO_METHOD: i64 = -32601;

/// No answer that is asked for is longer.
const LINE_MAX: u64 = 1 << 16;

/// Where the server listens, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    socket: PathBuf,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pong {
    pub(crate) version: String,
    /// Servers before 0.4.1 do not say it.
    pub(crate) pid: Option<i64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nobody listens.
    Nobody,
    /// Somebody listens, and does not answer.
    Silent(String),
    /// The server has no such method.
    NoMethod,
    /// The server said no.
    Refused(String),
}

impl Server {
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks who is there.
    pub(crate) fn ping(&self, patience: Duration) -> Result<Pong, NoAnswer> {
        let (pong, _) = self.pong(patience)?;
        Ok(pong)
    }

    /// Asks who is there, and keeps the connection, which tells when that one is gone.
    pub(crate) fn pong(&self, patience: Duration) -> Result<(Pong, Line), NoAnswer> {
        let mut line = Line::connect(&self.socket, patience)?;
        let pong = line.ask("system.ping", &json!({}))?;
        let version = pong["version"].as_str().unwrap_or("unknown").to_owned();
        Ok((Pong { version, pid: pong["pid"].as_i64() }, line))
    }

    /// Has the server begin anew from its file.
    pub(crate) fn renew(&self) -> Result<(), NoAnswer> {
        let mut line = Line::connect(&self.socket, PATIENCE)?;
        line.ask("system.renew", &json!({ "keeper": false })).map(drop)
    }

    /// Has its keeper do so, which is for when the new server has shown that it is well.
    pub(crate) fn renew_keeper(&self) -> Result<(), NoAnswer> {
        let mut line = Line::connect(&self.socket, PATIENCE)?;
        line.ask("system.renew", &json!({ "keeper": true, "server": false })).map(drop)
    }

    /// Kills a server that listens and does not answer, so that its keeper starts another one.
    pub(crate) fn kill(&self) {
        let Ok(line) = Line::connect(&self.socket, PATIENCE) else { return };
        if let Ok(peer) = getsockopt(line.0.get_ref(), PeerCredentials)
            && self.is_kept(peer.pid())
        {
            let _ = kill(Pid::from_raw(peer.pid()), Signal::SIGKILL);
        }
    }

    /// Whether that process is a child of the keeper of this home, who starts another one.
    fn is_kept(&self, pid: i32) -> bool {
        let keeper = home::holder(&self.socket.with_file_name("zinit").join("lock"));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|it| it.strip_prefix("PPid:")?.trim().parse().ok());
        keeper.is_some() && keeper == parent
    }

    /// How long somebody who is well may take to answer.
    pub(crate) fn patience() -> Duration {
        PATIENCE
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Line(BufReader<UnixStream>);

impl Line {
    fn connect(socket: &Path, patience: Duration) -> Result<Self, NoAnswer> {
        let nobody = |error: io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => NoAnswer::Nobody,
            _ => silent(&error),
        };
        let stream = UnixStream::connect(socket).map_err(nobody)?;
        let line = Self(BufReader::new(stream));
        line.wait_for(patience).map_err(|it| silent(&it))?;
        Ok(line)
    }

    fn wait_for(&self, patience: Duration) -> io::Result<()> {
        let patience = Some(patience.max(Duration::from_millis(1)));
        self.0.get_ref().set_write_timeout(patience)?;
        self.0.get_ref().set_read_timeout(patience)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, NoAnswer> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = String::new();
        let asked = writeln!(self.0.get_mut(), "{request}")
            .and_then(|()| self.0.by_ref().take(LINE_MAX).read_line(&mut answer));
        asked.map_err(|it| silent(&it))?;
        let answer: Value =
            serde_json::from_str(&answer).map_err(|_| NoAnswer::Silent("it hung up".to_owned()))?;
        let error = &answer["error"];
        match (error["code"].as_i64(), error["message"].as_str()) {
            (Some(NO_METHOD), _) => Err(NoAnswer::NoMethod),
            (_, Some(message)) => Err(NoAnswer::Refused(message.to_owned())),
            _ => Ok(answer["result"].clone()),
        }
    }

    /// Waits until whoever answered is gone, and says whether that happened in this time.
    pub(crate) fn is_gone_within(&mut self, time: Duration) -> bool {
        if self.wait_for(time).is_err() {
            return true;
        }
        match self.0.get_mut().read(&mut [0]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

fn silent(error: &io::Error) -> NoAnswer {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            NoAnswer::Silent("it does not answer".to_owned())
        }
        _ => NoAnswer::Silent(super::refusal::plainly(error)),
    }
}

impl NoAnswer {
    /// The same as a sentence about the server.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Nobody => "nobody listens on its socket".to_owned(),
            Self::Silent(why) => why.clone(),
            Self::NoMethod => "it does not know how to".to_owned(),
            Self::Refused(message) => message.clone(),
        }
    }
}

//! A server with a fake core, and clients that speak raw bytes.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use serde_json::{Value, json};
use tokio::sync::watch;
use zinit_host::board::{Board, Status};
use zinit_host::chronicle::{Change, Chronicle};
use zinit_host::desk::{Command, Desk, Letter, Reload, Reply, Step, Verb};
use zinit_host::logs::Logs;
use zinit_host::logs::line::{Head, Mark};
use zinit_host::name::ServiceName;
use zinit_host::probe::Teller;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::relay::Faces;
use zinit_host::rpc::office::Office;
use zinit_host::rpc::server::{Doors, serve, tcp_address};
use zinit_host::store::Store;
use zinit_keeper::wire::Then;

/// How long anything here may take before it counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// When the first line is written.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// A running server. Dropping it stops it, and fails if it does not stop.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) board: Arc<Board>,
    pub(crate) logs: Logs,
    pub(crate) chronicle: Arc<Chronicle>,
    pub(crate) faces: Faces,
    pub(crate) tcp: Option<SocketAddr>,
    heard: Receiver<Command>,
    lines: AtomicI64,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// A directory of its own for each test.
pub(crate) fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("zinit-rpc-{}-{count}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|doors, _| doors)
    }

    pub(crate) fn with_tcp() -> Self {
        Self::with(|doors, dir| {
            doors.and_tcp(tcp_address("0").unwrap(), &dir.join("token")).unwrap()
        })
    }

    fn with(furnish: impl Fn(Doors, &Path) -> Doors) -> Self {
        let dir = scratch();
        let socket = dir.join("zinit.sock");
        let doors = furnish(Doors::open(&socket).unwrap(), &dir);
        let tcp = doors.tcp_address();
        let (news, _) = channel();
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let logs = Logs::start(&dir.join("logs"), Teller::new(news, Arc::new(bell))).unwrap();
        let board = Arc::new(Board::default());
        // Whoever comes first follows from here on.
        logs.trails().publish(BEGIN_NS - 1);
        let (desk, inbox, _bell) = Desk::new().unwrap();
        let (stop, stopped) = watch::channel(false);
        let chronicle = Arc::new(Chronicle::new());
        let (store, faces) = (Store::new(dir.join("cfg")), Faces::default());
        let office = Office::new(
            Arc::clone(&board),
            desk,
            logs.clone(),
            store,
            Arc::clone(&chronicle),
            faces.clone(),
            stopped,
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = thread::spawn(move || runtime.block_on(serve(office, doors)).unwrap());
        let (seen, shown, ender) = (Arc::clone(&board), faces.clone(), stop.clone());
        let (tell, heard) = channel();
        let core = thread::spawn(move || core(&seen, &shown, &inbox, &tell, &ender));
        let (threads, lines) = (vec![server, core], AtomicI64::new(0));
        Self { dir, socket, board, logs, chronicle, faces, tcp, heard, lines, stop, threads }
    }

    pub(crate) fn client(&self) -> Client<UnixStream> {
        Client::new(UnixStream::connect(&self.socket).unwrap())
    }

    pub(crate) fn post(&self, name: &str, state: &str, pid: i32) {
        self.board.post(status(name, state, pid));
        self.board.announce();
    }

    /// Posts a service with more to it.
    pub(crate) fn post_with(&self, name: &str, state: &str, more: impl FnOnce(&mut Status)) {
        let mut status = status(name, state, 0);
        more(&mut status);
        self.board.post(status);
        self.board.announce();
    }

    /// Writes down a change from one state to another.
    pub(crate) fn change(&self, name: &str, from: &'static str, to: &str, why: &str) {
        let mut now = status(name, to, 7);
        now.reason = why.into();
        self.chronicle.add(1_000, Change::of(from.into(), &now));
        self.chronicle.announce();
    }

    /// Has a service write a line, as the thread of the logs does it. Returns its time.
    pub(crate) fn writes(&self, name: &str, text: &str) -> i64 {
        self.writes_as(name, false, Mark::None, text)
    }

    pub(crate) fn writes_as(&self, name: &str, stderr: bool, mark: Mark, text: &str) -> i64 {
        let at_ns = BEGIN_NS + self.lines.fetch_add(1, Ordering::Relaxed);
        let (mut line, dir) = (Vec::new(), self.dir.join("logs").join(name));
        Head { at_ns, stderr, incarnation: 7, mark }.write(&mut line);
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        fs::create_dir_all(&dir).unwrap();
        let file = OpenOptions::new().append(true).create(true).open(dir.join("current.log"));
        file.unwrap().write_all(&line).unwrap();
        let trails = self.logs.trails();
        let trail = trails.enter(&ServiceName::parse(name).unwrap(), &dir);
        trail.last_ns.store(at_ns, Ordering::Release);
        trails.publish(at_ns);
        at_ns
    }

    /// The commands that the core has heard since the last look.
    pub(crate) fn heard(&self) -> Vec<Command> {
        self.heard.try_iter().collect()
    }

    /// Stops the server and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

pub(crate) fn status(name: &str, state: &str, pid: i32) -> Status {
    Status {
        name: ServiceName::parse(name).unwrap(),
        pid,
        state: state.to_owned().into(),
        target: if state == "Stopped" { "Down" } else { "Up" }.into(),
        reason: "the test says so".into(),
        since_ms: 1,
        restarts: 0,
        last_exit: String::new(),
        oneshot: false,
        essential: false,
        after: vec![],
        requires: Vec::new(),
        wants: Vec::new(),
        groups: Vec::new(),
        labels: [].into(),
        policy: [].into(),
        waits_for: Vec::new(),
        next_ms: 0,
        next: "".into(),
        health: "".into(),
        goes_down: false,
        says: "".into(),
        incarnation: 0,
    }
}

/// Does at once what it is asked, but for services named `stuck...`, which never stop, and proxies that
/// are to listen at a path with `busy` in it.
fn core(
    board: &Board,
    faces: &Faces,
    inbox: &Receiver<Letter>,
    tell: &Sender<Command>,
    stop: &watch::Sender<bool>,
) {
    let own_pid = i32::try_from(std::process::id()).unwrap();
    while let Ok(letter) = inbox.recv() {
        let _ = tell.send(letter.command.clone());
        let post = |name: &ServiceName, state: &str, pid| {
            let groups = board.get(name.as_str()).map(|it| it.groups.clone()).unwrap_or_default();
            board.post(Status { groups, ..status(name.as_str(), state, pid) });
            Ok(())
        };
        let forget = |name: &ServiceName| {
            board.remove(name.as_str());
            Ok(())
        };
        let known = |name: &ServiceName| {
            let missing = || Refusal::unknown_service(name.as_str(), std::iter::empty());
            board.get(name.as_str()).ok_or_else(missing)
        };
        let names = || board.all().into_iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        let answer = match &letter.command {
            Command::Start { names, .. } | Command::Restart(names) => {
                names.iter().try_for_each(|it| known(it).and_then(|_| post(it, "Running", own_pid)))
            }
            Command::Stop(names) => names.iter().try_for_each(|it| match it.as_str() {
                stuck if stuck.starts_with("stuck") => {
                    known(it).and_then(|_| post(it, "Stopping", own_pid))
                }
                _ => known(it).and_then(|_| post(it, "Stopped", 0)),
            }),
            Command::Delete(names) => {
                names.iter().try_for_each(|it| known(it).and_then(|_| forget(it)))
            }
            Command::Vet(..) | Command::Decide(_) | Command::VetPolicy(_) | Command::TellPolicy => {
                Ok(())
            }
            Command::DefineProxy(proxy) => {
                let busy = proxy.listen_text().contains("busy");
                let why = || Refusal::new(Kind::BadConfig, "cannot listen: somebody else does");
                drop(faces.show(Arc::new((**proxy).clone()), busy.then(why)));
                Ok(())
            }
            Command::ForgetProxy(name) => {
                faces.remove(name);
                Ok(())
            }
            Command::Reload(reload) => {
                let _ = letter.answer.send(Ok(Reply::Plan(plan(board, reload))));
                continue;
            }
            Command::Kill(name, signal) => known(name).and_then(|it| match it.pid {
                0 => Err(Refusal::new(Kind::ServiceDown, format!("{signal}: it is down"))),
                _ => Ok(()),
            }),
            Command::Define(name, _) => post(name, "Running", own_pid),
            Command::StartAll => names().iter().try_for_each(|it| post(it, "Running", own_pid)),
            Command::StopAll => names().iter().try_for_each(|it| post(it, "Stopped", 0)),
            Command::DeleteAll => names().iter().try_for_each(forget),
            Command::Shutdown(Then::Exit) | Command::Renew { .. } => {
                stop.send_replace(true);
                Ok(())
            }
            Command::Shutdown(_) => Err(Refusal::new(Kind::Forbidden, "this is no machine")),
        };
        board.announce();
        let _ = letter.answer.send(answer.map(|()| Reply::Done));
    }
}

/// A stream whose reads give up in time.
pub(crate) trait Stream: std::io::Read + Write {
    fn impatient(&self);
    fn twin(&self) -> Self;
}

impl Stream for UnixStream {
    fn impatient(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }
}

impl Stream for std::net::TcpStream {
    fn impatient(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }
}

/// A client that sends what it is told, and reads lines.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) lines: BufReader<S>,
}

impl<S: Stream> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        stream.impatient();
        Self { lines: BufReader::new(stream.twin()), stream }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// The next line; an empty text when the server has closed.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn reply(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.send(format!("{request}\n"));
        self.reply()
    }

    pub(crate) fn result(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.ask(method, params);
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    pub(crate) fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let reply = self.ask(method, params);
        let error = &reply["error"];
        let message = error["message"].as_str().unwrap_or_else(|| panic!("{method}: {reply}"));
        (error["code"].as_i64().unwrap(), message.to_owned())
    }
}

/// Starts what is new; whatever was there is unchanged, or goes with its file.
fn plan(board: &Board, reload: &Reload) -> Vec<Step> {
    let step = |service: &ServiceName, verb, why: &str| Step {
        service: service.clone(),
        verb,
        why: why.to_owned(),
    };
    let mut steps = Vec::new();
    for (name, _) in &reload.files {
        steps.push(match board.get(name.as_str()) {
            Some(_) => step(name, Verb::Unchanged, "its file says the same"),
            None => step(name, Verb::Start, "new file"),
        });
        if !reload.dry_run && board.get(name.as_str()).is_none() {
            board.post(status(name.as_str(), "Running", 1));
        }
    }
    for name in board.all().iter().map(|it| it.name.clone()).filter(|_| reload.only.is_none()) {
        if !reload.files.iter().any(|(it, _)| *it == name) {
            steps.push(step(&name, Verb::Delete, "its file is gone"));
            if !reload.dry_run {
                board.remove(name.as_str());
            }
        }
    }
    board.announce();
    steps
}

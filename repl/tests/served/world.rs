//! A server with a fake core, and the command that talks to it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Process, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;
use zinit_host::board::{Board, Status};
use zinit_host::chronicle::{Change, Chronicle};
use zinit_host::desk::{Command, Desk, Letter, Reload, Reply, Step, Verb};
use zinit_host::logs::Logs;
use zinit_host::logs::line::{Head, Mark};
use zinit_host::name::ServiceName;
use zinit_host::probe::Teller;
use zinit_host::relay::Faces;
use zinit_host::rpc::office::Office;
use zinit_host::rpc::server::{Doors, serve};
use zinit_host::store::Store;

/// When the first line is written.
const BEGIN_NS: i64 = 1_700_000_000_000_000_000;

/// A running server. Dropping it stops it.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) board: Arc<Board>,
    pub(crate) logs: Logs,
    pub(crate) chronicle: Arc<Chronicle>,
    lines: AtomicI64,
    /// What the core has been asked.
    pub(crate) heard: Receiver<Command>,
    stop: Option<watch::Sender<bool>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a command printed, and its exit code.
pub(crate) type Told = (i32, String, String);

impl World {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("zinit-served-{}-{count}", std::process::id()));
        fs::create_dir_all(dir.join("var")).unwrap();
        Self::at(dir)
    }

    /// The next server of the same home, which knows the same services.
    pub(crate) fn restart(&mut self) {
        drop(self.stop.take());
        self.threads.drain(..).for_each(|it| drop(it.join()));
        let mut old = std::mem::replace(self, Self::at(self.dir.clone()));
        old.dir = PathBuf::from("/nowhere");
        self.lines.store(old.lines.load(Ordering::Relaxed), Ordering::Relaxed);
        for status in old.board.all() {
            self.board.post(Status::clone(&status));
        }
        for source in old.logs.trails().sources(&[]) {
            self.logs.trails().enter(&source.service, &source.trail.dir);
        }
        // What the server before has written is all in its files.
        self.logs.trails().publish(old.logs.trails().newest_ns());
    }

    fn at(dir: PathBuf) -> Self {
        let doors = Doors::open(&dir.join("var/zinit.sock")).unwrap();
        let (news, _) = channel();
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let logs = Logs::start(&dir.join("logs"), Teller::new(news, Arc::new(bell))).unwrap();
        let board = Arc::new(Board::default());
        // Whoever comes first follows from here on.
        logs.trails().publish(BEGIN_NS - 1);
        let (desk, inbox, _bell) = Desk::new().unwrap();
        let (stop, stopped) = watch::channel(false);
        let chronicle = Arc::new(Chronicle::new());
        let (store, faces) = (Store::new(dir.join("cfg/zinit")), Faces::default());
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
        let (tell, heard) = channel();
        let (seen, shown) = (Arc::clone(&board), faces.clone());
        let core = thread::spawn(move || core(&seen, &shown, &inbox, &tell));
        let (threads, lines) = (vec![server, core], AtomicI64::new(0));
        Self { dir, board, logs, lines, chronicle, heard, stop: Some(stop), threads }
    }

    pub(crate) fn post(&self, name: &str, state: &str, more: impl FnOnce(&mut Status)) {
        let mut status = status(name, state);
        more(&mut status);
        self.board.post(status);
        self.board.announce();
    }

    /// Writes down a change from one state to another.
    pub(crate) fn change(&self, name: &str, from: &'static str, to: &str, why: &str) {
        let mut now = status(name, to);
        now.reason = why.into();
        self.chronicle.add(1_000, Change::of(from.into(), &now));
        self.chronicle.announce();
    }

    /// Has a service write a line, as the thread of the logs does it, some nanoseconds after
    /// 2023-11-14T22:13:20Z.
    pub(crate) fn writes(&self, name: &str, text: &str) {
        self.writes_as(name, false, Mark::None, text);
    }

    pub(crate) fn writes_as(&self, of: &str, stderr: bool, mark: Mark, text: &str) {
        let at_ns = BEGIN_NS + self.lines.fetch_add(1, Ordering::Relaxed);
        let (mut line, dir) = (Vec::new(), self.dir.join("logs").join(of));
        Head { at_ns, stderr, incarnation: 7, mark }.write(&mut line);
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        fs::create_dir_all(&dir).unwrap();
        let file = OpenOptions::new().append(true).create(true).open(dir.join("current.log"));
        file.unwrap().write_all(&line).unwrap();
        self.logs.trails().enter(&name(of), &dir).last_ns.store(at_ns, Ordering::Release);
        self.logs.trails().publish(at_ns);
    }

    /// The command, not yet run.
    pub(crate) fn zinit(&self, args: &[&str]) -> Process {
        let mut zinit = Process::new(env!("CARGO_BIN_EXE_zinit"));
        zinit.args(args).current_dir(&self.dir).env("ZINIT_HOME", &self.dir);
        zinit.env_remove("NO_COLOR").stdin(Stdio::null());
        zinit.stdout(Stdio::piped()).stderr(Stdio::piped());
        zinit
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Told {
        told(self.zinit(args).output().unwrap())
    }

    /// What the command printed; it must succeed and complain of nothing.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}: {out}");
        out
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.threads.drain(..).for_each(|it| drop(it.join()));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn told(output: Output) -> Told {
    let text = |it| String::from_utf8(it).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(crate) fn names(all: &[&str]) -> Vec<ServiceName> {
    all.iter().map(|it| name(it)).collect()
}

pub(crate) fn status(of: &str, state: &str) -> Status {
    Status {
        name: name(of),
        pid: 0,
        state: state.to_owned().into(),
        target: if state == "Stopped" { "Down" } else { "Up" }.into(),
        reason: "the test says so".into(),
        since_ms: 1,
        restarts: 0,
        last_exit: String::new(),
        oneshot: false,
        essential: false,
        after: vec![],
        requires: vec![],
        wants: vec![],
        groups: vec![],
        labels: [].into(),
        policy: [].into(),
        waits_for: vec![],
        next_ms: 0,
        next: "".into(),
        health: "".into(),
        goes_down: false,
        says: "".into(),
        incarnation: 0,
    }
}

/// Does at once what it is asked, but for services named `stuck...`, which neither start nor stop.
fn core(board: &Board, faces: &Faces, inbox: &Receiver<Letter>, tell: &Sender<Command>) {
    while let Ok(letter) = inbox.recv() {
        let _ = tell.send(letter.command.clone());
        if let Command::Reload(reload) = &letter.command {
            let _ = letter.answer.send(Ok(Reply::Plan(plan(board, reload))));
            continue;
        }
        match &letter.command {
            Command::DefineProxy(proxy) => {
                drop(faces.show(Arc::new((**proxy).clone()), None));
            }
            Command::ForgetProxy(name) => faces.remove(name),
            _ => {}
        }
        let all = || board.all().iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        let (names, up) = match &letter.command {
            Command::Start { names, .. } | Command::Restart(names) => (names.clone(), true),
            Command::Stop(names) => (names.clone(), false),
            Command::StartAll => (all(), true),
            Command::StopAll => (all(), false),
            Command::Delete(names) => {
                names.iter().for_each(|it| board.remove(it.as_str()));
                (vec![], false)
            }
            Command::DeleteAll => {
                all().iter().for_each(|it| board.remove(it.as_str()));
                (vec![], false)
            }
            _ => (vec![], false),
        };
        for name in names {
            let is_stuck = name.as_str().starts_with("stuck");
            let state = match (up, is_stuck) {
                (true, true) => "Blocked",
                (true, false) => "Running",
                (false, true) => "Stopping",
                (false, false) => "Stopped",
            };
            let target = if up { "Up" } else { "Down" };
            board.post(Status { target: target.into(), ..status(name.as_str(), state) });
        }
        board.announce();
        let _ = letter.answer.send(Ok(Reply::Done));
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
            board.post(status(name.as_str(), "Running"));
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

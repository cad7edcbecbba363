//! A server of Zinit, as far as an update sees it. It is of the version of the program in the directory
//! when it begins anew.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, until, version_in};

/// A test that waits longer than this for something has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong with the version that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Nothing.
    Well,
    /// It never listens.
    NeverComes,
    /// It listens, and says nothing.
    Silent,
    /// It listens, and ends after its first answer.
    EndsSoon,
    /// It is started anew after each answer, as one that crashes now and then.
    Flaps,
    /// It says no when it is to begin anew.
    Refuses,
    /// It does not know how to begin anew.
    TooOld,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Brain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    temper: Temper,
    old: String,
    program: PathBuf,
    socket: PathBuf,
    life: Mutex<Life>,
    tell: Mutex<Sender<String>>,
    told: Mutex<Receiver<String>>,
}

#[derive(Debug)]
struct Life {
    version: String,
    pid: i64,
    connections: Vec<UnixStream>,
}

impl Brain {
    /// Starts it as the version that is installed.
    pub(crate) fn start(world: &World, temper: Temper) -> Self {
        let (program, socket) = (world.path("bin/zinit-server"), world.path("home/var/zinit.sock"));
        let version = version_in(&program);
        let listener = UnixListener::bind(&socket).expect("the socket can be made");
        let (tell, told) = channel();
        let brain = Self(Arc::new(Shared {
            temper,
            old: version.clone(),
            program,
            socket,
            life: Mutex::new(Life { version, pid: 100, connections: Vec::new() }),
            tell: Mutex::new(tell),
            told: Mutex::new(told),
        }));
        let server = brain.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let brain = server.clone();
                thread::spawn(move || brain.serve(stream));
            }
        });
        brain
    }

    /// What runs.
    pub(crate) fn version(&self) -> String {
        self.life().version.clone()
    }

    /// How often it has begun anew.
    pub(crate) fn lives(&self) -> i64 {
        self.life().pid - 100
    }

    /// Waits until somebody asks this.
    #[track_caller]
    pub(crate) fn is_asked(&self, method: &str) {
        let told = self.0.told.lock().expect("nobody panics with it");
        while told.recv_timeout(PATIENCE).expect("it is asked in time") != method {}
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.life.lock().expect("nobody panics with it")
    }

    fn serve(&self, stream: UnixStream) -> Option<()> {
        self.life().connections.push(stream.try_clone().ok()?);
        let mut writer = stream.try_clone().ok()?;
        for line in BufReader::new(stream).lines() {
            let request: Value = serde_json::from_str(&line.ok()?).ok()?;
            let method = request["method"].as_str()?;
            if self.0.temper == Temper::Silent && self.version() != self.0.old {
                self.hold();
            }
            let answer = self.answer(method, &request["params"]);
            writeln!(writer, "{answer}").ok()?;
            let _ = self.0.tell.lock().expect("nobody panics with it").send(method.to_owned());
            if request["params"]["server"] != false {
                self.after(method);
            }
        }
        None
    }

    fn answer(&self, method: &str, params: &Value) -> Value {
        let error =
            |code: i64, it: &str| json!({ "id": 1, "error": { "code": code, "message": it } });
        match (method, self.0.temper) {
            ("system.ping", _) => {
                let life = self.life();
                let pong = json!({ "message": "pong", "version": life.version, "pid": life.pid });
                json!({ "jsonrpc": "2.0", "id": 1, "result": pong })
            }
            ("system.renew", Temper::Refuses) => error(-32_000, "not today"),
            ("system.renew", Temper::TooOld) => error(-32_601, "unknown method"),
            ("system.renew", _) if params["keeper"].is_boolean() => {
                json!({ "jsonrpc": "2.0", "id": 1, "result": true })
            }
            _ => error(-32_602, "what is meant?"),
        }
    }

    fn after(&self, method: &str) {
        let is_new = self.version() != self.0.old;
        match (method, self.0.temper) {
            ("system.renew", Temper::Refuses | Temper::TooOld) => {}
            ("system.renew", Temper::NeverComes) if self.installed() != self.0.old => self.vanish(),
            ("system.renew", _) => self.begin_anew(),
            ("system.ping", Temper::EndsSoon) if is_new => self.vanish(),
            ("system.ping", Temper::Flaps) if is_new => self.begin_anew(),
            _ => {}
        }
    }

    fn installed(&self) -> String {
        version_in(&self.0.program)
    }

    /// Says nothing for longer than anybody waits.
    fn hold(&self) {
        let (_keep, never) = channel::<()>();
        let _ = never.recv_timeout(2 * PATIENCE);
    }

    /// Another process has taken over: everybody is hung up on.
    fn begin_anew(&self) {
        let mut life = self.life();
        life.version = self.installed();
        life.pid += 1;
        drop(life);
        self.hang_up();
    }

    fn hang_up(&self) {
        let connections = std::mem::take(&mut self.life().connections);
        connections.into_iter().for_each(|it| drop(it.shutdown(Shutdown::Both)));
    }

    /// Nobody listens, until the old program is back and the keeper has started it.
    fn vanish(&self) {
        let hidden = self.0.socket.with_extension("hidden");
        if fs::rename(&self.0.socket, &hidden).is_err() {
            return;
        }
        self.hang_up();
        let brain = self.clone();
        thread::spawn(move || {
            until("the old program", || brain.installed() == brain.0.old);
            brain.begin_anew();
            let _ = fs::rename(&hidden, &brain.0.socket);
        });
    }
}

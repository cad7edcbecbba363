//! What scripts can touch: the few primitives of the `host::` namespace, one file per noun.
//!
//! A primitive does one thing, takes no options and retries nothing; what to make of it is decided
//! in `stdlib/`. They live in a namespace because there no function of a user can take their place.
//! Every one that waits also waits for the interrupt.

pub mod env;
pub mod fs;
pub mod log;
pub mod net;
pub mod proc;
pub mod record;
pub mod rpc;
pub mod signal;
pub mod time;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rhai::plugin::{combine_with_exported_module, exported_module};
use rhai::{Dynamic, Engine, EvalAltResult, Module, NativeCallContext, Position, Shared};
use serde_json::Value;

use crate::interrupt::Interrupt;
use crate::refusal::{Kind, Refusal};
use crate::rpc::client::Client;

/// What a primitive answers: a value, or what becomes an error of the script.
pub(crate) type Said<T> = Result<T, Box<EvalAltResult>>;

/// What the words of one script work on. Cheap to make: it connects when it is first needed.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    interrupt: Arc<Interrupt>,
    client: RefCell<Option<Client>>,
    /// What the script has set. The process's own environment is never changed: threads read it.
    env: RefCell<BTreeMap<String, String>>,
    output_gone: Cell<bool>,
}

impl Session {
    /// A session with the server at `socket`.
    pub fn new(socket: &Path, interrupt: &Arc<Interrupt>) -> Rc<Self> {
        Rc::new(Self {
            socket: socket.to_owned(),
            interrupt: Arc::clone(interrupt),
            client: RefCell::default(),
            env: RefCell::default(),
            output_gone: Cell::default(),
        })
    }

    /// Calls a method of the server.
    ///
    /// # Errors
    /// What the client or the server refuses.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, Refusal> {
        let mut client = self.client.borrow_mut();
        let client = match client.as_mut() {
            Some(client) => client,
            None => client.insert(Client::connect_unless(&self.socket, &self.interrupt)?),
        };
        client.call(method, params)
    }

    /// What ends whatever the script waits for.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether nobody reads what the script prints any more.
    pub fn is_output_gone(&self) -> bool {
        self.output_gone.get()
    }

    /// Prints a line at once. When nobody reads any more, the script ends soon after.
    pub fn print(&self, line: &str) {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            self.output_gone.set(true);
        }
    }

    /// The session of the script that calls.
    fn of(ctx: &NativeCallContext<'_>) -> Said<Rc<Self>> {
        let session = ctx.tag().and_then(|it| it.clone().try_cast::<Rc<Self>>());
        session.ok_or_else(|| thrown(Refusal::new(Kind::Internal, "this engine has no session")))
    }
}

/// An error that a script can catch, and read as `err.code`, `err.message` and `err.hint`. An
/// interrupt cannot be caught.
pub fn thrown(refusal: Refusal) -> Box<EvalAltResult> {
    if refusal.kind == Kind::Interrupted {
        return EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into();
    }
    let mut error = rhai::Map::new();
    for (key, value) in refusal.data {
        error.insert(key.into(), rhai::serde::to_dynamic(value).unwrap_or_default());
    }
    error.insert("code".into(), refusal.kind.word().into());
    error.insert("message".into(), refusal.message.into());
    error.insert("hint".into(), refusal.hint.unwrap_or_default().into());
    EvalAltResult::ErrorRuntime(error.into(), Position::NONE).into()
}

fn interrupted() -> Box<EvalAltResult> {
    thrown(Refusal::new(Kind::Interrupted, "interrupted"))
}

fn bad_argument(message: String) -> Box<EvalAltResult> {
    thrown(Refusal::new(Kind::BadArgument, message))
}

/// Teaches an engine the words of the `host::` namespace, and the two global ones that take the
/// place of Rhai's own: a `sleep` that can be interrupted and an `exit` that is no value.
pub fn teach(engine: &mut Engine, session: &Rc<Session>) {
    engine.set_default_tag(Dynamic::from(Rc::clone(session)));
    let mut host = Module::new();
    combine_with_exported_module!(&mut host, "rpc", rpc::words);
    combine_with_exported_module!(&mut host, "net", net::words);
    combine_with_exported_module!(&mut host, "fs", fs::words);
    combine_with_exported_module!(&mut host, "log", log::words);
    combine_with_exported_module!(&mut host, "time", time::words);
    combine_with_exported_module!(&mut host, "env", env::words);
    combine_with_exported_module!(&mut host, "signal", signal::words);
    combine_with_exported_module!(&mut host, "proc", proc::words);
    combine_with_exported_module!(&mut host, "record", record::words);
    engine.register_static_module("host", Shared::new(host));
    engine.register_global_module(Shared::new(exported_module!(time::instead)));
    engine.register_global_module(Shared::new(exported_module!(proc::instead)));
    record::teach::<record::Service>(engine);
    record::teach::<record::Proxy>(engine);
}

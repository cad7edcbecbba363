//! Whoever listens to a server all the time, over all its deaths, and remembers what it said.

#![expect(clippy::disallowed_methods, reason = "it says when it heard what")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use zinit_host::refusal::Refusal;
use zinit_host::rpc::client::Client;

use crate::record::{Absence, Seen};

/// Everything that was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What was said of each service, each change once.
    pub(crate) seen: BTreeMap<String, Vec<Seen>>,
    /// When there was nobody to say anything.
    pub(crate) deaf: Vec<Absence>,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Watch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Heard>,
}

impl Watch {
    /// How long a server may be silent.
    const TURN_SECS: u64 = 1;

    /// Begins to listen.
    pub(crate) fn new(socket: &Path) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (socket, ended) = (socket.to_owned(), Arc::clone(&ends));
        Self { ends, thread: std::thread::spawn(move || listen(&socket, &ended)) }
    }

    /// What was heard.
    pub(crate) fn end(self) -> Heard {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.expect("it is after 1970").as_millis()).expect("it is before 500,000,000")
}

fn listen(socket: &Path, ends: &AtomicBool) -> Heard {
    let mut heard = Heard::default();
    let mut latest_ms = now_ms();
    while !ends.load(Ordering::Relaxed) {
        // The server is dead, or dies while it speaks: there is another one soon.
        let _ = heard.listen_to_one(socket, ends, &mut latest_ms);
    }
    heard
}

impl Heard {
    /// Listens until the server dies. What it says first makes up for what nobody heard.
    fn listen_to_one(
        &mut self,
        socket: &Path,
        ends: &AtomicBool,
        latest_ms: &mut u64,
    ) -> Result<(), Refusal> {
        let mut client = Client::connect(socket)?;
        let mut call = |method, params| {
            let limit = Duration::from_secs(Watch::TURN_SECS + 5);
            client.call_within(method, params, limit)
        };
        let mut cursor = call("events.wait", json!([null, 0]))?["cursor"].clone();
        self.ask_all(&mut call, latest_ms)?;
        while !ends.load(Ordering::Relaxed) {
            let asked_ms = now_ms();
            let news = call("events.wait", json!([cursor, Watch::TURN_SECS]))?;
            let (first, last) = (news["entries"][0]["seq"].as_u64(), cursor.as_u64());
            // Too much has happened, or it is another server that answers now.
            if first.is_some_and(|it| Some(it) != last.map(|it| it + 1)) {
                self.ask_all(&mut call, latest_ms)?;
            }
            cursor = news["cursor"].clone();
            for entry in news["entries"].as_array().into_iter().flatten() {
                self.note(&entry["service"], &entry["pid"], &entry["exit"], &entry["at_ms"]);
            }
            // Only so far it is sure that nothing has happened besides.
            let entry_ms = news["entries"].as_array().and_then(|it| it.last()?["at_ms"].as_u64());
            *latest_ms = asked_ms.max(entry_ms.unwrap_or_default());
        }
        Ok(())
    }

    /// Asks for everything after a time in which something may have been missed.
    fn ask_all(
        &mut self,
        call: &mut impl FnMut(&'static str, Value) -> Result<Value, Refusal>,
        latest_ms: &mut u64,
    ) -> Result<(), Refusal> {
        let asked_ms = now_ms();
        let all = call("service.status_all", json!([]))?;
        let now = now_ms();
        self.deaf.push((*latest_ms, now));
        *latest_ms = asked_ms;
        for it in all.as_array().into_iter().flatten() {
            self.note(&it["name"], &it["pid"], &it["last_exit"], &json!(now));
        }
        Ok(())
    }

    fn note(&mut self, name: &Value, pid: &Value, exit: &Value, at_ms: &Value) {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let pid = pid.as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or_default();
        let seen = Seen { at_ms: at_ms.as_u64().unwrap_or_default(), pid, exit: text(exit) };
        let all = self.seen.entry(text(name)).or_default();
        if all.last().is_none_or(|it| (it.pid, &it.exit) != (seen.pid, &seen.exit)) {
            all.push(seen);
        }
    }
}

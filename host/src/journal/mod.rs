//! The journal: what happened, what was decided about it and from what, as lines of JSON in
//! `STATE_DIR/journal`.
//!
//! The core's thread fills a buffer ([`Recorder`]) and hands it over; a thread of the journal writes,
//! closes a segment when it is large, compresses it and keeps the newest. A disk that is full or stuck
//! costs records, which are counted, and nothing else.
//!
//! | line | what it is |
//! |---|---|
//! | `{"journal":1,...}` | the head of what a server has written |
//! | `{"def":D,"spec":YAML}`, `{"def":D,"files":[[PATH,TEXT],...]}` | a configuration, a policy; later lines name it `D` |
//! | `{"at":T,"decided_by":D}` or `"in_force"` | this policy decides from here on, or since earlier |
//! | `{"at":T,...,"service":S,"event":{...},...,"said":[...]}` | a decision about an event |
//! | `{"at":T,...,"hook":H,...,"said":...}` | an answer of a hook that the core has asked by itself |
//! | `{"seq":N,"at_ms":T,"service":S,"from":...}` | a change of a service, as `zinit events` tells it |
//! | `{"at":T,...,"fault":{...}}` | a fault of a user's function in a question that is not written down |
//! | `{"at":T,"asked":...}`, `{"at":T,"dropped":N}` | a command; so many records are missing here |

mod read;
mod recorder;
mod refill;
mod values;
mod writer;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

pub use read::{Reader, Record, files, lines};
pub use recorder::Recorder;
pub use refill::last_policy;
pub use values::{of_json, to_json};
pub use writer::closed_ms;

use crate::chronicle::{Chronicle, Entry};
use crate::decision::{Decision, Fault};
use crate::desk::{Answer, Command};
use crate::name::ServiceName;
use crate::policy::Sources;
use writer::{Chunk, Shared, Writer};

/// The file that is being written.
pub const CURRENT: &str = "current.jsonl";

/// A segment that is larger is closed.
pub const SEGMENT_MAX: u64 = 8 << 20;

/// How many closed segments are kept.
pub const SEGMENTS_MAX: usize = 64;

/// How much may wait to be written.
pub const QUEUED_MAX: usize = 8 << 20;

/// What is recorded is handed over when it is so much, however long the rest takes.
const CHUNK: usize = 256 << 10;

/// How long the end of a server waits for the last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where the journal of this server is.
pub fn dir_of(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// The way to the journal's thread.
#[derive(Debug)]
pub struct Way {
    queue: Option<Sender<Chunk>>,
    shared: Arc<Shared>,
    /// Heard when all is written.
    done: Receiver<()>,
}

/// Begins the journal of this server. What earlier ones have written there comes back into the
/// chronicle, and when that is done, the receiver hears of it.
pub fn begin(state_dir: &Path, chronicle: Arc<Chronicle>) -> (Way, Receiver<()>) {
    let shared = Arc::new(Shared::default());
    let (queue, chunks) = mpsc::channel();
    let (tell_done, done) = mpsc::channel();
    let (tell_refilled, refilled) = mpsc::channel();
    let mut writer = Writer::new(dir_of(state_dir), Arc::clone(&shared));
    let write = move || {
        chronicle.refill(refill::entries(writer.dir()));
        let _ = tell_refilled.send(());
        writer.run(&chunks);
        let _ = tell_done.send(());
    };
    let started = thread::Builder::new().name("journal".to_owned()).spawn(write);
    if let Err(error) = &started {
        shared.fails(&format!("it has no thread: {error}"));
    }
    (Way { queue: started.is_ok().then_some(queue), shared, done }, refilled)
}

/// The core's end of the journal.
#[derive(Debug)]
pub struct Journal {
    recorder: Recorder,
    way: Way,
    /// What is missing and was not told yet.
    missing: u64,
    /// What this server has written into the segment.
    written: u64,
    /// Whether the segment was begun by this server.
    is_own: bool,
    /// The next chunk can be read without those before it, because one of them is missing.
    anew: bool,
    /// The next chunk begins a segment.
    over: bool,
    complained: bool,
}

impl Journal {
    /// A journal that goes this way.
    pub fn new(way: Way) -> Self {
        Self {
            recorder: Recorder::default(),
            way,
            missing: 0,
            written: 0,
            is_own: false,
            anew: true,
            over: false,
            complained: false,
        }
    }

    /// A decision was made.
    pub fn decided(&mut self, at: i64, decision: &Decision) {
        self.open(at);
        self.recorder.decided(at, decision);
        if self.recorder.len() >= CHUNK {
            self.hand_over();
        }
    }

    /// This policy decides from now on.
    pub fn decided_by(&mut self, at: i64, sources: &Rc<Sources>) {
        self.open(at);
        self.recorder.decided_by(at, sources);
    }

    /// A user's function has failed.
    pub fn faulted(&mut self, at: i64, service: Option<&ServiceName>, fault: &Fault) {
        self.open(at);
        self.recorder.faulted(at, service, fault);
    }

    /// A service stands differently now.
    pub fn changed(&mut self, entry: &Entry) {
        self.open(entry.at_ms);
        self.recorder.changed(entry);
    }

    /// Somebody has asked for something.
    pub fn asked(&mut self, at: i64, command: &Command, answer: &Answer) {
        self.open(at);
        self.recorder.asked(at, command, answer);
    }

    /// The service is no more.
    pub fn forget(&mut self, name: &ServiceName) {
        self.recorder.forget(name);
    }

    /// Hands over what was recorded. Says once what keeps it from being written.
    pub fn flush(&mut self) -> Option<String> {
        if !self.recorder.is_empty() {
            self.hand_over();
        }
        let why = self.way.shared.why().filter(|_| !self.complained)?;
        self.complained = true;
        Some(format!("the journal is incomplete: {why}"))
    }

    fn hand_over(&mut self) {
        let (lines, records) = self.recorder.take();
        let chunk = Chunk { lines, records, anew: self.anew, over: self.over };
        self.send(chunk);
    }

    fn send(&mut self, chunk: Chunk) {
        let (len, records) = (chunk.lines.len(), chunk.records);
        let sent = self.way.shared.takes(len)
            && self.way.queue.as_ref().is_some_and(|it| it.send(chunk).is_ok());
        if sent {
            self.written += len as u64;
            (self.anew, self.over) = (false, false);
        } else {
            self.missing += records;
            self.anew = true;
            self.way.shared.fails("more is decided than can be written");
        }
    }

    /// Before the first record of a chunk: it may have to begin anew.
    fn open(&mut self, at: i64) {
        if !self.recorder.is_empty() {
            return;
        }
        self.missing += self.way.shared.take_lost();
        let found = if self.is_own { 0 } else { self.way.shared.found() };
        if self.written + found >= SEGMENT_MAX {
            (self.over, self.written, self.is_own) = (true, 0, true);
        }
        self.anew |= self.missing > 0;
        if self.anew || self.over {
            self.recorder.begin_anew();
        }
        if self.missing > 0 {
            self.recorder.dropped(at, std::mem::take(&mut self.missing));
        }
    }
}

impl Drop for Journal {
    /// The last lines are written, if that is possible at once.
    fn drop(&mut self) {
        self.flush();
        self.way.queue = None;
        let _ = self.way.done.recv_timeout(LAST_WORDS);
    }
}

#[cfg(test)]
mod tests;

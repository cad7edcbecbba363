//! What the next keeper takes over when this one dies, written down in a file.
//!
//! A line is a JSON object: who keeps, how a slot stands, or a note as the brain has sent it. The last
//! one about a thing holds. Whoever runs has been written down before: the child itself does that as
//! its last step before `exec`, and gives up when the keeper is gone by then.
//!
//! The file survives processes and not the machine: nothing is synced, as after a boot nothing runs
//! that it could tell of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::held::Holding;
use crate::keep::Keep;
use crate::proc::stat;
use crate::slot::{Life, Slot, SlotId};
use crate::who::Who;
use crate::wire::{Exit, Request};

/// The file is written anew when it has grown by so much, and has doubled.
const GROWTH: u64 = 4 * 1024 * 1024;

/// How long after a failure the whole file is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The version of this language; it grows when an old reader would misunderstand a new line.
pub(crate) const VERSION: u32 = 1;

/// A line that is not a note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The first line.
    Keeper(Reign),
    Slot(Box<Record>),
    /// What a child says of itself.
    Born {
        service: String,
        incarnation: u64,
        pid: i32,
    },
    Forgotten {
        service: String,
    },
    Held(Holding),
    Dropped {
        key: String,
    },
}

/// What holds for everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reign {
    pub(crate) version: u32,
    /// Where and when its numbers of processes mean something.
    pub(crate) world: String,
    /// The limits of open files that the services get.
    pub(crate) nofile: (u64, u64),
    /// By which all processes of the services are marked.
    pub(crate) mark: String,
    /// Where the services have their cgroups; empty when they have none.
    pub(crate) cgroup: String,
}

/// A slot, without its notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub(crate) service: String,
    pub(crate) incarnation: u64,
    pub(crate) pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<Who>,
    pub(crate) stands: Stands,
    /// Whether its process runs its own program.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) started: bool,
    /// The inodes of its pipes; 0 where there is none.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) out: u64,
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) err: u64,
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) input: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) writes_to: Option<Box<str>>,
    /// The inode of the end at which it says that it is ready, and the name of that.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) ready: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready_name: Option<Box<str>>,
    /// The key of the sockets that it was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sockets: Option<Box<str>>,
    /// The files of its cgroup that a launch has written to; `None` without a cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leaf: Option<Vec<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) killing: bool,
    /// Its process is not a child of this keeper.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) foreign: bool,
}

/// Where the latest incarnation of a slot is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stands {
    #[default]
    Down,
    /// It is about to be made.
    Begins,
    Up,
    /// The main process is gone, others live on.
    Emptying(Exit),
    Ended(Exit),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(inode: &u64) -> bool {
    *inode == 0
}

impl Record {
    pub(crate) fn of(slot: &Slot) -> Self {
        let stands = match &slot.life {
            Life::Down => Stands::Down,
            Life::Waiting(_) => Stands::Begins,
            Life::Up { .. } => Stands::Up,
            Life::Emptying(it) => Stands::Emptying(it.exit.clone()),
            Life::Ended(exit) => Stands::Ended(exit.clone()),
        };
        let [out, err] = slot.pipes.as_ref().map_or([0; 2], |it| it.inodes);
        let ready = slot.ready.as_ref();
        Self {
            service: slot.name.to_string(),
            incarnation: slot.incarnation,
            pid: slot.pid,
            who: slot.who,
            stands,
            started: matches!(slot.life, Life::Up { started: true, .. }),
            out,
            err,
            input: slot.input.as_ref().map_or(0, |it| it.inode),
            writes_to: slot.writes_to.clone(),
            ready: ready.map_or(0, |it| it.inode),
            ready_name: ready.and_then(|it| it.name.clone()),
            sockets: slot.sockets.as_ref().map(|it| it.key.clone()),
            leaf: slot.leaf.as_ref().map(|it| it.limited().to_vec()),
            killing: slot.killing,
            foreign: slot.foreign,
        }
    }
}

/// The file that is written to.
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    /// What is to be written next.
    lines: Vec<u8>,
    length: u64,
    /// How long it was when everything in it was new.
    length_new: u64,
    /// The last write has failed.
    torn: bool,
}

impl Ledger {
    /// Begins the file with these lines, in place of the one that is there.
    pub(crate) fn begin(path: &Path, lines: &[u8]) -> io::Result<Self> {
        let aside = path.with_extension("new");
        // What a crash has left here may be somebody else's.
        let _ = fs::remove_file(&aside);
        let mut how = OpenOptions::new();
        let mut file = how.append(true).create_new(true).mode(0o600).open(&aside)?;
        let written = file.write_all(lines).and_then(|()| fs::rename(&aside, path));
        if let Err(error) = written {
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        let length = lines.len() as u64;
        let (path, lines) = (path.to_owned(), Vec::new());
        Ok(Self { path, file, lines, length, length_new: length, torn: false })
    }

    /// Adds a line as it is.
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
    }

    /// Adds that a service is not known any more.
    pub(crate) fn forget(&mut self, service: &str) {
        self.add(&line_of(&Entry::Forgotten { service: service.to_owned() }));
    }

    /// Writes what was added.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.torn) {
            // Half a line may be there, which spoils no other.
            self.lines.insert(0, b'\n');
        }
        let written = self.file.write_all(&self.lines);
        self.length += self.lines.len() as u64;
        self.lines.clear();
        self.lines.shrink_to(64 * 1024);
        self.torn |= written.is_err();
        written
    }

    /// Whether most of it is old.
    fn is_long(&self) -> bool {
        self.length > 2 * self.length_new && self.length > self.length_new + GROWTH
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A line.
pub(crate) fn line_of(entry: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(entry).expect("plain data")
}

/// What a child writes before its number; `}` and the end of the line follow that.
pub(crate) fn born_line(service: &str, incarnation: u64) -> Vec<u8> {
    let mut line = line_of(&Entry::Born { service: service.to_owned(), incarnation, pid: 0 });
    line.truncate(line.len() - b"0}".len());
    line
}

impl Keep {
    /// Writes everything down, and from now on what changes.
    pub(crate) fn begin_ledger(&mut self) {
        let Some(path) = &self.ledger_path else { return };
        self.ledger_at = None;
        match Ledger::begin(path, &self.snapshot()) {
            Ok(ledger) => {
                self.slots.keep_track();
                self.launcher.sign_in(ledger.as_fd());
                self.ledger = Some(ledger);
            }
            Err(error) => {
                self.complaints.say(format_args!("cannot write `{}`: {error}", path.display()));
                self.ledger_at = Some(clock::now() + RETRY);
            }
        }
    }

    /// Nothing is left for anybody to take over.
    pub(crate) fn end_ledger(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            let _ = fs::remove_file(&ledger.path);
        }
    }

    /// All that a next keeper needs, as lines.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut lines = line_of(&Entry::Keeper(self.reign()));
        lines.push(b'\n');
        for slot in self.slots.iter() {
            lines.extend(line_of(&Entry::Slot(Box::new(Record::of(slot)))));
            lines.push(b'\n');
            if slot.noted {
                let (service, note) = (slot.name.to_string(), slot.note.to_string());
                let config = Some(slot.config.to_string());
                lines.extend(line_of(&Request::Note { service, note, config }));
                lines.push(b'\n');
            }
        }
        for holding in self.held.holdings() {
            lines.extend(line_of(&Entry::Held(holding)));
            lines.push(b'\n');
        }
        lines
    }

    fn reign(&self) -> Reign {
        Reign {
            version: VERSION,
            world: world(),
            nofile: self.launcher.nofile(),
            mark: self.kin.mark().to_owned(),
            cgroup: self.reports.cgroups.0.clone(),
        }
    }

    /// Writes down what has changed since the last time.
    pub(crate) fn keep_ledger(&mut self) {
        for id in self.slots.take_unwritten() {
            self.write_down(id);
        }
        self.write_ledger();
        let retries = self.ledger_at.is_some_and(|it| it <= clock::now());
        let is_long = self.ledger_at.is_none() && self.ledger.as_ref().is_some_and(Ledger::is_long);
        // A child that is under way still writes into the file that there is.
        if (retries || is_long) && self.tenants.iter().all(Option::is_none) {
            self.begin_ledger();
        }
    }

    fn write_ledger(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        if let Err(error) = ledger.write() {
            let path = ledger.path.display();
            self.complaints.say(format_args!("cannot write `{path}`: {error}"));
            self.ledger_at.get_or_insert_with(|| clock::now() + RETRY);
        }
    }

    /// Writes down what a process will have that is about to be made, and all that was to be written.
    pub(crate) fn write_down_launch(&mut self, id: SlotId) {
        if let (Some(ledger), Some(slot)) = (&mut self.ledger, self.slots.get(id)) {
            let record = Record { stands: Stands::Begins, ..Record::of(slot) };
            ledger.add(&line_of(&Entry::Slot(Box::new(record))));
            self.write_ledger();
        }
    }

    /// Writes down an end before the process is buried that says how it was.
    pub(crate) fn write_down_end(&mut self, id: SlotId) {
        self.write_down(id);
        self.write_ledger();
    }

    /// Adds how a slot stands to what is written next.
    pub(crate) fn write_down(&mut self, id: SlotId) {
        if let (Some(ledger), Some(slot)) = (&mut self.ledger, self.slots.get(id)) {
            ledger.add(&line_of(&Entry::Slot(Box::new(Record::of(slot)))));
        }
    }
}

/// Which boot of the machine this is, which PID namespace, and when the first process of that began: a
/// container that is started again has the same files, and other processes.
pub(crate) fn world() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |it| it.ino());
    let began = stat(1).map_or(0, |it| it.start);
    format!("{}/{namespace}/{began}", boot.trim())
}

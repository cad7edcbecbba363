//! The journal's thread: writes what the core hands over, closes segments, compresses and prunes them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use super::{CURRENT, QUEUED_MAX, SEGMENTS_MAX};
use crate::clock::wall_ns;
use crate::logs::segments::{Kind, name_of, open_plain, start_of};

/// Lines that are to be written together.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// How many records they are.
    pub(super) records: u64,
    /// Whether they can be read without those before them.
    pub(super) anew: bool,
    /// Whether they begin a segment.
    pub(super) over: bool,
}

/// What both threads know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queued: AtomicUsize,
    lost: AtomicU64,
    found: AtomicU64,
    why: Mutex<Option<String>>,
}

impl Shared {
    const SOUND: &str = "nothing panics while it holds a sentence";

    /// Whether so much more may wait; then it does.
    pub(super) fn takes(&self, len: usize) -> bool {
        let queued = self.queued.load(Ordering::Relaxed);
        let fits = queued == 0 || queued + len <= QUEUED_MAX;
        if fits {
            self.queued.fetch_add(len, Ordering::Relaxed);
        }
        fits
    }

    /// So much has left the queue.
    pub(super) fn gives_back(&self, len: usize) {
        self.queued.fetch_sub(len, Ordering::Release);
    }

    /// How much is waiting.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// How many records could not be written since somebody asked.
    pub(super) fn take_lost(&self) -> u64 {
        match self.lost.load(Ordering::Acquire) {
            0 => 0,
            _ => self.lost.swap(0, Ordering::AcqRel),
        }
    }

    /// How large the segment was that an earlier server has left.
    pub(super) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Something is missing, because of this.
    pub(super) fn fails(&self, why: &str) {
        self.why.lock().expect(Self::SOUND).get_or_insert_with(|| why.to_owned());
    }

    /// Why something is missing, if it is.
    pub(super) fn why(&self) -> Option<String> {
        self.why.lock().expect(Self::SOUND).clone()
    }
}

/// Writes the journal.
#[derive(Debug)]
pub(super) struct Writer {
    dir: PathBuf,
    shared: Arc<Shared>,
    file: Option<File>,
    /// The file may end in the middle of a line.
    torn: bool,
    /// Something is missing: only what can be read without it is written.
    broken: bool,
}

impl Writer {
    pub(super) fn new(dir: PathBuf, shared: Arc<Shared>) -> Self {
        Self { dir, shared, file: None, torn: false, broken: false }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes until nobody can send any more.
    pub(super) fn run(&mut self, chunks: &Receiver<Chunk>) {
        // What an earlier server has left is finished when there is a disk for it.
        let _ = self.open().and_then(|()| tidy(&self.dir));
        for chunk in chunks {
            self.take(&chunk);
            self.shared.gives_back(chunk.lines.len());
        }
    }

    fn take(&mut self, chunk: &Chunk) {
        let told = if self.broken && !chunk.anew { Ok(false) } else { self.write(chunk) };
        if let Ok(true) = told {
            self.broken = false;
            return;
        }
        self.broken = true;
        self.shared.lost.fetch_add(chunk.records, Ordering::AcqRel);
        if let Err(error) = told {
            self.torn = true;
            self.shared.fails(&format!("cannot write {}: {error}", self.path().display()));
        }
    }

    /// Whether it was written, or does not fit to what is there.
    fn write(&mut self, chunk: &Chunk) -> io::Result<bool> {
        if chunk.over {
            self.close()?;
        }
        let is_there = self.file.as_ref().is_some_and(|it| it.metadata().is_ok_and(is_linked));
        if !is_there {
            self.file = None;
            if !chunk.anew && !chunk.over {
                return Ok(false);
            }
            self.open()?;
        }
        let file = self.file.as_mut().expect("it was just opened");
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        file.write_all(&chunk.lines)?;
        Ok(true)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(CURRENT)
    }

    fn open(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = open_plain(options, &self.path())?;
        let len = file.metadata()?.len();
        self.torn = len > 0 && !ends_a_line(&mut file)?;
        self.shared.found.store(len, Ordering::Relaxed);
        self.file = Some(file);
        Ok(())
    }

    /// Closes the segment; the next one is begun by the next line.
    fn close(&mut self) -> io::Result<()> {
        self.file = None;
        self.torn = false;
        match fs::rename(self.path(), self.dir.join(closed_name())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        // What cannot be compressed now is compressed with the next one.
        let _ = tidy(&self.dir);
        Ok(())
    }
}

fn is_linked(facts: fs::Metadata) -> bool {
    facts.nlink() > 0
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// A closed segment is named by the time when it was closed: nothing in it is newer.
fn closed_name() -> String {
    let name = name_of(wall_ns());
    format!("{}.jsonl", name.trim_end_matches(Kind::Plain.suffix()))
}

/// When the segment of this name was closed, in milliseconds since 1970.
pub fn closed_ms(name: &str) -> Option<i64> {
    let stem = name.trim_end_matches(".zst").strip_suffix(".jsonl")?;
    let (at_ns, _) = start_of(&format!("{stem}{}", Kind::Plain.suffix()))?;
    Some(at_ns / 1_000_000)
}

/// Compresses what is closed, and removes what is too old and what was not finished.
fn tidy(dir: &Path) -> io::Result<()> {
    for path in listed(dir, ".part")? {
        fs::remove_file(path)?;
    }
    for path in listed(dir, ".jsonl")? {
        compress(&path)?;
    }
    let closed = closed(dir)?;
    let old = closed.len().saturating_sub(SEGMENTS_MAX);
    closed[..old].iter().try_for_each(fs::remove_file)
}

/// The closed segments, oldest first.
pub(super) fn closed(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = listed(dir, ".jsonl.zst")?;
    // Of one that is just being compressed, both are there.
    all.extend(listed(dir, ".jsonl")?);
    all.sort();
    let plain = |it: &PathBuf| it.to_string_lossy().trim_end_matches(".zst").to_owned();
    all.dedup_by_key(|it| plain(it));
    Ok(all)
}

/// The files of a directory that are named so, without the one that is being written.
fn listed(dir: &Path, suffix: &str) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(suffix) && name != CURRENT {
            all.push(dir.join(name));
        }
    }
    all.sort();
    Ok(all)
}

fn compress(path: &Path) -> io::Result<()> {
    let named = |more: &str| PathBuf::from(format!("{}{more}", path.display()));
    let part = named(".zst.part");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let packed = zstd::stream::copy_encode(
        File::open(path)?,
        open_plain(options, &part)?,
        zstd::DEFAULT_COMPRESSION_LEVEL,
    );
    if let Err(error) = packed {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, named(".zst"))?;
    fs::remove_file(path)
}

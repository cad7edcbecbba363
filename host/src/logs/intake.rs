//! What was read from pipes and is not yet in a file, kept where the death of the server cannot reach it.
//!
//! Reading a pipe takes the bytes out of the kernel; if the reader dies before they are in a file, they
//! are gone. So they are read into a file that is mapped into memory (`.intake` beside the logs), whose
//! pages outlive every process, and each step leaves there what is needed to finish it:
//!
//! ```text
//!  reading   announced with its length, of which a marked place is read over: did it happen or not?
//!  writing   announced with the time of the first line and the place in the file: it is done again,
//!            to the same bytes at the same place, whether it had happened or not
//!  dropping  announced with the new counts and how far it goes: again the same when it is done twice
//! ```
//!
//! A berth holds what one pipe has left over; a pipe without leftovers needs none, so few are in use.
//! One thread uses them. All that describes a step is one word, which changes at once.

use std::ffi::c_void;
use std::fs::{File, TryLockError};
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::poll::poll;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// How much of a pipe is read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// The longest line; what follows until the newline is cut.
pub(super) const LINE_MAX: usize = 16 * 1024;

/// What a berth holds: a chunk behind the beginning of a line.
pub(super) const BERTH: usize = CHUNK + 2 * LINE_MAX;

const PAGE: usize = 4096;
/// A page of words and names, and the bytes.
const STRIDE: usize = PAGE + BERTH;
/// As many as there can be; the file grows by a few when they are needed.
const BERTHS_MAX: usize = 4096;
const GROWTH: usize = 8;
const LENGTH_MAX: usize = PAGE + BERTHS_MAX * STRIDE;

const RIGHTS: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

const MAGIC: u64 = u64::from_le_bytes(*b"zintake1");

/// No text has this byte, so a place full of them was not read over.
const UNREAD: u8 = 0xff;
const UNREAD_LEN: usize = 16;

/// The mapped file.
pub(super) struct Intake {
    map: NonNull<c_void>,
    /// Locked for as long as it is mapped. `None` when there is no such file here, and the bytes are lost
    /// with the server.
    file: Option<File>,
    /// The disk has no room for further berths.
    is_full: bool,
    /// How many berths there are.
    count: usize,
    free: Vec<Berth>,
}

/// Names a berth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Berth(usize);

/// The state of a berth, as it is in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Where the bytes begin.
    pub(super) start: usize,
    /// How many there are.
    pub(super) len: usize,
    /// How many are just being read behind them.
    pub(super) reading: usize,
    /// Somebody has it.
    pub(super) taken: bool,
    /// The lines in it are just being written.
    pub(super) writing: bool,
    /// The first of them are just being dropped.
    pub(super) dropping: bool,
    /// Until the next newline everything is cut.
    pub(super) skipping: bool,
}

/// The numbers of a berth, each by its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// The time of the first line that is being written, in nanoseconds since 1970.
    Stamp = 1,
    /// Where in the file.
    Offset = 2,
    /// Which process has written what is here.
    Incarnation = 3,
    /// 1 for stderr.
    Stderr = 4,
    /// Lines that were dropped and are not yet told in the log.
    DroppedLines = 5,
    /// Their bytes.
    DroppedBytes = 6,
    /// The same after the dropping that is under way.
    NextLines = 7,
    /// The same.
    NextBytes = 8,
    /// How many bytes are dropped then; or how many bytes of lines are written at most.
    Extent = 9,
    /// 1 when a line that is not finished is to be written as well.
    Flush = 10,
}

/// Texts of a berth: where each is, and its longest length.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// The service.
    Name,
    /// The directory of its files.
    Dir,
}

impl Text {
    const fn place(self) -> (usize, usize) {
        match self {
            Self::Name => (128, 256),
            Self::Dir => (512, PAGE - 512 - 2),
        }
    }
}

impl State {
    const BITS: usize = 20;
    const MASK: u64 = (1 << Self::BITS) - 1;

    fn pack(self) -> u64 {
        let flags = u64::from(self.taken)
            | u64::from(self.writing) << 1
            | u64::from(self.dropping) << 2
            | u64::from(self.skipping) << 3;
        let [start, len, reading] = [self.start, self.len, self.reading].map(|it| it as u64);
        start | len << Self::BITS | reading << (2 * Self::BITS) | flags << (3 * Self::BITS)
    }

    fn unpack(word: u64) -> Self {
        let number = |at: usize| {
            usize::try_from(word >> (at * Self::BITS) & Self::MASK).expect("20 bits fit")
        };
        let flag = |at: usize| word >> (3 * Self::BITS + at) & 1 == 1;
        Self {
            start: number(0),
            len: number(1),
            reading: number(2),
            taken: flag(0),
            writing: flag(1),
            dropping: flag(2),
            skipping: flag(3),
        }
    }
}

#[expect(unsafe_code, reason = "a pointer is the map's")]
// SAFETY: the map belongs to whoever has the `Intake`, and moves with it.
unsafe impl Send for Intake {}

impl Intake {
    /// Opens the file, or makes it. Where there can be none, the reason is told, and memory serves.
    pub(super) fn open(path: &Path) -> (Self, Option<io::Error>) {
        let mapped = open(path).and_then(|(file, length)| Ok((map(Some(&file))?, file, length)));
        match mapped {
            Ok((map, file, length)) => {
                let count = (length.saturating_sub(PAGE) / STRIDE).min(BERTHS_MAX);
                let mut it =
                    Self { map, file: Some(file), is_full: false, count, free: Vec::new() };
                it.begin();
                (it, None)
            }
            Err(error) => {
                let map = map(None).expect("there are addresses for another map");
                let mut it = Self { map, file: None, is_full: true, count: 0, free: Vec::new() };
                it.begin();
                (it, Some(error))
            }
        }
    }

    /// Makes a file of another kind one of ours.
    fn begin(&mut self) {
        if self.count > 0 && self.global(0).load(Ordering::Relaxed) != MAGIC {
            (0..self.count).for_each(|it| self.set_state(Berth(it), State::default()));
        }
        self.grow_to(self.count.max(GROWTH));
        self.global(0).store(MAGIC, Ordering::Relaxed);
        let all = (0..self.count).map(Berth);
        self.free = all.filter(|it| !self.state(*it).taken).collect();
        self.free.reverse();
    }

    /// Adds berths. When the disk has no room for them, memory serves from there on.
    fn grow_to(&mut self, count: usize) {
        let length = i64::try_from(PAGE + count * STRIDE).expect("the maximum fits");
        let full = |file: &File| fallocate(file, FallocateFlags::empty(), 0, length).is_err();
        if !self.is_full && self.file.as_ref().is_some_and(full) {
            self.is_full = true;
            self.cover(PAGE + self.count * STRIDE);
        }
        self.count = count;
    }

    /// Puts memory in place of what the file does not have.
    #[expect(unsafe_code, reason = "a part of the map is replaced")]
    fn cover(&self, from: usize) {
        let length = NonZero::new(LENGTH_MAX - from).expect("berths are left");
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED;
        // SAFETY: the addresses are within the map, and nobody has used them yet.
        let covered = unsafe {
            let address = NonZero::new(self.map.as_ptr() as usize + from).expect("not 0");
            mmap_anonymous(Some(address), length, RIGHTS, flags)
        };
        covered.expect("addresses that are ours can be mapped again");
    }

    /// The time of the newest line that was ever written.
    pub(super) fn last_ns(&self) -> i64 {
        self.global(1).load(Ordering::Relaxed).cast_signed()
    }

    pub(super) fn set_last_ns(&self, at_ns: i64) {
        self.global(1).store(at_ns.cast_unsigned(), Ordering::Relaxed);
    }

    /// The berths that an earlier server has left with something in them.
    pub(super) fn taken(&self) -> Vec<Berth> {
        (0..self.count).map(Berth).filter(|it| self.state(*it).taken).collect()
    }

    /// Takes a berth for a pipe of a service with this name and this directory for its files; `None`
    /// when no more fit.
    pub(super) fn take(
        &mut self,
        (name, dir): (&str, &str),
        stderr: bool,
        incarnation: u64,
    ) -> Option<Berth> {
        if self.free.is_empty() && self.count < BERTHS_MAX {
            let before = self.count;
            self.grow_to((before + GROWTH).min(BERTHS_MAX));
            self.free.extend((before..self.count).rev().map(Berth));
        }
        let berth = self.free.pop()?;
        self.set_text(berth, Text::Name, name);
        self.set_text(berth, Text::Dir, dir);
        self.set(berth, Number::Stderr, u64::from(stderr));
        self.set(berth, Number::Incarnation, incarnation);
        self.set(berth, Number::DroppedLines, 0);
        self.set(berth, Number::DroppedBytes, 0);
        self.set_state(berth, State { taken: true, ..State::default() });
        Some(berth)
    }

    /// Gives a berth back.
    pub(super) fn leave(&mut self, berth: Berth) {
        self.set_state(berth, State::default());
        self.free.push(berth);
    }

    pub(super) fn state(&self, berth: Berth) -> State {
        State::unpack(self.word(berth, 0).load(Ordering::Acquire))
    }

    /// The step that this begins or ends is begun or ended, whoever dies now.
    pub(super) fn set_state(&self, berth: Berth, state: State) {
        #[cfg(test)]
        tests::may_die();
        self.word(berth, 0).store(state.pack(), Ordering::Release);
    }

    pub(super) fn get(&self, berth: Berth, number: Number) -> u64 {
        self.word(berth, number as usize).load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, berth: Berth, number: Number, value: u64) {
        #[cfg(test)]
        tests::may_die();
        self.word(berth, number as usize).store(value, Ordering::Relaxed);
    }

    pub(super) fn text(&mut self, berth: Berth, text: Text) -> String {
        let (at, max) = text.place();
        let bytes = self.bytes(berth, at, max + 2);
        let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]])).min(max);
        String::from_utf8_lossy(&bytes[2..2 + length]).into_owned()
    }

    /// Sets a text; one that is too long is not set, and empty.
    pub(super) fn set_text(&mut self, berth: Berth, text: Text, value: &str) {
        let (at, max) = text.place();
        let value = if value.len() <= max { value.as_bytes() } else { &[] };
        let length = u16::try_from(value.len()).expect("it was measured").to_le_bytes();
        let bytes = self.bytes(berth, at, max + 2);
        bytes[..2].copy_from_slice(&length);
        bytes[2..2 + value.len()].copy_from_slice(value);
    }

    /// The bytes of a berth.
    pub(super) fn held(&mut self, berth: Berth) -> &mut [u8] {
        let State { start, len, .. } = self.state(berth);
        &mut self.buffer(berth)[start..start + len]
    }

    /// Announces that `available` bytes, or as many as there is room for, are read next, and answers
    /// the place for them.
    pub(super) fn begin_reading(&mut self, berth: Berth, available: usize) -> &mut [u8] {
        self.make_room(berth);
        let state = self.state(berth);
        let end = state.start + state.len;
        let reading = available.min(CHUNK).min(BERTH - end);
        let marked = reading.min(UNREAD_LEN);
        self.buffer(berth)[end..end + marked].fill(UNREAD);
        self.set_state(berth, State { reading, ..state });
        &mut self.buffer(berth)[end..end + reading]
    }

    /// So many were read.
    pub(super) fn end_reading(&self, berth: Berth, count: usize) {
        let state = self.state(berth);
        self.set_state(berth, State { len: state.len + count, reading: 0, ..state });
    }

    /// Finds out whether the reading happened during which the server died.
    pub(super) fn settle_reading(&mut self, berth: Berth) {
        let state = self.state(berth);
        let end = state.start + state.len;
        let marked = state.reading.min(UNREAD_LEN);
        let happened = self.buffer(berth)[end..end + marked].iter().any(|it| *it != UNREAD);
        self.end_reading(berth, if happened { state.reading } else { 0 });
    }

    /// Moves the bytes to the front when little room is left behind them. They are never more than a
    /// line then, so the copy does not touch what is copied, and may be done twice.
    fn make_room(&mut self, berth: Berth) {
        let state = self.state(berth);
        if state.start + state.len + CHUNK <= BERTH || state.start < state.len {
            return;
        }
        let State { start, len, .. } = state;
        self.buffer(berth).copy_within(start..start + len, 0);
        self.set_state(berth, State { start: 0, ..state });
    }

    fn buffer(&mut self, berth: Berth) -> &mut [u8] {
        self.bytes(berth, PAGE, BERTH)
    }

    #[expect(unsafe_code, reason = "the bytes are in a map")]
    fn bytes(&mut self, berth: Berth, at: usize, length: usize) -> &mut [u8] {
        assert!(berth.0 < self.count && at + length <= STRIDE);
        let place = PAGE + berth.0 * STRIDE + at;
        // SAFETY: the place is within the map and, as the count says, within the file, of which the
        // blocks are allocated. Nobody else has the map, and `self` is borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(self.map.cast::<u8>().add(place).as_ptr(), length) }
    }

    fn word(&self, berth: Berth, index: usize) -> &AtomicU64 {
        assert!(berth.0 < self.count && index < 16);
        self.at(PAGE + berth.0 * STRIDE + 8 * index)
    }

    /// A number of the whole.
    fn global(&self, index: usize) -> &AtomicU64 {
        self.at(8 * index)
    }

    #[expect(unsafe_code, reason = "the words are in a map")]
    fn at(&self, place: usize) -> &AtomicU64 {
        assert!(place.is_multiple_of(8) && place + 8 <= LENGTH_MAX);
        // SAFETY: as in `bytes`; the place is aligned, and `bytes` never covers words.
        unsafe { AtomicU64::from_ptr(self.map.cast::<u64>().byte_add(place).as_ptr()) }
    }
}

impl Drop for Intake {
    #[expect(unsafe_code, reason = "what was mapped is unmapped")]
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing of it is borrowed any more.
        let unmapped = unsafe { munmap(self.map, LENGTH_MAX) };
        debug_assert!(unmapped.is_ok(), "a map of ours");
    }
}

fn open(path: &Path) -> io::Result<(File, usize)> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    lock(&file)?;
    let mut length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length < PAGE + GROWTH * STRIDE {
        length = PAGE + GROWTH * STRIDE;
    }
    // Also what is there already must have its blocks: a store into a hole of a full disk kills.
    let allocated = i64::try_from(length.min(LENGTH_MAX)).expect("the maximum fits");
    fallocate(&file, FallocateFlags::empty(), 0, allocated)?;
    Ok((file, length))
}

/// The server before this one may not be quite gone, when its keeper has died.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        // Interrupted, it looks again at once.
        let _ = poll(&mut [], LOCK_PAUSE_MS);
    }
    Err(io::Error::other("another server uses it"))
}

/// How often it is tried, and how long is waited in between.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE_MS: u8 = 10;

/// Addresses for the largest file there can be; pages come with the file.
#[expect(unsafe_code, reason = "a map is made")]
fn map(file: Option<&File>) -> io::Result<NonNull<c_void>> {
    let length = NonZero::new(LENGTH_MAX).expect("it is not 0");
    // SAFETY: the kernel chooses the addresses; the file is ours alone, by its lock.
    let map = unsafe {
        match file {
            Some(file) => mmap(None, length, RIGHTS, MapFlags::MAP_SHARED, file, 0),
            None => mmap_anonymous(
                None,
                length,
                RIGHTS,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            ),
        }
    };
    Ok(map?)
}

#[cfg(test)]
pub(super) mod tests;

//! The services, their pipes and their lines.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::time::ClockId;
use regex::Regex;

use super::ring::{Line, Ring};
use super::split::Splitter;
use crate::clock::milliseconds;
use crate::name::ServiceName;
use crate::spec::LogMode;

/// Everything that the thread and the readers share.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Service `i` has the epoll keys `2 i` (stdout) and `2 i + 1` (stderr).
    slots: Vec<Option<Slot>>,
    by_name: HashMap<ServiceName, usize>,
    /// The services of which a line is waited for, whether or not they have pipes yet.
    awaited: HashMap<ServiceName, Awaited>,
    next_seq: u64,
    bytes: usize,
}

/// A line that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Which process is to print it.
    pub(super) incarnation: u64,
    /// What is to be in it.
    pub(super) pattern: Regex,
}

/// What follows from what was read.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// To be printed.
    pub(super) printed: String,
    /// The line has come that this process was to print.
    pub(super) ready: Option<(ServiceName, u64)>,
}

#[derive(Debug)]
struct Slot {
    name: ServiceName,
    mode: LogMode,
    pipes: [Pipe; 2],
    ring: Ring,
}

#[derive(Debug, Default)]
struct Pipe {
    end: Option<Arc<OwnedFd>>,
    splitter: Splitter,
}

impl Table {
    /// What the lines of one service may cost.
    const SERVICE_BYTES_MAX: usize = 128 * 1024;
    /// What all lines together may cost.
    const BYTES_MAX: usize = 32 * 1024 * 1024;
    /// How much text one answer may have.
    const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

    /// Enters a service; answers the first of its two keys, and the pipes that it had before.
    pub(super) fn attach(
        &mut self,
        name: ServiceName,
        mode: LogMode,
        ends: &[Arc<OwnedFd>; 2],
    ) -> (u64, Vec<Arc<OwnedFd>>) {
        let pipes = ends.clone().map(|it| Pipe { end: Some(it), splitter: Splitter::default() });
        let index = self.by_name.get(&name).copied().unwrap_or_else(|| self.vacant(&name));
        let old = self.slots[index].take();
        let (ring, old) = old.map_or_else(Default::default, |it| (it.ring, ends_of(it.pipes)));
        self.slots[index] = Some(Slot { name, mode, pipes, ring });
        (2 * index as u64, old)
    }

    /// Forgets a service; answers its pipes.
    pub(super) fn detach(&mut self, name: &str) -> Vec<Arc<OwnedFd>> {
        self.awaited.remove(name);
        let slot = self.by_name.remove(name).and_then(|index| self.slots[index].take());
        slot.map_or_else(Vec::new, |it| {
            self.bytes -= it.ring.bytes();
            ends_of(it.pipes)
        })
    }

    pub(super) fn set_mode(&mut self, name: &str, mode: LogMode) {
        let slot = self.by_name.get(name).and_then(|index| self.slots[*index].as_mut());
        slot.into_iter().for_each(|it| it.mode = mode);
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Waits for a line of this service, instead of the one before.
    pub(super) fn await_line(&mut self, name: ServiceName, line: Awaited) {
        self.awaited.insert(name, line);
    }

    /// Waits for no line of this service any more.
    pub(super) fn await_none(&mut self, name: &str) {
        self.awaited.remove(name);
    }

    /// The pipes of a service, with their keys.
    pub(super) fn pipes(&self, name: &str) -> Vec<(u64, Arc<OwnedFd>)> {
        let Some(index) = self.by_name.get(name) else { return Vec::new() };
        let keys = [2 * *index as u64, 2 * *index as u64 + 1];
        keys.into_iter().filter_map(|key| Some((key, self.pipe(key)?))).collect()
    }

    /// Whether the newline of what came last from this pipe is still to come.
    pub(super) fn is_within_line(&self, key: u64) -> bool {
        let (index, stream) = place(key);
        self.slots[index].as_ref().is_some_and(|it| it.pipes[stream].splitter.is_within_line())
    }

    /// The pipe with this key.
    pub(super) fn pipe(&self, key: u64) -> Option<Arc<OwnedFd>> {
        let (index, stream) = place(key);
        self.slots.get(index)?.as_ref()?.pipes[stream].end.clone()
    }

    /// Forgets a pipe that has ended, unless another has taken its key meanwhile.
    pub(super) fn close(&mut self, key: u64, end: &Arc<OwnedFd>) {
        let (index, stream) = place(key);
        if let Some(slot) = self.slots[index].as_mut() {
            slot.pipes[stream].end.take_if(|it| Arc::ptr_eq(it, end));
        }
    }

    /// Takes what was read from a pipe.
    pub(super) fn take(&mut self, key: u64, end: &Arc<OwnedFd>, bytes: &[u8]) -> Taken {
        let (index, stream) = place(key);
        let mut taken = Taken::default();
        let Some(slot) = self.slots[index].as_mut() else { return taken };
        let Slot { name, mode, pipes, ring } = slot;
        if *mode == LogMode::None || !is(&pipes[stream], end) {
            return taken;
        }
        let (at_ms, before) = (milliseconds(ClockId::CLOCK_REALTIME), ring.bytes());
        // Hashing is for those who wait.
        let awaited = if self.awaited.is_empty() { None } else { self.awaited.get(name) };
        pipes[stream].splitter.feed(bytes, |text| {
            if *mode == LogMode::Stdout {
                let _ = writeln!(taken.printed, "{name} | {text}");
            }
            if let Some(it) =
                awaited.filter(|it| taken.ready.is_none() && it.pattern.is_match(&text))
            {
                taken.ready = Some((name.clone(), it.incarnation));
            }
            let line = Line { seq: self.next_seq, at_ms, stderr: stream == 1, text: text.into() };
            ring.push(line, Self::SERVICE_BYTES_MAX);
            self.next_seq += 1;
        });
        if let Some((name, _)) = &taken.ready {
            self.awaited.remove(name);
        }
        self.bytes = self.bytes - before + ring.bytes();
        self.make_room();
        taken
    }

    /// The newest `count` of the lines that `wanted(name, text)` picks, oldest first.
    pub(super) fn lines(&self, count: usize, wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let mut picked = Vec::new();
        for slot in self.slots.iter().flatten() {
            let name = slot.name.as_str();
            let unfinished = slot.pipes.iter().enumerate().filter_map(|(stream, pipe)| {
                let text = pipe.splitter.unfinished()?;
                Some(Picked { seq: u64::MAX, stderr: stream == 1, name, text: text.into() })
            });
            let lines = slot.ring.lines().map(|it| Picked {
                seq: it.seq,
                stderr: it.stderr,
                name,
                text: (&*it.text).into(),
            });
            picked.extend(lines.chain(unfinished).filter(|it| wanted(name, &it.text)));
        }
        picked.sort_by_key(|it| it.seq);
        newest(&picked, count)
    }

    /// The newest `count` lines of one service without their marks, oldest first.
    pub(super) fn last(&self, name: &str, count: usize) -> Vec<String> {
        let slot = self.by_name.get(name).and_then(|index| self.slots[*index].as_ref());
        let lines = slot.into_iter().flat_map(|it| it.ring.lines().rev());
        let mut last: Vec<String> = lines.take(count).map(|it| it.text.to_string()).collect();
        last.reverse();
        last
    }

    fn vacant(&mut self, name: &ServiceName) -> usize {
        let index = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.slots.resize_with(self.slots.len().max(index + 1), || None);
        self.by_name.insert(name.clone(), index);
        index
    }

    /// When all lines together cost too much, the service that keeps most gives up half of them.
    fn make_room(&mut self) {
        while self.bytes > Self::BYTES_MAX {
            let rings = self.slots.iter_mut().flatten().map(|it| &mut it.ring);
            let Some(largest) = rings.max_by_key(|it| it.bytes()) else { return };
            let before = largest.bytes();
            largest.shrink(before / 2);
            self.bytes -= before - largest.bytes();
        }
    }
}

fn place(key: u64) -> (usize, usize) {
    let index = usize::try_from(key / 2).expect("keys are indices of a table");
    (index, usize::from(key % 2 == 1))
}

fn is(pipe: &Pipe, end: &Arc<OwnedFd>) -> bool {
    pipe.end.as_ref().is_some_and(|it| Arc::ptr_eq(it, end))
}

fn ends_of(pipes: [Pipe; 2]) -> Vec<Arc<OwnedFd>> {
    pipes.into_iter().filter_map(|it| it.end).collect()
}

/// A line that somebody asked for.
struct Picked<'a> {
    seq: u64,
    stderr: bool,
    name: &'a str,
    text: Cow<'a, str>,
}

impl Picked<'_> {
    fn shown(&self) -> String {
        let Self { stderr, name, text, .. } = self;
        format!("[{}] {name}: {text}", if *stderr { '-' } else { '+' })
    }
}

/// The last lines, at most `count` and at most what one answer may have.
fn newest(picked: &[Picked<'_>], count: usize) -> Vec<String> {
    let mut room = Table::ANSWER_BYTES_MAX;
    let fits = |it: &&Picked<'_>| {
        let fits = room.checked_sub(it.text.len() + it.name.len());
        room = fits.unwrap_or(0);
        fits.is_some()
    };
    let last = picked.iter().rev().take(count).take_while(fits);
    let mut lines: Vec<String> = last.map(Picked::shown).collect();
    lines.reverse();
    lines
}

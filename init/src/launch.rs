//! From a command to a running process.
//!
//! The child shares the keeper's memory and its descriptor table, as after `vfork`, but the keeper
//! does not wait for it: it has a stack of its own, and all that it reads is kept until it has left.
//! A plain fork would copy page tables, and five descriptors of each service, which `exec` would close
//! again: at 1,000 services that costs as much as everything else together (measured).
//!
//! The child's first step leaves the descriptor table with copies of only the lowest descriptors
//! (`close_range` with `UNSHARE`). So what a child needs lies at reserved low numbers, five for each
//! [`Place`], and a place is changed only when no child looks at it any more.
//!
//! Each launch has a pipe whose writing end `exec` closes. The child writes one byte when it has its
//! own table (now the keeper closes its own copy), then nothing (`exec` worked) or a record of
//! the step that failed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::resource::Resource;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, dup3, getpid, pipe2};

use crate::child::{self, ALONE, OUTSIDE, Rights, STEPS, Sign, Task};
use crate::clone::{Born, can_clone_into, clone, clone_into};
use crate::command::Command;
use crate::held::Sockets;
use crate::stack::Stack;

/// What went wrong where: the step's name and its error number.
pub(crate) type Failure = (&'static str, i32);

/// What is to run, and how.
pub(crate) struct Start<'a> {
    pub(crate) command: Command,
    pub(crate) streams: Streams<'a>,
    pub(crate) rights: Rights,
    /// The cgroup to run in.
    pub(crate) leaf: Option<BorrowedFd<'a>>,
    /// A descriptor, and the number at which the program is to find it.
    pub(crate) ready: Option<(BorrowedFd<'a>, RawFd)>,
    /// What the program is to find from descriptor 3 on.
    pub(crate) sockets: Option<Sockets>,
    /// What the child writes into the ledger before its number.
    pub(crate) sign: Option<Vec<u8>>,
}

/// Where the standard streams of a child go.
#[derive(Clone, Copy)]
pub(crate) enum Streams<'a> {
    /// These; `/dev/null` for each that is none.
    Given([Option<BorrowedFd<'a>>; 3]),
    /// The keeper's own. The child keeps this one more descriptor, and the keeper's limits.
    Own(BorrowedFd<'a>),
}

/// How far a launch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Between fork and exec.
    Underway,
    /// It runs its own program, or died on the way without a word.
    Gone,
    /// A step failed; the child ends.
    Failed(Failure),
}

/// Launches between fork and exec at once, for each processor. Measured with 1,000 services on two
/// processors: half as many take 10% longer; many more cost processor time and win nothing.
const LAUNCHES_PER_CPU: usize = 8;

/// The number of the limit of open files.
const NOFILE: u32 = Resource::RLIMIT_NOFILE as u32;

/// Room for one launch between fork and exec.
struct Place {
    /// Low descriptors: the standard streams, the writing end of the launch's pipe, and the end by
    /// which the program says that it is ready; `/dev/null` else.
    low: [OwnedFd; 5],
    reader: Option<OwnedFd>,
    /// Whether the keeper still has its own copies of the latter two.
    holds: bool,
    /// Whether the child could not join its cgroup.
    outside: bool,
    /// The record that was read from the pipe.
    failure: Option<Failure>,
    /// What the child reads and where it runs. Not to be touched before it is gone.
    task: Option<Box<Task>>,
    /// What the child copies from wherever it is. Likewise.
    sockets: Option<Sockets>,
    stack: Stack,
}

/// Makes processes.
pub(crate) struct Launcher {
    places: Vec<Place>,
    null: OwnedFd,
    /// The ledger, and whether it is there; a low descriptor, for all children.
    ledger: (OwnedFd, bool),
    keeper: i32,
    /// Descriptors from here on are nothing to a child.
    first: u32,
    /// The soft and the hard limit of open files that the keeper was given, and its children get.
    nofile: [u64; 2],
    /// Whether the kernel puts children into cgroups, once that is known; else they join by themselves.
    clones_into: Option<bool>,
}

/// How many launches may be between fork and exec at once, besides that of the brain.
pub(crate) fn places() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    cpus.min(64) * LAUNCHES_PER_CPU
}

/// The numbers below this are those of low descriptors, and of a few others of the start.
pub(crate) fn low_numbers() -> RawFd {
    (places() as RawFd + 1) * 5 + 16
}

impl Launcher {
    /// Reserves the low descriptors for `places` launches at once.
    pub(crate) fn new(places: usize, nofile: (u64, u64)) -> nix::Result<Self> {
        let null = open_null()?;
        let low = || null.try_clone().map_err(|it| Errno::from_raw(it.raw_os_error().unwrap_or(0)));
        let place = || {
            let low = [low()?, low()?, low()?, low()?, low()?];
            let stack = Stack::new()?;
            let (holds, outside) = (false, false);
            let (reader, failure, task, sockets) = (None, None, None, None);
            Ok(Place { low, reader, holds, outside, failure, task, sockets, stack })
        };
        let places = (0..places).map(|_| place()).collect::<nix::Result<Vec<_>>>()?;
        let ledger = (low()?, false);
        let all = places.iter().flat_map(|it| &it.low).chain([&null, &ledger.0]);
        let first = all.map(AsRawFd::as_raw_fd).max().unwrap_or(2) as u32 + 1;
        let (nofile, keeper) = ([nofile.0, nofile.1], getpid().as_raw());
        Ok(Self { places, null, ledger, keeper, first, nofile, clones_into: None })
    }

    /// The limits of open files that children get.
    pub(crate) fn nofile(&self) -> (u64, u64) {
        (self.nofile[0], self.nofile[1])
    }

    /// The file in which children write that they live.
    pub(crate) fn sign_in(&mut self, ledger: BorrowedFd<'_>) {
        self.ledger.1 = dup3(ledger, &mut self.ledger.0, OFlag::O_CLOEXEC).is_ok();
    }

    /// Makes a process in a free place. From here on the launch is told by [`progress`](Self::progress).
    pub(crate) fn launch(&mut self, place: usize, start: Start<'_>) -> Result<Born, Failure> {
        let made = self.wire_up(place, &start).map_err(|errno| ("pipe", errno as i32));
        let born = made.and_then(|()| {
            let (leaf, sockets) = (start.leaf, start.sockets.clone());
            let task = self.task(place, start);
            (self.places[place].task, self.places[place].sockets) = (Some(Box::new(task)), sockets);
            self.clone(place, leaf).map_err(|errno| ("fork", errno as i32))
        });
        if born.is_err() {
            self.clear(place);
        }
        born
    }

    /// The end of a launch's pipe that tells of its progress, for `epoll`.
    pub(crate) fn reader(&self, place: usize) -> Option<BorrowedFd<'_>> {
        self.places.get(place)?.reader.as_ref().map(AsFd::as_fd)
    }

    /// The number by which a child of this place finds the one descriptor that it keeps.
    pub(crate) fn kept(&self, place: usize) -> RawFd {
        self.places.get(place).map_or(-1, |it| it.low[0].as_raw_fd())
    }

    /// Looks how far a launch has come.
    pub(crate) fn progress(&mut self, place: usize) -> Progress {
        let Some(at) = self.places.get_mut(place) else { return Progress::Gone };
        let Some(reader) = &at.reader else { return Progress::Gone };
        if let Some(failure) = at.failure {
            return Progress::Failed(failure);
        }
        loop {
            let mut bytes = [0; 16];
            let said = match nix::unistd::read(reader, &mut bytes) {
                Ok(0) => return Progress::Gone,
                Ok(length) => &bytes[..length],
                Err(Errno::EINTR) => continue,
                Err(_) => return Progress::Underway,
            };
            let rest = match said {
                [first, rest @ ..] if [ALONE, OUTSIDE].contains(first) => {
                    at.outside = *first == OUTSIDE;
                    rest
                }
                _ => said,
            };
            let_go(&mut at.holds, &mut at.low, &self.null);
            if let [step, a, b, c, d, ..] = *rest {
                let step = STEPS.get(usize::from(step)).copied().unwrap_or("launch");
                let failure = (step, i32::from_le_bytes([a, b, c, d]));
                at.failure = Some(failure);
                return Progress::Failed(failure);
            }
        }
    }

    /// The last word of a launch whose process has ended.
    pub(crate) fn last_word(&mut self, place: usize) -> Progress {
        if let Some(at) = self.places.get_mut(place) {
            let_go(&mut at.holds, &mut at.low, &self.null);
        }
        self.progress(place)
    }

    /// Whether the child of this place could not join its cgroup.
    pub(crate) fn is_outside(&self, place: usize) -> bool {
        self.places.get(place).is_some_and(|it| it.outside)
    }

    /// A failed step, with the path that it was about.
    pub(crate) fn explain(&self, place: usize, step: &str) -> String {
        let command = self.places.get(place).and_then(|it| Some(&it.task.as_ref()?.command));
        let path = match (step, command) {
            ("exec", Some(command)) => command.program(),
            ("chdir", Some(command)) => command.dir.as_deref().unwrap_or_default(),
            _ => return step.to_owned(),
        };
        format!("{step} {}", path.to_string_lossy())
    }

    /// Gives back what children have touched that are gone.
    pub(crate) fn give_back(&mut self) {
        let idle = self.places.iter_mut().filter(|it| it.task.is_none());
        idle.for_each(|it| it.stack.give_back());
    }

    /// Empties a place for the next launch, and lets go of the pipes that its process writes to.
    pub(crate) fn clear(&mut self, place: usize) {
        let Some(at) = self.places.get_mut(place) else { return };
        (at.reader, at.holds, at.failure, at.task) = (None, false, None, None);
        (at.outside, at.sockets) = (false, None);
        for low in &mut at.low {
            // Cannot fail: both are open, and no signal interrupts a process that blocks them all.
            let _ = dup3(&self.null, low, OFlag::O_CLOEXEC);
        }
    }

    fn wire_up(&mut self, place: usize, start: &Start<'_>) -> nix::Result<()> {
        let at = self.places.get_mut(place).ok_or(Errno::EBADF)?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        dup3(&writer, &mut at.low[3], OFlag::O_CLOEXEC)?;
        (at.reader, at.holds) = (Some(reader), true);
        if let Some((ready, _)) = start.ready {
            dup3(ready, &mut at.low[4], OFlag::O_CLOEXEC)?;
        }
        match start.streams {
            Streams::Given(streams) => {
                let given = streams
                    .iter()
                    .zip(&mut at.low)
                    .filter_map(|(it, low)| Some((it.as_ref()?, low)));
                for (stream, low) in given {
                    dup3(stream, low, OFlag::O_CLOEXEC)?;
                }
                Ok(())
            }
            Streams::Own(kept) => dup3(kept, &mut at.low[0], OFlag::O_CLOEXEC),
        }
    }

    fn task(&self, place: usize, start: Start<'_>) -> Task {
        let low = |index: usize| self.places[place].low[index].as_raw_fd();
        let own = matches!(start.streams, Streams::Own(_));
        let mut rights = start.rights;
        if !own && rights.limits.iter().all(|(which, _)| *which != NOFILE) {
            rights.limits.push((NOFILE, self.nofile));
        }
        let sockets: Vec<RawFd> =
            start.sockets.iter().flat_map(|it| it.iter()).map(AsRawFd::as_raw_fd).collect();
        // They are not at low numbers, so that the child takes along what is below them as well; `exec`
        // closes that.
        let first = sockets.iter().map(|it| *it as u32 + 1).fold(self.first, u32::max);
        Task {
            command: start.command,
            stdio: (!own).then(|| [low(0), low(1), low(2)]),
            keep: own.then(|| low(0)),
            ready: start.ready.map(|(_, number)| (low(4), number)),
            sockets,
            join: None,
            sign: start.sign.filter(|_| self.ledger.1).map(|line| Sign {
                ledger: self.ledger.0.as_raw_fd(),
                line,
                keeper: self.keeper,
            }),
            report: low(3),
            first,
            rights,
        }
    }

    /// Makes the process of a place that is wired up.
    #[expect(unsafe_code, reason = "clone")]
    fn clone(&mut self, place: usize, leaf: Option<BorrowedFd<'_>>) -> nix::Result<Born> {
        let at = self.places.get_mut(place).ok_or(Errno::EBADF)?;
        let task = at.task.as_deref_mut().ok_or(Errno::EINVAL)?;
        let memory = child::shared(&task.rights);
        if let Some(leaf) = leaf
            && *self.clones_into.get_or_insert_with(|| can_clone_into(leaf))
        {
            // SAFETY: task and stack stay as they are until the place is cleared, when the child has
            // its own memory or is dead.
            return unsafe { clone_into(at.stack.words(), task, memory, leaf) };
        }
        task.join = leaf.map(|it| it.as_raw_fd());
        // SAFETY: as above.
        unsafe { clone(at.stack.words(), task, memory) }
    }
}

/// Lets go of what only the child is to hold, once it has copies of its own.
fn let_go(holds: &mut bool, low: &mut [OwnedFd; 5], null: &OwnedFd) {
    if *holds {
        let [.., report, ready] = low;
        let still = [report, ready].map(|it| dup3(null, it, OFlag::O_CLOEXEC).is_err());
        *holds = still != [false; 2];
    }
}

/// Gives every signal its default disposition, so that all children begin with it.
#[expect(unsafe_code, reason = "sigaction past libc, which keeps two signals for itself")]
pub(crate) fn reset_dispositions() {
    /// `struct sigaction` of the kernel, all zeroes: SIG_DFL, no flags. At most so many words.
    const DEFAULT: [u64; 8] = [0; 8];
    for signal in 1..=libc::SIGRTMAX() {
        let none = std::ptr::null_mut::<u64>();
        // SAFETY: the default disposition runs no code. SIGKILL and SIGSTOP refuse, and have it.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, 8) };
    }
}

/// Makes `exec` close every descriptor but the standard streams.
#[expect(unsafe_code, reason = "close_range has no wrapper")]
pub(crate) fn close_all_on_exec() {
    // SAFETY: touches no memory, and closes nothing now.
    unsafe {
        let flag = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flag) < 0 {
            for fd in 3..1024 {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC); // Linux before 5.11
            }
        }
    }
}

/// Closes every descriptor of this process but one, for a process that only cleans up.
#[expect(unsafe_code, reason = "close_range has no wrapper")]
pub(crate) fn keep_only(kept: &OwnedFd) {
    if let Ok(null) = open_null() {
        let _ = dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null));
    }
    let kept = kept.as_raw_fd() as u32;
    for (from, to) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        // SAFETY: the caller is about to end, and uses none of these any more.
        unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
    }
}

/// Opens `/dev/null` at a number above the standard streams, which it fills up where they are closed.
fn open_null() -> nix::Result<OwnedFd> {
    loop {
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(null);
        }
        fcntl(&null, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
        std::mem::forget(null);
    }
}

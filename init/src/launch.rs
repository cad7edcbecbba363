//! From a command to a running process.
//!
//! The child shares the keeper's memory and its descriptor table, as after `vfork`, but the keeper
//! does not wait for it: it has a stack of its own, and all that it reads is kept until it has left.
//! A plain fork would copy page tables, and five descriptors of each service, which `exec` would close
//! again: at 1,000 services that costs as much as everything else together (measured).
//!
//! The child's first step leaves the descriptor table with copies of only the lowest descriptors
//! (`close_range` with `UNSHARE`). So what a child needs lies at reserved low numbers, three for each
//! [`Place`], and a place is changed only when no child looks at it any more.
//!
//! Each launch has a pipe whose writing end `exec` closes. The child writes one byte when it has its
//! own table (now the keeper closes its own copy), then nothing (`exec` worked) or a record of
//! the step that failed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{dup3, pipe2};

use crate::child::{self, ALONE, SHARED, STEPS, Task};
use crate::command::Command;

/// What went wrong where: the step's name and its error number.
pub(crate) type Failure = (&'static str, i32);

/// Where the standard streams of a child go.
#[derive(Clone, Copy)]
pub(crate) enum Streams<'a> {
    /// stdin from `/dev/null`, the others into these.
    Into(BorrowedFd<'a>, BorrowedFd<'a>),
    /// All three to and from `/dev/null`.
    Null,
    /// The keeper's own. The child keeps this one more descriptor, and the keeper's limits.
    Own(BorrowedFd<'a>),
}

/// A process that was just made.
pub(crate) struct Born {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
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

/// The stack of a child, in words of 16 bytes; it needs less than a tenth.
const STACK_WORDS: usize = 2048;

/// Room for one launch between fork and exec.
struct Place {
    /// Low descriptors: stdout, stderr and the writing end of the launch's pipe; `/dev/null` else.
    low: [OwnedFd; 3],
    reader: Option<OwnedFd>,
    /// Whether the keeper still has its own copy of the writing end.
    holds: bool,
    /// The record that was read from the pipe.
    failure: Option<Failure>,
    /// What the child reads and where it runs. Not to be touched before it is gone.
    task: Option<Box<Task>>,
    stack: Box<[u128]>,
}

/// Makes processes.
pub(crate) struct Launcher {
    places: Vec<Place>,
    null: OwnedFd,
    /// Descriptors from here on are nothing to a child.
    first: u32,
    /// The soft limit of open files that the keeper was given, and its children get.
    nofile: libc::rlimit,
}

impl Launcher {
    /// Reserves the low descriptors for `places` launches at once.
    pub(crate) fn new(places: usize, nofile: (u64, u64)) -> nix::Result<Self> {
        let null = open_null()?;
        let low = || null.try_clone().map_err(|it| Errno::from_raw(it.raw_os_error().unwrap_or(0)));
        let place = || {
            let low = [low()?, low()?, low()?];
            let stack = vec![0; STACK_WORDS].into_boxed_slice();
            Ok(Place { low, reader: None, holds: false, failure: None, task: None, stack })
        };
        let places = (0..places).map(|_| place()).collect::<nix::Result<Vec<_>>>()?;
        let numbers = places.iter().flat_map(|it| &it.low).chain([&null]).map(AsRawFd::as_raw_fd);
        let first = numbers.max().unwrap_or(2) as u32 + 1;
        let nofile = libc::rlimit { rlim_cur: nofile.0, rlim_max: nofile.1 };
        Ok(Self { places, null, first, nofile })
    }

    /// Makes a process in a free place. From here on the launch is told by [`progress`](Self::progress).
    pub(crate) fn launch(
        &mut self,
        place: usize,
        command: Command,
        streams: Streams<'_>,
    ) -> Result<Born, Failure> {
        let made = self.wire_up(place, streams).map_err(|errno| ("pipe", errno as i32));
        let born = made.and_then(|()| {
            let task = self.task(place, command, streams);
            self.places[place].task = Some(Box::new(task));
            self.clone(place).map_err(|errno| ("fork", errno as i32))
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
                [first, rest @ ..] if *first == ALONE => rest,
                _ => said,
            };
            if at.holds {
                at.holds = dup3(&self.null, &mut at.low[2], OFlag::O_CLOEXEC).is_err();
            }
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
        if let Some(at) = self.places.get_mut(place)
            && at.holds
        {
            at.holds = dup3(&self.null, &mut at.low[2], OFlag::O_CLOEXEC).is_err();
        }
        self.progress(place)
    }

    /// Empties a place for the next launch, and lets go of the pipes that its process writes to.
    pub(crate) fn clear(&mut self, place: usize) {
        let Some(at) = self.places.get_mut(place) else { return };
        (at.reader, at.holds, at.failure, at.task) = (None, false, None, None);
        for low in &mut at.low {
            // Cannot fail: both are open, and no signal interrupts a process that blocks them all.
            let _ = dup3(&self.null, low, OFlag::O_CLOEXEC);
        }
    }

    fn wire_up(&mut self, place: usize, streams: Streams<'_>) -> nix::Result<()> {
        let at = self.places.get_mut(place).ok_or(Errno::EBADF)?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        dup3(&writer, &mut at.low[2], OFlag::O_CLOEXEC)?;
        (at.reader, at.holds) = (Some(reader), true);
        match streams {
            Streams::Into(out, err) => {
                dup3(out, &mut at.low[0], OFlag::O_CLOEXEC)?;
                dup3(err, &mut at.low[1], OFlag::O_CLOEXEC)
            }
            Streams::Own(kept) => dup3(kept, &mut at.low[0], OFlag::O_CLOEXEC),
            Streams::Null => Ok(()),
        }
    }

    fn task(&self, place: usize, command: Command, streams: Streams<'_>) -> Task {
        let low = |index: usize| self.places[place].low[index].as_raw_fd();
        let own = matches!(streams, Streams::Own(_));
        Task {
            command,
            stdio: (!own).then(|| [self.null.as_raw_fd(), low(0), low(1)]),
            keep: own.then(|| low(0)),
            report: low(2),
            first: self.first,
            nofile: (!own).then_some(self.nofile),
        }
    }

    /// Makes the process of a place that is wired up.
    #[expect(unsafe_code, reason = "clone")]
    fn clone(&mut self, place: usize) -> nix::Result<Born> {
        let at = self.places.get_mut(place).ok_or(Errno::EBADF)?;
        let task = at.task.as_deref().ok_or(Errno::EINVAL)?;
        let task = std::ptr::from_ref(task).cast_mut().cast();
        let mut pidfd: RawFd = -1;
        // SAFETY: `child` gets a stack of its own, and reads only its task; both stay as they are until
        // the place is cleared, when the child has its own memory or is dead. With a pidfd asked
        // for, the kernel puts it where the fifth argument says.
        let pid = unsafe {
            let top = at.stack.as_mut_ptr_range().end.cast();
            let flags = SHARED | libc::CLONE_FILES | libc::CLONE_PIDFD | libc::SIGCHLD;
            libc::clone(child::main, top, flags, task, &raw mut pidfd)
        };
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = (pid > 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        pidfd.map(|pidfd| Born { pid, pidfd }).ok_or_else(Errno::last)
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

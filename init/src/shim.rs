//! Another program under this one, as `tini` and `dumb-init` run it: it gets every signal that comes
//! here, orphans are reaped, and its exit status is returned.
//!
//! Nothing else of the keeper runs: one thread, which waits for signals and for children. All signals
//! are blocked from the first to the last moment, so that none is lost, and none ends PID 1.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, execvp, fork, getpgrp, read, setpgid, tcgetpgrp, tcsetpgrp};

use crate::{launch, thrift};

/// What there is no program for, and what there is one for that cannot be run: as shells have it.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// A set of signals as the kernel has it, with the two that libc keeps for itself.
type Mask = u64;
static ALL: Mask = Mask::MAX;

/// What to run, and how.
#[derive(Debug)]
pub struct Shim {
    /// The program, looked up in `PATH` unless there is a slash in it, and its arguments.
    pub command: Vec<OsString>,
    /// Whether signals go to the program's process group, instead of to the program alone.
    pub group: bool,
}

/// Runs the program to its end, and returns its exit status: its code, or 128 and the signal that
/// ended it; 127 when there is no such program, 126 when it cannot be run.
///
/// To be called while the process has only one thread.
pub fn run(shim: Shim) -> i32 {
    match Running::begin(shim) {
        Ok(running) => {
            thrift::give_back();
            running.wait()
        }
        Err(errno) => {
            complain(&format!("cannot begin: {}", errno.desc()));
            1
        }
    }
}

/// The program that runs.
struct Running {
    pid: Pid,
    /// Whom signals are for: the program, or its group as a negative number.
    target: i32,
}

/// What has become of a child.
struct Change {
    pid: i32,
    /// `CLD_EXITED`, `CLD_STOPPED` and so on.
    what: i32,
    /// The exit code, or the signal.
    status: i32,
}

impl Running {
    fn begin(shim: Shim) -> nix::Result<Self> {
        let command: Result<Vec<_>, _> =
            shim.command.into_iter().map(|it| CString::new(it.into_vec())).collect();
        let command = command.map_err(|_| Errno::EINVAL)?;
        let mask = set_mask(ALL);
        launch::reset_dispositions();
        // Without it, which only very old kernels lack, orphans are PID 1's business.
        let _ = prctl::set_child_subreaper(true);
        let pid = start(&command, mask)?;
        // The child does the same: whoever comes first, no signal for its group finds none.
        let _ = setpgid(pid, pid);
        let target = if shim.group { -pid.as_raw() } else { pid.as_raw() };
        Ok(Self { pid, target })
    }

    fn wait(&self) -> i32 {
        loop {
            match next_signal() {
                libc::SIGCHLD => {
                    if let Some(status) = self.reap() {
                        take_terminal_from(self.pid);
                        return status;
                    }
                }
                signal => self.forward(signal),
            }
        }
    }

    /// Takes every death that there is, and returns the program's exit status if it is among them.
    fn reap(&self) -> Option<i32> {
        let mut ended = None;
        while let Some(Change { pid, what, status }) = next_change() {
            if pid == self.pid.as_raw() {
                match what {
                    libc::CLD_EXITED => ended = Some(status),
                    // By somebody at a terminal, whose shell is to see that its job has stopped.
                    libc::CLD_STOPPED if status != libc::SIGSTOP => stop_likewise(status),
                    libc::CLD_STOPPED => {}
                    _ => ended = Some(128 + status),
                }
            }
        }
        ended
    }

    fn forward(&self, signal: i32) {
        if signal == libc::SIGCONT && is_foreground() {
            give_terminal_to(self.pid);
        }
        send(self.target, signal);
    }
}

/// Makes the child that becomes the program.
#[expect(unsafe_code, reason = "fork")]
#[expect(clippy::disallowed_methods, reason = "the one child of a process that does nothing else")]
fn start(command: &[CString], mask: Mask) -> nix::Result<Pid> {
    let is_foreground = is_foreground();
    // SAFETY: there is one thread, so the child may do whatever we may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let me = Pid::this();
            let _ = setpgid(me, me);
            if is_foreground {
                give_terminal_to(me);
            }
            set_mask(mask);
            let Err(errno) = become_program(command);
            let code = if errno == Errno::ENOENT { NOT_FOUND } else { NOT_RUN };
            // SAFETY: ends the child, without what the parent is to do at its end.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Runs the program in place of this one; when that fails, it is said why.
fn become_program(command: &[CString]) -> nix::Result<Infallible> {
    let program = command.first().ok_or(Errno::ENOENT)?;
    let failed = execvp(program, command);
    let name = program.to_string_lossy();
    let why = match failed {
        Err(Errno::ENOENT) if !name.contains('/') => "there is no such program in PATH",
        Err(Errno::ENOENT) if Path::new(&*name).exists() => {
            "the interpreter that it names is missing"
        }
        Err(errno) => errno.desc(),
    };
    complain(&format!("cannot run `{name}`: {why}"));
    failed
}

/// The terminal of our session, if it has one.
fn terminal() -> Option<OwnedFd> {
    let how = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    open("/dev/tty", how, Mode::empty()).ok()
}

/// Whether our process group is the one that the terminal is for: others are refused to read, even
/// nothing. The numbers of the groups do not tell: to the first process of a PID namespace, all from
/// outside are 0.
fn is_foreground() -> bool {
    terminal().is_some_and(|it| read(it, &mut []) != Err(Errno::EIO))
}

/// Makes a process group the foreground. Nobody is stopped for it: all signals are blocked.
fn give_terminal_to(group: Pid) {
    if let Some(terminal) = terminal() {
        let _ = tcsetpgrp(terminal, group);
    }
}

/// Makes our group the foreground again, if that was the program's to the last.
fn take_terminal_from(group: Pid) {
    if terminal().and_then(|it| tcgetpgrp(it).ok()) == Some(group) {
        give_terminal_to(getpgrp());
    }
}

/// Stops this process too, unless it is PID 1 or nobody is there who could continue it: the kernel
/// sees to that.
fn stop_likewise(signal: i32) {
    set_mask(ALL & !(1 << (signal - 1)));
    send(Pid::this().as_raw(), signal);
    set_mask(ALL);
}

/// Sets the blocked signals, and returns those that were.
#[expect(unsafe_code, reason = "sigprocmask past libc, which keeps two signals for itself")]
fn set_mask(mask: Mask) -> Mask {
    let mut before: Mask = 0;
    let (how, size) = (libc::SIG_SETMASK, size_of::<Mask>());
    // SAFETY: both masks are ours, and as large as is said.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const mask, &raw mut before, size);
    }
    before
}

/// Waits for the next signal, whichever.
#[expect(unsafe_code, reason = "sigtimedwait past libc, as above")]
fn next_signal() -> i32 {
    let (info, forever) = (ptr::null_mut::<libc::siginfo_t>(), ptr::null::<libc::timespec>());
    loop {
        // SAFETY: the mask is as large as is said, and nothing else is asked to be written or read.
        let signal = unsafe {
            let size = size_of::<Mask>();
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const ALL, info, forever, size)
        };
        // It fails when we were stopped and continued.
        if signal > 0 {
            return signal as i32;
        }
    }
}

/// The next child that has ended, which is reaped, or stopped.
#[expect(unsafe_code, reason = "waitid with the raw signal number, which may be a real-time one")]
fn next_change() -> Option<Change> {
    let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG;
    // SAFETY: all zeroes is a siginfo that says "no child".
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `info` is ours to be written to.
    while unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) } < 0 {
        if Errno::last() != Errno::EINTR {
            return None; // ECHILD: there are no children.
        }
    }
    // SAFETY: waitid filled in the fields of SIGCHLD, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    (pid != 0).then_some(Change { pid, what: info.si_code, status })
}

/// Signals the program or its group, neither of which is reaped yet.
#[expect(unsafe_code, reason = "kill with the raw signal number")]
fn send(target: i32, signal: i32) {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(target, signal) };
}

fn complain(what: &str) {
    // Where nobody listens, nothing is said.
    let _ = writeln!(io::stderr(), "error: {what}");
}

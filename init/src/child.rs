//! A child's life up to `exec`: a handful of system calls, and nothing else.
//!
//! It runs in the keeper's memory, at the same time as the keeper. So it calls the kernel without
//! libc, whose `errno` it would share, allocates nothing, takes no lock, and writes only to its stack and
//! to the variable with its number.

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::RawFd;

use nix::libc;

use crate::command::Command;
use crate::held::FIRST;
use crate::wire::Identity;

/// What a child shares with the keeper besides descriptors: all memory, where [`call`] leaves `errno`
/// alone. Not a child that gets another user, whose other processes could look at that memory; nor one
/// with an `oom_score_adj`, which the kernel sets for all who share it.
pub(crate) fn shared(rights: &Rights) -> c_int {
    let may = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let apart = rights.identity.is_some() || rights.oom_score_adj.is_some();
    if may && !apart { libc::CLONE_VM } else { 0 }
}

/// What can fail; a failed step is named to the keeper by its number.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Setpgid,
    Unshare,
    Keeper,
    Stdio,
    Sockets,
    Ready,
    Rlimit,
    OomScoreAdj,
    Nice,
    Umask,
    Setgroups,
    Setgid,
    Setuid,
    NoNewPrivs,
    Chdir,
    Sigmask,
    Exec,
}

/// The names of the steps, in their order.
pub(crate) const STEPS: [&str; 17] = [
    "setpgid",
    "unshare",
    "keeper",
    "stdio",
    "sockets",
    "ready",
    "rlimit",
    "oom_score_adj",
    "nice",
    "umask",
    "setgroups",
    "setgid",
    "setuid",
    "no_new_privs",
    "chdir",
    "sigmask",
    "exec",
];

/// The byte that says: this child has its own descriptor table.
pub(crate) static ALONE: u8 = b'a';

/// The byte that says the same, and that the child could not join its cgroup.
pub(crate) static OUTSIDE: u8 = b'o';

/// The exit status of a child that cannot run its program. Its keeper knows the reason, if it lives.
pub(crate) const GIVEN_UP: c_int = 127;

/// Everything a child needs, made before it is born.
pub(crate) struct Task {
    pub(crate) command: Command,
    /// What becomes stdin, stdout and stderr, unless they stay as they are.
    pub(crate) stdio: Option<[RawFd; 3]>,
    /// A descriptor that `exec` is to leave open.
    pub(crate) keep: Option<RawFd>,
    /// A descriptor, and the number at which the program is to find it.
    pub(crate) ready: Option<(RawFd, RawFd)>,
    /// What the program is to find from [`FIRST`] on, all from numbers beyond those.
    pub(crate) sockets: Vec<RawFd>,
    /// The cgroup to join, where the kernel has not put the child there.
    pub(crate) join: Option<RawFd>,
    /// What is to be written down before the program runs.
    pub(crate) sign: Option<Sign>,
    /// The writing end of the launch's pipe.
    pub(crate) report: RawFd,
    /// Descriptors from here on are not the child's.
    pub(crate) first: u32,
    pub(crate) rights: Rights,
}

/// A line of the ledger, up to the number of the process, which only the child knows for sure to exist.
pub(crate) struct Sign {
    pub(crate) ledger: RawFd,
    pub(crate) line: Vec<u8>,
    /// Whose child it is while nobody else can have taken over.
    pub(crate) keeper: i32,
}

/// What a process may do and may use.
#[derive(Default)]
pub(crate) struct Rights {
    pub(crate) identity: Option<Identity>,
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    /// As it is written to the file.
    pub(crate) oom_score_adj: Option<String>,
    /// Set in this order.
    pub(crate) limits: Vec<(u32, [u64; 2])>,
    pub(crate) no_new_privs: bool,
}

/// A step, and its error number.
type Failed = (Step, c_int);

/// Where a child begins, on its own stack. It does not return.
pub(crate) extern "C" fn main(task: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "the argument of clone")]
    // SAFETY: the keeper passes a task that stays as it is until this process has left its memory.
    let task = unsafe { &*task.cast_const().cast::<Task>() };
    let mut report = task.report;
    let (step, errno) =
        prepare(task, &mut report).err().unwrap_or_else(|| (Step::Exec, exec(&task.command)));
    let [a, b, c, d] = errno.to_le_bytes();
    let record = [step as u8, a, b, c, d];
    let _ = call(libc::SYS_write, [num(report), addr(&record), record.len(), 0]);
    loop {
        let _ = call(libc::SYS_exit_group, [GIVEN_UP as usize, 0, 0, 0]);
    }
}

/// All steps before the last, or the one that failed and its error number.
fn prepare(task: &Task, report: &mut RawFd) -> Result<(), Failed> {
    separate(task)?;
    if let Some(variable) = &task.command.own_number {
        variable.write(call(libc::SYS_getpid, [0; 4]).map_err(at(Step::Sockets))?);
    }
    place_descriptors(task, report)?;
    take_rights(&task.rights)?;
    // By now as the user who is to be allowed there.
    if let Some(dir) = &task.command.dir {
        call(libc::SYS_chdir, [string(dir), 0, 0, 0]).map_err(at(Step::Chdir))?;
    }
    let none = 0_u64;
    let (how, size) = (libc::SIG_SETMASK as usize, size_of_val(&none));
    call(libc::SYS_rt_sigprocmask, [how, addr(&none), 0, size]).map_err(at(Step::Sigmask))?;
    Ok(())
}

fn at(step: Step) -> impl Fn(c_int) -> Failed {
    move |errno| (step, errno)
}

/// Gets a group, a cgroup and a descriptor table of its own, and says so.
fn separate(task: &Task) -> Result<(), Failed> {
    call(libc::SYS_setpgid, [0, 0, 0, 0]).map_err(at(Step::Setpgid))?;
    let inside = task.join.is_none_or(|leaf| join(leaf).is_ok());
    let unshare = libc::CLOSE_RANGE_UNSHARE as usize;
    call(libc::SYS_close_range, [task.first as usize, u32::MAX as usize, unshare, 0])
        // Linux before 5.9. `exec` closes what is left.
        .or_else(|_| call(libc::SYS_unshare, [libc::CLONE_FILES as usize, 0, 0, 0]))
        .map_err(at(Step::Unshare))?;
    let word = if inside { &ALONE } else { &OUTSIDE };
    let _ = call(libc::SYS_write, [num(task.report), addr(word), 1, 0]);
    task.sign.as_ref().map_or(Ok(()), sign)
}

/// Writes down that it lives, and gives up if its keeper does not any more: whoever takes over by then
/// may have read before this was written.
fn sign(sign: &Sign) -> Result<(), Failed> {
    let pid = call(libc::SYS_getpid, [0; 4]).map_err(at(Step::Keeper))?;
    let mut rest = *b"          }\n";
    let mut left = pid;
    for digit in rest[..10].iter_mut().rev() {
        if left > 0 {
            *digit = b'0' + (left % 10) as u8;
        }
        left /= 10;
    }
    let part = |bytes: &[u8]| [bytes.as_ptr() as usize, bytes.len()];
    let parts = [part(&sign.line), part(&rest)];
    // A full disk keeps nobody from running.
    let _ = call(libc::SYS_writev, [num(sign.ledger), addr(&parts), parts.len(), 0]);
    match call(libc::SYS_getppid, [0; 4]) {
        Ok(parent) if parent != sign.keeper as usize => Err((Step::Keeper, libc::ESRCH)),
        _ => Ok(()),
    }
}

fn join(leaf: RawFd) -> Result<(), c_int> {
    write_to(leaf, c"cgroup.procs", b"0")
}

/// Writes to a file below a directory.
fn write_to(dir: RawFd, file: &CStr, text: &[u8]) -> Result<(), c_int> {
    let flags = (libc::O_WRONLY | libc::O_CLOEXEC) as usize;
    let file = call(libc::SYS_openat, [num(dir), string(file), flags, 0])?;
    let written = call(libc::SYS_write, [file, text.as_ptr() as usize, text.len(), 0]);
    let _ = call(libc::SYS_close, [file, 0, 0, 0]);
    written.map(drop)
}

fn place_descriptors(task: &Task, report: &mut RawFd) -> Result<(), Failed> {
    if let Some([stdin, stdout, stderr]) = task.stdio {
        for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            call(libc::SYS_dup3, [num(from), to, 0, 0]).map_err(at(Step::Stdio))?;
        }
    }
    if let Some(kept) = task.keep {
        leave_open(kept).map_err(at(Step::Stdio))?;
    }
    let mut ready = task.ready;
    if !task.sockets.is_empty() {
        place_sockets(&task.sockets, report, &mut ready).map_err(at(Step::Sockets))?;
    }
    let Some((from, to)) = ready else { return Ok(()) };
    if to == *report {
        // The number is the program's to choose, so the report moves out of the way.
        *report = moved(*report, to + 1).map_err(at(Step::Ready))?;
    }
    if from == to {
        return leave_open(from).map_err(at(Step::Ready));
    }
    call(libc::SYS_dup3, [num(from), num(to), 0, 0]).map_err(at(Step::Ready)).map(drop)
}

/// Puts the sockets where the program looks for them. What else is needed there moves out of the way.
fn place_sockets(
    sockets: &[RawFd],
    report: &mut RawFd,
    ready: &mut Option<(RawFd, RawFd)>,
) -> Result<(), c_int> {
    let end = FIRST + sockets.len() as RawFd;
    for needed in [Some(report), ready.as_mut().map(|it| &mut it.0)].into_iter().flatten() {
        if *needed < end {
            *needed = moved(*needed, end)?;
        }
    }
    for (from, to) in sockets.iter().zip(FIRST..) {
        call(libc::SYS_dup3, [num(*from), num(to), 0, 0])?;
    }
    Ok(())
}

/// The same under a number from `least` on.
fn moved(fd: RawFd, least: RawFd) -> Result<RawFd, c_int> {
    let how = libc::F_DUPFD_CLOEXEC as usize;
    call(libc::SYS_fcntl, [num(fd), how, num(least), 0]).map(|it| it as RawFd)
}

fn leave_open(fd: RawFd) -> Result<(), c_int> {
    call(libc::SYS_fcntl, [num(fd), libc::F_SETFD as usize, 0, 0]).map(drop)
}

/// Becomes who it is to be: first what only the keeper's user may do, then that user no more.
fn take_rights(rights: &Rights) -> Result<(), Failed> {
    for (which, limit) in &rights.limits {
        call(libc::SYS_prlimit64, [0, *which as usize, addr(limit), 0])
            .map_err(at(Step::Rlimit))?;
    }
    if let Some(text) = &rights.oom_score_adj {
        let file = c"/proc/self/oom_score_adj";
        write_to(libc::AT_FDCWD, file, text.as_bytes()).map_err(at(Step::OomScoreAdj))?;
    }
    if let Some(nice) = rights.nice {
        let which = libc::PRIO_PROCESS as usize;
        call(libc::SYS_setpriority, [which, 0, nice as usize, 0]).map_err(at(Step::Nice))?;
    }
    if let Some(mask) = rights.umask {
        call(libc::SYS_umask, [mask as usize, 0, 0, 0]).map_err(at(Step::Umask))?;
    }
    if let Some(it) = &rights.identity {
        let (count, list) = (it.groups.len(), it.groups.as_ptr() as usize);
        call(libc::SYS_setgroups, [count, list, 0, 0]).map_err(at(Step::Setgroups))?;
        call(libc::SYS_setgid, [it.gid as usize, 0, 0, 0]).map_err(at(Step::Setgid))?;
        call(libc::SYS_setuid, [it.uid as usize, 0, 0, 0]).map_err(at(Step::Setuid))?;
    }
    if rights.no_new_privs {
        let what = libc::PR_SET_NO_NEW_PRIVS as usize;
        call(libc::SYS_prctl, [what, 1, 0, 0]).map_err(at(Step::NoNewPrivs))?;
    }
    Ok(())
}

/// Tries the candidates in order; returns the error that says most.
fn exec(command: &Command) -> c_int {
    let (argv, env) = (command.argv().as_ptr() as usize, command.env().as_ptr() as usize);
    let mut worst = libc::ENOENT;
    for program in &command.candidates {
        match call(libc::SYS_execve, [string(program), argv, env, 0]) {
            Err(libc::ENOENT | libc::ENOTDIR) if command.candidates.len() > 1 => {}
            Err(libc::EACCES) => worst = libc::EACCES,
            Err(errno) => return errno,
            Ok(_) => {} // Does not return.
        }
    }
    worst
}

fn num(fd: RawFd) -> usize {
    fd as usize
}

fn addr<T>(of: &T) -> usize {
    std::ptr::from_ref(of) as usize
}

fn string(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// Calls the kernel and nobody else. A fifth argument is zero.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a system call that leaves errno alone")]
fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<usize, c_int> {
    let result: isize;
    // SAFETY: this module passes numbers, and addresses of what lives during the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") 0_usize,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// Calls the kernel and nobody else. A fifth argument is zero.
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "a system call that leaves errno alone")]
fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<usize, c_int> {
    let result: isize;
    // SAFETY: this module passes numbers, and addresses of what lives during the call.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") 0_usize,
            options(nostack),
        );
    }
    outcome(result)
}

/// Calls the kernel by way of libc. The child has its own memory here, and `errno` with it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[expect(unsafe_code, reason = "a system call")]
fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<usize, c_int> {
    // SAFETY: this module passes numbers, and addresses of what lives during the call.
    match unsafe { libc::syscall(number, a, b, c, d, 0_usize) } {
        -1 => Err(nix::errno::Errno::last_raw()),
        result => Ok(result as usize),
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn outcome(result: isize) -> Result<usize, c_int> {
    if result < 0 { Err(-result as c_int) } else { Ok(result as usize) }
}

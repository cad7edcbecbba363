//! A child's life up to `exec`: a handful of system calls, and nothing else.
//!
//! It runs in the keeper's memory, at the same time as the keeper. So it calls the kernel without
//! libc, whose `errno` it would share, allocates nothing, takes no lock, and writes only to its stack.

use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::RawFd;

use nix::libc;

use crate::command::Command;

/// What the child shares with the keeper besides descriptors: all memory, where [`call`] leaves
/// `errno` alone.
pub(crate) const SHARED: c_int =
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { libc::CLONE_VM } else { 0 };

/// The steps, in order; a failed one is named to the keeper by its index.
pub(crate) const STEPS: [&str; 7] =
    ["setpgid", "unshare", "stdio", "chdir", "rlimit", "sigmask", "exec"];

/// The byte that says: this child has its own descriptor table.
pub(crate) static ALONE: u8 = b'a';

/// Everything a child needs, made before it is born.
pub(crate) struct Task {
    pub(crate) command: Command,
    /// What becomes stdin, stdout and stderr, unless they stay as they are.
    pub(crate) stdio: Option<[RawFd; 3]>,
    /// A descriptor that `exec` is to leave open.
    pub(crate) keep: Option<RawFd>,
    /// The writing end of the launch's pipe.
    pub(crate) report: RawFd,
    /// Descriptors from here on are not the child's.
    pub(crate) first: u32,
    /// The limit of open files to go back to.
    pub(crate) nofile: Option<libc::rlimit>,
}

/// Where a child begins, on its own stack. It does not return.
pub(crate) extern "C" fn main(task: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "the argument of clone")]
    // SAFETY: the keeper passes a task that stays as it is until this process has left its memory.
    let task = unsafe { &*task.cast_const().cast::<Task>() };
    let (step, errno) = prepare(task).err().unwrap_or_else(|| (6, exec(&task.command)));
    let [a, b, c, d] = errno.to_le_bytes();
    let record = [step, a, b, c, d];
    let _ = call(libc::SYS_write, [num(task.report), addr(&record), record.len(), 0]);
    loop {
        let _ = call(libc::SYS_exit_group, [127, 0, 0, 0]);
    }
}

/// All steps before the last, or the one that failed and its error number.
fn prepare(task: &Task) -> Result<(), (u8, c_int)> {
    let at = |step: u8| move |errno: c_int| (step, errno);
    call(libc::SYS_setpgid, [0, 0, 0, 0]).map_err(at(0))?;
    let unshare = libc::CLOSE_RANGE_UNSHARE as usize;
    call(libc::SYS_close_range, [task.first as usize, u32::MAX as usize, unshare, 0])
        // Linux before 5.9. `exec` closes what is left.
        .or_else(|_| call(libc::SYS_unshare, [libc::CLONE_FILES as usize, 0, 0, 0]))
        .map_err(at(1))?;
    let _ = call(libc::SYS_write, [num(task.report), addr(&ALONE), 1, 0]);
    if let Some([stdin, stdout, stderr]) = task.stdio {
        for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            call(libc::SYS_dup3, [num(from), to, 0, 0]).map_err(at(2))?;
        }
    }
    if let Some(kept) = task.keep {
        call(libc::SYS_fcntl, [num(kept), libc::F_SETFD as usize, 0, 0]).map_err(at(2))?;
    }
    if let Some(dir) = &task.command.dir {
        call(libc::SYS_chdir, [string(dir), 0, 0, 0]).map_err(at(3))?;
    }
    if let Some(limit) = &task.nofile {
        let which = libc::RLIMIT_NOFILE as usize;
        call(libc::SYS_prlimit64, [0, which, addr(limit), 0]).map_err(at(4))?;
    }
    let none = 0_u64;
    let (how, size) = (libc::SIG_SETMASK as usize, size_of_val(&none));
    call(libc::SYS_rt_sigprocmask, [how, addr(&none), 0, size]).map_err(at(5))?;
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

fn string(text: &CString) -> usize {
    CStr::as_ptr(text) as usize
}

/// Calls the kernel and nobody else.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a system call that leaves errno alone")]
fn call(number: libc::c_long, [a, b, c, d]: [usize; 4]) -> Result<usize, c_int> {
    let result: isize;
    // SAFETY: this module passes numbers, and addresses of what lives during the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// Calls the kernel and nobody else.
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
            in("x1") b, in("x2") c, in("x3") d,
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
    match unsafe { libc::syscall(number, a, b, c, d) } {
        -1 => Err(nix::errno::Errno::last_raw()),
        result => Ok(result as usize),
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn outcome(result: isize) -> Result<usize, c_int> {
    if result < 0 { Err(-result as c_int) } else { Ok(result as usize) }
}

//! The system call that makes a child, which begins on a stack of its own.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::child::{self, Task};

/// A process that was just made.
pub(crate) struct Born {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// What a child always shares with the keeper: its descriptor table, until it has left that.
const FLAGS: c_int = libc::CLONE_FILES | libc::CLONE_PIDFD;

/// Beyond the 32 bits that `clone` has, and that libc gives it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Makes a child that shares `memory` (`CLONE_VM` or nothing) with the keeper.
///
/// # Safety
/// Task and stack stay as they are until the child has memory of its own or is dead.
#[expect(unsafe_code, reason = "clone")]
pub(crate) unsafe fn clone(stack: &mut [u128], task: &Task, memory: c_int) -> Result<Born, Errno> {
    let mut pidfd: RawFd = -1;
    let argument = std::ptr::from_ref(task).cast_mut().cast();
    // SAFETY: `child` gets a stack of its own, and reads only its task. With a pidfd asked for, the
    // kernel puts it where the fifth argument says.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end.cast();
        libc::clone(child::main, top, memory | FLAGS | libc::SIGCHLD, argument, &raw mut pidfd)
    };
    if pid < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Born { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// `struct clone_args`, up to the member that came with Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes the same child, in a cgroup from its first instant.
///
/// # Safety
/// As for [`clone`].
#[expect(unsafe_code, reason = "clone3, which libc has no function for")]
pub(crate) unsafe fn clone_into(
    stack: &mut [u128],
    task: &Task,
    memory: c_int,
    leaf: BorrowedFd<'_>,
) -> Result<Born, Errno> {
    let mut pidfd: RawFd = -1;
    let args = Args {
        flags: (memory | FLAGS) as u64 | CLONE_INTO_CGROUP,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: size_of_val(stack) as u64,
        cgroup: leaf.as_raw_fd() as u64,
        ..Args::default()
    };
    // SAFETY: the caller's promise; `args` lives during the call.
    let pid = unsafe { clone3(&args, task) };
    if pid < 0 {
        return Err(Errno::from_raw(-pid as c_int));
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Born { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Whether a child lives that is made in this cgroup: old kernels and sandboxes refuse, and new ones
/// kill it at once where the keeper's own cgroup was killed before the keeper came to be there.
#[expect(unsafe_code, reason = "a fork that the kernel is to refuse or to kill")]
pub(crate) fn can_clone_into(leaf: BorrowedFd<'_>) -> bool {
    // No signal when it ends: it is waited for here.
    let args =
        Args { flags: CLONE_INTO_CGROUP, cgroup: leaf.as_raw_fd() as u64, ..Args::default() };
    // SAFETY: like fork. The child has its own memory and ends at once.
    unsafe {
        match libc::syscall(libc::SYS_clone3, &raw const args, size_of::<Args>()) {
            0 => libc::_exit(0),
            pid if pid > 0 => {
                let mut status = -1;
                let waited = libc::waitpid(pid as i32, &raw mut status, libc::__WALL);
                i64::from(waited) == pid && status == 0
            }
            _ => false,
        }
    }
}

/// In the keeper this returns; the child, on its empty stack, cannot, and goes on in its `main`.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "returns twice, the second time on another stack")]
unsafe fn clone3(args: &Args, task: &Task) -> isize {
    let result: isize;
    // SAFETY: the child touches nothing of this function but two registers.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") std::ptr::from_ref(args), in("rsi") size_of::<Args>(),
            in("r12") std::ptr::from_ref(task), in("r13") child::main as *const (),
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// In the keeper this returns; the child, on its empty stack, cannot, and goes on in its `main`.
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "returns twice, the second time on another stack")]
unsafe fn clone3(args: &Args, task: &Task) -> isize {
    let result: isize;
    // SAFETY: the child touches nothing of this function but two registers.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(args) => result, in("x1") size_of::<Args>(),
            in("x20") std::ptr::from_ref(task), in("x21") child::main as *const (),
        );
    }
    result
}

/// Elsewhere the child joins its cgroup by itself.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[expect(unsafe_code, reason = "stands for one that needs it")]
unsafe fn clone3(_args: &Args, _task: &Task) -> isize {
    -(libc::ENOSYS as isize)
}

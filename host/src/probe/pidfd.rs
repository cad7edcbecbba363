//! Processes by their identity: a number may be somebody else's tomorrow, a pidfd never is.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::room::watch;

/// One process, alive or dead.
#[derive(Debug)]
pub(super) struct Pidfd(OwnedFd);

/// What the kernel tells of a process, in the first version of `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// Process and user ids, and the exit code.
    others: [u32; 12],
}

impl Info {
    const CGROUP: u64 = 1 << 2;
    /// Also of a process that is reaped (Linux 6.15).
    const EXIT: u64 = 1 << 3;
    /// `PIDFD_GET_INFO` (Linux 6.13), as `_IOWR` makes it: both ways, the size, `0xff`, 11.
    const GET: u64 = 3 << 30 | (size_of::<Self>() as u64) << 16 | 0xff << 8 | 11;
}

impl From<OwnedFd> for Pidfd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

#[expect(unsafe_code, reason = "the system calls for pidfds have no wrappers")]
impl Pidfd {
    /// The process that has this number now.
    ///
    /// # Errors
    /// `ESRCH` when there is none.
    pub(super) fn open(pid: i32) -> nix::Result<Self> {
        // SAFETY: it touches no memory, and answers a descriptor that is ours alone.
        unsafe {
            let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
            let fd = i32::try_from(fd).expect("descriptors are small numbers");
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// `ESRCH` when it is dead, `EPERM` when it is not ours to signal.
    pub(super) fn signal(&self, signal: Signal) -> nix::Result<()> {
        let (fd, none) = (self.0.as_raw_fd(), ptr::null::<libc::siginfo_t>());
        // SAFETY: a null siginfo means that the kernel fills one in.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as libc::c_int, none, 0)
        };
        Errno::result(sent).map(drop)
    }

    /// The id of the cgroup that it is, or was, in: the inode number of that directory. `None` where
    /// the kernel does not say.
    pub(super) fn cgroup(&self) -> Option<u64> {
        let mut info = Info { mask: Info::CGROUP | Info::EXIT, ..Info::default() };
        // The C libraries differ in its type, and only its bits count.
        let request = Info::GET as libc::Ioctl;
        // SAFETY: the request says how large the structure is, and it has no pointers.
        let told = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut info) };
        (told == 0 && info.mask & Info::CGROUP != 0 && info.cgroup != 0).then_some(info.cgroup)
    }

    /// Waits until it is dead.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub(super) async fn ended(&self) -> io::Result<()> {
        watch(self.0.try_clone()?)?.readable().await.map(drop)
    }
}

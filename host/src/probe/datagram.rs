//! One datagram: its text, who sent it, and the descriptors that came with it.

use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};

use super::pidfd::Pidfd;

/// What has come.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    /// Its text; empty when it was too long.
    pub(super) text: String,
    /// The process id of its sender; 0 when that is unknown here.
    pub(super) pid: i32,
    /// Its sender, where the kernel says so (Linux 6.5).
    pub(super) pidfd: Option<Pidfd>,
    /// Descriptors that nobody asked for. Closing one is the answer to `BARRIER=1`.
    pub(super) gifts: Vec<OwnedFd>,
}

/// Longer texts are dropped.
const LEN_MAX: usize = 4096;

/// Room for the 253 descriptors that the kernel allows, and for the credentials.
#[repr(C, align(8))]
struct Control([u8; 2048]);

/// `SCM_PIDFD`.
const PIDFD: c_int = 4;

/// Takes the next datagram from a socket.
///
/// # Errors
/// `EAGAIN` when there is none.
#[expect(unsafe_code, reason = "no wrapper knows pidfds, nor what to do with too many descriptors")]
pub(super) fn receive(socket: impl AsFd) -> nix::Result<Datagram> {
    let mut bytes = [0; LEN_MAX];
    let mut control = Control([0; 2048]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a header that points nowhere.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header points to buffers of the sizes that it says, which outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let length = usize::try_from(Errno::result(length)?).expect("an error was returned before");
    // SAFETY: the kernel has just filled it in.
    let mut datagram = unsafe { enclosed(&header) };
    if header.msg_flags & libc::MSG_TRUNC == 0 {
        datagram.text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    }
    Ok(datagram)
}

/// What has come beside the text. Descriptors are taken into possession, wanted or not.
#[expect(unsafe_code, reason = "control messages are walked by pointers")]
unsafe fn enclosed(header: &libc::msghdr) -> Datagram {
    let mut datagram = Datagram::default();
    // SAFETY: the header is as `recvmsg` left it, so its control messages are whole, and the
    // descriptors in them are new and ours.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(it) = message.as_ref() {
            let data = libc::CMSG_DATA(it);
            // The C libraries differ in its type.
            let length: usize = it.cmsg_len as _;
            let length = length - libc::CMSG_LEN(0) as usize;
            match (it.cmsg_level, it.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    datagram.pid = data.cast::<libc::ucred>().read_unaligned().pid;
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let fds = data.cast::<c_int>();
                    let fds = (0..length / size_of::<c_int>()).map(|it| fds.add(it));
                    datagram.gifts.extend(fds.map(|it| OwnedFd::from_raw_fd(it.read_unaligned())));
                }
                (libc::SOL_SOCKET, PIDFD) => {
                    let fd = data.cast::<c_int>().read_unaligned();
                    datagram.pidfd = (fd >= 0).then(|| OwnedFd::from_raw_fd(fd).into());
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, it);
        }
    }
    datagram
}

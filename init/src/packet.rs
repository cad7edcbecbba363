//! Packets with descriptors over a `SOCK_SEQPACKET` pair: what both ends of the keeper's socket need.
//!
//! Nothing here blocks and nothing here knows the language; that is [`wire`](crate::wire).

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::wire::{PACKET_FDS_MAX, SOCKET_ENV};

/// Space for one control message with [`PACKET_FDS_MAX`] descriptors, aligned as the kernel wants it.
const CONTROL_WORDS: usize = 2 + (PACKET_FDS_MAX * size_of::<RawFd>()).div_ceil(8) + 1;

/// What a look at the socket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A packet of this many bytes.
    Packet(usize),
    /// A packet that does not fit the buffer; it is lost, with its descriptors.
    TooLarge,
    /// Nothing, for now.
    Nothing,
    /// Nothing, ever: the other end is closed.
    Gone,
}

/// Makes a pair of connected sockets, both closed by `exec`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Takes the socket that the keeper left to this process, and the variable that names it.
///
/// `None` without the variable, or when it names no open descriptor. To be called once, while the
/// process has only one thread.
#[expect(unsafe_code, reason = "adopts a descriptor by its number and edits the environment")]
pub fn inherited() -> Option<OwnedFd> {
    let named: RawFd = std::env::var(SOCKET_ENV).ok()?.parse().ok()?;
    // SAFETY: the caller promises to be the only thread, so nobody reads the environment now.
    unsafe { std::env::remove_var(SOCKET_ENV) };
    // SAFETY: F_SETFD touches no memory; a number that is not open is an error.
    if named < 3 || unsafe { libc::fcntl(named, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: it is open, and the keeper passed it to us, for us alone.
    Some(unsafe { OwnedFd::from_raw_fd(named) })
}

/// Sends one packet and its descriptors; false when there is no room for it now.
#[expect(unsafe_code, reason = "sendmsg with descriptors")]
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
    let payload = size_of_val(fds);
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is an empty message.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        assert!(fds.len() <= PACKET_FDS_MAX, "a packet holds at most PACKET_FDS_MAX descriptors");
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE is arithmetic; `control` has room for PACKET_FDS_MAX descriptors, so the
        // first header and its payload lie inside it. A BorrowedFd is a RawFd in memory.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(payload as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload as u32) as _;
            let data = libc::CMSG_DATA(header);
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), data, payload);
        }
    }
    loop {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: everything that `message` points to lives until the end of this function.
        if unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) } >= 0 {
            return Ok(true);
        }
        match Errno::last() {
            Errno::EINTR => {}
            Errno::EAGAIN => return Ok(false),
            error => return Err(error.into()),
        }
    }
}

/// Takes the next packet, if there is one, and appends its descriptors (close-on-exec) to `fds`.
///
/// Descriptors for which this process has no room are lost, as `SCM_RIGHTS` has it.
#[expect(unsafe_code, reason = "recvmsg with descriptors")]
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<Heard> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is an empty message.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let got = loop {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: `message` points to a buffer and a control buffer of the sizes that it says.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        if got >= 0 {
            break got as usize;
        }
        match Errno::last() {
            // The other end died with something unread. What it said before is still to come.
            Errno::EINTR | Errno::ECONNRESET => {}
            Errno::EAGAIN => return Ok(Heard::Nothing),
            error => return Err(error.into()),
        }
    };
    let before = fds.len();
    // SAFETY: the kernel has just filled `message` in.
    unsafe { adopt(&message, fds) };
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        fds.truncate(before);
        return Ok(Heard::TooLarge);
    }
    Ok(if got == 0 && hung_up(socket) { Heard::Gone } else { Heard::Packet(got) })
}

/// Makes the descriptors of a received message ours.
///
/// # Safety
/// `message` was filled in by `recvmsg`, and nobody has adopted its descriptors yet.
#[expect(unsafe_code, reason = "walks control messages")]
unsafe fn adopt(message: &libc::msghdr, fds: &mut Vec<OwnedFd>) {
    // SAFETY: the CMSG macros stay inside the control buffer, whose length the kernel has set; each
    // number in an SCM_RIGHTS message is a new descriptor of this process that nobody else owns.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(it) = header.as_ref() {
            if it.cmsg_level == libc::SOL_SOCKET && it.cmsg_type == libc::SCM_RIGHTS {
                let length = it.cmsg_len as u64 as usize; // Its type differs between libcs.
                let payload = length.saturating_sub(libc::CMSG_LEN(0) as usize);
                let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..payload / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(numbers.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// Whether the other end is closed; an empty packet looks the same to `recvmsg`.
#[expect(unsafe_code, reason = "poll for POLLRDHUP, which nix does not know")]
pub(crate) fn hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut look = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one pollfd, as it says.
    let ready = unsafe { libc::poll(&raw mut look, 1, 0) };
    ready > 0 && look.revents & (libc::POLLHUP | libc::POLLRDHUP | libc::POLLERR) != 0
}

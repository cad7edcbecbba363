//! The ends by which a process says that it is ready.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, socket, sockopt::PassCred,
};
use nix::unistd::pipe2;

use crate::pool::{Key, Pool, inode_of, reopen};
use crate::slot::ReadyEnd;
use crate::stream::opened_again;
use crate::wire::Ready;

/// Linux 6.5: each datagram comes with the identity of its sender.
const SO_PASSPIDFD: i32 = 76;

/// What one incarnation says it by.
pub(crate) struct Ends {
    /// The brain's, of which the keeper holds a copy as long as the incarnation lives.
    pub(crate) reader: Option<ReadyEnd>,
    writer: Option<(OwnedFd, RawFd)>,
    /// What the process has in its environment for it.
    pub(crate) variable: Option<String>,
}

impl Ends {
    /// Makes what a launch asks for.
    pub(crate) fn new(ready: Ready) -> nix::Result<Self> {
        let (reader, writer, variable) = match ready {
            Ready::Silent => (None, None, None),
            Ready::Notify => {
                let name = format!("zinit-{:032x}", random()?);
                let variable = format!("NOTIFY_SOCKET=@{name}");
                (Some(ReadyEnd::of(notify_socket(&name)?, Some(&name))), None, Some(variable))
            }
            Ready::Fd(number) => {
                let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
                fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
                // Who says it when everybody else is dead does not die of it.
                let writer = opened_again(&writer, OFlag::O_RDWR).unwrap_or(writer);
                (Some(ReadyEnd::of(reader, None)), Some((writer, number)), None)
            }
        };
        Ok(Self { reader, writer, variable })
    }

    /// What the child gets, and at which number.
    pub(crate) fn for_child(&self) -> Option<(BorrowedFd<'_>, RawFd)> {
        self.writer.as_ref().map(|(writer, number)| (writer.as_fd(), *number))
    }
}

impl ReadyEnd {
    /// The end of which this is the reading one.
    pub(crate) fn of(reader: OwnedFd, name: Option<&str>) -> Self {
        Self { inode: inode_of(&reader), reader, name: name.map(Into::into) }
    }

    /// One that a keeper before this one had: the descriptor itself, if somebody has it, else another
    /// one of the same name, or opened by the process that says it there.
    pub(crate) fn again(pool: &mut Pool, inode: u64, name: Option<&str>, pid: i32) -> Option<Self> {
        let opened = || match name {
            Some(name) => notify_socket(name).ok(),
            None => reopen(pid, inode, OFlag::O_RDONLY),
        };
        pool.take(Key::Reads(inode)).or_else(opened).map(|it| Self::of(it, name))
    }
}

/// A socket of that name, which nobody can guess; it tells who has sent what.
#[expect(unsafe_code, reason = "a socket option that nix does not know")]
fn notify_socket(name: &str) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&socket, PassCred, &true)?;
    let (on, size) = (1_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: an int, as it says. Older kernels refuse; then there are the credentials alone.
    unsafe {
        let on = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, on, size);
    }
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    Ok(socket)
}

#[expect(unsafe_code, reason = "getrandom has no wrapper")]
fn random() -> nix::Result<u128> {
    let mut number = 0_u128;
    // SAFETY: as many bytes as the number has.
    let got = unsafe { libc::getrandom((&raw mut number).cast(), size_of::<u128>(), 0) };
    Errno::result(got).map(|_| number)
}

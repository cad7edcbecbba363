//! Opens the sockets at which a proxy listens.

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect, listen,
    setsockopt, socket,
};

use super::peer::Users;
use crate::address::Address;
use crate::native::net::plainly;
use crate::native::proc::{holders, listening_sockets};
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal};

/// How many clients the kernel lets wait at a socket.
pub(super) const BACKLOG: i32 = 4096;

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// What came of opening the sockets of a proxy.
#[derive(Debug, Default)]
pub struct Opened {
    /// The sockets, in the order of the proxy's addresses.
    pub sockets: Arc<Vec<OwnedFd>>,
    /// The address of each, as [`Address::full`] has it. An address has one socket, but `localhost` two
    /// where there is IPv6.
    pub addresses: Vec<String>,
    /// Why it does not listen everywhere, or nowhere.
    pub trouble: Option<Refusal>,
    /// Whether it may do so later.
    pub again: bool,
}

impl Opened {
    /// A proxy that may not listen.
    pub fn never(why: Refusal) -> Self {
        Self { trouble: Some(why), ..Self::default() }
    }

    /// What the keeper is told of them, from which the next brain knows which is which.
    pub fn note(&self) -> String {
        serde_json::Value::from(self.addresses.clone()).to_string()
    }
}

/// Opens the sockets of a proxy: those of `pool` (each with its [`Address::full`]) that are wanted are
/// taken from there, and the others are new. Where it cannot listen at one address, it does at the
/// others.
pub fn open(proxy: &Proxy, pool: &mut Vec<(String, OwnedFd)>) -> Opened {
    let told = |it: Refusal| it.with("proxy", proxy.name.as_str());
    if let Err(refusal) = Users::find(&proxy.xinit.users) {
        return Opened { again: true, ..Opened::never(told(refusal)) };
    }
    let (mut all, mut trouble) = (Vec::new(), None);
    for address in &proxy.xinit.listen {
        let full = address.full();
        let ours: Vec<_> = pool.extract_if(.., |(of, _)| *of == full).map(|it| it.1).collect();
        let opened = if is_usable(address, &ours) {
            restrict(address, proxy.xinit.socket_mode).map(|()| ours)
        } else {
            at(address, proxy.xinit.socket_mode)
        };
        match opened {
            Ok(sockets) => all.extend(sockets.into_iter().map(|it| (full.clone(), it))),
            Err(refusal) => trouble = trouble.or(Some(told(refusal))),
        }
    }
    let (addresses, sockets): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    Opened { sockets: Arc::new(sockets), addresses, again: trouble.is_some(), trouble }
}

const LOCALHOST: &str = "localhost";

/// Whether clients still reach these: of a socket's path nobody may have taken away the file.
fn is_usable(address: &Address, sockets: &[OwnedFd]) -> bool {
    let is_there =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    !sockets.is_empty() && address.path().is_none_or(is_there)
}

fn restrict(address: &Address, mode: u32) -> Result<(), Refusal> {
    let Some(path) = address.path() else { return Ok(()) };
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|it| blocked(address, &plainly(&it)))
}

fn at(address: &Address, mode: u32) -> Result<Vec<OwnedFd>, Refusal> {
    match address {
        Address::Unix(path) => {
            clear(address, path)?;
            let bound = at_path(path, mode).map_err(|it| unopened(address, path, it))?;
            Ok(vec![bound])
        }
        Address::Tcp { host, port } => at_port(address, host, *port),
    }
}

/// Makes way for a socket: removes one that nobody listens on, and nothing else.
fn clear(address: &Address, path: &Path) -> Result<(), Refusal> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(blocked(address, &plainly(&error))),
    };
    if !there.file_type().is_socket() {
        let refusal = blocked(address, &"something that is no socket is there");
        return Err(refusal.hint("move it away, or name another path"));
    }
    match knock(path) {
        Err(Errno::ECONNREFUSED) => {
            fs::remove_file(path).map_err(|it| blocked(address, &plainly(&it)))
        }
        Err(Errno::ENOENT) => Ok(()),
        Ok(()) | Err(Errno::EAGAIN) => Err(taken(address, &listeners_at(path))),
        Err(errno) => Err(blocked(address, &errno.desc().to_lowercase())),
    }
}

/// Whether somebody listens; never waits.
fn knock(path: &Path) -> Result<(), Errno> {
    let probe = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    connect(probe.as_raw_fd(), &UnixAddr::new(path)?)
}

/// Binds, restricts, and only then listens: at no time can others connect.
fn at_path(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

fn unopened(address: &Address, path: &Path, error: io::Error) -> Refusal {
    let parent = path.parent().filter(|it| !it.is_dir());
    match parent.filter(|_| error.kind() == ErrorKind::NotFound) {
        Some(parent) => {
            let parent = parent.display();
            blocked(address, &format!("there is no directory {parent}"))
                .hint(format!("make it first: `mkdir -p {parent}`"))
        }
        None => blocked(address, &plainly(&error)),
    }
}

fn at_port(address: &Address, host: &str, port: u16) -> Result<Vec<OwnedFd>, Refusal> {
    let at = |ip: IpAddr, both: bool| at_ip(SocketAddr::new(ip, port), both);
    let refused = |errno| match errno {
        Errno::EADDRINUSE => taken(address, &holders(&listening_sockets(port))),
        Errno::EADDRNOTAVAIL => blocked(address, &"this machine does not have that address"),
        Errno::EACCES => {
            blocked(address, &errno.desc().to_lowercase()).hint("ports below 1024 are for root")
        }
        errno => blocked(address, &errno.desc().to_lowercase()),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return at(ip, false).map(|it| vec![it]).map_err(refused);
    }
    if host.is_empty() {
        let all = at(Ipv6Addr::UNSPECIFIED.into(), true).or_else(|errno| match errno {
            Errno::EADDRINUSE => Err(errno),
            _ => at(Ipv4Addr::UNSPECIFIED.into(), false),
        });
        return all.map(|it| vec![it]).map_err(refused);
    }
    if host != LOCALHOST {
        let refusal = blocked(address, &"a listener's host is an IP address or `localhost`");
        return Err(refusal.hint(format!("`:{port}` listens at all addresses of this machine")));
    }
    let mut sockets = vec![at(Ipv4Addr::LOCALHOST.into(), false).map_err(refused)?];
    match at(Ipv6Addr::LOCALHOST.into(), false) {
        Ok(other) => sockets.push(other),
        Err(Errno::EADDRINUSE) => return Err(refused(Errno::EADDRINUSE)),
        Err(_) => {} // A machine without IPv6.
    }
    Ok(sockets)
}

/// What is set here is set for every client that is accepted.
fn at_ip(at: SocketAddr, both: bool) -> Result<OwnedFd, Errno> {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let listener = socket(family, SockType::Stream, FLAGS, None)?;
    setsockopt(&listener, ReuseAddr, &true)?;
    setsockopt(&listener, TcpNoDelay, &true)?;
    if at.is_ipv6() {
        setsockopt(&listener, Ipv6V6Only, &!both)?;
    }
    bind(listener.as_raw_fd(), &SockaddrStorage::from(at))?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

/// The processes that listen at a path, as `/proc/net/unix` knows them.
fn listeners_at(path: &Path) -> Vec<u32> {
    const ACCEPTS: &str = "00010000";
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = path.to_string_lossy();
    let inode = |line: &str| {
        let fields: Vec<_> = line.splitn(8, ' ').map(str::trim).collect();
        let (flags, inode, at) = (fields.get(3)?, fields.get(6)?, fields.get(7)?);
        let (number, at) = if inode.is_empty() { at.split_once(' ')? } else { (*inode, *at) };
        (*flags == ACCEPTS && at == path).then(|| format!("socket:[{number}]"))
    };
    holders(&table.lines().skip(1).filter_map(inode).collect())
}

fn taken(address: &Address, pids: &[u32]) -> Refusal {
    let who = pids.first().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {pid} (`{}`)", name.trim_end())
    });
    let who = who.unwrap_or_else(|| "somebody who cannot be seen from here".to_owned());
    let refusal = blocked(address, &format!("{who} listens there"));
    refusal.hint("end it, or name another address").with("pids", pids.to_vec())
}

fn blocked(address: &Address, why: &dyn Display) -> Refusal {
    Refusal::new(Kind::Storage, format!("cannot listen at {address}: {why}"))
        .with("address", address.to_string())
}

/// The files of a proxy's sockets, each with its number, so that nobody else's is removed.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(std::path::PathBuf, u64)>);

impl Files {
    /// Those of these addresses that are there now.
    pub(super) fn of(addresses: &[String]) -> Self {
        let parsed = addresses.iter().filter_map(|it| Address::parse(it).ok());
        let paths = parsed.filter_map(|it| it.path().map(Path::to_owned));
        Self(paths.filter_map(|it| inode(&it).map(|number| (it, number))).collect())
    }

    /// Removes those that are not in `others`.
    pub(super) fn remove_but(&self, others: &Self) {
        let gone = self.0.iter().filter(|it| !others.0.iter().any(|other| other.0 == it.0));
        for (path, number) in gone {
            if inode(path) == Some(*number) {
                // A directory that may not be written keeps a file that leads nowhere.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Removes the files of sockets at these addresses, which an earlier brain has opened and nobody wants.
pub fn remove_files<'a>(addresses: impl Iterator<Item = &'a str>) {
    let parsed = addresses.filter_map(|it| Address::parse(it).ok());
    for path in parsed.filter_map(|it| it.path().map(Path::to_owned)) {
        if fs::symlink_metadata(&path).is_ok_and(|it| it.file_type().is_socket()) {
            // A directory that may not be written keeps a file that leads nowhere.
            let _ = fs::remove_file(&path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|it| it.ino())
}

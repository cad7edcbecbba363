//! Where somebody listens: the path of a socket, or a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};

/// Where somebody listens.
///
/// ```
/// use zinit_host::address::Address;
/// for text in ["unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"] {
///     assert_eq!(Address::parse(text)?.to_string(), "/run/x.sock");
/// }
/// for text in ["tcp://[::1]:80", "tcp:[::1]:80", "[::1]:80"] {
///     assert_eq!(Address::parse(text)?.full(), "tcp:[::1]:80");
/// }
/// # Ok::<(), zinit_host::address::BadAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// At a socket's path, which begins with `/` and has no part that does not count.
    Unix(PathBuf),
    /// At a port of a host.
    Tcp {
        /// A name or an IP address in its usual spelling, without brackets; empty for all addresses of
        /// this machine.
        host: String,
        /// The port, not 0.
        port: u16,
    },
}

/// A text that is no address: why, as half a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address: {why}")]
pub struct BadAddress {
    text: String,
    why: &'static str,
}

/// The longest path of a socket, in bytes; the kernel wants a NUL behind it.
const PATH_MAX: usize = 107;

impl Address {
    /// Parses `/path`, `unix:/path`, `unix:///path`, `host:port`, `:port`, `tcp:host:port` or
    /// `tcp://host:port`, where an IPv6 host stands in brackets.
    ///
    /// # Errors
    /// [`BadAddress`] when it is none of them.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = |why| BadAddress { text: text.chars().take(200).collect(), why };
        let path = text.strip_prefix("unix:").map(|it| it.strip_prefix("//").unwrap_or(it));
        if path.unwrap_or(text).starts_with('@') {
            return Err(bad(
                "abstract sockets are not supported, only paths, which begin with `/`",
            ));
        }
        if let Some(path) = path.or_else(|| Some(text).filter(|it| it.starts_with('/'))) {
            return socket(path).map_err(bad);
        }
        let rest = text.strip_prefix("tcp:").unwrap_or(text);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if rest.contains(".sock") && !rest.contains(':') {
            return Err(bad("the path of a socket begins with `/`"));
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = port.parse().ok().filter(|it| *it != 0);
        let port = port.ok_or_else(|| bad("its port is no number from 1 to 65535"))?;
        Ok(Self::Tcp { host: host_of(host).map_err(bad)?, port })
    }

    /// The path, if it is one.
    pub fn path(&self) -> Option<&Path> {
        if let Self::Unix(path) = self { Some(path) } else { None }
    }

    /// With what it is before it: `unix:/run/x.sock`, `tcp:localhost:80`.
    pub fn full(&self) -> String {
        match self {
            Self::Unix(_) => format!("unix:{self}"),
            Self::Tcp { .. } => format!("tcp:{self}"),
        }
    }

    /// Whether this machine cannot have listeners at both.
    ///
    /// ```
    /// use zinit_host::address::Address;
    /// let at = |text| Address::parse(text).expect("it is one");
    /// assert!(at(":80").overlaps(&at("127.0.0.1:80")));
    /// assert!(at("[::1]:80").overlaps(&at("localhost:80")));
    /// assert!(!at("[::1]:80").overlaps(&at("127.0.0.1:80")));
    /// ```
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp { host, port }, Self::Tcp { host: other, port: theirs }) => {
                port == theirs && (takes(host, other) || takes(other, host))
            }
            _ => self == other,
        }
    }

    /// Whether who connects to `other` reaches who listens here, as far as can be told without
    /// looking up names and without knowing the other addresses of this machine.
    ///
    /// ```
    /// use zinit_host::address::Address;
    /// let at = |text| Address::parse(text).expect("it is one");
    /// assert!(at("0.0.0.0:80").is_reached_by(&at("localhost:80")));
    /// assert!(!at("127.0.0.2:80").is_reached_by(&at("127.0.0.1:80")));
    /// ```
    pub fn is_reached_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp { host, port }, Self::Tcp { host: other, port: theirs }) => {
                port == theirs && finds(host, other)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    /// As short as it is understood: `/run/x.sock`, `localhost:80`, `[::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

fn socket(path: &str) -> Result<Address, &'static str> {
    if !path.starts_with('/') {
        return Err("the path of a socket begins with `/`");
    }
    if path.len() > PATH_MAX {
        return Err("the path of a socket has at most 107 bytes");
    }
    if path.contains('\0') || path.ends_with('/') || path.ends_with("/.") {
        return Err("it is not the path of a file");
    }
    let parts = Path::new(path).components();
    if parts.clone().any(|it| it == Component::ParentDir) {
        return Err("it has `..` in it; write where that leads");
    }
    // Parts that say nothing are left out, so that one path has one spelling.
    Ok(Address::Unix(parts.collect()))
}

fn host_of(text: &str) -> Result<String, &'static str> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inner {
        Some(inner) => match inner.parse::<Ipv6Addr>() {
            Ok(ip) => Ok(ip.to_string()),
            Err(_) => Err("what stands in brackets is no IPv6 address"),
        },
        None if text.contains(':') => Err("an IPv6 address stands in brackets"),
        None if text == "*" => Ok(String::new()),
        None if text
            .contains(|it: char| it.is_whitespace() || it.is_control() || "[]/".contains(it)) =>
        {
            Err("its host is no name")
        }
        None => Ok(text.to_owned()),
    }
}

const LOCALHOST: &str = "localhost";

fn ip(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// Whether a name or an address can be of the same sort as an address.
fn is_of_sort(at: IpAddr, host: &str) -> bool {
    ip(host).is_none_or(|it| it.is_ipv4() == at.is_ipv4())
}

/// Whether who listens at `host` listens at `other` as well.
fn takes(host: &str, other: &str) -> bool {
    match ip(host) {
        _ if host == other || host.is_empty() => true,
        Some(at) => at.is_unspecified() && is_of_sort(at, other),
        None => host == LOCALHOST && ["127.0.0.1", "::1"].contains(&other),
    }
}

/// Whether who listens at `host` is found by who connects to `other`.
fn finds(host: &str, other: &str) -> bool {
    let is_any = |it: IpAddr| it.is_unspecified();
    let to_any = ip(other).is_some_and(is_any);
    let is_here = to_any || other == LOCALHOST || ip(other).is_some_and(|it| it.is_loopback());
    match ip(host) {
        _ if host == other => true,
        _ if host.is_empty() => is_here,
        Some(at) if is_any(at) => is_here && is_of_sort(at, other),
        Some(at) if takes(LOCALHOST, host) => {
            is_of_sort(at, other) && (to_any || other == LOCALHOST)
        }
        Some(_) => false,
        None => host == LOCALHOST && (to_any || takes(LOCALHOST, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_why() {
        let why = |text: &str| Address::parse(text).expect_err("it is bad").to_string();
        assert_eq!(why("web"), "`web` is no address: it has no port");
        assert!(why("web:0").contains("from 1 to 65535"));
        assert!(why("web:http").contains("from 1 to 65535"));
        assert!(why("::1:80").contains("brackets"));
        assert!(why("[web]:80").contains("no IPv6"));
        assert!(why("unix:x.sock").contains("begins with `/`"));
        for text in ["@x", "unix:@x", "unix://@x"] {
            assert!(why(text).contains("abstract sockets are not supported"));
        }
        assert!(why("/run/../x").contains("`..`"));
        assert!(why("x.sock").contains("begins with `/`"));
        assert!(why(&format!("/{}", "x".repeat(107))).contains("107 bytes"));
    }

    #[test]
    fn one_address_has_one_spelling() {
        let at = |text: &str| Address::parse(text).expect("it is one");
        assert_eq!(at("[0:0:0:0:0:0:0:1]:80"), at("[::1]:80"));
        assert_eq!(at("unix:///run//./x.sock").to_string(), "/run/x.sock");
        assert_eq!(at("/@x").to_string(), "/@x");
    }

    #[test]
    fn who_listens_everywhere_is_not_reached_on_other_machines() {
        let at = |text: &str| Address::parse(text).expect("it is one");
        let reaches = |from: &str, to: &str| at(to).is_reached_by(&at(from));
        for from in ["localhost:80", "127.0.0.2:80", "[::1]:80", "0.0.0.0:80"] {
            assert!(reaches(from, ":80"), "{from}");
        }
        assert!(!reaches("10.1.2.3:80", ":80") && !reaches("web:80", ":80"));
        assert!(reaches("localhost:80", "127.0.0.1:80") && reaches("[::1]:80", "localhost:80"));
        assert!(!reaches("[::1]:80", "0.0.0.0:80") && !reaches("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[test]
    fn all_addresses_of_the_machine_are_an_empty_host() {
        for text in [":80", "*:80", "tcp://:80"] {
            assert_eq!(Address::parse(text).expect("it is one").to_string(), ":80");
        }
    }
}

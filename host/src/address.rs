//! Where somebody listens: the path of a socket, or a host and a port.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
    /// At a socket's path, which begins with `/`.
    Unix(PathBuf),
    /// At a port of a host.
    Tcp {
        /// A name or an IP address, without brackets; empty for all addresses of this machine.
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

    /// Whether who connects to `other` reaches who listens here, as far as can be told without
    /// looking up names.
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
                port == theirs
                    && (is_any(host) || host == other || is_local(host) && is_local(other))
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
    if path.contains('\0') || path.ends_with('/') {
        return Err("it is not the path of a file");
    }
    Ok(Address::Unix(path.into()))
}

fn host_of(text: &str) -> Result<String, &'static str> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match inner {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => Ok(inner.to_owned()),
        Some(_) => Err("what stands in brackets is no IPv6 address"),
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

fn is_any(host: &str) -> bool {
    host.is_empty() || host.parse::<IpAddr>().is_ok_and(|it| it.is_unspecified())
}

/// Whether it is the usual address of this machine.
fn is_local(host: &str) -> bool {
    ["localhost", "127.0.0.1", "::1"].contains(&host) || is_any(host)
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
        assert!(why("x.sock").contains("begins with `/`"));
        assert!(why(&format!("/{}", "x".repeat(107))).contains("107 bytes"));
    }

    #[test]
    fn all_addresses_of_the_machine_are_an_empty_host() {
        for text in [":80", "*:80", "tcp://:80"] {
            assert_eq!(Address::parse(text).expect("it is one").to_string(), ":80");
        }
    }
}

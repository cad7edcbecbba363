//! What a service is told about a client before its first byte: the PROXY protocol, as
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt> has it.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{SockaddrStorage, UnixAddr, getpeername, getsockname};

use crate::spec::ProxyProtocol;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of somebody.
const PROXY: u8 = 0x21;
/// Families, over a stream.
const UNKNOWN: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// The length of a path in the second version.
const PATH_BYTES: usize = 108;

/// The two ends of a client's connection, as far as they can be told.
enum Ends {
    Tcp4([[u8; 4]; 2], [u16; 2]),
    Tcp6([[u8; 16]; 2], [u16; 2]),
    Unix(Box<[[u8; PATH_BYTES]; 2]>),
    Unknown,
}

/// What is to be said about this client.
pub(super) fn preface(client: &impl AsFd, protocol: ProxyProtocol) -> Vec<u8> {
    match protocol {
        ProxyProtocol::None => Vec::new(),
        ProxyProtocol::V1 => line(&Ends::of(client)),
        ProxyProtocol::V2 => packed(&Ends::of(client)),
    }
}

impl Ends {
    fn of(client: &impl AsFd) -> Self {
        let fd = client.as_fd().as_raw_fd();
        let (Ok(from), Ok(to)) =
            (getpeername::<SockaddrStorage>(fd), getsockname::<SockaddrStorage>(fd))
        else {
            return Self::Unknown; // The client is gone.
        };
        match (from.as_unix_addr(), to.as_unix_addr()) {
            (Some(from), Some(to)) => Self::Unix(Box::new([path(from), path(to)])),
            _ => Self::of_tcp(address(&from), address(&to)),
        }
    }

    fn of_tcp(from: Option<SocketAddr>, to: Option<SocketAddr>) -> Self {
        let (Some(from), Some(to)) = (from, to) else { return Self::Unknown };
        let ports = [from.port(), to.port()];
        match (from.ip().to_canonical(), to.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Self::Tcp4([from.octets(), to.octets()], ports),
            (IpAddr::V6(from), IpAddr::V6(to)) => Self::Tcp6([from.octets(), to.octets()], ports),
            _ => Self::Unknown,
        }
    }
}

fn address(it: &SockaddrStorage) -> Option<SocketAddr> {
    let four = it.as_sockaddr_in().map(|it| SocketAddr::V4((*it).into()));
    four.or_else(|| it.as_sockaddr_in6().map(|it| SocketAddr::V6((*it).into())))
}

/// Who has no path is told as zeros.
fn path(it: &UnixAddr) -> [u8; PATH_BYTES] {
    let mut out = [0; PATH_BYTES];
    let path = it.path().map(|it| it.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let length = path.len().min(PATH_BYTES);
    out[..length].copy_from_slice(&path[..length]);
    out
}

fn line(ends: &Ends) -> Vec<u8> {
    let text = match ends {
        Ends::Tcp4(ips, ports) => {
            let [from, to] = ips.map(IpAddr::from);
            format!("PROXY TCP4 {from} {to} {} {}\r\n", ports[0], ports[1])
        }
        Ends::Tcp6(ips, ports) => {
            let [from, to] = ips.map(IpAddr::from);
            format!("PROXY TCP6 {from} {to} {} {}\r\n", ports[0], ports[1])
        }
        Ends::Unix(_) | Ends::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
    };
    text.into_bytes()
}

fn packed(ends: &Ends) -> Vec<u8> {
    match ends {
        Ends::Tcp4(ips, ports) => header(TCP4, ips.as_flattened(), ports),
        Ends::Tcp6(ips, ports) => header(TCP6, ips.as_flattened(), ports),
        Ends::Unix(paths) => header(UNIX, paths.as_flattened(), &[]),
        Ends::Unknown => header(UNKNOWN, &[], &[]),
    }
}

fn header(family: u8, ends: &[u8], ports: &[u16]) -> Vec<u8> {
    let length = u16::try_from(ends.len() + 2 * ports.len()).expect("two paths are 216 bytes");
    let mut out = SIGNATURE.to_vec();
    out.extend([PROXY, family]);
    out.extend(length.to_be_bytes());
    out.extend(ends);
    out.extend(ports.iter().flat_map(|it| it.to_be_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn accepted(at: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).expect("a free port");
        let there = listener.local_addr().expect("an address");
        let ip = if there.is_ipv6() { "[::1]" } else { "127.0.0.1" };
        let client = TcpStream::connect(format!("{ip}:{}", there.port())).expect("it listens");
        (listener.accept().expect("somebody comes").0, client)
    }

    #[test]
    fn a_line_tells_the_addresses_and_ports() {
        let (here, client) = accepted("127.0.0.1:0");
        let (from, to) =
            (client.local_addr().expect("it has one"), here.local_addr().expect("too"));
        let want = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), to.port());
        assert_eq!(preface(&here, ProxyProtocol::V1), want.into_bytes());
        assert_eq!(preface(&here, ProxyProtocol::None), b"");
    }

    #[test]
    fn bytes_tell_the_addresses_and_ports() {
        let (here, client) = accepted("127.0.0.1:0");
        let (from, to) =
            (client.local_addr().expect("it has one"), here.local_addr().expect("too"));
        let mut want = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
        want.extend(from.port().to_be_bytes());
        want.extend(to.port().to_be_bytes());
        assert_eq!(preface(&here, ProxyProtocol::V2), want);
    }

    #[test]
    fn ipv6_is_told_in_its_own_family() {
        let (here, _client) = accepted("[::1]:0");
        let text = preface(&here, ProxyProtocol::V1);
        assert!(text.starts_with(b"PROXY TCP6 ::1 ::1 "), "{}", text.escape_ascii());
        let bytes = preface(&here, ProxyProtocol::V2);
        assert_eq!((&bytes[12..16], bytes.len()), (&b"\x21\x21\0\x24"[..], 16 + 36));
    }

    #[test]
    fn a_unix_client_has_no_address_in_a_line_and_paths_in_bytes() {
        let (here, _client) = UnixStream::pair().expect("a pair");
        assert_eq!(preface(&here, ProxyProtocol::V1), b"PROXY UNKNOWN\r\n");
        let bytes = preface(&here, ProxyProtocol::V2);
        assert_eq!((&bytes[12..16], bytes.len()), (&b"\x21\x31\0\xd8"[..], 16 + 216));
    }
}

//! Processes: who listens on a port, and how a script ends itself.

use std::collections::BTreeSet;
use std::fs;

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use rhai::{Array, Dynamic};

    /// The ids of the processes that listen on this TCP port, on any address.
    ///
    /// ```rhai
    /// host::pids_listening(1) == []
    /// ```
    #[rhai_fn(volatile)]
    pub fn pids_listening(port: i64) -> Array {
        let Ok(port) = u16::try_from(port) else {
            return Array::new();
        };
        super::listeners(port).into_iter().map(|it| Dynamic::from_int(it.into())).collect()
    }
}

/// Takes the place of Rhai's own `exit`, whose code would come back as an ordinary value.
#[export_module]
pub mod instead {
    use rhai::{Dynamic, EvalAltResult, Position};

    use crate::native::Said;
    use crate::script::ExitCode;

    /// Ends the script with this exit code.
    #[rhai_fn(name = "exit", return_raw, volatile)]
    pub fn exit_with(code: i64) -> Said<()> {
        let code = Dynamic::from(ExitCode(u8::try_from(code & 0xff).unwrap_or(1)));
        Err(EvalAltResult::ErrorTerminated(code, Position::NONE).into())
    }

    /// Ends the script.
    #[rhai_fn(return_raw, volatile)]
    pub fn exit() -> Said<()> {
        exit_with(0)
    }
}

fn listeners(port: u16) -> Vec<u32> {
    holders(&listening_sockets(port))
}

/// The sockets that listen on this TCP port, on any address, as `/proc/PID/fd` shows them.
pub(crate) fn listening_sockets(port: u16) -> BTreeSet<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|it| fs::read_to_string(it).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect()
}

/// The processes that have any of these sockets open.
pub(crate) fn holders(sockets: &BTreeSet<String>) -> Vec<u32> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| holds_any(*pid, sockets))
        .collect()
}

/// The inodes of the sockets in the table of `/proc/net/tcp` that listen on the port. Connections
/// to or from it are not meant.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        let here = u16::from_str_radix(hex, 16).ok()? == port && *fields.get(3)? == LISTEN;
        if here { fields.get(9)?.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds_any(pid: u32, sockets: &BTreeSet<String>) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(|it| fs::read_link(it.ok()?.path()).ok())
        .any(|it| it.to_str().is_some_and(|it| sockets.contains(it)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_listens_is_found_and_who_is_only_connected_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        assert_eq!(listeners(port), [std::process::id()]);
        let far = client.local_addr().expect("an address").port();
        assert_eq!(listeners(far), [0_u32; 0]);
    }
}

//! Signals to processes.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use nix::errno::Errno;
    use nix::sys::signal::kill as send;
    use nix::unistd::Pid;

    use crate::action::parse_signal;
    use crate::native::{Said, bad_argument, thrown};
    use crate::refusal::{Kind, Refusal};

    /// Sends a signal to one process. `false` if there is no such process.
    ///
    /// ```rhai
    /// !host::kill(4_194_304, "SIGTERM")
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn kill(pid: i64, signal: &str) -> Said<bool> {
        let signal = parse_signal(signal)
            .ok_or_else(|| bad_argument(format!("`{signal}` is no signal; say `SIGTERM`")))?;
        let pid = match i32::try_from(pid) {
            Ok(pid) if pid > 1 => Pid::from_raw(pid),
            _ => {
                return Err(bad_argument(format!("{pid} is no process to send a signal to")));
            }
        };
        match send(pid, signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(errno) => {
                let message = format!("cannot send {signal} to process {pid}: {}", errno.desc());
                Err(thrown(Refusal::new(Kind::Forbidden, message)))
            }
        }
    }
}

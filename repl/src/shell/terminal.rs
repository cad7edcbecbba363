//! The terminal as it was before, whatever ends this process but `SIGKILL`.

use std::io::{Write, stdin, stdout};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};

/// Ends what an editor of lines may have begun: bracketed paste, another shape of the cursor, colours.
const CALM: &[u8] = b"\x1b[?2004l\x1b[0 q\x1b[0m";

/// How a terminal was set when this was made; it is again when this is dropped.
pub(crate) struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Remembers how the terminal is set, and sets it so before `SIGTERM` or `SIGHUP` ends the process.
    pub(crate) fn new() -> Self {
        let terminal = Self { before: tcgetattr(stdin()).ok() };
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGHUP);
        let before = terminal.before.clone();
        if signals.thread_block().is_ok() {
            thread::spawn(move || {
                if let Ok(signal) = signals.wait() {
                    calm(before.as_ref());
                    crate::line::tidy();
                    std::process::exit(128 + signal as i32);
                }
            });
        }
        terminal
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            calm(self.before.as_ref());
        }
    }
}

fn calm(before: Option<&Termios>) {
    let Some(before) = before else { return };
    // A terminal that is gone needs nothing.
    let _ = stdout().write_all(CALM).and_then(|()| stdout().flush());
    let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
}

//! The terminal as it was before, whatever ends this process but `SIGKILL`; and Ctrl-C.

use std::io::{Write, stdin, stdout};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use zinit_host::interrupt::Interrupt;

use crate::render;

/// Ends what an editor of lines may have begun: bracketed paste, another shape of the cursor, colours.
const CALM: &[u8] = b"\x1b[?2004l\x1b[0 q\x1b[0m";

/// How the terminal was set when this was made, and what Ctrl-C ends.
#[derive(Clone)]
pub(crate) struct Terminal {
    before: Option<Termios>,
    /// What ends whatever runs.
    pub(crate) interrupt: Arc<Interrupt>,
    /// How often Ctrl-C was pressed since something began that has not ended yet; `IDLE` if nothing runs.
    asked: Arc<AtomicU32>,
}

/// No Ctrl-C counts.
const IDLE: u32 = u32::MAX;

impl Terminal {
    /// Remembers how the terminal is set. From now on Ctrl-C ends what runs, and `SIGTERM` and `SIGHUP`
    /// end the process, but not before the terminal is as it was. Must be called before there is any
    /// other thread.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new() -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let before = tcgetattr(stdin()).ok();
        let asked = Arc::new(AtomicU32::new(IDLE));
        let terminal = Self { before, interrupt: Interrupt::new()?, asked };
        let other = terminal.clone();
        thread::spawn(move || {
            while let Ok(signal) = signals.wait() {
                other.hear(signal);
            }
        });
        Ok(terminal)
    }

    fn hear(&self, signal: Signal) {
        if signal != Signal::SIGINT {
            self.leave(signal);
        }
        self.interrupt.raise();
        let asked = self.asked.load(Ordering::Relaxed);
        if asked != IDLE {
            self.asked.store(asked + 1, Ordering::Relaxed);
        }
        match asked {
            1 => render::warn("it does not stop; Ctrl+C once more leaves the shell"),
            2 => self.leave(signal),
            _ => {}
        }
    }

    /// Does something that Ctrl-C is to end; the third one ends the shell, should the second one not do.
    pub(crate) fn while_running<T>(&self, work: impl FnOnce() -> T) -> T {
        self.interrupt.clear();
        self.asked.store(0, Ordering::Relaxed);
        let done = work();
        self.asked.store(IDLE, Ordering::Relaxed);
        done
    }

    fn leave(&self, signal: Signal) -> ! {
        self.calm();
        crate::line::tidy();
        process::exit(128 + signal as i32)
    }

    /// Sets the terminal as it was.
    pub(crate) fn calm(&self) {
        let Some(before) = &self.before else { return };
        if super::look::is_editable() {
            // A terminal that is gone needs nothing.
            let _ = stdout().write_all(CALM).and_then(|()| stdout().flush());
        }
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
    }
}

//! The terminal as it was before, whatever ends this process but `SIGKILL`; and Ctrl-C.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write, stderr, stdin, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{FlowArg, SetArg, Termios, tcflow, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use zinit_host::interrupt::{Deadline, Interrupt, wait};

use super::offspring::Offspring;
use crate::{render, show};

/// Ends what an editor of lines may have begun: bracketed paste, another shape of the cursor, colours.
const CALM: &[u8] = b"\x1b[?2004l\x1b[0 q\x1b[0m";

/// Ends what a program may have begun that was ended: another screen, other keys, no cursor.
const CALM_AFTER: &[u8] = b"\x1b[?1047l\x1b[?1l\x1b>\x1b[?25h";

/// How long a terminal has to take what is written to it when the shell is ended.
const PATIENCE: Duration = Duration::from_millis(100);

/// How the terminal was set when this was made, and what Ctrl-C ends.
#[derive(Clone)]
pub(crate) struct Terminal {
    before: Option<Termios>,
    /// The terminal once more: what is written here waits neither for other threads that write nor, without
    /// end, for a terminal that takes nothing.
    own: Option<Arc<File>>,
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
        let own = before.as_ref().and_then(|_| opened());
        let terminal = Self { before, own, interrupt: Interrupt::new()?, asked };
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
        let more = |it: u32| (it != IDLE).then(|| it + 1);
        match self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(1) => self.tell("it does not stop; Ctrl+C once more leaves the shell"),
            Ok(2) => self.leave(signal),
            _ => {}
        }
    }

    /// Forgets a Ctrl-C that was meant for what came before: to be called before each text and each command.
    pub(crate) fn begin(&self) {
        self.interrupt.clear();
    }

    /// Does something that Ctrl-C is to end; the third one ends the shell, should the second one not do.
    pub(crate) fn while_running<T>(&self, work: impl FnOnce() -> T) -> T {
        self.asked.store(0, Ordering::Relaxed);
        let done = work();
        self.asked.store(IDLE, Ordering::Relaxed);
        done
    }

    /// Ends the process. Nothing here waits for another thread: the one that runs texts may hold the lock of
    /// standard output for good, in a write to a terminal that is stopped.
    fn leave(&self, signal: Signal) -> ! {
        let _waits = show::held();
        let begun = Offspring::now();
        // Who waits for them writes nothing meanwhile, and is not to write afterwards.
        let _silent = (!begun.is_empty()).then(|| (stdout().lock(), stderr().lock()));
        begun.end();
        if self.is_ours() {
            self.resume();
            self.write(if begun.is_empty() { b"" } else { CALM_AFTER });
        }
        self.calm();
        crate::line::tidy();
        begun.end_waiting();
        die(signal)
    }

    /// Sets the terminal as it was, unless somebody else has it.
    pub(crate) fn calm(&self) {
        let Some(before) = self.before.as_ref().filter(|_| self.is_ours()) else { return };
        if super::look::is_editable() {
            self.write(CALM);
        }
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, before);
    }

    /// Whether this shell is what the terminal listens to, and not suspended. One that is gone listens to
    /// nobody.
    fn is_ours(&self) -> bool {
        tcgetpgrp(stdin()) == Ok(getpgrp())
    }

    /// Lets a terminal go on that Ctrl-S has stopped: only who stops it again may do that.
    fn resume(&self) {
        for flow in [FlowArg::TCOOFF, FlowArg::TCOON] {
            let _ = tcflow(stdin(), flow);
        }
    }

    /// Warns whoever sits there.
    fn tell(&self, text: &str) {
        match &self.own {
            Some(_) => self.write(render::warning(text).as_bytes()),
            None => render::warn(text),
        }
    }

    fn write(&self, mut bytes: &[u8]) {
        let Some(mut own) = self.own.as_deref() else { return };
        let limit = Deadline::within(PATIENCE);
        while !bytes.is_empty() && !limit.has_passed() {
            match own.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ = wait(Some((own.as_fd(), PollFlags::POLLOUT)), None, limit);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// The terminal of this process, in a way that does not wait.
fn opened() -> Option<Arc<File>> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags.bits());
    options.open("/dev/tty").ok().map(Arc::new)
}

/// Ends the process as this signal does. The usual way out flushes standard output, for which it would wait.
fn die(signal: Signal) -> ! {
    let mut signals = SigSet::empty();
    signals.add(signal);
    let _ = signals.thread_unblock();
    let _ = raise(signal);
    // It was ignored already when this began.
    let _ = raise(Signal::SIGKILL);
    process::abort()
}

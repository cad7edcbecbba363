//! What the services of the chaos tests run, and those who have nothing to do with them: each writes
//! down what becomes of it, so that what the server says can be compared.
//!
//! `chaos-service ROLE DIR NAME SEED LEAST MOST`, where the last two are milliseconds:
//!
//! | role | does |
//! |---|---|
//! | `sleep` | nothing |
//! | `crash` | ends after such a time |
//! | `once` | as `crash`, with 0 |
//! | `write` | writes a numbered line each time such a time is over |
//! | `fork` | has two children in sessions of their own, one of which its parent has left |
//! | `kin`, `leave` | are those children; `leave` is the parent that leaves |
//! | `stand` | nothing; it is no service |
//! | `breed` | has `MOST` children that live for up to `LEAST`, until its input ends; it is no service |
//!
//! A service appends to `DIR/records/NAME`, each line by one write, since they may be killed:
//! `start AT PID NUMBER`, `signal AT PID SIGNAL SENDER`, `end AT PID CODE LINES`. It holds a lock while
//! it lives; whoever does not get it writes `duplicate AT PID`. Others write `signal` and `killed` to
//! `DIR/NAME`.

#![expect(clippy::disallowed_methods, reason = "it is a process, and makes some")]

mod dice;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use dice::Dice;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};

/// What the exit codes of services begin with, and how many follow.
const CODES: (u64, u64) = (20, 200);

/// What a second copy ends with.
const DUPLICATE: u8 = 250;

struct Role {
    role: String,
    dir: PathBuf,
    name: String,
    seed: u64,
    least: u64,
    most: u64,
}

fn main() -> ExitCode {
    SigSet::all().thread_block().expect("signals can be blocked");
    let mut args = std::env::args().skip(1);
    let mut word = || args.next().unwrap_or_default();
    let (role, dir, name) = (word(), word().into(), word());
    let mut number = || word().parse().unwrap_or_default();
    let role = Role { role, dir, name, seed: number(), least: number(), most: number() };
    match role.role.as_str() {
        "stand" => stand(&role),
        "kin" => stand_as_kin(&role),
        "leave" => leave(&role),
        "breed" => breed(&role),
        _ => live(&role),
    }
}

/// A file to which several may append, and who does.
struct Record {
    file: File,
    pid: u32,
    signals: SignalFd,
}

impl Record {
    fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let signals =
            SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Self {
            file: file.expect("the records can be written"),
            pid: std::process::id(),
            signals: signals.expect("signals can be read"),
        }
    }

    fn note(&mut self, word: &str, more: &str) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at_ms = since.expect("it is after 1970").as_millis();
        let line = format!("{word} {at_ms} {} {more}\n", self.pid);
        self.file.write_all(line.as_bytes()).expect("the records can be written");
    }

    /// Waits for so long; false when it was told to end.
    fn rests(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            while let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo == Signal::SIGCHLD as u32 {
                    continue;
                }
                self.note("signal", &format!("{} {}", signal.ssi_signo, signal.ssi_pid));
                if signal.ssi_signo == Signal::SIGTERM as u32 {
                    return false;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            // An interruption is as good as a signal that is none.
            let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], limit);
        }
    }
}

const EVER: Duration = Duration::from_secs(1_000_000);

/// The life of a service.
fn live(role: &Role) -> ExitCode {
    let path = role.dir.join("records").join(&role.name);
    let mut record = Record::open(&path);
    let lock = File::create(role.dir.join("locks").join(&role.name)).expect("there is a lock");
    let Ok(_held) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        record.note("duplicate", "");
        return ExitCode::from(DUPLICATE);
    };
    let before = fs::read_to_string(&path).expect("the records can be read");
    let number = before.lines().filter(|it| it.starts_with("start ")).count() as u64 + 1;
    record.note("start", &number.to_string());
    let mut dice = Dice::of(role.seed, &role.name, number);
    let mut lines = 0;
    match role.role.as_str() {
        "crash" | "once" => {
            record.rests(Duration::from_millis(dice.between(role.least, role.most)));
        }
        "write" => lines = write(role, &mut record, &mut dice, number),
        "fork" => {
            have_children(role);
            record.rests(EVER);
        }
        _ => {
            record.rests(EVER);
        }
    }
    let code = if role.role == "once" { 0 } else { CODES.0 + number % CODES.1 };
    record.note("end", &format!("{code} {lines}"));
    ExitCode::from(u8::try_from(code).expect("codes are small"))
}

/// Writes lines until it is told to end, and says how many.
fn write(role: &Role, record: &mut Record, dice: &mut Dice, number: u64) -> u64 {
    let mut count = 0;
    while record.rests(Duration::from_millis(dice.between(role.least, role.most))) {
        count += 1;
        let line = format!("{} {number} {count}\n", role.name);
        let wrote = if count % 3 == 0 {
            io::stderr().write_all(line.as_bytes())
        } else {
            io::stdout().write_all(line.as_bytes())
        };
        if let Err(error) = wrote {
            record.note("broken", &error.to_string());
        }
    }
    count
}

#[expect(clippy::zombie_processes, reason = "children that are left behind are the point")]
fn have_children(role: &Role) {
    for kind in ["kin", "leave"] {
        let mut child = itself(role, kind).spawn().expect("it can run itself");
        if kind == "leave" {
            child.wait().expect("it leaves");
        }
    }
}

fn itself(role: &Role, kind: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a file"));
    command.arg(kind).arg(&role.dir).arg(&role.name).stdin(Stdio::null());
    command
}

/// Leaves a child to whoever takes it.
#[expect(clippy::zombie_processes, reason = "children that are left behind are the point")]
fn leave(role: &Role) -> ExitCode {
    setsid().expect("a child leads nothing");
    itself(role, "kin").spawn().expect("it can run itself");
    ExitCode::SUCCESS
}

fn stand_as_kin(role: &Role) -> ExitCode {
    // One whose parent has left is in a session of its own already, and leads no group.
    let _ = setsid();
    let mut record = Record::open(&role.dir.join("kin").join(&role.name));
    record.note("start", "");
    record.rests(EVER);
    ExitCode::SUCCESS
}

/// Whoever stands by, and ends with those who brought it there.
fn stand(role: &Role) -> ExitCode {
    end_with_the_parent();
    if role.seed > 0 {
        setsid().expect("a child leads nothing");
    }
    let mut record = Record::open(&role.dir.join(&role.name));
    record.note("start", "");
    loop {
        record.rests(EVER);
    }
}

fn end_with_the_parent() {
    prctl::set_pdeathsig(Signal::SIGKILL).expect("it is a signal");
}

/// Has children and children, each of which writes down what is sent to it.
fn breed(role: &Role) -> ExitCode {
    end_with_the_parent();
    let path = role.dir.join(&role.name);
    let mut record = Record::open(&path);
    let mut dice = Dice::new(role.seed);
    let (mut alive, mut bred) = (0, 0u64);
    while !input_has_ended() {
        while alive < role.most {
            let life = Duration::from_millis(dice.between(1, role.least));
            match bear(&path, life) {
                Some(()) => (alive, bred) = (alive + 1, bred + 1),
                // There is no room now.
                None => break,
            }
        }
        alive -= bury(&mut record, Some(WaitPidFlag::WNOHANG));
        record.rests(Duration::from_millis(1));
    }
    bury(&mut record, None);
    record.note("bred", &bred.to_string());
    ExitCode::SUCCESS
}

fn input_has_ended() -> bool {
    let input = io::stdin();
    let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|it| it > 0)
}

#[expect(unsafe_code, reason = "a fork is a process without the cost of a program")]
fn bear(path: &Path, life: Duration) -> Option<()> {
    // SAFETY: there is one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => Some(()),
        Ok(ForkResult::Child) => {
            end_with_the_parent();
            Record::open(path).rests(life);
            std::process::exit(0)
        }
        Err(_) => None,
    }
}

/// Reaps children, and says how many.
fn bury(record: &mut Record, flags: Option<WaitPidFlag>) -> u64 {
    let mut buried = 0;
    loop {
        match waitpid(None::<Pid>, flags) {
            Ok(WaitStatus::Exited(_, 0)) => {}
            Ok(WaitStatus::StillAlive) | Err(_) => return buried,
            Ok(other) => record.note("killed", &format!("{other:?}")),
        }
        buried += 1;
    }
}

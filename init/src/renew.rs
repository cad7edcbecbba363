//! The keeper begins its program anew in the same process: the same number, the same children, and all
//! descriptors. So even the first process of a container is updated.
//!
//! What it knows goes through a file in memory, in the language of the ledger. A new program that
//! cannot read that begins the old one again, which is held open for it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{AccessFlags, ForkResult, access, execve, execveat, fork};
use serde::{Deserialize, Serialize};

use crate::adopt::Estate;
use crate::brain::Passed as PassedBrain;
use crate::clock;
use crate::keep::Keep;
use crate::kin::Passed as PassedKin;
use crate::launch::close_all_on_exec;
use crate::pool::{Pool, leave_open};
use crate::reap::{pidfd_of, signal_one};
use crate::reports::Passed as PassedReports;
use crate::slot::Life;

/// Names the descriptor of what was passed on, and that of the program before.
const STATE_ENV: &str = "ZINIT_KEEPER_STATE";

/// Says that the program is only to show whether it can read what was passed on.
const TRIAL_ENV: &str = "ZINIT_KEEPER_TRIAL";

/// How long that may take.
const TRIAL: Duration = Duration::from_secs(1);

/// Says that what a dead keeper's brain had open is among our descriptors.
pub const HEIR_ENV: &str = "ZINIT_KEEPER_HEIR";

/// How long a launch that is under way may put off a new beginning.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the ledger does not have.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Passed {
    /// The limits of open files as they were at the very beginning.
    pub(crate) nofile: (u64, u64),
    /// The controllers that were switched on for our cgroups.
    pub(crate) enabled: Vec<String>,
    pub(crate) brain: PassedBrain,
    pub(crate) reports: PassedReports,
    /// What each slot still has to tell.
    pub(crate) told: Vec<(String, u8)>,
    pub(crate) kin: PassedKin,
    /// Whether the brain knows what to do with what names processes.
    pub(crate) knows_pidfds: bool,
    /// The numbers of the heirlooms, which stay the same.
    heirlooms: Vec<RawFd>,
}

/// What a process begins with that is not the first to keep.
#[derive(Default)]
pub(crate) struct Legacy {
    pub(crate) estate: Option<Estate>,
    pub(crate) passed: Option<Passed>,
    pub(crate) pool: Pool,
    /// It was the brain of a keeper that is dead.
    heir: bool,
}

/// Whether this process has kept before, by another beginning of its program, or is to show whether it
/// could: then all that is not passed on is there already, as the lock on its home.
pub fn is_again() -> bool {
    std::env::var_os(STATE_ENV).is_some()
}

/// The exit status of a process that is only to show whether it can read what was passed on.
pub(crate) fn trial() -> Option<i32> {
    std::env::var_os(TRIAL_ENV)?;
    let state = std::env::var(STATE_ENV).unwrap_or_default();
    let mut bytes = Vec::new();
    let read = state.parse().map(|it| File::from(adopted(it)).read_to_end(&mut bytes).is_ok());
    Some(i32::from(parse(&bytes).filter(|_| read == Ok(true)).is_none()))
}

impl Legacy {
    /// Whether this goes on for a keeper that is dead, in the process of its brain.
    pub(crate) fn is_heir(&self) -> bool {
        self.heir
    }

    /// The limits of open files that services had, where this process goes on for who gave them.
    pub(crate) fn nofile(&self) -> Option<(u64, u64)> {
        let heirs = self.estate.as_ref().filter(|_| self.heir).map(|it| it.reign.nofile);
        self.passed.as_ref().map(|it| it.nofile).or(heirs)
    }

    /// What was left to this process, which has done nothing yet.
    pub(crate) fn inherited() -> Self {
        let state = std::env::var(STATE_ENV).unwrap_or_default();
        let mut numbers = state.split(',').filter_map(|it| it.parse::<RawFd>().ok());
        let Some(state) = numbers.next() else {
            let heir = std::env::var_os(HEIR_ENV).is_some();
            let pool = if heir { Pool::inherited(&[]) } else { Pool::default() };
            return Self { pool, heir, ..Self::default() };
        };
        let mut state = File::from(adopted(state));
        let before = numbers.next().map(adopted);
        let mut bytes = Vec::new();
        let read = state.read_to_end(&mut bytes).is_ok();
        let Some((passed, estate)) = parse(&bytes).filter(|_| read) else {
            go_back(state, before);
            return Self { pool: Pool::inherited(&[]), ..Self::default() };
        };
        drop((state, before));
        let pool = Pool::inherited(&passed.heirlooms);
        Self { estate: Some(estate), passed: Some(passed), pool, heir: false }
    }
}

/// The first line is what was passed on, the others are a ledger.
fn parse(bytes: &[u8]) -> Option<(Passed, Estate)> {
    let end = bytes.iter().position(|it| *it == b'\n')?;
    let passed = serde_json::from_slice(&bytes[..end]).ok()?;
    Some((passed, Estate::read(&bytes[end + 1..]).ok()?))
}

#[expect(unsafe_code, reason = "a descriptor that is inherited has a number and nothing else")]
fn adopted(number: RawFd) -> OwnedFd {
    // SAFETY: the program before left it to this one under this number, which nobody else knows.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Begins the program before again, with what it has passed on.
fn go_back(mut state: File, before: Option<OwnedFd>) {
    let Some(before) = before else { return };
    let _ = state.rewind();
    leave_open(&state);
    // The program before need not be handed to itself.
    let _ = fcntl(&before, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    let argv = c_strings(std::env::args_os());
    let env = environment(&format!("{STATE_ENV}={}", state.as_raw_fd()));
    let _ = execveat(&before, c"", &argv, &env, AtFlags::AT_EMPTY_PATH);
}

impl Keep {
    /// Somebody asks for a new beginning.
    pub(crate) fn ask_for_renewal(&mut self) {
        self.renew_until.get_or_insert_with(|| clock::now() + PATIENCE);
    }

    /// Begins anew if that was asked for and nothing is under way. Nothing is heard of the brain
    /// meanwhile.
    pub(crate) fn renew_if_quiet(&mut self) {
        let Some(until) = self.renew_until else { return };
        let quiet = self.waiting.is_empty()
            && self.tenants.iter().all(Option::is_none)
            && self.launcher.reader(self.brain_place()).is_none();
        if quiet {
            let errno = self.renew();
            let program = self.program.display();
            self.complaints.say(format_args!("cannot begin `{program}` anew: {}", errno.desc()));
            close_all_on_exec();
        } else if until <= clock::now() {
            self.complaints.say(format_args!("cannot begin anew: a launch does not end"));
        } else {
            return;
        }
        self.renew_until = None;
        // It is listened to again.
        self.tell_brain();
    }

    /// Returns only when that fails.
    fn renew(&mut self) -> Errno {
        if !self.others.is_empty() {
            self.signal_others();
        }
        self.keep_ledger();
        let begun = self.passed_on().and_then(|mut state| {
            self.try_program(&mut state)?;
            let before = open("/proc/self/exe", OFlag::O_PATH, Mode::empty())?;
            leave_open(&state);
            self.leave_all_open();
            let numbers = format!("{},{}", state.as_raw_fd(), before.as_raw_fd());
            let env = environment(&format!("{STATE_ENV}={numbers}"));
            let program = c_string(self.program.as_os_str());
            execve(&program, &c_strings(std::env::args_os()), &env)
        });
        begun.expect_err("a program that begins does not return")
    }

    /// Begins the program in a child first: one that cannot even read what it is left would take everything
    /// with it. A first process of a namespace has nobody to begin it again.
    #[expect(unsafe_code, reason = "fork, and an end without the keeper's clean-up")]
    #[expect(clippy::disallowed_methods, reason = "a child that nobody else is to know of")]
    fn try_program(&self, state: &mut File) -> nix::Result<()> {
        access(&self.program, AccessFlags::X_OK)?;
        let program = c_string(self.program.as_os_str());
        let argv = c_strings(std::env::args_os());
        let number = format!("{STATE_ENV}={}", state.as_raw_fd());
        let mut env = environment(&number);
        env.extend(CString::new(format!("{TRIAL_ENV}=1")));
        // SAFETY: the keeper has one thread, so the child may do what it could.
        let child = match unsafe { fork()? } {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                leave_open(&*state);
                let _ = SigSet::empty().thread_set_mask();
                let _ = execve(&program, &argv, &env);
                // SAFETY: ends this process.
                unsafe { libc::_exit(1) }
            }
        };
        let pidfd = pidfd_of(child.as_raw())?;
        let mut looks = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(TRIAL).unwrap_or(PollTimeout::MAX);
        if poll(&mut looks, limit) != Ok(1) {
            signal_one(pidfd.as_fd(), libc::SIGKILL);
        }
        let status = waitpid(child, None)?;
        state.rewind().map_err(|_| Errno::EIO)?;
        if matches!(status, WaitStatus::Exited(_, 0)) { Ok(()) } else { Err(Errno::ENOEXEC) }
    }

    /// All that is known here, in a file in memory.
    fn passed_on(&self) -> nix::Result<File> {
        let passed = Passed {
            nofile: self.launcher.nofile(),
            enabled: self.cgroups.as_ref().map_or(Vec::new(), |it| it.enabled().to_vec()),
            brain: self.brain.pass_on(),
            reports: self.reports.pass_on(),
            told: self.slots.iter().map(|it| (it.name.to_string(), it.telling())).collect(),
            kin: self.kin.pass_on(),
            knows_pidfds: self.slots.knows_pidfds,
            heirlooms: self.heirlooms.iter().map(AsRawFd::as_raw_fd).collect(),
        };
        let mut bytes = serde_json::to_vec(&passed).map_err(|_| Errno::EINVAL)?;
        bytes.push(b'\n');
        bytes.extend(self.snapshot());
        let mut file = File::from(memfd_create(c"zinit-keeper", MFdFlags::MFD_CLOEXEC)?);
        let written = file.write_all(&bytes).and_then(|()| file.rewind());
        written.map_err(|_| Errno::ENOMEM)?;
        Ok(file)
    }

    fn leave_all_open(&self) {
        for slot in self.slots.iter() {
            if let Life::Up { pidfd, .. } = &slot.life {
                leave_open(pidfd);
            }
            if let Some(it) = &slot.pipes {
                leave_open(&it.out.0);
                leave_open(&it.err.0);
            }
            if let Some(it) = &slot.input {
                leave_open(&it.reader);
            }
            slot.ready.iter().for_each(|it| leave_open(&it.reader));
        }
        self.held.descriptors().for_each(leave_open);
        self.brain.descriptors().for_each(leave_open);
        self.heirlooms.iter().for_each(leave_open);
    }
}

/// This process's environment for the next program, with one variable more.
fn environment(variable: &str) -> Vec<CString> {
    let internal = |key: &OsStr| [STATE_ENV, HEIR_ENV].iter().any(|it| key == *it);
    let own = std::env::vars_os().filter(|(key, _)| !internal(key));
    let own = own.map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    c_strings(own.chain([variable.into()]))
}

fn c_strings(all: impl Iterator<Item = OsString>) -> Vec<CString> {
    all.filter_map(|it| CString::new(it.into_vec()).ok()).collect()
}

fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).unwrap_or_default()
}

/// The file of this program, which may have been replaced by another one.
///
/// # Errors
/// Where there is no `/proc`.
pub fn own_program() -> io::Result<PathBuf> {
    let found = std::env::current_exe()?;
    Ok(match found.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) => Path::new(OsStr::from_bytes(path)).to_owned(),
        None => found,
    })
}

//! The keeper of Zinit: it launches, reaps and holds descriptors, and decides nothing.
//!
//! ```text
//!  keep     the loop: signals, the brain, launches under way, deaths
//!  brain    the brain's process and socket          request  what it asks
//!  reports  what it is due, as levels               slot     the services, as far as known here
//!  begin    what a launch asks for                  end      when the last of its processes is gone
//!  launch   from a command to a running process     command  what that needs in memory
//!  clone    the call that makes it, on its stack    child    its few steps before `exec`
//!  ready    by what it says that it is ready        stream   what it reads and writes
//!  reap     who died and how                        foreign  the same of those who are not our children
//!  cgroup   the cgroups of all services             leaf     that of one, and who is in it
//!  mounts   where cgroups are                       kin      who is whose without them
//!  proc     what `/proc` says                       who      who a process is, whoever has its number
//!  ledger   what the next keeper needs              adopt    what it makes of that
//!  pool     descriptors that were left to it        renew    the same process with another program
//!  held     sockets that brains give to hold        setup    what the process becomes first
//!  complain what it says on stderr                  thrift   gives back what only the start needed
//!  wire     the language                            packet   its transport, for both ends
//!  home     the lock on all of it                   halt     the end of a whole machine
//!  shim     one program instead of a brain
//! ```
//!
//! What holds, whatever a brain does or says:
//!
//! - A slot has at most one process, and none while an exit of it is not acknowledged.
//! - A signal goes to a process group only while its leader is not reaped: one thread, the only one
//!   that reaps, so no number is ever somebody else's. Everybody else, and every group that was taken over,
//!   is signalled by pidfd.
//! - An exit is told when nothing of the incarnation is left, and nobody of it is killed unasked
//!   before the farewell.
//! - Every exit is told, to each brain, until one of them acknowledges it.
//! - Whoever runs was written down before its program began, unless the disk is full, and nobody is taken
//!   for it by its number.
//! - What a service writes never breaks its pipe, whoever is dead, and what fits there is kept.
//! - What a brain gives to hold stays open until one drops it, and each new one is told of it. No
//!   descriptor becomes that of another request.
//! - A packet is handled whole before the next; nothing that a brain sends or does not read makes the
//!   keeper wait, end, or grow without bound.
//! - Between fork and exec there are only system calls.
//! - When nothing happens, nothing runs.
//!
//! `ZINIT_CGROUP=off` in its environment makes the keeper do without cgroups.
//!
//! Start reading at [`run`], then `keep.rs`.

mod adopt;
mod begin;
mod brain;
mod cgroup;
mod child;
mod clock;
mod clone;
mod command;
mod complain;
mod end;
mod foreign;
mod halt;
mod held;
pub mod home;
mod keep;
mod kin;
mod launch;
mod leaf;
mod ledger;
mod mounts;
pub mod packet;
mod pool;
mod proc;
mod ready;
mod reap;
mod renew;
mod reports;
mod request;
mod setup;
pub mod shim;
mod slot;
mod stack;
mod stream;
pub mod thrift;
mod who;
pub mod wire;

pub use pool::leave_what_can_be_told;
pub use renew::{HEIR_ENV, is_again, own_program};

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// What a keeper is started with.
#[derive(Debug)]
pub struct Keeper {
    /// The brain's program, as an absolute path. It finds its socket by [`wire::SOCKET_ENV`], and has
    /// the keeper's standard streams, directory and (raised) limit of open files.
    pub brain: PathBuf,
    /// The brain's arguments; the one before them is always `zinit-server`.
    pub brain_args: Vec<OsString>,
    /// Gets one byte, and is closed, when the first brain serves. Closed without it, the start failed.
    pub ready: Option<OwnedFd>,
    /// Where it is written down what the next keeper takes over when this one dies; the beginning of a
    /// file's path in a directory that is there. What another one has written there is taken over.
    pub ledger: Option<PathBuf>,
}

/// Turns this process into a keeper, and returns its exit status when the brain has said farewell, or
/// when the first one ended before it served anybody.
///
/// To be called while the process has only one thread. Every descriptor above the standard streams
/// becomes close-on-exec.
pub fn run(keeper: Keeper) -> i32 {
    let Keeper { brain, brain_args, ready, ledger } = keeper;
    if let Some(code) = renew::trial() {
        // What it holds was left to the program before.
        std::mem::forget(ready);
        return code;
    }
    let ready = ready.and_then(|it| {
        if renew::is_again() {
            // The number names something else by now. The state says what it is.
            std::mem::forget(it);
            return None;
        }
        let _ = fcntl(&it, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Some(it)
    });
    keep::run(brain::Brain::new(brain, brain_args, ready), ledger)
}

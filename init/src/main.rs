//! `zinit-updater --init`: the keeper as PID 1 of a container, or under any other parent.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use zinit_keeper::Keeper;
use zinit_keeper::shim::{self, Shim};

/// Keeps `zinit-server` and its services running.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    /// Be the keeper: start `zinit-server` (the one beside this program, else the one in PATH),
    /// start it again when it dies, and reap every orphan. Meant for PID 1 of a container.
    #[arg(long, required = true)]
    init: bool,

    /// With --init and a command: send signals to its whole process group
    #[arg(short, long, requires = "command")]
    group: bool,

    /// With --init: run this instead of `zinit-server`, hand it every signal, reap every orphan, and
    /// end with its exit status
    #[arg(last = true, value_name = "COMMAND", requires = "init")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    init(args.group, args.command)
}

/// Keeps: a program if one is given, else `zinit-server` and its services.
fn init(group: bool, command: Vec<OsString>) -> ExitCode {
    if !command.is_empty() {
        return code(shim::run(Shim { command, group }));
    }
    let Some(brain) = find("zinit-server") else {
        eprintln!("error: cannot begin: there is no `zinit-server` beside this program or in PATH");
        return ExitCode::FAILURE;
    };
    code(zinit_keeper::run(Keeper { brain, brain_args: Vec::new(), ready: None, ledger: None }))
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The program of that name: the sibling of this one, else the first in `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let sibling = own_file().map(|it| it.with_file_name(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(OsStr::new(&path)).map(|dir| dir.join(name));
    let found = sibling.into_iter().chain(in_path).find(|it| is_program(it))?;
    std::path::absolute(found).ok()
}

/// The file of this program; without `/proc`, what it was called if that is a path.
fn own_file() -> Option<PathBuf> {
    let called =
        || env::args_os().next().map(PathBuf::from).filter(|it| it.components().count() > 1);
    env::current_exe().ok().or_else(called)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

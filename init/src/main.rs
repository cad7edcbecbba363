//! `zinit-updater`: with `--init` the keeper as PID 1 of a container, or under any other parent; else the
//! commands of [`update`].

mod update;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use zinit_keeper::Keeper;

/// Updates Zinit, or keeps `zinit-server` and its services running.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Args {
    /// Be the keeper: start `zinit-server` (the one beside this program, else the one in PATH),
    /// start it again when it dies, and reap every orphan. Meant for PID 1 of a container.
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    flags: update::Flags,
    #[command(subcommand)]
    command: Option<update::Command>,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 refused or failed, 2 usage.";

fn main() -> ExitCode {
    if is_init_alone() {
        return keep();
    }
    let Args { init, flags, command } = Args::parse();
    match (init, command) {
        (true, None) => keep(),
        (true, Some(_)) => {
            let message = "`--init` goes with no command";
            Args::command().error(ErrorKind::ArgumentConflict, message).exit()
        }
        (false, Some(command)) => ExitCode::from(command.run(&flags)),
        (false, None) => {
            let _ = Args::command().print_help();
            ExitCode::SUCCESS
        }
    }
}

/// Whether there is nothing but `--init` to read. A keeper has no use for what reading more costs.
fn is_init_alone() -> bool {
    env::args_os().skip(1).eq([OsStr::new("--init")])
}

/// Becomes the keeper.
fn keep() -> ExitCode {
    let Some(brain) = find("zinit-server") else {
        eprintln!("error: cannot begin: there is no `zinit-server` beside this program or in PATH");
        return ExitCode::FAILURE;
    };
    let code = zinit_keeper::run(Keeper { brain, brain_args: Vec::new(), ready: None });
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The program of that name: the sibling of this one, else the first in `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let sibling = env::current_exe().ok().map(|it| it.with_file_name(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(OsStr::new(&path)).map(|dir| dir.join(name));
    let found = sibling.into_iter().chain(in_path).find(|it| is_program(it))?;
    std::path::absolute(found).ok()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

//! `zinit-updater`: with `--init` the keeper as PID 1 of a container, or under any other parent; else the
//! commands of [`update`].

mod update;

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use zinit_keeper::Keeper;
use zinit_keeper::home::{Held, Refused};
use zinit_keeper::shim::{self, Shim};

/// Updates Zinit, or keeps `zinit-server` and its services running.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Args {
    /// Be the keeper: start `zinit-server` (the one beside this program, else the one in PATH),
    /// start it again when it dies, and reap every orphan. Meant for PID 1 of a container.
    #[arg(long)]
    init: bool,

    /// With --init and a program: send signals to its whole process group
    #[arg(short, long, requires = "init")]
    group: bool,

    #[command(flatten)]
    flags: update::Flags,

    #[command(subcommand)]
    command: Option<update::Command>,

    /// With --init: run this instead of `zinit-server`, hand it every signal, reap every orphan, and
    /// end with its exit status
    #[arg(last = true, value_name = "PROGRAM", requires = "init")]
    program: Vec<OsString>,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 refused or failed, 2 usage.";

fn main() -> ExitCode {
    if let Some((group, program)) = init_alone() {
        return init(group, program);
    }
    let Args { init: is_init, group, flags, command, program } = Args::parse();
    match (is_init, command) {
        (true, None) if env::args_os().any(|it| it == "--") && program.is_empty() => {
            let message = "there is no program after `--`";
            Args::command().error(ErrorKind::MissingRequiredArgument, message).exit()
        }
        (true, None) => init(group, program),
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

/// What `--init` is asked for, when there is nothing else to read: a keeper, and a shim even more, has
/// no use for what reading more costs.
fn init_alone() -> Option<(bool, Vec<OsString>)> {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    let at = args.iter().position(|it| it == "--").unwrap_or(args.len());
    let (flags, program) = args.split_at(at);
    let (first, rest) = flags.split_first()?;
    let is_group = |it: &OsString| it == "-g" || it == "--group";
    let program: Vec<OsString> = program.iter().skip(1).cloned().collect();
    let whole = at == args.len() || !program.is_empty();
    (first == "--init" && rest.iter().all(is_group) && whole).then_some((!rest.is_empty(), program))
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
    let home = update::home();
    if !zinit_keeper::is_again()
        && let Some(Err(Refused::Taken { pid, socket })) = home.as_deref().map(hold)
    {
        eprintln!("error: a server is already running here: process {pid}, socket {socket}");
        eprintln!("hint: ZINIT_HOME names another home");
        return ExitCode::FAILURE;
    }
    let brain_args = match (is_updated(home.as_deref()), own_file()) {
        (true, Some(program)) => vec!["--updates".into(), program.into_os_string()],
        _ => Vec::new(),
    };
    let ledger = home.map(|it| it.join("var/zinit/.ledger"));
    code(zinit_keeper::run(Keeper { brain, brain_args, ready: None, ledger }))
}

/// Takes a home for the keeper that this process becomes. What else is wrong with it the server says, in
/// better words.
fn hold(home: &Path) -> Result<(), Refused> {
    let dir = home.join("var/zinit");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Refused::Storage)?;
    Held::take(&dir.join("lock"), &home.join("var/zinit.sock")).map(Held::leave)
}

/// Whether it is configured where updates come from.
fn is_updated(home: Option<&Path>) -> bool {
    let told = env::var_os("ZINIT_UPDATE_URL").is_some_and(|it| !it.is_empty());
    let state = home.map(|it| it.join("cfg/zinit_latest.toml"));
    let text = state.and_then(|it| fs::read_to_string(it).ok()).unwrap_or_default();
    told || text.lines().any(|it| it.trim_start().starts_with("url"))
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

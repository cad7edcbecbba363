//! What `zinit-server` does: arguments in, exit code out.
//!
//! The first process becomes the keeper; the keeper starts this program again as the brain. `zinit`
//! holds all of this as well, for machines where nobody has installed a server beside it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::FalseyValueParser;
use zinit_keeper::wire::SOCKET_ENV;

use crate::brain::{self, Settings};
use crate::daemon;
use crate::home::Home;
use crate::machine::say;
use crate::refusal::{Kind, Refusal};
use crate::supervise::Outcome;

/// Keeps services running: starts them in order, restarts them, keeps their logs.
#[derive(Parser)]
#[command(version, name = "zinit-server")]
struct Args {
    /// Run in the background (also `-bg`)
    #[arg(short = 'b', long)]
    background: bool,

    /// Serve this TCP port of this machine as well, or this ADDRESS:PORT
    #[arg(short, long, value_name = "N", env = "ZINIT_PORT")]
    port: Option<String>,

    /// The directory with the services, instead of `~/hero/cfg/zinit`
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,

    /// The Unix socket to serve, instead of `~/hero/var/zinit.sock`
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Reload the policy whenever one of its files is written
    #[arg(long, env = "ZINIT_WATCH", value_parser = FalseyValueParser::new())]
    watch: bool,

    /// Looks for mistakes in services and policy, and does nothing else
    #[arg(long)]
    check: bool,

    /// Runs `PROGRAM watch` as a service, which looks for updates
    #[arg(long, hide = true, value_name = "PROGRAM")]
    updates: Option<String>,

    /// Tells whoever started it in the background that it serves
    #[arg(long, hide = true, value_name = "FD")]
    ready_fd: Option<i32>,
}

/// Whether this process was started under a name of the server's.
pub fn is_meant() -> bool {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(|it| it.file_name());
    name.is_some_and(|it| it == daemon::SERVER || it == daemon::KEEPER)
}

/// Runs `zinit-server` with the arguments of this process.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|it| it == daemon::KEEP) {
        return code(daemon::keep(std::env::args_os().skip(2)));
    }
    let args: Vec<OsString> = std::env::args_os()
        .map(|it| if it == "-bg" { OsString::from("--background") } else { it })
        .collect();
    match run(Args::parse_from(&args), &args[1..]) {
        Ok(code) => code,
        Err(refusal) => {
            let hint = refusal.hint.as_ref().map(|it| format!("hint: {it}\n")).unwrap_or_default();
            say(std::io::stderr(), &format!("error: {refusal}\n{hint}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, given: &[OsString]) -> Result<ExitCode, Refusal> {
    let home = home(&args)?;
    if args.check {
        return Ok(check(&home));
    }
    if std::env::var_os(SOCKET_ENV).is_some() {
        let in_foreground = args.ready_fd.is_none();
        let keeper = nix::unistd::getppid().as_raw();
        // A keeper that is somebody else's program holds no lock for us.
        let held = match daemon::take(&home) {
            Ok(held) => Some(held),
            Err(_) if daemon::is_held_for_us(&home) => None,
            Err(refusal) => return Err(refusal),
        };
        let Args { port, updates, watch, .. } = args;
        let settings = Settings { home: home.clone(), port, updates, watch, in_foreground };
        let outcome = brain::run(settings)?;
        drop(held);
        return match outcome {
            Outcome::Ended | Outcome::HandedOver => Ok(ExitCode::SUCCESS),
            Outcome::Orphaned => Err(daemon::succeed_keeper(&home, keeper, given)),
        };
    }
    let given: Vec<_> =
        given.iter().filter(|it| *it != "--background" && *it != "-b").cloned().collect();
    if args.background {
        return go_to_background(&home, &given);
    }
    let held = daemon::take(&home)?;
    let ready = args.ready_fd.map(daemon::inherited);
    if ready.is_some() {
        daemon::leave_terminal();
    }
    Err(daemon::become_keeper(&home, &held, ready.as_ref(), &given))
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn home(args: &Args) -> Result<Home, Refusal> {
    let mut home = Home::from_env()?;
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| {
            Refusal::new(Kind::BadArgument, format!("cannot use {}: {error}", path.display()))
        })
    };
    if let Some(dir) = &args.config_dir {
        home.config_dir = absolute(dir)?;
    }
    if let Some(socket) = &args.socket {
        home.socket = absolute(socket)?;
    }
    Ok(home)
}

/// Prints each mistake on a line of its own, in words that another version has for it as well. A
/// directory that is not there is made by a server, and has no mistakes.
fn check(home: &Home) -> ExitCode {
    if !home.config_dir.exists() {
        return ExitCode::SUCCESS;
    }
    let checked = crate::check::check(&home.config_dir);
    for problem in &checked.problems {
        eprintln!("{}", problem.message.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    ExitCode::from(u8::from(!checked.problems.is_empty()))
}

fn go_to_background(home: &Home, given: &[OsString]) -> Result<ExitCode, Refusal> {
    match daemon::take(home) {
        Ok(held) => drop(held),
        Err(refusal) if refusal.data.contains_key("pid") => {
            println!("Zinit server is already running");
            return Ok(ExitCode::SUCCESS);
        }
        Err(refusal) => return Err(refusal),
    }
    daemon::send_to_background(home, given)?;
    println!("Zinit server started in background");
    Ok(ExitCode::SUCCESS)
}

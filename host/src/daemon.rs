//! The first process of a server: it makes sure that it is the only one of its home, goes to the
//! background if asked to, and becomes the keeper.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use zinit_keeper::Keeper;
use zinit_keeper::home::{self, Held, Refused};

use crate::home::Home;
use crate::refusal::{Kind, Refusal};

/// What the server's program is called, whichever file it is in.
pub const SERVER: &str = "zinit-server";

/// What the keeper is called.
pub const KEEPER: &str = "zinit-keeper";

/// The first argument of a process that is to be nothing but a keeper.
pub const KEEP: &str = "--keep";

/// Tells the keeper where to write down what the next one takes over.
const LEDGER_ENV: &str = "ZINIT_KEEPER_LEDGER";

/// What helps where a home cannot be.
const WRITABLE: &str = "set ZINIT_HOME to a directory that can be written to";

/// Takes the home, or says who has it.
///
/// # Errors
/// When another server holds it, or its directories cannot be made.
pub fn take(home: &Home) -> Result<Held, Refusal> {
    for dir in [&home.state_dir, &home.config_dir] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| storage("make", dir, &error).hint(WRITABLE))?;
    }
    let path = lock(home);
    Held::take(&path, &home.socket).map_err(|refused| match refused {
        Refused::Taken { pid, socket } => taken(&pid, &socket, &path),
        Refused::Storage(error) => storage("write", &path, &error).hint(WRITABLE),
    })
}

/// The file by which a home is held.
fn lock(home: &Home) -> PathBuf {
    home.state_dir.join("lock")
}

/// Whether the home is held by the process that started this one, or was when that died.
pub fn is_held_for_us(home: &Home) -> bool {
    let path = lock(home);
    home::holder(&path) == Some(nix::unistd::getppid().as_raw()) || home::is_orphaned(&path)
}

/// Whether the last keeper of a home has left something to take over: it did not end by itself.
pub fn has_left_anything(home: &Home) -> bool {
    ledger(home).exists()
}

/// Where a keeper writes down what the next one takes over.
fn ledger(home: &Home) -> PathBuf {
    home.state_dir.join(".ledger")
}

fn taken(pid: &str, socket: &str, path: &Path) -> Refusal {
    let or_unknown = |it: &str| if it.is_empty() { "unknown".to_owned() } else { it.to_owned() };
    let (pid, socket) = (or_unknown(pid), or_unknown(socket));
    let holder = format!("a server is already running here: process {pid}, socket {socket}");
    Refusal::new(Kind::Forbidden, holder)
        .hint("`zinit server stop` stops it; ZINIT_HOME names another home")
        .with("path", path.display().to_string())
        .with("pid", pid)
        .with("socket", socket)
}

fn storage(verb: &str, path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Kind::Storage, format!("cannot {verb} {}: {error}", path.display()))
        .with("path", path.display().to_string())
}

/// Becomes the keeper: this program begins anew, so that nothing of getting here stays in the
/// memory of a process that lives for years and forks often. Returns only when that fails.
pub fn become_keeper(
    home: &Home,
    held: &Held,
    ready: Option<&OwnedFd>,
    args: &[OsString],
) -> Refusal {
    begin_anew(home, held, ready, args, &[])
}

/// Becomes the keeper in place of one that is dead, whose brain this process is. What it has open of
/// the services stays open. Returns only when that fails.
pub fn succeed_keeper(home: &Home, dead: i32, args: &[OsString]) -> Refusal {
    let path = lock(home);
    // It may have died before this process could ask who its parent is.
    let dead = if home::is_orphaned(&path) { home::holder(&path).unwrap_or(dead) } else { dead };
    let Some(held) = Held::inherit(&path, &home.socket, dead) else {
        let message = "the keeper is gone, and another server has taken over";
        return Refusal::new(Kind::Internal, message);
    };
    zinit_keeper::leave_what_can_be_told(&ledger(home));
    begin_anew(home, &held, None, args, &[(zinit_keeper::HEIR_ENV, OsStr::new("1"))])
}

fn begin_anew(
    home: &Home,
    held: &Held,
    ready: Option<&OwnedFd>,
    args: &[OsString],
    variables: &[(&str, &OsStr)],
) -> Refusal {
    let begin = || -> io::Result<Infallible> {
        let mut argv = vec![CString::new(KEEPER)?, CString::new(KEEP)?];
        held.leave_open();
        if let Some(ready) = ready {
            fcntl(ready, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let ready = ready.map_or(-1, AsRawFd::as_raw_fd);
        argv.push(CString::new(ready.to_string())?);
        for arg in args {
            argv.push(CString::new(arg.as_bytes())?);
        }
        let program = CString::new(program()?.into_os_string().into_vec())?;
        let ledger = ledger(home);
        let variables =
            [(LEDGER_ENV, ledger.as_os_str())].into_iter().chain(variables.iter().copied());
        let env = environment(variables)?;
        // Its file may be gone: then it goes on as the program that it is.
        let begun = nix::unistd::execve(&program, &argv, &env);
        begun
            .or_else(|_| nix::unistd::execve(c"/proc/self/exe", &argv, &env))
            .map_err(io::Error::from)
    };
    let Err(error) = begin();
    Refusal::new(Kind::Internal, format!("cannot begin anew as the keeper: {error}"))
}

/// The environment of this process, with these variables.
fn environment<'a>(
    variables: impl Iterator<Item = (&'a str, &'a OsStr)> + Clone,
) -> io::Result<Vec<CString>> {
    let set = variables.clone().map(|(key, value)| (key.into(), value.to_owned()));
    let own = std::env::vars_os().filter(|(key, _)| variables.clone().all(|(it, _)| key != it));
    let joined = own.chain(set).map(|(mut key, value): (OsString, OsString)| {
        key.push("=");
        key.push(value);
        CString::new(key.into_vec()).map_err(io::Error::from)
    });
    joined.collect()
}

/// The life of a process that was begun by [`become_keeper`], with the arguments after [`KEEP`].
/// The lock is among the descriptors that it was left, and stays open until it ends.
pub fn keep(mut args: impl Iterator<Item = OsString>) -> i32 {
    let ready = args.next().and_then(|it| it.to_str()?.parse().ok()).filter(|it| *it >= 0);
    match program() {
        Ok(brain) => zinit_keeper::run(Keeper {
            brain,
            brain_args: args.collect(),
            ready: ready.map(inherited),
            ledger: std::env::var_os(LEDGER_ENV).map(PathBuf::from),
        }),
        Err(error) => {
            eprintln!("error: cannot find this program's own file: {error}");
            1
        }
    }
}

/// The descriptor of that number, which another process left to this one.
#[expect(unsafe_code, reason = "a descriptor that is inherited has a number and nothing else")]
pub fn inherited(fd: i32) -> OwnedFd {
    // SAFETY: the number was given by the process that left the descriptor to this one; nothing
    // else here knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The path of this program, whatever is there now.
fn program() -> io::Result<PathBuf> {
    zinit_keeper::own_program()
}

/// Starts this program again in the background, and waits until it serves.
///
/// # Errors
/// When it ends instead; the message is what it printed last.
pub fn send_to_background(home: &Home, args: &[OsString]) -> Result<(), Refusal> {
    let path = &home.server_log;
    let mut how = OpenOptions::new();
    let log = how.create(true).append(true).read(true).mode(0o600).open(path);
    let mut log = log.map_err(|error| storage("open", path, &error))?;
    let begins = log.seek(SeekFrom::End(0)).map_err(|error| storage("read", path, &error))?;
    let internal = |error: io::Error| {
        Refusal::new(Kind::Internal, format!("cannot start in the background: {error}"))
    };
    let (mut ready, told) = io::pipe().map_err(internal)?;
    let told = OwnedFd::from(told);
    fcntl(&told, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|it| internal(it.into()))?;
    let out = || log.try_clone().map(Stdio::from).map_err(internal);
    #[expect(clippy::disallowed_methods, reason = "this is how the first process begins")]
    let mut server = Command::new(program().map_err(internal)?);
    server.arg0(SERVER).args(args).arg("--ready-fd").arg(told.as_raw_fd().to_string());
    server.current_dir("/").stdin(Stdio::null()).stdout(out()?).stderr(out()?);
    server.spawn().map_err(internal)?;
    drop(told);
    if ready.read(&mut [0]).map_err(internal)? == 1 {
        return Ok(());
    }
    let mut said = String::new();
    log.seek(SeekFrom::Start(begins)).map_err(internal)?;
    // What cannot be read is not shown.
    let _ = log.take(64 * 1024).read_to_string(&mut said);
    Err(in_its_words(&said, path))
}

/// The refusal that a server printed before it ended.
fn in_its_words(said: &str, log: &Path) -> Refusal {
    let after = |mark: &str| said.lines().rev().find_map(|it| it.strip_prefix(mark));
    let message = after("error: ").unwrap_or("the server ended before it served anybody");
    let refusal = Refusal::new(Kind::Internal, message);
    match after("hint: ") {
        Some(hint) => refusal.hint(hint),
        None => refusal.hint(format!("{} may say more", log.display())),
    }
}

/// Makes this process the leader of a session of its own, out of reach of the terminal.
pub fn leave_terminal() {
    // It fails only for who leads one already, and that is as good.
    let _ = nix::unistd::setsid();
}

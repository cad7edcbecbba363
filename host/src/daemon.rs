//! The first process of a server: it makes sure that it is the only one of its home, goes to the
//! background if asked to, and becomes the keeper.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use zinit_keeper::Keeper;

use crate::home::Home;
use crate::refusal::{Kind, Refusal};

/// The lock on a home, held for as long as its keeper lives.
#[derive(Debug)]
pub struct Held(Flock<File>);

/// What the server's program is called, whichever file it is in.
pub const SERVER: &str = "zinit-server";

/// What the keeper is called.
pub const KEEPER: &str = "zinit-keeper";

/// The first argument of a process that is to be nothing but a keeper.
pub const KEEP: &str = "--keep";

/// Tells the keeper where to write down what the next one takes over.
const LEDGER_ENV: &str = "ZINIT_KEEPER_LEDGER";

/// How often, and how long each time, a home is waited for whose keeper has just died.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT_MS: u8 = 10;

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
    let path = home.state_dir.join("lock");
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = how.open(&path);
    let file = file.map_err(|error| storage("open", &path, &error).hint(WRITABLE))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            sign(&mut lock, home).map_err(|error| storage("write", &path, &error))?;
            Ok(Held(lock))
        }
        Err((mut file, _)) => Err(taken(&mut file, &path)),
    }
}

/// Whether the process that started this one holds the home.
pub fn is_held_by_parent(home: &Home) -> bool {
    let lock = fs::read_to_string(home.state_dir.join("lock")).unwrap_or_default();
    lock.lines().next() == Some(&format!("pid {}", nix::unistd::getppid()))
}

/// Writes down who holds the lock.
fn sign(lock: &mut File, home: &Home) -> io::Result<()> {
    let text = format!("pid {}\nsocket {}\n", std::process::id(), home.socket.display());
    // Whoever looks meanwhile finds somebody's name.
    lock.write_all_at(text.as_bytes(), 0)?;
    lock.set_len(text.len() as u64)
}

fn taken(file: &mut File, path: &Path) -> Refusal {
    let mut text = String::new();
    // An unreadable lock says nothing about its holder, and that is all that is lost.
    let _ = file.take(4096).read_to_string(&mut text);
    let fact = |key| text.lines().find_map(|it| it.strip_prefix(key)).unwrap_or("unknown");
    let (pid, socket) = (fact("pid "), fact("socket "));
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
pub fn succeed_keeper(home: &Home, args: &[OsString]) -> Refusal {
    match take_soon(home) {
        Ok(held) => {
            zinit_keeper::leave_what_can_be_told();
            begin_anew(home, &held, None, args, &[(zinit_keeper::HEIR_ENV, OsStr::new("1"))])
        }
        Err(refusal) => refusal,
    }
}

/// Takes a home of which the keeper has just died. Children of it that have not begun their programs
/// hold it for a moment more.
fn take_soon(home: &Home) -> Result<Held, Refusal> {
    for _ in 0..LOCK_TRIES {
        if let Ok(held) = take(home) {
            return Ok(held);
        }
        let _ = nix::poll::poll(&mut [], LOCK_WAIT_MS);
    }
    take(home)
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
        for fd in [Some(held.0.as_fd()), ready.map(AsFd::as_fd)].into_iter().flatten() {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let ready = ready.map_or(-1, AsRawFd::as_raw_fd);
        argv.push(CString::new(ready.to_string())?);
        for arg in args {
            argv.push(CString::new(arg.as_bytes())?);
        }
        let program = CString::new(program()?.into_os_string().into_vec())?;
        let ledger = home.state_dir.join(".ledger");
        let variables =
            [(LEDGER_ENV, ledger.as_os_str())].into_iter().chain(variables.iter().copied());
        Ok(nix::unistd::execve(&program, &argv, &environment(variables)?)?)
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

/// The path of this program.
fn program() -> io::Result<PathBuf> {
    std::env::current_exe()
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

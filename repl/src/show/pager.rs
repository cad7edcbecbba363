//! A page at a time: through `$PAGER`, or else `less`, for a text that is higher than the screen.

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::{Write as _, stdin};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::SigSet;
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use super::text::painted_width;
use crate::render;
use crate::shell::look::Look;

/// Leaves at once what fits, shows colours, and leaves the screen as it is.
/// With `K`, Ctrl-C ends it.
const LESS: [&str; 2] = ["less", "-RFXK"];

/// Who has this keeps the shell from going on after a pager: whoever ends both.
static GOES_ON: Mutex<()> = Mutex::new(());

/// Keeps the shell from going on after a pager.
pub(crate) fn held() -> MutexGuard<'static, ()> {
    GOES_ON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a text; one that is higher than the terminal, a page at a time.
pub(crate) fn paged(text: &str, look: Look) {
    let pager = chosen(env::var("PAGER").ok().as_deref(), is_dumb());
    let is_shown = look.is_terminal && is_high(text, look) && through(&pager, text).is_ok();
    if !is_shown {
        render::print(text);
    }
}

/// The pager that somebody wants, as its words; none if there is nothing to be said of it.
fn chosen(wanted: Option<&str>, is_dumb: bool) -> Vec<String> {
    match wanted {
        _ if is_dumb => Vec::new(),
        Some(line) => shlex::split(line).unwrap_or_default(),
        None => LESS.map(str::to_owned).to_vec(),
    }
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb")
}

/// Whether a text and the prompt after it take more rows than there are.
fn is_high(text: &str, look: Look) -> bool {
    let rows = |line: &str| painted_width(line).div_ceil(look.width.max(1)).max(1);
    text.lines().map(rows).sum::<usize>() >= look.height
}

/// Lets a pager show a text. Whatever it did is well, if only it could be begun; the terminal is as it was.
fn through(pager: &[String], text: &str) -> nix::Result<()> {
    let before = tcgetattr(stdin()).ok();
    let (pid, mut input) = begun(pager)?;
    // Who leaves early does not want the rest.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    while waitpid(pid, None) == Err(Errno::EINTR) {}
    let _goes_on = held();
    if let Some(before) = before {
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &before);
    }
    Ok(())
}

/// Begins a pager, and returns where it reads. Signals are for it as for any program: this one has blocked
/// Ctrl-C, so that the shell goes on, and ignores closed pipes.
fn begun(pager: &[String]) -> nix::Result<(Pid, File)> {
    let word = |it: &String| CString::new(it.as_str()).map_err(|_| Errno::EINVAL);
    let words = pager.iter().map(word).collect::<nix::Result<Vec<_>>>()?;
    let program = words.first().ok_or(Errno::ENOENT)?;
    let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
    let mut files = PosixSpawnFileActions::init()?;
    files.add_dup2(output.as_raw_fd(), stdin().as_raw_fd())?;
    let mut how = PosixSpawnAttr::init()?;
    how.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    how.set_sigmask(&SigSet::empty())?;
    how.set_sigdefault(&SigSet::all())?;
    Ok((posix_spawnp(program, &files, &how, &words, &environment())?, File::from(input)))
}

fn environment() -> Vec<CString> {
    let entry = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut bytes = key.into_vec();
        bytes.push(b'=');
        bytes.extend(value.into_vec());
        CString::new(bytes).ok()
    };
    env::vars_os().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::NARROW;

    #[test]
    fn a_pager_is_split_as_a_shell_would() {
        let chosen = |it| chosen(it, false);
        assert_eq!(chosen(None), ["less", "-RFXK"]);
        assert_eq!(chosen(Some("most -d 'a b'")), ["most", "-d", "a b"]);
        assert!(chosen(Some("")).is_empty() && chosen(Some("'")).is_empty());
        assert!(super::chosen(Some("less"), true).is_empty());
    }

    #[test]
    fn a_text_is_high_if_the_prompt_has_no_row_left() {
        let rows = |count: usize| "x\n".repeat(count);
        assert!(!is_high(&rows(NARROW.height - 1), NARROW));
        assert!(is_high(&rows(NARROW.height), NARROW));
        assert!(is_high(&"x".repeat(NARROW.width * NARROW.height), NARROW), "it is wrapped");
        assert!(!is_high(&"\x1b[1m\x1b[0m".repeat(1000), NARROW), "colours take no room");
    }

    #[test]
    fn a_pager_gets_the_text_and_one_that_is_missing_or_leaves_early_is_no_error() {
        let dir = env::temp_dir().join(format!("zinit-pager-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let got = dir.join("got");
        let pager = |it: &str| ["sh", "-c", it, "sh"].map(str::to_owned).to_vec();
        let keeps = [pager("cat > \"$1\""), vec![got.display().to_string()]].concat();
        let text = "a line\n".repeat(100_000);
        through(&keeps, &text).expect("it begins");
        assert_eq!(std::fs::read_to_string(&got).expect("it wrote"), text);
        through(&pager("exit 3"), &text).expect("it begins");
        through(&pager("kill -KILL $$"), &text).expect("it begins");
        assert_eq!(through(&["no-such-pager".to_owned()], &text), Err(Errno::ENOENT));
        assert_eq!(through(&[], &text), Err(Errno::ENOENT));
        std::fs::remove_dir_all(&dir).expect("it is ours");
    }

    #[test]
    fn ctrl_c_ends_a_pager_that_wants_that_and_not_the_shell() {
        SigSet::from(nix::sys::signal::Signal::SIGINT).thread_block().expect("it can be blocked");
        let line = ["sh", "-c", "kill -INT $$; exec sleep 1000"].map(str::to_owned);
        through(&line, "text").expect("it begins");
    }
}

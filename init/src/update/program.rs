//! Runs a program to its end, for so long and no longer.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::clock::{now, pause};

/// No more of what a program writes is kept.
const KEPT_MAX: u64 = 1 << 18;

/// What a program of ours may see of the environment.
const PASSED: [&str; 4] = ["HOME", "PATH", "ZINIT_HOME", "TMPDIR"];

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("it ended with {code}"),
            (None, Some(signal)) => match Signal::try_from(signal) {
                Ok(signal) => format!("it was killed by {signal}"),
                Err(_) => format!("it was killed by signal {signal}"),
            },
            (None, None) => "it ended".to_owned(),
        }
    }
}

/// A program of ours in an environment that has only what it needs.
#[expect(clippy::disallowed_methods, reason = "the updater tries programs, it supervises none")]
pub(crate) fn command(program: &Path, args: impl IntoIterator<Item: AsRef<OsStr>>) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("NO_COLOR", "1");
    command.envs(PASSED.iter().filter_map(|it| Some((it, env::var_os(it)?))));
    command
}

/// Runs it, with this on its standard input. Who takes longer is killed with all that it started.
///
/// # Errors
/// When it cannot be started, or takes too long (`TimedOut`).
pub(crate) fn run(command: &mut Command, input: &str, limit: Duration) -> io::Result<Ended> {
    let deadline = now() + limit;
    let streams = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let [stdin, stdout, stderr] = streams;
    let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0).spawn()?;
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let input = input.to_owned();
    // Who does not read its input gets on without.
    thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let stdout = reader(child.stdout.take().expect("it is a pipe"));
    let stderr = reader(child.stderr.take().expect("it is a pipe"));
    let said = said(&stdout, deadline).zip(said(&stderr, deadline));
    let Some((status, (stdout, stderr))) = ended(&mut child, deadline).zip(said) else {
        kill(&mut child);
        return Err(io::Error::new(ErrorKind::TimedOut, format!("it takes more than {limit:?}")));
    };
    Ok(Ended { status, stdout, stderr })
}

/// Reads all that comes, and keeps the beginning.
fn reader(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let read = from.by_ref().take(KEPT_MAX).read_to_end(&mut kept);
        let _ = read.and_then(|_| io::copy(&mut from, &mut io::sink()));
        let _ = tell.send(String::from_utf8_lossy(&kept).into_owned());
    });
    told
}

fn said(told: &Receiver<String>, deadline: Instant) -> Option<String> {
    told.recv_timeout(deadline.saturating_duration_since(now())).ok()
}

/// Who has closed its output is as good as ended.
fn ended(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if now() < deadline => pause(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

/// Ends the group, whose number is the child's as long as the child is not reaped.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).expect("a pid fits");
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = child.wait();
    }
}

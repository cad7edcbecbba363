//! The server as a process: starting it in the background, and seeing it go.

use std::env;
use std::iter;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use zinit_host::daemon;
use zinit_host::interrupt::{Deadline, Interrupt};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome};

/// How long the next server may take to answer.
const RENEW_LIMIT: Duration = Duration::from_secs(30);

/// A stop may take as long as the slowest service.
const STOP_LIMIT: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(10);

/// What can be done with the server.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Starts it in the background
    Start(How),
    /// Stops all services, then it
    Stop,
    /// Stops all services and it, then starts it again
    Restart(How),
    /// Has another server take over, with its program as it is now, while all services run on
    Renew(Renew),
    /// Shows whether it runs
    Status,
}

/// How to start it.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct How {
    /// Also listens on this TCP port
    #[arg(short = 'p', long, value_name = "[ADDRESS:]N")]
    port: Option<String>,
    /// Has it reload the policy whenever one of its files is written
    #[arg(long)]
    watch: bool,
    /// As always: in the background
    #[arg(short = 'b', long = "background", hide = true)]
    _background: bool,
}

/// What of it begins anew.
#[derive(clap::Args, Debug)]
pub(crate) struct Renew {
    /// Leaves the keeper as it is
    #[arg(long)]
    no_keeper: bool,
}

impl Renew {
    fn run(&self, cx: &Context) -> Outcome {
        let deadline = Deadline::within(RENEW_LIMIT);
        let mut client = cx.connect()?;
        let before = pid(&mut client)?;
        client.call("system.renew", json!([!self.no_keeper]))?;
        let is_another = || {
            let answers = cx.connect().and_then(|mut it| pid(&mut it));
            answers.is_ok_and(|it| it != before)
        };
        if wait_until(deadline, is_another) {
            return said(cx, "renewed");
        }
        Err(Refusal::new(Kind::TimedOut, "no other server has taken over yet")
            .hint("its log says why: `var/zinit-server.log` in ZINIT_HOME or ~/hero"))
    }
}

/// Which process answers.
fn pid(client: &mut Client) -> Result<Value, Refusal> {
    let mut pong = client.call_within("system.ping", json!([]), Duration::from_secs(5))?;
    Ok(pong["pid"].take())
}

impl Action {
    pub(crate) fn run(self, cx: &Context) -> Outcome {
        match self {
            Self::Start(_) if cx.connect().is_ok() => said(cx, "already running"),
            Self::Start(how) => {
                launch(cx, &how)?;
                said(cx, "started")
            }
            Self::Stop => {
                stop(cx, cx.connect()?)?;
                said(cx, "stopped")
            }
            Self::Restart(how) => {
                if let Ok(client) = cx.connect() {
                    stop(cx, client)?;
                }
                launch(cx, &how)?;
                said(cx, "restarted")
            }
            Self::Renew(renew) => renew.run(cx),
            Self::Status => status(cx),
        }
    }
}

/// Starts a server unless one answers already.
pub(crate) fn ensure(cx: &Context) -> Result<(), Refusal> {
    match cx.connect() {
        Err(refusal) if refusal.kind == Kind::NoServer => launch(cx, &How::default()),
        other => other.map(drop),
    }
}

fn status(cx: &Context) -> Outcome {
    let pong = cx.connect()?.call_within("system.ping", json!([]), Duration::from_secs(5))?;
    cx.show(&pong, |_| {
        let version = pong["version"].as_str().unwrap_or("?");
        format!("Server running (version {version}, socket {})\n", cx.home.socket.display())
    })
}

fn said(cx: &Context, what: &str) -> Outcome {
    cx.show(&json!({ "server": what }), |_| format!("Server {what}\n"))
}

/// Stops it, and returns when it is gone and has let go of the home.
fn stop(cx: &Context, mut client: Client) -> Result<(), Refusal> {
    let deadline = Deadline::within(STOP_LIMIT);
    client.call("system.shutdown", json!([]))?;
    let is_free = || cx.connect().is_err() && daemon::take(&cx.home).is_ok();
    if client.wait_closed(STOP_LIMIT)? && wait_until(deadline, is_free) {
        return match daemon::has_left_anything(&cx.home) {
            false => Ok(()),
            true => Err(Refusal::new(
                Kind::Internal,
                "the server was killed before all had stopped",
            )
            .hint("`zinit server start` takes over what still runs, and then it can be stopped")),
        };
    }
    Err(Refusal::new(Kind::TimedOut, "the server has not stopped yet"))
}

/// Starts it in the background, and returns when it answers.
fn launch(cx: &Context, how: &How) -> Result<(), Refusal> {
    let program = program();
    #[expect(clippy::disallowed_methods, reason = "the server itself, which leaves at once")]
    let mut command = Command::new(&program);
    command.arg0(daemon::SERVER).arg("-bg").stdin(Stdio::null()).stdout(Stdio::null());
    if let Some(socket) = &cx.flags.socket {
        command.arg("--socket").arg(socket);
    }
    if let Some(dir) = &cx.flags.config_dir {
        command.arg("--config-dir").arg(dir);
    }
    if let Some(port) = &how.port {
        command.arg("--port").arg(port);
    }
    if how.watch {
        command.arg("--watch");
    }
    let ended = command.status().map_err(|error| {
        Refusal::new(Kind::Internal, format!("cannot run {}: {error}", program.display()))
            .hint("`cargo install zinit_server` installs it")
    })?;
    // One that says no may do so because another is just coming up.
    let patience = if ended.success() { START_LIMIT } else { Duration::from_secs(1) };
    if wait_until(Deadline::within(patience), || cx.connect().is_ok()) {
        return Ok(());
    }
    let log = cx.home.server_log.display();
    Err(Refusal::new(Kind::Internal, "the server did not start").hint(format!("see {log}")))
}

/// The server that was installed with us, or the one in the PATH, or else the one that we hold.
fn program() -> PathBuf {
    let me = env::current_exe().unwrap_or_else(|_| "zinit".into());
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|dir| dir.join(daemon::SERVER));
    let mut found = iter::once(me.with_file_name(daemon::SERVER)).chain(in_path);
    found.find(|it| it.is_file()).unwrap_or(me)
}

/// Whether it is so before the deadline. Nothing tells us when a socket appears, so it is looked for.
fn wait_until(deadline: Deadline, is_so: impl Fn() -> bool) -> bool {
    let Ok(nobody) = Interrupt::new() else {
        return is_so();
    };
    while !is_so() {
        if deadline.has_passed() || nobody.sleep(Duration::from_millis(5)).is_err() {
            return false;
        }
    }
    true
}

//! `zinit completions`: lets a shell complete what is typed after `zinit`, names of services included.
//!
//! What it prints asks this program for each completion (`is_asked`, `answer`), so that it knows the
//! commands of the version that is there, and what the server has just now.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Arg, Args, Command, CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use serde_json::{Value, json};
use zinit_host::home::Home;
use zinit_host::hooks::HOOKS;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Line, Outcome};
use crate::render::{self, items, word};

/// Names the shell that asks.
const VARIABLE: &str = "ZINIT_COMPLETE";

/// How long somebody who presses a key waits for a server.
const PATIENCE: Duration = Duration::from_millis(300);

/// The signals that services are sent.
const SIGNALS: [&str; 10] = [
    "SIGTERM", "SIGKILL", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGSTOP",
    "SIGCONT", "SIGWINCH",
];

/// What `zinit completions` is told.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(&self) -> Outcome {
        let shell = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell = shells.completer(shell).expect("it is one of those that are built in");
        let mut script = Vec::new();
        let written = shell.write_registration(VARIABLE, "zinit", "zinit", &program(), &mut script);
        written.map_err(|it| Refusal::new(Kind::Internal, it.to_string()))?;
        render::print(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}

/// What a shell calls to ask: this program as it was called, which is found from anywhere.
fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if called.components().count() == 1 {
        return called.to_string_lossy().into_owned();
    }
    std::env::current_exe().unwrap_or(called).to_string_lossy().into_owned()
}

/// Whether this is a shell that asks what may follow.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|it| !it.is_empty())
}

/// Tells a shell what may follow.
pub(crate) fn answer() -> ExitCode {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| taught(Line::command(), services)).var(VARIABLE);
    match asked.try_complete(std::env::args_os(), here.as_deref()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = error.print();
            ExitCode::FAILURE
        }
    }
}

/// Who knows what may be named.
type Names = fn() -> Vec<CompletionCandidate>;

/// The table of commands, with those who know the names: an argument tells by its own name what it takes.
fn taught(command: Command, names: Names) -> Command {
    let names = match command.get_name() {
        "xinit" => proxies,
        "policy" => hooks,
        _ => names,
    };
    command.mut_args(|it| knowing(it, names)).mut_subcommands(|it| taught(it, names))
}

fn knowing(it: Arg, names: Names) -> Arg {
    match it.get_id().as_str() {
        "name" | "names" => it.add(ArgValueCandidates::new(names)),
        "service" => it.add(ArgValueCandidates::new(services)),
        "signal" => it.add(ArgValueCandidates::new(|| SIGNALS.map(Into::into).into())),
        _ => it,
    }
}

fn hooks() -> Vec<CompletionCandidate> {
    HOOKS.iter().map(|it| it.name.into()).collect()
}

fn services() -> Vec<CompletionCandidate> {
    let all = told("service.status_all");
    let one = |it: &Value| {
        let state = word(it, "state").to_owned();
        CompletionCandidate::new(word(it, "name")).help(Some(state.into()))
    };
    items(&all).map(one).collect()
}

fn proxies() -> Vec<CompletionCandidate> {
    let all = told("xinit.list");
    items(&all).map(|it| it.as_str().unwrap_or_else(|| word(it, "name")).into()).collect()
}

/// What the server answers; nothing if none does, or not soon.
fn told(method: &'static str) -> Value {
    let Some(socket) = socket() else { return Value::Null };
    let (answer, answered) = channel();
    thread::spawn(move || {
        let ask = |socket: &Path| Client::connect(socket)?.call_within(method, json!([]), PATIENCE);
        // Nobody may wait any more.
        let _ = answer.send(ask(&socket).unwrap_or_default());
    });
    answered.recv_timeout(PATIENCE).unwrap_or_default()
}

/// The socket that is meant: the one in the line that is being written, or the usual one.
fn socket() -> Option<PathBuf> {
    let mut line = std::env::args_os().skip_while(|it| it != "--");
    while let Some(it) = line.next() {
        if it == "-s" || it == "--socket" {
            return line.next().map(PathBuf::from);
        }
        if let Some(path) = it.to_str().and_then(|it| it.strip_prefix("--socket=")) {
            return Some(path.into());
        }
    }
    Home::from_env().ok().map(|it| it.socket)
}

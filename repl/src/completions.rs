//! `zinit completions`: what a shell completes after `zinit`. The shell asks `zinit` itself on each Tab, so
//! that it offers the services that there are now.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Args, CommandFactory, ValueEnum, ValueHint};
use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};
use serde_json::{Value, json};
use zinit_host::home::Home;
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Line, Outcome};
use crate::render::{items, print, word};

/// What a shell sets when it asks.
const ASKED_BY: &str = "ZINIT_COMPLETE";

/// How long somebody who has pressed Tab waits for a server.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) const EXAMPLES: &str = "\
Examples:
  source <(zinit completions bash)        in ~/.bashrc
  source <(zinit completions zsh)         in ~/.zshrc, after compinit
  zinit completions fish | source         in ~/.config/fish/config.fish";

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
    pub(crate) fn run(&self, _: &Context) -> Outcome {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let shells = Shells::builtins();
        let shell = shells.completer(name).expect("it is one of them");
        let mut script = Vec::new();
        shell
            .write_registration(ASKED_BY, "zinit", "zinit", "zinit", &mut script)
            .expect("there is room in memory");
        print(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}

/// Answers a shell, and ends the process, if it is one that asks.
pub(crate) fn answer() {
    if std::env::var_os(ASKED_BY).is_some() {
        CompleteEnv::with_factory(table).var(ASKED_BY).bin("zinit").complete();
    }
}

/// The commands, whose arguments are completed by what they are called.
fn table() -> clap::Command {
    completed(Line::command(), services)
}

fn completed(
    command: clap::Command,
    names: fn(&OsStr) -> Vec<CompletionCandidate>,
) -> clap::Command {
    let command = command.mut_args(|arg| {
        let called = arg.get_value_names().and_then(|it| it.first()).map(|it| it.to_string());
        match called.as_deref() {
            Some("NAME") => arg.add(ArgValueCompleter::new(names)),
            Some("SERVICE") => arg.add(ArgValueCompleter::new(services)),
            Some("SIGNAL") => arg.add(ArgValueCompleter::new(signals)),
            Some("FILE" | "PATH" | "POLICY" | "JOURNAL") => arg.value_hint(ValueHint::AnyPath),
            Some("DIR") => arg.value_hint(ValueHint::DirPath),
            _ => arg,
        }
    });
    command.mut_subcommands(|it| {
        let names = match it.get_name() {
            "xinit" => proxies,
            "policy" => hooks,
            _ => names,
        };
        completed(it, names)
    })
}

fn services(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, "service.list")
}

fn proxies(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, "xinit.list")
}

/// The names that a server lists. Where there is none, there is nothing to offer.
fn candidates(begun: &OsStr, method: &str) -> Vec<CompletionCandidate> {
    let names = || {
        let home = Home::from_env().ok()?;
        Client::connect(&home.socket).ok()?.call_within(method, json!([]), PATIENCE).ok()
    };
    let all = names().unwrap_or_default();
    let named = |it: &Value| it.as_str().unwrap_or_else(|| word(it, "name")).to_owned();
    beginning_so(begun, items(&all).map(named))
}

fn hooks(begun: &OsStr) -> Vec<CompletionCandidate> {
    beginning_so(begun, zinit_host::hooks::HOOKS.iter().map(|it| it.name.to_owned()))
}

fn signals(begun: &OsStr) -> Vec<CompletionCandidate> {
    beginning_so(begun, nix::sys::signal::Signal::iterator().map(|it| it.as_str().to_owned()))
}

fn beginning_so(begun: &OsStr, all: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    all.filter(|it| it.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}

//! The table of commands: what `zinit` understands, and what each does.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use zinit_host::home::Home;
use zinit_host::refusal::{Kind, Refusal, nearest};
use zinit_host::rpc::client::Client;

use crate::render::{self, Paint};
use crate::{
    check, completions, doc, events, halt, logs, policy, reload, replay, run, server, shell,
    simulate, test, tree, usage, watch, why, xinit,
};

/// Keeps processes running, and runs scripts that say how.
#[derive(Debug, Parser)]
#[command(name = "zinit", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
#[command(override_usage = "zinit [OPTIONS] [COMMAND | FILE.rhai [ARGS]... | DIR/]")]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Runs this script
    #[arg(short = 'c', long = "command", value_name = "SCRIPT", conflicts_with = "stdin")]
    pub(crate) script: Option<String>,
    /// Runs the script that comes from standard input
    #[arg(short = 'i', long = "stdin")]
    pub(crate) stdin: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What holds for every command.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// The server's socket [default: var/zinit.sock in ZINIT_HOME or ~/hero]
    #[arg(short = 's', long, value_name = "PATH", global = true)]
    pub(crate) socket: Option<PathBuf>,
    /// Prints the server's answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Starts a server in the background first, if none answers
    #[arg(long, global = true)]
    pub(crate) start: bool,
    /// Where a server that is started finds its services
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) config_dir: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
A FILE.rhai is run as a script, a DIR/ runs all scripts in it, sorted by name.
Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no server, 4 timed out, 130 interrupted.";

/// One command. Its doc comment is its help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows whether the server answers
    Ping,
    /// Lists all services
    #[command(visible_alias = "ls")]
    List,
    /// Shows what is known of services
    Status(Names),
    /// Starts services, and waits a few seconds for them to be up
    Start(watch::Start),
    /// Stops services, and waits until nothing of them runs
    Stop(watch::Stop),
    /// Stops services and starts them again
    Restart(Which),
    /// Stops services, forgets them and removes their files
    Delete(watch::Delete),
    /// Reads the files of services again and acts on what has changed
    Reload(reload::Reload),
    /// Looks for mistakes in scripts, service files and policy, without a server
    #[command(after_help = check::EXAMPLES)]
    Check(check::Check),
    /// Runs the tests of a policy in virtual time, without a server
    Test(test::Test),
    /// Shows what the services would go through under the policy with faults, without a server
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::Simulate),
    /// Shows who decides what, and helps to decide it differently
    Policy {
        #[command(subcommand)]
        policy: policy::Policy,
    },
    /// Tells why services are where they are, down to the first cause
    Why(Names),
    /// Shows which services need which, with their states
    Tree(tree::Tree),
    /// Shows what happened lately
    Events(events::Events),
    /// Asks again what was decided, under the same policy or another one
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::Replay),
    /// Sends a signal to the processes of a service
    Kill {
        /// The service
        name: String,
        /// The signal
        #[arg(default_value = "SIGTERM")]
        signal: String,
    },
    /// Shows the CPU time and memory that services use
    Stats(usage::Stats),
    /// Shows what services wrote
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::Logs),
    /// Says which services start when somebody connects, and where
    #[command(after_help = xinit::EXAMPLES)]
    Xinit {
        #[command(subcommand)]
        xinit: xinit::Xinit,
    },
    /// Runs a script
    Run {
        /// The script, or a directory of scripts
        file: PathBuf,
        /// What the script finds in `args`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Opens a prompt for scripts; so does `zinit` alone
    Repl(shell::Shell),
    /// Tells what functions scripts can call, and what they do
    Doc(doc::Doc),
    /// Prints what lets a shell complete commands and names of services
    Completions(completions::Completions),
    /// Starts, stops, restarts or shows the server
    Server {
        #[command(subcommand)]
        action: server::Action,
    },
    /// Stops all services, then the server
    Shutdown,
    /// Stops all services, then switches the machine off
    Poweroff(halt::Halt),
    /// Stops all services, then reboots the machine
    Reboot(halt::Halt),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Args, Debug)]
pub(crate) struct Names {
    /// The services
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// The services that are meant, by name or by pattern.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Services: names, globs such as 'web-*', or groups such as @jobs
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All services
    #[arg(long)]
    pub(crate) all: bool,
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) home: Home,
    pub(crate) flags: Flags,
    pub(crate) paint: Paint,
}

/// How a command ended: with an exit code of its own, or refused.
pub(crate) type Outcome = Result<u8, Refusal>;

impl Flags {
    /// Says no in the form that is wanted, and returns the exit code that goes with it.
    pub(crate) fn complain(&self, refusal: &Refusal) -> u8 {
        if self.json { render::complain_as_json(refusal) } else { render::complain(refusal) }
    }
}

impl Context {
    pub(crate) fn connect(&self) -> Result<Client, Refusal> {
        Client::connect(&self.home.socket)
    }

    /// Prints the answer as JSON if that is wanted, else what `text` makes of it.
    pub(crate) fn show(&self, answer: &Value, text: impl FnOnce(Paint) -> String) -> Outcome {
        let out = if self.flags.json { format!("{answer:#}\n") } else { text(self.paint) };
        render::print(&out);
        Ok(0)
    }

    /// Does something for each service; the first that is refused does not keep the others from it.
    pub(crate) fn each(
        &self,
        names: &[String],
        mut act: impl FnMut(&mut Client, &str) -> Outcome,
    ) -> Outcome {
        let mut client = self.connect()?;
        let mut worst = 0;
        for name in names {
            worst = worst.max(match act(&mut client, name) {
                Ok(code) => code,
                Err(refusal) => self.flags.complain(&refusal),
            });
        }
        Ok(worst)
    }

    pub(crate) fn done(&self, what: &str, name: &str) -> Outcome {
        let answer = json!({ "name": name, "done": what.to_lowercase() });
        self.show(&answer, |_| format!("{what} service: {name}\n"))
    }
}

impl Command {
    pub(crate) fn run(self, cx: &Context) -> Outcome {
        match self {
            Self::Ping => ping(cx),
            Self::List => list(cx),
            Self::Status(names) => {
                let mut proxies = None;
                cx.each(&names.names, |client, name| {
                    let mut status = client.call("service.status", json!([name]))?;
                    if !cx.flags.json {
                        let proxies = proxies.get_or_insert_with(|| xinit::all(client));
                        status["listens"] = xinit::listens(proxies, name).into();
                    }
                    cx.show(&status, |paint| render::status(&status, paint))
                })
            }
            Self::Start(start) => start.run(cx),
            Self::Restart(which) => watch::restart(cx, &which),
            Self::Stop(stop) => stop.run(cx),
            Self::Delete(delete) => delete.run(cx),
            Self::Reload(reload) => reload.run(cx),
            Self::Check(check) => check.run(cx),
            Self::Test(test) => test.run(cx),
            Self::Simulate(simulate) => simulate.run(cx),
            Self::Policy { policy } => policy.run(cx),
            Self::Why(names) => why::run(cx, &names.names),
            Self::Tree(tree) => tree.run(cx),
            Self::Events(events) => events.run(cx),
            Self::Replay(replay) => replay.run(cx),
            Self::Kill { name, signal } => kill(cx, &name, &signal),
            Self::Stats(stats) => stats.run(cx),
            Self::Logs(logs) => logs.run(cx),
            Self::Xinit { xinit } => xinit.run(cx),
            Self::Run { file, args } => run::path(cx, &file, &args),
            Self::Repl(shell) => shell.run(cx),
            Self::Doc(doc) => doc.run(cx),
            Self::Completions(completions) => completions.run(),
            Self::Server { action } => action.run(cx),
            Self::Shutdown => shutdown(cx),
            Self::Poweroff(halt) => halt.run(cx, halt::Way::Poweroff),
            Self::Reboot(halt) => halt.run(cx, halt::Way::Reboot),
            Self::Other(words) => other(cx, &words),
        }
    }
}

fn ping(cx: &Context) -> Outcome {
    let pong = cx.connect()?.call_within("system.ping", json!([]), Duration::from_secs(5))?;
    cx.show(&pong, |_| {
        let fact = |key: &str| pong[key].as_str().unwrap_or("?").to_owned();
        format!("Server: {} (version {})\n", fact("message"), fact("version"))
    })
}

fn list(cx: &Context) -> Outcome {
    let all = cx.connect()?.call("service.status_all", json!([]))?;
    cx.show(&all, |paint| render::list(&all, paint))
}

fn kill(cx: &Context, name: &str, signal: &str) -> Outcome {
    cx.connect()?.call("service.kill", json!([name, signal]))?;
    let answer = json!({ "name": name, "done": "signalled", "signal": signal });
    cx.show(&answer, |_| format!("Sent {signal} to service: {name}\n"))
}

fn shutdown(cx: &Context) -> Outcome {
    let answer = cx.connect()?.call("system.shutdown", json!([]))?;
    cx.show(&answer, |_| "Server is shutting down\n".to_owned())
}

/// What is no command may be a script.
fn other(cx: &Context, words: &[String]) -> Outcome {
    let Some((word, args)) = words.split_first() else {
        return Ok(2);
    };
    let path = PathBuf::from(word);
    if path.exists() {
        return run::path(cx, &path, args);
    }
    if word.contains('/') || word.contains('.') {
        return Err(Refusal::new(Kind::Storage, format!("there is no file {word}")));
    }
    cx.flags.complain(&unknown_command(word));
    Ok(2)
}

fn unknown_command(word: &str) -> Refusal {
    let table = <Line as clap::CommandFactory>::command();
    let known: Vec<&str> = table.get_subcommands().map(clap::Command::get_name).collect();
    let refusal = Refusal::new(
        Kind::BadArgument,
        format!("`{word}` is neither a command nor a script that is there"),
    );
    match nearest(word, known.into_iter()) {
        Some(near) => refusal.hint(format!("did you mean `zinit {near}`?")),
        None => refusal.hint("`zinit --help` lists the commands"),
    }
}

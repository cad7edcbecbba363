//! The `zinit` command: asks a server, and runs scripts.
//!
//! Under the name `zinit-server` it is the server. `commands` is the table of what it understands,
//! `watch` starts and stops services and stays with them, `usage` measures them,
//! `why`, `tree` and `events` explain, `replay` asks again what was decided, `logs` shows what they wrote
//! (`when` reads times of day), `reload` and `check` look at their files, `policy` at what decides
//! (`highlight` colours it), `test` runs the tests of a policy, `simulate` lets services fail in virtual
//! time, `run` runs scripts, `shell` is the prompt (`line` edits its lines, `show` draws what comes of
//! them), `doc` tells what scripts can say, `completions` lets shells complete, `server` starts and stops
//! the server, `halt` the machine, `render` and
//! `progress` draw. A command that needs no script makes no engine.

mod check;
mod commands;
mod completions;
mod doc;
mod events;
mod halt;
mod highlight;
mod line;
mod logs;
mod policy;
mod progress;
mod reload;
mod render;
mod replay;
mod run;
mod server;
mod shell;
mod show;
mod simulate;
mod test;
mod tree;
mod usage;
mod watch;
mod when;
mod why;
mod xinit;

use std::process::ExitCode;

use clap::Parser;
use zinit_host::home::Home;
use zinit_host::refusal::Refusal;

use commands::{Command, Context, Flags, Line, Outcome};

fn main() -> ExitCode {
    if zinit_host::entry::is_meant() {
        return zinit_host::entry::main();
    }
    if completions::is_asked() {
        return completions::answer();
    }
    let Line { flags, script, stdin, command } = Line::parse();
    let code = match home(&flags) {
        Ok(home) => {
            let cx = Context { home, flags, paint: render::Paint::for_stdout() };
            work(&cx, script, stdin, command).unwrap_or_else(|it| cx.flags.complain(&it))
        }
        Err(refusal) => flags.complain(&refusal),
    };
    ExitCode::from(code)
}

fn work(cx: &Context, script: Option<String>, stdin: bool, command: Option<Command>) -> Outcome {
    if cx.flags.start {
        server::ensure(cx)?;
    }
    let args = match &command {
        Some(Command::Other(args)) => args.clone(),
        _ => Vec::new(),
    };
    match (script, stdin, command) {
        (Some(script), ..) => run::text(cx, &script, &args),
        (None, true, _) => run::standard_input(cx, &args),
        (None, false, None) if shell::is_watched() => shell::Shell::default().run(cx),
        (None, false, None) if cx.flags.start => Ok(0),
        (None, false, None) => {
            render::print(HELP);
            Ok(0)
        }
        (None, false, Some(command)) => command.run(cx),
    }
}

const HELP: &str = "\
Usage: zinit COMMAND, zinit FILE.rhai or zinit -c 'SCRIPT'
Use --help for usage information
";

fn home(flags: &Flags) -> Result<Home, Refusal> {
    let mut home = Home::from_env()?;
    if let Some(socket) = &flags.socket {
        home.socket.clone_from(socket);
    }
    Ok(home)
}

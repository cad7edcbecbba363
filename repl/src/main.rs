//! The `zinit` command: asks a server, and runs scripts.
//!
//! `commands` is the table of what it understands, `run` runs scripts, `server` starts and stops the
//! server, `render` draws. A command that needs no script makes no engine: it is one call.

mod commands;
mod render;
mod run;
mod server;

use std::process::ExitCode;

use clap::Parser;
use zinit_host::home::Home;
use zinit_host::refusal::Refusal;

use commands::{Command, Context, Line, Outcome};

fn main() -> ExitCode {
    let outcome = work(Line::parse());
    ExitCode::from(outcome.unwrap_or_else(|refusal| render::complain(&refusal)))
}

fn work(line: Line) -> Outcome {
    let cx = context(line.flags)?;
    if cx.flags.start {
        server::ensure(&cx)?;
    }
    let args = match &line.command {
        Some(Command::Other(args)) => args.as_slice(),
        _ => &[],
    };
    match (line.script, line.stdin, line.command.as_ref()) {
        (Some(script), ..) => run::text(&cx, &script, args),
        (None, true, _) => run::standard_input(&cx, args),
        (None, false, None) if cx.flags.start => Ok(0),
        (None, false, None) => {
            render::print(HELP);
            Ok(0)
        }
        (None, false, Some(_)) => line.command.map_or(Ok(0), |it| it.run(&cx)),
    }
}

const HELP: &str = "\
Usage: zinit COMMAND, zinit FILE.rhai or zinit -c 'SCRIPT'
Use --help for usage information
";

fn context(flags: commands::Flags) -> Result<Context, Refusal> {
    let mut home = Home::from_env()?;
    if let Some(socket) = &flags.socket {
        home.socket.clone_from(socket);
    }
    Ok(Context {
        home,
        flags,
        paint: render::Paint::for_stdout(),
    })
}

//! Runs scripts: files, directories of them, and texts.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, process, thread};

use zinit_host::engine;
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::script::{self, Ended, Script};

use crate::commands::{Context, Outcome};
use crate::render;

/// The exit code of what Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// How long a script that was interrupted may still cling to something that cannot be.
const GRACE: Duration = Duration::from_millis(500);

/// Runs a script file, or all that are in a directory.
pub(crate) fn path(cx: &Context, path: &Path, args: &[String]) -> Outcome {
    let interrupt = interrupt()?;
    if path.is_dir() {
        return directory(cx, &interrupt, path, args);
    }
    file(cx, &interrupt, path, args)
}

/// Runs a script that was given on the command line.
pub(crate) fn text(cx: &Context, text: &str, args: &[String]) -> Outcome {
    Ok(run(cx, &interrupt()?, &Script { name: "-c", text, args }))
}

/// Runs the script that comes from standard input.
pub(crate) fn standard_input(cx: &Context, args: &[String]) -> Outcome {
    let mut text = String::new();
    stdin().read_to_string(&mut text).map_err(|error| {
        Refusal::new(Kind::Storage, format!("cannot read a script from standard input: {error}"))
    })?;
    Ok(run(cx, &interrupt()?, &Script { name: "stdin", text: &text, args }))
}

fn file(cx: &Context, interrupt: &Arc<Interrupt>, path: &Path, args: &[String]) -> Outcome {
    let text = script::read(path)?;
    Ok(run(cx, interrupt, &Script { name: &path.to_string_lossy(), text: &text, args }))
}

/// Runs one after the other. One that fails does not keep the next from running.
fn directory(cx: &Context, interrupt: &Arc<Interrupt>, dir: &Path, args: &[String]) -> Outcome {
    let mut worst = 0;
    for path in scripts(dir)? {
        render::print(&format!("Running: {}\n", path.display()));
        let code = file(cx, interrupt, &path, args).unwrap_or_else(|it| cx.flags.complain(&it));
        if code == INTERRUPTED {
            return Ok(code);
        }
        worst = worst.max(u8::from(code != 0));
    }
    Ok(worst)
}

fn scripts(dir: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let unreadable = |error: std::io::Error| {
        Refusal::new(Kind::Storage, format!("cannot read {}: {error}", dir.display()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == "rhai") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn run(cx: &Context, interrupt: &Arc<Interrupt>, script: &Script<'_>) -> u8 {
    let socket = &cx.home.socket;
    let ended = engine::on_deep_stack(|| script::run(&Session::new(socket, interrupt), script));
    match ended {
        Ok(Ended::Done(value)) => {
            if let Some(value) = value {
                render::print(&format!("=> {value}\n"));
            }
            0
        }
        Ok(Ended::Exited(code)) => code,
        Ok(Ended::Interrupted) => INTERRUPTED,
        Ok(Ended::Failed(refusal)) => cx.flags.complain(&refusal),
        Err(_) => cx.flags.complain(&Refusal::new(Kind::Internal, "the script engine broke down")),
    }
}

/// Ctrl-C from now on ends the script; and the process, should the script cling to something that
/// cannot be interrupted, such as a read from a terminal.
fn interrupt() -> Result<Arc<Interrupt>, Refusal> {
    let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
    let interrupt = Interrupt::new().map_err(failed)?;
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, and nothing to wait for")]
    let give_up = || {
        thread::sleep(GRACE);
        process::exit(INTERRUPTED.into());
    };
    interrupt.on_ctrl_c(give_up).map_err(failed)?;
    Ok(interrupt)
}

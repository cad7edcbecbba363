//! Where texts come from: an editor of lines, a terminal that cannot be drawn on, or a pipe.

use std::fs;
use std::io::{self, Write as _, stdin, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use nix::poll::PollFlags;
use reedline::{FileBackedHistory, Reedline, SearchDirection, SearchQuery, Signal};
use zinit_host::interrupt::{Deadline, Interrupt, Woken, wait};
use zinit_host::refusal::{Kind, Refusal};

use super::lexicon::Shared;
use super::look::Look;
use super::prompt::{MORE, Prompt};
use crate::line::{self, Keys};

/// How many texts the history keeps.
const HISTORY: usize = 10_000;

/// What somebody does at the prompt.
pub(crate) enum Said {
    /// Says a whole text.
    Text(String),
    /// Gives up the text.
    Nothing,
    /// Leaves.
    Bye,
}

/// Where texts come from.
pub(crate) enum Lines {
    Editor(Box<Reedline>),
    /// Whether to prompt, and what has been read but not said.
    Plain {
        prompts: bool,
        interrupt: Arc<Interrupt>,
        read: Vec<u8>,
    },
}

impl Lines {
    /// An editor whose history is in this file.
    pub(crate) fn editor(history: &Path, keys: Keys, lexicon: &Shared, look: Look) -> Self {
        if let Some(dir) = history.parent() {
            // Without it there is no history, which is told nobody: a home may be read-only.
            let _ = fs::create_dir_all(dir);
        }
        let editor = match FileBackedHistory::with_file(HISTORY, history.to_owned()) {
            Ok(history) => Reedline::create().with_history(Box::new(history)),
            Err(_) => Reedline::create(),
        };
        let editor = editor.with_history_exclusion_prefix(Some(" ".to_owned()));
        Self::Editor(Box::new(line::equipped(editor, keys, lexicon, look)))
    }

    /// Lines as they come.
    pub(crate) fn plain(prompts: bool, interrupt: &Arc<Interrupt>) -> Self {
        Self::Plain { prompts, interrupt: Arc::clone(interrupt), read: Vec::new() }
    }

    /// Whether an editor shows what can be said.
    pub(crate) fn are_edited(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    /// Lets other keys edit.
    pub(crate) fn edit_by(&mut self, keys: Keys) {
        if let Self::Editor(editor) = self {
            let now = std::mem::replace(&mut **editor, Reedline::create());
            **editor = now.with_edit_mode(line::edit_mode(keys));
        }
    }

    /// The next text.
    pub(crate) fn next(&mut self, prompt: &Prompt) -> Result<Said, Refusal> {
        match self {
            Self::Editor(editor) => {
                let signal = editor.read_line(prompt).map_err(failed)?;
                // Who is killed now has a history all the same.
                let _ = editor.sync_history();
                Ok(match signal {
                    Signal::Success(text) => Said::Text(text),
                    Signal::CtrlD => Said::Bye,
                    _ => Said::Nothing,
                })
            }
            Self::Plain { prompts, interrupt, read } => text(prompt, *prompts, interrupt, read),
        }
    }

    /// What was said, oldest first, if that is known.
    pub(crate) fn history(&self) -> Vec<String> {
        let Self::Editor(editor) = self else { return Vec::new() };
        let all = editor.history().search(SearchQuery::everything(SearchDirection::Forward, None));
        all.unwrap_or_default().into_iter().map(|it| it.command_line).collect()
    }
}

/// Lines until they are a whole text.
fn text(
    prompt: &Prompt,
    prompts: bool,
    interrupt: &Interrupt,
    read: &mut Vec<u8>,
) -> Result<Said, Refusal> {
    let mut text = String::new();
    loop {
        if prompts {
            let prompt = if text.is_empty() { prompt.text() } else { MORE.to_owned() };
            let mut out = stdout().lock();
            let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        }
        match line(interrupt, read).map_err(failed)? {
            Read::Line(line) => text += &line,
            Read::Interrupted => {
                interrupt.clear();
                println!();
                return Ok(Said::Nothing);
            }
            Read::End if text.is_empty() => return Ok(Said::Bye),
            Read::End => return Ok(Said::Text(text)),
        }
        if line::is_whole(&text) {
            return Ok(Said::Text(text));
        }
    }
}

enum Read {
    Line(String),
    Interrupted,
    End,
}

/// The next line. What comes after it stays in `read`.
fn line(interrupt: &Interrupt, read: &mut Vec<u8>) -> io::Result<Read> {
    loop {
        if let Some(end) = read.iter().position(|it| *it == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            return Ok(Read::Line(String::from_utf8_lossy(&line).into_owned()));
        }
        let input = stdin();
        let ready = Some((input.as_fd(), PollFlags::POLLIN));
        if wait(ready, Some(interrupt), Deadline::NEVER)? == Woken::Interrupted {
            return Ok(Read::Interrupted);
        }
        let mut chunk = [0; 4096];
        match nix::unistd::read(input.as_fd(), &mut chunk)? {
            0 if read.is_empty() => return Ok(Read::End),
            0 => read.push(b'\n'),
            count => read.extend_from_slice(&chunk[..count]),
        }
    }
}

fn failed(error: impl Into<io::Error>) -> Refusal {
    Refusal::new(Kind::Internal, format!("cannot read from the terminal: {}", error.into()))
}

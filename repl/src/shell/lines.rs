//! Where texts come from: an editor of lines, a terminal that cannot be drawn on, or a pipe.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;
use reedline::{FileBackedHistory, Reedline, SearchDirection, SearchQuery, Signal};
use zinit_host::interrupt::{Deadline, Interrupt, Woken, wait};
use zinit_host::refusal::{Kind, Refusal};

use super::lexicon::Shared;
use super::look::Look;
use super::prompt::{MORE, Prompt};
use crate::line::{self, Growing, Keys};
use crate::render;

/// How many texts the history keeps.
const HISTORY: usize = 10_000;

/// Who may read and write the history: its owner.
const PRIVATE: u32 = 0o600;

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
    /// The editor, and whether it was told that there is no history.
    Editor(Box<Reedline>, bool),
    /// Whether to prompt, and what has been read but not said.
    Plain { prompts: bool, interrupt: Arc<Interrupt>, read: Vec<u8> },
}

impl Lines {
    /// An editor whose history is in this file.
    pub(crate) fn editor(history: &Path, keys: Keys, lexicon: &Shared, look: Look) -> Self {
        let opened = prepared(history)
            .and_then(|()| Ok(FileBackedHistory::with_file(HISTORY, history.to_owned())?));
        let (editor, is_told) = match opened {
            Ok(history) => (Reedline::create().with_history(Box::new(history)), false),
            Err(error) => {
                warn_of(&format!("{}", history.display()), &error);
                (Reedline::create(), true)
            }
        };
        let editor = editor.with_history_exclusion_prefix(Some(" ".to_owned()));
        Self::Editor(Box::new(line::equipped(editor, keys, lexicon, look)), is_told)
    }

    /// Lines as they come.
    pub(crate) fn plain(prompts: bool, interrupt: &Arc<Interrupt>) -> Self {
        Self::Plain { prompts, interrupt: Arc::clone(interrupt), read: Vec::new() }
    }

    /// Whether an editor shows what can be said.
    pub(crate) fn are_edited(&self) -> bool {
        matches!(self, Self::Editor(..))
    }

    /// Lets other keys edit.
    pub(crate) fn edit_by(&mut self, keys: Keys) {
        if let Self::Editor(editor, _) = self {
            let now = std::mem::replace(&mut **editor, Reedline::create());
            **editor = now.with_edit_mode(line::edit_mode(keys));
        }
    }

    /// The next text.
    pub(crate) fn next(&mut self, prompt: &Prompt) -> Result<Said, Refusal> {
        match self {
            Self::Editor(editor, is_told) => {
                let now = std::mem::replace(&mut **editor, Reedline::create());
                **editor = now.with_transient_prompt(Box::new(prompt.said()));
                let signal = editor.read_line(prompt).map_err(failed)?;
                // Who is killed now has a history all the same.
                if let Err(error) = editor.sync_history()
                    && !std::mem::replace(is_told, true)
                {
                    warn_of("it", &error);
                }
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
        let Self::Editor(editor, _) = self else { return Vec::new() };
        let all = editor.history().search(SearchQuery::everything(SearchDirection::Forward, None));
        all.unwrap_or_default().into_iter().map(|it| it.command_line).collect()
    }
}

fn warn_of(file: &str, error: &io::Error) {
    render::warn(&format!("there is no history after this session: cannot write {file}: {error}"));
}

/// Makes a file that only the user may read: what is typed may be secret. One that is no text is moved aside,
/// since it would be of no use in any session.
fn prepared(file: &Path) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    // Whoever opens a pipe would wait for its other end.
    if fs::metadata(file).is_ok_and(|it| !it.is_file()) {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(PRIVATE);
    let mut opened = options.open(file)?;
    if opened.metadata()?.permissions().mode() & 0o077 != 0 {
        // Somebody else's file is not ours to close.
        let _ = opened.set_permissions(Permissions::from_mode(PRIVATE));
    }
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes)?;
    if str::from_utf8(&bytes).is_err() {
        let aside = file.with_added_extension("bad");
        fs::rename(file, &aside)?;
        options.open(file)?;
        let (file, aside) = (file.display(), aside.display());
        render::warn(&format!("{file} is no text; it is {aside} now, and the history begins anew"));
    }
    Ok(())
}

/// Lines until they are a whole text.
fn text(
    prompt: &Prompt,
    prompts: bool,
    interrupt: &Interrupt,
    read: &mut Vec<u8>,
) -> Result<Said, Refusal> {
    // What Ctrl-C has ended before this is over.
    interrupt.clear();
    let mut text = Growing::default();
    loop {
        if prompts {
            let prompt = if text.is_empty() { prompt.text() } else { MORE.to_owned() };
            let mut out = stdout().lock();
            let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        }
        match line(interrupt, read).map_err(failed)? {
            Read::Line(line) => text.add(&line),
            Read::Interrupted => {
                interrupt.clear();
                println!();
                return Ok(Said::Nothing);
            }
            Read::End if text.is_empty() => return Ok(Said::Bye),
            Read::End => return Ok(Said::Text(text.into_text())),
        }
        let goes_on = !prompts && goes_on(read).map_err(failed)?;
        if !goes_on && text.is_whole() {
            return Ok(Said::Text(text.into_text()));
        }
    }
}

enum Read {
    Line(String),
    Interrupted,
    End,
}

/// Whether the next line goes on with a chain of calls, as far as it is there already: whoever writes to a
/// pipe may wait for an answer first.
fn goes_on(read: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        if let Some(first) = read.trim_ascii_start().first() {
            return Ok(*first == b'.');
        }
        let input = stdin();
        let ready = Some((input.as_fd(), PollFlags::POLLIN));
        let is_there = wait(ready, None, Deadline::within(Duration::ZERO))? == Woken::Ready;
        if !is_there || fill(read)? == 0 {
            return Ok(false);
        }
    }
}

/// Reads what there is, and says how much.
fn fill(read: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let count = nix::unistd::read(stdin().as_fd(), &mut chunk)?;
    read.extend_from_slice(&chunk[..count]);
    Ok(count)
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
        match fill(read)? {
            0 if read.is_empty() => return Ok(Read::End),
            0 => read.push(b'\n'),
            _ => {}
        }
    }
}

fn failed(error: impl Into<io::Error>) -> Refusal {
    Refusal::new(Kind::Internal, format!("cannot read from the terminal: {}", error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_private_and_one_that_is_no_text_is_moved_aside() {
        let dir = std::env::temp_dir().join(format!("zinit-history-{}", std::process::id()));
        let file = dir.join("history");
        let mode = |file: &Path| fs::metadata(file).expect("a file").permissions().mode() & 0o777;
        prepared(&file).expect("it is made");
        assert_eq!(mode(&file), PRIVATE);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is ours");
        fs::write(&file, "40 + 2\n").expect("it is written");
        prepared(&file).expect("it is of use");
        assert_eq!(
            (mode(&file), fs::read_to_string(&file).ok().as_deref()),
            (PRIVATE, Some("40 + 2\n"))
        );
        fs::write(&file, b"\xff\n").expect("it is written");
        prepared(&file).expect("there is a new one");
        assert_eq!(fs::read(dir.join("history.bad")).expect("it is kept"), b"\xff\n");
        assert_eq!((mode(&file), fs::read(&file).expect("a file")), (PRIVATE, Vec::new()));
        let error = prepared(&dir).expect_err("it is a directory");
        assert_eq!(error.to_string(), "it is no regular file");
        fs::remove_dir_all(&dir).expect("it is ours");
    }
}

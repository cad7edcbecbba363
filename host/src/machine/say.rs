//! What the server says of itself: to its log, or to whoever watches the terminal.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::refusal::Refusal;

/// Says on stderr what somebody should read. Supervision goes on when nobody can: the terminal is
/// gone, the disk is full, or the reader of a pipe is asleep.
pub fn complain(sentence: &str) {
    say(io::stderr(), &format!("zinit-server: {sentence}\n"));
}

/// Writes a text if that is possible now.
pub fn say(mut to: impl io::Write + AsFd, text: &str) {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO) == Ok(1) {
        // What cannot be said is not said.
        let _ = to.write_all(text.as_bytes());
    }
}

/// Says why something was refused, with the line that it is about, and all problems that are in it.
pub fn complain_of(refusal: &Refusal) {
    let problems = refusal.data.get("problems").and_then(Value::as_array);
    for problem in problems.into_iter().flatten() {
        complain(&in_words(
            problem["message"].as_str().unwrap_or_default(),
            problem["source"].as_str(),
            problem["hint"].as_str(),
        ));
    }
    if problems.is_none() {
        let source = refusal.data.get("source").and_then(Value::as_str);
        complain(&in_words(&refusal.message, source, refusal.hint.as_deref()));
    }
}

fn in_words(message: &str, source: Option<&str>, hint: Option<&str>) -> String {
    let mut text = message.to_owned();
    text.extend(source.into_iter().flat_map(|it| ["\n    ", it]));
    text.extend(hint.into_iter().flat_map(|it| ["\n    hint: ", it]));
    text
}

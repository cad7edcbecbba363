//! What the updater says: sentences for people, or JSON for programs.

use std::io::{Write, stderr, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::refusal::Refusal;

/// For whom it is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    /// Says a line to people. Whoever has gone away does not matter.
    pub(crate) fn say(self, line: &str) {
        if !self.json {
            let _ = writeln!(stdout(), "{line}");
        }
    }

    /// Gives programs the answer.
    pub(crate) fn answer(self, answer: &Value) {
        if self.json {
            let _ = writeln!(stdout(), "{answer:#}");
        }
    }

    /// Gives programs one of many answers, on a line of its own.
    pub(crate) fn event(self, event: &Value) {
        if self.json {
            let _ = writeln!(stdout(), "{event}");
        }
    }

    /// Says why not.
    pub(crate) fn complain(self, refusal: &Refusal) {
        let _ = if self.json {
            writeln!(stderr(), "{}", json!({ "error": refusal.as_json() }))
        } else {
            writeln!(stderr(), "error: {refusal}").and_then(|()| match &refusal.hint {
                Some(hint) => writeln!(stderr(), "hint: {hint}"),
                None => Ok(()),
            })
        };
    }

    /// A bar for so many bytes, which only a terminal shows.
    pub(crate) fn bar(self, name: &str, bytes: u64) -> ProgressBar {
        let target =
            if self.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = "{msg:16} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}";
        let style = ProgressStyle::with_template(style).expect("the template is one");
        let bar = ProgressBar::with_draw_target(Some(bytes), target).with_style(style);
        bar.with_message(name.to_owned())
    }
}

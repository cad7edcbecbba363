//! What stands before a line, and what is said before the first one.

use std::borrow::Cow;
use std::time::Duration;

use reedline::{
    Color, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, PromptViMode,
};

use zinit_host::refusal::Kind;

use super::known::Answer;
use super::look::Look;
use crate::render;

/// What stands before the lines of a script that goes on.
pub(crate) const MORE: &str = "   ... ";

/// A prompt, as it is painted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    left: String,
    right: String,
}

impl Prompt {
    /// A prompt that tells of the server, and how long the last text took.
    pub(crate) fn new(answer: &Answer, took: Option<Duration>) -> Self {
        Self {
            left: format!("zinit{}", of(answer)),
            right: took.map(render::took).unwrap_or_default(),
        }
    }

    /// The same for a line that was said: how long another one took does not belong to it.
    pub(crate) fn said(&self) -> Self {
        Self { left: self.left.clone(), right: String::new() }
    }

    /// The prompt as text.
    pub(crate) fn text(&self) -> String {
        format!("{}> ", self.left)
    }
}

/// What is said of the server: `(3 up, 1 failed)`.
fn of(answer: &Answer) -> String {
    let told = match answer {
        Ok(told) => told,
        Err(it) if it.kind == Kind::NoServer => return "(no server)".to_owned(),
        Err(_) => return "(no answer)".to_owned(),
    };
    let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let counts = [count(told.up, "up"), count(told.failed, "failed")];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    if counts.is_empty() { String::new() } else { format!("({})", counts.join(", ")) }
}

/// The box that greets whoever begins, and whether there is a server.
pub(crate) fn banner(answer: &Answer, look: Look) -> String {
    const WIDTH: usize = 59;
    let lines = [
        "               Zinit Interactive Shell",
        "Tab: completion | Up/Down: history | Ctrl+D: exit",
        "Type /help for commands, /functions for API",
    ];
    let signs = if look.is_utf8 {
        ["╔", "╗", "╠", "╣", "╚", "╝", "═", "║"]
    } else {
        ["+", "+", "+", "+", "+", "+", "-", "|"]
    };
    let rule = |left: &str, right: &str| format!("{left}{}{right}\n", signs[6].repeat(WIDTH));
    let (side, width) = (signs[7], WIDTH - 2);
    let line = |text: &str| format!("{side}  {text:<width$}{side}\n");
    let mut text = String::new();
    if look.width > WIDTH + 2 {
        text += &rule(signs[0], signs[1]);
        text += &line(lines[0]);
        text += &rule(signs[2], signs[3]);
        text += &line(lines[1]);
        text += &line(lines[2]);
        text += &rule(signs[4], signs[5]);
    } else {
        text += &format!("Zinit Interactive Shell\n{}\n", lines[2]);
    }
    format!("{text}{}\n", connected(answer))
}

fn connected(answer: &Answer) -> String {
    match answer {
        Ok(told) => format!("Connected to zinit server: pong v{}", told.version),
        Err(refusal) => match &refusal.hint {
            Some(hint) => format!("{}; {hint}", refusal.message),
            None => refusal.message.clone(),
        },
    }
}

impl reedline::Prompt for Prompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.left)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.right)
    }

    fn render_prompt_indicator(&self, mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(match mode {
            PromptEditMode::Vi(PromptViMode::Normal) => ": ",
            _ => "> ",
        })
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(MORE)
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = matches!(search.status, PromptHistorySearchStatus::Failing);
        let what = if failing { "nothing in history" } else { "history" };
        Cow::Owned(format!("({what}: {}) ", search.term))
    }

    fn get_prompt_color(&self) -> Color {
        Color::Green
    }

    fn get_indicator_color(&self) -> Color {
        Color::Green
    }

    fn get_prompt_multiline_color(&self) -> Color {
        Color::DarkGray
    }

    fn get_prompt_right_color(&self) -> Color {
        Color::DarkGray
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::known::Told;
    use zinit_host::refusal::Refusal;

    fn left(up: usize, failed: usize) -> String {
        Prompt::new(&Ok(Told { up, failed, ..Told::default() }), None).text()
    }

    #[test]
    fn a_prompt_counts_what_there_is() {
        assert_eq!(left(0, 0), "zinit> ");
        assert_eq!(left(3, 0), "zinit(3 up)> ");
        assert_eq!(left(0, 1), "zinit(1 failed)> ");
        assert_eq!(left(3, 1), "zinit(3 up, 1 failed)> ");
        let none = Err(Refusal::new(Kind::NoServer, "no server answers"));
        assert_eq!(Prompt::new(&none, None).text(), "zinit(no server)> ");
        let silent = Err(Refusal::new(Kind::TimedOut, "no answer"));
        assert_eq!(Prompt::new(&silent, None).text(), "zinit(no answer)> ");
    }
}

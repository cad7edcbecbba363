//! What may come next, in dim letters after the cursor: the rest of something that was said before, or
//! the parameters that a call still lacks.

use nu_ansi_term::Color;
use reedline::{Hinter, History, SearchQuery};
use zinit_host::policy::pieces::Piece;

use super::complete::{callee, own_params, plain};
use super::desk::Desk;
use super::place::{LONG, Tokens};
use crate::shell::lexicon::{Lexicon, Shared};
use crate::shell::slash;
use crate::show::text::visible_lines;

/// Hints at what may come next. Only what was said before can be taken over.
pub(crate) struct Hints {
    lexicon: Shared,
    /// What would be taken over.
    rest: String,
    /// Nothing here needs it; it goes when the editor goes.
    _desk: Option<Desk>,
}

impl Hints {
    /// Hints from a lexicon, and from the history of the editor.
    pub(crate) fn new(lexicon: &Shared, desk: Option<Desk>) -> Self {
        Self { lexicon: lexicon.clone(), rest: String::new(), _desk: desk }
    }
}

impl Hinter for Hints {
    fn handle(
        &mut self,
        line: &str,
        pos: usize,
        history: &dyn History,
        use_ansi_coloring: bool,
        _cwd: &str,
    ) -> String {
        self.rest.clear();
        // Without dim letters a hint looks as if it had been typed.
        if !use_ansi_coloring || line.is_empty() || pos < line.len() || line.len() > LONG {
            return String::new();
        }
        self.rest = before(line, history).unwrap_or_default();
        let hint = match self.rest.as_str() {
            "" => signature(line, &self.lexicon.open()).unwrap_or_default(),
            rest => rest.to_owned(),
        };
        if hint.is_empty() { hint } else { Color::DarkGray.paint(visible_lines(&hint)).to_string() }
    }

    fn complete_hint(&self) -> String {
        self.rest.clone()
    }

    fn next_hint_token(&self) -> String {
        let blank = self.rest.len() - self.rest.trim_start().len();
        let rest = &self.rest[blank..];
        let is_word = |it: char| it.is_alphanumeric() || it == '_';
        let begins = rest.find(is_word).unwrap_or(rest.len());
        let word = rest[begins..].find(|it| !is_word(it)).unwrap_or(rest.len() - begins);
        self.rest[..blank + begins + word].to_owned()
    }
}

/// How something that was said before goes on after this.
fn before(line: &str, history: &dyn History) -> Option<String> {
    let query = SearchQuery::last_with_prefix(line.to_owned(), history.session());
    let found = history.search(query).ok()?;
    let rest = found.first()?.command_line.get(line.len()..)?;
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// The parameters that the call at the end of a line still lacks, and its end.
fn signature(line: &str, lexicon: &Lexicon) -> Option<String> {
    let line = match slash::parse(line) {
        Ok(None) => line,
        Ok(Some(slash::Slash::Time(text) | slash::Slash::Watch(_, text))) => text,
        _ => return None,
    };
    let tokens = Tokens::of(line);
    let last = tokens.len().checked_sub(1)?;
    let is_text = tokens.piece(last) == Some(Piece::Open);
    let call = tokens.call(if is_text { last } else { last + 1 }).filter(|it| it.is_direct)?;
    let name = tokens.word(call.name);
    let is_method = tokens.before(call.name) == ".";
    let fits = callee(lexicon, &tokens, call);
    let is_begun = last > call.name + 1 && tokens.word(last) != ",";
    let named = lexicon.functions().filter(|it| it.name == name && fits(it));
    let taking = |count: usize| count > call.index || (count == 0 && !is_begun);
    let params = named.map(|it| own_params(it, is_method).map(plain).collect::<Vec<_>>());
    let params = params.filter(|it| taking(it.len())).max_by_key(Vec::len)?;
    let lacking = params.get(call.index + usize::from(is_begun)..).unwrap_or_default();
    let comma = if is_begun && !lacking.is_empty() { ", " } else { "" };
    let quote = tokens.word(last).chars().next().filter(|_| is_text);
    let quote = quote.map(String::from).unwrap_or_default();
    Some(format!("{quote}{comma}{})", lacking.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::types::tests::lexicon;
    use super::*;
    use reedline::{FileBackedHistory, HistoryItem};

    #[test]
    fn a_call_hints_at_the_parameters_that_it_lacks() {
        let told = |line| signature(line, &lexicon());
        for (line, hint) in [
            ("zinit_kill(", "name, signal)"),
            ("zinit_kill(\"web\"", ", signal)"),
            ("zinit_kill(\"web\", ", "signal)"),
            ("zinit_kill(\"we", "\", signal)"),
            ("zinit_list(", ")"),
            ("new_service(\"x\").env(", "key, value)"),
            ("host::tcp(", "address, limit_ms)"),
            ("/time zinit_stop(", "name)"),
        ] {
            assert_eq!(told(line).as_deref(), Some(hint), "{line}");
        }
        for line in ["zinit_kill", "nothing(", "zinit_stop(1, ", "(", "/load f(", "[1, "] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn only_what_was_said_before_can_be_taken_over() {
        let mut history = FileBackedHistory::new(10).expect("a history");
        history.save(HistoryItem::from_command_line("zinit_stop(\"web\")")).expect("it is kept");
        let shared = Shared::default();
        *shared.open() = lexicon();
        let mut hints = Hints::new(&shared, None);
        let mut told = |line: &str, ansi| {
            let shown = hints.handle(line, line.len(), &history, ansi, "");
            (shown.contains("name)"), hints.complete_hint(), hints.next_hint_token())
        };
        assert_eq!(told("zinit_st", true), (false, "op(\"web\")".to_owned(), "op".to_owned()));
        assert_eq!(told("zinit_stop(", true).2, "\"web");
        assert_eq!(told("zinit_status(", true), (true, String::new(), String::new()));
        assert_eq!(told("zinit_status(", false), (false, String::new(), String::new()));
    }
}

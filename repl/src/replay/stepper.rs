//! Goes through the decisions of a replay one by one, and answers questions about each.

use std::io::{IsTerminal, stdin};
use std::rc::Rc;

use reedline::{DefaultPrompt, DefaultPromptSegment, Reedline, Signal};
use zinit_host::policy::{Policy, Sources};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::replay::{Redone, in_words, inputs, scope_of};

use super::head;
use crate::render::{self, Paint};

const HELP: &str = "\
Enter or n  the next decision          p    the one before
d           the next that differs      g N  the one of that number
s           the service before it, as JSON
q           ends
Anything else is an expression: `service`, `event` and `exit` are those of the decision, and all hooks
can be called: restart_delay(service, 3)
";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Move<'a> {
    By(isize),
    To(usize),
    Difference,
    Standing,
    Help,
    Quit,
    Evaluate(&'a str),
}

fn parse(line: &str) -> Move<'_> {
    match line.trim() {
        "" | "n" => Move::By(1),
        "p" => Move::By(-1),
        "d" => Move::Difference,
        "s" => Move::Standing,
        "h" | "?" | "help" => Move::Help,
        "q" | "quit" | "exit()" => Move::Quit,
        other => match other.strip_prefix("g ").map(|it| it.trim().parse()) {
            Some(Ok(number)) => Move::To(number),
            _ => Move::Evaluate(other),
        },
    }
}

/// Where the lines come from: a terminal with a history, or a pipe.
enum Lines {
    Terminal(Box<Reedline>),
    Pipe,
}

impl Lines {
    fn new() -> Self {
        if stdin().is_terminal() {
            Self::Terminal(Box::new(Reedline::create()))
        } else {
            Self::Pipe
        }
    }

    /// The next line; nothing at the end, or when somebody has had enough.
    fn next(&mut self, prompt: &str) -> Result<Option<String>, Refusal> {
        let failed = |it: std::io::Error| Refusal::new(Kind::Internal, it.to_string());
        match self {
            Self::Terminal(editor) => {
                let left = DefaultPromptSegment::Basic(prompt.to_owned());
                let prompt = DefaultPrompt::new(left, DefaultPromptSegment::Empty);
                match editor.read_line(&prompt).map_err(failed)? {
                    Signal::Success(line) => Ok(Some(line)),
                    _ => Ok(None),
                }
            }
            Self::Pipe => {
                let mut line = String::new();
                let count = stdin().read_line(&mut line).map_err(failed)?;
                Ok((count > 0).then_some(line))
            }
        }
    }
}

/// Goes through these.
pub(super) fn run(all: &[Redone], paint: Paint) -> Result<(), Refusal> {
    if all.is_empty() {
        return Ok(());
    }
    let (mut at, mut lines, mut asked) = (0, Lines::new(), Asked::default());
    render::print(&shown(all, at, paint));
    while let Some(line) = lines.next(&format!("{}/{}", at + 1, all.len()))? {
        let to = match parse(&line) {
            Move::Quit => break,
            Move::By(step) => at.checked_add_signed(step).filter(|it| *it < all.len()),
            Move::To(number) => number.checked_sub(1).filter(|it| *it < all.len()),
            Move::Difference => (at + 1..all.len()).find(|it| all[*it].differs()),
            Move::Help => {
                render::print(HELP);
                continue;
            }
            Move::Standing => {
                render::print(&standing(&all[at]));
                continue;
            }
            Move::Evaluate(text) => {
                let said = asked.evaluate(&all[at], text);
                render::print(&said.map_or_else(|it| format!("error: {it}\n"), |it| it + "\n"));
                continue;
            }
        };
        match to {
            Some(to) => {
                at = to;
                render::print(&shown(all, at, paint));
            }
            None => render::print("there is none; `?` shows what can be asked\n"),
        }
    }
    Ok(())
}

/// A decision: what it was about, what it depended on, and the answer.
fn shown(all: &[Redone], at: usize, paint: Paint) -> String {
    let it = &all[at];
    let mut text = format!("[{}/{}] {}\n", at + 1, all.len(), head(it, paint));
    let mut add = |what: &str, it: &str| text += &format!("  {what:<9} {it}\n");
    inputs(&it.decision).iter().for_each(|it| add("", it));
    add("decided:", &in_words(&it.was(), it.decision.now).join("; "));
    if it.was() != it.answer {
        add("would be:", &in_words(&it.answer, it.decision.now).join("; "));
    }
    for derived in &it.derived {
        let (hook, was, would_be) = (derived.hook, derived.was, derived.would_be);
        add("then:", &format!("`{hook}` was {was} and would be {would_be}"));
    }
    it.faults.iter().for_each(|it| add("fault:", &it.to_string()));
    text
}

/// The service before the decision.
fn standing(it: &Redone) -> String {
    use zinit_host::decision::Question;
    let before = match &it.decision.question {
        Question::Step { before, .. } => Some(before),
        Question::Hook { seen, .. } => seen.as_ref().map(|it| &it.service),
    };
    let json = before.and_then(|it| serde_json::to_string_pretty(&it.standing).ok());
    json.map_or_else(|| "it is about no service\n".to_owned(), |it| it + "\n")
}

/// The policy that expressions are asked of.
#[derive(Default)]
struct Asked(Option<(Rc<Sources>, Policy)>);

impl Asked {
    fn evaluate(&mut self, it: &Redone, text: &str) -> Result<String, String> {
        if self.0.as_ref().is_none_or(|(of, _)| !Rc::ptr_eq(of, &it.policy)) {
            let policy = Policy::of(&it.policy.files).map_err(|all| all[0].to_string())?;
            self.0 = Some((Rc::clone(&it.policy), policy));
        }
        let (_, policy) = self.0.as_mut().expect("it was just made");
        if let Some(spec) = it.spec() {
            policy.expect(spec);
        }
        policy.evaluate(text, &mut scope_of(&it.decision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_an_expression() {
        for (line, meant) in [
            ("\n", Move::By(1)),
            (" p ", Move::By(-1)),
            ("g 12", Move::To(12)),
            ("g x", Move::Evaluate("g x")),
            ("d", Move::Difference),
            ("q\n", Move::Quit),
            ("restart_delay(service, 3)\n", Move::Evaluate("restart_delay(service, 3)")),
        ] {
            assert_eq!(parse(line), meant, "{line}");
        }
    }
}

//! Runs scripts, and says what went wrong with them: a sentence, the place, and the line itself.

mod meant;

use std::path::Path;
use std::rc::Rc;

use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, Position, Scope};
use serde_json::Value;

use crate::engine::{self, Words};
use crate::modules::BUNDLED;
use crate::native::Session;
use crate::policy::pieces::{Piece, pieces};
use crate::refusal::{Kind, Refusal};

pub(crate) use meant::Around;
pub use meant::Text;

/// A script to run.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    /// What messages call it: its path, `-c` or `stdin`. `import` looks beside it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// What the script finds in `args`.
    pub args: &'a [String],
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It came to its end; the value it left as Rhai writes it, if that is not `()`.
    Done(Option<String>),
    /// It called `exit`.
    Exited(u8),
    /// It was interrupted.
    Interrupted,
    /// It failed. The refusal's data has `path`, `line`, `column` and `source` where they are known.
    Failed(Refusal),
}

/// What `exit(code)` raises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitCode(pub(crate) u8);

/// Runs a script on an engine made for it. Needs a deep stack
/// ([`on_deep_stack`](engine::on_deep_stack)).
pub fn run(session: &Rc<Session>, script: &Script<'_>) -> Ended {
    let text = without_shebang(script.text);
    let engine = engine::script(session, Words::MentionedBy(text));
    let mut scope = Scope::new();
    let args: Array = script.args.iter().map(|it| it.clone().into()).collect();
    scope.push_constant("args", args);
    let mut tree = AST::empty();
    let result = match engine.compile(text) {
        Ok(ast) => {
            tree = ast;
            tree.set_source(script.name);
            engine.eval_ast_with_scope::<Dynamic>(&mut scope, &tree)
        }
        Err(error) => Err(EvalAltResult::ErrorParsing(*error.0, error.1).into()),
    };
    let (engine, scope, tree) = (&engine, &scope, &tree);
    let around = Around { name: script.name, text, engine, scope, tree, texts: &[] };
    match result {
        _ if session.interrupt().is_raised() => Ended::Interrupted,
        _ if session.is_output_gone() => Ended::Exited(0),
        Ok(value) => Ended::Done(shown(engine, value)),
        Err(error) => failed(*error, &around),
    }
}

/// The text of a script file.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read(path: &Path) -> Result<String, Refusal> {
    let bytes = std::fs::read(path).map_err(|error| {
        let shown = path.display();
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!("there is no file {shown}"),
            _ => format!("cannot read {shown}: {error}"),
        };
        Refusal::new(Kind::Storage, message)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("{} is no script: {}", path.display(), error.utf8_error());
        Refusal::new(Kind::BadArgument, message)
    })
}

/// A value as Rhai writes it; nothing for `()`.
pub fn shown(engine: &Engine, mut value: Dynamic) -> Option<String> {
    if value.is_unit() {
        return None;
    }
    let written = engine.eval_fn_call::<String>("to_debug", Some(&mut value), ());
    Some(written.unwrap_or_else(|_| value.to_string()))
}

/// The script without its first line if that is for the kernel; the numbers of the lines stay.
pub fn without_shebang(text: &str) -> &str {
    if text.starts_with("#!") { &text[text.find('\n').unwrap_or(text.len())..] } else { text }
}

/// How a script ended that failed with this.
pub(crate) fn failed(error: EvalAltResult, around: &Around<'_>) -> Ended {
    let (mut cause, place) = cause_and_place(error, around);
    if let EvalAltResult::ErrorTerminated(token, _) = cause {
        return token.try_cast::<ExitCode>().map_or(Ended::Interrupted, |it| Ended::Exited(it.0));
    }
    let _ = cause.take_position();
    let place = place.map(|(file, at)| Spot::of(file, at, around));
    let refusal = refusal(cause, place.as_ref(), around);
    Ended::Failed(match place {
        // A refused file has its own place.
        Some(_) if refusal.data.contains_key("line") => refusal,
        Some(spot) => spot.mark(refusal),
        None => refusal,
    })
}

/// A place in a file, and the text of that file if it can be had.
struct Spot {
    file: String,
    line: usize,
    column: usize,
    text: Option<String>,
}

impl Spot {
    fn of(file: String, at: Position, around: &Around<'_>) -> Self {
        let text = around.text_of(&file);
        // At the very end of a line, the position is 0.
        let column = at.position().unwrap_or(0).max(1);
        Self { file, line: at.line().unwrap_or(1), column, text }
    }

    /// Whether what stands there is called after a dot.
    fn is_after_dot(&self) -> bool {
        let line = self.text.as_ref().and_then(|it| it.lines().nth(self.line - 1));
        let before: String = line.unwrap_or_default().chars().take(self.column).collect();
        let name = |it: char| it.is_alphanumeric() || it == '_';
        before.trim_end_matches(name).trim_end().ends_with('.')
    }

    fn mark(self, refusal: Refusal) -> Refusal {
        let Self { file, line, column, text } = self;
        let refusal = refusal.with("path", file).with("line", line).with("column", column);
        let Some(text) = text else { return refusal };
        let Some(source) = text.lines().nth(line - 1) else { return refusal };
        refusal.with("source", source).with("width", width(&text, line, column))
    }
}

/// How many letters of a line the piece has that stands there; a dot belongs to what follows it. Columns
/// begin with 1.
pub(crate) fn width(text: &str, line: usize, column: usize) -> usize {
    let above: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text[above..].lines().next().unwrap_or_default();
    let Some((before, _)) = rest.char_indices().nth(column - 1) else { return 1 };
    let (at, end) = (above + before, above + rest.len());
    let all = pieces(text);
    let here = all.iter().position(|it| it.1.contains(&at));
    let Some((piece, span)) = here.map(|it| &all[it]) else { return 1 };
    let next = here.and_then(|it| all.get(it + 1)).filter(|it| it.0 == Piece::Word);
    let to = match next {
        Some((_, next)) if *piece == Piece::Symbol && &text[span.clone()] == "." => next.end,
        _ => span.end,
    };
    text[at..to.min(end)].chars().count().max(1)
}

/// The innermost error, and the innermost place of it that the user has written.
fn cause_and_place(
    error: EvalAltResult,
    around: &Around<'_>,
) -> (EvalAltResult, Option<(String, Position)>) {
    let mut file = around.name.to_owned();
    let mut place = None;
    let mut error = error;
    loop {
        let position = error.position();
        if !file.starts_with(BUNDLED) && !position.is_none() {
            place = Some((file.clone(), position));
        }
        (error, file) = match error {
            // To Rhai, the functions of earlier texts stand in this one.
            EvalAltResult::ErrorInFunctionCall(name, source, inner, _)
                if source.is_empty() || source == around.name =>
            {
                (*inner, around.home_of(&name).unwrap_or(file))
            }
            EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => (*inner, source),
            EvalAltResult::ErrorInModule(path, inner, position) if position.is_none() => {
                (*inner, path)
            }
            EvalAltResult::ErrorInModule(_, inner, _) => (*inner, file),
            cause => return (cause, place),
        };
    }
}

fn refusal(cause: EvalAltResult, spot: Option<&Spot>, around: &Around<'_>) -> Refusal {
    match cause {
        EvalAltResult::ErrorRuntime(value, _) => of_thrown(value),
        EvalAltResult::ErrorParsing(what, _) => {
            Refusal::new(Kind::Internal, format!("syntax error: {}", lowered(&what.to_string())))
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            meant::function(&signature, spot.is_some_and(Spot::is_after_dot), around)
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => meant::variable(&name, around),
        EvalAltResult::ErrorModuleNotFound(path, _) => meant::module(&path),
        EvalAltResult::ErrorDotExpr(ref said, _) => meant::property(said, around)
            .unwrap_or_else(|| Refusal::new(Kind::Internal, lowered(&cause.to_string()))),
        other => Refusal::new(Kind::Internal, lowered(&other.to_string())),
    }
}

/// The refusal that a script threw or let through, or whatever else it threw.
fn of_thrown(value: Dynamic) -> Refusal {
    let facts = match rhai::serde::from_dynamic::<Value>(&value) {
        Ok(Value::Object(facts)) if facts.get("message").is_some_and(Value::is_string) => facts,
        _ if value.is_unit() => return Refusal::new(Kind::Internal, "the script gave up"),
        _ => return Refusal::new(Kind::Internal, value.to_string()),
    };
    let text = |key: &str| facts.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = kind_of(&text("code"));
    let hint = Some(text("hint")).filter(|it| !it.is_empty());
    let message = text("message");
    let mut data = facts;
    data.retain(|key, _| !["code", "message", "hint"].contains(&key.as_str()));
    Refusal { kind, message, hint, data }
}

fn kind_of(word: &str) -> Kind {
    let codes = (-32015..=-32000).chain([Kind::BadArgument.code()]);
    codes.map(Kind::of_code).find(|it| it.word() == word).unwrap_or(Kind::Internal)
}

/// With a small first letter.
pub(crate) fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|it| it.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

//! The tests of a policy: functions of its files, or of modules beside it, that are called on an
//! engine of their own. It knows more words than the one that decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, FnAccess, Map};

use super::guard::{call, in_words};
use super::meter::Spent;
use super::modules::Script;
use super::{Policy, TEST_PREFIX};
use crate::refusal::{Kind, Refusal};

/// A policy, and the scripts that have its tests.
pub(crate) struct Exam {
    policy: Policy,
    scripts: Vec<Rc<Script>>,
}

/// One test.
pub(crate) struct Test {
    script: Rc<Script>,
    /// Its name, with `test_`.
    pub(crate) name: String,
    /// Whether it is given a world.
    pub(crate) takes_world: bool,
    /// The line on which it begins.
    pub(crate) line: usize,
}

impl Exam {
    /// The tests of these policy files, and of these other modules, on an engine with more words.
    ///
    /// # Errors
    /// Every fault of the files.
    pub(crate) fn of(
        files: &[(PathBuf, String)],
        others: &[(PathBuf, String)],
        teach: impl FnOnce(&mut Engine),
    ) -> Result<Self, Vec<Refusal>> {
        let mut policy = Policy::taught(files, teach)?;
        teach_strategies(&mut policy, others);
        let mut scripts = policy.guard.modules.files.clone();
        let mut problems = Vec::new();
        for (path, text) in others {
            match Script::compile(&policy.engine, path, text) {
                Ok(script) => scripts.push(Rc::new(script)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self { policy, scripts }) } else { Err(problems) }
    }

    /// All tests, file by file and in the order in which they are written.
    pub(crate) fn tests(&self) -> Vec<Test> {
        let mut tests: Vec<Test> = self.scripts.iter().flat_map(tests_of).collect();
        tests.sort_by(|one, other| (one.path(), one.line).cmp(&(other.path(), other.line)));
        tests
    }

    /// Calls a test, which may use up so much.
    ///
    /// # Errors
    /// What it throws, with its place; `timed_out` when it uses up more than it may.
    pub(crate) fn run(
        &self,
        test: &Test,
        args: Vec<Dynamic>,
        ticks: u64,
        cpu_us: i64,
    ) -> Result<Dynamic, Refusal> {
        let meter = &self.policy.guard.meter;
        meter.begin_with(ticks, cpu_us);
        let ask = || call(&self.policy.engine, &test.script.ast, &test.name, args);
        let said = catch_unwind(AssertUnwindSafe(ask));
        let spent = meter.end();
        let failed = |why: &str| Refusal::new(Kind::BadConfig, why).with("line", test.line);
        match (said, spent) {
            (Err(_), _) => Err(failed("it panicked; please report this")),
            (_, Some(spent)) => Err(test.overdue(spent, ticks, cpu_us)),
            (Ok(said), None) => said.map_err(|error| test.refusal(&error)),
        }
    }
}

/// Lets modules beside a policy call the strategies that they mention, whether or not a policy file
/// mentions them, too.
fn teach_strategies(policy: &mut Policy, others: &[(PathBuf, String)]) {
    let guard = Rc::clone(&policy.guard);
    let engine = Rc::get_mut(&mut policy.engine).expect("nobody else has it yet");
    for name in zinit_stdlib::STRATEGIES.iter().map(|it| it.stem()) {
        let call = format!("{name}::");
        if others.iter().any(|(_, text)| text.contains(&call))
            && let Some(strategy) = guard.strategies.get(engine, name)
        {
            strategy.teach(engine);
        }
    }
}

/// The test functions of a script.
fn tests_of(script: &Rc<Script>) -> Vec<Test> {
    let public = script.ast.iter_functions().filter(|it| it.access == FnAccess::Public);
    let tests = public.filter(|it| it.name.starts_with(TEST_PREFIX) && it.params.len() <= 1);
    let test = |it: rhai::ScriptFnMetadata<'_>| Test {
        script: Rc::clone(script),
        name: it.name.to_owned(),
        takes_world: it.params.len() == 1,
        line: line_of(&script.text, it.name),
    };
    tests.map(test).collect()
}

/// The line on which a function begins.
fn line_of(text: &str, function: &str) -> usize {
    let head = format!("fn {function}(");
    text.lines().position(|it| it.trim_start().starts_with(&head)).map_or(0, |it| it + 1)
}

/// The sentence about a call that no function answers, and what may have been meant.
fn unknown(what: &str) -> (String, Option<String>) {
    let (name, given) = what.split_once(" (").unwrap_or((what, ")"));
    let given = given.trim_end_matches(')').replace("&str | ImmutableString | String", "a text");
    match crate::sim::nearest_word(name) {
        Some(word) if word == name => (format!("`{name}` does not take these: {given}"), None),
        near => {
            let hint = near.map(|it| format!("did you mean `{it}`?"));
            (format!("there is no function `{name}`"), hint)
        }
    }
}

impl Test {
    /// The file that it stands in.
    pub(crate) fn path(&self) -> &Path {
        &self.script.path
    }

    /// The text of that file.
    pub(crate) fn text(&self) -> &str {
        &self.script.text
    }

    /// That it was ended.
    fn overdue(&self, spent: Spent, ticks: u64, cpu_us: i64) -> Refusal {
        let what = match spent {
            Spent::Ticks => format!("more than {ticks} ticks of the interpreter"),
            Spent::Cpu => format!("more than {} ms of CPU time", cpu_us / 1000),
        };
        let message = format!("it uses up too much time: {what}");
        Refusal::new(Kind::TimedOut, message).with("line", self.line)
    }

    /// What it threw, with the line.
    fn refusal(&self, error: &EvalAltResult) -> Refusal {
        let failure = in_words(error);
        let mut source = String::new();
        let mut at = error;
        while let EvalAltResult::ErrorInFunctionCall(_, of, inner, _) = at {
            if !of.is_empty() {
                source.clone_from(of);
            }
            at = inner;
        }
        let mut refusal = Refusal::new(Kind::BadConfig, failure.why);
        if let EvalAltResult::ErrorRuntime(thrown, _) = at
            && let Some(said) = thrown.read_lock::<Map>()
            && let Some(message) = said.get("message")
        {
            refusal.message = message.to_string();
            refusal.hint = said.get("hint").map(ToString::to_string).filter(|it| !it.is_empty());
        }
        if let EvalAltResult::ErrorFunctionNotFound(what, _) = at {
            (refusal.message, refusal.hint) = unknown(what);
        }
        let refusal = if source.is_empty() { refusal } else { refusal.with("path", source) };
        refusal.with("line", if failure.line > 0 { failure.line } else { self.line })
    }
}

//! Asks the scripts. A user's function is asked first, within a budget; when it fails, the bundled
//! one answers the same question in the same instant, so that no script can stop supervision.
//!
//! The budget counts ticks of the interpreter, callbacks included, and as a second net the CPU time
//! of this thread; never wall time, which would punish a policy for a busy machine.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::time::ClockId;
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, FuncArgs, Module, Scope};

use crate::clock::milliseconds;
use crate::refusal::{Kind, Refusal, nearest};
use crate::{action, engine, view};

/// The functions that a user may replace, and how many parameters each takes.
pub const HOOKS: [(&str, usize); 22] = [
    ("attempts_after", 2),
    ("brings_up", 2),
    ("check_delay_ms", 1),
    ("ends_all", 2),
    ("exit_status", 2),
    ("gives_up", 2),
    ("is_failure", 2),
    ("is_ready", 1),
    ("is_satisfied", 1),
    ("is_settled", 1),
    ("launch_spacing_ms", 1),
    ("may_start", 1),
    ("needs_restart", 2),
    ("on_give_up", 1),
    ("on_unhealthy", 1),
    ("restart_delay", 2),
    ("settle_ms", 1),
    ("should_restart", 2),
    ("shutdown_ms", 1),
    ("start_order", 1),
    ("stop_order", 1),
    ("stop_steps", 1),
];

/// After this many faults the user's policy is not asked again until it changes.
pub const FAULTS_MAX: u32 = 3;

const TICKS_MAX: u64 = 200_000;
const CPU_MS_MAX: i64 = 50;
const TICKS_BETWEEN_CLOCK_READS: u64 = 1024;

/// The scripts that decide, and the guard around them.
pub struct Policy {
    engine: Engine,
    bundled: AST,
    user: Option<User>,
    meter: Rc<Meter>,
}

/// A user's policy, merged over the bundled one.
struct User {
    merged: AST,
    /// Which file each of its functions stands in.
    files: BTreeMap<String, PathBuf>,
    faults: u32,
}

/// What one decision has used up.
#[derive(Default)]
struct Meter {
    ticks: Cell<u64>,
    limited: Cell<bool>,
    /// Once over the budget, a decision stays over it: natives like `sort` swallow errors.
    spent: Cell<bool>,
    cpu_ms_end: Cell<i64>,
}

/// An answer, and what went wrong with the user's policy on the way to it.
pub struct Answer<T> {
    /// What was decided.
    pub said: Result<T, String>,
    /// The fault of the user's policy, as a sentence, if it was asked and failed.
    pub fault: Option<String>,
}

impl Policy {
    /// The bundled policy alone.
    pub fn bundled() -> Self {
        let meter = Rc::new(Meter::default());
        let mut engine = engine_for(&meter);
        let bundled = zinit_stdlib::POLICY
            .iter()
            .map(|it| compile(&engine, it.source).expect("the bundled policy compiles"))
            .reduce(|all, next| all.merge(&next))
            .expect("there are bundled policy modules");
        let base = Module::eval_ast_as_new(Scope::new(), &bundled, &engine)
            .expect("the bundled policy has functions only");
        engine.register_static_module("base", base.into());
        Self { engine, bundled, user: None, meter }
    }

    /// Puts a user's files over the bundled policy, all of them or, if one is wrong, none: then
    /// what was in force stays. No files means the bundled policy alone.
    ///
    /// # Errors
    /// Every fault found, each with its file and place.
    pub fn load(&mut self, files: &[(PathBuf, String)]) -> Result<(), Vec<Refusal>> {
        let mut problems = Vec::new();
        let mut merged = self.bundled.clone();
        let mut origin = BTreeMap::new();
        for (path, source) in files {
            match self.compile_user(path, source) {
                Ok(ast) => {
                    origin
                        .extend(ast.iter_functions().map(|it| (it.name.to_owned(), path.clone())));
                    merged = merged.merge(&ast);
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            problems = self.failed_tests(&merged, &origin);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.user = (!files.is_empty()).then_some(User { merged, files: origin, faults: 0 });
        Ok(())
    }

    /// Asks `function` and lets `accept` judge what it said; the bundled function is asked when the
    /// user's fails or says something that is not accepted.
    pub fn ask<T>(
        &mut self,
        function: &str,
        args: impl FuncArgs + Clone,
        mut accept: impl FnMut(Dynamic) -> Result<T, String>,
    ) -> Answer<T> {
        let mut fault = None;
        if let Some(user) = self.user.as_ref().filter(|it| it.faults < FAULTS_MAX) {
            match self.call(&user.merged, function, args.clone(), true).and_then(&mut accept) {
                Ok(said) => return Answer { said: Ok(said), fault: None },
                Err(error) => fault = Some(self.note_fault(function, &error)),
            }
        }
        let said = self.call(&self.bundled, function, args, false).and_then(accept);
        Answer { said, fault }
    }

    fn note_fault(&mut self, function: &str, error: &str) -> String {
        let Some(user) = &mut self.user else { return String::new() };
        user.faults += 1;
        let files: Vec<_> =
            user.files.values().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let files = files.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ");
        let benched =
            if user.faults >= FAULTS_MAX { "; it is not asked again until it changes" } else { "" };
        format!(
            "the policy of {files} failed in `{function}`: {error}; the bundled policy decided{benched}"
        )
    }

    fn call(
        &self,
        ast: &AST,
        function: &str,
        args: impl FuncArgs,
        limited: bool,
    ) -> Result<Dynamic, String> {
        self.meter.begin(limited);
        let options = CallFnOptions::new().eval_ast(false);
        let mut scope = Scope::new();
        let called = catch_unwind(AssertUnwindSafe(|| {
            self.engine.call_fn_with_options::<Dynamic>(options, &mut scope, ast, function, args)
        }));
        match called {
            Ok(Ok(_)) if self.meter.spent.get() => Err("the budget is used up".to_owned()),
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(in_words(&error)),
            Err(_) => Err("it panicked".to_owned()),
        }
    }

    fn compile_user(&self, path: &Path, source: &str) -> Result<AST, Vec<Refusal>> {
        let refuse = |message: String| {
            Refusal::new(Kind::BadConfig, format!("{}: {message}", path.display()))
                .with("path", path.display().to_string())
        };
        let ast = compile(&self.engine, source).map_err(|error| {
            let line = error.position().line().unwrap_or(0);
            let text = source.lines().nth(line.saturating_sub(1)).unwrap_or("");
            let refusal = refuse(error.to_string())
                .with("line", line)
                .with("column", error.position().position().unwrap_or(0))
                .with("source", text);
            vec![refusal]
        })?;
        if !ast.statements().is_empty() {
            return Err(vec![
                refuse(
                    "a policy holds functions only, and something stands outside of them".into(),
                )
                .hint("put it into a function"),
            ]);
        }
        let wrong = |it: rhai::ScriptFnMetadata<'_>| self.why_not(&it).map(&refuse);
        let problems: Vec<_> = ast.iter_functions().filter_map(wrong).collect();
        if problems.is_empty() { Ok(ast) } else { Err(problems) }
    }

    /// Why a user's function cannot stand where it stands.
    fn why_not(&self, function: &rhai::ScriptFnMetadata<'_>) -> Option<String> {
        let (name, count) = (function.name, function.params.len());
        if let Some((_, arity)) = HOOKS.iter().find(|(hook, _)| *hook == name) {
            return (count != *arity)
                .then(|| format!("`{name}` takes {arity} parameters, this one takes {count}"));
        }
        if self.bundled.iter_functions().any(|it| it.name == name) {
            return Some(format!("`{name}` is a function of the bundled policy, but no hook"));
        }
        if function.access == rhai::FnAccess::Private || name.starts_with("test_") {
            return None;
        }
        let hint = match nearest(name, HOOKS.iter().map(|(hook, _)| *hook)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a helper of your own must be `private fn`".to_owned(),
        };
        Some(format!("`{name}` is no hook; {hint}"))
    }

    /// Runs the `test_*` functions of a user's policy.
    fn failed_tests(&self, merged: &AST, origin: &BTreeMap<String, PathBuf>) -> Vec<Refusal> {
        let tests = origin.iter().filter(|(name, _)| name.starts_with("test_"));
        let failed = tests.filter_map(|(name, path)| {
            let why = match self.call(merged, name, (), true) {
                Ok(said) if said.as_bool() == Ok(false) => "it is false".to_owned(),
                Ok(_) => return None,
                Err(error) => error,
            };
            let message = format!("{}: `{name}` fails: {why}", path.display());
            Some(Refusal::new(Kind::BadConfig, message).with("path", path.display().to_string()))
        });
        failed.collect()
    }
}

impl Meter {
    fn begin(&self, limited: bool) {
        self.ticks.set(0);
        self.spent.set(false);
        self.limited.set(limited);
        if limited {
            self.cpu_ms_end.set(thread_cpu_ms() + CPU_MS_MAX);
        }
    }

    /// One tick of the interpreter; says whether the decision must end here.
    fn tick(&self) -> bool {
        if !self.limited.get() {
            return false;
        }
        let ticks = self.ticks.get() + 1;
        self.ticks.set(ticks);
        let late = || {
            ticks.is_multiple_of(TICKS_BETWEEN_CLOCK_READS)
                && thread_cpu_ms() > self.cpu_ms_end.get()
        };
        if ticks > TICKS_MAX || late() {
            self.spent.set(true);
        }
        self.spent.get()
    }
}

/// What went wrong, and in which function of which.
fn in_words(error: &EvalAltResult) -> String {
    let mut within = String::new();
    let mut at = error;
    while let EvalAltResult::ErrorInFunctionCall(function, _, inner, _) = at {
        within = function.rsplit("::").next().unwrap_or(function).to_owned();
        at = inner;
    }
    let what = match at {
        EvalAltResult::ErrorTerminated(..) => "the budget is used up".to_owned(),
        inner => inner.to_string(),
    };
    if within.is_empty() { what } else { format!("in `{within}`: {what}") }
}

fn thread_cpu_ms() -> i64 {
    milliseconds(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// An engine whose scripts can compute and nothing else.
fn engine_for(meter: &Rc<Meter>) -> Engine {
    let mut engine = engine::pure();
    action::teach(&mut engine);
    view::teach(&mut engine);
    view::teach_samples(&mut engine);
    for word in ["eval", "import", "print", "debug"] {
        engine.disable_symbol(word);
    }
    engine.set_strict_variables(true);
    engine.set_max_array_size(16_384);
    engine.set_max_map_size(1_024);
    engine.set_max_string_size(64 * 1024);
    engine.set_fail_on_invalid_map_property(true);
    let meter = Rc::clone(meter);
    engine.on_progress(move |_| meter.tick().then_some(Dynamic::UNIT));
    engine
}

fn compile(engine: &Engine, source: &str) -> Result<AST, rhai::ParseError> {
    engine.compile(source)
}

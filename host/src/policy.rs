//! Asks the scripts. The table of decisions (`lifecycle.rhai`) and the answers that it asks for are
//! bundled; a user's functions take the place of answers, one by one, and each is guarded.
//!
//! Where nobody overrides a hook, the table calls the bundled function itself, and nothing is between
//! them. Only a hook that some function takes the place of is taken out of the table, and asked
//! through the guard.

mod bound;
mod exam;
mod guard;
pub mod index;
mod lint;
mod meter;
mod modules;
pub mod pieces;
pub mod starter;
pub mod told;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Module, NativeCallContext, OptimizationLevel, Scope,
};

use crate::decision::Fault;
use crate::hooks::{HOOKS, Hook};
use crate::lint::{Words, exported};
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::{action, engine, view};

pub(crate) use exam::{Exam, Test};
pub(crate) use guard::mark_of;
use guard::{Guard, call, sentence};
use meter::Meter;
use modules::{Modules, Script};

/// After so many faults a function is not asked again until it changes.
pub const FAULTS_MAX: u32 = 3;

/// A function whose name begins so is a test.
pub const TEST_PREFIX: &str = "test_";

/// What a policy sees of the services around one; nothing is prepared for one that does not say it.
const LOOKS_AROUND: [&str; 3] = ["peers", "dependents", "dependencies"];

/// The scripts that decide, and the guard around them.
pub struct Policy {
    engine: Rc<Engine>,
    guard: Rc<Guard>,
    /// The bundled functions, without the hooks that others take the place of.
    table: AST,
    overridden: BTreeSet<&'static str>,
    looks_around: bool,
    sources: Rc<Sources>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// What a user's policy was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The files, each with its text; none for the bundled policy alone.
    pub files: Vec<(PathBuf, String)>,
    /// What tells this policy, bundled part and all, from every other one.
    pub version: String,
}

impl Sources {
    /// What a policy of these files is made of.
    pub fn of(files: &[(PathBuf, String)]) -> Self {
        Self { files: files.to_vec(), version: version(files) }
    }
}

/// An answer, and what went wrong with the user's functions on the way to it.
pub struct Answer<T> {
    /// What was decided.
    pub said: Result<T, String>,
    /// The faults of the user's functions.
    pub faults: Vec<Fault>,
}

impl Policy {
    /// The bundled policy alone.
    pub fn bundled() -> Self {
        Self::of(&[]).expect("the bundled policy has no faults")
    }

    /// The bundled policy with a user's files over it.
    ///
    /// # Errors
    /// Every fault found, each with its file and place. Whether its tests hold is another question,
    /// which [`trial`](crate::trial) answers.
    pub fn of(files: &[(PathBuf, String)]) -> Result<Self, Vec<Refusal>> {
        Self::taught(files, |_| {})
    }

    /// As [`of`](Self::of), on an engine that is taught more words.
    fn taught(
        files: &[(PathBuf, String)],
        teach: impl FnOnce(&mut Engine),
    ) -> Result<Self, Vec<Refusal>> {
        let meter = Rc::new(Meter::default());
        let mut engine = engine_for(&meter);
        teach(&mut engine);
        let bundled = bundled(&engine);
        let base = Module::eval_ast_as_new(Scope::new(), &bundled, &engine)
            .expect("the bundled policy has functions only");
        engine.register_static_module("base", base.into());
        let modules = Modules::compile(&mut engine, files)?;
        let guard = Rc::new(Guard::new(meter, bundled, modules));
        teach_hooks(&mut engine, &guard);
        let taught = teach_modules(&mut engine, &guard);
        let problems = slips(&mut engine, &guard);
        if !problems.is_empty() {
            return Err(problems);
        }
        let sources = Rc::new(Sources::of(files));
        let mut policy = Self {
            engine: Rc::new(engine),
            table: guard.bundled.clone(),
            overridden: guard.modules.hooks().collect(),
            looks_around: taught.iter().any(|it| looks_around(&it.text)),
            guard,
            sources,
        };
        policy.clear_table();
        Ok(policy)
    }

    /// What it is made of.
    pub fn sources(&self) -> &Rc<Sources> {
        &self.sources
    }

    /// Whether this hook is answered by the bundled function alone.
    pub fn is_bundled(&self, hook: &str) -> bool {
        !self.overridden.contains(hook)
    }

    /// The names of all functions that a policy may call without a module.
    pub fn words(&self) -> BTreeSet<String> {
        Words::of(&self.engine).names()
    }

    /// Whether it looks at the services around one.
    pub fn looks_around(&self) -> bool {
        self.looks_around
    }

    /// How often functions have failed: `FILE::FUNCTION` and a count. At [`FAULTS_MAX`] it is benched.
    pub fn failures(&self) -> BTreeMap<String, u32> {
        self.guard.failures()
    }

    /// Forgets the failures of functions that this service has chosen: it is another one now.
    pub fn forgive(&self, service: &ServiceName) {
        self.guard.forgive(service.as_str());
    }

    /// Prepares for a service that names functions of its own.
    pub fn expect(&mut self, spec: &Spec) {
        if spec.policy.is_empty() {
            return;
        }
        let whole = spec.policy.contains_key("*");
        let named = HOOKS.iter().filter(|it| it.is_of_service());
        let named = named.filter(|it| whole || spec.policy.contains_key(it.name));
        let before = self.overridden.len();
        self.overridden.extend(named.map(|it| it.name));
        self.looks_around |= self.modules_of(spec).iter().any(|it| looks_around(&it.text));
        if self.overridden.len() > before {
            self.clear_table();
        }
    }

    /// Whether all functions are there that a service names for hooks.
    ///
    /// # Errors
    /// The first that is not.
    pub fn vet(&self, spec: &Spec) -> Result<(), Refusal> {
        let guard = &self.guard;
        for (hook, named) in &spec.policy {
            let found = if hook == "*" {
                guard.modules.script(&guard.strategies, &self.engine, named).map(|_| ())
            } else {
                guard.modules.named(&guard.strategies, &self.engine, hook, named).map(|_| ())
            };
            found.map_err(|(why, hint)| {
                let key = if hook == "*" { "policy".to_owned() } else { format!("policy.{hook}") };
                let refusal = Refusal::new(Kind::BadConfig, format!("`{key}`: {why}"));
                let refusal = refusal.with("key", key);
                if hint.is_empty() { refusal } else { refusal.hint(hint) }
            })?;
        }
        Ok(())
    }

    fn modules_of(&self, spec: &Spec) -> Vec<Rc<Script>> {
        let names = spec.policy.iter().filter_map(|(hook, named)| {
            named.split_once("::").map(|it| it.0).or((hook == "*").then_some(named.as_str()))
        });
        let guard = &self.guard;
        let find = |it| guard.modules.script(&guard.strategies, &self.engine, it).ok();
        names.filter_map(find).collect()
    }

    fn clear_table(&mut self) {
        let overridden = &self.overridden;
        self.table = self.guard.bundled.clone();
        self.table.retain_functions(|_, _, name, _| !overridden.contains(name));
    }

    /// Asks `function` of the bundled policy and lets `accept` judge what it said. If users' functions
    /// took part and nothing acceptable came of it, the bundled policy is asked alone.
    pub fn ask<T>(
        &self,
        function: &str,
        args: Vec<Dynamic>,
        mut accept: impl FnMut(Dynamic) -> Result<T, String>,
    ) -> Answer<T> {
        if self.overridden.is_empty() {
            let said = self.call(&self.guard.bundled, function, args).and_then(accept);
            return Answer { said, faults: Vec::new() };
        }
        self.guard.begin();
        let said = match self.hook(function) {
            Some(hook) => {
                self.guard.answer(&self.engine, hook, args.clone()).map_err(|it| sentence(&it))
            }
            None => self.call(&self.table, function, args.clone()),
        };
        let mut said = said.and_then(&mut accept);
        if let Err(error) = &said
            && self.guard.took_part()
        {
            self.guard.blame(error);
            said = self.call(&self.guard.bundled, function, args).and_then(accept);
        }
        Answer { said, faults: self.guard.take_faults() }
    }

    /// Answers what was asked before: no clock cuts anything off any more.
    pub fn repeats(&self) {
        self.guard.meter.ignore_clock();
    }

    /// Counts a fault that was found elsewhere, as if it had happened here.
    pub fn count(&self, place: &str, times: u32) {
        self.guard.count(place, times);
    }

    /// Does not ask these functions in the next question, as if they were benched.
    pub fn pass_over(&self, places: Vec<String>) {
        self.guard.pass_over(places);
    }

    /// What an expression comes to, in which the hooks can be called; `scope` has what it may name.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn evaluate(&self, text: &str, scope: &mut Scope<'_>) -> Result<String, String> {
        const TICKS: u64 = 10_000_000;
        const CPU_US: i64 = 2_000_000;
        self.guard.meter.begin_with(TICKS, CPU_US);
        let said = self.engine.eval_with_scope::<Dynamic>(scope, text);
        self.guard.meter.end();
        let mut said = said.map_err(|it| sentence(&it))?;
        let shown = self.engine.eval_fn_call::<String>("to_debug", Some(&mut said), ());
        shown.map_err(|it| sentence(&it))
    }

    fn hook(&self, function: &str) -> Option<&'static Hook> {
        self.overridden.contains(function).then(|| crate::hooks::find(function)).flatten()
    }

    fn call(&self, ast: &AST, function: &str, args: Vec<Dynamic>) -> Result<Dynamic, String> {
        let call = || call(&self.engine, ast, function, args);
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(said) => said.map_err(|it| sentence(&it)),
            Err(_) => Err("it panicked".to_owned()),
        }
    }
}

/// The bundled policy, compiled.
fn bundled(engine: &Engine) -> AST {
    let all = zinit_stdlib::POLICY.iter();
    all.map(|it| engine.compile(it.source).expect("the bundled policy compiles"))
        .reduce(|all, next| all.merge(&next))
        .expect("there are bundled policy modules")
}

/// Whether a text mentions the services around one.
fn looks_around(text: &str) -> bool {
    let words = text.split(|it: char| !it.is_alphanumeric() && it != '_');
    words.into_iter().any(|it| LOOKS_AROUND.contains(&it))
}

/// What tells these files, over this version of the bundled policy, from all others (FNV-1a).
fn version(files: &[(PathBuf, String)]) -> String {
    let bundled = zinit_stdlib::POLICY.iter().chain(&zinit_stdlib::STRATEGIES).map(|it| it.source);
    let own =
        files.iter().flat_map(|(path, text)| [path.to_str().unwrap_or_default(), text.as_str()]);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bundled.chain(own).flat_map(|it| it.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Gives scripts the hooks as the guard answers them. A hook that the script itself has comes first.
fn teach_hooks(engine: &mut Engine, guard: &Rc<Guard>) {
    for hook in HOOKS {
        let guard = Rc::clone(guard);
        let types = vec![TypeId::of::<Dynamic>(); hook.params.len()];
        let answer = move |cx: NativeCallContext<'_>,
                           args: &mut [&mut Dynamic]|
              -> Result<Dynamic, Box<EvalAltResult>> {
            let args = args.iter_mut().map(|it| (**it).clone()).collect();
            guard.answer(cx.engine(), hook, args)
        };
        engine.register_raw_fn(hook.name, types, answer);
    }
}

/// Lets the user's files call each other and the strategies that they mention, and strategies call
/// each other. Returns the files, and the strategies that they mention.
fn teach_modules(engine: &mut Engine, guard: &Guard) -> Vec<Rc<Script>> {
    let files = &guard.modules.files;
    let mut all = files.clone();
    for strategy in zinit_stdlib::STRATEGIES {
        let call = format!("{}::", strategy.stem());
        let by_files = files.iter().any(|it| it.text.contains(&call));
        let by_others = || zinit_stdlib::STRATEGIES.iter().any(|it| it.source.contains(&call));
        if !by_files && !by_others() {
            continue;
        }
        let script = guard.strategies.get(engine, strategy.stem()).expect("it is bundled");
        script.teach(engine);
        all.extend(by_files.then_some(script));
    }
    files.iter().for_each(|it| it.teach(engine));
    all
}

/// What the user's files call or use that is not there.
fn slips(engine: &mut Engine, guard: &Guard) -> Vec<Refusal> {
    let files = &guard.modules.files;
    if files.is_empty() {
        return Vec::new();
    }
    let words = Words::of(engine);
    let mut of_tests = words.clone();
    if files.iter().any(|it| it.text.contains(TEST_PREFIX)) {
        // Tests are called on another engine.
        of_tests.learn(&more_words());
    }
    let own = files.iter().map(|it| (it.name.as_str(), &it.ast));
    let modules = own.chain([("base", &guard.bundled)]);
    let modules = modules.map(|(name, tree)| (name.to_owned(), exported(tree))).collect();
    let level = engine.optimization_level();
    engine.set_optimization_level(OptimizationLevel::None);
    let whole = |it: &Rc<Script>| engine.compile(&*it.text).expect("it has been compiled before");
    let trees: Vec<AST> = files.iter().map(whole).collect();
    engine.set_optimization_level(level);
    let lint = lint::Lint::new(&words, &of_tests, &modules, &trees);
    files.iter().zip(&trees).flat_map(|(it, tree)| lint.look_through(it, tree)).collect()
}

/// An engine with the words that tests have beside those of a policy.
fn more_words() -> Engine {
    let mut engine = Engine::new_raw();
    crate::sim::teach(&mut engine);
    engine
}

/// An engine whose scripts can compute and nothing else.
fn engine_for(meter: &Rc<Meter>) -> Engine {
    let mut engine = engine::pure();
    action::teach(&mut engine);
    view::teach(&mut engine);
    view::teach_samples(&mut engine);
    bound::teach(&mut engine);
    for word in ["eval", "import", "print", "debug"] {
        engine.disable_symbol(word);
    }
    engine.set_strict_variables(true);
    engine.set_max_array_size(16_384);
    engine.set_max_map_size(1_024);
    engine.set_max_string_size(bound::TEXT_MAX);
    engine.set_fail_on_invalid_map_property(true);
    let meter = Rc::clone(meter);
    engine.on_progress(move |_| meter.tick().then_some(Dynamic::UNIT));
    engine
}

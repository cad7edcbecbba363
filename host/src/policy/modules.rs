//! What a user's policy is made of: one module for each file, and the bundled strategies. Each keeps
//! its own functions to itself, so two files may have helpers of the same name.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{AST, Engine, FnAccess, Module, ParseErrorType, Position, Scope};

use super::{TEST_PREFIX, index};
use crate::hooks::{self, HOOKS};
use crate::lint::Page;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal, nearest};

/// A file of a policy, or a bundled strategy.
pub(super) struct Script {
    /// What it is called by others: the name of its file.
    pub(super) name: String,
    /// Where it stands.
    pub(super) path: PathBuf,
    pub(super) text: Rc<str>,
    pub(super) ast: AST,
}

/// The function that answers a hook.
#[derive(Clone)]
pub(super) struct Choice {
    pub(super) script: Rc<Script>,
    pub(super) function: String,
    /// The service that has chosen it for itself, if one has.
    pub(super) chosen_by: Option<ServiceName>,
}

/// A user's policy.
#[derive(Default)]
pub(super) struct Modules {
    pub(super) files: Vec<Rc<Script>>,
    hooks: BTreeMap<&'static str, Choice>,
}

impl Script {
    /// Compiles a file.
    pub(super) fn compile(engine: &Engine, path: &Path, text: &str) -> Result<Self, Refusal> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut ast = engine.compile(text).map_err(|error| does_not_compile(path, text, &error))?;
        ast.set_source(path.display().to_string());
        Ok(Self { name, path: path.to_owned(), text: text.into(), ast })
    }

    /// Its text, and where that stands.
    pub(super) fn page(&self) -> Page<'_> {
        Page { path: &self.path, text: &self.text }
    }

    /// Whether it has a public function of that name.
    fn has(&self, function: &str) -> bool {
        self.arity(function).is_some()
    }

    /// How many parameters its public function of that name takes.
    fn arity(&self, function: &str) -> Option<usize> {
        let public = self.ast.iter_functions().filter(|it| it.access == FnAccess::Public);
        public.filter(|it| it.name == function).map(|it| it.params.len()).next()
    }

    /// Makes its functions callable from others, as `NAME::FUNCTION`.
    pub(super) fn teach(&self, engine: &mut Engine) {
        let module = Module::eval_ast_as_new(Scope::new(), &self.ast, engine)
            .expect("it holds functions only, so nothing is run");
        engine.register_static_module(self.name.as_str(), module.into());
    }

    /// Where its function of that name begins.
    fn place_of(&self, function: &str) -> Position {
        let found = index::functions("", &self.text).into_iter().find(|it| it.name == function);
        let line = found.map_or(1, |it| it.line);
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let column = 1 + text.len() - text.trim_start().len();
        Position::new(u16::try_from(line).unwrap_or(u16::MAX), u16::try_from(column).unwrap_or(1))
    }

    fn refuse(&self, message: &str) -> Refusal {
        refuse(&self.path, message)
    }

    /// Everything that keeps it from being a policy.
    fn problems(&self) -> Vec<Refusal> {
        let mut problems = Vec::new();
        if let Some(first) = self.ast.statements().first() {
            let message = "a policy holds functions only, and something stands outside of them";
            let refusal = refuse_at(self, first.position(), message);
            problems.push(refusal.hint("put it into a function"));
        }
        let mut wrong: Vec<_> = self
            .ast
            .iter_functions()
            .filter_map(|it| {
                let (message, hint) = why_not(&it)?;
                Some((self.place_of(it.name), message, hint))
            })
            .collect();
        wrong.sort();
        problems.extend(wrong.into_iter().map(|(place, message, hint)| {
            let refusal = refuse_at(self, place, &message);
            if hint.is_empty() { refusal } else { refusal.hint(hint) }
        }));
        problems
    }
}

impl Modules {
    /// These files, each with its text.
    ///
    /// # Errors
    /// Every fault found, each with its file and place.
    pub(super) fn compile(
        engine: &mut Engine,
        files: &[(PathBuf, String)],
    ) -> Result<Self, Vec<Refusal>> {
        announce(engine, files);
        let mut modules = Self::default();
        let mut problems = Vec::new();
        for (path, text) in files {
            match Script::compile(engine, path, text) {
                Ok(script) => {
                    problems.extend(script.problems());
                    problems.extend(modules.add(Rc::new(script)));
                }
                Err(refusal) => problems.push(refusal),
            }
        }
        if problems.is_empty() { Ok(modules) } else { Err(problems) }
    }

    /// Adds a file; says what another one has said already.
    fn add(&mut self, script: Rc<Script>) -> Vec<Refusal> {
        let mut problems = Vec::new();
        let bundled = zinit_stdlib::STRATEGIES.iter().any(|it| it.stem() == script.name);
        if bundled || script.name == "base" {
            let message = format!("a bundled module is called `{}`, too", script.name);
            problems.push(script.refuse(&message).hint("give the file another name"));
        }
        if let Some(other) = self.files.iter().find(|it| it.name == script.name) {
            let message = format!("{} has the same name", other.path.display());
            problems.push(script.refuse(&message));
        }
        for hook in HOOKS.iter().filter(|it| script.has(it.name)) {
            if let Some(first) = self.hooks.get(hook.name) {
                let place = first.script.path.display();
                let message = format!("`{}` stands in {place} already", hook.name);
                problems.push(refuse_at(&script, script.place_of(hook.name), &message));
            }
            let choice = Choice {
                script: Rc::clone(&script),
                function: hook.name.to_owned(),
                chosen_by: None,
            };
            self.hooks.insert(hook.name, choice);
        }
        self.files.push(script);
        problems
    }

    /// The function that takes the place of a hook for all services.
    pub(super) fn of_hook(&self, hook: &str) -> Option<&Choice> {
        self.hooks.get(hook)
    }

    /// The hooks of which a function takes the place.
    pub(super) fn hooks(&self) -> impl Iterator<Item = &'static str> {
        self.hooks.keys().copied()
    }

    /// The function that a service names for a hook: `mine`, `file::mine`, `strategy::mine`. With the
    /// hook `*` it is the name of a module.
    ///
    /// # Errors
    /// Why there is none: a sentence, and a hint or nothing.
    pub(super) fn named(
        &self,
        strategies: &Strategies,
        engine: &Engine,
        hook: &str,
        named: &str,
    ) -> Result<Choice, (String, String)> {
        let arity = hooks::find(hook).map_or(0, |it| it.params.len());
        let found: Vec<Choice> = match named.split_once("::") {
            Some((module, function)) => {
                let script = self.script(strategies, engine, module)?;
                vec![Choice { script, function: function.to_owned(), chosen_by: None }]
            }
            None => {
                let with = self.files.iter().filter(|it| it.has(named));
                with.map(|it| Choice {
                    script: Rc::clone(it),
                    function: named.to_owned(),
                    chosen_by: None,
                })
                .collect()
            }
        };
        let [choice] = found.as_slice() else {
            return Err(if found.is_empty() {
                (format!("no policy file has a function `{named}`"), self.nearest_named(named))
            } else {
                let hint = format!("say in which: `{}::{named}`", found[0].script.name);
                (format!("several policy files have a function `{named}`"), hint)
            });
        };
        match choice.script.arity(&choice.function) {
            Some(count) if count == arity => Ok(choice.clone()),
            Some(count) => Err((
                format!("`{hook}` takes {arity} parameters, and `{named}` takes {count}"),
                String::new(),
            )),
            None => Err((format!("there is no function `{named}`"), String::new())),
        }
    }

    /// The module of that name.
    ///
    /// # Errors
    /// As a sentence, and a hint or nothing.
    pub(super) fn script(
        &self,
        strategies: &Strategies,
        engine: &Engine,
        name: &str,
    ) -> Result<Rc<Script>, (String, String)> {
        let file = self.files.iter().find(|it| it.name == name).map(Rc::clone);
        file.or_else(|| strategies.get(engine, name)).ok_or_else(|| {
            let known = zinit_stdlib::STRATEGIES.iter().map(|it| it.stem());
            let known: Vec<&str> =
                known.chain(self.files.iter().map(|it| it.name.as_str())).collect();
            let hint = nearest(name, known.into_iter()).map(|it| format!("did you mean `{it}`?"));
            (format!("there is no policy file or strategy `{name}`"), hint.unwrap_or_default())
        })
    }

    fn nearest_named(&self, named: &str) -> String {
        let all = self.files.iter().flat_map(|it| it.ast.iter_functions());
        let known: Vec<&str> = all.map(|it| it.name).collect();
        nearest(named, known.into_iter())
            .map(|it| format!("did you mean `{it}`?"))
            .unwrap_or_default()
    }
}

/// Lets the files name each other, and the strategies, before any of them is compiled.
fn announce(engine: &mut Engine, files: &[(PathBuf, String)]) {
    let own = files.iter().filter_map(|(path, _)| path.file_stem()?.to_str());
    let strategies = zinit_stdlib::STRATEGIES.iter().map(|it| it.stem());
    for name in own.chain(strategies).filter(|it| *it != "base") {
        engine.register_static_module(name, Module::new().into());
    }
}

/// The bundled strategies, each compiled when it is first needed.
pub(super) struct Strategies(Vec<OnceCell<Rc<Script>>>);

impl Strategies {
    pub(super) fn new() -> Self {
        Self(zinit_stdlib::STRATEGIES.iter().map(|_| OnceCell::new()).collect())
    }

    /// The strategy of that name.
    pub(super) fn get(&self, engine: &Engine, name: &str) -> Option<Rc<Script>> {
        let at = zinit_stdlib::STRATEGIES.iter().position(|it| it.stem() == name)?;
        let source = &zinit_stdlib::STRATEGIES[at];
        let compiled = || {
            let script = Script::compile(engine, Path::new(source.path), source.source);
            Rc::new(script.expect("bundled strategies compile"))
        };
        Some(Rc::clone(self.0[at].get_or_init(compiled)))
    }
}

fn refuse(path: &Path, message: &str) -> Refusal {
    Refusal::new(Kind::BadConfig, format!("{}: {message}", path.display()))
        .with("path", path.display().to_string())
}

/// A refusal of what stands at this place of a file.
pub(super) fn refuse_at(script: &Script, at: Position, message: &str) -> Refusal {
    script.page().refuse(at, message)
}

fn does_not_compile(path: &Path, text: &str, error: &rhai::ParseError) -> Refusal {
    let mut said = error.err_type().to_string();
    if let Some(first) = said.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let refusal = Page { path, text }.refuse(error.position(), &said);
    match hint_for(error.err_type(), &said) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// What those mean who write what a policy cannot say.
fn hint_for(kind: &ParseErrorType, said: &str) -> Option<&'static str> {
    match kind {
        ParseErrorType::VariableUndefined(_) => {
            Some("a function sees its parameters and its own variables, and nothing outside of it")
        }
        _ if said.contains("import") => Some("another file is there as `FILE::FUNCTION`"),
        _ if said.contains("is disabled") => Some("a policy computes, and does nothing else"),
        _ => None,
    }
}

/// Why a user's function cannot stand where it stands, and what to do about it.
fn why_not(function: &rhai::ScriptFnMetadata<'_>) -> Option<(String, String)> {
    let (name, count) = (function.name, function.params.len());
    if let Some(hook) = hooks::find(name) {
        let arity = hook.params.len();
        if function.access == FnAccess::Private {
            let message = format!("`{name}` is private, so it takes the place of nothing");
            return Some((message, "take `private` away".to_owned()));
        }
        let wrong = format!("`{name}` takes {arity} parameters, this one takes {count}");
        return (count != arity).then(|| (wrong, format!("its head is `fn {}`", hook.signature())));
    }
    if name.starts_with(TEST_PREFIX) {
        let wrong = format!("`{name}` takes {count} parameters");
        return (count > 1).then(|| (wrong, "a test takes none, or `sim`".to_owned()));
    }
    if function.access == FnAccess::Private {
        return None;
    }
    let near = nearest(name, HOOKS.iter().map(|it| it.name))?;
    let hint = format!("did you mean `{near}`? one of your own needs a name that is less like it");
    Some((format!("`{name}` is no hook"), hint))
}

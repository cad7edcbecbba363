//! Asks a hook. The user's function is asked first, within a budget; when it fails, or says what is no
//! answer, the bundled one decides in the same instant, so that no script can stop supervision.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rhai::{AST, Array, CallFnOptions, Dynamic, Engine, EvalAltResult, Position, Scope};

use super::FAULTS_MAX;
use super::meter::{Meter, Spent};
use super::modules::{Choice, Modules, Strategies};
use crate::decision::Fault;
use crate::hooks::Hook;
use crate::view::ServiceView;

/// How deep hooks may ask hooks.
const DEPTH_MAX: u32 = 8;

/// What happens between the bundled table and a user's functions.
pub(super) struct Guard {
    pub(super) meter: Rc<Meter>,
    /// The hooks as they are bundled.
    pub(super) bundled: AST,
    pub(super) modules: Modules,
    pub(super) strategies: Strategies,
    /// What has gone wrong since somebody asked.
    faults: RefCell<Vec<Fault>>,
    /// How often each function has failed, by its place.
    benched: RefCell<BTreeMap<String, u32>>,
    /// What services name, resolved, by hook and name.
    named: RefCell<BTreeMap<(&'static str, String), Option<Choice>>>,
    /// The user's functions that took part in the decision that is being made.
    asked: RefCell<Vec<(&'static Hook, Choice)>>,
    depth: Cell<u32>,
    /// Functions that are not asked in this decision.
    passed_over: RefCell<Vec<String>>,
}

/// What is said of a failure.
pub(super) struct Failure {
    pub(super) function: String,
    pub(super) line: usize,
    pub(super) why: String,
    by_clock: bool,
}

impl Guard {
    pub(super) fn new(meter: Rc<Meter>, bundled: AST, modules: Modules) -> Self {
        Self {
            meter,
            bundled,
            modules,
            strategies: Strategies::new(),
            faults: RefCell::default(),
            benched: RefCell::default(),
            named: RefCell::default(),
            asked: RefCell::default(),
            depth: Cell::new(0),
            passed_over: RefCell::default(),
        }
    }

    /// Answers a hook: by the user's function if there is one, else by the bundled one.
    pub(super) fn answer(&self, engine: &Engine, hook: &'static Hook, args: Vec<Dynamic>) -> Said {
        if self.depth.get() >= DEPTH_MAX {
            return Err("hooks ask hooks without end".into());
        }
        self.depth.set(self.depth.get() + 1);
        let said = self.answer_at_depth(engine, hook, args);
        self.depth.set(self.depth.get() - 1);
        said
    }

    fn answer_at_depth(&self, engine: &Engine, hook: &'static Hook, args: Vec<Dynamic>) -> Said {
        let Some(choice) = self.choice(engine, hook, &args).filter(|it| !self.is_benched(it))
        else {
            return call(engine, &self.bundled, hook.name, args);
        };
        if self.meter.is_limited() {
            // Within another decision of the user's: it counts for that one.
            let said = call(engine, &choice.script.ast, &choice.function, args)?;
            hook.accept(&said)?;
            return Ok(said);
        }
        self.asked.borrow_mut().push((hook, choice.clone()));
        let depth = self.depth.get();
        self.meter.begin(items(&args));
        let ask = || call(engine, &choice.script.ast, &choice.function, args.clone());
        let said = catch_unwind(AssertUnwindSafe(ask));
        let spent = self.meter.end();
        // Whoever panicked has not come back up.
        self.depth.set(depth);
        match judge(hook, said, spent) {
            Ok(said) => Ok(said),
            Err(failure) => {
                self.note(hook, &choice, failure);
                call(engine, &self.bundled, hook.name, args)
            }
        }
    }

    /// The function that answers this hook about these.
    fn choice(&self, engine: &Engine, hook: &'static Hook, args: &[Dynamic]) -> Option<Choice> {
        let of_service = || {
            let service = args.first()?.read_lock::<ServiceView>()?;
            let found = self.find_named(engine, hook, &service.chosen(hook.name)?)?;
            Some(Choice { chosen_by: Some(service.name().clone()), ..found })
        };
        let found = if hook.is_of_service() { of_service() } else { None };
        found.or_else(|| self.modules.of_hook(hook.name).cloned())
    }

    /// What a service names; a module that says nothing about this hook is none.
    fn find_named(&self, engine: &Engine, hook: &'static Hook, named: &str) -> Option<Choice> {
        let key = (hook.name, named.to_owned());
        if let Some(found) = self.named.borrow().get(&key) {
            return found.clone();
        }
        let found = self.modules.named(&self.strategies, engine, hook.name, named).ok();
        self.named.borrow_mut().insert(key, found.clone());
        found
    }

    /// Forgets the failures of functions that this service has chosen: it is another one now.
    pub(super) fn forgive(&self, service: &str) {
        let mark = mark_of(service);
        self.benched.borrow_mut().retain(|place, _| !place.ends_with(&mark));
    }

    fn is_benched(&self, choice: &Choice) -> bool {
        let benched = self.benched.borrow();
        let passed_over = self.passed_over.borrow();
        if !passed_over.is_empty() && passed_over.contains(&choice.place()) {
            return true;
        }
        !benched.is_empty() && benched.get(&choice.place()).is_some_and(|it| *it >= FAULTS_MAX)
    }

    /// Counts faults of a function that were found elsewhere.
    pub(super) fn count(&self, place: &str, times: u32) {
        *self.benched.borrow_mut().entry(place.to_owned()).or_insert(0) += times;
    }

    /// Does not ask these functions until others are named.
    pub(super) fn pass_over(&self, places: Vec<String>) {
        *self.passed_over.borrow_mut() = places;
    }

    /// How often functions have failed, by their place.
    pub(super) fn failures(&self) -> BTreeMap<String, u32> {
        self.benched.borrow().clone()
    }

    fn note(&self, hook: &Hook, choice: &Choice, failure: Failure) {
        let mut benched = self.benched.borrow_mut();
        let count = benched.entry(choice.place()).or_insert(0);
        *count += 1;
        let within = (failure.function != choice.function && !failure.function.is_empty())
            .then(|| format!("in `{}`: ", failure.function));
        self.faults.borrow_mut().push(Fault {
            hook: hook.name.to_owned(),
            function: choice.function.clone(),
            path: choice.script.path.display().to_string(),
            line: if failure.line > 0 { failure.line } else { choice.line() },
            why: format!("{}{}", within.unwrap_or_default(), failure.why),
            benched: *count >= FAULTS_MAX,
            by_clock: failure.by_clock,
            chosen_by: choice.chosen_by.as_ref().map(ToString::to_string),
        });
    }

    /// A whole decision failed in which users' functions took part, though each has answered.
    pub(super) fn blame(&self, why: &str) {
        for (hook, choice) in std::mem::take(&mut *self.asked.borrow_mut()) {
            let why = why.to_owned();
            self.note(
                hook,
                &choice,
                Failure { function: String::new(), line: 0, why, by_clock: false },
            );
        }
    }

    /// Begins to note which functions take part in a decision.
    pub(super) fn begin(&self) {
        self.asked.borrow_mut().clear();
    }

    /// Whether functions of the user's took part in the decision.
    pub(super) fn took_part(&self) -> bool {
        !self.asked.borrow().is_empty()
    }

    /// What has gone wrong since the last time.
    pub(super) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut *self.faults.borrow_mut())
    }
}

impl Choice {
    /// The line of its file on which it begins.
    fn line(&self) -> usize {
        let head = format!("fn {}(", self.function);
        let at = self.script.text.lines().position(|it| it.trim_start().starts_with(&head));
        at.map_or(0, |it| it + 1)
    }

    /// What tells it from every other function: its file and its name, and the service that has
    /// chosen it, whose failures are its own.
    pub(super) fn place(&self) -> String {
        let mark = self.chosen_by.as_ref().map(|it| mark_of(it.as_str())).unwrap_or_default();
        format!("{}::{}{mark}", self.script.name, self.function)
    }
}

/// How the place of a function ends that a service has chosen.
pub(crate) fn mark_of(service: &str) -> String {
    format!(" for {service}")
}

/// What a script said.
pub(super) type Said = Result<Dynamic, Box<EvalAltResult>>;

/// Calls a function of a script.
pub(super) fn call(engine: &Engine, ast: &AST, function: &str, args: Vec<Dynamic>) -> Said {
    let options = CallFnOptions::new().eval_ast(false);
    engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, function, args)
}

/// How many elements the longest list among these has.
fn items(args: &[Dynamic]) -> usize {
    let lists = args.iter().filter_map(|it| it.read_lock::<Array>().map(|it| it.len()));
    lists.max().unwrap_or(0)
}

/// Whether the user's function has answered.
fn judge(
    hook: &Hook,
    said: std::thread::Result<Said>,
    spent: Option<Spent>,
) -> Result<Dynamic, Failure> {
    let by_clock = spent == Some(Spent::Cpu);
    let plain = |why: String| Failure { function: String::new(), line: 0, why, by_clock };
    match said {
        Err(_) => Err(plain("it panicked".to_owned())),
        Ok(Err(error)) => Err(Failure { by_clock, ..in_words(&error) }),
        Ok(Ok(_)) if spent.is_some() => Err(plain(USED_UP.to_owned())),
        Ok(Ok(said)) => hook.accept(&said).map(|()| said).map_err(plain),
    }
}

const USED_UP: &str = "the budget is used up";

/// What went wrong, in which function, and where.
pub(super) fn in_words(error: &EvalAltResult) -> Failure {
    let mut function = String::new();
    let mut at = error;
    let mut place = Position::NONE;
    while let EvalAltResult::ErrorInFunctionCall(name, _, inner, _) = at {
        function = name.rsplit("::").next().unwrap_or(name).to_owned();
        at = inner;
    }
    if !at.position().is_none() {
        place = at.position();
    }
    let mut bare = match at {
        EvalAltResult::ErrorTerminated(..) => USED_UP.to_owned(),
        EvalAltResult::ErrorRuntime(thrown, _) => thrown.to_string(),
        inner => inner.to_string(),
    };
    // The line is told in front of it.
    if let Some(cut) = bare.rfind(" (line ") {
        bare.truncate(cut);
    }
    Failure { function, line: place.line().unwrap_or(0), why: bare, by_clock: false }
}

/// The sentence for an error of the bundled policy.
pub(super) fn sentence(error: &EvalAltResult) -> String {
    let Failure { function, line, why, .. } = in_words(error);
    if function.is_empty() { why } else { format!("in `{function}`, line {line}: {why}") }
}

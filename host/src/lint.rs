//! Mistakes that the interpreter would tell only when it comes to them: calls of functions that exist
//! nowhere, and uses of properties that no service has. Nothing is told that might be fine.
//!
//! Policies are looked through when they are loaded (`policy`), scripts by `zinit check` (`scripts`).

pub(crate) mod scripts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, ScriptFnMetadata, Stmt};

use crate::hooks;
use crate::policy::TEST_PREFIX;
use crate::refusal::{Kind, Refusal, nearest};
use crate::script::width;

/// What Rhai itself understands, though no function is registered for it.
const OWN: [&str; 7] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared", "type_of"];

/// The parameters of hooks that are views, and as such have the properties that they have.
const VIEWS: [&str; 3] = ["service", "exit", "usage"];

/// How a getter of a property begins.
const GETTER: &str = "get$";

/// Names of functions, and with how many parameters they may be called.
pub(crate) type Counts = BTreeMap<String, BTreeSet<usize>>;

/// The words that a policy or a script may say.
#[derive(Clone, Default)]
pub(crate) struct Words {
    pub(crate) functions: Counts,
    /// The same functions as they are called after a dot.
    pub(crate) methods: Counts,
    pub(crate) properties: BTreeSet<String>,
    /// The primitives of `host::`.
    pub(crate) host: Counts,
}

impl Words {
    /// Those of this engine, its modules excepted.
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut words = Self::default();
        words.learn(engine);
        words
    }

    /// Adds those of another engine.
    pub(crate) fn learn(&mut self, engine: &Engine) {
        let each = |it: rhai::FuncInfo<'_>| {
            let name = it.metadata.name.to_string();
            Some((it.namespace == "host", it.script.is_some(), name, it.metadata.num_params))
        };
        for (is_host, is_script, name, count) in engine.collect_fn_metadata(None, each, true) {
            if is_host {
                self.host.entry(name).or_default().insert(count);
            } else if let Some(property) = name.strip_prefix(GETTER) {
                self.properties.insert(property.to_owned());
            } else {
                // What stands before the dot is the first parameter of a native, and `this` in a script.
                let after_dot = if is_script { Some(count) } else { count.checked_sub(1) };
                let methods = after_dot.map(|it| (self.methods.entry(name.clone()), it));
                methods.map(|(entry, it)| entry.or_default().insert(it));
                self.functions.entry(name).or_default().insert(count);
            }
        }
    }

    /// The names of all functions.
    pub(crate) fn names(self) -> BTreeSet<String> {
        self.functions.into_keys().collect()
    }
}

/// The functions of each module that a file may call, by its name; nothing if they are not known.
pub(crate) type Exports = BTreeMap<String, Option<Counts>>;

/// The functions of a file that others may call.
pub(crate) fn public(tree: &AST) -> Counts {
    let mut counts = Counts::new();
    for it in tree.iter_functions().filter(|it| it.access.is_public()) {
        counts.entry(it.name.to_owned()).or_default().insert(it.params.len());
    }
    counts
}

/// A text, and what messages call it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    /// Says no to what stands at a place of the text.
    pub(crate) fn refuse(self, at: Position, message: &str) -> Refusal {
        let Self { path, text } = self;
        let line = at.line().unwrap_or(text.lines().count().max(1));
        // At the very end of a line the position is 0.
        let column = at.position().unwrap_or(0).max(1);
        Refusal::new(Kind::BadConfig, format!("{}:{line}:{column}: {message}", path.display()))
            .with("path", path.display().to_string())
            .with("line", line)
            .with("column", column)
            .with("width", width(text, line, column))
            .with("source", text.lines().nth(line - 1).unwrap_or(""))
    }
}

/// What files may say, whichever of them it is.
pub(crate) struct Lint<'a> {
    /// What is there when a hook is asked.
    words: &'a Words,
    /// What is there in a test as well.
    of_tests: &'a Words,
    exports: &'a Exports,
    known: Known,
    /// Whether they are scripts, where nothing is a hook.
    is_script: bool,
}

impl<'a> Lint<'a> {
    /// For files that have these trees, all of them. A tree must be one that is not optimized, where
    /// every branch is left.
    pub(crate) fn new(
        words: &'a Words,
        of_tests: &'a Words,
        exports: &'a Exports,
        trees: &[AST],
    ) -> Self {
        let mut known = Known::default();
        trees.iter().for_each(|it| known.learn_all(it));
        Self { words, of_tests, exports, known, is_script: false }
    }

    /// For a script with this tree, which must not be optimized either.
    pub(crate) fn of_script(words: &'a Words, exports: &'a Exports, tree: &AST) -> Self {
        let mut known = Known::of(tree);
        // What a module brings along may be called after a dot.
        let others = exports.values().flatten().flat_map(BTreeMap::keys);
        known.methods.extend(others.cloned());
        Self { words, of_tests: words, exports, known, is_script: true }
    }

    /// What a file calls or uses that is not there.
    pub(crate) fn look_through(&self, place: Place<'_>, tree: &AST) -> Vec<Refusal> {
        let mut found = BTreeMap::new();
        if self.is_script {
            let (role, views) = (Role::Other, BTreeSet::new());
            let mut look = Look { lint: self, place, tree, role, views, found: &mut found };
            walk(tree, &mut |path| look.at(path));
            return found.into_values().collect();
        }
        for function in tree.iter_functions() {
            let body = body(tree, &function);
            let mut look = Look {
                lint: self,
                place,
                tree,
                role: Role::of(function.name),
                views: views(&function, &body),
                found: &mut found,
            };
            walk(&body, &mut |path| look.at(path));
        }
        found.into_values().collect()
    }
}

/// A function without the others.
fn body(tree: &AST, of: &ScriptFnMetadata<'_>) -> AST {
    let count = of.params.len();
    let mut body = tree.clone();
    body.retain_functions(|_, _, name, params| name == of.name && params == count);
    body
}

fn walk(tree: &AST, look: &mut impl FnMut(&[ASTNode<'_>])) {
    tree.walk(&mut |path: &[ASTNode<'_>]| {
        look(path);
        true
    });
}

/// What the files bring with them.
#[derive(Default)]
pub(crate) struct Known {
    /// Variables, parameters and keys of maps: they may hold functions.
    pub(crate) holders: BTreeSet<String>,
    /// What may be the name of a method: properties and texts become keys of maps, which may hold
    /// functions, and functions are methods.
    methods: BTreeSet<String>,
    /// How many parameters the functions take.
    own: Counts,
    /// Whether it makes code of texts, which may define anything.
    evaluates: bool,
}

impl Known {
    /// What one file brings.
    pub(crate) fn of(tree: &AST) -> Self {
        let mut known = Self::default();
        known.learn_all(tree);
        known
    }

    fn learn_all(&mut self, tree: &AST) {
        for function in tree.iter_functions() {
            self.holders.extend(function.params.iter().map(|it| (*it).to_owned()));
            self.own.entry(function.name.to_owned()).or_default().insert(function.params.len());
        }
        walk(tree, &mut |path| self.learn(path));
    }

    fn learn(&mut self, path: &[ASTNode<'_>]) {
        match path.last() {
            Some(ASTNode::Stmt(it)) => {
                self.evaluates |= matches!(it, Stmt::FnCall(it, _) if it.name == "eval");
                self.holders.extend(names_of(it));
            }
            Some(ASTNode::Expr(Expr::Map(it, ..))) => {
                self.holders.extend(it.0.iter().map(|(key, _)| key.name.to_string()));
            }
            Some(ASTNode::Expr(Expr::Property(it, ..))) => {
                self.methods.insert(it.2.to_string());
            }
            Some(ASTNode::Expr(Expr::FnCall(it, _))) => {
                self.evaluates |= it.name == "eval";
            }
            Some(ASTNode::Expr(Expr::StringConstant(it, ..))) => {
                self.methods.insert(it.to_string());
            }
            _ => {}
        }
    }
}

/// The names that a statement gives a value.
fn names_of(statement: &Stmt) -> Vec<String> {
    match statement {
        Stmt::Var(it, ..) => vec![it.0.name.to_string()],
        Stmt::For(it, ..) => {
            let second = it.1.as_ref().map(|it| it.name.to_string());
            std::iter::once(it.0.name.to_string()).chain(second).collect()
        }
        Stmt::TryCatch(it, ..) => variable(&it.expr).into_iter().collect(),
        Stmt::Assignment(it) => variable(&it.1.lhs).into_iter().collect(),
        // A closure has it as well, and may give it another value.
        Stmt::Share(it) => it.iter().map(|(name, _)| name.name.to_string()).collect(),
        _ => Vec::new(),
    }
}

fn variable(it: &Expr) -> Option<String> {
    if let Expr::Variable(it, ..) = it { Some(it.1.to_string()) } else { None }
}

/// What a function is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Hook,
    /// Whatever is wrong with it, it tells when it is run, before the policy decides anything.
    Test,
    /// Hooks may call it, and tests.
    Other,
}

impl Role {
    fn of(function: &str) -> Self {
        if hooks::find(function).is_some() {
            Self::Hook
        } else if function.starts_with(TEST_PREFIX) {
            Self::Test
        } else {
            Self::Other
        }
    }
}

/// The parameters of a hook that are views wherever it names them.
fn views(function: &ScriptFnMetadata<'_>, body: &AST) -> BTreeSet<String> {
    let params = hooks::find(function.name).map_or(&[][..], |it| it.params);
    let mut views: BTreeSet<String> = params
        .iter()
        .zip(&function.params)
        .filter(|(it, _)| VIEWS.contains(it))
        .map(|(_, name)| (*name).to_owned())
        .collect();
    walk(body, &mut |path| {
        if let Some(ASTNode::Stmt(it)) = path.last() {
            views.retain(|name| !names_of(it).contains(name));
        }
    });
    views
}

/// A look at one function.
struct Look<'a> {
    lint: &'a Lint<'a>,
    place: Place<'a>,
    tree: &'a AST,
    role: Role,
    views: BTreeSet<String>,
    /// By place, in the order of the text.
    found: &'a mut BTreeMap<(usize, usize), Refusal>,
}

impl Look<'_> {
    fn at(&mut self, path: &[ASTNode<'_>]) {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(it, at)) | ASTNode::Stmt(Stmt::FnCall(it, at))) => {
                if it.namespace.is_empty() {
                    self.at_call(it, *at);
                } else {
                    self.at_module(it, *at);
                }
            }
            Some(ASTNode::Expr(Expr::MethodCall(it, at))) => self.at_method(it, *at),
            Some(ASTNode::Expr(Expr::Dot(it, ..))) if self.is_view(&it.lhs) => {
                self.at_property(&it.rhs);
            }
            _ => {}
        }
    }

    fn is_view(&self, it: &Expr) -> bool {
        variable(it).is_some_and(|it| self.views.contains(&it))
    }

    /// The words that are there where this function is called.
    fn words(&self) -> &Words {
        if self.role == Role::Hook { self.lint.words } else { self.lint.of_tests }
    }

    fn at_call(&mut self, call: &FnCallExpr, at: Position) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.op_token.is_some() || !is_name(name) || self.is_held(name) {
            return;
        }
        let mut counts = self.own_counts(name);
        counts.extend(self.words().functions.get(name).into_iter().flatten());
        // What is captured from around a closure is passed to it as well.
        if counts.contains(&count) || call.capture_parent_scope {
            return;
        }
        self.tell(at, name, count, &counts);
    }

    fn at_method(&mut self, call: &FnCallExpr, at: Position) {
        let (name, count) = (call.name.as_str(), call.args.len());
        let known = &self.lint.known;
        let may_be_kept = known.methods.contains(name) || self.is_held(name);
        if self.role == Role::Test || !is_name(name) || may_be_kept {
            return;
        }
        let mut counts = known.own.get(name).cloned().unwrap_or_default();
        counts.extend(self.words().methods.get(name).into_iter().flatten());
        if !counts.contains(&count) && (counts.is_empty() || self.lint.is_script) {
            self.tell(at, name, count, &counts);
        }
    }

    /// Whether it may be a function that is kept in a variable or a map.
    fn is_held(&self, name: &str) -> bool {
        let known = &self.lint.known;
        OWN.contains(&name) || known.holders.contains(name) || known.evaluates
    }

    fn own_counts(&self, name: &str) -> BTreeSet<usize> {
        let own = self.tree.iter_functions().filter(|it| it.name == name);
        own.map(|it| it.params.len()).collect()
    }

    fn at_module(&mut self, call: &FnCallExpr, at: Position) {
        let module = call.namespace.root();
        if call.namespace.path.len() != 1 {
            return;
        }
        let lint = self.lint;
        let counts = match lint.exports.get(module) {
            Some(Some(counts)) => counts,
            None if lint.is_script && module == "host" => &lint.words.host,
            None if lint.is_script && module != "global" => return self.at_stranger(module, at),
            _ => return,
        };
        let (name, count) = (call.name.as_str(), call.args.len());
        let why = match counts.get(name) {
            Some(wanted) if wanted.contains(&count) => return,
            Some(wanted) if wanted.len() > 1 => {
                format!("there is no function `{module}::{name}` with {}", parameters(count))
            }
            Some(wanted) => {
                let wanted = wanted.first().copied().unwrap_or_default();
                format!("`{module}::{name}` takes {}", parameters(wanted))
            }
            None => format!("there is no function `{name}` in `{module}`"),
        };
        let refusal = self.place.refuse(at, &why);
        let near = nearest(name, counts.keys().map(String::as_str)).filter(|it| *it != name);
        self.keep(at, hinted(refusal, near.map(|it| format!("{module}::{it}"))));
    }

    /// A module that nothing imports.
    fn at_stranger(&mut self, module: &str, at: Position) {
        let why = format!("there is no module `{module}`");
        let refusal = self.place.refuse(at, &why);
        let known = self.lint.exports.keys().map(String::as_str).chain(["host"]);
        let refusal = match nearest(module, known) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint(format!("`import \"...\" as {module};` brings it")),
        };
        self.keep(at, refusal);
    }

    /// What stands right of the dot after a view.
    fn at_property(&mut self, right: &Expr) {
        let first = match right {
            Expr::Dot(it, ..) | Expr::Index(it, ..) => &it.lhs,
            it => it,
        };
        let Expr::Property(it, at) = first else { return };
        let name = it.2.as_str();
        // Natives without parameters of their own can be read like properties.
        if self.lint.words.properties.contains(name) || self.lint.words.functions.contains_key(name)
        {
            return;
        }
        let refusal = self.place.refuse(*at, &format!("nothing has a property `{name}`"));
        let near = nearest(name, self.lint.words.properties.iter().map(String::as_str));
        self.keep(*at, hinted(refusal, near.map(str::to_owned)));
    }

    fn tell(&mut self, at: Position, name: &str, count: usize, counts: &BTreeSet<usize>) {
        let why = match counts.first() {
            Some(wanted) if counts.len() == 1 => {
                format!("`{name}` takes {}, and is given {count}", parameters(*wanted))
            }
            Some(_) => format!("there is no function `{name}` with {}", parameters(count)),
            None => format!("there is no function `{name}`"),
        };
        let refusal = self.place.refuse(at, &why);
        let own: Vec<_> = self.tree.iter_functions().map(|it| it.name).collect();
        let known = self.words().functions.keys().map(String::as_str).chain(own);
        let near = nearest(name, known.filter(|it| is_name(it))).filter(|it| *it != name);
        let refusal = hinted(refusal, near.map(str::to_owned));
        self.keep(at, refusal);
    }

    fn keep(&mut self, at: Position, refusal: Refusal) {
        self.found.insert((at.line().unwrap_or(0), at.position().unwrap_or(0)), refusal);
    }
}

fn hinted(refusal: Refusal, near: Option<String>) -> Refusal {
    match near {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    }
}

/// Whether a user can have written it: closures have names as well.
fn is_name(name: &str) -> bool {
    name.starts_with(|it: char| it.is_alphabetic() || it == '_') && !name.contains('$')
}

/// So many parameters, in words.
pub(crate) fn parameters(count: usize) -> String {
    if count == 1 { "1 parameter".to_owned() } else { format!("{count} parameters") }
}

//! Mistakes that the interpreter would tell only when it comes to them: calls of functions that exist
//! nowhere, or that take other parameters. Nothing is told that might be fine.
//!
//! This is what policies ([`policy`](crate::policy)) and scripts ([`check`](crate::check)) have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rhai::{AST, ASTFlags, ASTNode, Engine, Expr, FnCallExpr, Position, ScriptFnMetadata, Stmt};

use crate::refusal::{Kind, Refusal, nearest};
use crate::script::width;

/// What Rhai itself understands, though no function is registered for it.
const OWN: [&str; 8] =
    ["Fn", "call", "curry", "eval", "is_def_fn", "is_def_var", "is_shared", "type_of"];

/// How a getter of a property begins.
const GETTER: &str = "get$";

/// Names of functions, each with how many parameters it may be given.
pub(crate) type Counts = BTreeMap<String, BTreeSet<usize>>;

/// What was found, by place, in the order of the text.
pub(crate) type Found = BTreeMap<(usize, usize), Refusal>;

/// The words that an engine knows.
#[derive(Clone, Default)]
pub(crate) struct Words {
    /// What can be called without a module.
    pub(crate) functions: Counts,
    /// What can be called after a dot, with what is given in the parentheses.
    methods: Counts,
    pub(crate) properties: BTreeSet<String>,
    /// The functions in namespaces.
    pub(crate) modules: BTreeMap<String, Counts>,
}

impl Words {
    /// Those of this engine.
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut words = Self::default();
        words.learn(engine);
        words
    }

    /// Adds those of another engine.
    pub(crate) fn learn(&mut self, engine: &Engine) {
        let each = |it: rhai::FuncInfo<'_>| {
            let (name, count) = (it.metadata.name.to_string(), it.metadata.num_params);
            let is_script = it.script.is_some();
            let is_typed = it.script.is_some_and(|it| it.this_type.is_some());
            // What stands before the dot is the first parameter of a native, and `this` in a script.
            let after_dot = if is_script { Some(count) } else { count.checked_sub(1) };
            let before = (!is_typed).then_some(count);
            Some((it.namespace.to_string(), name, before, after_dot))
        };
        for (module, name, count, after_dot) in engine.collect_fn_metadata(None, each, true) {
            if !module.is_empty() {
                add(self.modules.entry(module).or_default(), &name, count);
            } else if let Some(property) = name.strip_prefix(GETTER) {
                self.properties.insert(property.to_owned());
            } else {
                add(&mut self.functions, &name, count);
                add(&mut self.methods, &name, after_dot);
            }
        }
    }

    /// The names of all functions.
    pub(crate) fn names(self) -> BTreeSet<String> {
        self.functions.into_keys().chain(self.methods.into_keys()).collect()
    }
}

fn add(counts: &mut Counts, name: &str, count: Option<usize>) {
    let Some(count) = count else { return };
    counts.entry(name.to_owned()).or_default().insert(count);
}

/// The functions that a file has for itself.
pub(crate) fn own(tree: &AST) -> Counts {
    counts(tree.iter_functions())
}

/// The functions that others may call in a file.
pub(crate) fn exported(tree: &AST) -> Counts {
    counts(tree.iter_functions().filter(|it| it.access.is_public()))
}

fn counts<'a>(functions: impl Iterator<Item = ScriptFnMetadata<'a>>) -> Counts {
    let mut counts = Counts::new();
    for it in functions {
        add(&mut counts, it.name, Some(it.params.len()));
    }
    counts
}

/// A function without the others, and without what stands outside of functions.
pub(crate) fn body(tree: &AST, of: &ScriptFnMetadata<'_>) -> AST {
    let count = of.params.len();
    let mut body = tree.clone_functions_only();
    body.retain_functions(|_, _, name, params| name == of.name && params == count);
    body
}

/// Shows every node of a tree, each with those that it is in.
pub(crate) fn walk(tree: &AST, look: &mut dyn FnMut(&[ASTNode<'_>])) {
    tree.walk(&mut |path: &[ASTNode<'_>]| {
        visit(path, look);
        true
    });
}

fn visit(path: &[ASTNode<'_>], look: &mut dyn FnMut(&[ASTNode<'_>])) {
    look(path);
    // Rhai itself passes by what a loop is left with.
    if let Some(ASTNode::Stmt(Stmt::BreakLoop(Some(it), ..))) = path.last() {
        it.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
            visit(path, look);
            true
        });
    }
}

/// What the files bring with them.
#[derive(Default)]
pub(crate) struct Known {
    /// Variables, parameters and keys of maps: they may hold functions.
    pub(crate) holders: BTreeSet<String>,
    /// What may be the name of a method: properties and texts become keys of maps, which may hold
    /// functions, and functions are methods.
    methods: BTreeSet<String>,
    /// What the script itself asks for, whether it is there.
    pub(crate) doubted: BTreeSet<String>,
    /// Whether a map may hold a function under a key that is not written there: it is a method of any name.
    computes: bool,
}

impl Known {
    /// What one file brings.
    pub(crate) fn of(tree: &AST) -> Self {
        let mut known = Self::default();
        known.learn_all(tree);
        known
    }

    pub(crate) fn learn_all(&mut self, tree: &AST) {
        for function in tree.iter_functions() {
            self.holders.extend(function.params.iter().map(|it| (*it).to_owned()));
            self.methods.insert(function.name.to_owned());
        }
        walk(tree, &mut |path| self.learn(path));
    }

    fn learn(&mut self, path: &[ASTNode<'_>]) {
        match path.last() {
            Some(ASTNode::Stmt(it)) => self.holders.extend(names_of(it)),
            Some(ASTNode::Expr(Expr::Map(it, ..))) => {
                self.holders.extend(it.0.iter().map(|(key, _)| key.name.to_string()));
            }
            Some(ASTNode::Expr(Expr::Property(it, ..))) => {
                self.methods.insert(it.2.to_string());
            }
            Some(ASTNode::Expr(Expr::StringConstant(it, ..))) => {
                self.methods.insert(it.to_string());
            }
            _ => {}
        }
        self.computes |= path.last().is_some_and(keeps);
        if let Some((call, _)) = called(path)
            && ["is_def_fn", "is_def_var"].contains(&call.name.as_str())
        {
            self.doubted.extend(call.args.first().and_then(constant).map(str::to_owned));
        }
    }

    /// Whether it may be a function that is kept in a variable or a map.
    fn is_held(&self, name: &str) -> bool {
        OWN.contains(&name) || self.holders.contains(name) || self.doubted.contains(name)
    }
}

/// Whether a map may be given a function here, under a key that is not written there.
fn keeps(node: &ASTNode<'_>) -> bool {
    match node {
        ASTNode::Stmt(Stmt::Assignment(it)) => {
            !it.0.is_op_assignment() && is_computed(&it.1.lhs) && may_be_function(&it.1.rhs)
        }
        ASTNode::Expr(Expr::MethodCall(it, _)) if it.name == "set" => match &it.args[..] {
            [key, value] => !key.is_constant() && may_be_function(value),
            _ => false,
        },
        _ => false,
    }
}

/// Whether this ends in an index that is neither a text nor a number.
fn is_computed(it: &Expr) -> bool {
    match it {
        Expr::Index(it, flags, _) if flags.contains(ASTFlags::BREAK) => !it.rhs.is_constant(),
        Expr::Index(it, ..) | Expr::Dot(it, ..) => is_computed(&it.rhs),
        _ => false,
    }
}

/// Whether a value may be a function, as far as its text tells.
fn may_be_function(it: &Expr) -> bool {
    match it {
        Expr::FnCall(it, _) => it.op_token.is_none(),
        Expr::DynamicConstant(it, _) => it.is_fnptr(),
        Expr::InterpolatedString(..) | Expr::Array(..) | Expr::Map(..) => false,
        Expr::And(..) | Expr::Or(..) => false,
        _ => !it.is_constant(),
    }
}

/// The names that a statement gives a value.
pub(crate) fn names_of(statement: &Stmt) -> Vec<String> {
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

pub(crate) fn variable(it: &Expr) -> Option<String> {
    if let Expr::Variable(it, ..) = it { Some(it.1.to_string()) } else { None }
}

/// The text that an expression is.
pub(crate) fn constant(it: &Expr) -> Option<&str> {
    if let Expr::StringConstant(it, ..) = it { Some(it) } else { None }
}

/// The call of a function that a node is.
pub(crate) fn called<'a>(path: &[ASTNode<'a>]) -> Option<(&'a FnCallExpr, Position)> {
    match path.last()? {
        ASTNode::Expr(Expr::FnCall(it, at)) | ASTNode::Stmt(Stmt::FnCall(it, at)) => {
            Some((&**it, *at))
        }
        _ => None,
    }
}

/// A text that is looked through.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Page<'_> {
    /// A refusal of what stands at this place.
    pub(crate) fn refuse(self, at: Position, message: &str) -> Refusal {
        let lines = self.text.lines().count().max(1);
        let line = at.line().unwrap_or(lines);
        // At the very end of a line the position is 0.
        let column = at.position().unwrap_or(0).max(1);
        let path = self.path.display();
        Refusal::new(Kind::BadConfig, format!("{path}:{line}:{column}: {message}"))
            .with("path", path.to_string())
            .with("line", line)
            .with("column", column)
            .with("width", width(self.text, line, column))
            .with("source", self.text.lines().nth(line - 1).unwrap_or(""))
    }
}

/// What the calls in a text are held against.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) words: &'a Words,
    pub(crate) known: &'a Known,
    /// The functions of files that can be called there without a module.
    pub(crate) own: &'a Counts,
    /// The functions of the modules of which all functions are known.
    pub(crate) modules: &'a BTreeMap<String, Counts>,
}

impl Calls<'_> {
    /// What is wrong with the call of a function at this node.
    pub(crate) fn at_call(&self, path: &[ASTNode<'_>]) -> Option<(Position, Refusal)> {
        let (call, at) = called(path)?;
        let told = if call.namespace.is_empty() {
            self.of_function(call, at)
        } else {
            self.of_module(call, at)
        };
        Some((at, told?))
    }

    fn of_function(&self, call: &FnCallExpr, at: Position) -> Option<Refusal> {
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.op_token.is_some() || !is_name(name) || self.known.is_held(name) {
            return None;
        }
        let mut counts = self.own.get(name).cloned().unwrap_or_default();
        counts.extend(self.words.functions.get(name).into_iter().flatten());
        // What is captured from around a closure is passed to it as well.
        if counts.contains(&count) || call.capture_parent_scope {
            return None;
        }
        let refusal = self.page.refuse(at, &wrong(name, count, &counts));
        if counts.is_empty() && self.words.methods.contains_key(name) {
            return Some(refusal.hint(format!("it is a method: `x.{name}(...)`")));
        }
        Some(hinted(refusal, self.near(name, false)))
    }

    /// What is wrong with the call of a method at this node.
    pub(crate) fn at_method(&self, path: &[ASTNode<'_>]) -> Option<(Position, Refusal)> {
        let Some(ASTNode::Expr(Expr::MethodCall(call, at))) = path.last() else { return None };
        let (name, count) = (call.name.as_str(), call.args.len());
        let known = self.known;
        let may_be_kept = known.computes || known.methods.contains(name) || known.is_held(name);
        let counts = self.words.methods.get(name);
        if !is_name(name) || may_be_kept || counts.is_some_and(|it| it.contains(&count)) {
            return None;
        }
        let is_function = self.words.functions.contains_key(name);
        let why = match counts {
            None if is_function => format!("`{name}` is no method"),
            _ => wrong(name, count, counts.unwrap_or(&BTreeSet::new())),
        };
        let near = if counts.is_some() || is_function { None } else { self.near(name, true) };
        Some((*at, hinted(self.page.refuse(*at, &why), near)))
    }

    /// What somebody meant who wrote this name.
    fn near(&self, name: &str, is_method: bool) -> Option<String> {
        let methods = is_method.then_some(&self.words.methods).into_iter().flatten();
        let known = self.words.functions.iter().chain(self.own).chain(methods);
        let known = known.map(|(name, _)| name.as_str()).filter(|it| is_name(it));
        nearest(name, known).filter(|it| *it != name).map(str::to_owned)
    }

    fn of_module(&self, call: &FnCallExpr, at: Position) -> Option<Refusal> {
        let module = call.namespace.root();
        let counts = self.modules.get(module).filter(|_| call.namespace.path.len() == 1)?;
        let (name, count) = (call.name.as_str(), call.args.len());
        let why = match counts.get(name) {
            Some(wanted) if wanted.contains(&count) => return None,
            Some(wanted) => wrong(&format!("{module}::{name}"), count, wanted),
            None => format!("there is no function `{name}` in `{module}`"),
        };
        let known = counts.keys().map(String::as_str).filter(|it| is_name(it));
        let near = nearest(name, known).filter(|it| *it != name);
        Some(hinted(self.page.refuse(at, &why), near.map(|it| format!("{module}::{it}"))))
    }
}

/// Why a call with so many parameters fails.
fn wrong(name: &str, count: usize, wanted: &BTreeSet<usize>) -> String {
    let Some(last) = wanted.last() else { return format!("there is no function `{name}`") };
    let others: Vec<String> = wanted.range(..last).map(usize::to_string).collect();
    let first = if others.is_empty() { String::new() } else { others.join(", ") + " or " };
    format!("`{name}` takes {first}{}, and is given {count}", parameters(*last))
}

/// So many parameters, in words.
pub(crate) fn parameters(count: usize) -> String {
    if count == 1 { "1 parameter".to_owned() } else { format!("{count} parameters") }
}

/// With what was meant, if that can be guessed.
pub(crate) fn hinted(refusal: Refusal, near: Option<String>) -> Refusal {
    match near {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    }
}

/// Keeps what was told of a place.
pub(crate) fn keep(found: &mut Found, told: Option<(Position, Refusal)>) {
    if let Some((at, refusal)) = told {
        found.insert((at.line().unwrap_or(0), at.position().unwrap_or(0)), refusal);
    }
}

/// Whether a user can have written it: closures have names as well.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|it: char| it.is_alphabetic() || it == '_') && !name.contains('$')
}

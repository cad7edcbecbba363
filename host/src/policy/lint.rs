//! Mistakes that the interpreter would tell only when it comes to them: calls of functions that exist
//! nowhere, and uses of properties that no service has. Nothing is told that might be fine.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, ScriptFnMetadata, Stmt};

use super::TEST_PREFIX;
use super::modules::{Script, refuse_at};
use crate::hooks;
use crate::refusal::{Refusal, nearest};

/// What Rhai itself understands, though no function is registered for it.
const OWN: [&str; 7] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared", "type_of"];

/// The parameters of hooks that are views, and as such have the properties that they have.
const VIEWS: [&str; 3] = ["service", "exit", "usage"];

/// How a getter of a property begins.
const GETTER: &str = "get$";

/// The words that a policy may say: names, and with how many parameters.
#[derive(Clone)]
pub(super) struct Words {
    functions: BTreeMap<String, BTreeSet<usize>>,
    properties: BTreeSet<String>,
}

impl Words {
    /// Those of this engine, its modules excepted.
    pub(super) fn of(engine: &Engine) -> Self {
        let mut words = Self { functions: BTreeMap::new(), properties: BTreeSet::new() };
        words.learn(engine);
        words
    }

    /// Adds those of another engine.
    pub(super) fn learn(&mut self, engine: &Engine) {
        let each = |it: rhai::FuncInfo<'_>| {
            let is_global = it.namespace.is_empty();
            is_global.then(|| (it.metadata.name.to_string(), it.metadata.num_params))
        };
        for (name, count) in engine.collect_fn_metadata(None, each, true) {
            match name.strip_prefix(GETTER) {
                Some(property) => drop(self.properties.insert(property.to_owned())),
                None => drop(self.functions.entry(name).or_default().insert(count)),
            }
        }
    }

    /// The names of all functions.
    pub(super) fn names(self) -> BTreeSet<String> {
        self.functions.into_keys().collect()
    }
}

/// The functions of each module that a file may call, by its name.
pub(super) type Exports<'a> = BTreeMap<&'a str, &'a AST>;

/// What files may say, whichever of them it is.
pub(super) struct Lint<'a> {
    /// What is there when a hook is asked.
    words: &'a Words,
    /// What is there in a test as well.
    of_tests: &'a Words,
    exports: &'a Exports<'a>,
    known: Known,
}

impl<'a> Lint<'a> {
    /// For files that have these trees, all of them. A tree must be one that is not optimized, where
    /// every branch is left.
    pub(super) fn new(
        words: &'a Words,
        of_tests: &'a Words,
        exports: &'a Exports<'a>,
        trees: &[AST],
    ) -> Self {
        let mut known = Known::default();
        trees.iter().for_each(|it| known.learn_all(it));
        Self { words, of_tests, exports, known }
    }

    /// What a file calls or uses that is not there.
    pub(super) fn look_through(&self, script: &Script, tree: &AST) -> Vec<Refusal> {
        let mut found = BTreeMap::new();
        for function in tree.iter_functions() {
            let body = body(tree, &function);
            let mut look = Look {
                lint: self,
                script,
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
struct Known {
    /// Variables, parameters and keys of maps: they may hold functions.
    holders: BTreeSet<String>,
    /// What may be the name of a method: properties and texts become keys of maps, which may hold
    /// functions, and functions are methods.
    methods: BTreeSet<String>,
}

impl Known {
    fn learn_all(&mut self, tree: &AST) {
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
    script: &'a Script,
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
        let name = call.name.as_str();
        let known = &self.lint.known.methods;
        let is_there = self.words().functions.contains_key(name) || known.contains(name);
        if self.role == Role::Test || !is_name(name) || is_there || self.is_held(name) {
            return;
        }
        self.tell(at, name, call.args.len(), &BTreeSet::new());
    }

    /// Whether it may be a function that is kept in a variable or a map.
    fn is_held(&self, name: &str) -> bool {
        OWN.contains(&name) || self.lint.known.holders.contains(name)
    }

    fn own_counts(&self, name: &str) -> BTreeSet<usize> {
        let own = self.tree.iter_functions().filter(|it| it.name == name);
        own.map(|it| it.params.len()).collect()
    }

    fn at_module(&mut self, call: &FnCallExpr, at: Position) {
        let module = call.namespace.root();
        let exports = self.lint.exports;
        let Some(exported) = exports.get(module).filter(|_| call.namespace.path.len() == 1) else {
            return;
        };
        let public = exported.iter_functions().filter(|it| it.access.is_public());
        let mut counts: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for it in public {
            counts.entry(it.name).or_default().insert(it.params.len());
        }
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
        let refusal = refuse_at(self.script, at, &why);
        let near = nearest(name, counts.keys().copied()).filter(|it| *it != name);
        self.keep(at, hinted(refusal, near.map(|it| format!("{module}::{it}"))));
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
        let refusal = refuse_at(self.script, *at, &format!("nothing has a property `{name}`"));
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
        let refusal = refuse_at(self.script, at, &why);
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

fn parameters(count: usize) -> String {
    if count == 1 { "1 parameter".to_owned() } else { format!("{count} parameters") }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::policy::Policy;

    /// What is said against a policy, without its path; with hints.
    fn told(text: &str) -> Vec<String> {
        told_of(&[("policy.rhai", text)])
    }

    fn told_of(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| (PathBuf::from(path), (*text).to_owned());
        let problems = Policy::of(&files.iter().map(file).collect::<Vec<_>>()).err();
        let told = problems.unwrap_or_default().into_iter().map(|it| {
            let hint = it.hint.map(|it| format!(" ({it})")).unwrap_or_default();
            format!("{}{hint}", it.message)
        });
        told.collect()
    }

    #[test]
    fn a_call_of_nothing_is_told_even_where_no_test_comes() {
        let text = "fn restart_delay(service, attempt) {\n    if attempt > 99 {\n        \
            return restart_delayy(service, 1) + base::restart_dealy(service, 1);\n    }\n    0\n}";
        let expected = [
            "policy.rhai:3:16: there is no function `restart_delayy` (did you mean `restart_delay`?)",
            "policy.rhai:3:51: there is no function `restart_dealy` in `base` \
             (did you mean `base::restart_delay`?)",
        ];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn a_call_with_too_few_parameters_is_told() {
        let text = "fn gives_up(service, attempt) { mine(1) && base::gives_up(service) }\n\
            private fn mine(a, b) { a > b }";
        let expected = [
            "policy.rhai:1:33: `mine` takes 2 parameters, and is given 1",
            "policy.rhai:1:50: `base::gives_up` takes 2 parameters",
        ];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn a_property_that_nothing_has_is_told() {
        let text =
            "fn settle_ms(service) { if service.exits.len > 99 { service.atempts } else { 0 } }";
        let expected =
            ["policy.rhai:1:61: nothing has a property `atempts` (did you mean `attempts`?)"];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn a_method_of_nothing_is_told() {
        let text = "fn start_order(names) { names.srot(); names.reverse(); names }";
        let expected = ["policy.rhai:1:31: there is no function `srot` (did you mean `sort`?)"];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn what_may_be_fine_is_not_told() {
        for text in [
            "fn settle_ms(service) { if service.labels.tier == \"x\" { 1 } else { 2 } }",
            "fn settle_ms(service) { let l = service.labels; l.anything }",
            "fn settle_ms(service) { service.labels[\"zone\"].len }",
            "fn settle_ms(service) { let m = #{ slow: |x| x + 1 }; m.slow.call(1) }",
            "fn settle_ms(service) { let f = |x| x * 2; f.call(4) + [1, 2].map(|x| x + f.call(x)).len }",
            "fn settle_ms(service) { let f = Fn(\"mine\"); call(f, 1) }\nfn mine(a) { a }",
            "fn settle_ms(service) { mine(service) }\nprivate fn mine(it) { it.attempts }",
            "fn settle_ms(service) { let n = 0; for (p, i) in service.exits { n += p.ran_ms + i } n }",
            "fn settle_ms(service) { [1].len() + `${service.name}`.len }",
            "fn settle_ms(service) { switch service.state { \"Up\" => 1, _ => service.time.hour } }",
            "fn may_start(service) { wait(10, \"a moment\") }",
            "fn test_it() { restart_delay(sample(), 0) == 0 && sample().name.len > 0 }",
            "fn settle_ms(service) { try { throw #{ why: 1 } } catch (e) { e.why } }",
            "fn settle_ms(service) { try { base::settle_ms(service) } catch (e) { e.message } }",
            "fn stop_steps(service) { let steps = base::stop_steps(service); steps[0].wait_ms = 30_000; steps }",
            "fn settle_ms(service) { let m = #{}; m.total = 0; m.total += 1; m.total }",
            "fn settle_ms(service) { if type_of(service.pid) == service.pid.type_of() { 1 } else { 2 } }",
            "fn settle_ms(service) { let service = #{}; service.total = 1; service.total }",
            "fn settle_ms(service) { service = #{ total: 1 }; service.total }",
            "fn settle_ms(service) { for service in [#{ x: 1 }] { return service.total } 0 }",
            "fn settle_ms(service) { [#{}].map(|service| service.total).len }",
            "fn settle_ms(service) { let m = #{}; m.twice = |x| x * 2; m.twice(4) }",
            "fn settle_ms(service) { let m = #{}; m[\"twice\"] = |x| x * 2; m.twice(4) }",
            "fn settle_ms(service) { mine(#{}) }\nprivate fn mine(service) { service.total ?? 0 }",
            "fn test_it(sim) { begun(sim).srot() }\nprivate fn begun(sim) { sim.service(\"db\"); sim.advance(1); assert(true); sim }",
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }
    #[test]
    fn what_other_files_have_is_not_told() {
        let settings = "fn settings() { #{ limit: 7, twice: |x| x * 2 } }\n\
            fn of(a) { a }\nfn of(a, b) { a + b }";
        let policy = "fn settle_ms(service) {\n    let it = settings::settings();\n    \
            settings::settings().limit + it.limit + it.twice(2) + settings::of(1) + settings::of(1, 2)\n}";
        let files = [("policy.rhai", policy), ("policy/settings.rhai", settings)];
        assert_eq!(told_of(&files), Vec::<String>::new());
    }

    #[test]
    fn a_test_in_the_same_file_hides_nothing() {
        let text = "fn settle_ms(service) { service.atempts + [1].srot() }\n\
            fn gives_up(service, attempt) { assert(true); service.advance(1) }\n\
            fn test_it(sim) { sim.service(\"db\"); sim.advance(1); assert(true) }";
        let expected = [
            "policy.rhai:1:33: nothing has a property `atempts` (did you mean `attempts`?)",
            "policy.rhai:1:47: there is no function `srot` (did you mean `sort`?)",
            "policy.rhai:2:33: there is no function `assert` (did you mean `insert`?)",
            "policy.rhai:2:55: there is no function `advance`",
        ];
        assert_eq!(told(text), expected);
    }
}

//! Mistakes that the interpreter would tell only when it comes to them: calls of functions, and uses
//! of properties, that exist nowhere. Nothing is told that might be fine.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};

use super::modules::{Script, refuse_at};
use crate::refusal::{Refusal, nearest};

/// What Rhai itself understands, though no function is registered for it.
const OWN: [&str; 6] = ["Fn", "call", "curry", "is_def_fn", "is_def_var", "is_shared"];

/// How a getter of a property begins.
const GETTER: &str = "get$";

/// A map whose keys a user chooses.
const LABELS: &str = "labels";

/// The words that a policy may say: names, and with how many parameters.
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

/// What a file calls or uses that is not there. Its tree must be one that is not optimized, where
/// every branch is left.
pub(super) fn lint(
    words: &Words,
    exports: &Exports<'_>,
    script: &Script,
    ast: &AST,
) -> Vec<Refusal> {
    let mut lint =
        Lint { words, exports, script, ast, known: Known::of(ast), found: BTreeMap::new() };
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        lint.look(path);
        true
    });
    lint.found.into_values().collect()
}

/// What a file brings with it.
#[derive(Default)]
struct Known {
    /// Variables and parameters: they may hold functions.
    variables: BTreeSet<String>,
    /// The keys of its maps.
    keys: BTreeSet<String>,
    /// It has maps that come from elsewhere.
    strange_maps: bool,
    /// It is given what is not known here, as `sim` in tests.
    strange_values: bool,
}

impl Known {
    fn of(ast: &AST) -> Self {
        let mut known = Self::default();
        for function in ast.iter_functions() {
            known.variables.extend(function.params.iter().map(|it| (*it).to_owned()));
            let is_test = function.name.starts_with(super::TEST_PREFIX);
            known.strange_values |= is_test && !function.params.is_empty();
        }
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            known.learn(path);
            true
        });
        known
    }

    fn learn(&mut self, path: &[ASTNode<'_>]) {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(it, ..))) => {
                self.variables.insert(it.0.name.to_string());
            }
            Some(ASTNode::Stmt(Stmt::For(it, ..))) => {
                self.variables.insert(it.0.name.to_string());
            }
            Some(ASTNode::Expr(Expr::Map(it, ..))) => {
                self.keys.extend(it.0.iter().map(|(key, _)| key.name.to_string()));
            }
            Some(ASTNode::Expr(Expr::Property(it, ..))) if it.2 == LABELS => {
                // Whatever they are kept as, it has their keys.
                self.strange_maps |= !is_looked_into(path);
            }
            Some(ASTNode::Expr(Expr::FnCall(it, _) | Expr::MethodCall(it, _))) => {
                self.strange_maps |=
                    ["parse_json", "mixin", "fill_with", "set"].contains(&it.name.as_str());
            }
            Some(ASTNode::Expr(Expr::DynamicConstant(..))) => self.strange_maps = true,
            _ => {}
        }
    }
}

/// Whether a property is followed by one of its own at once.
fn is_looked_into(path: &[ASTNode<'_>]) -> bool {
    let Some(ASTNode::Expr(Expr::Property(_, at))) = path.last() else { return false };
    let parent = path.len().checked_sub(2).map(|it| &path[it]);
    match parent {
        Some(ASTNode::Expr(Expr::Dot(it, ..) | Expr::Index(it, ..))) => it.lhs.position() == *at,
        _ => false,
    }
}

struct Lint<'a> {
    words: &'a Words,
    exports: &'a Exports<'a>,
    script: &'a Script,
    ast: &'a AST,
    known: Known,
    /// By place, in the order of the text.
    found: BTreeMap<(usize, usize), Refusal>,
}

impl Lint<'_> {
    fn look(&mut self, path: &[ASTNode<'_>]) {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(it, at)) | ASTNode::Stmt(Stmt::FnCall(it, at))) => {
                if it.namespace.is_empty() {
                    self.look_at_call(it, *at);
                } else {
                    self.look_at_module(it, *at);
                }
            }
            Some(ASTNode::Expr(Expr::MethodCall(it, at))) => self.look_at_method(it, *at),
            Some(ASTNode::Expr(Expr::Property(it, at))) if !is_below_labels(path) => {
                self.look_at_property(&it.2, *at);
            }
            _ => {}
        }
    }

    fn look_at_call(&mut self, call: &FnCallExpr, at: Position) {
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.op_token.is_some() || !is_name(name) || self.is_mine(name) {
            return;
        }
        let mut counts = self.own_counts(name);
        counts.extend(self.words.functions.get(name).into_iter().flatten());
        // What is captured from around a closure is passed to it as well.
        if counts.contains(&count) || call.capture_parent_scope {
            return;
        }
        self.tell(at, name, count, &counts);
    }

    fn look_at_method(&mut self, call: &FnCallExpr, at: Position) {
        let name = call.name.as_str();
        let is_there = self.words.functions.contains_key(name) || !self.own_counts(name).is_empty();
        if !is_name(name) || is_there || self.is_mine(name) || self.known.strange_values {
            return;
        }
        self.tell(at, name, call.args.len(), &BTreeSet::new());
    }

    /// Whether it may be a function that is kept in a variable or a map.
    fn is_mine(&self, name: &str) -> bool {
        OWN.contains(&name) || self.known.variables.contains(name) || self.known.keys.contains(name)
    }

    fn own_counts(&self, name: &str) -> BTreeSet<usize> {
        let own = self.ast.iter_functions().filter(|it| it.name == name);
        own.map(|it| it.params.len()).collect()
    }

    fn look_at_module(&mut self, call: &FnCallExpr, at: Position) {
        let module = call.namespace.root();
        let Some(exported) = self.exports.get(module).filter(|_| call.namespace.path.len() == 1)
        else {
            return;
        };
        let public = exported.iter_functions().filter(|it| it.access.is_public());
        let counts: BTreeMap<&str, usize> = public.map(|it| (it.name, it.params.len())).collect();
        let (name, count) = (call.name.as_str(), call.args.len());
        let why = match counts.get(name) {
            Some(wanted) if *wanted == count => return,
            Some(wanted) => format!("`{module}::{name}` takes {}", parameters(*wanted)),
            None => format!("there is no function `{name}` in `{module}`"),
        };
        let refusal = refuse_at(self.script, at, &why);
        let near = nearest(name, counts.keys().copied()).filter(|it| *it != name);
        self.keep(at, hinted(refusal, near.map(|it| format!("{module}::{it}"))));
    }

    fn look_at_property(&mut self, name: &str, at: Position) {
        let Known { strange_maps, strange_values, keys, .. } = &self.known;
        if *strange_maps || *strange_values || keys.contains(name) {
            return;
        }
        // Natives without parameters of their own can be read like properties.
        if self.words.properties.contains(name) || self.words.functions.contains_key(name) {
            return;
        }
        let refusal = refuse_at(self.script, at, &format!("nothing has a property `{name}`"));
        let known = self.words.properties.iter().chain(keys).map(String::as_str);
        let near = nearest(name, known).map(str::to_owned);
        self.keep(at, hinted(refusal, near));
    }

    fn tell(&mut self, at: Position, name: &str, count: usize, counts: &BTreeSet<usize>) {
        let why = match counts.iter().next() {
            Some(wanted) if counts.len() == 1 => {
                format!("`{name}` takes {}, and is given {count}", parameters(*wanted))
            }
            Some(_) => format!("there is no function `{name}` with {}", parameters(count)),
            None => format!("there is no function `{name}`"),
        };
        let refusal = refuse_at(self.script, at, &why);
        let own: Vec<_> = self.ast.iter_functions().map(|it| it.name).collect();
        let known = self.words.functions.keys().map(String::as_str).chain(own);
        let near = nearest(name, known.filter(|it| is_name(it))).filter(|it| *it != name);
        self.keep(at, hinted(refusal, near.map(str::to_owned)));
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

/// Whether it is a key of `labels`: in `service.labels.tier`, what stands right of it.
fn is_below_labels(path: &[ASTNode<'_>]) -> bool {
    let is_labels = |it: &Expr| matches!(it, Expr::Property(it, _) if it.2 == LABELS);
    path.iter().rev().skip(1).any(|it| match it {
        ASTNode::Expr(Expr::Dot(it, ..) | Expr::Index(it, ..)) => is_labels(&it.lhs),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::policy::Policy;

    /// What is said against a policy, without its path; with hints.
    fn told(text: &str) -> Vec<String> {
        let problems = Policy::of(&[(PathBuf::from("policy.rhai"), text.to_owned())]).err();
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
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }
}

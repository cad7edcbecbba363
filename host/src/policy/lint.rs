//! What policies call and use that is not there: functions, and properties that no service has.
//! Nothing is told that might be fine.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Expr, Position, ScriptFnMetadata};

use super::TEST_PREFIX;
use super::modules::Script;
use crate::hooks;
use crate::lint::{
    Calls, Counts, Found, Known, Words, body, hinted, keep, names_of, own, variable, walk,
};
use crate::refusal::{Refusal, nearest};

/// The parameters of hooks that are views, and as such have the properties that they have.
const VIEWS: [&str; 3] = ["service", "exit", "usage"];

/// What files may say, whichever of them it is.
pub(super) struct Lint<'a> {
    /// What is there when a hook is asked.
    words: &'a Words,
    /// What is there in a test as well.
    of_tests: &'a Words,
    /// The functions of each module that a file may call, by its name.
    modules: &'a BTreeMap<String, Counts>,
    known: Known,
}

impl<'a> Lint<'a> {
    /// For files that have these trees, all of them. A tree must be one that is not optimized, where
    /// every branch is left.
    pub(super) fn new(
        words: &'a Words,
        of_tests: &'a Words,
        modules: &'a BTreeMap<String, Counts>,
        trees: &[AST],
    ) -> Self {
        let mut known = Known::default();
        trees.iter().for_each(|it| known.learn_all(it));
        Self { words, of_tests, modules, known }
    }

    /// What a file calls or uses that is not there.
    pub(super) fn look_through(&self, script: &Script, tree: &AST) -> Vec<Refusal> {
        let (mut found, own) = (Found::new(), own(tree));
        for function in tree.iter_functions() {
            let body = body(tree, &function);
            let role = Role::of(function.name);
            let words = if role == Role::Hook { self.words } else { self.of_tests };
            let (known, modules) = (&self.known, self.modules);
            let calls = Calls { page: script.page(), words, known, own: &own, modules };
            let look = Look { lint: self, calls, role, views: views(&function, &body) };
            walk(&body, &mut |path| look.at(path, &mut found));
        }
        found.into_values().collect()
    }
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
    calls: Calls<'a>,
    role: Role,
    views: BTreeSet<String>,
}

impl Look<'_> {
    fn at(&self, path: &[ASTNode<'_>], found: &mut Found) {
        keep(found, self.calls.at_call(path));
        if self.role != Role::Test {
            keep(found, self.calls.at_method(path));
        }
        if let Some(ASTNode::Expr(Expr::Dot(it, ..))) = path.last()
            && self.is_view(&it.lhs)
        {
            keep(found, self.at_property(&it.rhs));
        }
    }

    fn is_view(&self, it: &Expr) -> bool {
        variable(it).is_some_and(|it| self.views.contains(&it))
    }

    /// What stands right of the dot after a view.
    fn at_property(&self, right: &Expr) -> Option<(Position, Refusal)> {
        let first = match right {
            Expr::Dot(it, ..) | Expr::Index(it, ..) => &it.lhs,
            it => it,
        };
        let Expr::Property(it, at) = first else { return None };
        let (name, words) = (it.2.as_str(), self.lint.words);
        // Natives without parameters of their own can be read like properties.
        if words.properties.contains(name) || words.functions.contains_key(name) {
            return None;
        }
        let refusal = self.calls.page.refuse(*at, &format!("nothing has a property `{name}`"));
        let near = nearest(name, words.properties.iter().map(String::as_str));
        Some((*at, hinted(refusal, near.map(str::to_owned))))
    }
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
            "policy.rhai:1:50: `base::gives_up` takes 2 parameters, and is given 1",
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

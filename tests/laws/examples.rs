//! The examples in the documentation of the policy are true.

use std::path::Path;

use rhai::{AST, Engine, Module, Scope, Shared};
use zinit_host::spec::Spec;
use zinit_stdlib::Source;

/// The lines of the `rhai` blocks in a source, each with its line number.
fn examples(source: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let Some(doc) = line.trim().strip_prefix("///").map(str::trim) else { continue };
        match doc {
            "```rhai" => inside = true,
            "```" => inside = false,
            example if inside => found.push((number + 1, example.to_owned())),
            _ => {}
        }
    }
    found
}

fn engine() -> Engine {
    let mut engine = zinit_host::engine::pure();
    zinit_host::action::teach(&mut engine);
    zinit_host::view::teach(&mut engine);
    zinit_host::view::teach_samples(&mut engine);
    engine
}

#[test]
fn every_example_of_the_policy_is_true() {
    let engine = engine();
    let mut count = 0;
    let modules = zinit_stdlib::POLICY.iter();
    let compiled =
        modules.map(|it| engine.compile(it.source).expect("the bundled policy compiles"));
    let functions = compiled.reduce(|all, next| all.merge(&next)).expect("there are modules");
    for module in zinit_stdlib::POLICY {
        count += hold_true(&engine, &functions, &module);
    }
    assert!(count >= 10, "only {count} examples were found");
}

/// Evaluates the examples of a module with these functions; says how many there are.
fn hold_true(engine: &Engine, functions: &AST, module: &Source) -> usize {
    let all = examples(module.source);
    for (line, example) in &all {
        let call = engine.compile_expression(example).expect("an example is an expression");
        let said = engine.eval_ast::<bool>(&functions.merge(&call));
        assert!(matches!(said, Ok(true)), "{}:{line}: {example}: {said:?}", module.path);
    }
    all.len()
}

#[test]
fn every_example_of_a_strategy_is_true() {
    let mut engine = engine();
    let modules = zinit_stdlib::POLICY.iter();
    let compiled =
        modules.map(|it| engine.compile(it.source).expect("the bundled policy compiles"));
    let policy = compiled.reduce(|all, next| all.merge(&next)).expect("there are modules");
    let base = Module::eval_ast_as_new(Scope::new(), &policy, &engine).expect("functions only");
    let base: Shared<Module> = base.into();
    engine.register_static_module("base", Shared::clone(&base));
    // A strategy may ask a hook by its name, and another strategy.
    engine.register_global_module(base);
    for module in zinit_stdlib::STRATEGIES {
        let functions = engine.compile(module.source).expect("a bundled strategy compiles");
        let taught = Module::eval_ast_as_new(Scope::new(), &functions, &engine);
        engine.register_static_module(module.stem(), taught.expect("functions only").into());
    }
    for module in zinit_stdlib::STRATEGIES {
        let functions = engine.compile(module.source).expect("a bundled strategy compiles");
        assert!(hold_true(&engine, &functions, &module) > 0, "{} shows nothing", module.path);
    }
}

/// The functions of a script that have a name.
fn named(script: &AST) -> impl Iterator<Item = rhai::ScriptFnMetadata<'_>> {
    script.iter_functions().filter(|it| !it.name.starts_with("anon$"))
}

#[test]
fn a_strategy_answers_hooks_and_nothing_else() {
    let engine = engine();
    for module in zinit_stdlib::STRATEGIES {
        let functions = engine.compile(module.source).expect("a bundled strategy compiles");
        for function in named(&functions) {
            let hook = zinit_host::hooks::find(function.name);
            let is_hook = hook.is_some_and(|it| it.params.len() == function.params.len());
            let private = function.access == rhai::FnAccess::Private;
            assert!(is_hook || private, "{}: {}", module.path, function.name);
        }
    }
}

/// The `yaml` blocks in what a source says of itself.
fn services(source: &str) -> Vec<String> {
    let lines = source.lines().filter_map(|it| it.strip_prefix("//!"));
    let text: String =
        lines.map(|it| format!("{}\n", it.strip_prefix(' ').unwrap_or(it))).collect();
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|it| it.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_services_that_a_strategy_shows_are_accepted_and_have_it() {
    for module in zinit_stdlib::STRATEGIES {
        let shown = services(module.source);
        assert!(!shown.is_empty(), "{} shows no service", module.path);
        for text in shown {
            let spec = Spec::from_yaml(&text, Path::new(module.path));
            let spec = spec.unwrap_or_else(|refusal| panic!("{}: {refusal}", module.path));
            assert_eq!(spec.policy.get("*").map(String::as_str), Some(module.stem()));
        }
    }
}

#[test]
fn every_function_of_the_policy_is_documented_and_a_public_one_has_an_example() {
    let engine = engine();
    for module in zinit_stdlib::POLICY.iter().chain(&zinit_stdlib::STRATEGIES) {
        let functions = engine.compile(module.source).expect("the bundled policy compiles");
        for function in named(&functions) {
            let public = function.access == rhai::FnAccess::Public;
            let documented = !function.comments.is_empty();
            assert!(documented, "{}: {} has no doc", module.path, function.name);
            let shown = function.comments.iter().any(|it| it.contains("```rhai"));
            assert!(!public || shown, "{}: {} has no example", module.path, function.name);
        }
    }
}

#[test]
fn the_bundled_policy_is_short_and_so_is_each_of_its_functions() {
    let mut lines = 0;
    for module in zinit_stdlib::POLICY.iter().chain(&zinit_stdlib::STRATEGIES) {
        let is_code = |it: &&str| !it.trim().is_empty() && !it.trim_start().starts_with("//");
        let counts = usize::from(!module.path.contains("strategies/"));
        lines += counts * module.source.lines().filter(is_code).count();
        let mut head = "";
        let mut length = 0;
        for line in module.source.lines() {
            if line.starts_with("fn ") || line.starts_with("private fn ") {
                (head, length) = (line, 0);
            }
            length += 1;
            let ends = line == "}";
            assert!(!ends || length <= 25, "{}: {head} has {length} lines", module.path);
        }
    }
    assert!(lines < 600, "the bundled policy has {lines} lines");
    println!("the bundled policy has {lines} lines");
}

//! The examples in the documentation of the policy are true.

use rhai::Engine;

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
        for (line, example) in examples(module.source) {
            let call = engine.compile_expression(&example).expect("an example is an expression");
            let said = engine.eval_ast::<bool>(&functions.merge(&call));
            assert!(matches!(said, Ok(true)), "{}:{line}: {example}: {said:?}", module.path);
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} examples were found");
}

#[test]
fn every_function_of_the_policy_is_documented_and_a_public_one_has_an_example() {
    let engine = engine();
    for module in zinit_stdlib::POLICY {
        let functions = engine.compile(module.source).expect("the bundled policy compiles");
        for function in functions.iter_functions() {
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
    for module in zinit_stdlib::POLICY {
        let is_code = |it: &&str| !it.trim().is_empty() && !it.trim_start().starts_with("//");
        lines += module.source.lines().filter(is_code).count();
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

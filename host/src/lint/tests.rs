//! What is told of policies, and what is not.

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
    let text = "fn settle_ms(service) { if service.exits.len > 99 { service.atempts } else { 0 } }";
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

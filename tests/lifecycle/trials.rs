//! Tests of policies, as their users write them: text in, outcomes out.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use zinit_host::sim::words::documented;
use zinit_host::trial::{Limits, Outcome, beyond_server, rewritten, run, vet};

/// The outcomes of the tests in a file of this text.
fn outcomes(text: &str) -> Vec<Outcome> {
    let files = [("policy.rhai".into(), text.to_owned())];
    run(&files, &[], &Limits::of_command()).expect("it compiles")
}

/// What a test with this body fails with: the line, the sentence, the hint.
fn failure(body: &str) -> String {
    let outcomes = outcomes(&format!("fn test_it(sim) {{\n{body}\n}}"));
    let refusal = outcomes[0].result.clone().expect_err("it fails");
    let hint = refusal.hint.map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{}: {}{hint}", refusal.data["line"], refusal.message)
}

#[test]
fn every_example_of_a_word_for_tests_is_true() {
    let dir = std::env::temp_dir().join(format!("zinit-trials-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a temporary directory can be made");
    fs::write(dir.join("db.yaml"), "exec: db").expect("and written to");
    let words = documented();
    let mut text = String::new();
    let mut examples = Vec::new();
    for word in &words {
        let found = word.examples("rhai");
        assert!(!found.is_empty(), "`{}` has no example", word.signature());
        for example in found {
            text += &format!("fn test_{}(sim) {{ {example} }}\n", examples.len());
            examples.push(example);
        }
    }
    let files = [(dir.join("policy.rhai"), text)];
    let outcomes = run(&files, &[], &Limits::of_command()).expect("all examples compile");
    fs::remove_dir_all(&dir).expect("it was made above");
    assert!(outcomes.len() > 35, "only {} examples were found", outcomes.len());
    let wrong: Vec<_> = outcomes
        .iter()
        .filter_map(|it| Some((&examples[it.line - 1], it.result.as_ref().err()?, &it.output)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_service_under_construction_has_a_method_for_each_key() {
    for key in zinit_host::spec::KEYS {
        let message = failure(&format!("sim.service(\"db\").{}(#{{ no: [1] }});", key.name));
        assert!(!message.contains("not found"), "`{}`: {message}", key.name);
    }
}

#[test]
fn the_candidate_decides_in_the_world_and_its_keys_are_no_hooks() {
    let text = r#"
        fn restart_delay(service, attempt) { 7_000 }
        fn twice(service, attempt) { 14_000 }
        fn test_all(sim) {
            sim.service("db").restart_delay("3s");
            sim.service("web").policy("restart_delay", Fn("twice")).labels("tier", "front");
            sim.advance(1_000).exit("db", 1).exit("web", 1);
            sim.advance(6_999);
            assert_eq(sim.state("db"), "Backoff");
            sim.advance(1);
            assert_eq(sim.state("db"), "Spawned");
            assert_eq(sim.state("web"), "Backoff");
            sim.advance(7_000).state("web") == "Spawned"
        }
        fn test_pure() { restart_delay(sample(), 1) == 7_000 }
    "#;
    for outcome in outcomes(text) {
        assert!(outcome.result.is_ok(), "{outcome:#?}");
    }
}

#[test]
fn a_test_fails_when_it_says_false_or_throws_and_passes_otherwise() {
    let text = "fn test_a() { false }\nfn test_b() { throw \"no\" }\nfn test_c() { 1 }\n\
        fn test_d() { }\nfn test_e() { assert(false, \"never\") }\nfn helper() { false }";
    let told: Vec<String> = outcomes(text)
        .into_iter()
        .map(|it| match it.result {
            Ok(()) => format!("{} ok", it.name),
            Err(why) => format!("{} {}: {why}", it.name, why.data["line"]),
        })
        .collect();
    let expected = [
        "test_a 1: it answered `false`",
        "test_b 2: no",
        "test_c ok",
        "test_d ok",
        "test_e 5: never",
    ];
    assert_eq!(told, expected);
}

#[test]
fn mistakes_are_told_with_line_and_hint() {
    for (body, told) in [
        (
            "sim.service(\"web\");\nsim.exit(\"wbe\", 1);",
            "3: there is no service `wbe` (did you mean `web`?)",
        ),
        ("sim.exit(\"web\", 1);", "2: there is no service `web` (this world has no service yet)"),
        (
            "sim.service(\"web\", #{ afetr: \"db\" });",
            "2: unknown key `afetr` (did you mean `after`?)",
        ),
        (
            "sim.service(\"web\").status(\"stop\");\nsim.exit(\"web\", 1);",
            "3: no process of `web` lives that could end (at 0 ms it is Stopped: it was not started)",
        ),
        (
            "sim.service(\"web\");\nsim.exit(\"web\", \"SIGSEV\");",
            "3: `SIGSEV` is no end of a process (a code from 0 to 255, a signal such as \"SIGSEGV\", \
             or \"unknown\")",
        ),
        ("sim.advance(-1);", "2: time does not go back: -1 (a time is 0 or more)"),
        (
            "sim.at(\"tomorrow\");",
            "2: `tomorrow` is no time of a day (for example \"2026-03-01 02:30\")",
        ),
    ] {
        assert_eq!(failure(body), told);
    }
    let unknown = failure("sim.service(\"web\").restrat(\"never\");");
    assert_eq!(unknown, "2: there is no function `restrat` (did you mean `restart`?)");
    assert_eq!(failure("sim.exit(1);"), "2: `exit` does not take these: Sim, i64");
}

#[test]
fn a_mismatch_is_shown_within_the_timeline() {
    let text = "fn test_it(sim) {\n  sim.service(\"db\");\n  sim.expect(`\n    0 boot\n      \
        launch web\n      db is Spawned: it was launched\n  `);\n}";
    let outcome = outcomes(text).remove(0);
    let refusal = outcome.result.expect_err("it is not `web`");
    assert_eq!(refusal.data["line"], 3);
    assert!(
        outcome.output.starts_with("  0 boot\n-   launch web\n+   launch db\n"),
        "{}",
        outcome.output
    );
}

#[test]
fn an_update_writes_what_is_told_and_then_it_passes() {
    let text = "\
fn test_it(sim) {
    sim.service(\"db\");
    sim.expect(``);
    if sim.is_up(\"db\") == false {
        sim.advance(2_000).expect(`
            nothing
        `);
    }
    sim.outage(\"db\", 1_000).expect(`x`).expect(``);
    sim.start(\"db\").expect(`say ``hello```);
}
";
    let run_it = |text: &str, update: bool| {
        let files = [(PathBuf::from("policy.rhai"), text.to_owned())];
        run(&files, &[], &Limits { update, ..Limits::of_command() }).expect("it compiles").remove(0)
    };
    let outcome = run_it(text, true);
    assert!(outcome.result.is_ok(), "{outcome:#?}");
    let new = rewritten(text, &outcome.updates).expect("all of them are literals");
    let again = run_it(&new, false);
    assert!(again.result.is_ok(), "{new}\n{again:#?}");
    assert!(new.contains("    sim.expect(`\n        0 boot\n          launch db\n"), "{new}");
    assert!(new.contains("        sim.advance(2_000).expect(`\n            "), "{new}");
    assert_eq!(run_it(&new, true).updates, [], "what is right is left alone");
}

#[test]
fn a_text_that_is_no_literal_is_not_updated() {
    let updated = |text: &str| {
        let files = [(PathBuf::from("policy.rhai"), text.to_owned())];
        let limits = Limits { update: true, ..Limits::of_command() };
        let outcome = run(&files, &[], &limits).expect("it compiles").remove(0);
        rewritten(text, &outcome.updates)
    };
    for text in [
        "fn test_it(sim) { let it = \"x\"; sim.expect(it); }",
        "fn test_it(sim) { sim.expect(`x` + `y`); }",
        "fn test_it(sim) { sim.expect(`x`.to_upper()); }",
    ] {
        let refusal = updated(text).expect_err("there is no literal");
        let told = "policy.rhai:1: `expect` cannot be updated: its parameter is not one text";
        assert!(refusal.message.starts_with(told), "{refusal}");
    }
    let new = updated("fn test_it(sim) { sim.expect( `x` \n ); }").expect("blanks do not matter");
    assert!(new.starts_with("fn test_it(sim) { sim.expect( `\n"), "{new}");
}

#[test]
fn what_does_not_end_is_ended() {
    assert!(failure("loop {}").starts_with("1: it uses up too much time"));
    let limits = Limits { events: 1_000, ..Limits::of_command() };
    let text =
        "fn test_it(sim) { sim.service(\"db\").health(#{ tcp: \"a:1\" }); sim.advance(\"999d\") }";
    let outcome = run(&[("policy.rhai".into(), text.to_owned())], &[], &limits);
    let outcome = outcome.expect("it compiles").remove(0);
    let refusal = outcome.result.expect_err("there is too much");
    assert!(refusal.message.starts_with("too much happens: "), "{refusal}");
}

/// Why the test of this text fails with these limits: sentence and hint.
fn refused_with(text: &str, limits: &Limits) -> (String, String) {
    let outcome = run(&[("policy.rhai".into(), text.to_owned())], &[], limits);
    let refusal = outcome.expect("it compiles").remove(0).result.expect_err("there is too much");
    (refusal.message, refusal.hint.unwrap_or_default())
}

const ENDLESS: &str =
    "fn test_it(sim) { sim.service(\"db\").health(#{ tcp: \"a:1\" }); sim.advance(\"999d\") }";

#[test]
fn what_ends_for_its_cpu_time_says_so_and_what_a_server_gives() {
    let cpu = Duration::from_millis(20);
    let (message, _) = refused_with(ENDLESS, &Limits { cpu, ..Limits::of_command() });
    assert!(message.starts_with("it takes too long: its CPU time was used up by "), "{message}");
    assert!(!message.contains("a server gives"), "{message}");
    let (message, hint) = refused_with(ENDLESS, &Limits { cpu, ..Limits::of_server() });
    assert!(message.starts_with("it takes too long: "), "{message}");
    assert!(message.contains("a server gives the tests of a policy 1 s of CPU time"), "{message}");
    assert!(hint.contains("fewer hours") && hint.contains("only `zinit test` runs"), "{hint}");
    let limits = Limits { total_cpu: Duration::ZERO, ..Limits::of_server() };
    let (message, _) = refused_with("fn test_it() { true }", &limits);
    assert!(message.contains("used up all the CPU time; a server gives"), "{message}");
    let limits = Limits { ticks: 1_000, ..Limits::of_server() };
    let (message, _) = refused_with("fn test_it() { loop {} }", &limits);
    let told = "it uses up too much time: more than 1000 ticks of the interpreter; a server gives";
    assert!(message.starts_with(told), "{message}");
}

#[test]
fn tests_that_take_more_than_a_server_gives_are_told_of() {
    let mut all = outcomes("fn test_a() { true }\nfn test_b() { true }");
    assert_eq!(beyond_server(all.iter()), None);
    all.iter_mut().for_each(|it| it.took_cpu = Duration::from_millis(600));
    let told = beyond_server(all.iter()).expect("it is more than a second");
    assert!(told.contains("these took 1200 ms, so it would refuse this policy"), "{told}");
    all[1].took_events = Limits::of_server().events + 1;
    let told = beyond_server(all.iter()).expect("it is more than one may have");
    assert!(told.contains("`test_b` has 100001 events"), "{told}");
    let took =
        outcomes("fn test_a() { let n = 0; while n < 20_000 { n += 1 } }").remove(0).took_cpu;
    assert!(took > Duration::ZERO);
}

#[test]
fn only_tests_below_a_path_are_run() {
    let files = [
        (PathBuf::from("d/policy.rhai"), "fn test_a() { true }".to_owned()),
        (PathBuf::from("d/policy/b.rhai"), "fn test_b() { true }".to_owned()),
    ];
    // What is run before others would use up what they may.
    for (below, name) in [("d/policy.rhai", "test_a"), ("d/policy", "test_b")] {
        let limits = Limits { below: below.into(), ..Limits::of_command() };
        let outcomes = run(&files, &[], &limits).expect("it compiles");
        assert_eq!(outcomes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn a_policy_that_fails_in_its_world_fails_its_test() {
    let text = "fn restart_delay(service, attempt) { throw \"oh\" }\n\
        fn test_it(sim) { sim.service(\"db\"); sim.exit(\"db\", 1).advance(\"1m\").is_up(\"db\") }";
    let refusal = outcomes(text).remove(0).result.expect_err("the bundled one decided");
    assert!(refusal.message.contains("the policy failed in its world"), "{refusal}");
}

#[test]
fn a_policy_whose_tests_fail_is_not_loaded() {
    let files = |text: &str| [(PathBuf::from("policy.rhai"), text.to_owned())];
    assert_eq!(vet(&files("fn test_it() { true }")), Ok(()));
    let problems = vet(&files("\nfn test_it() { false }")).expect_err("its test fails");
    assert_eq!(problems[0].message, "policy.rhai:2: `test_it` failed: it answered `false`");
    assert!(vet(&files("fn restart_dela(a, b) { 1 }")).is_err());
}

#[test]
fn modules_beside_a_policy_have_tests_and_no_say() {
    let others = [(
        PathBuf::from("web.rhai"),
        "fn restart_delay(service, attempt) { 1 }\n\
         fn test_it(sim) { sim.service(\"db\"); sim.exit(\"db\", 1).advance(50).state(\"db\") == \"Backoff\" }"
            .to_owned(),
    )];
    let outcomes = run(&[], &others, &Limits::of_command()).expect("it compiles");
    assert!(outcomes[0].result.is_ok(), "{outcomes:#?}");
}

#[test]
fn modules_beside_a_policy_call_strategies_that_no_policy_file_names() {
    let text = "fn test_it() { decaying_score::restart_delay(sample(), 1) == 100 }".to_owned();
    let others = [(PathBuf::from("t1.rhai"), text)];
    for policy in [&[][..], &[("policy.rhai".into(), "fn settle_ms(service) { 1 }".to_owned())]] {
        let outcomes = run(policy, &others, &Limits::of_command()).expect("it compiles");
        assert!(outcomes[0].result.is_ok(), "{outcomes:#?}");
    }
}

#[test]
fn faults_are_lines_of_timelines_as_well() {
    let told = zinit_host::sim::play(
        "db lively notify check
         0 boot
         1000 slow_start db 5000
         1000 crash db
         20000 hang db
         40000 heal db
         60000 end",
    );
    for line in ["1000 slow_start db 5000", "1000 crash db", "20000 hang db", "40000 heal db"] {
        assert!(told.contains(line), "no {line:?} in\n{told}");
    }
}

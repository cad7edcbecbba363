//! A user's policy: asked first, and never able to stop supervision.

use expect_test::{Expect, expect};
use zinit_tests::sim::{play, play_with_policy};

fn check(policy: &str, timeline: &str, expected: Expect) {
    expected.assert_eq(&play_with_policy(policy, timeline));
}

/// Checks what is complained about, and that all else happens as under the bundled policy.
fn check_fallback(policy: &str, timeline: &str, complaints: Expect) {
    let told = play_with_policy(policy, timeline);
    let (complained, rest): (Vec<_>, Vec<_>) =
        told.split_inclusive('\n').partition(|it| it.starts_with(COMPLAINT));
    assert_eq!(rest.concat(), play(timeline), "not as bundled");
    complaints.assert_eq(&complained.concat().replace(COMPLAINT, ""));
}

/// How a line begins that somebody should read.
const COMPLAINT: &str = "  fault: ";

const CRASHES: &str = "
    web
    0 boot
    20 watch
    20 exit web 1
";

#[test]
fn a_hook_of_the_users_decides() {
    check(
        "fn restart_delay(service, attempt) { attempt * 7 }",
        CRASHES,
        expect![[r#"
            20 ends (exit 1) web
              arm web 27
              web is Backoff: it ended with exit 1; attempt 2 is next
            27 elapsed web
              launch web
              web is Spawned: it was launched
            27 started web
              arm web 37
            37 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn the_bundled_function_stays_callable_as_base() {
    let policy = "fn restart_delay(service, attempt) { base::restart_delay(service, attempt) + 1 }";
    check(
        policy,
        CRASHES,
        expect![[r#"
            20 ends (exit 1) web
              arm web 121
              web is Backoff: it ended with exit 1; attempt 2 is next
            121 elapsed web
              launch web
              web is Spawned: it was launched
            121 started web
              arm web 131
            131 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_hook_that_throws_costs_one_decision_and_three_bench_it() {
    let crashes_on = "
        200 exit web 1
        500 exit web 1
        1500 exit web 1
    ";
    check_fallback(
        r#"fn restart_delay(service, attempt) { throw "no" }"#,
        &format!("{CRASHES}{crashes_on}"),
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: no; the bundled function decided
            policy.rhai:1: `restart_delay` failed: no; the bundled function decided
            policy.rhai:1: `restart_delay` failed: no; the bundled function decided, and does so until the file changes
        "#]],
    );
}

#[test]
fn a_hook_that_loops_is_ended() {
    check_fallback(
        "fn restart_delay(service, attempt) { loop {} }",
        CRASHES,
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: the budget is used up; the bundled function decided
        "#]],
    );
}

#[test]
fn a_hook_that_answers_nonsense_is_not_believed() {
    check_fallback(
        r#"fn restart_delay(service, attempt) { "soon" }"#,
        CRASHES,
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: it answered "soon" and not a whole number from 0 on; the bundled function decided
        "#]],
    );
}

#[test]
fn a_hook_that_eats_memory_is_ended() {
    check_fallback(
        r#"fn restart_delay(service, attempt) { let s = "x"; loop { s += s; } }"#,
        CRASHES,
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: Length of string too large; the bundled function decided
        "#]],
    );
    check_fallback(
        "fn restart_delay(service, attempt) { let a = [1]; loop { a += a; } }",
        CRASHES,
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: Size of array/BLOB too large; the bundled function decided
        "#]],
    );
}

#[test]
fn a_hook_that_recurses_for_ever_is_ended() {
    check_fallback(
        "fn restart_delay(service, attempt) { restart_delay(service, attempt) }",
        CRASHES,
        expect![[r#"
            policy.rhai:1: `restart_delay` failed: Stack overflow; the bundled function decided
        "#]],
    );
}

#[test]
fn an_order_that_forgets_or_invents_services_starts_all_of_them_once() {
    let timeline = "
        a
        b
        c
        0 boot
    ";
    check(
        r#"fn start_order(names) { ["c", "ghost", "c"] }"#,
        timeline,
        expect![[r#"
            0 boot
              launch c
              c is Spawned: it was launched
              launch a
              a is Spawned: it was launched
              launch b
              b is Spawned: it was launched
            0 started c
              arm c 10
            0 started a
              arm a 10
            0 started b
              arm b 10
            10 elapsed a
              a is Running: it is up
            10 elapsed b
              b is Running: it is up
            10 elapsed c
              c is Running: it is up
        "#]],
    );
}

#[test]
fn a_policy_that_cannot_stand_is_refused_whole() {
    let refusals = |source: &str| {
        let refused = zinit_host::policy::Policy::of(&[("policy.rhai".into(), source.to_owned())]);
        let problems = refused.expect_err("it is refused");
        problems.iter().map(|it| format!("{it}\n")).collect::<String>()
    };
    expect![[r#"
        policy.rhai:1:1: `restart_delay` takes 2 parameters, this one takes 1
        policy.rhai:1:1: `restart_dely` is no hook
        policy.rhai:1:1: `gives_up` is private, so it takes the place of nothing
        policy.rhai:1:1: `test_it` takes 2 parameters
        policy.rhai:1:19: a policy holds functions only, and something stands outside of them
        policy.rhai:1:43: unexpected '}'
        policy.rhai:1:1: reserved keyword 'print' is disabled
        policy.rhai:1:33: reserved keyword 'eval' is disabled
        policy.rhai:1:33: 'import' is a reserved keyword
    "#]]
    .assert_eq(
        &[
            "fn restart_delay(service) { 1 }",
            "fn restart_dely(service, attempt) { 1 }",
            "private fn gives_up(service, attempt) { false }",
            "fn test_it(sim, more) { true }",
            "fn helper() { 1 } let x = 1;",
            "fn gives_up(service, attempt) { attempt > }",
            "print(1);",
            "fn gives_up(service, attempt) { eval(\"1\") }",
            "fn gives_up(service, attempt) { import \"x\" as x; true }",
        ]
        .map(refusals)
        .join(""),
    );
}

#[test]
fn steps_that_take_no_time_are_all_taken() {
    let policy = r#"fn stop_steps(service) {
        let now = #{ signal: "SIGCONT", wait_ms: 0 };
        [now, now, now, #{ signal: "SIGKILL", wait_ms: 0 }]
    }"#;
    let timeline = "
        web deaf
        0 boot
        50 watch
        100 down web
    ";
    check(
        policy,
        timeline,
        expect![[r#"
            100 down web
              signal web SIGCONT
              arm web 100
              web is Stopping: a stop was asked for
            100 elapsed web
              signal web SIGCONT
              arm web 100
              web is Stopping: a stop was asked for; now SIGCONT
            100 elapsed web
              signal web SIGCONT
              arm web 100
            100 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            100 ends (SIGKILL) web
              web is Stopped: it was stopped
        "#]],
    );
}

//! New configurations: what they change, and what they leave alone.

use expect_test::expect;

use crate::check;

#[test]
fn a_reload_touches_only_what_changed() {
    check(
        "
        a
        b
        c
        d
        0 boot
        100 watch
        100 plan a b/exec=other c/grace_ms=1 e f/status=stop
        200 reload a b/exec=other c/grace_ms=1 e f/status=stop
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_reload_that_closes_a_cycle_is_refused_and_changes_nothing() {
    check(
        "
        a
        b after=a
        0 boot
        100 watch
        100 reload a/after=b/exec=other b/after=a
        200 plan a b/after=a
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_changed_service_takes_those_along_that_require_it() {
    check(
        "
        db
        web requires=db
        0 boot
        100 watch
        100 reload db/exec=other web/requires=db
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_service_that_is_not_to_start_any_more_is_stopped() {
    check(
        "
        a
        b status=stop
        0 boot
        100 watch
        100 reload a/status=stop b
        ",
        expect![[r#""#]],
    );
}

#[test]
fn new_checks_count_for_the_process_that_runs() {
    check(
        "
        a
        0 boot
        100 watch
        100 reload a/check=1000
        1200 down a
        ",
        expect![[r#""#]],
    );
}

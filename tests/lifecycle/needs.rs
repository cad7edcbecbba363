//! What services need of one another: `requires`, `wants`, `before`, `conflicts`, and targets.

use expect_test::expect;

use crate::check;

#[test]
fn a_stop_takes_those_that_require_it_first_and_a_start_brings_them_back() {
    check(
        "
        db
        web requires=db
        0 boot
        100 watch
        100 down db
        200 up db
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_restart_takes_those_along_that_require_it() {
    check(
        "
        db
        web requires=db
        api requires=web
        log after=db
        0 boot
        100 watch
        100 restart db
        ",
        expect![[r#""#]],
    );
}

#[test]
fn those_that_only_come_after_it_are_left_alone() {
    check(
        "
        db
        web after=db
        0 boot
        100 watch
        100 down db
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_start_brings_up_what_is_required_wanted_and_waited_for() {
    check(
        "
        a status=stop
        b status=stop
        c status=stop
        web status=stop requires=a wants=b after=c
        0 boot
        100 watch
        100 up web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_service_that_starts_with_the_server_brings_up_what_it_requires_but_not_what_it_follows() {
    check(
        "
        a status=stop
        c status=stop
        web requires=a after=c
        0 boot
        ",
        expect![[r#""#]],
    );
}

#[test]
fn what_is_only_wanted_is_waited_for_but_may_fail() {
    check(
        "
        job oneshot
        web wants=job
        0 boot
        50 exit job 1
        ",
        expect![[r#""#]],
    );
}

#[test]
fn two_that_want_each_other_both_start() {
    check(
        "
        a wants=b
        b wants=a
        0 boot
        ",
        expect![[r#""#]],
    );
}

#[test]
fn what_goes_before_is_waited_for_while_it_starts() {
    check(
        "
        net notify before=web
        web
        0 boot
        100 ready net
        ",
        expect![[r#""#]],
    );
}

#[test]
fn who_is_asked_for_sends_its_rival_away() {
    check(
        "
        a conflicts=b
        b status=stop
        0 boot
        100 watch
        100 up b
        200 up a
        ",
        expect![[r#""#]],
    );
}

#[test]
fn of_two_rivals_that_start_with_the_server_the_first_one_runs() {
    check(
        "
        a conflicts=b
        b
        0 boot
        100 down a
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_target_is_done_when_what_it_needs_is_up() {
    check(
        "
        web
        db
        all target requires=web,db
        job oneshot after=all
        0 boot
        100 watch
        100 down db
        200 up db
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_restart_that_is_held_survives_the_brain() {
    check(
        "
        db
        web requires=db deaf grace_ms=500
        0 boot
        100 watch
        100 restart db
        200 crash
        ",
        expect![[r#""#]],
    );
}

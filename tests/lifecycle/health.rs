//! How a service shows that it is up and well, and what follows when it does not.

use expect_test::expect;

use crate::check;

#[test]
fn a_service_with_checks_is_up_when_they_hold_for_the_first_time() {
    check(
        "
        web check ill
        api after=web
        0 boot
        500 health web good
        ",
        expect![[r#""#]],
    );
}

#[test]
fn checks_that_fail_often_enough_restart_a_service_that_was_up() {
    check(
        "
        web check=1000
        0 boot
        2000 watch
        2500 health web bad
        5600 health web good
        ",
        expect![[r#""#]],
    );
}

#[test]
fn one_failure_is_forgiven() {
    check(
        "
        web check=1000
        0 boot
        2000 watch
        2500 health web bad
        3500 health web good
        5100 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_check_that_hangs_is_not_asked_again() {
    check(
        "
        web check=1000 hangs
        0 boot
        60000 checked web
        60500 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn what_is_not_ready_in_time_is_stopped_and_tried_again() {
    check(
        "
        web check ill start_ms=300
        0 boot
        350 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_process_says_that_it_is_ready() {
    check(
        "
        web notify
        api after=web
        0 boot
        500 ready web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn the_readiness_of_an_earlier_process_does_not_count() {
    check(
        "
        web notify
        0 boot
        100 exit web 1
        300 watch
        300 stale web
        400 ready web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_service_that_checks_and_speaks_is_up_when_both_agree() {
    check(
        "
        web notify check ill
        0 boot
        50 ready web
        300 health web good
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_service_that_gives_no_sign_of_life_is_restarted() {
    check(
        "
        web notify watchdog_ms=1000
        0 boot
        10 ready web
        500 ping web
        1400 ping web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_check_that_ends_after_its_process_changes_nothing() {
    check(
        "
        web check hangs
        0 boot
        100 exit web 1
        100 checked web
        150 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_new_brain_checks_again_what_the_old_one_was_checking() {
    check(
        "
        web check hangs
        0 boot
        100 watch
        100 crash
        200 checked web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_port_is_freed_before_the_start() {
    check(
        "
        web kills
        0 boot
        2000 watch
        2000 exit web 1
        ",
        expect![[r#""#]],
    );
}

//! Stop means empty: a service is down when nothing of it is left.

use expect_test::expect;

use crate::check;

#[test]
fn what_outlives_the_main_process_is_stopped_before_the_next_attempt() {
    check(
        "
        web litter grace_ms=500
        0 boot
        2000 watch
        2000 exit web 1
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_stop_waits_for_the_last_process_and_kills_it_in_the_end() {
    check(
        "
        web litter grace_ms=500
        0 boot
        100 watch
        100 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_oneshot_that_leaves_others_behind_is_done_when_they_are_gone() {
    check(
        "
        job oneshot litter grace_ms=500
        0 boot
        100 exit job 0
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_brain_that_comes_when_only_the_rest_lives_goes_on_with_it() {
    check(
        "
        web litter deaf grace_ms=500
        0 boot
        100 watch
        100 crash
        100 exit web 1
        200 crash
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_stop_command_comes_before_the_signal() {
    check(
        "
        web stop_cmd=bye grace_ms=500 deaf
        0 boot
        100 watch
        100 down web
        300 ran web 0
        700 exit web 0
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_stop_command_that_fails_is_not_waited_for() {
    check(
        "
        web stop_cmd=bye grace_ms=500
        0 boot
        100 watch
        100 down web
        150 ran web 1
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_stop_command_that_hangs_has_as_much_time_as_the_signal() {
    check(
        "
        web stop_cmd=bye grace_ms=500 deaf
        0 boot
        100 watch
        100 down web
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_service_that_is_deleted_while_it_starts_is_gone_when_its_process_is() {
    check(
        "
        web notify
        0 boot
        100 delete web
        ",
        expect![[r#""#]],
    );
}

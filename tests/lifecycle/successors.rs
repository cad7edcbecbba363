//! A brain dies, and the next one goes on where it stopped.

use expect_test::expect;

use crate::check;

#[test]
fn a_running_service_is_left_alone() {
    check(
        "
        web
        0 boot
        1000 watch
        1000 crash
        2000 exit web 1
        ",
        expect![[r#"
            1000 crash
            2000 ends (exit 1) web
              arm web 2000
              web is Backoff: it ended with exit 1
            2000 elapsed web
              launch web
              web is Spawned: it was launched
            2000 started web
              arm web 2010
            2010 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_oneshot_that_is_done_is_not_done_again() {
    check(
        "
        init oneshot
        web after=init
        0 boot
        20 exit init 0
        1000 watch
        1000 crash
        ",
        expect![[r#"
            1000 crash
        "#]],
    );
}

#[test]
fn a_backoff_goes_on() {
    check(
        "
        web delay_ms=1000
        0 boot
        20 exit web 1
        500 watch
        500 crash
        ",
        expect![[r#"
            500 crash
              arm web 1020
            1020 elapsed web
              launch web
              web is Spawned: it was launched
            1020 started web
              arm web 1030
            1030 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_stop_goes_on_to_the_kill() {
    check(
        "
        web deaf grace_ms=500
        0 boot
        100 watch
        100 down web
        300 crash
        ",
        expect![[r#"
            100 down web
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            300 crash
              arm web 600
            600 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            600 ends (SIGKILL) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn what_was_stopped_stays_stopped() {
    check(
        "
        web
        0 boot
        100 down web
        200 watch
        200 crash
        300 down web
        ",
        expect![[r#"
            200 crash
            300 down web
        "#]],
    );
}

#[test]
fn blocked_services_stay_blocked() {
    check(
        "
        web after=db
        0 boot
        100 crash
        200 define db
        ",
        expect![[r#"
            0 boot
              web is Blocked: it waits for `db`, which does not exist
            100 crash
            200 define db
              db is Stopped: it was not started
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            200 started db
              arm db 210
            210 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            210 started web
              arm web 220
            220 elapsed web
              web is Running: it is up
        "#]],
    );
}

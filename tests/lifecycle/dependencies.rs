//! Who starts when, and why somebody does not.

use expect_test::expect;

use crate::check;

#[test]
fn a_service_starts_when_what_it_waits_for_is_up() {
    check(
        "
        db
        web after=db
        0 boot
        ",
        expect![[r#"
            0 boot
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            0 started db
              arm db 10
            10 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            10 started web
              arm web 20
            20 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_oneshot_must_have_succeeded_before_its_dependents_start() {
    check(
        "
        init oneshot
        web after=init
        0 boot
        50 exit init 0
        ",
        expect![[r#"
            0 boot
              launch init
              init is Spawned: it was launched
              web is Blocked: it waits for `init`
            0 started init
              init is Running: it is up
            50 ends (exit 0) init
              init is Success: it is done
              launch web
              web is Spawned: it was launched
            50 started web
              arm web 60
            60 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn dependents_of_a_failed_oneshot_stay_blocked_until_it_succeeds() {
    check(
        "
        init oneshot
        web after=init
        0 boot
        50 exit init 1
        100 up init
        150 exit init 0
        ",
        expect![[r#"
            0 boot
              launch init
              init is Spawned: it was launched
              web is Blocked: it waits for `init`
            0 started init
              init is Running: it is up
            50 ends (exit 1) init
              init is Failed: it ended with exit 1
              web is Blocked: it waits for `init`, which has failed
            100 up init
              launch init
              init is Spawned: it was launched
              web is Blocked: it waits for `init`
            100 started init
              init is Running: it is up
            150 ends (exit 0) init
              init is Success: it is done
              launch web
              web is Spawned: it was launched
            150 started web
              arm web 160
            160 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_missing_dependency_blocks_until_it_is_defined() {
    check(
        "
        web after=db
        0 boot
        100 define db
        ",
        expect![[r#"
            0 boot
              web is Blocked: it waits for `db`, which does not exist
            100 define db
              db is Stopped: it was not started
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            100 started db
              arm db 110
            110 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            110 started web
              arm web 120
            120 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_cycle_is_reported_and_heals_when_an_edge_goes() {
    check(
        "
        a after=b
        b after=a
        c after=a
        0 boot
        100 define b
        ",
        expect![[r#"
            0 boot
              a is Blocked: it waits for itself: a -> b -> a
              b is Blocked: it waits for itself: b -> a -> b
              c is Blocked: it waits for `a`, which is blocked
            100 define b
              launch b
              b is Spawned: it was launched
              a is Blocked: it waits for `b`
            100 started b
              arm b 110
            110 elapsed b
              b is Running: it is up
              launch a
              a is Spawned: it was launched
              c is Blocked: it waits for `a`
            110 started a
              arm a 120
            120 elapsed a
              a is Running: it is up
              launch c
              c is Spawned: it was launched
            120 started c
              arm c 130
            130 elapsed c
              c is Running: it is up
        "#]],
    );
}

#[test]
fn a_service_that_waits_for_itself_says_so() {
    check(
        "
        a after=a
        0 boot
        100 define a
        ",
        expect![[r#"
            0 boot
              a is Blocked: it waits for itself: a -> a
            100 define a
              launch a
              a is Spawned: it was launched
            100 started a
              arm a 110
            110 elapsed a
              a is Running: it is up
        "#]],
    );
}

#[test]
fn a_service_waits_for_all_and_names_the_first_that_is_missing() {
    check(
        "
        a mute
        b mute
        web after=a,b
        0 boot
        ",
        expect![[r#"
            0 boot
              launch a
              a is Spawned: it was launched
              launch b
              b is Spawned: it was launched
              web is Blocked: it waits for `a` and 1 more
        "#]],
    );
}

#[test]
fn a_dependency_that_cannot_start_is_named_as_failed() {
    check(
        "
        db lost delay_ms=60000
        web after=db
        0 boot
        10 down db
        ",
        expect![[r#"
            0 boot
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            0 ends (exec: No such file or directory (ENOENT)) db
              arm db 60000
              db is Failed: it cannot start: exec: No such file or directory (ENOENT); attempt 2 is next
              web is Blocked: it waits for `db`, which has failed
            10 down db
              db is Stopped: it was stopped
              web is Blocked: it waits for `db`, which is stopped
        "#]],
    );
}

#[test]
fn a_dependency_that_was_deleted_is_missed_only_by_the_next_start() {
    check(
        "
        db
        web after=db
        0 boot
        100 watch
        100 delete db
        200 restart web
        300 define db
        ",
        expect![[r#"
            100 delete db
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
            100 ends (SIGTERM) db
              db is forgotten
            200 restart web
              signal web SIGTERM
              arm web 10200
              web is Stopping: a restart was asked for
            200 ends (SIGTERM) web
              web is Blocked: it waits for `db`, which does not exist
            300 define db
              db is Stopped: it was not started
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            300 started db
              arm db 310
            310 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            310 started web
              arm web 320
            320 elapsed web
              web is Running: it is up
        "#]],
    );
}

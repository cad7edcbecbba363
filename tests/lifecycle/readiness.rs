//! How a process says that it is ready, and what follows when it does not.

use expect_test::expect;

use crate::check;

#[test]
fn what_is_not_ready_in_time_is_stopped_and_tried_again() {
    check(
        "
        web check ill start_ms=300
        0 boot
        350 down web
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 10
              web is Spawned: its checks have not held yet
            10 elapsed web
              check web
              arm web 300
            10 checked web
              arm web 110
            110 elapsed web
              check web
              arm web 300
            110 checked web
            300 elapsed web
              signal web SIGTERM
              arm web 10300
              web is Stopping: it was not ready within 300 ms: test_tcp `db:1`: refused
            300 ends (SIGTERM) web
              arm web 400
              web is Backoff: it was not ready within 300 ms: test_tcp `db:1`: refused; attempt 2 is next
            350 down web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            0 boot
              api is Blocked: it waits for `web`, which is stopped
              launch web
              web is Spawned: it was launched
              api is Blocked: it waits for `web`
            0 started web
              web is Spawned: it has not said yet that it is ready
            500 ready web
              web is Running: it is up
              launch api
              api is Spawned: it was launched
            500 started api
              arm api 510
            510 elapsed api
              api is Running: it is up
        "#]],
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
        expect![[r#"
            300 ready web
            400 ready web
              web is Running: it is up
        "#]],
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
        600 end
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 10
              web is Spawned: its checks have not held yet
            10 elapsed web
              check web
            10 checked web
              arm web 110
            50 ready web
            110 elapsed web
              check web
            110 checked web
              arm web 310
            310 elapsed web
              check web
            310 checked web
              arm web 10310
              web is Running: its checks hold
        "#]],
    );
}

#[test]
fn what_never_was_ready_was_not_a_good_run() {
    check(
        "
        web notify start_ms=3000 max=2
        0 boot
        20000 end
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 3000
              web is Spawned: it has not said yet that it is ready
            3000 elapsed web
              signal web SIGTERM
              arm web 13000
              web is Stopping: it was not ready within 3 s
            3000 ends (SIGTERM) web
              arm web 3100
              web is Backoff: it was not ready within 3 s; attempt 2 is next
            3100 elapsed web
              launch web
              web is Spawned: it was launched
            3100 started web
              arm web 6100
              web is Spawned: it has not said yet that it is ready
            6100 elapsed web
              signal web SIGTERM
              arm web 16100
              web is Stopping: it was not ready within 3 s
            6100 ends (SIGTERM) web
              arm web 6300
              web is Backoff: it was not ready within 3 s; attempt 3 is next
            6300 elapsed web
              launch web
              web is Spawned: it was launched
            6300 started web
              arm web 9300
              web is Spawned: it has not said yet that it is ready
            9300 elapsed web
              signal web SIGTERM
              arm web 19300
              web is Stopping: it was not ready within 3 s
            9300 ends (SIGTERM) web
              web is Failed: it was not ready within 3 s; given up after 3 attempts
        "#]],
    );
}

#[test]
fn who_was_stopped_for_not_being_ready_has_failed_whatever_it_ends_with() {
    check(
        "
        a notify start_ms=1000 restart=never deaf
        b notify start_ms=1000 restart=on-failure deaf
        0 boot
        900 watch
        1100 exit a 0
        1100 exit b 0
        1150 down b
        ",
        expect![[r#"
            1000 elapsed a
              signal a SIGTERM
              arm a 11000
              a is Stopping: it was not ready within 1 s
            1000 elapsed b
              signal b SIGTERM
              arm b 11000
              b is Stopping: it was not ready within 1 s
            1100 ends (exit 0) a
              a is Failed: it was not ready within 1 s
            1100 ends (exit 0) b
              arm b 1200
              b is Backoff: it was not ready within 1 s; attempt 2 is next
            1150 down b
              b is Stopped: it was stopped
        "#]],
    );
}

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
        900 end
        ",
        expect![[r#"
            0 boot
              api is Blocked: it waits for `web`, which is stopped
              launch web
              web is Spawned: it was launched
              api is Blocked: it waits for `web`
            0 started web
              arm web 10
              web is Spawned: its checks have not held yet
            10 elapsed web
              check web
            10 checked web
              arm web 110
            110 elapsed web
              check web
            110 checked web
              arm web 310
            310 elapsed web
              check web
            310 checked web
              arm web 710
            710 elapsed web
              check web
            710 checked web
              arm web 10710
              web is Running: its checks hold
              launch api
              api is Spawned: it was launched
            710 started api
              arm api 720
            720 elapsed api
              api is Running: it is up
        "#]],
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
        7000 end
        ",
        expect![[r#"
            2010 elapsed web
              check web
            2010 checked web
              arm web 3010
            3010 elapsed web
              check web
            3010 checked web
              arm web 4010
            4010 elapsed web
              check web
            4010 checked web
              arm web 5010
            5010 elapsed web
              check web
            5010 checked web
              signal web SIGTERM
              arm web 15010
              web is Stopping: test_tcp `db:1`: refused, 3 times in a row
            5010 ends (SIGTERM) web
              arm web 5010
              web is Backoff: test_tcp `db:1`: refused, 3 times in a row
            5010 elapsed web
              launch web
              web is Spawned: it was launched
            5010 started web
              arm web 5020
              web is Spawned: its checks have not held yet
            5020 elapsed web
              check web
            5020 checked web
              arm web 5120
            5120 elapsed web
              check web
            5120 checked web
              arm web 5320
            5320 elapsed web
              check web
            5320 checked web
              arm web 5720
            5720 elapsed web
              check web
            5720 checked web
              arm web 6720
              web is Running: its checks hold
            6720 elapsed web
              check web
            6720 checked web
              arm web 7720
        "#]],
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
        expect![[r#"
            2010 elapsed web
              check web
            2010 checked web
              arm web 3010
            3010 elapsed web
              check web
            3010 checked web
              arm web 4010
            4010 elapsed web
              check web
            4010 checked web
              arm web 5010
            5010 elapsed web
              check web
            5010 checked web
              arm web 6010
            5100 down web
              signal web SIGTERM
              arm web 15100
              web is Stopping: a stop was asked for
            5100 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 10
              web is Spawned: its checks have not held yet
            10 elapsed web
              check web
            60000 checked web
              arm web 61000
              web is Running: its checks hold
            60500 down web
              signal web SIGTERM
              arm web 70500
              web is Stopping: a stop was asked for
            60500 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
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
        3000 end
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              web is Spawned: it has not said yet that it is ready
            10 ready web
              arm web 1010
              web is Running: it is up
            500 pinged web
              arm web 1500
            1400 pinged web
              arm web 2400
            2400 elapsed web
              signal web SIGTERM
              arm web 12400
              web is Stopping: it gave no sign of life for 1 s
            2400 ends (SIGTERM) web
              arm web 2400
              web is Backoff: it gave no sign of life for 1 s
            2400 elapsed web
              launch web
              web is Spawned: it was launched
            2400 started web
              web is Spawned: it has not said yet that it is ready
        "#]],
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
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 10
              web is Spawned: its checks have not held yet
            10 elapsed web
              check web
            100 ends (exit 1) web
              arm web 200
              web is Backoff: it ended with exit 1; attempt 2 is next
            150 down web
              web is Stopped: it was stopped
        "#]],
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
        300 end
        ",
        expect![[r#"
            100 crash
              arm web 100
              arm web 110
            110 elapsed web
              check web
            200 checked web
              arm web 10200
              web is Running: its checks hold
        "#]],
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
        3000 end
        ",
        expect![[r#"
            2000 ends (exit 1) web
              arm web 2000
              web is Backoff: it ended with exit 1
            2000 elapsed web
              free web 1
              web is Blocked: its port is being freed
            2000 port_freed web
              launch web
              web is Spawned: it was launched
            2000 started web
              arm web 2010
              web is Spawned: its checks have not held yet
            2010 elapsed web
              check web
            2010 checked web
              arm web 12010
              web is Running: its checks hold
        "#]],
    );
}

#[test]
fn a_brain_that_was_away_does_not_hold_that_against_a_service() {
    check(
        "
        web notify watchdog_ms=1000
        0 boot
        10 ready web
        900 watch
        900 crash
        1800 ping web
        2700 down web
        ",
        expect![[r#"
            900 crash
              arm web 1900
            1800 pinged web
              arm web 2800
            2700 down web
              signal web SIGTERM
              arm web 12700
              web is Stopping: a stop was asked for
            2700 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn checks_that_are_taken_away_are_not_waited_for() {
    check(
        "
        web check=1000 ill
        0 boot
        950 watch
        950 reload web
        5000 end
        ",
        expect![[r#"
            950 reload web
              Update web (`health` changed)
            1510 elapsed web
              web is Running: it is up
        "#]],
    );
}

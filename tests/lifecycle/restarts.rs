//! What happens after an exit that nobody asked for.

use expect_test::expect;

use crate::check;

#[test]
fn after_a_stable_run_the_restart_is_immediate() {
    check(
        "
        web
        0 boot
        5000 watch
        5000 exit web SIGKILL
        ",
        expect![[r#"
            5000 ends (SIGKILL) web
              arm web 5000
              web is Backoff: it ended with SIGKILL
            5000 elapsed web
              launch web
              web is Spawned: it was launched
            5000 started web
              arm web 5010
            5010 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_crash_loop_backs_off_and_a_stable_run_forgives_it() {
    check(
        "
        web
        0 boot
        20 watch
        20 exit web 1
        130 exit web 1
        340 exit web 1
        9000 exit web 1
        ",
        expect![[r#"
            20 ends (exit 1) web
              arm web 120
              web is Backoff: it ended with exit 1; attempt 2 is next
            120 elapsed web
              launch web
              web is Spawned: it was launched
            120 started web
              arm web 130
            130 elapsed web
              web is Running: it is up
            130 ends (exit 1) web
              arm web 330
              web is Backoff: it ended with exit 1; attempt 3 is next
            330 elapsed web
              launch web
              web is Spawned: it was launched
            330 started web
              arm web 340
            340 elapsed web
              web is Running: it is up
            340 ends (exit 1) web
              arm web 740
              web is Backoff: it ended with exit 1; attempt 4 is next
            740 elapsed web
              launch web
              web is Spawned: it was launched
            740 started web
              arm web 750
            750 elapsed web
              web is Running: it is up
            9000 ends (exit 1) web
              arm web 9000
              web is Backoff: it ended with exit 1
            9000 elapsed web
              launch web
              web is Spawned: it was launched
            9000 started web
              arm web 9010
            9010 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_delay_of_the_services_own_takes_the_place_of_the_first_hundred() {
    check(
        "
        web delay_ms=5000
        0 boot
        20 watch
        20 exit web 0
        ",
        expect![[r#"
            20 ends (exit 0) web
              arm web 5020
              web is Backoff: it ended with exit 0; attempt 2 is next
            5020 elapsed web
              launch web
              web is Spawned: it was launched
            5020 started web
              arm web 5030
            5030 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_program_that_does_not_exist_is_failed_and_tried_again() {
    check(
        "
        web lost delay_ms=1000
        0 boot
        1500 down web
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 ends (exec: No such file or directory (ENOENT)) web
              arm web 1000
              web is Failed: it cannot start: exec: No such file or directory (ENOENT); attempt 2 is next
            1000 elapsed web
              launch web
              web is Spawned: it was launched
            1000 ends (exec: No such file or directory (ENOENT)) web
              arm web 3000
              web is Failed: it cannot start: exec: No such file or directory (ENOENT); attempt 3 is next
            1500 down web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_oneshot_is_not_tried_again() {
    check(
        "
        job oneshot
        0 boot
        20 exit job 3
        40 up job
        60 exit job 0
        ",
        expect![[r#"
            0 boot
              launch job
              job is Spawned: it was launched
            0 started job
              job is Running: it is up
            20 ends (exit 3) job
              job is Failed: it ended with exit 3
            40 up job
              launch job
              job is Spawned: it was launched
            40 started job
              job is Running: it is up
            60 ends (exit 0) job
              job is Success: it is done
        "#]],
    );
}

#[test]
fn an_impatient_user_need_not_wait_for_the_backoff() {
    check(
        "
        web delay_ms=60000
        0 boot
        20 watch
        20 exit web 1
        30 up web
        ",
        expect![[r#"
            20 ends (exit 1) web
              arm web 60020
              web is Backoff: it ended with exit 1; attempt 2 is next
            30 up web
              launch web
              web is Spawned: it was launched
            30 started web
              arm web 40
            40 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_start_of_what_runs_changes_nothing() {
    check(
        "
        web
        0 boot
        50 watch
        50 up web
        60 up web
        ",
        expect![[r#"
            50 up web
            60 up web
        "#]],
    );
}

#[test]
fn the_same_configuration_again_restarts_nothing() {
    check(
        "
        web
        0 boot
        50 watch
        50 define web
        60 define web exec=other
        ",
        expect![[r#"
            50 define web
            60 define web exec=other
              signal web SIGTERM
              arm web 10060
              web is Stopping: its configuration changed
            60 ends (SIGTERM) web
              launch web
              web is Spawned: it was launched
            60 started web
              arm web 70
            70 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_service_is_given_up_after_so_many_attempts() {
    check(
        "
        web max=2 give_up=bell
        0 boot
        1100 watch
        1100 exit web 1
        1150 exit web 1
        1300 exit web 1
        1600 exit web 1
        1700 up web
        ",
        expect![[r#"
            1100 ends (exit 1) web
              arm web 1100
              web is Backoff: it ended with exit 1
            1100 elapsed web
              launch web
              web is Spawned: it was launched
            1100 started web
              arm web 1110
            1110 elapsed web
              web is Running: it is up
            1150 ends (exit 1) web
              arm web 1250
              web is Backoff: it ended with exit 1; attempt 2 is next
            1250 elapsed web
              launch web
              web is Spawned: it was launched
            1250 started web
              arm web 1260
            1260 elapsed web
              web is Running: it is up
            1300 ends (exit 1) web
              arm web 1500
              web is Backoff: it ended with exit 1; attempt 3 is next
            1500 elapsed web
              launch web
              web is Spawned: it was launched
            1500 started web
              arm web 1510
            1510 elapsed web
              web is Running: it is up
            1600 ends (exit 1) web
              run web give_up: bell
              web is Failed: it ended with exit 1; given up after 3 attempts
            1700 up web
              launch web
              web is Spawned: it was launched
            1700 started web
              arm web 1710
            1710 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_service_is_started_again_only_after_the_ends_that_it_names() {
    check(
        "
        a restart=never
        b restart=on-failure
        c restart=on-failure
        j restart=on-failure oneshot
        0 boot
        2000 watch
        2000 exit a 1
        2000 exit b 0
        2000 exit c 1
        2000 exit j 1
        ",
        expect![[r#"
            2000 ends (exit 1) a
              a is Failed: it ended with exit 1
            2000 ends (exit 0) b
              b is Success: it ended with exit 0
            2000 ends (exit 1) c
              arm c 2000
              c is Backoff: it ended with exit 1
            2000 elapsed c
              launch c
              c is Spawned: it was launched
            2000 started c
              arm c 2010
            2000 ends (exit 1) j
              arm j 2000
              j is Backoff: it ended with exit 1
            2000 elapsed j
              launch j
              j is Spawned: it was launched
            2000 started j
              j is Running: it is up
            2010 elapsed c
              c is Running: it is up
        "#]],
    );
}

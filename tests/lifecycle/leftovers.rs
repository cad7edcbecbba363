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
        expect![[r#"
            2000 died web
              signal web SIGTERM
              arm web 2500
              web is Stopping: its main process ended with exit 1, and others live on
            2500 elapsed web
              signal web SIGKILL
              web is Stopping: its main process ended with exit 1, and others live on; now SIGKILL
            2500 ends (exit 1) web
              arm web 2500
              web is Backoff: its main process ended with exit 1, and others live on; now SIGKILL
            2500 elapsed web
              launch web
              web is Spawned: it was launched
            2500 started web
              arm web 2510
            2510 elapsed web
              web is Running: it is up
        "#]],
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
        expect![[r#"
            100 down web
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            100 died web
            600 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            600 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            0 boot
              launch job
              job is Spawned: it was launched
            0 started job
              job is Running: it is up
            100 died job
              signal job SIGTERM
              arm job 600
              job is Stopping: its main process ended with exit 0, and others live on
            600 elapsed job
              signal job SIGKILL
              job is Stopping: its main process ended with exit 0, and others live on; now SIGKILL
            600 ends (exit 0) job
              job is Success: it is done
        "#]],
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
        expect![[r#"
            100 crash
            100 died web
              signal web SIGTERM
              arm web 600
              web is Stopping: its main process ended with exit 1, and others live on
            200 crash
              arm web 600
            600 elapsed web
              signal web SIGKILL
              web is Stopping: its main process ended with exit 1, and others live on; now SIGKILL
            600 ends (exit 1) web
              arm web 700
              web is Backoff: its main process ended with exit 1, and others live on; now SIGKILL; attempt 2 is next
            700 elapsed web
              launch web
              web is Spawned: it was launched
            700 started web
              arm web 710
            710 elapsed web
              web is Running: it is up
        "#]],
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
        expect![[r#"
            100 down web
              run web stop: bye
              arm web 600
              web is Stopping: a stop was asked for
            300 ran web
            600 elapsed web
              signal web SIGTERM
              arm web 1100
              web is Stopping: a stop was asked for; now SIGTERM
            700 ends (exit 0) web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            100 down web
              run web stop: bye
              arm web 600
              web is Stopping: a stop was asked for
            150 ran web
              signal web SIGTERM
              arm web 650
              web is Stopping: a stop was asked for; now SIGTERM
            150 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            100 down web
              run web stop: bye
              arm web 600
              web is Stopping: a stop was asked for
            600 elapsed web
              signal web SIGTERM
              arm web 1100
              web is Stopping: a stop was asked for; now SIGTERM
            1100 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            1100 ends (SIGKILL) web
              web is Stopped: it was stopped
        "#]],
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
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            0 started web
              web is Spawned: it has not said yet that it is ready
            100 delete web
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            100 ends (SIGTERM) web
              web is forgotten
        "#]],
    );
}

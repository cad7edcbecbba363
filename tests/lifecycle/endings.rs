//! How the server ends with an essential service, and with which exit status.

use expect_test::expect;
use zinit_tests::sim::play_with_policy;

use crate::check;

#[test]
fn an_essential_oneshot_that_is_done_takes_everything_down_in_order() {
    check(
        "
        db
        web after=db
        main oneshot essential after=web
        0 boot
        100 watch
        100 exit main 0
        ",
        expect![[r#"
            100 ends (exit 0) main
              complaint: `main` has ended (exit 0), and with it ends everything
              main is Success: it is done
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
              main is Stopped: it was stopped
            100 ends (SIGTERM) web
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
            100 ends (SIGTERM) db
              db is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn the_server_ends_as_its_essential_service_ended() {
    check(
        "
        db
        main essential restart=never after=db
        0 boot
        100 watch
        100 exit main 3
        ",
        expect![[r#"
            100 ends (exit 3) main
              complaint: `main` has ended (exit 3), and with it ends everything
              main is Failed: it ended with exit 3
              main is Stopped: it was stopped
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
            100 ends (SIGTERM) db
              db is Stopped: it was stopped
            ended with 3
        "#]],
    );
}

#[test]
fn a_signal_counts_as_128_and_its_number() {
    check(
        "
        main essential restart=never
        0 boot
        100 watch
        100 exit main SIGSEGV
        ",
        expect![[r#"
            100 ends (SIGSEGV) main
              complaint: `main` has ended (SIGSEGV), and with it ends everything
              main is Failed: it ended with SIGSEGV
              main is Stopped: it was stopped
            ended with 139
        "#]],
    );
}

#[test]
fn an_essential_service_that_is_given_up_because_it_cannot_be_launched_ends_the_server_with_127() {
    check(
        "
        main essential lost max=1
        other
        0 boot
        ",
        expect![[r#"
            0 boot
              launch main
              main is Spawned: it was launched
              launch other
              other is Spawned: it was launched
            0 ends (exec: No such file or directory (ENOENT)) main
              arm main 100
              main is Failed: it cannot start: exec: No such file or directory (ENOENT); attempt 2 is next
            0 started other
              arm other 10
            10 elapsed other
              other is Running: it is up
            100 elapsed main
              launch main
              main is Spawned: it was launched
            100 ends (exec: No such file or directory (ENOENT)) main
              complaint: `main` has ended (exec: No such file or directory (ENOENT)), and with it ends everything
              main is Failed: it cannot start: exec: No such file or directory (ENOENT); given up after 2 attempts
              signal other SIGTERM
              arm other 10100
              other is Stopping: a stop was asked for
              main is Stopped: it was stopped
            100 ends (SIGTERM) other
              other is Stopped: it was stopped
            ended with 127
        "#]],
    );
}

#[test]
fn an_essential_service_that_is_started_again_ends_nothing() {
    check(
        "
        main essential restart=on-failure
        0 boot
        2000 watch
        2000 exit main 1
        ",
        expect![[r#"
            2000 ends (exit 1) main
              arm main 2000
              main is Backoff: it ended with exit 1
            2000 elapsed main
              launch main
              main is Spawned: it was launched
            2000 started main
              arm main 2010
            2010 elapsed main
              main is Running: it is up
        "#]],
    );
}

#[test]
fn an_essential_service_that_is_stopped_because_somebody_asked_ends_nothing() {
    check(
        "
        main essential
        0 boot
        100 watch
        100 down main
        ",
        expect![[r#"
            100 down main
              signal main SIGTERM
              arm main 10100
              main is Stopping: a stop was asked for
            100 ends (SIGTERM) main
              main is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn an_essential_target_that_is_up_ends_nothing_and_counts_for_nothing() {
    check(
        "
        db
        all essential target after=db
        0 boot
        100 watch
        200 shutdown
        ",
        expect![[r#"
            200 shutdown
              signal db SIGTERM
              arm db 10200
              db is Stopping: a stop was asked for
              all is Stopped: it was stopped
            200 ends (SIGTERM) db
              db is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_shutdown_ends_with_the_first_status_of_an_essential_service_that_is_not_0() {
    check(
        "
        one essential deaf
        two essential deaf after=one
        never essential status=stop
        other deaf
        0 boot
        100 watch
        100 shutdown
        200 exit two 0
        300 exit one 4
        400 exit other 5
        ",
        expect![[r#"
            100 shutdown
              signal two SIGTERM
              arm two 10100
              two is Stopping: a stop was asked for
              signal other SIGTERM
              arm other 10100
              other is Stopping: a stop was asked for
              never is Stopped: it was stopped
            200 ends (exit 0) two
              two is Stopped: it was stopped
              signal one SIGTERM
              arm one 10200
              one is Stopping: a stop was asked for
            300 ends (exit 4) one
              one is Stopped: it was stopped
            400 ends (exit 5) other
              other is Stopped: it was stopped
            ended with 4
        "#]],
    );
}

#[test]
fn the_reason_for_the_end_is_not_lost_with_the_brain() {
    check(
        "
        web deaf grace_ms=500
        main essential restart=never
        0 boot
        100 watch
        100 exit main 3
        200 crash
        ",
        expect![[r#"
            100 ends (exit 3) main
              complaint: `main` has ended (exit 3), and with it ends everything
              main is Failed: it ended with exit 3
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
              main is Stopped: it was stopped
            200 crash
              main is Running: it is up
              main is Stopped: it was stopped
              web is Running: it is up
              signal web SIGTERM
              arm web 700
              web is Stopping: a stop was asked for
            700 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            700 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended with 3
        "#]],
    );
}

#[test]
fn an_essential_service_that_ends_while_no_brain_is_there_ends_everything() {
    check(
        "
        web
        main essential restart=never
        0 boot
        100 watch
        100 unseen main 3
        ",
        expect![[r#"
            100 crash
              complaint: `main` has ended (exit 3), and with it ends everything
              main is Failed: it ended with exit 3
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
              main is Stopped: it was stopped
            100 ends (SIGTERM) web
              web is Stopped: it was stopped
            ended with 3
        "#]],
    );
}

#[test]
fn the_policy_says_which_end_is_the_end_of_everything_and_with_which_status() {
    let told = play_with_policy(
        "
        fn ends_all(service, exit) { service.name == \"main\" && exit.code == 9 }
        fn exit_status(cause, ends) { cause.status + 1 }
        ",
        "
        main oneshot
        0 boot
        100 watch
        100 exit main 9
        ",
    );
    expect![[r#"
        100 ends (exit 9) main
          complaint: `main` has ended (exit 9), and with it ends everything
          main is Failed: it ended with exit 9
          main is Stopped: it was stopped
        ended with 10
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_status_that_none_is_does_not_count() {
    let told = play_with_policy(
        "fn exit_status(cause, ends) { 256 }",
        "
        main oneshot essential
        0 boot
        100 watch
        100 exit main 9
        ",
    );
    expect![[r#"
        100 ends (exit 9) main
          complaint: `main` has ended (exit 9), and with it ends everything
          main is Failed: it ended with exit 9
          main is Stopped: it was stopped
          fault: policy.rhai:1: `exit_status` failed: 256 is no exit status, which is 0 to 255; the bundled function decided
        ended with 9
    "#]]
    .assert_eq(&told);
}

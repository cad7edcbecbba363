//! How services are brought down.

use expect_test::expect;

use crate::check;

#[test]
fn a_stop_is_a_signal_and_then_rest() {
    check(
        "
        web
        0 boot
        100 watch
        100 down web
        ",
        expect![[r#"
            100 down web
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            100 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_service_deaf_to_its_stop_signal_is_killed_after_the_grace_period() {
    check(
        "
        web grace_ms=500 deaf
        0 boot
        2000 watch
        2000 down web
        ",
        expect![[r#"
            2000 down web
              signal web SIGTERM
              arm web 2500
              web is Stopping: a stop was asked for
            2500 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            2500 ends (SIGKILL) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_restart_is_a_stop_and_a_start_in_that_order() {
    check(
        "
        web grace_ms=500 deaf
        0 boot
        100 watch
        100 restart web
        150 restart web
        ",
        expect![[r#"
            100 restart web
              signal web SIGTERM
              arm web 600
              web is Stopping: a restart was asked for
            150 restart web
            600 elapsed web
              signal web SIGKILL
              web is Stopping: a restart was asked for; now SIGKILL
            600 ends (SIGKILL) web
              launch web
              web is Spawned: it was launched
            600 started web
              arm web 610
            610 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_start_while_it_stops_starts_it_again_afterwards() {
    check(
        "
        web grace_ms=500 deaf
        0 boot
        100 watch
        100 down web
        200 up web
        300 exit web 0
        ",
        expect![[r#"
            100 down web
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 up web
            300 ends (exit 0) web
              launch web
              web is Spawned: it was launched
            300 started web
              arm web 310
            310 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_stop_while_it_restarts_wins() {
    check(
        "
        web grace_ms=500 deaf
        0 boot
        100 watch
        100 restart web
        200 down web
        300 exit web 0
        ",
        expect![[r#"
            100 restart web
              signal web SIGTERM
              arm web 600
              web is Stopping: a restart was asked for
            200 down web
            300 ends (exit 0) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_stop_before_the_program_runs_reaches_the_process() {
    check(
        "
        web mute
        0 boot
        100 down web
        ",
        expect![[r#"
            0 boot
              launch web
              web is Spawned: it was launched
            100 down web
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            100 ends (SIGTERM) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_stop_in_backoff_ends_the_attempts() {
    check(
        "
        web delay_ms=1000
        0 boot
        20 exit web 1
        30 watch
        30 down web
        ",
        expect![[r#"
            30 down web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_shutdown_stops_dependents_first_and_then_ends() {
    check(
        "
        db
        web after=db
        app after=web deaf grace_ms=300
        lone
        0 boot
        1000 watch
        1000 shutdown
        1100 up lone
        ",
        expect![[r#"
            1000 shutdown
              signal lone SIGTERM
              arm lone 11000
              lone is Stopping: a stop was asked for
              signal app SIGTERM
              arm app 1300
              app is Stopping: a stop was asked for
            1000 ends (SIGTERM) lone
              lone is Stopped: it was stopped
            1100 up lone
              refused: the server is stopping
            1300 elapsed app
              signal app SIGKILL
              app is Stopping: a stop was asked for; now SIGKILL
            1300 ends (SIGKILL) app
              app is Stopped: it was stopped
              signal web SIGTERM
              arm web 11300
              web is Stopping: a stop was asked for
            1300 ends (SIGTERM) web
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 11300
              db is Stopping: a stop was asked for
            1300 ends (SIGTERM) db
              db is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_crash_of_a_service_that_waits_for_its_turn_to_stop_is_its_stop() {
    check(
        "
        db
        web after=db deaf grace_ms=300
        0 boot
        1000 watch
        1000 shutdown
        1100 exit db 1
        ",
        expect![[r#"
            1000 shutdown
              signal web SIGTERM
              arm web 1300
              web is Stopping: a stop was asked for
            1100 ends (exit 1) db
              db is Stopped: it was stopped
            1300 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            1300 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn members_of_a_cycle_do_not_wait_for_one_another_to_stop() {
    check(
        "
        a wants=b
        b after=a
        0 boot
        200 watch
        200 stop_all
        ",
        expect![[r#"
            200 stop_all
              signal b SIGTERM
              arm b 10200
              b is Stopping: a stop was asked for
              signal a SIGTERM
              arm a 10200
              a is Stopping: a stop was asked for
            200 ends (SIGTERM) b
              b is Stopped: it was stopped
            200 ends (SIGTERM) a
              a is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_delete_stops_and_then_forgets() {
    check(
        "
        web deaf grace_ms=200
        0 boot
        100 watch
        100 delete web
        150 up web
        400 up web
        ",
        expect![[r#"
            100 delete web
              signal web SIGTERM
              arm web 300
              web is Stopping: a stop was asked for
            150 up web
              refused: `web` is being deleted
            300 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            300 ends (SIGKILL) web
              web is forgotten
            400 up web
              refused: there is no service `web`
        "#]],
    );
}

#[test]
fn everything_can_be_deleted_at_once_dependents_first() {
    check(
        "
        db
        web after=db
        0 boot
        50 watch
        100 delete_all
        ",
        expect![[r#"
            100 delete_all
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            100 ends (SIGTERM) web
              web is forgotten
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
            100 ends (SIGTERM) db
              db is forgotten
        "#]],
    );
}

#[test]
fn a_service_that_is_registered_again_while_it_is_deleted_comes_back() {
    check(
        "
        web deaf grace_ms=200
        0 boot
        50 watch
        100 delete web
        150 define web
        ",
        expect![[r#"
            100 delete web
              signal web SIGTERM
              arm web 300
              web is Stopping: a stop was asked for
            150 define web
            300 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            300 ends (SIGKILL) web
              launch web
              web is Spawned: it was launched
            300 started web
              arm web 310
            310 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_start_during_a_stop_of_all_keeps_up_what_it_needs() {
    check(
        "
        db
        web after=db deaf grace_ms=500
        0 boot
        50 watch
        100 stop_all
        200 up web
        300 exit web 0
        ",
        expect![[r#"
            100 stop_all
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 up web
            300 ends (exit 0) web
              launch web
              web is Spawned: it was launched
            300 started web
              arm web 310
            310 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_shutdown_goes_on_under_the_next_brain() {
    check(
        "
        db
        web after=db deaf grace_ms=500
        0 boot
        50 watch
        100 stop_all
        200 crash
        300 exit web 0
        ",
        expect![[r#"
            100 stop_all
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 crash
              arm web 600
            300 ends (exit 0) web
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 10300
              db is Stopping: a stop was asked for
            300 ends (SIGTERM) db
              db is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn what_is_left_when_a_shutdown_takes_too_long_is_killed_in_no_order() {
    let told = zinit_tests::sim::play_with_policy(
        "fn shutdown_ms(is_init) { 700 }",
        "
        db
        web after=db deaf
        0 boot
        100 watch
        100 shutdown
        ",
    );
    expect![[r#"
        100 shutdown
          deadline 800
          signal web SIGTERM
          arm web 10100
          web is Stopping: a stop was asked for
        800 deadline
          signal db SIGKILL
          db is Stopping: there is no time left to stop gently
          signal web SIGKILL
          web is Stopping: there is no time left to stop gently
        800 ends (SIGKILL) db
          db is Stopped: it was stopped
        800 ends (SIGKILL) web
          web is Stopped: it was stopped
        ended
    "#]]
    .assert_eq(&told);
}

#[test]
fn the_next_brain_ends_what_a_shutdown_has_begun_and_starts_nothing() {
    check(
        "
        db deaf grace_ms=500
        web after=db
        new after=nobody
        0 boot
        1000 watch
        1000 shutdown
        1100 crash
        ",
        expect![[r#"
            1000 shutdown
              signal web SIGTERM
              arm web 11000
              web is Stopping: a stop was asked for
              new is Stopped: it was stopped
            1000 ends (SIGTERM) web
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 1500
              db is Stopping: a stop was asked for
            1100 crash
              db is Running: it is up
              new is Blocked: it waits for `nobody`, which does not exist
              new is Stopped: it was stopped
              web is Running: it is up
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 1600
              db is Stopping: a stop was asked for
            1600 elapsed db
              signal db SIGKILL
              db is Stopping: a stop was asked for; now SIGKILL
            1600 ends (SIGKILL) db
              db is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn thousands_are_stopped_one_after_the_other_and_not_within_one_another() {
    const COUNT: usize = 4_000;
    let services: Vec<String> = (0..COUNT).map(|it| format!("s{it}")).collect();
    let timeline = services.join("\n") + "\n0 boot\n1000 watch\n1000 stop_all\n";
    let told = zinit_tests::sim::play(&timeline);
    assert_eq!(told.matches("is Stopped: it was stopped").count(), COUNT);
}

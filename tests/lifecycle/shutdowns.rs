//! How everything is brought down when somebody asks for it, and when somebody asks again.

use expect_test::expect;

use crate::check;

#[test]
fn a_second_signal_hurries_and_a_third_changes_nothing() {
    check(
        "
        db stuck
        web after=db deaf
        0 boot
        100 watch
        100 sigterm keeper
        200 sigterm keeper
        300 sigterm keeper
        400 exit db SIGKILL
        ",
        expect![[r#"
            100 sigterm keeper
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            200 sigterm keeper
              signal db SIGKILL
              db is Stopping: there is no time left to stop gently
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            200 ends (SIGKILL) web
              web is Stopped: it was stopped
            300 sigterm keeper
            400 ends (SIGKILL) db
              db is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_second_shutdown_hurries() {
    check(
        "
        web deaf
        0 boot
        100 watch
        100 shutdown
        200 shutdown
        ",
        expect![[r#"
            100 shutdown
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            200 shutdown
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            200 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_signal_after_a_shutdown_hurries() {
    check(
        "
        web deaf
        0 boot
        100 watch
        100 shutdown
        200 sigterm keeper
        ",
        expect![[r#"
            100 shutdown
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            200 sigterm keeper
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            200 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_signal_to_all_processes_of_a_server_comes_twice_and_is_one() {
    check(
        "
        web deaf grace_ms=500
        0 boot
        100 watch
        100 sigterm server
        100 sigterm keeper
        ",
        expect![[r#"
            100 sigterm server
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            100 sigterm keeper
            600 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            600 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_signal_that_the_keeper_tells_the_next_brain_again_is_not_another_one() {
    check(
        "
        web deaf grace_ms=500
        0 boot
        100 watch
        100 sigterm keeper
        200 crash
        300 sigterm keeper
        ",
        expect![[r#"
            100 sigterm keeper
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 crash
              web is Running: it is up
              signal web SIGTERM
              arm web 700
              web is Stopping: a stop was asked for
            200 sigterm keeper (again)
            300 sigterm keeper
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            300 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn a_hurry_goes_on_under_the_next_brain() {
    check(
        "
        db deaf
        web after=db stuck
        0 boot
        100 watch
        100 shutdown
        200 shutdown
        300 crash
        400 exit web SIGKILL
        ",
        expect![[r#"
            100 shutdown
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            200 shutdown
              signal db SIGKILL
              db is Stopping: there is no time left to stop gently
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            200 ends (SIGKILL) db
              db is Stopped: it was stopped
            300 crash
              db is Running: it is up
              db is Stopped: it was stopped
              web is Running: it is up
              signal web SIGKILL
              web is Stopping: there is no time left to stop gently
            400 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn only_the_first_process_of_a_machine_reboots_it() {
    check(
        "
        web
        0 boot
        100 watch
        100 reboot
        ",
        expect![[r#"
            100 reboot
              refused: cannot reboot: Zinit is not the first process of this machine
        "#]],
    );
}

#[test]
fn a_reboot_brings_everything_down_first() {
    check(
        "
        on_machine
        db
        web after=db deaf grace_ms=500
        0 boot
        100 watch
        100 reboot
        200 crash
        ",
        expect![[r#"
            100 reboot
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 crash
              web is Running: it is up
              signal web SIGTERM
              arm web 700
              web is Stopping: a stop was asked for
            700 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            700 ends (SIGKILL) web
              web is Stopped: it was stopped
              signal db SIGTERM
              arm db 10700
              db is Stopping: a stop was asked for
            700 ends (SIGTERM) db
              db is Stopped: it was stopped
            ended with 0: Reboot
        "#]],
    );
}

#[test]
fn a_reboot_that_is_asked_for_while_everything_is_brought_down_follows_and_hurries_nothing() {
    check(
        "
        on_machine
        web deaf grace_ms=500
        0 boot
        100 watch
        100 shutdown
        200 reboot
        ",
        expect![[r#"
            100 shutdown
              signal web SIGTERM
              arm web 600
              web is Stopping: a stop was asked for
            200 reboot
            600 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            600 ends (SIGKILL) web
              web is Stopped: it was stopped
            ended with 0: Reboot
        "#]],
    );
}

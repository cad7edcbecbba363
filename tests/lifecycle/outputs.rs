//! Where output goes: services that write to one another, and logs that change.

use expect_test::expect;

use crate::check;

#[test]
fn who_reads_comes_up_before_who_writes_and_goes_down_after() {
    check(
        "
        logger status=stop
        web log_to=logger
        0 boot
        100 shutdown
        ",
        expect![[r#"
            0 boot
              launch logger (with input)
              logger is Spawned: it was launched
              web is Blocked: it waits for `logger`
            0 started logger
              arm logger 10
            10 elapsed logger
              logger is Running: it is up
              launch web
              web is Spawned: it was launched
            10 started web
              arm web 20
            20 elapsed web
              web is Running: it is up
            100 shutdown
              signal web SIGTERM
              arm web 10100
              web is Stopping: a stop was asked for
            100 ends (SIGTERM) web
              web is Stopped: it was stopped
              signal logger SIGTERM
              arm logger 10100
              logger is Stopping: a stop was asked for
            100 ends (SIGTERM) logger
              logger is Stopped: it was stopped
            ended
        "#]],
    );
}

#[test]
fn who_reads_may_fail_and_begin_again_while_the_others_write() {
    check(
        "
        logger
        web log_to=logger
        0 boot
        100 watch
        100 exit logger SIGKILL
        ",
        expect![[r#"
            100 ends (SIGKILL) logger
              arm logger 200
              logger is Backoff: it ended with SIGKILL; attempt 2 is next
            200 elapsed logger
              launch logger (with input)
              logger is Spawned: it was launched
            200 started logger
              arm logger 210
            210 elapsed logger
              logger is Running: it is up
        "#]],
    );
}

#[test]
fn a_service_that_is_not_written_to_is_restarted_when_another_begins_to() {
    check(
        "
        logger
        0 boot
        100 watch
        100 define web log_to=logger
        200 define api log_to=logger
        ",
        expect![[r#"
            100 define web log_to=logger
              web is Stopped: it was not started
              signal logger SIGTERM
              arm logger 10100
              logger is Stopping: its configuration changed
              launch web
              web is Spawned: it was launched
            100 ends (SIGTERM) logger
              launch logger (with input)
              logger is Spawned: it was launched
            100 started web
              arm web 110
            100 started logger
              arm logger 110
            110 elapsed logger
              logger is Running: it is up
            110 elapsed web
              web is Running: it is up
            200 define api log_to=logger
              api is Stopped: it was not started
              launch api
              api is Spawned: it was launched
            200 started api
              arm api 210
            210 elapsed api
              api is Running: it is up
        "#]],
    );
}

#[test]
fn a_reload_says_and_does_the_same() {
    check(
        "
        logger
        web
        0 boot
        100 watch
        100 plan logger web/log_to=logger
        100 reload logger web/log_to=logger
        ",
        expect![[r#"
            100 plan logger web/log_to=logger
              Restart logger (`web` writes to it now)
              Restart web (`log_to` changed)
            100 reload logger web/log_to=logger
              Restart logger (`web` writes to it now)
              Restart web (`log_to` changed)
              signal web SIGTERM
              arm web 10100
              web is Stopping: its configuration changed
            100 ends (SIGTERM) web
              web is Blocked: it waits for `logger`, which goes down
              signal logger SIGTERM
              arm logger 10100
              logger is Stopping: its configuration changed
              launch web
              web is Spawned: it was launched
            100 ends (SIGTERM) logger
              launch logger (with input)
              logger is Spawned: it was launched
            100 started web
              arm web 110
            100 started logger
              arm logger 110
            110 elapsed logger
              logger is Running: it is up
            110 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn after_a_crash_of_the_server_who_reads_is_launched_with_an_input() {
    check(
        "
        logger
        web log_to=logger
        0 boot
        100 watch
        100 crash
        100 exit logger SIGKILL
        ",
        expect![[r#"
            100 crash
            100 ends (SIGKILL) logger
              arm logger 200
              logger is Backoff: it ended with SIGKILL; attempt 2 is next
            200 elapsed logger
              launch logger (with input)
              logger is Spawned: it was launched
            200 started logger
              arm logger 210
            210 elapsed logger
              logger is Running: it is up
        "#]],
    );
}

#[test]
fn another_log_is_for_the_same_process_but_none_is_for_another() {
    check(
        "
        a log=ring
        b log=file
        c log=none
        0 boot
        100 watch
        100 plan a/log=file b/log=none c/log=stdout
        ",
        expect![[r#"
            100 plan a/log=file b/log=none c/log=stdout
              Update a (`log` changed)
              Restart b (`log` changed)
              Restart c (`log` changed)
        "#]],
    );
}

#[test]
fn outputs_that_would_meet_are_refused_and_nothing_is_changed() {
    check(
        "
        web log_dir=srv
        0 boot
        100 watch
        100 define api log_to=api
        100 define api log_dir=srv/
        100 reload web/log_dir=srv api/log_dir=srv
        100 reload web api/log_dir=srv
        200 define web log_to=api
        200 define api log_to=web
        ",
        expect![[r#"
            100 define api log_to=api
              refused: cannot change `api`: its output would be its own input
            100 define api log_dir=srv/
              refused: cannot change `api`: `web` logs to `/srv/` as well
            100 reload web/log_dir=srv api/log_dir=srv
              refused: cannot change `api`: `web` logs to `/srv` as well
            100 reload web api/log_dir=srv
              Start api (its file is new)
              Update web (`log` changed)
              api is Stopped: it was not started
              launch api
              api is Spawned: it was launched
            100 started api
              arm api 110
            110 elapsed api
              api is Running: it is up
            200 define web log_to=api
              signal api SIGTERM
              arm api 10200
              api is Stopping: its configuration changed
              signal web SIGTERM
              arm web 10200
              web is Stopping: its configuration changed
            200 ends (SIGTERM) api
              launch api (with input)
              api is Spawned: it was launched
            200 ends (SIGTERM) web
              web is Blocked: it waits for `api`
            200 started api
              arm api 210
            200 define api log_to=web
              refused: cannot change `api`: its output would be its own input
            210 elapsed api
              api is Running: it is up
              launch web
              web is Spawned: it was launched
            210 started web
              arm web 220
            220 elapsed web
              web is Running: it is up
        "#]],
    );
}

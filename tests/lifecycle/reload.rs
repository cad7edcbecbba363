//! New configurations: what they change, and what they leave alone.

use expect_test::expect;

use crate::check;

#[test]
fn a_reload_touches_only_what_changed() {
    check(
        "
        a
        b
        c
        d
        0 boot
        100 watch
        100 plan a b/exec=other c/grace_ms=1 e f/status=stop
        200 reload a b/exec=other c/grace_ms=1 e f/status=stop
        ",
        expect![[r#"
            100 plan a b/exec=other c/grace_ms=1 e f/status=stop
              Unchanged a ()
              Restart b (`exec` changed)
              Update c (`shutdown_timeout` changed)
              Delete d (its file is gone)
              Start e (its file is new)
              Add f (its file is new)
            200 reload a b/exec=other c/grace_ms=1 e f/status=stop
              Unchanged a ()
              Restart b (`exec` changed)
              Update c (`shutdown_timeout` changed)
              Delete d (its file is gone)
              Start e (its file is new)
              Add f (its file is new)
              e is Stopped: it was not started
              f is Stopped: it was not started
              signal d SIGTERM
              arm d 10200
              d is Stopping: a stop was asked for
              signal b SIGTERM
              arm b 10200
              b is Stopping: its configuration changed
              launch e
              e is Spawned: it was launched
            200 ends (SIGTERM) d
              d is forgotten
            200 ends (SIGTERM) b
              launch b
              b is Spawned: it was launched
            200 started e
              arm e 210
            200 started b
              arm b 210
            210 elapsed b
              b is Running: it is up
            210 elapsed e
              e is Running: it is up
        "#]],
    );
}

#[test]
fn a_reload_that_closes_a_cycle_is_refused_and_changes_nothing() {
    check(
        "
        a
        b after=a
        0 boot
        100 watch
        100 reload a/after=b/exec=other b/after=a
        200 plan a b/after=a
        ",
        expect![[r#"
            100 reload a/after=b/exec=other b/after=a
              refused: cannot change `a`: it would wait for itself: a -> b -> a
            200 plan a b/after=a
              Unchanged a ()
              Unchanged b ()
        "#]],
    );
}

#[test]
fn a_changed_service_takes_those_along_that_require_it() {
    check(
        "
        db
        web requires=db
        0 boot
        100 watch
        100 reload db/exec=other web/requires=db
        ",
        expect![[r#"
            100 reload db/exec=other web/requires=db
              Restart db (`exec` changed)
              Unchanged web ()
              signal web SIGTERM
              arm web 10100
              web is Stopping: `db`, which it requires, goes down
            100 ends (SIGTERM) web
              web is Blocked: it waits for `db`, which goes down
              signal db SIGTERM
              arm db 10100
              db is Stopping: its configuration changed
              web is Blocked: it waits for `db`, which is stopping
            100 ends (SIGTERM) db
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
fn a_service_that_is_not_to_start_any_more_is_stopped() {
    check(
        "
        a
        b status=stop
        0 boot
        100 watch
        100 reload a/status=stop b
        ",
        expect![[r#"
            100 reload a/status=stop b
              Stop a (`status` changed)
              Start b (`status` changed)
              b is Stopped: it was not started
              signal a SIGTERM
              arm a 10100
              a is Stopping: a stop was asked for
              launch b
              b is Spawned: it was launched
            100 ends (SIGTERM) a
              a is Stopped: it was stopped
            100 started b
              arm b 110
            110 elapsed b
              b is Running: it is up
        "#]],
    );
}

#[test]
fn new_checks_count_for_the_process_that_runs() {
    check(
        "
        a
        0 boot
        100 watch
        100 reload a/check=1000
        1200 down a
        ",
        expect![[r#"
            100 reload a/check=1000
              Update a (`health` changed)
              arm a 100
            100 elapsed a
              check a
            100 checked a
              arm a 1100
            1100 elapsed a
              check a
            1100 checked a
              arm a 2100
            1200 down a
              signal a SIGTERM
              arm a 11200
              a is Stopping: a stop was asked for
            1200 ends (SIGTERM) a
              a is Stopped: it was stopped
        "#]],
    );
}

//! What services need of one another: `requires`, `wants`, `before`, `conflicts`, and targets.

use expect_test::expect;
use zinit_tests::sim::play;

use crate::check;

#[test]
fn a_stop_takes_those_that_require_it_first_and_a_start_brings_them_back() {
    check(
        "
        db
        web requires=db
        0 boot
        100 watch
        100 down db
        200 up db
        ",
        expect![[r#"
            100 down db
              signal web SIGTERM
              arm web 10100
              web is Stopping: `db`, which it requires, goes down
            100 ends (SIGTERM) web
              web is Blocked: it waits for `db`, which goes down
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
              web is Blocked: it waits for `db`, which is stopping
            100 ends (SIGTERM) db
              db is Stopped: it was stopped
              web is Blocked: it waits for `db`, which is stopped
            200 up db
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            200 started db
              arm db 210
            210 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            210 started web
              arm web 220
            220 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_restart_takes_those_along_that_require_it() {
    check(
        "
        db
        web requires=db
        api requires=web
        log after=db
        0 boot
        100 watch
        100 restart db
        ",
        expect![[r#"
            100 restart db
              signal api SIGTERM
              arm api 10100
              api is Stopping: `web`, which it requires, goes down
            100 ends (SIGTERM) api
              api is Blocked: it waits for `web`, which goes down
              signal web SIGTERM
              arm web 10100
              web is Stopping: `db`, which it requires, goes down
              api is Blocked: it waits for `web`, which is stopping
            100 ends (SIGTERM) web
              web is Blocked: it waits for `db`, which goes down
              api is Blocked: it waits for `web`, which is blocked
              signal db SIGTERM
              arm db 10100
              db is Stopping: a restart was asked for
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
              api is Blocked: it waits for `web`
            110 started web
              arm web 120
            120 elapsed web
              web is Running: it is up
              launch api
              api is Spawned: it was launched
            120 started api
              arm api 130
            130 elapsed api
              api is Running: it is up
        "#]],
    );
}

#[test]
fn those_that_only_come_after_it_are_left_alone() {
    check(
        "
        db
        web after=db
        0 boot
        100 watch
        100 down db
        ",
        expect![[r#"
            100 down db
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
            100 ends (SIGTERM) db
              db is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn a_start_brings_up_what_is_required_wanted_and_waited_for() {
    check(
        "
        a status=stop
        b status=stop
        c status=stop
        web status=stop requires=a wants=b after=c
        0 boot
        100 watch
        100 up web
        ",
        expect![[r#"
            100 up web
              launch c
              c is Spawned: it was launched
              launch b
              b is Spawned: it was launched
              launch a
              a is Spawned: it was launched
              web is Blocked: it waits for `a` and 2 more
            100 started c
              arm c 110
            100 started b
              arm b 110
            100 started a
              arm a 110
            110 elapsed a
              a is Running: it is up
              web is Blocked: it waits for `c` and 1 more
            110 elapsed b
              b is Running: it is up
            110 elapsed c
              c is Running: it is up
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
fn a_service_that_starts_with_the_server_brings_up_what_it_requires_but_not_what_it_follows() {
    check(
        "
        a status=stop
        c status=stop
        web requires=a after=c
        0 boot
        ",
        expect![[r#"
            0 boot
              launch a
              a is Spawned: it was launched
              web is Blocked: it waits for `a` and 1 more
            0 started a
              arm a 10
            10 elapsed a
              a is Running: it is up
              web is Blocked: it waits for `c`, which is stopped
        "#]],
    );
}

#[test]
fn what_is_only_wanted_is_waited_for_but_may_fail() {
    check(
        "
        job oneshot
        web wants=job
        0 boot
        50 exit job 1
        ",
        expect![[r#"
            0 boot
              launch job
              job is Spawned: it was launched
              web is Blocked: it waits for `job`
            0 started job
              job is Running: it is up
            50 ends (exit 1) job
              job is Failed: it ended with exit 1
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
fn two_that_want_each_other_both_start() {
    check(
        "
        a wants=b
        b wants=a
        0 boot
        ",
        expect![[r#"
            0 boot
              launch a
              a is Spawned: it was launched
              launch b
              b is Spawned: it was launched
            0 started a
              arm a 10
            0 started b
              arm b 10
            10 elapsed a
              a is Running: it is up
            10 elapsed b
              b is Running: it is up
        "#]],
    );
}

#[test]
fn what_goes_before_is_waited_for_while_it_starts() {
    check(
        "
        net notify before=web
        web
        0 boot
        100 ready net
        ",
        expect![[r#"
            0 boot
              launch net
              net is Spawned: it was launched
              web is Blocked: it waits for `net`
            0 started net
              net is Spawned: it has not said yet that it is ready
            100 ready net
              net is Running: it is up
              launch web
              web is Spawned: it was launched
            100 started web
              arm web 110
            110 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn who_is_asked_for_sends_its_rival_away() {
    check(
        "
        a conflicts=b
        b status=stop
        0 boot
        100 watch
        100 up b
        200 up a
        ",
        expect![[r#"
            100 up b
              signal a SIGTERM
              arm a 10100
              a is Stopping: a stop was asked for
              b is Blocked: it conflicts with `a`, which is not down
            100 ends (SIGTERM) a
              a is Stopped: it was stopped
              launch b
              b is Spawned: it was launched
            100 started b
              arm b 110
            110 elapsed b
              b is Running: it is up
            200 up a
              signal b SIGTERM
              arm b 10200
              b is Stopping: a stop was asked for
              a is Blocked: it conflicts with `b`, which is not down
            200 ends (SIGTERM) b
              b is Stopped: it was stopped
              launch a
              a is Spawned: it was launched
            200 started a
              arm a 210
            210 elapsed a
              a is Running: it is up
        "#]],
    );
}

#[test]
fn of_two_rivals_that_start_with_the_server_the_first_one_runs() {
    check(
        "
        a conflicts=b
        b
        0 boot
        100 down a
        ",
        expect![[r#"
            0 boot
              launch a
              a is Spawned: it was launched
              b is Blocked: it conflicts with `a`, which is not down
            0 started a
              arm a 10
            10 elapsed a
              a is Running: it is up
            100 down a
              signal a SIGTERM
              arm a 10100
              a is Stopping: a stop was asked for
            100 ends (SIGTERM) a
              a is Stopped: it was stopped
              launch b
              b is Spawned: it was launched
            100 started b
              arm b 110
            110 elapsed b
              b is Running: it is up
        "#]],
    );
}

#[test]
fn a_target_is_done_when_what_it_needs_is_up() {
    check(
        "
        web
        db
        all target requires=web,db
        job oneshot after=all
        0 boot
        100 watch
        100 down db
        200 up db
        ",
        expect![[r#"
            100 down db
              all is Blocked: it waits for `db`, which goes down
              signal db SIGTERM
              arm db 10100
              db is Stopping: a stop was asked for
              all is Blocked: it waits for `db`, which is stopping
            100 ends (SIGTERM) db
              db is Stopped: it was stopped
              all is Blocked: it waits for `db`, which is stopped
            200 up db
              launch db
              db is Spawned: it was launched
              all is Blocked: it waits for `db`
            200 started db
              arm db 210
            210 elapsed db
              db is Running: it is up
              all is Success: all that it needs is up
        "#]],
    );
}

#[test]
fn a_restart_that_is_held_survives_the_brain() {
    check(
        "
        db
        web requires=db deaf grace_ms=500
        0 boot
        100 watch
        100 restart db
        200 crash
        ",
        expect![[r#"
            100 restart db
              signal web SIGTERM
              arm web 600
              web is Stopping: `db`, which it requires, goes down
            200 crash
              arm web 600
            600 elapsed web
              signal web SIGKILL
              web is Stopping: `db`, which it requires, goes down; now SIGKILL
            600 ends (SIGKILL) web
              web is Blocked: it waits for `db`, which goes down
              signal db SIGTERM
              arm db 10600
              db is Stopping: a restart was asked for
              web is Blocked: it waits for `db`, which is stopping
            600 ends (SIGTERM) db
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            600 started db
              arm db 610
            610 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            610 started web
              arm web 620
            620 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn who_requires_a_service_that_is_out_does_not_start_in_the_moments_in_which_it_tries() {
    for db in ["check=1000", "lively notify"] {
        let told = play(&format!(
            "
            db {db}
            web requires=db status=stop
            0 boot
            1000 outage db 10000
            3000 up web
            60000 end
            "
        ));
        let launched = told.split("launch web").next().expect("there is a first part");
        let (_, since) = launched.rsplit_once("outage db 10000").expect("it is told");
        assert!(since.matches("launch db").count() > 1, "{told}");
        let times = since.lines().filter_map(|it| it.split(' ').next()?.parse().ok());
        assert!(times.max() > Some(11_000), "{db}: {told}");
        assert!(told.contains("launch web"), "{told}");
    }
}

//! Services that are there on demand: when they start, when they stop, and that nobody is lost between.

use expect_test::expect;

use crate::check;

#[test]
fn it_starts_with_its_first_client_and_all_that_it_needs() {
    check(
        "
        db status=stop
        web xinit=127.0.0.1:80 after=db
        0 boot
        100 connect web
        100 connect web
        ",
        expect![[r#"
            0 boot
              the way to web is shut
            100 somebody connects to web
              launch db
              db is Spawned: it was launched
              web is Blocked: it waits for `db`
            100 started db
              arm db 110
            100 somebody connects to web
            110 elapsed db
              db is Running: it is up
              launch web
              web is Spawned: it was launched
            110 started web
              arm web 120
            120 elapsed web
              the way to web is open
              web is Running: it is up
        "#]],
    );
}

#[test]
fn nobody_is_passed_on_while_it_falls_idle_and_who_comes_then_waits_for_the_next_start() {
    check(
        "
        web xinit=127.0.0.1:80 grace_ms=500 deaf
        0 boot
        0 connect web
        1000 watch
        1000 idle web 0
        1100 connect web
        ",
        expect![[r#"
            1000 nobody uses web
              arm web 2000
              the way to web is shut
              web is Stopping: nobody has used it for 60 s
              signal web SIGTERM
              arm web 1500
            1100 somebody connects to web
            1500 elapsed web
              signal web SIGKILL
              web is Stopping: nobody has used it for 60 s; now SIGKILL
            1500 ends (SIGKILL) web
              launch web
              web is Spawned: it was launched
            1500 started web
              arm web 1510
            1510 elapsed web
              the way to web is open
              web is Running: it is up
        "#]],
    );
}

#[test]
fn it_does_not_fall_idle_while_somebody_is_connected_or_needs_it() {
    check(
        "
        db xinit=127.0.0.1:80
        web requires=db status=stop
        0 boot
        0 up web
        1000 watch
        1000 idle db 1
        2000 idle db 0
        3000 down web
        4000 idle db 0
        ",
        expect![[r#"
            1000 nobody uses db
              the way to db is open
            2000 nobody uses db
              the way to db is open
            3000 down web
              signal web SIGTERM
              arm web 13000
              web is Stopping: a stop was asked for
            3000 ends (SIGTERM) web
              web is Stopped: it was stopped
            4000 nobody uses db
              arm db 5000
              the way to db is shut
              db is Stopping: nobody has used it for 60 s
              signal db SIGTERM
              arm db 14000
            4000 ends (SIGTERM) db
              db is Stopped: it starts when somebody connects
        "#]],
    );
}

#[test]
fn whoever_waits_for_it_goes_on_as_connecting_starts_it_and_whoever_requires_it_brings_it_up() {
    check(
        "
        db xinit=127.0.0.1:80
        cache xinit=127.0.0.1:81
        web after=db
        api requires=cache
        0 boot
        1000 idle cache 0
        2000 connect db
        3000 idle db 0
        ",
        expect![[r#"
            0 boot
              the way to cache is shut
              the way to db is shut
              api is Blocked: it waits for `cache`, which is stopped
              launch cache
              cache is Spawned: it was launched
              api is Blocked: it waits for `cache`
              launch web
              web is Spawned: it was launched
            0 started cache
              arm cache 10
            0 started web
              arm web 10
            10 elapsed cache
              the way to cache is open
              cache is Running: it is up
              launch api
              api is Spawned: it was launched
            10 started api
              arm api 20
            10 elapsed web
              web is Running: it is up
            20 elapsed api
              api is Running: it is up
            1000 nobody uses cache
              the way to cache is open
            2000 somebody connects to db
              launch db
              db is Spawned: it was launched
            2000 started db
              arm db 2010
            2010 elapsed db
              the way to db is open
              db is Running: it is up
            3000 nobody uses db
              arm db 4000
              the way to db is shut
              db is Stopping: nobody has used it for 60 s
              signal db SIGTERM
              arm db 13000
            3000 ends (SIGTERM) db
              db is Stopped: it starts when somebody connects
        "#]],
    );
}

#[test]
fn what_an_older_word_has_caused_comes_too_late() {
    check(
        "
        web xinit=127.0.0.1:80
        0 boot
        0 connect web
        1000 watch
        1000 restart web
        1000 idle web 0
        1500 idle web 0
        ",
        expect![[r#"
            1000 restart web
              arm web 2000
              the way to web is shut
              web is Stopping: a restart was asked for
              signal web SIGTERM
              arm web 11000
            1000 ends (SIGTERM) web
              launch web
              web is Spawned: it was launched
            1000 started web
              arm web 1010
            1000 nobody uses web
            1010 elapsed web
              the way to web is open
              web is Running: it is up
            1500 nobody uses web
              arm web 2500
              the way to web is shut
              web is Stopping: nobody has used it for 60 s
              signal web SIGTERM
              arm web 11500
            1500 ends (SIGTERM) web
              web is Stopped: it starts when somebody connects
        "#]],
    );
}

#[test]
fn who_waits_is_sent_away_when_it_is_given_up_and_the_next_one_tries_again() {
    check(
        "
        web xinit=127.0.0.1:80 restart=never
        0 boot
        0 connect web
        5 exit web 1
        100 connect web
        ",
        expect![[r#"
            0 boot
              the way to web is shut
            0 somebody connects to web
              launch web
              web is Spawned: it was launched
            0 started web
              arm web 10
            5 ends (exit 1) web
              the way to web is closed for good
              web is Failed: it ended with exit 1
            100 somebody connects to web
              launch web
              the way to web is shut
              web is Spawned: it was launched
            100 started web
              arm web 110
            110 elapsed web
              the way to web is open
              web is Running: it is up
        "#]],
    );
}

#[test]
fn one_that_gets_the_socket_ends_by_itself_and_the_next_client_starts_it() {
    check(
        "
        web xinit=/run/web.sock
        0 boot
        0 connect web
        1000 watch
        1000 exit web 0
        2000 connect web
        3000 exit web 1
        ",
        expect![[r#"
            1000 ends (exit 0) web
              the way to web is shut
              web is Success: it ended with exit 0; the next client starts it
            2000 somebody connects to web
              launch web
              web is Spawned: it was launched
            2000 started web
              arm web 2010
            2010 elapsed web
              the way to web is open
              web is Running: it is up
            3000 ends (exit 1) web
              arm web 3100
              the way to web is shut
              web is Backoff: it ended with exit 1; attempt 2 is next
            3100 elapsed web
              launch web
              web is Spawned: it was launched
            3100 started web
              arm web 3110
            3110 elapsed web
              the way to web is open
              web is Running: it is up
        "#]],
    );
}

#[test]
fn another_server_goes_on_where_the_first_one_stood() {
    check(
        "
        web xinit=127.0.0.1:80 grace_ms=500 deaf
        0 boot
        0 connect web
        1000 watch
        1000 idle web 0
        1100 crash
        1100 connect web
        2000 connect web
        ",
        expect![[r#"
            1000 nobody uses web
              arm web 2000
              the way to web is shut
              web is Stopping: nobody has used it for 60 s
              signal web SIGTERM
              arm web 1500
            1100 crash
              the way to web is shut
              arm web 1500
            1100 somebody connects to web
            1500 elapsed web
              signal web SIGKILL
              web is Stopping: nobody has used it for 60 s; now SIGKILL
            1500 ends (SIGKILL) web
              launch web
              web is Spawned: it was launched
            1500 started web
              arm web 1510
            1510 elapsed web
              the way to web is open
              web is Running: it is up
            2000 somebody connects to web
        "#]],
    );
}

#[test]
fn a_client_does_not_start_what_is_being_deleted_or_brought_down_with_everything() {
    check(
        "
        web xinit=127.0.0.1:80 grace_ms=500 deaf
        0 boot
        0 connect web
        1000 watch
        1000 shutdown
        1100 connect web
        ",
        expect![[r#"
            1000 shutdown
              arm web 2000
              the way to web is shut
              web is Stopping: a stop was asked for
              signal web SIGTERM
              arm web 1500
            1100 somebody connects to web
            1500 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            1500 ends (SIGKILL) web
              web is Stopped: it starts when somebody connects
            ended
        "#]],
    );
}

#[test]
fn words_go_on_counting_when_it_is_deleted_and_made_anew() {
    check(
        "
        web xinit=127.0.0.1:80
        0 boot
        0 connect web
        1000 watch
        1000 delete web
        2000 define web xinit=127.0.0.1:80
        3000 connect web
        ",
        expect![[r#"
            1000 delete web
              arm web 2000
              the way to web is shut
              web is Stopping: a stop was asked for
              signal web SIGTERM
              arm web 11000
            1000 ends (SIGTERM) web
              web is forgotten
            2000 define web xinit=127.0.0.1:80
              the way to web is shut
              web is Stopped: it starts when somebody connects
            3000 somebody connects to web
              launch web
              web is Spawned: it was launched
            3000 started web
              arm web 3010
            3010 elapsed web
              the way to web is open
              web is Running: it is up
        "#]],
    );
}

#[test]
fn a_stop_that_has_begun_goes_on_gently_when_the_last_proxy_goes() {
    check(
        "
        web xinit=127.0.0.1:80
        0 boot
        0 connect web
        500 ask web
        1000 watch
        1000 down web
        1100 define web
        ",
        expect![[r#"
            1000 down web
              arm web 2000
              the way to web is shut
              web is Stopping: a stop was asked for
            1100 define web
            2000 elapsed web
              signal web SIGTERM
              arm web 12000
              web is Stopping: a stop was asked for; now SIGTERM
            2000 ends (SIGTERM) web
              launch web
              web is Spawned: it was launched
            2000 started web
              arm web 2010
            2010 elapsed web
              web is Running: it is up
        "#]],
    );
}

#[test]
fn who_is_wanted_again_before_it_goes_down_for_idleness_is_open_again() {
    check(
        "
        db xinit=127.0.0.1:80
        web after=db grace_ms=500 deaf
        0 boot
        0 connect db
        1000 watch
        1000 down web
        1100 idle db 0
        1200 connect db
        ",
        expect![[r#"
            1000 down web
              signal web SIGTERM
              arm web 1500
              web is Stopping: a stop was asked for
            1100 nobody uses db
            1200 somebody connects to db
              the way to db is open
            1500 elapsed web
              signal web SIGKILL
              web is Stopping: a stop was asked for; now SIGKILL
            1500 ends (SIGKILL) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn an_address_goes_from_one_service_to_another_in_one_reload() {
    check(
        "
        web xinit=127.0.0.1:80
        api xinit=127.0.0.1:81
        0 boot
        1000 reload api/xinit=127.0.0.1:80 web/xinit=127.0.0.1:81
        2000 reload other/xinit=127.0.0.1:80
        3000 connect other
        ",
        expect![[r#"
            0 boot
              the way to api is shut
              the way to web is shut
            1000 reload api/xinit=127.0.0.1:80 web/xinit=127.0.0.1:81
              Update api (`xinit` changed)
              Update web (`xinit` changed)
              the way to api is shut
              the way to web is shut
              api is Stopped: it starts when somebody connects
              web is Stopped: it starts when somebody connects
            2000 reload other/xinit=127.0.0.1:80
              Delete api (its file is gone)
              Add other (its file is new)
              Delete web (its file is gone)
              the way to other is shut
              other is Stopped: it starts when somebody connects
              web is forgotten
              api is forgotten
            3000 somebody connects to other
              launch other
              other is Spawned: it was launched
            3000 started other
              arm other 3010
            3010 elapsed other
              the way to other is open
              other is Running: it is up
        "#]],
    );
}

//! Services that restart together, are given up together, or start one after the other: strategies for
//! groups.

use expect_test::expect;
use zinit_tests::sim::play;

use crate::strategies::{check, check_moves};

#[test]
fn one_for_one_restarts_the_one_that_failed_alone() {
    check_moves(
        "
        a groups=g policy=one_for_one
        b groups=g policy=one_for_one
        0 boot
        100 watch
        100 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
        "#]],
    );
}

#[test]
fn one_for_one_gives_the_group_up_when_all_of_it_together_fails_too_often() {
    check_moves(
        "
        a groups=g policy=one_for_one label:intensity=2
        b groups=g policy=one_for_one label:intensity=2
        c groups=g policy=one_for_one label:intensity=2
        0 boot
        100 watch
        100 exit a 1
        1000 exit b 1
        2000 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
            1000 ends (exit 1) b
              b is Backoff: it ended with exit 1
              launch b
            2000 ends (exit 1) a
              a is Failed: it ended with exit 1; given up
              signal c SIGTERM
              c is Stopping: it was given up with `a`
              signal b SIGTERM
              b is Stopping: it was given up with `a`
            2000 ends (SIGTERM) c
              c is Failed: it was given up with `a`
            2000 ends (SIGTERM) b
              b is Failed: it was given up with `a`
        "#]],
    );
}

#[test]
fn failures_that_are_far_apart_do_not_give_a_group_up() {
    check_moves(
        "
        a groups=g policy=one_for_one label:intensity=1
        b groups=g policy=one_for_one label:intensity=1
        0 boot
        100 watch
        100 exit a 1
        6000 exit b 1
        12000 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
            6000 ends (exit 1) b
              b is Backoff: it ended with exit 1
              launch b
            12000 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
        "#]],
    );
}

#[test]
fn one_for_all_restarts_all_and_nobody_starts_before_all_are_down() {
    check_moves(
        "
        a groups=g policy=one_for_all
        b groups=g policy=one_for_all
        c groups=g policy=one_for_all deaf grace_ms=500
        0 boot
        100 watch
        100 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              signal c SIGTERM
              c is Stopping: it restarts with `a`, which has ended
              signal b SIGTERM
              b is Stopping: it restarts with `a`, which has ended
            100 ends (SIGTERM) b
              b is Blocked: `c` of its group still goes down
              a is Blocked: `c` of its group still goes down
              signal c SIGKILL
              c is Stopping: it restarts with `a`, which has ended; now SIGKILL
            600 ends (SIGKILL) c
              launch c
              launch a
              launch b
        "#]],
    );
}

#[test]
fn who_is_taken_along_takes_nobody_along() {
    check_moves(
        "
        a groups=g policy=one_for_all
        b groups=g policy=one_for_all deaf grace_ms=500
        0 boot
        100 watch
        100 exit a 1
        200 exit b 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              signal b SIGTERM
              b is Stopping: it restarts with `a`, which has ended
              a is Blocked: `b` of its group still goes down
            200 ends (exit 1) b
              launch b
              launch a
        "#]],
    );
}

#[test]
fn one_for_all_given_up_stays_down_until_somebody_asks_for_it() {
    check_moves(
        "
        a groups=g policy=one_for_all label:intensity=0
        b groups=g policy=one_for_all label:intensity=0
        0 boot
        100 watch
        100 exit a 1
        9000 up b
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Failed: it ended with exit 1; given up
              signal b SIGTERM
              b is Stopping: it was given up with `a`
            100 ends (SIGTERM) b
              b is Failed: it was given up with `a`
            9000 up b
              launch b
        "#]],
    );
}

#[test]
fn who_is_stopped_is_not_taken_along() {
    check_moves(
        "
        a groups=g policy=one_for_all
        b groups=g policy=one_for_all
        0 boot
        50 down b
        100 watch
        100 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
        "#]],
    );
}

#[test]
fn rest_for_one_restarts_those_after_it_in_order() {
    check_moves(
        "
        a groups=g policy=rest_for_one label:order=3
        b groups=g policy=rest_for_one label:order=2
        c groups=g policy=rest_for_one label:order=1
        0 boot
        100 watch
        100 exit b 1
        ",
        expect![[r#"
            100 ends (exit 1) b
              b is Backoff: it ended with exit 1
              signal a SIGTERM
              a is Stopping: it restarts with `b`, which has ended
            100 ends (SIGTERM) a
              a is Blocked: `b`, which comes before it, is not up yet
              launch b
              launch a
        "#]],
    );
}

#[test]
fn a_brain_that_dies_while_a_group_is_given_up_is_followed_by_one_that_goes_on() {
    check_moves(
        "
        a groups=g policy=one_for_all label:intensity=0
        b groups=g policy=one_for_all label:intensity=0 deaf grace_ms=500
        0 boot
        100 watch
        100 exit a 1
        200 crash
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Failed: it ended with exit 1; given up
              signal b SIGTERM
              b is Stopping: it was given up with `a`
            200 crash
              signal b SIGKILL
              b is Stopping: it was given up with `a`; now SIGKILL
            600 ends (SIGKILL) b
              b is Failed: it was given up with `a`
        "#]],
    );
}

#[test]
fn the_others_of_a_group_start_when_their_canary_has_been_up_for_long_enough() {
    check(
        "
        a groups=g policy=canary label:soak=10s
        b groups=g policy=canary label:canary=true mute start_ms=0
        0 boot
        100 exit b 1
        200 end
        ",
        expect![[r#"
            0 boot
              a is Blocked: its canary, `b`, is not up
              launch b
              b is Spawned: it was launched
            100 ends (exit 1) b
              arm b 200
              b is Backoff: it ended with exit 1; attempt 2 is next
            200 elapsed b
              launch b
              b is Spawned: it was launched
        "#]],
    );
    check_moves(
        "
        a groups=g policy=canary label:soak=10s
        b groups=g policy=canary label:canary=true
        0 boot
        5000 exit b 1
        ",
        expect![[r#"
            0 boot
              a is Blocked: its canary, `b`, is not up
              launch b
              a is Blocked: its canary, `b`, has not been up for long enough
            5000 ends (exit 1) b
              b is Backoff: it ended with exit 1
              a is Blocked: its canary, `b`, is not up
              launch b
              a is Blocked: its canary, `b`, has not been up for long enough
              launch a
        "#]],
    );
}

#[test]
fn the_others_of_a_group_start_when_their_canary_is_done_and_tell_when_it_has_failed() {
    check_moves(
        "
        a groups=g policy=canary label:soak=10s
        b groups=g policy=canary label:canary=true oneshot
        0 boot
        5000 exit b 1
        6000 up b
        7000 exit b 0
        ",
        expect![[r#"
            0 boot
              a is Blocked: its canary, `b`, is not up
              launch b
              a is Blocked: its canary, `b`, has not been up for long enough
            5000 ends (exit 1) b
              b is Failed: it ended with exit 1
              a is Blocked: its canary, `b`, has failed
            6000 up b
              launch b
              a is Blocked: its canary, `b`, is not up
              a is Blocked: its canary, `b`, has not been up for long enough
            7000 ends (exit 0) b
              b is Success: it is done
              launch a
        "#]],
    );
}

#[test]
fn who_is_started_by_hand_after_its_group_was_given_up_may_fail_as_often_as_at_first() {
    check_moves(
        "
        a groups=g policy=one_for_one label:intensity=1 label:period=1m
        b groups=g policy=one_for_one label:intensity=1 label:period=1m
        0 boot
        100 watch
        100 exit a 1
        2000 exit a 1
        3000 up a
        5000 exit a 1
        8000 exit a 1
        9000 down a
        9500 up a
        12000 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
            2000 ends (exit 1) a
              a is Failed: it ended with exit 1; given up
              signal b SIGTERM
              b is Stopping: it was given up with `a`
            2000 ends (SIGTERM) b
              b is Failed: it was given up with `a`
            3000 up a
              launch a
            5000 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
            8000 ends (exit 1) a
              a is Failed: it ended with exit 1; given up
            9000 down a
              a is Stopped: it was stopped
            9500 up a
              launch a
            12000 ends (exit 1) a
              a is Backoff: it ended with exit 1
              launch a
        "#]],
    );
}

#[test]
fn an_intensity_that_is_beyond_what_is_remembered_is_exceeded_all_the_same() {
    let crashes = (1..=16).map(|it| format!("{} exit a 1\n", it * 2_000)).collect::<String>();
    for policy in ["one_for_one", "one_for_all", "rest_for_one"] {
        let service = format!("a groups=g policy={policy} label:intensity=99 label:period=1h\n");
        let told = play(&format!("{service}0 boot\n{crashes}"));
        assert_eq!(told.matches("launch a").count(), 16, "{policy}");
        assert!(told.ends_with("a is Failed: it ended with exit 1; given up\n"), "{told}");
    }
}

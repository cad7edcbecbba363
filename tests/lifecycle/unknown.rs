//! Ends of which nobody knows how they were.

use expect_test::expect;
use zinit_tests::sim::play_with_policy;

use crate::check;

#[test]
fn a_service_whose_end_nobody_knows_is_started_again() {
    check(
        "
        always
        sometimes restart=on-failure
        0 boot
        2000 watch
        2000 exit always unknown
        2000 exit sometimes unknown
        2000 end
        ",
        expect![[r#"
            2000 ends (an unknown status) always
              arm always 2000
              always is Backoff: it ended with an unknown status
            2000 elapsed always
              launch always
              always is Spawned: it was launched
            2000 started always
              arm always 2010
            2000 ends (an unknown status) sometimes
              arm sometimes 2000
              sometimes is Backoff: it ended with an unknown status
            2000 elapsed sometimes
              launch sometimes
              sometimes is Spawned: it was launched
            2000 started sometimes
              arm sometimes 2010
        "#]],
    );
}

#[test]
fn an_end_that_nobody_knows_is_a_failure_for_what_is_not_started_again() {
    check(
        "
        web restart=never
        job oneshot
        0 boot
        2000 watch
        2000 exit web unknown
        2000 exit job unknown
        ",
        expect![[r#"
            2000 ends (an unknown status) web
              web is Failed: it ended with an unknown status
            2000 ends (an unknown status) job
              job is Failed: it ended with an unknown status
        "#]],
    );
}

#[test]
fn a_stop_whose_end_nobody_knows_is_a_stop_all_the_same() {
    check(
        "
        web deaf
        0 boot
        2000 watch
        2000 down web
        2100 exit web unknown
        ",
        expect![[r#"
            2000 down web
              signal web SIGTERM
              arm web 12000
              web is Stopping: a stop was asked for
            2100 ends (an unknown status) web
              web is Stopped: it was stopped
        "#]],
    );
}

#[test]
fn an_essential_service_whose_end_nobody_knows_ends_the_server_with_1() {
    check(
        "
        main essential restart=never
        0 boot
        2000 watch
        2000 exit main unknown
        ",
        expect![[r#"
            2000 ends (an unknown status) main
              complaint: `main` has ended (an unknown status), and with it ends everything
              main is Failed: it ended with an unknown status
              main is Stopped: it was stopped
            ended with 1
        "#]],
    );
}

#[test]
fn the_policy_may_take_an_end_that_nobody_knows_for_a_success() {
    let told = play_with_policy(
        "fn is_failure(service, exit) { !exit.is_unknown && exit.code == () }",
        "
        job oneshot
        0 boot
        100 watch
        100 exit job unknown
        ",
    );
    expect![[r#"
        100 ends (an unknown status) job
          job is Success: it is done
    "#]]
    .assert_eq(&told);
}

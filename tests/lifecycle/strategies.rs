//! The bundled strategies, each chosen by services for themselves.

use expect_test::{Expect, expect};
use zinit_host::core::{Core, Effect};
use zinit_host::desk::{Command, Decree};
use zinit_host::event::{Event, Happening, Tick};
use zinit_host::name::ServiceName;
use zinit_host::policy::Policy;
use zinit_host::spec::Spec;
use zinit_tests::sim::play_with_policy;

/// Plays a timeline and compares what happened.
pub(crate) fn check(timeline: &str, expected: Expect) {
    expected.assert_eq(&play_with_policy("", timeline));
}

/// Who is launched and told to stop, and the states that follow.
pub(crate) fn check_moves(timeline: &str, expected: Expect) {
    let told = play_with_policy("", timeline);
    let dull = ["started", "elapsed", "arm", "is Running", "was launched"];
    let lines = told.lines().filter(|it| !dull.iter().any(|dull| it.contains(dull)));
    expected.assert_eq(&lines.map(|it| format!("{it}\n")).collect::<String>());
}

#[test]
fn the_score_of_failures_decays() {
    check(
        "
        a policy=decaying_score label:half_life=1s
        0 boot
        100 watch
        100 exit a 1
        1000 exit a 1
        2000 exit a 1
        60000 exit a 1
        ",
        expect![[r#"
            100 ends (exit 1) a
              arm a 200
              a is Backoff: it ended with exit 1; attempt 2 is next
            200 elapsed a
              launch a
              a is Spawned: it was launched
            200 started a
              arm a 210
            210 elapsed a
              a is Running: it is up
            1000 ends (exit 1) a
              arm a 1155
              a is Backoff: it ended with exit 1; attempt 3 is next
            1155 elapsed a
              launch a
              a is Spawned: it was launched
            1155 started a
              arm a 1165
            1165 elapsed a
              a is Running: it is up
            2000 ends (exit 1) a
              arm a 2177
              a is Backoff: it ended with exit 1; attempt 4 is next
            2177 elapsed a
              launch a
              a is Spawned: it was launched
            2177 started a
              arm a 2187
            2187 elapsed a
              a is Running: it is up
            60000 ends (exit 1) a
              arm a 60100
              a is Backoff: it ended with exit 1; attempt 1 is next
            60100 elapsed a
              launch a
              a is Spawned: it was launched
            60100 started a
              arm a 60110
            60110 elapsed a
              a is Running: it is up
        "#]],
    );
}

#[test]
fn in_a_maintenance_window_nothing_starts() {
    // The clock begins on Thursday at midnight.
    check(
        "
        a policy=maintenance_window label:window=00:00-01:00
        b policy=maintenance_window label:window=00:30-01:00 label:only_inside=true
        c policy=maintenance_window label:window=00:00-01:00 label:days=1-3
        0 boot
        ",
        expect![[r#"
            0 boot
              arm a 3600000
              a is Blocked: it does not start between 00:00 and 01:00
              arm b 1800000
              b is Blocked: it starts only between 00:30 and 01:00
              launch c
              c is Spawned: it was launched
            0 started c
              arm c 10
            10 elapsed c
              c is Running: it is up
            1800000 elapsed b
              launch b
              b is Spawned: it was launched
            1800000 started b
              arm b 1800010
            1800010 elapsed b
              b is Running: it is up
            3600000 elapsed a
              launch a
              a is Spawned: it was launched
            3600000 started a
              arm a 3600010
            3600010 elapsed a
              a is Running: it is up
        "#]],
    );
}

#[test]
fn a_window_may_be_whole_days_and_a_label_that_says_something_else_starts_nothing() {
    // The clock begins on Thursday at midnight.
    check_moves(
        "
        a policy=maintenance_window label:window=00:00-24:00 label:days=1,4
        b policy=maintenance_window label:window=00:00-24:00 label:days=6-3
        c policy=maintenance_window label:window=00:00-01:00 label:days=Thu
        d policy=maintenance_window label:window=0-1
        0 boot
        ",
        expect![[r#"
            0 boot
              a is Blocked: it does not start between 00:00 and 24:00
              launch b
              c is Blocked: its label `days` says `Thu`, not days such as `1-5` or `1,3,6-7`
              d is Blocked: its label `window` says `0-1`, not from when to when, such as `02:00-04:00`
              launch a
        "#]],
    );
}

#[test]
fn a_service_with_a_wish_is_restarted_when_it_is_idle() {
    check_moves(
        "
        a policy=restart_when_idle label:memory_limit=1M label:idle_for=20s
        0 boot
        100 watch
        100 uses a 2097152 50
        60000 uses a 2097152 1
        75000 uses a 2097152 50
        85000 uses a 2097152 1
        125000 end
        ",
        expect![[r#"
            10010 measured a
            20010 measured a
            30010 measured a
            40010 measured a
            50010 measured a
            60010 measured a
            70010 measured a
            80010 measured a
            90010 measured a
            100010 measured a
            110010 measured a
              signal a SIGTERM
              a is Stopping: its policy restarts it at 2 MiB of memory, 1% of a CPU
            110010 ends (SIGTERM) a
              launch a
            120020 measured a
        "#]],
    );
}

#[test]
fn memory_above_the_ceiling_is_borne_for_the_grace() {
    check(
        "
        a policy=memory_ceiling label:memory_limit=1M label:grace=10s
        0 boot
        100 watch
        7000 uses a 2097152 0
        12000 uses a 1 0
        17000 uses a 2097152 0
        31000 uses a 1 0
        36000 end
        ",
        expect![[r#"
            5010 elapsed a
              arm a 10010
            5010 measured a
            10010 elapsed a
              arm a 15010
            10010 measured a
            15010 elapsed a
              arm a 20010
            15010 measured a
            20010 elapsed a
              arm a 25010
            20010 measured a
            25010 elapsed a
              arm a 30010
            25010 measured a
            30010 elapsed a
              arm a 35010
            30010 measured a
              signal a SIGTERM
              arm a 40010
              a is Stopping: its policy restarts it at 2 MiB of memory, 0% of a CPU
            30010 ends (SIGTERM) a
              launch a
              a is Spawned: it was launched
            30010 started a
              arm a 30020
            30020 elapsed a
              arm a 35020
              a is Running: it is up
            35020 elapsed a
              arm a 40020
            35020 measured a
        "#]],
    );
}

#[test]
fn a_service_whose_port_is_taken_waits_for_it() {
    check(
        "
        a check=10000 policy=port_free port_taken
        0 boot
        1500 port a free
        2100 end
        ",
        expect![[r#"
            0 boot
              look at a 1
              a is Blocked: it looks whether its port is free
            0 port_freed a
              arm a 1000
              a is Blocked: process 7 (`other`) listens on port 1
            1000 elapsed a
              look at a 1
            1000 port_freed a
              arm a 2000
            2000 elapsed a
              look at a 1
            2000 port_freed a
              launch a
              a is Spawned: it was launched
            2000 started a
              arm a 2010
              a is Spawned: its checks have not held yet
            2010 elapsed a
              check a
            2010 checked a
              arm a 12010
              a is Running: its checks hold
        "#]],
    );
}

#[test]
fn a_users_own_policy_may_look_at_what_is_used() {
    let policy = "
        fn usage_period_ms(service) { 1_000 }
        fn on_usage(service, usage) { if usage.memory > 5 { \"restart\" } else { \"keep\" } }
    ";
    let told = play_with_policy(
        policy,
        "
        a
        0 boot
        100 watch
        1500 uses a 6 0
        2100 uses a 5 0
        2500 end
        ",
    );
    expect![[r#"
        1010 elapsed a
          arm a 2010
        1010 measured a
        2010 elapsed a
          arm a 3010
        2010 measured a
          signal a SIGTERM
          arm a 12010
          a is Stopping: its policy restarts it at 0 MiB of memory, 0% of a CPU
        2010 ends (SIGTERM) a
          launch a
          a is Spawned: it was launched
        2010 started a
          arm a 2020
        2020 elapsed a
          arm a 3020
          a is Running: it is up
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_verdict_may_be_a_time_and_what_it_waits_for() {
    let policy = r#"
        fn may_start(service) {
            if service.since_ms < 5_000 { wait(5_000 - service.since_ms, "it is too early") } else { true }
        }
    "#;
    let told = play_with_policy(policy, "a\n0 boot\n");
    expect![[r#"
        0 boot
          arm a 5000
          a is Blocked: it is too early
        5000 elapsed a
          launch a
          a is Spawned: it was launched
        5000 started a
          arm a 5010
        5010 elapsed a
          a is Running: it is up
    "#]]
    .assert_eq(&told);
}

#[test]
fn what_runs_already_is_looked_at_as_soon_as_a_policy_wants_to() {
    let mut core = Core::new(Policy::bundled());
    let name = ServiceName::parse("a").expect("it is a name");
    let define = Command::Define(name.clone(), Box::new(Spec::of_exec("program")));
    core.obey(Tick(0), define).expect("nothing is in the way");
    for (now, what) in [(0, Happening::Started { incarnation: 1 }), (10, Happening::Elapsed)] {
        core.handle(Event { service: name.clone(), now: Tick(now), what });
    }
    core.take_effects();
    let policy = "fn usage_period_ms(service) { 1_000 }".to_owned();
    core.obey(
        Tick(50),
        Command::Decide(Decree { files: vec![("policy.rhai".into(), policy)], soon: None }),
    )
    .expect("it is right");
    let armed = core.take_effects().into_iter().find_map(|it| match it {
        Effect::Arm { at, .. } => at,
        _ => None,
    });
    assert_eq!(armed, Some(Tick(1_050)));
}

#[test]
fn a_policy_that_wants_to_be_asked_without_a_pause_is_asked_ten_times_a_second() {
    let policy = "fn may_start(service) { wait(0, \"not yet\") }
                  fn usage_period_ms(service) { 1 }";
    let told = play_with_policy(policy, "web\n0 boot\n1001 end\n");
    assert_eq!(told.matches("elapsed web").count(), 10, "{told}");
    let looks = "fn usage_period_ms(service) { 1 }";
    let told = play_with_policy(looks, "web\n0 boot\n1011 end\n");
    let count = told.matches("measured web").count();
    assert!((9..=11).contains(&count), "{count}: {told}");
}

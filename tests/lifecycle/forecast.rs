//! Forecasts: a fleet under faults, and what is told of it. The figures follow from the policy alone,
//! so they are exact.

use std::path::{Path, PathBuf};

use zinit_host::forecast::{Course, Fault, Plan, Report};
use zinit_host::name::ServiceName;
use zinit_host::refusal::Kind;
use zinit_host::spec::{Health, Readiness, Restart, Spec};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A day of these services under this policy.
fn plan(services: &[(&str, Spec)], policy: &str, faults: &[Fault]) -> Plan {
    let name = |it: &str| ServiceName::parse(it).expect("it is a name");
    let policy = (!policy.is_empty()).then(|| (PathBuf::from("policy.rhai"), policy.to_owned()));
    Plan {
        services: services.iter().map(|(it, spec)| (name(it), spec.clone())).collect(),
        policy: policy.into_iter().collect(),
        faults: faults.to_vec(),
        span_ms: 24 * HOUR,
        seed: 7,
        parts: 24,
        skips: true,
    }
}

fn told(plan: &Plan) -> Report {
    plan.forecast(&mut |_| true).expect("nothing is wrong with the plan")
}

fn of<'a>(report: &'a Report, name: &str) -> &'a Course {
    report.services.iter().find(|it| it.name == name).expect("it was wanted")
}

fn service() -> Spec {
    Spec::of_exec("program")
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let fleet: Vec<(String, Spec)> = (0..8).map(|it| (format!("web-{it}"), service())).collect();
    let fleet: Vec<(&str, Spec)> = fleet.iter().map(|(it, spec)| (&**it, spec.clone())).collect();
    let mut plan = plan(&fleet, "", &[Fault::crash("web-*=1/h").expect("it is a rate")]);
    let bytes = |plan: &Plan| serde_json::to_string(&told(plan)).expect("it is plain");
    let first = bytes(&plan);
    assert_eq!(first, bytes(&plan));
    plan.seed = 8;
    assert_ne!(first, bytes(&plan));
}

#[test]
fn when_a_service_crashes_depends_on_no_other_one() {
    let crash = [Fault::crash("*=1/h").expect("it is a rate")];
    let alone = told(&plan(&[("web", service())], "", &crash));
    let others = [("db", service()), ("web", service())];
    let together = told(&plan(&others, "", &crash));
    assert_eq!(of(&alone, "web"), of(&together, "web"));
    assert!(of(&alone, "web").crashes > 10);
}

#[test]
fn an_outage_shows_in_availability_to_the_millisecond() {
    let policy = "fn restart_delay(service, attempt) { 1_000 }";
    let outage = [Fault::outage("db=10m@2h").expect("it is an outage")];
    let report = told(&plan(&[("db", service()), ("web", service())], policy, &outage));
    // Each attempt lasts 20 ms and is followed by a second; the first that succeeds settles for 10 ms.
    let attempt = 1_020;
    let before = (10 * MINUTE - 1_000).div_euclid(attempt) + 1;
    let lost = 1_000 + before * attempt + 10;
    let db = of(&report, "db");
    let worst = db.worst.expect("it was lost");
    assert_eq!((worst.at_ms, worst.ms, worst.recovered), (2 * HOUR, lost, true));
    // Coming up took 10 ms.
    assert_eq!(db.down_ms, lost + 10);
    assert_eq!(of(&report, "web").down_ms, 10);
    assert_eq!(report.services[0].name, "db", "the worst comes first");
    assert_eq!(&db.timeline[1..4], "ubu", "an hour is a letter");
}

#[test]
fn a_policy_that_waits_an_hour_shows_in_the_recovery() {
    let policy = "fn restart_delay(service, attempt) { 3_600_000 }";
    let crash = [Fault::outage("db=1s@2h").expect("it is an outage")];
    let report = told(&plan(&[("db", service())], policy, &crash));
    let worst = of(&report, "db").worst.expect("it was lost");
    assert_eq!((worst.ms, worst.recovered), (HOUR + 10, true));
}

#[test]
fn what_does_not_come_back_is_told_as_such() {
    let never = Spec { restart: Restart::Never, ..service() };
    let crash = [Fault::outage("db=1s@6h").expect("it is an outage")];
    let report = told(&plan(&[("db", never)], "", &crash));
    let db = of(&report, "db");
    let worst = db.worst.expect("it was lost");
    assert_eq!((worst.ms, worst.recovered), (18 * HOUR, false));
    assert_eq!((db.crashes, db.restarts, &*db.state), (1, 0, "Failed"));
    assert!((db.availability - 0.25).abs() < 0.000_001, "{}", db.availability);
}

#[test]
fn who_is_stopped_by_its_group_in_an_outage_has_not_crashed() {
    let yaml =
        "exec: program\ngroups: [g]\npolicy: one_for_all\nlabels: { intensity: 3, period: 1h }";
    let member = Spec::from_yaml(yaml, Path::new("member.yaml")).expect("it is right");
    let outages = [Fault::outage("[ab]=10m@2h").expect("it is an outage")];
    let report = told(&plan(&[("a", member.clone()), ("b", member)], "", &outages));
    // Each crash of one stops the other, and one more than the intensity is the last.
    assert_eq!(of(&report, "a").state, "Failed");
    assert_eq!(report.crashes, 4);
}

#[test]
fn launches_at_once_are_a_storm_and_the_first_ones_are_none() {
    let fleet = ["a", "b", "c", "d", "e"].map(|it| (it, service()));
    let quiet = told(&plan(&fleet, "", &[Fault::crash("*=0/h").expect("it is a rate")]));
    assert_eq!((quiet.storm_1s, quiet.restarts), (None, 0));
    let policy = "fn restart_delay(service, attempt) { 5_000 }";
    let outages =
        [Fault::outage("[a-c]=1s@2h"), Fault::outage("e=1s@3h")].map(|it| it.expect("an outage"));
    let report = told(&plan(&fleet, policy, &outages));
    let storm = report.storm_1s.expect("there was one");
    assert_eq!((storm.launches, storm.at_ms), (3, 2 * HOUR + 5_000));
    assert_eq!(report.restarts, 4);
}

#[test]
fn who_hangs_is_down_until_its_checks_have_told_and_well_after_that() {
    let health = Health { test_tcp: vec!["db:1".to_owned()], ..Health::default() };
    let (period, timeout, retry) = (health.period_ms, health.timeout_ms, health.retry);
    let checked = Spec { health: health.into(), shutdown_timeout_ms: 3_000, ..service() };
    let hang = [Fault::hang("db@3h").expect("it hangs")];
    let report = told(&plan(&[("db", checked)], "", &hang));
    let db = of(&report, "db");
    let worst = db.worst.expect("it was lost");
    let most = retry * (period + timeout) + period + 3_000 + 1_000;
    assert!(worst.recovered && (3_000..=most).contains(&worst.ms), "{worst:?}");
    assert_eq!((worst.at_ms, db.restarts, &*db.state), (3 * HOUR, 1, "Running"));
    // Nobody looks at this one.
    let report = told(&plan(&[("db", service())], "", &hang));
    assert_eq!(of(&report, "db").worst.map(|it| it.recovered), Some(false));
}

#[test]
fn a_slow_start_delays_whoever_waits_for_it() {
    let db = Spec { readiness: Readiness::Notify, ..service() };
    let web = Spec { after: vec![ServiceName::parse("db").expect("a name")], ..service() };
    let faults = [Fault::slow_start("db=5s").expect("it is slow")];
    let report = told(&plan(&[("db", db), ("web", web)], "", &faults));
    assert_eq!(of(&report, "db").down_ms, 5 * SECOND);
    assert_eq!(of(&report, "web").down_ms, 5 * SECOND + 10);
}

#[test]
fn a_policy_that_fails_is_told_and_one_that_never_waits_is_refused() {
    let crash = [Fault::crash("db=1/h").expect("it is a rate")];
    let report =
        told(&plan(&[("db", service())], "fn restart_delay(s, attempt) { throw `no` }", &crash));
    assert!(report.problems.iter().any(|it| it.what.contains("restart_delay")), "{report:?}");
    let health = Health { test_tcp: vec!["db:1".to_owned()], ..Health::default() };
    let checked = Spec { health: health.into(), ..service() };
    let endless = plan(&[("db", checked)], "fn check_delay_ms(service) { 0 }", &crash);
    let refusal = endless.forecast(&mut |_| true).expect_err("it has no end");
    assert!(refusal.message.starts_with("cannot go on after 00:00:00"), "{refusal}");
}

#[test]
fn it_ends_when_nobody_waits_for_it_and_when_a_fault_befalls_nobody() {
    let crash = [Fault::crash("db=1/m").expect("it is a rate")];
    let plan = plan(&[("db", service())], "", &crash);
    let refusal = plan.forecast(&mut |_| false).expect_err("nobody waits");
    assert_eq!(refusal.kind, Kind::Interrupted);
    let wrong = Plan { faults: vec![Fault::crash("bd=1/h").expect("it is a rate")], ..plan };
    let refusal = wrong.forecast(&mut |_| true).expect_err("there is no such service");
    assert_eq!(refusal.hint.as_deref(), Some("did you mean `db`?"));
}

#[test]
fn checks_that_can_only_hold_are_left_out_and_nothing_else_changes() {
    let health =
        Health { test_tcp: vec!["db:1".to_owned()], period_ms: 7_000, ..Health::default() };
    let name = |it: &str| ServiceName::parse(it).expect("it is a name");
    let checked = |requires: &[&str]| Spec {
        health: health.clone().into(),
        requires: requires.iter().map(|it| name(it)).collect(),
        ..service()
    };
    let fleet = [("app", checked(&["web"])), ("db", checked(&[])), ("web", checked(&["db"]))];
    // How long a service ran well depends on its last check, and decides how long it waits.
    let policy = "fn restart_delay(service, attempt) {
        let sum = 1_000;
        for past in service.exits { sum += past.ran_ms % 1_000; }
        sum
    }";
    let faults = [
        Fault::crash("*=2/h").expect("it is a rate"),
        Fault::hang("db@5h").expect("it hangs"),
        Fault::outage("db=10m@9h").expect("it is an outage"),
    ];
    let mut plan = plan(&fleet, policy, &faults);
    let skipped = told(&plan);
    plan.skips = false;
    assert_eq!(skipped, told(&plan));
}

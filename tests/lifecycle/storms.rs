//! Many services that fail together.

use std::collections::BTreeMap;

use zinit_tests::sim::play;

const COUNT: usize = 500;

/// When the lines were told that pass, in milliseconds.
fn moments(told: &str, passes: impl Fn(&str) -> bool) -> Vec<i64> {
    let mut now = 0;
    let mut moments = Vec::new();
    for line in told.lines() {
        match line.strip_prefix("  ") {
            Some(it) if passes(it) => moments.push(now),
            Some(_) => {}
            None => now = line.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(now),
        }
    }
    moments
}

fn most_in_a_second(moments: &[i64]) -> usize {
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for at in moments {
        *seconds.entry(at / 1_000).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or(0)
}

/// A database that is ill from 60 s to 100 s, and 500 services that end whenever it is.
fn outage(dependents: &str) -> String {
    let mut timeline = String::from("db check=1000\n");
    for k in 0..COUNT {
        timeline += &format!("s{k} needs=db {dependents}\n");
    }
    play(
        &(timeline
            + "0 boot\n60000 watch\n60000 health db bad\n100000 health db good\n130000 end\n"),
    )
}

#[test]
fn those_that_wait_for_a_dead_database_do_not_storm_and_are_back_soon_after_it() {
    let told = outage("after=db");
    let launches = moments(&told, |it| it.starts_with("launch s"));
    // They end after a good run, so the first attempt of each is free.
    let attempts = &launches[COUNT..];
    assert!(most_in_a_second(attempts) <= 101, "{} in a second", most_in_a_second(attempts));
    let db_up = told.split("db is Running").next().map_or(0, |it| it.lines().count());
    let back = told.lines().skip(db_up).collect::<Vec<_>>().join("\n");
    let up = moments(&back, |it| it.starts_with('s') && it.contains("is Running"));
    let soon = up.iter().filter(|at| **at <= 110_000).count();
    assert!(soon >= COUNT * 95 / 100, "{soon} of {COUNT} are up ten seconds later");
}

#[test]
fn those_that_do_not_say_that_they_need_it_do_not_storm_either() {
    let launches = moments(&outage(""), |it| it.starts_with("launch s"));
    let attempts = &launches[COUNT..];
    assert!(most_in_a_second(attempts) <= 101, "{} in a second", most_in_a_second(attempts));
}

//! Many services that fail together.

use std::collections::BTreeMap;

use zinit_tests::sim::play;

const COUNT: usize = 500;

/// When each launch was, in milliseconds, of services whose name begins with `s`.
fn launches(told: &str) -> Vec<i64> {
    let mut now = 0;
    let mut launches = Vec::new();
    for line in told.lines() {
        match line.strip_prefix("  ") {
            Some(it) if it.starts_with("launch s") => launches.push(now),
            Some(_) => {}
            None => now = line.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(now),
        }
    }
    launches
}

fn most_in_a_second(launches: &[i64]) -> usize {
    let mut seconds: BTreeMap<i64, usize> = BTreeMap::new();
    for at in launches {
        *seconds.entry(at / 1_000).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or(0)
}

/// The database dies at 60 s and cannot be started before 100 s; whoever uses it dies with it, and
/// whenever it is up for a moment only.
#[test]
fn five_hundred_that_share_a_dead_database_do_not_storm_and_are_back_soon_after_it() {
    let mut timeline = String::from("db\n");
    for k in 0..COUNT {
        timeline += &format!("s{k} after=db\n");
    }
    timeline += "0 boot\n60000 watch\n60000 exit db 1\n";
    for k in 0..COUNT {
        timeline += &format!("60001 exit s{k} 1\n");
    }
    // It comes up for 30 ms again and again, and takes those with it that have started meanwhile.
    let mut told = Vec::new();
    for down in (60_040..100_000).step_by(5_000) {
        timeline += &format!("{down} exit db 1\n");
        for k in 0..COUNT {
            timeline += &format!("{} exit s{k} 1\n", down + 1);
        }
    }
    told.push(play(&(timeline + "130000 watch\n")));
    let launches = launches(&told[0]);
    assert!(most_in_a_second(&launches) <= 101, "{}", most_in_a_second(&launches));
}

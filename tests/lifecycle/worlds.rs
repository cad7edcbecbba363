//! Random worlds of four services with all kinds of ties, manners and mishaps. Whatever happens to
//! them: no decision is impossible, everything is down after a stop of everything, and a shutdown
//! ends. A failure prints the timeline, to be played again.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use zinit_tests::sim::play;

/// How many worlds are looked at.
const WORLDS: u64 = 500;

/// A row of numbers that each seed begins elsewhere (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << shift } else { self.0 >> shift };
        }
        self.0 % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("it is below the length")]
    }

    /// The options of service `me`. What it needs up is one before it, so that there are no cycles;
    /// the fifth does not exist.
    fn options(&mut self, me: u64) -> Vec<String> {
        let mut options = vec![format!("grace_ms={}", 100 + self.below(400))];
        for (tie, rarity) in
            [("after", 5), ("requires", 4), ("wants", 4), ("before", 6), ("conflicts", 10)]
        {
            let other = self.below(5);
            let hard = ["after", "requires"].contains(&tie);
            if self.one_in(rarity) && other != me && (!hard || other < me) {
                options.push(format!("{tie}=s{other}"));
            }
        }
        for (manner, rarity) in [
            ("deaf", 4),
            ("status=stop", 6),
            ("check=300", 6),
            ("stop_cmd=x", 8),
            ("max=2", 10),
            ("oneshot", 8),
        ] {
            if self.one_in(rarity) {
                options.push(manner.to_owned());
            }
        }
        options
    }

    fn event(&mut self) -> String {
        let it = self.below(5);
        match self.below(12) {
            0 | 1 => format!("down s{it}"),
            2 | 3 => format!("up s{it}"),
            4 => format!("restart s{it}"),
            5 => format!("delete s{it}"),
            6 => format!("define s{it} {}", self.options(it).join(" ")),
            7 => "crash".to_owned(),
            8 => "stop_all".to_owned(),
            9 => format!("exit s{it} 1"),
            10 => {
                let files: Vec<u64> = (0..4).filter(|_| !self.one_in(5)).collect();
                let file = |it: u64| format!(" s{it}/{}", self.options(it).join("/"));
                format!("reload{}", files.into_iter().map(file).collect::<String>())
            }
            _ => "start_all".to_owned(),
        }
    }
}

/// A world and what happens in it, up to this end.
fn timeline(seed: u64, end: &str) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut text = String::new();
    for it in 0..4 {
        let litter = if dice.one_in(6) { "litter" } else { "" };
        text += &format!("s{it} {} {litter}\n", dice.options(it).join(" "));
    }
    text += "0 boot\n";
    let mut at = 0;
    for _ in 0..4 + dice.below(8) {
        at += dice.pick(&[0, 1, 50, 200, 600]);
        text += &format!("{at} {}\n", dice.event());
    }
    text + format!("{at} {end}\n{} end\n", at + 60_000).as_str()
}

/// What each service was told to be last.
fn last(told: &str) -> BTreeMap<&str, &str> {
    let states = told.lines().filter_map(|it| it.strip_prefix("  ")?.split_once(" is "));
    let services = states.filter(|(it, _)| it.len() == 2 && it.starts_with('s'));
    let mut last: BTreeMap<&str, &str> = services.collect();
    last.retain(|_, state| *state != "forgotten");
    last
}

fn plays(seed: u64, end: &str) -> String {
    let timeline = timeline(seed, end);
    let told = catch_unwind(|| play(&timeline))
        .unwrap_or_else(|_| panic!("seed {seed} panics:\n{timeline}"));
    assert!(!told.contains("complaint"), "seed {seed} complains:\n{timeline}\n{told}");
    told
}

#[test]
fn everything_is_down_after_a_stop_of_everything_whatever_came_before() {
    for seed in 1..=WORLDS {
        let told = plays(seed, "stop_all");
        for (service, state) in last(&told) {
            let word = state.split(':').next().unwrap_or_default();
            let down = ["Stopped", "Success", "Failed"].contains(&word);
            let timeline = timeline(seed, "stop_all");
            assert!(down, "seed {seed}: {service} is {state}\n{timeline}\n{told}");
        }
    }
}

#[test]
fn a_shutdown_ends_whatever_came_before() {
    for seed in 1..=WORLDS {
        let told = plays(seed, "shutdown");
        let timeline = timeline(seed, "shutdown");
        assert!(told.ends_with("ended\n"), "seed {seed} goes on:\n{timeline}\n{told}");
    }
}

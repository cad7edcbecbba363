//! What is done to a server, and when: made by dice, and printed so that it can be pasted back.

use std::fmt::{self, Display, Formatter};

use crate::dice::Dice;

/// Who may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The server that decides.
    Brain,
    /// The parent of all services.
    Keeper,
    /// One right after the other.
    Both,
}

impl Victim {
    const WORDS: [(&str, Self); 3] =
        [("brain", Self::Brain), ("keeper", Self::Keeper), ("both", Self::Both)];

    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(it, _)| *it == word).map(|(_, it)| *it)
    }

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, it)| *it == self).expect("each has its word").0
    }
}

/// Who is killed by all tests here.
pub(crate) const MODES: &[Victim] = &[Victim::Brain, Victim::Keeper, Victim::Both];

/// Something that is done, as a line: `1034 kill=both again=3 ask=restart:sleep-007 wait=210`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// When, in milliseconds since the beginning.
    pub(crate) at_ms: u64,
    /// Who is killed.
    pub(crate) kill: Option<Victim>,
    /// After so many milliseconds whoever took the place is killed as well.
    pub(crate) again_ms: Option<u64>,
    /// A command that is asked for first, and of which service.
    pub(crate) ask: Option<(String, String)>,
    /// How many milliseconds before the next thing: the kill after the command, the start of a
    /// server when none is left.
    pub(crate) wait_ms: u64,
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at_ms)?;
        if let Some(victim) = self.kill {
            write!(f, " kill={}", victim.word())?;
        }
        if let Some(again_ms) = self.again_ms {
            write!(f, " again={again_ms}")?;
        }
        if let Some((verb, name)) = &self.ask {
            write!(f, " ask={verb}:{name}")?;
        }
        write!(f, " wait={}", self.wait_ms)
    }
}

impl Step {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut step = Self { at_ms: words.next()?.parse().ok()?, ..Self::default() };
        for word in words {
            match word.split_once('=')? {
                ("kill", it) => step.kill = Some(Victim::parse(it)?),
                ("again", it) => step.again_ms = Some(it.parse().ok()?),
                ("ask", it) => {
                    let (verb, name) = it.split_once(':')?;
                    step.ask = Some((verb.to_owned(), name.to_owned()));
                }
                ("wait", it) => step.wait_ms = it.parse().ok()?,
                _ => return None,
            }
        }
        Some(step)
    }
}

/// How steps are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// For how long.
    pub(crate) total_ms: u64,
    /// How far apart they are.
    pub(crate) every_ms: u64,
    /// One of so many kills.
    pub(crate) kills_one_in: u64,
    /// One of so many asks for something.
    pub(crate) asks_one_in: u64,
}

/// The steps of a seed; `names` are those of services that may be restarted and stopped.
pub(crate) fn plan(seed: u64, pace: Pace, names: &[String]) -> Vec<Step> {
    let mut dice = Dice::of(seed, "plan", 0);
    let one_in = |dice: &mut Dice, count: u64| dice.between(1, count) == 1;
    let mut steps = Vec::new();
    for index in 1..pace.total_ms / pace.every_ms {
        let at_ms = index * pace.every_ms - dice.between(0, pace.every_ms / 2);
        let kill = one_in(&mut dice, pace.kills_one_in)
            .then(|| MODES[dice.between(1, MODES.len() as u64) as usize - 1]);
        let again_ms = (kill.is_some() && one_in(&mut dice, 4)).then(|| dice.between(0, 8));
        let ask = one_in(&mut dice, pace.asks_one_in).then(|| {
            let verb = if one_in(&mut dice, 3) { "stop" } else { "restart" };
            let name = &names[dice.between(1, names.len() as u64) as usize - 1];
            (verb.to_owned(), name.clone())
        });
        let wait_ms = if ask.is_some() { dice.between(0, 60) } else { dice.between(0, 300) };
        steps.push(Step { at_ms, kill, again_ms, ask, wait_ms });
    }
    steps
}

/// The steps in a text.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty());
    lines.map(|it| Step::parse(it).unwrap_or_else(|| panic!("no step: `{it}`"))).collect()
}

#[test]
fn a_plan_that_is_printed_can_be_pasted_back_and_its_seed_makes_it_again() {
    let names = ["a".to_owned(), "b".to_owned()];
    let pace = Pace { total_ms: 60_000, every_ms: 500, kills_one_in: 2, asks_one_in: 2 };
    let steps = plan(7, pace, &names);
    let printed: Vec<String> = steps.iter().map(Step::to_string).collect();
    assert_eq!(parse(&printed.join("\n")), steps);
    assert_eq!(plan(7, pace, &names), steps);
    assert_ne!(plan(8, pace, &names), steps);
    assert!(steps.iter().any(|it| it.again_ms.is_some() && it.ask.is_some()));
    assert!(steps.is_sorted_by(|one, other| one.at_ms < other.at_ms));
}

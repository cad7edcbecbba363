//! What came of it, for programs and for whoever draws it.

use serde::Serialize;

/// What a fleet went through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How long it was looked at.
    pub span_ms: i64,
    /// What chance was drawn from.
    pub seed: u64,
    /// Whether nobody said what goes wrong, so that each service crashes once a day.
    pub usual_faults: bool,
    /// The services that were to be up at any time: the least available first.
    pub services: Vec<Course>,
    /// The services that nobody wanted up.
    pub unused: Vec<String>,
    /// How often processes ended by themselves though they should not have.
    pub crashes: u64,
    /// How often services were launched again, for whatever reason.
    pub restarts: u64,
    /// The most launches within a second that were not first ones; `None` without any.
    pub storm_1s: Option<Storm>,
    /// The same within ten seconds.
    pub storm_10s: Option<Storm>,
    /// What went wrong with the policy.
    pub problems: Vec<Problem>,
    /// When everything was brought down, if a service did that.
    pub ended_ms: Option<i64>,
}

/// What one service went through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course {
    /// Its name.
    pub name: String,
    /// Which part of the time it was up, 0 to 1; for a oneshot or a target, doing its work or done.
    pub availability: f64,
    /// For how long it was not.
    pub down_ms: i64,
    /// How often its processes ended by themselves though they should not have.
    pub crashes: u64,
    /// How often it was launched again, for whatever reason: also when another one took it along.
    pub restarts: u64,
    /// The longest time from losing it until it was up again.
    pub worst: Option<Break>,
    /// The state it was left in.
    pub state: String,
    /// Why.
    pub reason: String,
    /// Its time in equal parts: a letter for how it was in each (see [`Cell::letter`]).
    pub timeline: String,
}

/// A time without a service that had been up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// When it began.
    pub at_ms: i64,
    /// How long it was.
    pub ms: i64,
    /// Whether it was over in the end.
    pub recovered: bool,
}

/// Many launches at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Storm {
    /// How many.
    pub launches: usize,
    /// When the first of them was.
    pub at_ms: i64,
}

/// Something that went wrong again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub what: String,
    /// How often.
    pub times: u64,
}

/// How a service was in one part of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Up, all the time.
    Up,
    /// Up, but for a moment: at most a twentieth of the time.
    Break,
    /// For the most part of the time that it was not up, its process lived and was not up yet.
    Starting,
    /// It had failed and was to be tried again.
    Backoff,
    /// It waited for another service.
    Blocked,
    /// It was stopped or stopping, had failed, or hung.
    Down,
}

/// A moment of a simulation as the time of day, after the days that have passed.
///
/// ```
/// use zinit_host::forecast::time_of;
/// assert_eq!(time_of(50_589_999), "14:03:09");
/// assert_eq!(time_of(2 * 86_400_000), "2d 00:00:00");
/// ```
pub fn time_of(ms: i64) -> String {
    let (days, secs) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let time = format!("{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60);
    if days > 0 { format!("{days}d {time}") } else { time }
}

impl Cell {
    /// All of them, as a legend has them.
    pub const ALL: [Self; 6] =
        [Self::Up, Self::Break, Self::Starting, Self::Backoff, Self::Blocked, Self::Down];

    /// The letter for it: `u`, `i` (interrupted), `s`, `b`, `w` (waits), `d`.
    pub fn letter(self) -> char {
        match self {
            Self::Up => 'u',
            Self::Break => 'i',
            Self::Starting => 's',
            Self::Backoff => 'b',
            Self::Blocked => 'w',
            Self::Down => 'd',
        }
    }

    /// What that letter stands for.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.letter() == letter)
    }
}

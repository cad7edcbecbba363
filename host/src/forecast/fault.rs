//! What goes wrong: mishaps as users write them, and those that are meant for one service.

use nix::sys::signal::Signal;
use zinit_keeper::wire::Exit;

use super::dice::Dice;
use crate::glob::Glob;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::{Spec, duration_ms};

/// A mishap, and whom it befalls.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The services, as they were written: a name or a glob.
    pub whom: String,
    glob: Glob,
    what: What,
}

/// What befalls a service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// Its process ends, again and again, so far apart on average; `None` for never.
    Crash(Option<f64>),
    /// It cannot run for a while.
    Outage { at_ms: i64, for_ms: i64 },
    /// Its process lives on, and does nothing any more.
    Hang { at_ms: i64 },
    /// It takes so long until it is well.
    SlowStart { ms: i64 },
}

/// More than one crash a second says nothing about a day.
const CRASH_MS_MIN: f64 = 1_000.0;

const UNITS: [(&str, f64); 5] =
    [("s", 1e3), ("m", 6e4), ("h", 3.6e6), ("d", 8.64e7), ("w", 6.048e8)];

impl Fault {
    /// Reads `NAME=RATE`: crashes by chance, so many in a minute, an hour or a day.
    ///
    /// ```
    /// use zinit_host::forecast::Fault;
    /// assert!(Fault::crash("web-*=3/d").is_ok());
    /// let why = Fault::crash("web=often").expect_err("it is no rate");
    /// assert_eq!(why, "`often` is no rate, such as `1/h`, `3/d` or `0.5/m`");
    /// ```
    ///
    /// # Errors
    /// Why it is none, with the shape that is wanted.
    pub fn crash(text: &str) -> Result<Self, String> {
        let (whom, rate) = halves(text, '=', "NAME=RATE, such as `web=1/h`")?;
        let average_ms = rate_ms(rate)
            .ok_or_else(|| format!("`{rate}` is no rate, such as `1/h`, `3/d` or `0.5/m`"))?;
        if average_ms.is_some_and(|it| it < CRASH_MS_MIN) {
            return Err(format!("`{rate}` is more than `60/m`, which is the most"));
        }
        Self::of(whom, What::Crash(average_ms))
    }

    /// Reads `NAME=10m@2h`: for ten minutes, from two hours after the start on, it cannot run.
    ///
    /// # Errors
    /// Why it is none, with the shape that is wanted.
    pub fn outage(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "NAME=DURATION@TIME, such as `db=10m@2h`";
        let (whom, when) = halves(text, '=', SHAPE)?;
        let (lasts, at) = halves(when, '@', SHAPE)?;
        Self::of(whom, What::Outage { at_ms: duration(at)?, for_ms: duration(lasts)? })
    }

    /// Reads `NAME@3h`: three hours after the start, its process hangs.
    ///
    /// # Errors
    /// Why it is none, with the shape that is wanted.
    pub fn hang(text: &str) -> Result<Self, String> {
        let at = text.rfind('@').ok_or("it is NAME@TIME, such as `web@3h`")?;
        Self::of(&text[..at], What::Hang { at_ms: duration(&text[at + 1..])? })
    }

    /// Reads `NAME=5s`: whenever it is started, it takes five seconds to be well.
    ///
    /// # Errors
    /// Why it is none, with the shape that is wanted.
    pub fn slow_start(text: &str) -> Result<Self, String> {
        let (whom, ms) = halves(text, '=', "NAME=DURATION, such as `db=5s`")?;
        Self::of(whom, What::SlowStart { ms: duration(ms)? })
    }

    fn of(whom: &str, what: What) -> Result<Self, String> {
        let glob = Glob::parse(whom);
        let glob = glob.ok_or_else(|| format!("`{whom}` is no pattern: its `[` has no end"))?;
        Ok(Self { whom: whom.to_owned(), glob, what })
    }

    /// What befalls each service when nobody says anything: a crash a day.
    pub(super) fn usual() -> Self {
        Self::crash("*=1/d").expect("it is a rate")
    }

    /// Whether it befalls the service of this name.
    pub fn befalls(&self, name: &ServiceName) -> bool {
        self.glob.fits(name.as_str())
    }

    /// Whether there is a service that it befalls.
    pub(super) fn vet(&self, services: &[(ServiceName, Spec)]) -> Result<(), Refusal> {
        if services.iter().any(|(it, _)| self.befalls(it)) {
            return Ok(());
        }
        let whom = &self.whom;
        if ServiceName::parse(whom).is_ok() {
            let known = services.iter().map(|(it, _)| it.as_str());
            let mut refusal = Refusal::unknown_service(whom, known);
            if !refusal.hint.as_ref().is_some_and(|it| it.starts_with("did you mean")) {
                refusal.hint = None;
            }
            return Err(refusal);
        }
        Err(Refusal::new(Kind::UnknownService, format!("no service matches `{whom}`"))
            .with("service", whom.as_str()))
    }
}

/// What is in store for one service.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    crash_ms: Option<f64>,
    dice: Dice,
    /// From when until when it cannot run.
    pub(super) outages: Vec<(i64, i64)>,
    /// When its process hangs.
    pub(super) hangs: Vec<i64>,
    /// How long it takes to be well.
    pub(super) slow_ms: i64,
}

impl Fate {
    /// What these faults mean for a service. Of several rates of crashes, and of several slow starts,
    /// the last one counts.
    pub(super) fn new(seed: u64, name: &ServiceName, faults: &[Fault]) -> Self {
        let dice = Dice::new(seed, name.as_str(), "crash");
        let mut fate = Self { crash_ms: None, dice, outages: vec![], hangs: vec![], slow_ms: 0 };
        for fault in faults.iter().filter(|it| it.befalls(name)) {
            match fault.what {
                What::Crash(average_ms) => fate.crash_ms = average_ms,
                What::Outage { at_ms, for_ms } => fate.outages.push((at_ms, at_ms + for_ms)),
                What::Hang { at_ms } => fate.hangs.push(at_ms),
                What::SlowStart { ms } => fate.slow_ms = ms,
            }
        }
        fate
    }

    /// When it crashes next after this, and how; never, if it does not.
    pub(super) fn next_crash(&mut self, now: i64) -> Option<(i64, Exit)> {
        let gap = self.dice.gap_ms(self.crash_ms?);
        let by_signal = Exit::Signal { signal: Signal::SIGSEGV as i32, core: false };
        Some((now + gap, if self.dice.coin() { by_signal } else { Exit::Code(1) }))
    }

    /// Until when it cannot run, as far as one can see now; 0 when it can.
    pub(super) fn out_until(&self, now: i64) -> i64 {
        let on = self.outages.iter().filter(|(from, until)| (*from..*until).contains(&now));
        on.map(|(_, until)| *until).max().unwrap_or(0)
    }
}

fn halves<'a>(text: &'a str, mark: char, shape: &str) -> Result<(&'a str, &'a str), String> {
    let halves = text.split_once(mark).filter(|(one, other)| !one.is_empty() && !other.is_empty());
    halves.ok_or_else(|| format!("it is {shape}"))
}

fn duration(text: &str) -> Result<i64, String> {
    duration_ms(text).map_err(|why| format!("`{text}` is no duration, such as `10m`: {why}"))
}

/// The milliseconds between two on average; `Some(None)` for a rate of none.
fn rate_ms(text: &str) -> Option<Option<f64>> {
    let (count, unit) = text.split_once('/')?;
    let (_, unit_ms) = UNITS.iter().find(|(word, _)| *word == unit.trim())?;
    let plain = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let count: f64 = Some(count.trim()).filter(|it| plain(it))?.parse().ok()?;
    Some((count > 0.0).then(|| unit_ms / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(faults: &[Result<Fault, String>]) -> Vec<What> {
        faults.iter().map(|it| it.as_ref().expect("it is a fault").what).collect()
    }

    #[test]
    fn faults_are_read_as_they_are_meant() {
        let read = [
            Fault::crash("web=2/h"),
            Fault::crash("web=0.5/m"),
            Fault::crash("web=0/d"),
            Fault::outage("db=10m@2h"),
            Fault::hang("a@b@90s"),
            Fault::slow_start("db=1500ms"),
        ];
        let meant = [
            What::Crash(Some(1.8e6)),
            What::Crash(Some(1.2e5)),
            What::Crash(None),
            What::Outage { at_ms: 7_200_000, for_ms: 600_000 },
            What::Hang { at_ms: 90_000 },
            What::SlowStart { ms: 1_500 },
        ];
        assert_eq!(whats(&read), meant);
        assert_eq!(read[4].as_ref().expect("it is one").whom, "a@b");
    }

    #[test]
    fn what_is_none_says_which_shape_is_wanted() {
        for (said, why) in [
            (Fault::crash("web"), "it is NAME=RATE, such as `web=1/h`"),
            (Fault::crash("=1/h"), "it is NAME=RATE, such as `web=1/h`"),
            (Fault::crash("web=1/x"), "`1/x` is no rate, such as `1/h`, `3/d` or `0.5/m`"),
            (Fault::crash("web=-1/h"), "`-1/h` is no rate, such as `1/h`, `3/d` or `0.5/m`"),
            (Fault::crash("web=inf/h"), "`inf/h` is no rate, such as `1/h`, `3/d` or `0.5/m`"),
            (Fault::crash("web=9/s"), "`9/s` is more than `60/m`, which is the most"),
            (Fault::outage("db=10m"), "it is NAME=DURATION@TIME, such as `db=10m@2h`"),
            (
                Fault::outage("db=10x@2h"),
                "`10x` is no duration, such as `10m`: its unit is not one of ms, s, m, h and d",
            ),
            (Fault::hang("web"), "it is NAME@TIME, such as `web@3h`"),
            (Fault::slow_start("web"), "it is NAME=DURATION, such as `db=5s`"),
            (Fault::crash("web[=1/h"), "`web[` is no pattern: its `[` has no end"),
        ] {
            assert_eq!(said.expect_err("it is none"), why);
        }
    }

    #[test]
    fn the_last_rate_counts_and_none_is_a_rate() {
        let name = ServiceName::parse("web-1").expect("it is a name");
        let all = [Fault::crash("*=1/h"), Fault::crash("web-*=0/h")].map(Result::unwrap);
        assert_eq!(Fate::new(1, &name, &all).next_crash(0), None);
        assert!(Fate::new(1, &name, &all[..1]).next_crash(0).is_some());
    }
}

//! What a service has written down about its lives, and what must hold for that.

use std::collections::{BTreeMap, BTreeSet};

/// A life of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The process id.
    pub(crate) pid: i32,
    /// Which life it is.
    pub(crate) number: u64,
    /// When it began, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// How it ended by itself, or because it was told to.
    pub(crate) end: Option<End>,
}

/// The end of a life, which it has written down itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The exit code.
    pub(crate) code: i32,
    /// How many lines it has written.
    pub(crate) lines: u64,
}

/// All that was written down about a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Its lives, in their order.
    pub(crate) lives: Vec<Life>,
    /// How often anybody has asked for a stop or a restart of it.
    pub(crate) asked: usize,
    /// What must not have happened.
    pub(crate) faults: Vec<String>,
    /// Whether an end may be asked for just now.
    may_end: bool,
}

impl Record {
    /// Reads a record: what the service writes, and `asked` before it is told to end, `answered` when
    /// that has been done. What was `asked` and not `answered` may still be done.
    pub(crate) fn read(name: &str, text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            if let Some(fault) = record.take(line) {
                record.faults.push(format!("{name}: {fault}: {line}"));
            }
        }
        record
    }

    /// Takes a line, and says what is wrong about it.
    fn take(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, numbers @ ..] = &words[..] else { return None };
        let number = |index: usize| numbers.get(index).and_then(|it| it.parse::<u64>().ok());
        let (Some(at_ms), Some(pid)) = (number(0), number(1)) else {
            return Some("a damaged record".to_owned());
        };
        let pid = i32::try_from(pid).unwrap_or_default();
        match (*word, number(2), number(3)) {
            ("asked", ..) => (self.may_end, self.asked) = (true, self.asked + 1),
            ("answered", ..) => self.may_end = false,
            ("start", Some(number), _) => {
                return self.starts(Life { pid, number, at_ms, end: None });
            }
            ("end", Some(code), Some(lines)) => {
                let code = i32::try_from(code).unwrap_or(i32::MAX);
                return self.ends(pid, End { at_ms, code, lines });
            }
            ("signal", Some(15), _) if self.may_end => {}
            // What is stopped is told to go on as well.
            ("signal", Some(18), _) if self.may_end => {}
            ("signal", ..) => return Some("a signal that nobody asked for".to_owned()),
            ("duplicate", ..) => return Some("a second process".to_owned()),
            ("broken", ..) => return Some("a line could not be written".to_owned()),
            _ => return Some("a damaged record".to_owned()),
        }
        None
    }

    fn starts(&mut self, life: Life) -> Option<String> {
        let fault = match self.lives.last() {
            Some(before) if before.end.is_none() => {
                Some(format!("it was started though {} has not ended by itself", before.pid))
            }
            _ => None,
        };
        self.lives.push(life);
        fault
    }

    fn ends(&mut self, pid: i32, end: End) -> Option<String> {
        match self.lives.last_mut() {
            Some(life) if life.pid == pid && life.end.is_none() => {
                life.end = Some(end);
                None
            }
            _ => Some("the end of what did not live".to_owned()),
        }
    }

    /// The life that has not ended.
    pub(crate) fn living(&self) -> Option<&Life> {
        self.lives.last().filter(|it| it.end.is_none())
    }

    /// How many lines each life has written; `None` where it did not say.
    pub(crate) fn lines(&self) -> BTreeMap<u64, Option<u64>> {
        self.lives.iter().map(|it| (it.number, it.end.map(|end| end.lines))).collect()
    }
}

/// What the server was seen to say about a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When that was so, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The process id, 0 for none.
    pub(crate) pid: i32,
    /// How its latest process has ended; empty for none.
    pub(crate) exit: String,
}

/// What became of the exits of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Told with their codes.
    pub(crate) known: u64,
    /// Told as unknown.
    pub(crate) unknown: u64,
    /// Nobody was there to hear it, and another one had come before somebody was.
    pub(crate) unheard: u64,
}

impl Tally {
    /// The exits of several services.
    pub(crate) fn add(&mut self, other: Self) {
        self.known += other.known;
        self.unknown += other.unknown;
        self.unheard += other.unheard;
    }
}

/// How much later the server may say what was written down, in milliseconds, on a busy machine; and how
/// far clocks are read apart.
const LAG_MS: u64 = 400;
const SLACK_MS: u64 = 100;

/// What is told of a process that never ran its program, because its keeper died.
const LOST: &str = "its launch was lost";

/// While nobody was there: from when to when, in milliseconds since 1970.
pub(crate) type Absence = (u64, u64);

/// When something is no fault, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excuses {
    /// When nobody heard the server: what ended then may be told by nobody, if the service ended
    /// once more before somebody listened again.
    pub(crate) deaf: Vec<Absence>,
    /// When the keeper was dead: what ended then may be unknown.
    pub(crate) keeperless: Vec<Absence>,
    /// When both keeper and brain were dead: what a service wrote just before it ended then is gone
    /// with its pipes, which nobody else held.
    pub(crate) headless: Vec<Absence>,
    /// What ends later is not looked at.
    pub(crate) until_ms: u64,
}

impl Excuses {
    /// What was heard around a moment, to be told with a fault.
    fn around(&self, at_ms: u64, seen: &[Seen]) -> String {
        let (from, to) = (at_ms.saturating_sub(1000), at_ms + 2000);
        let seen = seen.iter().filter(|it| (from..to).contains(&it.at_ms));
        let deaf = self.deaf.iter().filter(|it| it.0 < to && from < it.1);
        format!("{:?}, deaf {:?}", seen.collect::<Vec<_>>(), deaf.collect::<Vec<_>>())
    }

    fn may_be_lost(&self, at_ms: u64) -> bool {
        self.keeperless.iter().any(|it| it.0 <= at_ms)
    }

    fn may_be_unheard(&self, end: &End, next_ms: u64) -> bool {
        let covers = |it: &Absence| it.0 <= end.at_ms + LAG_MS && next_ms <= it.1 + SLACK_MS;
        self.deaf.iter().any(covers)
    }

    /// The lives of which the last lines may be missing.
    pub(crate) fn cut(&self, record: &Record) -> BTreeSet<u64> {
        let covers = |at_ms, it: &Absence| it.0 <= at_ms + SLACK_MS && at_ms <= it.1 + SLACK_MS;
        let is_cut = |life: &&Life| {
            let end = life.end.as_ref();
            end.is_some_and(|end| self.headless.iter().any(|it| covers(end.at_ms, it)))
        };
        record.lives.iter().filter(is_cut).map(|it| it.number).collect()
    }

    /// Before Linux 6.15 nobody but its parent knows how a process has ended.
    fn may_be_unknown(&self, life: &Life, end: &End) -> bool {
        let begin_ms = if kernel() < (6, 15) { life.at_ms } else { end.at_ms };
        let overlaps = |it: &Absence| it.0 <= end.at_ms + SLACK_MS && begin_ms <= it.1 + SLACK_MS;
        self.keeperless.iter().any(overlaps)
    }
}

/// The version of the kernel.
pub(crate) fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|it| it.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// Compares what a service wrote about its ends with what the server said.
pub(crate) fn exits(
    name: &str,
    record: &Record,
    seen: &[Seen],
    excuses: &Excuses,
) -> (Tally, Vec<String>) {
    let mut faults = Vec::new();
    let ended = record.lives.iter().filter_map(|it| Some((it, it.end?)));
    let (lives, ends): (Vec<&Life>, Vec<End>) = ended.unzip();
    let mut told: Vec<Option<bool>> = vec![None; ends.len()];
    for it in seen.iter().filter(|it| !it.exit.is_empty()) {
        let is_before = |end: &End| end.at_ms <= it.at_ms + SLACK_MS;
        let code: Option<i32> = it.exit.strip_prefix("exit ").and_then(|code| code.parse().ok());
        let meant = match code {
            Some(code) => ends.iter().rposition(|end| is_before(end) && end.code == code),
            // A status shows the last end until there is another one, so this may be heard late: it is told of
            // the last one that may be unknown, if there is one.
            None => {
                let may_be = |at: &usize| excuses.may_be_unknown(lives[*at], &ends[*at]);
                let before = (0..ends.len()).rev().filter(|at| is_before(&ends[*at]));
                before.clone().find(may_be).or_else(|| before.clone().next())
            }
        };
        match (meant, code) {
            (Some(index), Some(_)) => told[index] = Some(true),
            (Some(index), None) if it.exit.contains("unknown") => {
                told[index] = told[index].or(Some(false));
            }
            // Its keeper died while it was being made, and it never ran its program.
            (_, None) if it.exit == LOST && excuses.may_be_lost(it.at_ms) => {}
            // It was told to end before it could write anything down.
            (_, None) if it.exit == "SIGTERM" && record.asked > 0 => {}
            _ => faults.push(format!("{name}: no process has ended so: {it:?}")),
        }
    }
    let mut tally = Tally::default();
    for (index, end) in ends.iter().enumerate().filter(|(_, it)| it.at_ms < excuses.until_ms) {
        let next_ms = ends.get(index + 1).map_or(u64::MAX, |it| it.at_ms);
        match told[index] {
            Some(true) => tally.known += 1,
            Some(false) if excuses.may_be_unknown(lives[index], end) => tally.unknown += 1,
            Some(false) => {
                faults.push(format!("{name}: this end is unknown for no reason: {end:?}"))
            }
            None if excuses.may_be_unheard(end, next_ms) => tally.unheard += 1,
            None => {
                let around = excuses.around(end.at_ms, seen);
                faults.push(format!("{name}: this end was never told: {end:?}: {around}"));
            }
        }
    }
    (tally, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        Record::read("a", text).faults
    }

    fn told(text: &str, seen: &[(u64, &str)], deaf: &[Absence]) -> (Tally, usize) {
        let keeperless = vec![(950, 1100)];
        let (deaf, headless) = (deaf.to_vec(), Vec::new());
        let excuses = Excuses { deaf, keeperless, headless, until_ms: u64::MAX };
        let seen: Vec<Seen> = seen
            .iter()
            .map(|(at_ms, exit)| Seen { at_ms: *at_ms, pid: 0, exit: (*exit).to_owned() })
            .collect();
        let (tally, faults) = exits("a", &Record::read("a", text), &seen, &excuses);
        (tally, faults.len())
    }

    const TWO_LIVES: &str = "start 100 7 1\nend 1000 7 21 0\nstart 1100 8 2\nend 2000 8 22 0\n";

    #[test]
    fn lives_that_follow_one_another_are_fine() {
        assert_eq!(faults(TWO_LIVES), [""; 0]);
        let asked =
            "start 1 7 1\nasked 2 0 stop\nsignal 3 7 15 2\nend 4 7 21 0\nanswered 5 0 stop\n";
        assert_eq!(faults(asked), [""; 0]);
    }

    #[test]
    fn a_service_that_is_started_twice_is_noticed() {
        assert_eq!(faults("start 1 7 1\nstart 2 8 2\n").len(), 1);
        assert_eq!(faults("start 1 7 1\nduplicate 2 8 \n").len(), 1);
    }

    #[test]
    fn a_signal_that_nobody_asked_for_is_noticed() {
        assert_eq!(faults("start 1 7 1\nsignal 3 7 15 2\nend 4 7 21 0\n").len(), 1);
        assert_eq!(faults("start 1 7 1\nasked 2 0 x\nsignal 3 7 10 2\n").len(), 1);
        let late = "start 1 7 1\nasked 2 0 x\nanswered 3 0 x\nsignal 4 7 15 2\nend 5 7 21 0\n";
        assert_eq!(faults(late).len(), 1);
    }

    #[test]
    fn a_damaged_record_is_noticed() {
        for text in ["start 1", "end 1 7 21 0", "start 1 7 1\nend 2 8 21 0", "what 1 2 3"] {
            assert_eq!(faults(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn exits_are_known_unknown_or_unheard() {
        let both = [(1010, "exit 21"), (1500, "exit 21"), (2010, "exit 22")];
        assert_eq!(told(TWO_LIVES, &both, &[]), (Tally { known: 2, ..Tally::default() }, 0));
        let one = [(1010, "an unknown status"), (2010, "exit 22")];
        let tally = Tally { known: 1, unknown: 1, unheard: 0 };
        assert_eq!(told(TWO_LIVES, &one, &[]), (tally, 0));
        let other = [(1010, "exit 21"), (2010, "an unknown status")];
        if kernel() >= (6, 15) {
            assert_eq!(told(TWO_LIVES, &other, &[]).1, 1, "the keeper lived when it ended");
        }
        let tally = Tally { known: 1, unknown: 0, unheard: 1 };
        assert_eq!(told(TWO_LIVES, &[(2010, "exit 22")], &[(900, 2005)]), (tally, 0));
        let lost = |at_ms| [(1010, "exit 21"), (at_ms, LOST), (2010, "exit 22")];
        assert_eq!(
            (told(TWO_LIVES, &lost(1200), &[]).1, told(TWO_LIVES, &lost(900), &[]).1),
            (0, 1)
        );
    }

    #[test]
    fn an_exit_that_was_not_told_or_told_wrongly_is_noticed() {
        assert_eq!(told(TWO_LIVES, &[(2010, "exit 22")], &[]).1, 1);
        // Somebody listened again before the next one.
        assert_eq!(told(TWO_LIVES, &[(2010, "exit 22")], &[(900, 1500)]).1, 1);
        let wrong = [(1010, "exit 21"), (2010, "exit 22")];
        for exit in ["exit 23", "SIGKILL", "SIGTERM"] {
            let seen: Vec<_> = wrong.into_iter().chain([(2020, exit)]).collect();
            assert_eq!(told(TWO_LIVES, &seen, &[]).1, 1, "{exit}");
        }
        // Before it had happened.
        assert_eq!(told(TWO_LIVES, &[(1010, "exit 21"), (1020, "exit 22")], &[]).1, 2);
    }
}

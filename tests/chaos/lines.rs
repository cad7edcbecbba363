//! The numbered lines of a service, as they are in its log, and what must hold for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use zinit_host::logs::line::Mark;
use zinit_host::logs::read::{Found, Query, forward};
use zinit_host::logs::trails::Trails;
use zinit_host::name::ServiceName;

/// A line of a log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The number of the process that is said to have written it.
    pub(crate) incarnation: u64,
    /// Whether it came from stderr.
    pub(crate) stderr: bool,
    /// What is special about it.
    pub(crate) mark: Mark,
    /// What was written.
    pub(crate) text: String,
}

impl From<Found> for Line {
    fn from(found: Found) -> Self {
        let Found { head, text, .. } = found;
        Self { incarnation: head.incarnation, stderr: head.stderr, mark: head.mark, text }
    }
}

/// All lines of the log in this directory.
pub(crate) fn lines_in(dir: &Path) -> Vec<Line> {
    let trails = Trails::new(i64::MAX);
    trails.enter(&ServiceName::parse("any").expect("a name"), dir);
    let (sources, mut query, mut lines) = (trails.sources(&[]), Query::default(), Vec::new());
    loop {
        let page = forward(&sources, &query, 10_000).expect("the files can be read");
        lines.extend(page.lines.into_iter().map(Line::from));
        if !page.more {
            return lines;
        }
        query.after_ns = page.cursor_ns;
    }
}

/// What was found in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines that are there.
    pub(crate) found: u64,
    /// Lines that are not, and are counted.
    pub(crate) counted: u64,
}

/// What was found of a life: which process that was, and the numbers that came by stdout and stderr.
#[derive(Debug)]
struct Written {
    incarnation: u64,
    numbers: [BTreeSet<u64>; 2],
}

impl Written {
    /// Takes a number, and says whether it fits; between the two streams there is no order.
    fn takes(&mut self, line: &Line, number: u64) -> bool {
        let [stdout, stderr] = &mut self.numbers;
        let (its, other) = if line.stderr { (stderr, stdout) } else { (stdout, stderr) };
        let fits = its.last().is_none_or(|it| *it < number) && !other.contains(&number);
        its.insert(number);
        fits && self.incarnation == line.incarnation
    }

    fn count(&self) -> u64 {
        self.numbers.iter().map(|it| it.len() as u64).sum()
    }

    fn last(&self) -> u64 {
        self.numbers.iter().filter_map(|it| it.last().copied()).max().unwrap_or_default()
    }

    /// How many are missing before the last one of each stream; every third goes to stderr.
    fn holes(&self) -> u64 {
        let [stdout, stderr] = self.numbers.each_ref().map(|it| it.last().copied().unwrap_or(0));
        (stdout - stdout / 3 + stderr / 3).saturating_sub(self.count())
    }
}

/// Compares `NAME LIFE NUMBER`, line by line, with how many lines each life has written. Of a life that
/// is `cut` short the last ones of each stream may be missing: nobody held its pipes when it ended.
pub(crate) fn check(
    name: &str,
    lines: &[Line],
    written: &BTreeMap<u64, Option<u64>>,
    cut: &BTreeSet<u64>,
) -> (Tally, Vec<String>) {
    let (mut tally, mut faults) = (Tally::default(), Vec::new());
    let mut lives: BTreeMap<u64, Written> = BTreeMap::new();
    for line in lines {
        if line.mark == Mark::Zinit {
            let count = line.text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
            tally.counted += count.unwrap_or_default();
            continue;
        }
        tally.found += 1;
        let Some((life, number)) = numbers(name, line).filter(|it| written.contains_key(&it.0))
        else {
            faults.push(format!("{name}: nobody has written this line: {line:?}"));
            continue;
        };
        let new = Written { incarnation: line.incarnation, numbers: Default::default() };
        if !lives.entry(life).or_insert(new).takes(line, number) {
            faults.push(format!("{name}: twice, out of order, or another's: {line:?}"));
        }
    }
    let mut missing = 0;
    for (life, count) in written {
        let (last, found) = lives.get(life).map_or((0, 0), |it| (it.last(), it.count()));
        let count = count.unwrap_or(last);
        if last > count {
            faults.push(format!("{name}: life {life} wrote {count} lines and not {last}"));
        }
        missing += if cut.contains(life) {
            lives.get(life).map_or(0, Written::holes)
        } else {
            count.saturating_sub(found)
        };
    }
    if missing != tally.counted {
        let counted = tally.counted;
        faults.push(format!("{name}: {missing} lines are missing, and {counted} are counted"));
    }
    (tally, faults)
}

fn numbers(name: &str, line: &Line) -> Option<(u64, u64)> {
    let rest = line.text.strip_prefix(name)?.strip_prefix(' ')?;
    let (life, number) = rest.split_once(' ').filter(|_| line.mark == Mark::None)?;
    Some((life.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(texts: &[&str]) -> usize {
        let line = |text: &&str| {
            let mark = if text.contains("dropped") { Mark::Zinit } else { Mark::None };
            let incarnation = u64::from(text.contains(" 2 ")) + 1;
            let stderr = text.contains(" 2 ");
            Line { incarnation, stderr, mark, text: (*text).to_owned() }
        };
        let lines: Vec<Line> = texts.iter().map(line).collect();
        check("w", &lines, &[(1, Some(3)), (2, None)].into(), &BTreeSet::new()).1.len()
    }

    #[test]
    fn of_a_life_that_nobody_saw_end_only_the_last_lines_may_be_missing() {
        let faults = |numbers: &[u64]| {
            let line = |number: &u64| Line {
                incarnation: 1,
                stderr: number.is_multiple_of(3),
                mark: Mark::None,
                text: format!("w 1 {number}"),
            };
            let lines: Vec<Line> = numbers.iter().map(line).collect();
            check("w", &lines, &[(1, Some(9))].into(), &[1].into()).1.len()
        };
        assert_eq!(faults(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), 0);
        assert_eq!(faults(&[1, 2, 3, 4, 5]), 0);
        assert_eq!(faults(&[1, 2, 3, 6]), 0, "each stream has an end of its own");
        assert_eq!(faults(&[]), 0);
        assert_eq!(faults(&[1, 3, 4]), 1);
        assert_eq!(faults(&[1, 2, 6]), 1);
    }

    #[test]
    fn every_line_once_and_in_order_is_fine() {
        assert_eq!(faults(&["w 1 1", "w 1 2", "w 1 3", "w 2 1", "w 2 2"]), 0);
    }

    #[test]
    fn a_line_that_is_missing_is_noticed_unless_it_is_counted() {
        assert_eq!(faults(&["w 1 1", "w 1 3"]), 1);
        assert_eq!(faults(&["w 1 1", "w 1 2"]), 1);
        assert_eq!(faults(&["w 2 1"]), 1);
        assert_eq!(faults(&["w 1 1", "1 lines (6 bytes) were dropped here", "w 1 3"]), 0);
        assert_eq!(faults(&["w 1 1", "2 lines (6 bytes) were dropped here", "w 1 3"]), 1);
    }

    #[test]
    fn a_line_that_is_there_twice_or_out_of_order_is_noticed() {
        assert_eq!(faults(&["w 1 1", "w 1 2", "w 1 2", "w 1 3"]), 1);
        assert!(faults(&["w 1 2", "w 1 1", "w 1 3"]) > 0);
    }

    #[test]
    fn a_line_that_nobody_wrote_is_noticed() {
        for strange in ["w 3 1", "x 1 1", "w 1", "w 1 2w 1 3", "", "w 1 4"] {
            assert!(faults(&["w 1 1", "w 1 2", "w 1 3", strange]) > 0, "{strange}");
        }
    }
}

//! Counts what happens while it happens: how long each service was in which state, what its worst
//! time was, and how many were launched at once.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::report::{Break, Cell, Course, Problem, Storm};
use crate::effect::Effect;
use crate::name::ServiceName;
use crate::state::{Service, State, Target};

/// So many kinds of problems are told.
const PROBLEMS_MAX: usize = 32;

/// What a part of a timeline is made of: milliseconds not up, by the cell that they would make.
type Part = [i64; 4];

const LACKS: [Cell; 4] = [Cell::Starting, Cell::Backoff, Cell::Blocked, Cell::Down];

/// The record of all of them.
#[derive(Debug)]
pub(super) struct Record {
    span_ms: i64,
    parts: usize,
    pub(super) tracks: BTreeMap<ServiceName, Track>,
    pub(super) storms: [Window; 2],
    pub(super) problems: Vec<Problem>,
    pub(super) restarts: u64,
}

impl Record {
    pub(super) fn new(span_ms: i64, parts: usize) -> Self {
        Self {
            span_ms,
            parts,
            tracks: BTreeMap::new(),
            storms: [Window::new(1_000), Window::new(10_000)],
            problems: Vec::new(),
            restarts: 0,
        }
    }

    /// Takes in what is about to be done.
    pub(super) fn see(&mut self, now: i64, effect: &Effect) {
        match effect {
            Effect::Known(service) | Effect::Changed(service) => {
                let span_ms = self.span_ms;
                self.track(service).stands(Rc::clone(service), now, span_ms);
            }
            Effect::Launch { service, .. } => self.launched(service, now),
            Effect::Faulted(_, fault) => note(&mut self.problems, fault.to_string()),
            Effect::Complain(sentence) => note(&mut self.problems, sentence.clone()),
            _ => {}
        }
    }

    fn launched(&mut self, service: &Rc<Service>, now: i64) {
        if self.track(service).launched(now) {
            self.restarts += 1;
            self.storms.iter_mut().for_each(|it| it.launched(now));
        }
    }

    fn track(&mut self, service: &Rc<Service>) -> &mut Track {
        let new = || Track::new(Rc::clone(service), self.parts);
        self.tracks.entry(service.name.clone()).or_insert_with(new)
    }

    /// It hangs from now on, until it is launched again.
    pub(super) fn hangs(&mut self, name: &ServiceName, now: i64) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.hung = true;
            track.look(now, self.span_ms);
        }
    }

    /// It crashes.
    pub(super) fn crashes(&mut self, name: &ServiceName) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.crashes += 1;
            track.doomed = false;
        }
    }

    /// It cannot run until then.
    pub(super) fn is_out(&mut self, name: &ServiceName, until: i64) {
        if let Some(track) = self.tracks.get_mut(name) {
            track.out_until = until;
        }
    }
}

/// The record of one service.
#[derive(Debug)]
pub(super) struct Track {
    /// As it stands.
    service: Rc<Service>,
    /// Its process lives, and does nothing any more.
    hung: bool,
    /// Its process lives, and will end in a moment.
    doomed: bool,
    out_until: i64,
    cell: Cell,
    since: i64,
    wanted: bool,
    parts: Vec<Part>,
    down_ms: i64,
    lost_at: Option<i64>,
    first_lost_at: Option<i64>,
    worst: Option<Break>,
    crashes: u64,
    launches: u64,
}

impl Track {
    fn new(service: Rc<Service>, parts: usize) -> Self {
        Self {
            service,
            hung: false,
            doomed: false,
            out_until: 0,
            cell: Cell::Down,
            since: 0,
            wanted: false,
            parts: vec![[0; 4]; parts],
            down_ms: 0,
            lost_at: None,
            first_lost_at: None,
            worst: None,
            crashes: 0,
            launches: 0,
        }
    }

    /// It stands so from now on.
    fn stands(&mut self, service: Rc<Service>, now: i64, span_ms: i64) {
        self.wanted |= service.standing.target == Target::Up;
        self.service = service;
        self.is_gone();
        self.look(now, span_ms);
    }

    /// A process that could only end has ended. If somebody stopped it before, that was no crash.
    fn is_gone(&mut self) {
        let standing = &self.service.standing;
        if self.doomed && standing.process.is_none() {
            self.doomed = false;
            self.crashes += u64::from(standing.exits.last().is_some_and(|it| it.own));
        }
    }

    /// Whether it is up and well may have changed.
    fn look(&mut self, now: i64, span_ms: i64) {
        let cell = match cell_of(self.service.standing.state) {
            Cell::Up if self.hung => Cell::Down,
            Cell::Up if self.doomed => Cell::Starting,
            other => other,
        };
        if cell == self.cell {
            return;
        }
        self.spend(now, span_ms);
        if cell == Cell::Up {
            self.is_back(now, true);
        } else if self.cell == Cell::Up {
            self.lost_at = Some(now);
            self.first_lost_at.get_or_insert(now);
        }
        self.cell = cell;
    }

    /// Adds the time since the last change to the parts that it fell into.
    fn spend(&mut self, now: i64, span_ms: i64) {
        let from = std::mem::replace(&mut self.since, now);
        let Some(kind) = LACKS.iter().position(|it| *it == self.cell) else { return };
        self.down_ms += now - from;
        let parts = i64::try_from(self.parts.len()).expect("it was made of a small number");
        let begin = |part: i64| part * span_ms / parts;
        let first = (from * parts / span_ms).max(0);
        for part in (first..parts).take_while(|it| begin(*it) < now) {
            let ms = now.min(begin(part + 1)) - from.max(begin(part));
            let at = usize::try_from(part).expect("it is not negative");
            self.parts[at][kind] += ms.max(0);
        }
    }

    fn is_back(&mut self, now: i64, recovered: bool) {
        let Some(at_ms) = self.lost_at.take() else { return };
        let ms = now - at_ms;
        if self.worst.is_none_or(|it| it.ms < ms) {
            self.worst = Some(Break { at_ms, ms, recovered });
        }
    }

    /// Counts a launch, and says whether it was not the first.
    fn launched(&mut self, now: i64) -> bool {
        self.launches += 1;
        self.hung = false;
        self.doomed = now < self.out_until;
        self.launches > 1
    }

    /// Whether anybody wanted it up.
    pub(super) fn is_used(&self) -> bool {
        self.wanted
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        self.service.name.to_string()
    }

    /// What it went through until the end.
    #[expect(clippy::cast_precision_loss, reason = "a span has fewer than 53 bits")]
    pub(super) fn course(mut self, span_ms: i64) -> Course {
        self.spend(span_ms, span_ms);
        self.is_back(span_ms, false);
        let standing = &self.service.standing;
        Course {
            name: self.name(),
            availability: (span_ms - self.down_ms) as f64 / span_ms as f64,
            down_ms: self.down_ms,
            crashes: self.crashes,
            restarts: self.launches.saturating_sub(1),
            worst: self.worst,
            state: standing.state.word().to_owned(),
            reason: standing.why.to_string(),
            timeline: self.timeline(span_ms),
        }
    }

    fn timeline(&self, span_ms: i64) -> String {
        let count = i64::try_from(self.parts.len()).expect("it was made of a small number");
        let part_ms = (span_ms / count).max(1);
        let lost_at = self.first_lost_at.unwrap_or(span_ms);
        let cells = (1..).zip(&self.parts).map(|(number, part)| match shown(part, part_ms) {
            // To come up takes a moment, which is no break.
            Cell::Break if number * span_ms / count <= lost_at => Cell::Up,
            other => other,
        });
        cells.map(Cell::letter).collect()
    }
}

fn cell_of(state: State) -> Cell {
    match state {
        State::Running | State::Success => Cell::Up,
        State::Spawned => Cell::Starting,
        State::Backoff => Cell::Backoff,
        State::Blocked => Cell::Blocked,
        State::Stopped | State::Stopping { .. } | State::Failed => Cell::Down,
    }
}

fn shown(part: &Part, part_ms: i64) -> Cell {
    let sum: i64 = part.iter().sum();
    if sum == 0 {
        return Cell::Up;
    }
    if sum * 20 <= part_ms {
        return Cell::Break;
    }
    // Of equals the last one, which is the worse.
    let most = (0..part.len()).max_by_key(|it| part[*it]).expect("there are four");
    LACKS[most]
}

/// Launches within a window of time.
#[derive(Debug)]
pub(super) struct Window {
    ms: i64,
    recent: VecDeque<i64>,
    pub(super) worst: Option<Storm>,
}

impl Window {
    pub(super) fn new(ms: i64) -> Self {
        Self { ms, recent: VecDeque::new(), worst: None }
    }

    pub(super) fn launched(&mut self, now: i64) {
        while self.recent.front().is_some_and(|it| *it <= now - self.ms) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let launches = self.recent.len();
        if self.worst.is_none_or(|it| it.launches < launches) {
            self.worst = Some(Storm { launches, at_ms: self.recent[0] });
        }
    }
}

/// Notes that something went wrong, once more or for the first time.
fn note(problems: &mut Vec<Problem>, what: String) {
    if let Some(known) = problems.iter_mut().find(|it| it.what == what) {
        known.times += 1;
    } else if problems.len() < PROBLEMS_MAX {
        problems.push(Problem { what, times: 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_the_most_launches_within_any_window() {
        let mut window = Window::new(1_000);
        for at in [0, 600, 1_000, 1_500, 1_599, 5_000] {
            window.launched(at);
        }
        assert_eq!(window.worst, Some(Storm { launches: 4, at_ms: 600 }));
    }

    #[test]
    fn a_part_shows_what_was_amiss_for_longest_unless_it_was_but_a_moment() {
        assert_eq!(shown(&[0, 0, 0, 0], 100), Cell::Up);
        assert_eq!(shown(&[2, 3, 0, 0], 100), Cell::Break);
        assert_eq!(shown(&[2, 4, 0, 0], 100), Cell::Backoff);
        assert_eq!(shown(&[0, 0, 50, 50], 100), Cell::Down);
    }
}

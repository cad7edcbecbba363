//! What one decision may use up: ticks of the interpreter, callbacks included, and as a second net
//! the CPU time of this thread; never wall time, which would punish a policy for a busy machine.

use std::cell::Cell;

use crate::clock;

const TICKS_MAX: u64 = 100_000;
/// Further ones for each element of a list that the function is given, so that it may sort it.
const TICKS_PER_ITEM: u64 = 1_000;
const CPU_US_MAX: i64 = 4_000;
const CPU_US_PER_ITEM: i64 = 50;
const TICKS_BETWEEN_CLOCK_READS: u64 = 64;

/// What is left of a decision.
#[derive(Default)]
pub(super) struct Meter {
    ticks: Cell<u64>,
    limited: Cell<bool>,
    ticks_max: Cell<u64>,
    cpu_us_end: Cell<i64>,
    spent: Cell<Option<Spent>>,
    ignores_clock: Cell<bool>,
}

/// What a decision has used up. Once over the budget it stays over it: natives like `sort` swallow
/// errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// The same question would use them up again.
    Ticks,
    /// On another machine the same question might not.
    Cpu,
}

impl Meter {
    /// Begins a decision about a list of so many elements.
    pub(super) fn begin(&self, items: usize) {
        let items = u64::try_from(items).unwrap_or(u64::MAX);
        let ticks = TICKS_MAX.saturating_add(items.saturating_mul(TICKS_PER_ITEM));
        let cpu_us = CPU_US_MAX + CPU_US_PER_ITEM * i64::try_from(items.min(16_384)).unwrap_or(0);
        self.begin_with(ticks, cpu_us);
    }

    /// Begins something that may use up so much.
    pub(super) fn begin_with(&self, ticks: u64, cpu_us: i64) {
        self.ticks.set(0);
        self.spent.set(None);
        self.limited.set(true);
        self.ticks_max.set(ticks);
        let end = clock::thread_cpu_us().saturating_add(cpu_us);
        self.cpu_us_end.set(if self.ignores_clock.get() { i64::MAX } else { end });
    }

    /// Counts ticks alone from now on.
    pub(super) fn ignore_clock(&self) {
        self.ignores_clock.set(true);
    }

    /// Ends it, and says what it has used up.
    pub(super) fn end(&self) -> Option<Spent> {
        self.limited.set(false);
        self.spent.take()
    }

    /// Whether a decision is being made that has a budget.
    pub(super) fn is_limited(&self) -> bool {
        self.limited.get()
    }

    /// One tick of the interpreter; says whether the decision must end here.
    pub(super) fn tick(&self) -> bool {
        if !self.limited.get() {
            return false;
        }
        let ticks = self.ticks.get() + 1;
        self.ticks.set(ticks);
        let is_late = || {
            ticks.is_multiple_of(TICKS_BETWEEN_CLOCK_READS)
                && clock::thread_cpu_us() > self.cpu_us_end.get()
        };
        if ticks > self.ticks_max.get() {
            self.spent.set(Some(Spent::Ticks));
        } else if is_late() {
            self.spent.set(Some(Spent::Cpu));
        }
        self.spent.get().is_some()
    }
}

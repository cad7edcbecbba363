//! Checks that need not be made: while nothing can go wrong with a service, nor with those that it
//! requires, each of its checks holds and only sets the alarm for the next one. The last one before
//! something may go wrong is made as ever, so that what follows finds everything as it would be.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::Simulated;
use crate::event::Tick;
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::{Standing, State};

/// Until when nothing goes wrong, as far as somebody has said so.
#[derive(Debug, Default)]
pub(super) struct Calm {
    until: BTreeMap<ServiceName, i64>,
    /// Each service, and all that it requires, directly or not.
    requires: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
}

impl Calm {
    /// Nothing goes wrong with this service before then.
    pub(super) fn lasts(
        &mut self,
        service: &ServiceName,
        until: i64,
        specs: &BTreeMap<ServiceName, Spec>,
    ) {
        self.until.insert(service.clone(), until);
        let all = || {
            let (mut all, mut ahead) = (BTreeSet::new(), vec![service.clone()]);
            while let Some(name) = ahead.pop() {
                ahead.extend(specs.get(&name).into_iter().flat_map(|it| it.requires.clone()));
                ahead.retain(|it| !all.contains(it));
                all.insert(name);
            }
            all
        };
        self.requires.entry(service.clone()).or_insert_with(all);
    }
}

impl Simulated {
    /// When the check that is due at `at` is made instead, if it need not be made.
    pub(super) fn postponed(&self, service: &ServiceName, at: Tick) -> Option<Tick> {
        let requires = self.calm.requires.get(service)?;
        let known = self.notes.get(service).filter(|_| self.ending.is_none())?;
        let standing = &known.standing;
        let period = known.spec.health.period_ms;
        let is_routine = standing.state == State::Running
            && standing.check_at == Some(at)
            && !standing.checking
            && standing.check_failures == 0
            && period > 0
            && (Standing { check_at: None, ..standing.clone() }).next().is_none();
        if !is_routine {
            return None;
        }
        let mut ends = requires.iter().map(|it| self.calm_until(it));
        let until = ends.try_fold(i64::MAX, |least, it| Some(least.min(it?)))?;
        let later = at.0 + (until - 1 - at.0).max(0) / period * period;
        (later > at.0).then_some(Tick(later))
    }

    /// Until when a service stays as it is; `None` when that is not certain.
    fn calm_until(&self, service: &ServiceName) -> Option<i64> {
        let state = self.notes.get(service)?.standing.state;
        let is_steady = matches!(state, State::Running | State::Success);
        let is_well = self.manners.get(service).is_none_or(super::faults::Manner::is_well);
        self.calm.until.get(service).copied().filter(|_| is_steady && is_well)
    }
}

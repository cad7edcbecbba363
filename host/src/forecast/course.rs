//! Lets it all happen: faults in the order of their time, and between them whatever follows.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zinit_keeper::wire::Exit;

use super::Plan;
use super::dice::Dice;
use super::fault::{Fate, Fault};
use super::report::{Report, time_of};
use super::tally::Record;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::sim::{self, World};

/// Tells where the simulation is, and hears whether to go on.
type Watch<'a> = &'a mut (dyn FnMut(i64) -> bool + Send);

/// `watch` is asked after so many moments in which something happened.
const MOMENTS_UNTOLD: u64 = 64;

/// A moment in which more happens than this, and as much again for each service, does not end.
const EVENTS_OF_MOMENT_MAX: u64 = 20_000;

/// How long a oneshot may work.
const WORK_MS: (i64, i64) = (100, 5_000);

/// Simulates a plan.
pub(super) fn run(plan: &Plan, watch: Watch<'_>) -> Result<Report, Refusal> {
    let mut course = Course::begin(plan, watch)?;
    course.world.boot();
    if plan.skips {
        plan.services.iter().for_each(|(name, _)| course.foresee(name));
    }
    while let Some(((at, _), (name, mishap))) = course.agenda.pop_first() {
        course.pass(at)?;
        course.strike(at, name, mishap);
    }
    course.pass(plan.span_ms)?;
    Ok(course.report())
}

/// Something that is going to go wrong.
#[derive(Clone, Debug)]
enum Mishap {
    Crash(Exit),
    Outage { until: i64 },
    Hang,
}

/// A simulation under way.
struct Course<'a> {
    plan: &'a Plan,
    watch: Watch<'a>,
    moments: u64,
    world: World,
    record: Rc<RefCell<Record>>,
    fates: BTreeMap<ServiceName, Fate>,
    /// What goes wrong next, by its time and then in the order in which it was known.
    agenda: BTreeMap<(i64, u64), (ServiceName, Mishap)>,
    known: u64,
    /// Those that hang, and which of their processes.
    hung: BTreeSet<(ServiceName, u64)>,
}

impl<'a> Course<'a> {
    fn begin(plan: &'a Plan, watch: Watch<'a>) -> Result<Self, Refusal> {
        // A plan's policy was accepted when it was read; a caller may have made its own.
        let world = World::new(plan.policy.clone()).map_err(|mut it| it.remove(0))?;
        let record = Rc::new(RefCell::new(Record::new(plan.span_ms, plan.parts.max(1))));
        let (fates, agenda, hung) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (moments, known) = (0, 0);
        let mut course = Self { plan, watch, moments, world, record, fates, agenda, known, hung };
        course.world.tell_nothing();
        course.world.seed(plan.seed);
        let seen = Rc::clone(&course.record);
        course.world.observe(move |now, effect| seen.borrow_mut().see(now.0, effect));
        course.people()?;
        Ok(course)
    }

    /// Adds the services, and what is in store for each.
    fn people(&mut self) -> Result<(), Refusal> {
        let usual = [Fault::usual()];
        let faults = if self.plan.faults.is_empty() { &usual } else { &*self.plan.faults };
        for (name, spec) in &self.plan.services {
            let added = self.world.add(name.clone(), spec.clone());
            added.map_err(|it| it.with("service", name.as_str()))?;
            if spec.oneshot {
                let mut dice = Dice::new(self.plan.seed, name.as_str(), "work");
                self.world.run_for(name, Some(dice.between(WORK_MS.0, WORK_MS.1)));
            }
            self.destine(name, Fate::new(self.plan.seed, name, faults))?;
        }
        Ok(())
    }

    fn destine(&mut self, name: &ServiceName, mut fate: Fate) -> Result<(), Refusal> {
        if fate.slow_ms > 0 {
            self.world.inject(name, sim::Fault::SlowStart(fate.slow_ms))?;
        }
        if let Some((at, exit)) = fate.next_crash(0) {
            self.expect(at, name, Mishap::Crash(exit));
        }
        for (from, until) in &fate.outages {
            self.expect(*from, name, Mishap::Outage { until: *until });
        }
        for at in &fate.hangs {
            self.expect(*at, name, Mishap::Hang);
        }
        self.fates.insert(name.clone(), fate);
        Ok(())
    }

    /// Something is going to go wrong; what is beyond the end does not matter.
    fn expect(&mut self, at: i64, name: &ServiceName, mishap: Mishap) {
        if at < self.plan.span_ms {
            self.known += 1;
            self.agenda.insert((at, self.known), (name.clone(), mishap));
        }
    }

    /// Lets time pass until then, one moment after the other.
    fn pass(&mut self, until: i64) -> Result<(), Refusal> {
        let many = EVENTS_OF_MOMENT_MAX + 100 * self.plan.services.len() as u64;
        while let Some(at) = self.world.next().filter(|it| *it < until && !self.world.is_over()) {
            self.world.limit_events(self.world.events() + many);
            self.world.run_until(at);
            if self.world.is_exhausted() {
                return Err(endless(at));
            }
            self.heal();
            self.moments += 1;
            if self.moments.is_multiple_of(MOMENTS_UNTOLD) && !(self.watch)(at) {
                return Err(Refusal::new(Kind::Interrupted, "the simulation was interrupted"));
            }
        }
        if !self.world.is_over() {
            self.world.run_until(until);
        }
        Ok(())
    }

    /// What hung was one process: those that come after it are well again.
    fn heal(&mut self) {
        let world = &self.world;
        let lives = |name: &ServiceName, process| {
            let latest = world.service(name.as_str()).map(|it| it.standing.incarnation);
            world.pid(name).is_some() && latest == Some(process)
        };
        let gone = self.hung.extract_if(.., |(name, process)| !lives(name, *process));
        for (name, _) in gone.collect::<Vec<_>>() {
            self.inject(&name, sim::Fault::Heal);
            let (now, fate) = (self.world.now(), &self.fates[&name]);
            let (slow_ms, out_until) = (fate.slow_ms, fate.out_until(now));
            if slow_ms > 0 {
                self.inject(&name, sim::Fault::SlowStart(slow_ms));
            }
            if out_until > now {
                self.inject(&name, sim::Fault::Outage(out_until - now));
            }
        }
    }

    fn inject(&mut self, name: &ServiceName, fault: sim::Fault) {
        self.world.inject(name, fault).expect("it is one of the plan's services");
    }

    /// Something goes wrong, if there is anything that it can befall.
    fn strike(&mut self, now: i64, name: ServiceName, mishap: Mishap) {
        let lives = self.world.pid(&name).is_some() && !self.world.is_over();
        match mishap {
            Mishap::Crash(exit) => {
                if lives {
                    self.record.borrow_mut().crashes(&name);
                    self.world.end(&name, exit).expect("its process lives");
                }
                let fate = self.fates.get_mut(&name).expect("every service has its fate");
                if let Some((at, exit)) = fate.next_crash(now) {
                    self.expect(at, &name, Mishap::Crash(exit));
                }
            }
            Mishap::Outage { until } => {
                let until = until.max(self.fates[&name].out_until(now));
                self.record.borrow_mut().is_out(&name, until);
                if lives {
                    self.record.borrow_mut().crashes(&name);
                }
                self.inject(&name, sim::Fault::Outage(until - now));
            }
            Mishap::Hang if lives => {
                let service = self.world.service(name.as_str()).expect("it has a process");
                self.hung.insert((name.clone(), service.standing.incarnation));
                self.record.borrow_mut().hangs(&name, now);
                self.inject(&name, sim::Fault::Hang);
            }
            Mishap::Hang => {}
        }
        self.heal();
        if self.plan.skips {
            self.foresee(&name);
        }
    }

    /// Until its next mishap nothing goes wrong with a service.
    fn foresee(&mut self, name: &ServiceName) {
        let next = self.agenda.iter().find(|(_, (it, _))| it == name);
        let at = next.map_or(self.plan.span_ms, |((at, _), _)| *at);
        self.world.foresee(name, at);
    }

    fn report(self) -> Report {
        let ended_ms = self.world.is_over().then(|| self.world.now());
        let Plan { span_ms, seed, .. } = *self.plan;
        let usual_faults = self.plan.faults.is_empty();
        // The world holds the other end of it.
        drop(self.world);
        let record = Rc::into_inner(self.record).expect("the world is gone").into_inner();
        let (used, unused): (Vec<_>, Vec<_>) =
            record.tracks.into_values().partition(|it| it.is_used());
        let mut services: Vec<_> = used.into_iter().map(|it| it.course(span_ms)).collect();
        services.sort_by_key(|it| Reverse((it.down_ms, it.worst.map_or(0, |it| it.ms))));
        let [storm_1s, storm_10s] = record.storms.map(|it| it.worst);
        Report {
            span_ms,
            seed,
            usual_faults,
            unused: unused.into_iter().map(|it| it.name()).collect(),
            crashes: services.iter().map(|it| it.crashes).sum(),
            restarts: record.restarts,
            services,
            storm_1s,
            storm_10s,
            problems: record.problems,
            ended_ms,
        }
    }
}

fn endless(at: i64) -> Refusal {
    let at = time_of(at);
    let message =
        format!("cannot go on after {at}: so much happens in this moment that it never ends");
    Refusal::new(Kind::BadConfig, message)
        .hint("a policy that answers 0 milliseconds where something is awaited does that")
}

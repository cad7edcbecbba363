//! The world of one test: what was said of its services so far, and what was expected.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{Dynamic, Map, NativeCallContext};

use super::World;
use super::diff::{dedent, difference};
use crate::name::ServiceName;
use crate::native::{Said, thrown};
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::store::Store;

/// What a test calls `sim`.
#[derive(Clone)]
pub struct Sim(pub(super) Rc<RefCell<Room>>);

/// A service under construction; what is said of it counts from the next word to `sim` on.
#[derive(Clone)]
pub struct SimService {
    pub(super) sim: Sim,
    pub(super) name: ServiceName,
}

/// A text that is to be written in place of the one that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The file of the test.
    pub path: PathBuf,
    /// Where `expect` was called, both from 1.
    pub line: usize,
    /// The column of it.
    pub column: usize,
    /// What is told there.
    pub text: String,
}

/// What stands behind a [`Sim`].
pub(super) struct Room {
    pub(super) world: World,
    /// The configuration of each service, as it was said.
    said: BTreeMap<ServiceName, Map>,
    /// Those that are not yet what was said of them.
    changed: BTreeSet<ServiceName>,
    specs: BTreeMap<ServiceName, Spec>,
    /// Where the service files are.
    dir: PathBuf,
    told: String,
    /// Up to where it was expected.
    seen: usize,
    updating: bool,
    updates: Vec<Update>,
    difference: Option<String>,
}

impl Sim {
    /// A world for one test. `dir` is where its service files are; while `updating`, no expected text
    /// is wrong.
    pub(crate) fn new(world: World, dir: &Path, updating: bool) -> Self {
        Self(Rc::new(RefCell::new(Room {
            world,
            said: BTreeMap::new(),
            changed: BTreeSet::new(),
            specs: BTreeMap::new(),
            dir: dir.to_owned(),
            told: String::new(),
            seen: 0,
            updating,
            updates: Vec::new(),
            difference: None,
        })))
    }

    /// How much has happened in how many milliseconds.
    pub(crate) fn took(&self) -> (u64, i64) {
        let room = self.0.borrow();
        (room.world.events(), room.world.now())
    }

    /// Whether its world was ended because it used up what it may.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.borrow().world.is_exhausted()
    }

    /// What differs from the text that was expected and not found.
    pub(crate) fn take_difference(&self) -> Option<String> {
        self.0.borrow_mut().difference.take()
    }

    /// The texts that are to be written in place of others.
    pub(crate) fn take_updates(&self) -> Vec<Update> {
        std::mem::take(&mut self.0.borrow_mut().updates)
    }

    /// The first failure of the policy, which the bundled one made up for.
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.borrow().world.faults().first().map(ToString::to_string)
    }

    /// The last lines that were told.
    pub(crate) fn tail(&self) -> String {
        const SHOWN: usize = 12;
        let mut room = self.0.borrow_mut();
        room.listen();
        let lines: Vec<&str> = room.told.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Room {
    /// Begins a service, or goes on with one.
    pub(super) fn begin(&mut self, name: &ServiceName, keys: Option<Map>) -> Said<()> {
        let exec = || Map::from_iter([("exec".into(), name.as_str().into())]);
        self.said.entry(name.clone()).or_insert_with(exec).extend(keys.unwrap_or_default());
        self.check(name)
    }

    /// Says one more thing of a service.
    pub(super) fn say(&mut self, name: &ServiceName, key: &str, value: Dynamic) -> Said<()> {
        self.said.entry(name.clone()).or_default().insert(key.into(), value);
        self.check(name)
    }

    /// Adds a name to a map among the keys of a service.
    pub(super) fn say_in(
        &mut self,
        of: &ServiceName,
        key: &str,
        name: &str,
        value: Dynamic,
    ) -> Said<()> {
        let said = self.said.entry(of.clone()).or_default();
        let mut map = said.get(key).and_then(|it| it.clone().try_cast::<Map>()).unwrap_or_default();
        map.insert(name.into(), value);
        self.say(of, key, map.into())
    }

    /// Whether what was said so far is a configuration.
    fn check(&mut self, name: &ServiceName) -> Said<()> {
        let said = self.said.get(name).cloned().unwrap_or_default();
        let config = rhai::serde::from_dynamic(&said.into())?;
        let spec = Spec::from_config(&config).map_err(thrown)?;
        self.specs.insert(name.clone(), spec);
        self.changed.insert(name.clone());
        Ok(())
    }

    /// Adds all service files of a directory.
    pub(super) fn load(&mut self, dir: &str) -> Said<()> {
        let loaded = Store::new(self.dir.join(dir)).look();
        if let Some(problem) = loaded.problems.into_iter().next() {
            return Err(thrown(problem));
        }
        for (name, spec) in loaded.specs {
            self.changed.insert(name.clone());
            self.specs.insert(name, spec);
        }
        Ok(())
    }

    /// The world, with all services as they were said to be, and started.
    pub(super) fn world(&mut self) -> Said<&mut World> {
        for name in std::mem::take(&mut self.changed) {
            let spec = self.specs[&name].clone();
            self.world.add(name, spec).map_err(thrown)?;
        }
        self.world.boot();
        self.limit()?;
        Ok(&mut self.world)
    }

    /// The world before it was started as well.
    pub(super) fn world_or_before(&mut self) -> Said<&mut World> {
        if self.world.is_booted() { self.world() } else { self.add_all() }
    }

    fn add_all(&mut self) -> Said<&mut World> {
        for name in std::mem::take(&mut self.changed) {
            let spec = self.specs[&name].clone();
            self.world.add(name, spec).map_err(thrown)?;
        }
        Ok(&mut self.world)
    }

    /// Takes over everything that was said, as a reload of the files does.
    pub(super) fn reload(&mut self) -> Said<()> {
        if self.world.is_booted() {
            self.changed.clear();
        }
        let files = self.specs.clone().into_iter().collect();
        self.world()?.reload(files).map_err(thrown)?;
        self.limit()
    }

    /// Whether more may happen.
    pub(super) fn limit(&self) -> Said<()> {
        if !self.world.is_exhausted() {
            return Ok(());
        }
        let (events, now) = (self.world.events(), self.world.now());
        let message = if self.world.is_out_of_time() {
            format!("it takes too long: its CPU time was used up by {events} events in {now} ms")
        } else {
            format!("too much happens: a test may have {events} events, and had them in {now} ms")
        };
        Err(thrown(Refusal::new(Kind::TimedOut, message).hint("`sim.timeline()` shows what")))
    }

    fn listen(&mut self) {
        self.told += &self.world.take_told();
    }

    /// Everything that was told so far.
    pub(super) fn timeline(&mut self) -> &str {
        self.listen();
        &self.told
    }

    /// Compares what was told since the last time.
    pub(super) fn expect(&mut self, ctx: &NativeCallContext<'_>, wanted: &str) -> Said<()> {
        self.listen();
        let got = dedent(&self.told[self.seen..]);
        self.seen = self.told.len();
        if dedent(wanted) == got {
            return Ok(());
        }
        if self.updating {
            let place = ctx.call_position();
            self.updates.push(Update {
                path: ctx.call_source().unwrap_or_default().into(),
                line: place.line().unwrap_or(0),
                column: place.position().unwrap_or(1),
                text: got,
            });
            return Ok(());
        }
        self.difference = Some(difference(&dedent(wanted), &got));
        let message = "what was told is not what was expected";
        let hint = "if it is right, `zinit test --update` writes it into the test";
        Err(thrown(Refusal::new(Kind::BadConfig, message).hint(hint)))
    }
}

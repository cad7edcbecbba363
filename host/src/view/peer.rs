//! The services around the one that is decided about, for policies that look at them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, ImmutableString};
use serde::{Deserialize, Serialize};

use super::{ServiceView, failures_within, pasts, text};
use crate::event::Tick;
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::{Held, Past, Service, Standing, State, Target};

/// The services around one. They are noted down only if a policy has looked at them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Around {
    /// The others of its groups, sorted by name.
    #[serde(with = "as_peers")]
    pub peers: Vec<Rc<Service>>,
    /// Those that need it.
    #[serde(with = "as_peers")]
    pub dependents: Vec<Rc<Service>>,
    /// Those that it needs and that exist.
    #[serde(with = "as_peers")]
    pub dependencies: Vec<Rc<Service>>,
    /// Whether anybody has looked; whoever reads of them knows that somebody has.
    #[serde(skip, default = "seen")]
    pub(super) seen: Cell<bool>,
}

fn seen() -> Cell<bool> {
    Cell::new(true)
}

impl Around {
    /// These, and nobody has looked at them yet.
    pub fn new(
        peers: Vec<Rc<Service>>,
        dependents: Vec<Rc<Service>>,
        dependencies: Vec<Rc<Service>>,
    ) -> Self {
        Self { peers, dependents, dependencies, seen: Cell::new(false) }
    }

    /// Whether there is nobody, or nobody has looked.
    pub fn is_unseen(around: &Option<Rc<Self>>) -> bool {
        around.as_ref().is_none_or(|it| !it.seen.get())
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.dependents.is_empty() && self.dependencies.is_empty()
    }
}

/// What is noted down of another service: what others see of it.
#[derive(Serialize, Deserialize)]
struct Peer {
    name: ServiceName,
    state: State,
    target: Target,
    since: Tick,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    goes_down: bool,
    #[serde(default)]
    attempts: i64,
    #[serde(default)]
    restarts: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exits: Vec<Past>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl Peer {
    fn of(service: &Service) -> Self {
        let standing = &service.standing;
        Self {
            name: service.name.clone(),
            state: standing.state,
            target: standing.target,
            since: standing.since,
            goes_down: standing.held.is_some(),
            attempts: standing.attempts,
            restarts: standing.restarts,
            exits: standing.exits.clone(),
            labels: service.spec.labels.clone(),
        }
    }

    fn service(self) -> Service {
        let standing = Standing {
            state: self.state,
            since: self.since,
            held: self.goes_down.then_some(Held::Stop),
            attempts: self.attempts,
            restarts: self.restarts,
            exits: self.exits,
            ..Standing::new(self.since, self.target)
        };
        let spec = Rc::new(Spec { labels: self.labels, ..Spec::of_exec("true") });
        Service { name: self.name, spec, standing, waits_for: Vec::new() }
    }
}

/// Services are noted down as what others see of them.
mod as_peers {
    use std::rc::Rc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Peer, Service};

    pub(super) fn serialize<S: Serializer>(all: &[Rc<Service>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(all.iter().map(|it| Peer::of(it)))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Vec<Rc<Service>>, D::Error> {
        let all = Vec::<Peer>::deserialize(from)?;
        Ok(all.into_iter().map(|it| Rc::new(it.service())).collect())
    }
}

/// Another service, at the time of a decision.
#[derive(Clone, Debug)]
pub struct PeerView {
    service: Rc<Service>,
    now: Tick,
}

impl PeerView {
    fn standing(&self) -> &Standing {
        &self.service.standing
    }

    fn label(&self, key: &str) -> Option<ImmutableString> {
        self.service.spec.labels.get(key).map(|it| text(it))
    }
}

/// Gives scripts the services around one.
pub(super) fn teach_around(engine: &mut Engine) {
    engine
        .register_get("peers", |it: &mut ServiceView| views(it, |around| &around.peers))
        .register_get("dependents", |it: &mut ServiceView| views(it, |around| &around.dependents))
        .register_get("dependencies", |it: &mut ServiceView| {
            views(it, |around| &around.dependencies)
        });
}

fn views(service: &ServiceView, which: impl Fn(&Around) -> &Vec<Rc<Service>>) -> Array {
    let facts = service.facts();
    let Some(around) = &facts.around else { return Array::new() };
    around.seen.set(true);
    let view = |it: &Rc<Service>| PeerView { service: Rc::clone(it), now: facts.now };
    which(around).iter().map(|it| Dynamic::from(view(it))).collect()
}

/// Gives scripts what they see of each.
pub(super) fn teach(engine: &mut Engine) {
    engine
        .register_type_with_name::<PeerView>("Peer")
        .register_get("name", |it: &mut PeerView| text(it.service.name.as_str()))
        .register_get("state", |it: &mut PeerView| text(it.standing().state.word()))
        .register_get("target", |it: &mut PeerView| text(it.standing().target.word()))
        .register_get("goes_down", |it: &mut PeerView| it.standing().held.is_some())
        .register_get("since_ms", |it: &mut PeerView| it.now.0 - it.standing().since.0)
        .register_get("attempts", |it: &mut PeerView| it.standing().attempts)
        .register_get("restarts", |it: &mut PeerView| it.standing().restarts)
        .register_get("exits", |it: &mut PeerView| pasts(&it.standing().exits, it.now))
        .register_fn("failures_within", |it: &mut PeerView, ms: i64| {
            failures_within(&it.standing().exits, it.now, ms)
        })
        .register_fn("label", |it: &mut PeerView, key: &str| {
            it.label(key).map_or(Dynamic::UNIT, Into::into)
        })
        .register_fn("label", |it: &mut PeerView, key: &str, otherwise: &str| {
            it.label(key).unwrap_or_else(|| text(otherwise))
        });
}

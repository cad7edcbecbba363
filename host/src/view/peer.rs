//! The services around the one that is decided about, for policies that look at them.

use rhai::{Array, Dynamic, Engine, ImmutableString};
use serde::{Deserialize, Serialize};

use super::{ServiceView, failures_within, pasts, text};
use crate::event::Tick;
use crate::name::ServiceName;
use crate::state::{Past, Service, State, Target};

/// The services around one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Around {
    /// The others of its groups, sorted by name.
    pub peers: Vec<Peer>,
    /// Those that need it.
    pub dependents: Vec<Peer>,
    /// Those that it needs and that exist.
    pub dependencies: Vec<Peer>,
}

/// Another service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: ServiceName,
    /// Where it is.
    pub state: State,
    /// What is wanted of it.
    pub target: Target,
    /// Since when it is there.
    pub since: Tick,
    /// How many attempts in a row were short-lived.
    pub attempts: i64,
    /// How often it was started again.
    pub restarts: i64,
    /// How its latest processes ended.
    pub exits: Vec<Past>,
    /// What its user says of it.
    pub labels: Vec<(String, String)>,
}

impl Peer {
    /// That service, as others see it.
    pub fn of(service: &Service) -> Self {
        let standing = &service.standing;
        Self {
            name: service.name.clone(),
            state: standing.state,
            target: standing.target,
            since: standing.since,
            attempts: standing.attempts,
            restarts: standing.restarts,
            exits: standing.exits.clone(),
            labels: service.spec.labels.clone().into_iter().collect(),
        }
    }

    fn label(&self, key: &str) -> Dynamic {
        self.find(key).map_or(Dynamic::UNIT, |it| text(it).into())
    }

    fn label_or(&self, key: &str, otherwise: &str) -> ImmutableString {
        text(self.find(key).unwrap_or(otherwise))
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(it, _)| it == key).map(|(_, value)| value.as_str())
    }
}

/// Another service, at the time of a decision.
#[derive(Clone, Debug)]
pub struct PeerView {
    peer: Peer,
    now: Tick,
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

fn views(service: &ServiceView, which: impl Fn(&Around) -> &Vec<Peer>) -> Array {
    let facts = service.facts();
    let Some(around) = &facts.around else { return Array::new() };
    let view = |it: &Peer| Dynamic::from(PeerView { peer: it.clone(), now: facts.now });
    which(around).iter().map(view).collect()
}

/// Gives scripts what they see of each.
pub(super) fn teach(engine: &mut Engine) {
    engine
        .register_type_with_name::<PeerView>("Peer")
        .register_get("name", |it: &mut PeerView| text(it.peer.name.as_str()))
        .register_get("state", |it: &mut PeerView| text(it.peer.state.word()))
        .register_get("target", |it: &mut PeerView| text(it.peer.target.word()))
        .register_get("since_ms", |it: &mut PeerView| it.now.0 - it.peer.since.0)
        .register_get("attempts", |it: &mut PeerView| it.peer.attempts)
        .register_get("restarts", |it: &mut PeerView| it.peer.restarts)
        .register_get("exits", |it: &mut PeerView| pasts(&it.peer.exits, it.now))
        .register_fn("failures_within", |it: &mut PeerView, ms: i64| {
            failures_within(&it.peer.exits, it.now, ms)
        })
        .register_fn("label", |it: &mut PeerView, key: &str| it.peer.label(key))
        .register_fn("label", |it: &mut PeerView, key: &str, otherwise: &str| {
            it.peer.label_or(key, otherwise)
        });
}

//! What a decision sees of a service that nobody uses.

use rhai::{Array, Dynamic, Engine};
use serde::{Deserialize, Serialize};

use crate::name::ServiceName;

/// How a service that is there on demand is used, when nothing has happened for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// How many clients are connected, all silent.
    pub connections: i64,
    /// For how long nothing has happened, in milliseconds.
    pub quiet_ms: i64,
    /// Services that have a process and require this one.
    pub needed_by: Vec<ServiceName>,
}

/// Gives scripts the view, and a sample of it: `sample_idle(CONNECTIONS, QUIET_MS)`.
pub(super) fn teach(engine: &mut Engine) {
    engine
        .register_type_with_name::<Idle>("Idle")
        .register_get("connections", |it: &mut Idle| it.connections)
        .register_get("quiet_ms", |it: &mut Idle| it.quiet_ms)
        .register_get("needed_by", |it: &mut Idle| -> Array {
            it.needed_by.iter().map(|it| Dynamic::from(it.to_string())).collect()
        });
}

pub(super) fn teach_sample(engine: &mut Engine) {
    engine.register_fn("sample_idle", |connections: i64, quiet_ms: i64| Idle {
        connections,
        quiet_ms,
        needed_by: Vec::new(),
    });
}

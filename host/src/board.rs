//! What the core lets everybody see: the status of every service, replaced whole at each change.
//!
//! Readers never wait for the core and the core never waits for readers. The core is the only one
//! that posts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;
use zinit_keeper::wire::leaf_name;

use crate::name::ServiceName;

/// What is known of a service right now, as `service.status` answers it: `essential` and the fields from
/// `requires` on only where there is something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The service's name.
    pub name: ServiceName,
    /// The process id of its main process, 0 when there is none.
    pub pid: i32,
    /// Running, Success, Failed, Blocked, Spawned, Stopped, Stopping or Backoff.
    pub state: Cow<'static, str>,
    /// `Up` or `Down`: what the user wants.
    pub target: Cow<'static, str>,
    /// Why it is in this state, as half a sentence.
    pub reason: Arc<str>,
    /// When it entered this state, in milliseconds since 1970.
    pub since_ms: i64,
    /// How often it was started again after an exit that nobody asked for.
    pub restarts: i64,
    /// How its latest process ended: `exit 1`, `SIGKILL`, `chdir: ENOENT` ...; empty if none did.
    pub last_exit: String,
    /// Whether it is a oneshot.
    pub oneshot: bool,
    /// Whether the server ends with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// Its dependencies.
    pub after: Vec<ServiceName>,
    /// Those with which it also stops and restarts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<ServiceName>,
    /// Those that are started with it, if they can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<ServiceName>,
    /// The groups that it belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The functions that take the place of hooks for it, by hook; a strategy of all of them by `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, String>,
    /// What it waits for right now: the dependencies that are not as it needs them, at most eight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<ServiceName>,
    /// When something happens to it by itself (the next attempt, SIGKILL), in milliseconds since
    /// 1970; 0 for never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub next_ms: i64,
    /// What that is, as half a sentence; empty when nothing is due.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub next: Cow<'static, str>,
    /// How its latest checks went: `ok`, or what failed; empty when there were none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub health: Arc<str>,
    /// Whether it goes down as soon as those that need it are down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_down: bool,
    /// What it says of itself (`STATUS=`); empty when it does not.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub says: Arc<str>,
    /// Which of its processes is the latest, as the lines of its log are marked; 0 when none was.
    #[serde(default, skip_serializing_if = "is_none")]
    pub incarnation: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(incarnation: &u64) -> bool {
    *incarnation == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(moment: &i64) -> bool {
    *moment == 0
}

impl Status {
    /// Whether a wait for the service to be up is over: `Some(true)` up or done, `Some(false)` it
    /// will not come up without help.
    pub fn settled(&self) -> Option<bool> {
        match &*self.state {
            _ if self.goes_down => None,
            "Success" => Some(true),
            "Running" if !self.oneshot => Some(true),
            "Failed" => Some(false),
            "Stopped" if self.target == "Down" => Some(false),
            _ => None,
        }
    }

    /// Whether nothing of the service runs, and nothing is about to by itself.
    pub fn is_down(&self) -> bool {
        self.pid == 0 && matches!(&*self.state, "Stopped" | "Success" | "Failed" | "Blocked")
    }
}

/// The board that the core posts to.
#[derive(Debug)]
pub struct Board {
    posted: RwLock<BTreeMap<ServiceName, Arc<Status>>>,
    names: RwLock<Option<Arc<RawValue>>>,
    changed: watch::Sender<u64>,
    /// The directory of the keeper's cgroup, in which every service has a leaf; unset when there
    /// is none.
    pub cgroup: OnceLock<PathBuf>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            posted: RwLock::default(),
            names: RwLock::default(),
            changed: watch::Sender::new(0),
            cgroup: OnceLock::new(),
        }
    }
}

impl Board {
    const SOUND: &str = "nothing panics while it holds the board";

    /// The status of one service.
    pub fn get(&self, name: &str) -> Option<Arc<Status>> {
        self.posted.read().expect(Self::SOUND).get(name).cloned()
    }

    /// The status of every service, sorted by name.
    pub fn all(&self) -> Vec<Arc<Status>> {
        self.posted.read().expect(Self::SOUND).values().cloned().collect()
    }

    /// The names of all services, sorted, as a JSON array that is made once per change of the set.
    pub fn names(&self) -> Arc<RawValue> {
        if let Some(names) = self.names.read().expect(Self::SOUND).as_ref() {
            return Arc::clone(names);
        }
        let posted = self.posted.read().expect(Self::SOUND);
        let names: Vec<&ServiceName> = posted.keys().collect();
        let names: Arc<RawValue> =
            serde_json::value::to_raw_value(&names).expect("names are plain text").into();
        *self.names.write().expect(Self::SOUND) = Some(Arc::clone(&names));
        names
    }

    /// The directory of a service's cgroup, where there are cgroups.
    pub fn leaf(&self, name: &str) -> Option<PathBuf> {
        self.cgroup.get().map(|it| it.join(leaf_name(name)))
    }

    /// Shows a new status.
    pub fn post(&self, status: Status) {
        let mut posted = self.posted.write().expect(Self::SOUND);
        if posted.insert(status.name.clone(), Arc::new(status)).is_none() {
            *self.names.write().expect(Self::SOUND) = None;
        }
    }

    /// Takes a service off the board.
    pub fn remove(&self, name: &str) {
        let mut posted = self.posted.write().expect(Self::SOUND);
        if posted.remove(name).is_some() {
            *self.names.write().expect(Self::SOUND) = None;
        }
    }

    /// Tells the waiting that something has changed. Called once per batch of posts.
    pub fn announce(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Something to wait on for the next change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

//! A machine in virtual time under the real core and policy: processes are entries in a map, and a
//! day of supervision takes as long as its decisions.
//!
//! | file | what it holds |
//! |---|---|
//! | `world` | a core and its machine: let time pass, let things go wrong, look |
//! | `machine` | the machine: processes, alarms, what is told |
//! | `processes` | what becomes of its processes |
//! | `faults` | how services behave, and what can go wrong with them |
//! | `calm` | checks that need not be made |
//! | `doors` | clients of services that are there on demand |
//! | `script` | timelines as text |
//! | `words` | what the tests of a policy say to a world: `sim.exit("db", 1)` |
//! | `values` | the texts and numbers that these words are given |
//! | `room` | the world of one test, and `diff`: what it expects against what is told |
//! | `guests` | what they say about clients |
//! | `assertions` | what tests say beside it: `assert(...)` |

pub mod assertions;
mod calm;
mod diff;
mod doors;
mod faults;
#[expect(clippy::unwrap_used, reason = "`export_module` writes it around `&mut` parameters")]
pub mod guests;
mod machine;
mod processes;
mod room;
mod script;
mod values;
#[expect(clippy::unwrap_used, reason = "`export_module` writes it around `&mut` parameters")]
pub mod words;
mod world;

pub use faults::Fault;
pub use room::{Sim, SimService, Update};
pub(crate) use words::{nearest_word, teach};
pub use world::World;

use std::path::PathBuf;

use crate::core::Core;
use crate::policy::Policy;

use script::parse;

/// A timeline in which more happens than this does not end.
const EVENTS_MAX: u64 = 1_000_000;

/// Runs a timeline and returns what happened, line by line.
///
/// A timeline has a line for each service, `NAME OPTION...` (see `spec_of`), and then lines that
/// begin with a time in milliseconds:
///
/// | line | what happens |
/// |---|---|
/// | `T boot` | the server starts with the services above |
/// | `T up NAME`, `T down NAME`, `T restart NAME`, `T delete NAME` | somebody asks for it |
/// | `T define NAME ...` | a new configuration |
/// | `T exit NAME CODE`, `T exit NAME SIGNAL` or `T exit NAME unknown` | its process ends |
/// | `T start_all`, `T stop_all`, `T delete_all`, `T shutdown` | for all of them |
/// | `T reboot` | and of the machine, if the timeline says that it is `on_machine` |
/// | `T sigterm server`, `T sigterm keeper` | a signal comes, directly or passed on |
/// | `T health NAME good`, `bad` or `hangs` | how its checks go from now on |
/// | `T connect NAME` | a client comes to a service that has the option `xinit=ADDRESS` (a path: it gets the socket) |
/// | `T ask NAME` | one that was passed on asks something and gets no answer |
/// | `T idle NAME COUNT` | nobody has used it for a minute, with so many clients connected |
/// | `T ready NAME`, `T stale NAME`, `T ping NAME` | its process, or the one before it, says so |
/// | `T uses NAME MEMORY CPU`, `T port NAME taken`, `free` | what it uses, who has its port |
/// | `T checked NAME`, `T ran NAME CODE` | a check that hung holds, its stop command ends |
/// | `T crash NAME`, `T hang NAME`, `T exec_failure NAME`, `T heal NAME` | a [`Fault`] |
/// | `T slow_start NAME MS`, `T flap NAME MS`, `T outage NAME MS` | and those that last |
/// | `T reload NAME/OPTION/... ...`, `T plan ...` | these are the files now |
/// | `T end` | nothing more; without it a timeline ends when nothing is due |
/// | `T crash` | the brain dies and a new one begins |
/// | `T unseen NAME HOW` | the same, and just before that the process has ended |
/// | `T watch` | nothing; what happened so far is not told |
///
/// A process runs its program at once, unless its service is `mute` (it never does) or `lost` (the
/// program does not exist). It ends when it is told to, by whatever signal, unless it is `deaf` (only
/// SIGKILL ends it) or `stuck` (nothing does); if it leaves `litter`, others of it live on until SIGKILL. Its checks hold, unless it is `ill` or they are `hangs`. A
/// `lively` one says by itself that it is ready and that it lives.
pub fn play(timeline: &str) -> String {
    run(Vec::new(), timeline)
}

/// As [`play`], under a policy of the user's.
pub fn play_with_policy(policy: &str, timeline: &str) -> String {
    run(vec![("policy.rhai".into(), policy.to_owned())], timeline)
}

fn run(policy: Vec<(PathBuf, String)>, timeline: &str) -> String {
    let core = Core::new(
        Policy::of(&policy)
            .unwrap_or_else(|problems| panic!("the policy is refused: {problems:?}")),
    );
    let mut world = World::of(core, parse(timeline), policy);
    world.limit_events(EVENTS_MAX);
    world.run_out();
    assert!(!world.is_exhausted(), "the timeline does not end: {}", world.take_told());
    world.take_told()
}

//! What is to be done: everything that the core can ask of the world.

use std::rc::Rc;
use std::sync::Arc;

use nix::sys::signal::Signal;
use zinit_keeper::wire::Then;

use crate::decision::{Decision, Fault};
use crate::ending::Ending;
use crate::event::{Task, Tick};
use crate::name::ServiceName;
use crate::policy::Sources;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::relay::Gate;
use crate::state::Service;

/// What is to be done. The effects of one step end with its `Changed`.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start a process.
    Launch {
        /// Of which service.
        service: Rc<Service>,
        /// The name of the process in later events.
        incarnation: u64,
        /// Whether others write to its stdin.
        input: bool,
    },
    /// Deliver a signal to all processes of this incarnation.
    Signal {
        /// Of which service.
        service: ServiceName,
        /// Which process.
        incarnation: u64,
        /// Which signal.
        signal: Signal,
    },
    /// Run one round of health checks of the process that lives.
    Check {
        /// Of which service.
        service: Rc<Service>,
    },
    /// Run a command on behalf of a service.
    Run {
        /// Of which service.
        service: Rc<Service>,
        /// As what.
        task: Task,
        /// The command line.
        line: String,
    },
    /// Look at what the process that lives uses, and those that belong to it.
    Measure {
        /// Of which service.
        service: Rc<Service>,
    },
    /// See whether somebody listens on this port.
    FreePort {
        /// For which service.
        service: ServiceName,
        /// The TCP port.
        port: u16,
        /// Whether who does is ended.
        kill: bool,
    },
    /// Clients come in by this proxy from now on, in place of one of its name; unless it may not stand,
    /// which is to be shown.
    Proxied(Arc<Proxy>, Option<Refusal>),
    /// The proxy of this name is no more.
    Unproxied(ServiceName),
    /// Those who have the clients of a service are to know whether they may be passed on.
    Gate {
        /// The service.
        service: ServiceName,
        /// The latest word.
        gate: Gate,
    },
    /// The exit of this process has been acted on.
    Acknowledge {
        /// Of which service.
        service: ServiceName,
        /// Which process.
        incarnation: u64,
    },
    /// Deliver the service's next alarm at this time, in place of an earlier one.
    Arm {
        /// To which service.
        service: ServiceName,
        /// When; `None` for never.
        at: Option<Tick>,
    },
    /// Show how the service stands. The next brain will find out by itself.
    Known(Rc<Service>),
    /// The service stands differently now: show it, and remember it for the next brain.
    Changed(Rc<Service>),
    /// The service is no more.
    Forgotten(ServiceName),
    /// A decision was made: this is what it was made of.
    Decided(Box<Decision>),
    /// This policy is in force from now on.
    DecidedBy(Rc<Sources>),
    /// A user's function failed to answer, about this service if it was about one.
    Faulted(Option<ServiceName>, Fault),
    /// Something went wrong that somebody should read.
    Complain(String),
    /// Everything is brought down: remember that for the next brain.
    Ending(Ending),
    /// Whatever is left at this time is to be hurried.
    Deadline(Tick),
    /// Everything is down.
    Ended {
        /// The exit status of the server.
        code: i32,
        /// What becomes of the machine.
        then: Then,
    },
    /// The keeper begins its program anew.
    RenewKeeper,
    /// Another brain takes over.
    HandOver,
}

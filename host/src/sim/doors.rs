//! Clients of services that are there on demand, as a simulated relay has them.

use std::collections::BTreeMap;

use super::machine::Simulated;
use crate::event::Demand;
use crate::name::ServiceName;
use crate::relay::{Gate, Way};
use crate::supervise::Wake;

/// The way to a service, and whether somebody waits for it to open.
#[derive(Clone, Debug)]
struct Door {
    gate: Gate,
    waits: bool,
    /// Somebody has asked something and gets no answer.
    asks: bool,
}

/// All ways to services that have proxies.
#[derive(Clone, Debug, Default)]
pub(super) struct Doors(BTreeMap<ServiceName, Door>);

impl Simulated {
    /// Hears about the way to a service. What is to be said to that is said next.
    pub(super) fn gate(&mut self, service: ServiceName, gate: Gate) {
        // As the real one does, which hears words of several threads.
        if self.doors.0.get(&service).is_some_and(|it| it.gate.turn >= gate.turn) {
            return self.tell(&format!("  a late word about {service}"));
        }
        let shown = match gate.way {
            Way::Open => "open",
            Way::Shut => "shut",
            Way::Failed => "closed for good",
        };
        self.tell(&format!("  the way to {service} is {shown}"));
        let before = self.doors.0.get(&service);
        let waits = before.is_some_and(|it| it.waits) && gate.way == Way::Shut;
        let asks = before.is_some_and(|it| it.asks);
        if gate.way == Way::Shut && !asks {
            self.demands.push_back((service.clone(), Demand::Drained { turn: gate.turn }));
        }
        if waits {
            self.demands.push_back((service.clone(), Demand::Knocked));
        }
        self.doors.0.insert(service, Door { gate, waits, asks });
    }

    /// Somebody connects to a service: is passed on if the way is open, or waits.
    pub(super) fn connects(&mut self, service: &ServiceName) -> Option<Vec<Wake>> {
        let door = self.doors.0.get_mut(service)?;
        door.waits = door.gate.way != Way::Open;
        door.waits.then(|| vec![Wake::Demanded(service.clone(), Demand::Knocked)])
    }

    /// Somebody asks a service something, which does not answer.
    pub(super) fn asks(&mut self, service: &ServiceName) {
        self.doors.0.get_mut(service).into_iter().for_each(|it| it.asks = true);
    }

    /// Nobody has used a service for a minute, with so many clients connected.
    pub(super) fn falls_idle(
        &mut self,
        service: &ServiceName,
        connections: i64,
    ) -> Option<Vec<Wake>> {
        let door = self.doors.0.get_mut(service).filter(|it| it.gate.way == Way::Open)?;
        // Nobody is passed on until the next word.
        door.gate.way = Way::Shut;
        let turn = door.gate.turn;
        let demand = Demand::Idle { turn, connections, quiet_ms: 60_000 };
        Some(vec![Wake::Demanded(service.clone(), demand)])
    }
}

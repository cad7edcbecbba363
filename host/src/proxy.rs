//! An on-demand proxy: who listens where for which service.

use std::sync::Arc;

use crate::address::Address;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::{Mode, Spec, Xinit};

/// A proxy in front of a service. One that stands in a service's file has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name, of the same form as that of a service.
    pub name: ServiceName,
    /// The service that is started when somebody connects.
    pub service: ServiceName,
    /// Whether it stands in its service's file, and not in one of its own.
    pub in_service: bool,
    /// All else. Its backend is resolved: it has one unless the service gets the socket itself.
    pub xinit: Arc<Xinit>,
}

impl Proxy {
    /// The proxy that a service's file asks for, if it does.
    pub fn of(name: &ServiceName, spec: &Spec) -> Option<Self> {
        let xinit = spec.xinit.as_deref().filter(|it| it.enabled)?;
        let mut xinit = xinit.clone();
        xinit.backend = xinit.backend.or_else(|| spec.health.first_address());
        let xinit = Arc::new(xinit);
        Some(Self { name: name.clone(), service: name.clone(), in_service: true, xinit })
    }

    /// Its addresses in one text: `unix:/run/x.sock, tcp:127.0.0.1:80`.
    pub fn listen_text(&self) -> String {
        self.xinit.listen.iter().map(Address::full).collect::<Vec<_>>().join(", ")
    }

    /// Whether it can stand beside these others.
    ///
    /// # Errors
    /// When another one of a different name listens at one of its addresses, or passes sockets to the same
    /// service as this one does, or when who connects to it would come back to it, by way of others or at
    /// once.
    pub fn vet<'a>(
        &'a self,
        others: impl Iterator<Item = &'a Self> + Clone,
    ) -> Result<(), Refusal> {
        let others = others.filter(|it| it.name != self.name);
        for other in others.clone() {
            self.vet_beside(other)?;
        }
        self.vet_way(others)
    }

    fn vet_beside(&self, other: &Self) -> Result<(), Refusal> {
        let theirs = |at: &Address| other.xinit.listen.iter().find(|it| it.overlaps(at));
        if let Some((at, there)) = self.xinit.listen.iter().find_map(|it| Some((it, theirs(it)?))) {
            let does = match at == there {
                true => "does".to_owned(),
                false => format!("listens at {there}"),
            };
            let message = format!("cannot listen at {at}: the proxy `{}` {does}", other.name);
            return Err(self.refusal(message).with("address", at.to_string()));
        }
        let passes = |it: &Self| it.xinit.mode == Mode::Pass;
        if self.service == other.service && passes(self) && passes(other) {
            let Self { name, service, .. } = self;
            let message = format!(
                "`{name}` cannot pass sockets to `{service}`: the proxy `{}` does",
                other.name
            );
            return Err(self.refusal(message).hint("list all addresses under one `listen`"));
        }
        Ok(())
    }

    fn vet_way<'a>(
        &'a self,
        others: impl Iterator<Item = &'a Self> + Clone,
    ) -> Result<(), Refusal> {
        let mut way = vec![self];
        while let Some(backend) = way.last().and_then(|it| it.xinit.backend.as_ref()) {
            let next = std::iter::once(self).chain(others.clone());
            let reached = |it: &&Self| it.xinit.listen.iter().any(|at| at.is_reached_by(backend));
            let mut next = next.filter(reached);
            let Some(next) = next.next() else { return Ok(()) };
            if next.name == self.name {
                let names: Vec<_> = way.iter().chain([&self]).map(|it| it.name.as_str()).collect();
                let message = format!("the proxy `{}` would connect to itself", self.name);
                let hint = format!("it would go {}: one `backend` is wrong", names.join(" -> "));
                return Err(self.refusal(message).hint(hint));
            }
            if way.iter().any(|it| it.name == next.name) {
                return Ok(()); // A loop of others, which they are told of.
            }
            way.push(next);
        }
        Ok(())
    }

    fn refusal(&self, message: String) -> Refusal {
        Refusal::new(Kind::BadConfig, message).with("proxy", self.name.as_str())
    }
}

#[cfg(test)]
mod tests;

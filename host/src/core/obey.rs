//! What clients ask for.

use nix::sys::signal::Signal;

use super::{Core, Effect};
use crate::core::one_refusal;
use crate::desk::{Answer, Command, Reply};
use crate::event::Tick;
use crate::graph::Id;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::state::Held;

impl Core {
    /// Does what somebody asked for.
    ///
    /// # Errors
    /// A refusal when there is no such service, when it has no process to signal, when a new
    /// configuration makes services wait for themselves, or when the server is stopping.
    pub fn obey(&mut self, now: Tick, command: Command) -> Answer {
        self.now = now;
        let starts = matches!(
            command,
            Command::Start { .. }
                | Command::Restart(_)
                | Command::Define(..)
                | Command::Reload(_)
                | Command::StartAll
                | Command::Renew { .. }
        );
        if self.is_ending() && starts {
            return Err(Refusal::new(Kind::ShuttingDown, "the server is stopping"));
        }
        match command {
            Command::Start { names, deps } => {
                let ids = self.find_all(&names)?;
                self.refuse_leaving(&ids)?;
                self.start(now, &ids, deps);
            }
            Command::Stop(names) => {
                let ids = self.find_all(&names)?;
                self.hold(now, &ids, &Held::Stop);
            }
            Command::Restart(names) => {
                let ids = self.find_all(&names)?;
                self.refuse_leaving(&ids)?;
                self.hold(now, &ids, &Held::Restart);
            }
            Command::Delete(names) => {
                let ids = self.find_all(&names)?;
                self.leave(now, &ids);
            }
            Command::Kill(name, signal) => self.kill(&name, signal)?,
            Command::Define(name, spec) => {
                let new = [(name.clone(), (*spec).clone())];
                self.refuse(&new, false)?;
                self.refuse_strangers(&new)?;
                self.define(now, name, *spec);
            }
            Command::Vet(name, spec) => {
                let new = [(name, *spec)];
                self.refuse(&new, false)?;
                self.refuse_strangers(&new)?;
            }
            Command::DefineProxy(proxy) => self.define_proxy(now, *proxy)?,
            Command::ForgetProxy(name) => self.forget_proxy(&name)?,
            Command::Reload(reload) => {
                let plan = self.reload(now, reload)?;
                self.release_free(now);
                return Ok(Reply::Plan(plan));
            }
            Command::Decide(decree) => self.decide_by(now, &decree)?,
            Command::VetPolicy(decree) => drop(self.vet_policy(&decree).map_err(one_refusal)?),
            Command::TellPolicy => return Ok(Reply::Policy(Box::new(self.tell_policy()))),
            Command::StartAll => self.start_all(now),
            Command::StopAll => self.stop_all(now),
            Command::DeleteAll => {
                let all = self.known();
                self.leave(now, &all);
            }
            Command::Shutdown(then) => self.shut_down_for_client(now, then)?,
            Command::Renew { keeper, server } => {
                self.effects.extend(keeper.then_some(Effect::RenewKeeper));
                self.effects.extend(server.then_some(Effect::HandOver));
            }
        }
        self.release_free(now);
        Ok(Reply::Done)
    }

    fn refuse_leaving(&self, ids: &[Id]) -> Result<(), Refusal> {
        let Some(id) = ids.iter().find(|id| self.at(**id).leaving) else { return Ok(()) };
        let name = &self.nodes[id.index()].name;
        let refusal = Refusal::new(Kind::ServiceDown, format!("`{name}` is being deleted"));
        Err(refusal.with("service", name.as_str()))
    }

    fn kill(&mut self, name: &ServiceName, signal: Signal) -> Result<(), Refusal> {
        let id = self.find(name)?;
        if self.at(id).process.is_none() {
            let refusal = Refusal::new(Kind::ServiceDown, format!("service `{name}` is down"));
            return Err(refusal.with("service", name.as_str()));
        }
        let incarnation = self.at(id).incarnation;
        self.effects.push(Effect::Signal { service: name.clone(), incarnation, signal });
        Ok(())
    }
}

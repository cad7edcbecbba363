//! Another policy: whether it can decide about the services that there are, and letting it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::Value;

use super::{Core, Effect};
use crate::desk::Decree;
use crate::event::Tick;
use crate::graph::Id;
use crate::name::ServiceName;
use crate::policy::Policy;
use crate::policy::told::InForce;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;
use crate::state::State;

impl Core {
    /// Lets these files decide from now on, with the bundled policy under them.
    ///
    /// # Errors
    /// Every fault of theirs, and the services that name functions which are not there; then the
    /// policy stays that was in force.
    pub fn load_policy(&mut self, files: &[(PathBuf, String)]) -> Result<(), Vec<Refusal>> {
        self.let_decide(&Decree { files: files.to_vec(), soon: None })
    }

    fn let_decide(&mut self, decree: &Decree) -> Result<(), Vec<Refusal>> {
        let policy = self.vet_policy(decree)?;
        self.effects.push(Effect::DecidedBy(Rc::clone(policy.sources())));
        *self.policy.borrow_mut() = policy;
        self.policy_since = self.wall;
        Ok(())
    }

    /// The policy of these files, ready to decide.
    pub(super) fn vet_policy(&self, decree: &Decree) -> Result<Policy, Vec<Refusal>> {
        let mut policy = Policy::of(&decree.files)?;
        let services: Vec<_> = self.nodes.iter().filter_map(|it| it.service.as_ref()).collect();
        let soon: Option<BTreeMap<_, _>> =
            decree.soon.as_ref().map(|it| it.iter().map(|(name, spec)| (name, spec)).collect());
        // One whose file is gone or broken is not asked about: it goes, or the reload is refused.
        let configured = services.iter().filter_map(|it| match &soon {
            Some(soon) if !it.spec.transient => Some((&it.name, *soon.get(&it.name)?)),
            _ => Some((&it.name, &*it.spec)),
        });
        let refused =
            configured.filter_map(|(name, spec)| Some(about(policy.vet(spec).err()?, name)));
        let problems: Vec<_> = refused.collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        services.iter().for_each(|it| policy.expect(&it.spec));
        Ok(policy)
    }

    pub(super) fn decide_by(&mut self, now: Tick, decree: &Decree) -> Result<(), Refusal> {
        self.let_decide(decree).map_err(one_refusal)?;
        // How each of them is for others is another question now.
        for id in self.known() {
            self.reconsider(id);
        }
        // Who waits may wait for nothing any more, and who is up may be looked at from now on.
        let told = |it: &Id| matches!(self.at(*it).state, State::Blocked | State::Running);
        let waiting = self.known().into_iter().filter(told);
        self.nudge(waiting.collect());
        self.settle_queue(now);
        Ok(())
    }

    /// What decides.
    pub(super) fn tell_policy(&self) -> InForce {
        let policy = self.policy.borrow();
        let services = self.nodes.iter().filter_map(|it| it.service.as_ref());
        let named = services.filter(|it| !it.spec.policy.is_empty());
        let mut named: Vec<_> = named.map(|it| (it.name.clone(), it.spec.policy.clone())).collect();
        named.sort();
        InForce {
            sources: (**policy.sources()).clone(),
            since_ms: self.policy_since.unix_ms,
            failures: policy.failures(),
            named,
        }
    }

    /// Refuses configurations that name functions which are not there.
    pub(super) fn refuse_strangers(&self, files: &[(ServiceName, Spec)]) -> Result<(), Refusal> {
        let policy = self.policy.borrow();
        for (name, spec) in files {
            let known = self.service(name.as_str());
            if known.is_some_and(|it| it.spec.policy == spec.policy) {
                continue;
            }
            policy.vet(spec).map_err(|it| {
                let refusal = about(it, name);
                let hint = "`zinit reload` without a name takes over the policy as well";
                if refusal.hint.is_some() { refusal } else { refusal.hint(hint) }
            })?;
        }
        Ok(())
    }
}

fn about(refusal: Refusal, name: &ServiceName) -> Refusal {
    let message = format!("`{name}`: {}", refusal.message);
    Refusal { message, ..refusal }.with("service", name.as_str())
}

/// One refusal for all problems of a policy.
pub(crate) fn one_refusal(mut problems: Vec<Refusal>) -> Refusal {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let message = format!("the policy has {} problems", problems.len());
    let problems: Vec<Value> = problems.iter().map(Refusal::to_problem).collect();
    Refusal::new(Kind::BadConfig, message).with("problems", problems)
}

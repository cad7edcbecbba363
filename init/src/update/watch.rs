//! Looks for something new every now and then. A signal ends it at once, which is as good as a crash:
//! whoever comes next goes on.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::json;

use super::clock::pause;
use super::context::Context;
use super::refusal::Refusal;
use super::scripts;
use super::upgrade::{self, Options};

/// Says each trouble once, until another one takes its place.
#[derive(Debug, Default)]
struct Troubles(Vec<Refusal>);

/// Updates whenever there is something new. Returns when the updater itself is new.
pub(crate) fn watch(cx: &Context, secs: u64, options: &Options) -> Result<u8, Refusal> {
    let state = cx.state()?;
    if cx.has_url(&state) || state.scripts.is_empty() {
        cx.key(&state)?;
    }
    cx.out.say(&format!("Looking for updates every {secs} s"));
    let mut troubles = Troubles::default();
    loop {
        let mut found = Vec::new();
        let is_new_itself = round(cx, options, &mut found);
        troubles.tell(cx, found);
        if is_new_itself {
            cx.out.say("Ending: whoever supervises this program starts the new one");
            return Ok(0);
        }
        pause(jittered(secs));
    }
}

/// Looks once, and says whether this program has been replaced.
fn round(cx: &Context, options: &Options, troubles: &mut Vec<Refusal>) -> bool {
    let is_new_itself = programs(cx, options).unwrap_or_else(|no| {
        troubles.push(no);
        false
    });
    match scripts::refresh(cx) {
        Ok(all) => {
            for it in all.iter().filter(|it| !it.is_quiet()) {
                cx.out.say(&it.shown());
                cx.out.event(&it.as_json());
            }
            troubles.extend(all.iter().filter_map(|it| it.refusal().cloned()));
        }
        Err(no) => troubles.push(no),
    }
    is_new_itself
}

fn programs(cx: &Context, options: &Options) -> Result<bool, Refusal> {
    let state = cx.state()?;
    if !cx.has_url(&state) && !state.scripts.is_empty() {
        return Ok(false);
    }
    if let Some(failed) = &state.failed {
        // What did not do is not tried every few minutes: that would be a restart each time.
        if cx.release()?.digest == failed.manifest {
            return Ok(false);
        }
    }
    let updated = upgrade::update(cx, options)?;
    if !updated.programs.is_empty() {
        cx.out.say(&updated.shown());
        cx.out.event(&json!({ "zinit": updated.as_json() }));
    }
    Ok(updated.programs.iter().any(|it| it == env!("CARGO_PKG_NAME")))
}

impl Troubles {
    fn tell(&mut self, cx: &Context, found: Vec<Refusal>) {
        found.iter().filter(|it| !self.0.contains(it)).for_each(|it| cx.out.complain(it));
        self.0 = found;
    }
}

/// The time until the next look: up to a tenth more, so that not all machines come at once.
fn jittered(secs: u64) -> Duration {
    let millis = secs * 1_000;
    let random = RandomState::new().hash_one(millis);
    Duration::from_millis(millis + random % (millis / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_earlier_than_asked_or_much_later() {
        let all: Vec<_> = (0..100).map(|_| jittered(300)).collect();
        let range = Duration::from_secs(300)..=Duration::from_secs(330);
        assert!(all.iter().all(|it| range.contains(it)), "{all:?}");
        assert!(all.iter().any(|it| *it != all[0]), "all come at once");
    }
}

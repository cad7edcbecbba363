//! Whom a service runs as, and with which limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RunAs;
use super::limit::{self, limit_names};
use super::map::Map;
use super::node::{Entry, Fault, Node};
use super::value::{each, entries, env_file, flag, text, umask, who};
use crate::refusal::nearest;

pub(super) fn run_as(keys: &mut Map) -> Result<Arc<RunAs>, Fault> {
    let one = |it: Node, key: &str| who(it.at, text(it, key)?, key);
    let mut run_as = RunAs::default();
    keys.read("user", one, &mut run_as.user)?;
    keys.read("group", one, &mut run_as.group)?;
    keys.read("supplementary_groups", |it, key| each(who)(it, key).map(Some), &mut run_as.groups)?;
    keys.read("umask", |it, key| umask(it, key).map(Some), &mut run_as.umask)?;
    run_as.nice = keys.whole("nice")?;
    run_as.oom_score_adj = keys.whole("oom_score_adj")?;
    keys.read("limits", limits, &mut run_as.limits)?;
    keys.read("no_new_privs", flag, &mut run_as.no_new_privs)?;
    keys.read("env_file", each(env_file), &mut run_as.env_file)?;
    run_as.memory_max = keys.size("memory_max")?;
    run_as.cpu_max = keys.whole("cpu_max")?;
    run_as.pids_max = keys.whole("pids_max")?;
    // Those without wishes share one: a thousand services have a thousand of these.
    Ok(if run_as == RunAs::default() { RunAs::server() } else { Arc::new(run_as) })
}

fn limits(node: Node, key: &str) -> Result<BTreeMap<String, (u64, u64)>, Fault> {
    let mut limits = BTreeMap::new();
    for Entry { at, key: name, value } in entries(node, key, "write `limits: { nofile: 1024 }`")? {
        let path = format!("{key}.{name}");
        if !limit_names().any(|it| it == name) {
            let bare = name.to_ascii_lowercase().replace("rlimit_", "").replace("limit", "");
            let hint = match nearest(&bare, limit_names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the limits are {}", limit_names().collect::<Vec<_>>().join(", ")),
            };
            return Err(Fault::new(at, &path, format!("there is no limit `{name}`")).hint(hint));
        }
        let at_value = value.at;
        let said = text(value, &path)?;
        let pair = limit::parse(&name, &said).map_err(|why| {
            let what = format!("`{path}` must be a limit, and `{said}` is not: {why}");
            Fault::new(at_value, &path, what)
                .hint("write a number, `unlimited`, or a soft and a hard one: `1024:4096`")
        })?;
        if limits.insert(name, pair).is_some() {
            return Err(Fault::new(at, &path, format!("`{path}` is given twice")));
        }
    }
    Ok(limits)
}

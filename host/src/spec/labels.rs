//! What a service file says to policies: labels that they can read, and the functions that take the
//! place of hooks for this service.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::node::{At, Entry, Fault, Node, Written};
use super::value::{entries, text};
use super::write::Yaml;
use crate::hooks;
use crate::refusal::nearest;

/// The shape of a label's name.
pub(super) const LABEL: &str = "^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$";
/// The shape of a strategy's name.
pub(super) const STRATEGY: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// The shape of a function's name.
pub(super) const FUNCTION: &str = "^[A-Za-z_][A-Za-z0-9_]*(::[A-Za-z_][A-Za-z0-9_]*)?$";

/// A label's name is not longer, in characters.
const NAME_MAX: usize = 63;
/// A label's text is not longer, in bytes.
pub(super) const LABEL_BYTES_MAX: usize = 1_024;

/// The key of the one entry that stands for every hook of a strategy.
const ALL: &str = "*";

pub(super) fn labels(node: Node, key: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mut labels = BTreeMap::new();
    for Entry { at, key: name, value } in entries(node, key, "write `labels: { tier: web }`")? {
        let path = format!("{key}.{name}");
        if !is_label(&name) {
            let what = format!("`{name}` cannot be a label's name");
            let hint =
                "1 to 63 letters, digits, `_`, `.`, `-` or `/`, starting with a letter or a digit";
            return Err(Fault::new(at, path, what).hint(hint));
        }
        let at_value = value.at;
        let said = match value.kind {
            Written::Nothing => String::new(),
            _ => text(value, &path)?,
        };
        if said.len() > LABEL_BYTES_MAX {
            let what = format!("`{path}` is longer than 1 KiB");
            return Err(Fault::new(at_value, path, what));
        }
        insert(&mut labels, name, said, path, at)?;
    }
    Ok(labels)
}

/// A map of hooks to functions, or the name of a strategy in place of them all.
pub(super) fn policy(node: Node, key: &str) -> Result<BTreeMap<String, String>, Fault> {
    const HINT: &str = "write `policy: { restart_delay: my_delay }`, or the name of a strategy";
    if let Written::Text(name) = node.kind {
        if !is_identifier(&name) {
            let what = format!("`{key}` must be a map or the name of a strategy, not `{name}`");
            return Err(Fault::new(node.at, key, what).hint(HINT));
        }
        return Ok([(ALL.to_owned(), name)].into());
    }
    let mut policy = BTreeMap::new();
    for Entry { at, key: hook, value } in entries(node, key, HINT)? {
        let path = format!("{key}.{hook}");
        refuse_unknown(&hook, &path, at)?;
        let function = function(value, &path)?;
        insert(&mut policy, hook, function, path, at)?;
    }
    Ok(policy)
}

fn refuse_unknown(hook: &str, path: &str, at: At) -> Result<(), Fault> {
    match hooks::find(hook) {
        Some(it) if it.is_of_service() => return Ok(()),
        Some(it) => {
            let what = format!("the hook `{hook}` is not about one service");
            let hint = format!("write a function `{}` in `policy.rhai`", it.signature());
            return Err(Fault::new(at, path, what).hint(hint));
        }
        None => {}
    }
    let hint = match nearest(&hook.to_ascii_lowercase(), hooks::of_services()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the hooks are {}", hooks::of_services().collect::<Vec<_>>().join(", ")),
    };
    Err(Fault::new(at, path, format!("there is no hook `{hook}`")).hint(hint))
}

fn function(node: Node, path: &str) -> Result<String, Fault> {
    let said = match node.kind {
        Written::Text(name) if is_function(&name) => return Ok(name),
        Written::Text(it) | Written::Number(it) | Written::Flag(it) => format!("`{it}`"),
        other => other.kind().to_owned(),
    };
    let what = format!("`{path}` must be the name of a function, not {said}");
    Err(Fault::new(node.at, path, what).hint("write `my_function`, or `file::my_function`"))
}

fn insert(
    all: &mut BTreeMap<String, String>,
    name: String,
    value: String,
    path: String,
    at: At,
) -> Result<(), Fault> {
    match all.insert(name, value) {
        Some(_) => Err(Fault::new(at, path.clone(), format!("`{path}` is given twice"))),
        None => Ok(()),
    }
}

fn is_label(name: &str) -> bool {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "_.-/".contains(it);
    let begins_well = name.starts_with(|it: char| it.is_ascii_alphanumeric());
    begins_well && name.len() <= NAME_MAX && name.chars().all(allowed)
}

fn is_identifier(name: &str) -> bool {
    let allowed = |it: char| it.is_ascii_alphanumeric() || it == '_';
    name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_') && name.chars().all(allowed)
}

fn is_function(name: &str) -> bool {
    match name.split_once("::") {
        Some((module, name)) => is_identifier(module) && is_identifier(name),
        None => is_identifier(name),
    }
}

pub(super) fn write_policy(yaml: &mut Yaml, policy: &BTreeMap<String, String>) {
    match policy.get(ALL) {
        Some(strategy) => yaml.text("policy", strategy, ""),
        None => yaml.map("policy", policy),
    }
}

/// As it is written in a file.
pub(super) fn policy_config(policy: &BTreeMap<String, String>) -> Value {
    match policy.get(ALL) {
        Some(strategy) => json!(strategy),
        None => json!(policy),
    }
}

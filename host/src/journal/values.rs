//! Values of scripts as JSON, and back, so that a question can be written down and asked again.

use rhai::{Array, Dynamic, Map};
use serde_json::{Value, json};

use crate::view::{ExitView, Idle, Usage};

/// What marks a value that is no plain one.
const EXIT: &str = "$exit";
const USAGE: &str = "$usage";
const IDLE: &str = "$idle";

/// A value as JSON. Only what hooks are given and answer comes back as it was.
pub fn to_json(value: &Dynamic) -> Value {
    if let Some(all) = value.read_lock::<Array>() {
        return all.iter().map(to_json).collect();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.iter().map(|(key, it)| (key.to_string(), to_json(it))).collect();
    }
    if let Some(exit) = value.read_lock::<ExitView>() {
        return json!({ EXIT: exit.0 });
    }
    if let Some(usage) = value.read_lock::<Usage>() {
        return json!({ USAGE: *usage });
    }
    if let Some(idle) = value.read_lock::<Idle>() {
        return json!({ IDLE: *idle });
    }
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// The value that was written down so.
pub fn of_json(value: Value) -> Dynamic {
    match value {
        Value::Array(all) => all.into_iter().map(of_json).collect::<Array>().into(),
        Value::Object(mut map) => {
            if let Some(exit) = map.remove(EXIT).and_then(|it| serde_json::from_value(it).ok()) {
                return Dynamic::from(ExitView(exit));
            }
            if let Some(usage) = map.remove(USAGE) {
                let usage: Result<Usage, _> = serde_json::from_value(usage);
                return usage.map_or(Dynamic::UNIT, Dynamic::from);
            }
            if let Some(idle) = map.remove(IDLE) {
                let idle: Result<Idle, _> = serde_json::from_value(idle);
                return idle.map_or(Dynamic::UNIT, Dynamic::from);
            }
            let pairs = map.into_iter().map(|(key, it)| (key.into(), of_json(it)));
            Dynamic::from_map(pairs.collect())
        }
        plain => rhai::serde::to_dynamic(plain).unwrap_or(Dynamic::UNIT),
    }
}

#[cfg(test)]
mod tests {
    use zinit_keeper::wire::Exit;

    use super::*;

    #[test]
    fn what_hooks_are_given_comes_back_as_it_was() {
        let usage = Usage { memory: 1 << 40, cpu: 3, tasks: 2 };
        let all: Array = vec![
            Dynamic::UNIT,
            true.into(),
            (-7_i64).into(),
            "text".into(),
            Dynamic::from(ExitView(Exit::Signal { signal: 9, core: false })),
            Dynamic::from(usage),
            vec![Dynamic::from("a"), Dynamic::from("b")].into(),
        ];
        let json = to_json(&all.into());
        let back = of_json(json.clone());
        assert_eq!(to_json(&back), json);
        let back = back.into_array().unwrap();
        let exit = back[4].clone().cast::<ExitView>();
        assert_eq!(exit.0, Exit::Signal { signal: 9, core: false });
        assert_eq!(back[5].clone().cast::<Usage>(), usage);
        assert!(back[2].is_int() && back[3].is_string() && back[6].is_array());
    }
}

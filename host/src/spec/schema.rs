//! The JSON Schema of a service file, for editors that complete and check while one types.

use serde_json::{Map, Value, json};

use super::labels::{FUNCTION, LABEL, LABEL_BYTES_MAX, STRATEGY};
use super::limit::limit_names;
use super::{KEYS, Key, Kind};
use crate::hooks::of_services;

const TIME: &str = r"^ *[0-9]+(\.[0-9]*)? *(ms|s|m|h|d)? *$";
const SIZE: &str = r"^ *[0-9]+ *([KkMmGgTt]([Ii]?[Bb])?|[Bb])? *$";
const OCTAL: &str = "^(0o)?0?[0-7]{1,3}$";

/// The JSON Schema (draft 2020-12) of a service file, made of the table of keys.
///
/// A value that it lets pass may still be refused for what only a parser can see: a quote that is not
/// closed, a regular expression that does not compile.
pub fn schema() -> Value {
    let mut schema = map_of(KEYS);
    let about = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("A service of Zinit")),
        // A service without a command is a target, and brings others up.
        (
            "anyOf",
            ["exec", "requires", "wants", "after"].map(|it| json!({ "required": [it] })).into(),
        ),
    ];
    schema.extend(about.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(schema)
}

fn map_of(keys: &[Key]) -> Map<String, Value> {
    let described = keys.iter().flat_map(|key| {
        let schema = of_key(key);
        key.words().map(move |it| (it.to_owned(), schema.clone()))
    });
    let properties: Map<String, Value> = described.collect();
    let whole = json!({
        // What is left empty says the default.
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    });
    let Value::Object(map) = whole else { unreachable!("it is written as one") };
    map
}

fn of_key(key: &Key) -> Value {
    let Value::Object(mut schema) = of_kind(key.kind) else {
        unreachable!("each kind has an object");
    };
    schema.insert("description".to_owned(), json!(key.doc));
    if !key.default.is_empty() {
        let default = serde_json::from_str(key.default).expect("the table has JSON there");
        schema.insert("default".to_owned(), default);
    }
    Value::Object(schema)
}

fn of_kind(kind: Kind) -> Value {
    let scalar = json!(["string", "number", "boolean", "null"]);
    match kind {
        Kind::Text => json!({ "type": scalar }),
        Kind::Shaped(pattern) => json!({ "type": scalar, "pattern": pattern }),
        Kind::Several(pattern) => {
            let one = json!({ "type": ["string", "number", "boolean"], "pattern": pattern });
            json!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "null" }] })
        }
        Kind::Flag => json!({ "type": ["boolean", "null"] }),
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::Whole(least, most) => {
            json!({ "type": ["integer", "null"], "minimum": least, "maximum": most })
        }
        Kind::Percent(least, most) => json!({
            "type": ["integer", "string", "null"],
            "minimum": least, "maximum": most, "pattern": "^ *[0-9]+ *%? *$",
        }),
        Kind::Time => {
            json!({ "type": ["number", "string", "null"], "minimum": 0, "pattern": TIME })
        }
        Kind::Size(least) => {
            json!({ "type": ["integer", "string", "null"], "minimum": least, "pattern": SIZE })
        }
        Kind::Octal => json!({ "type": ["number", "string", "null"], "pattern": OCTAL }),
        Kind::Variables => json!({
            "type": ["object", "null"],
            "additionalProperties": { "type": scalar },
            "propertyNames": { "pattern": "^[^=]+$" },
        }),
        Kind::Labels => json!({
            "type": ["object", "null"],
            "additionalProperties": { "type": scalar, "maxLength": LABEL_BYTES_MAX },
            "propertyNames": { "pattern": LABEL },
        }),
        Kind::Policy => {
            let function = json!({ "type": "string", "pattern": FUNCTION });
            let hooks: Map<_, _> =
                of_services().map(|it| (it.to_owned(), function.clone())).collect();
            json!({ "anyOf": [
                { "type": "string", "pattern": STRATEGY },
                { "type": ["object", "null"], "properties": hooks, "additionalProperties": false },
            ] })
        }
        Kind::Limits => {
            let limit = json!({
                "type": ["integer", "string"],
                "minimum": 0, "pattern": "^([0-9]+ *[A-Za-z]*|unlimited|infinity)(:([0-9]+ *[A-Za-z]*|unlimited|infinity))?$",
            });
            let limits: Map<_, _> =
                limit_names().map(|it| (it.to_owned(), limit.clone())).collect();
            json!({ "type": ["object", "null"], "properties": limits, "additionalProperties": false })
        }
        Kind::Map(keys) => Value::Object(map_of(keys)),
        Kind::WordOrMap(words, keys) => json!({ "anyOf": [{ "enum": words }, map_of(keys)] }),
    }
}

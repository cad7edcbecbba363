//! The JSON Schema says what the parser does.

use regex::Regex;
use serde_json::{Value, json};

use super::*;

/// Why a value is not as a schema has it; the parts of JSON Schema that ours uses.
fn why_not(value: &Value, schema: &Value) -> Option<String> {
    let words = [
        "$schema",
        "title",
        "description",
        "default",
        "type",
        "properties",
        "additionalProperties",
        "propertyNames",
        "enum",
        "pattern",
        "maxLength",
        "minimum",
        "maximum",
        "items",
        "anyOf",
        "required",
    ];
    for key in schema.as_object().expect("a schema is an object").keys() {
        assert!(words.contains(&key.as_str()), "this test does not know `{key}`");
    }
    let kinds = match &schema["type"] {
        Value::Null => Vec::new(),
        Value::Array(many) => many.clone(),
        one => vec![one.clone()],
    };
    let is = |kind: &Value| match kind.as_str().expect("a type is a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("there is no type {other}"),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        return Some(format!("{value} is none of {kinds:?}"));
    }
    scalar(value, schema).or_else(|| parts(value, schema)).or_else(|| {
        let any = schema["anyOf"].as_array()?;
        let whys: Vec<_> = any.iter().map(|it| why_not(value, it)).collect();
        whys.iter().all(Option::is_some).then(|| format!("{whys:?}"))
    })
}

fn scalar(value: &Value, schema: &Value) -> Option<String> {
    if let Some(words) = schema["enum"].as_array().filter(|it| !it.contains(value)) {
        return Some(format!("{value} is none of {words:?}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).expect("it compiles").is_match(text)
    {
        return Some(format!("{text} is not like {pattern}"));
    }
    let length = value.as_str().map(|it| it.chars().count() as u64);
    if length > schema["maxLength"].as_u64().or(length) {
        return Some(format!("{value} is too long"));
    }
    let number = value.as_f64()?;
    let low = schema["minimum"].as_f64().is_some_and(|it| number < it);
    let high = schema["maximum"].as_f64().is_some_and(|it| number > it);
    (low || high).then(|| format!("{number} is out of range"))
}

fn parts(value: &Value, schema: &Value) -> Option<String> {
    if let Value::Array(items) = value {
        return items.iter().find_map(|it| why_not(it, schema.get("items")?));
    }
    let map = value.as_object()?;
    let needed = schema["required"].as_array().into_iter().flatten();
    let mut missing = needed.filter(|it| !map.contains_key(it.as_str().expect("a word")));
    if let Some(missing) = missing.next() {
        return Some(format!("{missing} is missing"));
    }
    map.iter().find_map(|(key, value)| {
        let names = schema.get("propertyNames");
        if let Some(why) = names.and_then(|it| why_not(&json!(key), it)) {
            return Some(why);
        }
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(known), _) => why_not(value, known),
            (None, Value::Bool(false)) => Some(format!("{key} is unknown")),
            (None, Value::Null) => None,
            (None, others) => why_not(value, others),
        }
    })
}

fn judged(yaml: &str) -> Option<String> {
    let value: Value = serde_yaml::from_str(yaml).unwrap_or_else(|it| panic!("{it}\n{yaml}"));
    why_not(&value, &schema())
}

#[test]
fn every_key_of_the_table_is_in_the_schema_with_what_it_means() {
    fn all_of(keys: &[Key], schema: &Value) {
        let properties = schema["properties"].as_object().expect("it has properties");
        assert_eq!(properties.len(), keys.iter().flat_map(Key::words).count());
        assert_eq!(schema["additionalProperties"], json!(false));
        for key in keys {
            for word in key.words() {
                assert_eq!(properties[word]["description"], key.doc);
                assert_eq!(properties[word].get("default").is_some(), !key.default.is_empty());
            }
            match key.kind {
                Kind::Map(keys) => all_of(keys, &properties[key.name]),
                Kind::WordOrMap(_, keys) => all_of(keys, &properties[key.name]["anyOf"][1]),
                _ => {}
            }
        }
    }
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    all_of(KEYS, &schema);
}

#[test]
fn the_examples_of_the_readme_are_as_the_schema_says() {
    let readme = include_str!("../../../../README.md");
    let examples: Vec<&str> =
        readme.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        assert_eq!(judged(example), None, "{example}");
        parsed(example);
    }
}

#[test]
fn whatever_a_service_is_its_file_is_as_the_schema_says() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..300 {
        let yaml = dice.spec().to_yaml();
        assert_eq!(judged(&yaml), None, "{yaml}");
    }
    assert_eq!(judged(super::keys::EVERY_KEY), None);
}

#[test]
fn what_the_schema_refuses_the_parser_refuses() {
    let lines = [
        "onehsot: true",
        "oneshot: 1",
        "status: foo",
        "restart: sometimes",
        "restart_delay: 5 years",
        "shutdown_timeout: -1",
        "ready_fd: 2",
        "nice: 20",
        "umask: \"999\"",
        "limits: { nofiles: 1 }",
        "limits: { nofile: many }",
        "memory_max: 512",
        "memory_max: 1 Gb/s",
        "cpu_max: fast",
        "pids_max: 0",
        "user: a b",
        "after: [../b]",
        "env_file: relative",
        "health: { tcp: nowhere }",
        "health: { http: ftp:// x }",
        "env: [A=b]",
        "env: { A=b: c }",
        "labels: web",
        "labels: { -a: b }",
        "labels: { a b: c }",
        "labels: { a: [b] }",
        "policy: one for all",
        "policy: { restart_dely: my_delay }",
        "policy: { shutdown_ms: my_time }",
        "policy: { restart_delay: 7 }",
        "policy: { restart_delay: a::b::c }",
        "log: ram",
        "log: { mode: ram }",
        "log: { dir: here }",
        "log: { rotate_size: 1 }",
        "log: { keep: -1 }",
        "log: { syslog: here }",
        "log_to: a b",
        "xinit: { mode: relay }",
        "xinit: { proxy_protocol: v3 }",
        "xinit: { max_connections: -1 }",
        "xinit: { max_waiting: 0 }",
        "xinit: { users: [a b] }",
        "xinit: { socket_mode: \"999\" }",
        "xinit: { fd_names: [\"a:b\"] }",
        "xinit: { services: [web] }",
    ];
    for line in lines {
        let yaml = format!("exec: ls\n{line}\n");
        assert!(judged(&yaml).is_some(), "the schema has nothing against {line}");
        refused(&yaml);
    }
    let long = format!("exec: ls\nlabels: {{ a: {} }}\n", "x".repeat(1_025));
    assert!(judged(&long).is_some());
    refused(&long);
    assert!(judged("oneshot: true").is_some());
    assert_eq!(judged("wants: [a]"), None);
}

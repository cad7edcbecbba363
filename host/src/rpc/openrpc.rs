//! The OpenRPC document, made from the table of methods.

use serde_json::{Value, json};

use super::args::Param;
use super::methods::{METHODS, Method};

/// The document that `rpc.discover` answers.
pub fn document() -> Value {
    let methods: Vec<Value> = METHODS.iter().map(method).collect();
    json!({
        "openrpc": "1.2.6",
        "info": { "title": "Zinit", "version": env!("CARGO_PKG_VERSION") },
        "methods": methods,
    })
}

fn method(it: &Method) -> Value {
    let params: Vec<Value> = it.params.iter().map(param).collect();
    let result = json!({
        "name": "result",
        "description": it.result,
        "schema": schema(&it.result_type.split('|').collect::<Vec<_>>()),
    });
    json!({
        "name": it.name,
        "description": it.doc,
        "paramStructure": "either",
        "params": params,
        "result": result,
    })
}

fn param(it: &Param) -> Value {
    let mut schema = schema(it.kind.types());
    if let Some(text) = it.default {
        schema["default"] = serde_json::from_str(text).expect("defaults are JSON");
    }
    json!({
        "name": it.name,
        "description": it.doc,
        "required": it.default.is_none(),
        "schema": schema,
    })
}

fn schema(types: &[&str]) -> Value {
    match types {
        [one] => json!({ "type": one }),
        several => json!({ "type": several }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_method_with_its_parameters() {
        let document = document();
        let methods = document["methods"].as_array().unwrap();
        assert_eq!(methods.len(), METHODS.len());
        let kill = methods.iter().find(|it| it["name"] == "service.kill").unwrap();
        assert_eq!(kill["params"][0]["required"], true);
        assert_eq!(kill["params"][1]["schema"]["default"], "SIGTERM");
        assert_eq!(kill["params"][1]["schema"]["type"], json!(["string", "integer"]));
    }
}

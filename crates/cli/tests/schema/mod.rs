//! As much of JSON Schema, draft 7, as the official schema of SARIF uses.

use serde_json::Value;

/// Where a document breaks its schema, and how. A keyword that is not known here is a violation too.
pub(crate) fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, document, "$", &mut found);
    found
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("a type {other}"),
    }
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else { return };
    let mut broken = |why: String| found.push(format!("{at}: {why}"));
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "default" | "definitions" | "format" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                check(root, root.pointer(pointer).unwrap(), value, at, found);
                return;
            }
            "type" => {
                let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !names.iter().any(|name| is_type(name.as_str().unwrap(), value)) {
                    broken(format!("is no {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    broken(format!("{value} is none of {rule}"));
                }
            }
            "minimum" | "maximum" => {
                let (Some(number), Some(limit)) = (value.as_f64(), rule.as_f64()) else { continue };
                if (keyword == "minimum" && number < limit) || (keyword == "maximum" && number > limit) {
                    broken(format!("{number} is past the {keyword} of {limit}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        broken(format!("{name} is missing"));
                    }
                }
            }
            "minItems" => {
                if value.as_array().is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap()) {
                    broken(format!("fewer than {rule} items"));
                }
            }
            "uniqueItems" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                let repeated = items.iter().enumerate().any(|(i, item)| items[..i].contains(item));
                if rule == &Value::Bool(true) && repeated {
                    broken("an item stands twice".into());
                }
            }
            // Only identifiers of a fixed form have patterns, and this tool writes none of them.
            "pattern" => broken(format!("matches {rule}, which is not checked here")),
            "properties" | "additionalProperties" | "items" | "anyOf" | "oneOf" => {}
            other => panic!("the schema uses {other}"),
        }
    }
    parts(root, schema, value, at, found);
    for keyword in ["anyOf", "oneOf"] {
        let Some(choices) = schema.get(keyword).and_then(Value::as_array) else { continue };
        let fits = |choice: &&Value| {
            let mut inner = Vec::new();
            check(root, choice, value, at, &mut inner);
            inner.is_empty()
        };
        let count = choices.iter().filter(fits).count();
        if count == 0 || (keyword == "oneOf" && count > 1) {
            found.push(format!("{at}: fits {count} of {keyword}"));
        }
    }
}

/// Members and items.
fn parts(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(members) = value.as_object() {
        for (name, member) in members {
            let place = format!("{at}.{name}");
            match (schema.get("properties").and_then(|p| p.get(name)), schema.get("additionalProperties")) {
                (Some(own), _) => check(root, own, member, &place, found),
                (None, Some(Value::Bool(false))) => found.push(format!("{place}: is not known")),
                (None, Some(rest)) => check(root, rest, member, &place, found),
                (None, None) => {}
            }
        }
    }
    if let (Some(items), Some(rule)) = (value.as_array(), schema.get("items")) {
        for (i, item) in items.iter().enumerate() {
            check(root, rule, item, &format!("{at}[{i}]"), found);
        }
    }
}

//! A reader of the schemas that CRDs may have: what the API server checks before any rule.

use regex::Regex;
use serde_json::Value;

/// What is wrong with `value` by `schema`, each with the path of the field.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    look(schema, value, "", &mut found);
    found
}

fn look(schema: &Value, value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    let mut say = |problem: &str| found.push((path.to_owned(), problem.to_owned()));
    let is_either = schema["x-kubernetes-int-or-string"] == true;
    if !is_either && !has_type(schema, value) {
        say("type");
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        say("enum");
    }
    for (bound, measure, is_least) in [
        ("minimum", value.as_f64(), true),
        ("maximum", value.as_f64(), false),
        ("minLength", length(value), true),
        ("maxLength", length(value), false),
        ("minItems", entries(value), true),
        ("maxItems", entries(value), false),
        ("maxProperties", fields(value), false),
    ] {
        if let (Some(bound_at), Some(measure)) = (schema[bound].as_f64(), measure)
            && (if is_least { measure < bound_at } else { measure > bound_at })
        {
            say(bound);
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        say("pattern");
    }
    look_inside(schema, value, path, found);
}

fn look_inside(schema: &Value, value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for item in value.as_array().into_iter().flatten() {
        look(&schema["items"], item, &format!("{path}[]"), found);
    }
    let Some(known) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !known.contains_key(required.as_str().unwrap()) {
            found.push((path.to_owned(), format!("required {required}")));
        }
    }
    for (name, child) in known {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let place = match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => None,
            (Value::Null, others) => Some(others),
            (named, _) => Some(named),
        };
        match place {
            Some(place) => look(place, child, &below, found),
            // Every object has these; their schema is Kubernetes' own.
            None if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&&**name) => {}
            None => found.push((below, "unknown".to_owned())),
        }
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        other => panic!("a schema of type {other:?}"),
    }
}

fn float(count: usize) -> f64 {
    count as f64
}

fn length(value: &Value) -> Option<f64> {
    value.as_str().map(|text| float(text.chars().count()))
}

fn entries(value: &Value) -> Option<f64> {
    value.as_array().map(|items| float(items.len()))
}

fn fields(value: &Value) -> Option<f64> {
    value.as_object().map(|fields| float(fields.len()))
}

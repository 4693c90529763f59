//! The page of all fields.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

use crate::manifest::crds;

const HEAD: &str = "\
# Custom resources

<!-- Generated from the types in `crds/src` by `make pages`; a test compares the two. -->

Sizes are texts such as `512Ki`, `64Mi`, `1.5Gi` or `2G`; times are texts such as `250ms`, `5s`, `10m` or `1h`; a
ratio is a text of `\"0\"` to `\"1\"`. Fields \"as of a pod\" are those of Kubernetes. What is **required** has no default; what has neither may be left out.
Conditions and their reasons: [reasons.md](reasons.md).
";

/// A line of a table.
struct Row<'a> {
    path: String,
    schema: &'a Map<String, Value>,
    required: bool,
}

/// The page `docs/crds.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for crd in crds() {
        page.push_str(&section(&crd));
    }
    page
}

fn section(crd: &CustomResourceDefinition) -> String {
    let schema = schema_of(crd);
    let names = &crd.spec.names;
    let said = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`"));
    let mut page =
        format!("\n## {} ({})\n{said}\n", names.kind, short.collect::<Vec<_>>().join(", "));
    for part in ["spec", "status"] {
        let Some(Value::Object(fields)) = schema.get("properties").and_then(|all| all.get(part))
        else {
            continue;
        };
        page.push_str(&format!(
            "\n### {}.{part}\n| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n",
            names.kind
        ));
        let mut rows = Vec::new();
        collect("", fields, &mut rows);
        page.extend(rows.iter().map(line));
    }
    page.push_str(&rules_of(&schema));
    page
}

fn schema_of(crd: &CustomResourceDefinition) -> Map<String, Value> {
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    match serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema.as_ref())) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The fields below `schema`, depth first. What Kubernetes defines is one row: its fields
/// carry no description here.
fn collect<'a>(path: &str, schema: &'a Map<String, Value>, rows: &mut Vec<Row<'a>>) {
    let required = |name: &str| {
        let names = schema.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|known| known == name))
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, child) in properties.into_iter().flatten() {
        let Value::Object(child) = child else { continue };
        if !child.contains_key("description") {
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rows.push(Row { path: path.clone(), schema: child, required: required(name) });
        collect(&path, child, rows);
        if let Some(Value::Object(items)) = child.get("items") {
            collect(&format!("{path}[]"), items, rows);
        }
    }
}

fn line(row: &Row<'_>) -> String {
    let Row { path, schema, required } = row;
    let meaning = text(schema, "description").replace('\n', " ").replace('|', "\\|");
    let default = match schema.get("default") {
        // Its fields say theirs.
        Some(Value::Object(_)) => String::new(),
        Some(Value::String(word)) => format!("`{word}`"),
        Some(value) => format!("`{value}`"),
        None if *required => "**required**".to_owned(),
        None => String::new(),
    };
    format!("| `{path}` | {} | {default} | {} | {meaning} |\n", kind(schema), bounds(schema))
}

fn text<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn kind(schema: &Map<String, Value>) -> String {
    use crate::{ByteSize, Interval, Ratio};
    if let Some(Value::Object(items)) = schema.get("items") {
        return format!("list of {}", kind(items));
    }
    match (text(schema, "type"), text(schema, "pattern")) {
        (_, ByteSize::PATTERN) => "size".to_owned(),
        (_, Interval::PATTERN) => "time".to_owned(),
        (_, Ratio::PATTERN) => "ratio".to_owned(),
        ("object", _) if schema.contains_key("additionalProperties") => "map".to_owned(),
        ("string", _) if text(schema, "format") == "date-time" => "RFC 3339".to_owned(),
        ("string", _) if schema.contains_key("enum") => "word".to_owned(),
        ("string", _) => "text".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

/// What people need to know before the API server tells them.
fn bounds(schema: &Map<String, Value>) -> String {
    let mut said = Vec::new();
    if let Some(Value::Array(words)) = schema.get("enum") {
        let words = words.iter().filter_map(Value::as_str);
        said.push(words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" "));
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => said.push(format!("{least} to {}", large(most))),
        (None, Some(most)) => said.push(format!("at most {}", large(most))),
        (Some(least), None) => said.push(format!("at least {least}")),
        (None, None) => {}
    }
    for (key, unit) in [("maxItems", "entries"), ("maxProperties", "entries")] {
        if let Some(most) = number(key) {
            said.push(format!("at most {most} {unit}"));
        }
    }
    let is_free = text(schema, "type") == "string" && kind(schema) == "text";
    if let (true, Some(most)) = (is_free, number("maxLength")) {
        said.push(format!("at most {most} characters"));
    }
    if text(schema, "type") != "object" {
        said.extend(messages(schema).map(|said| said.trim_start_matches("must be ").to_owned()));
    }
    said.join("; ")
}

/// 2^60 stands for numbers without a bound of their own.
fn large(most: f64) -> String {
    if most >= 2_f64.powi(60) { "2^60".to_owned() } else { most.to_string() }
}

fn messages(schema: &Map<String, Value>) -> impl Iterator<Item = String> {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let message = |rule: &Value| Some(rule.get("message")?.as_str()?.to_owned());
    rules.into_iter().flatten().filter_map(message)
}

/// The rules in which several fields meet.
fn rules_of(schema: &Map<String, Value>) -> String {
    let mut rules = Vec::new();
    gather("", schema, &mut rules);
    let mut said = String::new();
    if !rules.is_empty() {
        said.push_str("\nWhat else must hold:\n");
    }
    for rule in rules {
        said.push_str(&format!("- {rule}\n"));
    }
    said
}

fn gather(path: &str, schema: &Map<String, Value>, rules: &mut Vec<String>) {
    if text(schema, "type") == "object" {
        rules.extend(messages(schema).map(|message| match path {
            "" => message,
            path => format!("`{path}`: {message}"),
        }));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, child) in properties.into_iter().flatten() {
        if let Value::Object(child) = child {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            gather(&path, child, rules);
        }
    }
}

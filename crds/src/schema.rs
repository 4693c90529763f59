//! What a derived schema needs so that the API server takes it, can bound the cost of its
//! rules, and people can read it.

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value, json};

/// The bound of numbers that have none by their nature, such as bytes and epochs: whole in
/// the floating point numbers that schemas carry bounds in.
pub(crate) const LARGE: u64 = 1 << 60;

/// The longest text inside of objects that Kubernetes itself defines.
const EMBEDDED_TEXT_MAX: i64 = 1024;

/// The most entries of a list or map inside of objects that Kubernetes itself defines.
const EMBEDDED_ENTRIES_MAX: i64 = 64;

/// The bounds of whole numbers inside of objects that Kubernetes itself defines.
const INTEGERS: (i64, i64) = (-(1 << 31), (1 << 31) - 1);

/// Rewrites what is derived into what CRDs know: no `null` (the API server drops it, so a
/// field is there or not), no formats but Kubernetes' own, words as `enum` with their
/// meanings in the description, and one line a paragraph.
pub(crate) fn plain(schema: &mut Schema) {
    let object = schema.ensure_object();
    drop_null_type(object);
    drop_null_branch(object);
    gather_words(object);
    name_integers(object);
    join_lines(object);
    transform_subschemas(&mut plain, schema);
}

/// `type: [string, null]` → `type: string`.
fn drop_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
}

/// `anyOf: [X, null]` → X, but for what is said beside it.
fn drop_null_branch(object: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// `oneOf: [{const: A}, {const: B}]` → `enum: [A, B]`.
fn gather_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else { return };
    let word = |variant: &Value| variant.get("const")?.as_str().map(str::to_owned);
    let Some(words) = variants.iter().map(word).collect::<Option<Vec<_>>>() else { return };
    let meaning = |variant: &Value| variant.get("description")?.as_str().map(str::to_owned);
    let meanings: Vec<_> = variants
        .iter()
        .zip(&words)
        .filter_map(|(variant, word)| Some(format!("`{word}`: {}", meaning(variant)?)))
        .collect();
    let said = object.get("description").and_then(Value::as_str).unwrap_or_default();
    let said = format!("{said} {}", meanings.join(" "));
    object.remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), json!(words));
    object.insert("description".to_owned(), json!(said.trim()));
}

/// `uint32` and its like are unknown to Kubernetes.
fn name_integers(object: &mut Map<String, Value>) {
    if object.get("type").is_some_and(|name| name == "integer") {
        let small = object
            .get("maximum")
            .and_then(Value::as_u64)
            .is_some_and(|most| most <= u64::from(i32::MAX.unsigned_abs()));
        object.insert("format".to_owned(), json!(if small { "int32" } else { "int64" }));
    }
}

/// Descriptions are written in lines for the code; readers have their own width.
fn join_lines(object: &mut Map<String, Value>) {
    if let Some(Value::String(said)) = object.get_mut("description") {
        let paragraphs: Vec<_> = said.split("\n\n").map(|lines| lines.replace('\n', " ")).collect();
        *said = paragraphs.join("\n\n");
    }
}

/// Bounds what Kubernetes itself defines (a number of bytes or a share, `int-or-string`, has
/// no type to bound), and leaves its descriptions out: they are four
/// times as long as all the rest, and found where a pod is described.
pub(crate) fn embedded(schema: &mut Schema) {
    transform_subschemas(&mut embedded_below, schema);
    bound(schema.ensure_object());
}

fn embedded_below(schema: &mut Schema) {
    embedded(schema);
    schema.remove("description");
}

fn bound(object: &mut Map<String, Value>) {
    let bounds: &[(&str, i64)] = match object.get("type").and_then(Value::as_str) {
        Some("string") => &[("maxLength", EMBEDDED_TEXT_MAX)],
        Some("array") => &[("maxItems", EMBEDDED_ENTRIES_MAX)],
        Some("object") if object.contains_key("additionalProperties") => {
            &[("maxProperties", EMBEDDED_ENTRIES_MAX)]
        }
        Some("integer") => &[("minimum", INTEGERS.0), ("maximum", INTEGERS.1)],
        _ => &[],
    };
    for (name, value) in bounds {
        object.entry(*name).or_insert(json!(value));
    }
}

/// The most conditions of an object.
const CONDITIONS_MAX: u32 = 32;

/// Conditions are told apart by their type, so that two writers don't undo each other.
pub(crate) fn conditions(schema: &mut Schema) {
    embedded(schema);
    schema.insert("maxItems".to_owned(), json!(CONDITIONS_MAX));
    schema.insert("x-kubernetes-list-type".to_owned(), json!("map"));
    schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
}

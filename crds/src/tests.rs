//! What the API server will say to objects, checked here without one: bounds by a small
//! reader of schemas, rules by the evaluator that kube brings.

mod bounds;
mod cluster_rules;
mod example;
mod node_rules;
mod pair_rules;
mod schemas;
mod settings;
mod verdict;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{DefsCluster, DefsNode, DefsPair};

/// The schema of a kind.
fn schema_of<K: CustomResourceExt>() -> Value {
    let crd = K::crd();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    serde_json::to_value(schema.open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// `base` with what `patch` says; `null` removes.
fn merged(base: &Value, patch: &Value) -> Value {
    let (Value::Object(base), Value::Object(patch)) = (base, patch) else { return patch.clone() };
    let mut fields = base.clone();
    for (name, value) in patch {
        let before = fields.remove(name).unwrap_or_else(|| Value::Object(Map::new()));
        if !value.is_null() {
            fields.insert(name.clone(), merged(&before, value));
        }
    }
    Value::Object(fields)
}

/// A cluster of five pairs, but for `spec`.
fn cluster_json(spec: &Value) -> Value {
    let base = json!({
        "apiVersion": "defs.bpfs.io/v1alpha1",
        "kind": "DefsCluster",
        "metadata": { "name": "demo" },
        "spec": { "version": "0.1.0", "replicas": 10, "storage": { "size": "10Gi" } },
    });
    merged(&base, &json!({ "spec": spec }))
}

fn cluster(spec: &Value) -> DefsCluster {
    read(cluster_json(spec))
}

/// The first node of that cluster, but for `patch`.
fn node(patch: &Value) -> DefsNode {
    let base = json!({
        "apiVersion": "defs.bpfs.io/v1alpha1",
        "kind": "DefsNode",
        "metadata": { "name": "demo-0" },
        "spec": { "clusterRef": { "name": "demo" }, "index": 0 },
    });
    read(merged(&base, patch))
}

/// A pair of that cluster, but for `patch`.
fn pair(patch: &Value) -> DefsPair {
    let base = json!({
        "apiVersion": "defs.bpfs.io/v1alpha1",
        "kind": "DefsPair",
        "metadata": { "name": "demo-a" },
        "spec": {
            "clusterRef": { "name": "demo" },
            "members": [{ "nodeRef": { "name": "demo-0" } }, { "nodeRef": { "name": "demo-1" } }],
        },
    });
    read(merged(&base, patch))
}

fn read<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

/// A kind's schema with its rules read once: reading them takes longer than asking them.
struct Judge {
    schema: Value,
    rules: CompiledSchema,
    validator: Validator,
}

impl Judge {
    fn of<K: CustomResourceExt>() -> Self {
        let schema = schema_of::<K>();
        Self { rules: compile_schema(&schema), schema, validator: Validator::new() }
    }

    /// What is wrong with the object as it stands, each with its field: by bounds, and by rules
    /// once the bounds hold.
    fn problems(&self, object: &Value) -> Vec<(String, String)> {
        let bounds = verdict::problems(&self.schema, object);
        if bounds.is_empty() { self.broken_rules(object) } else { bounds }
    }

    /// The messages of the rules that the object breaks, each with its field.
    fn broken_rules(&self, object: &Value) -> Vec<(String, String)> {
        let errors = self.validator.validate_compiled(&self.rules, object, None).err();
        let said = errors.into_iter().flatten();
        said.map(|error| (error.field_path, error.message)).collect()
    }
}

/// The messages of the rules that refuse.
fn messages(verdict: Result<(), kube::core::cel::ValidationErrors>) -> Vec<String> {
    verdict.err().into_iter().flatten().map(|error| error.message).collect()
}

/// Every message of every rule in `schema`.
fn messages_in(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "x-kubernetes-validations" {
                    let rules = value.as_array().unwrap();
                    found.extend(rules.iter().map(|rule| rule["message"].as_str().unwrap().into()));
                } else {
                    found.extend(messages_in(value));
                }
            }
        }
        Value::Array(items) => found.extend(items.iter().flat_map(messages_in)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

/// Compares the rules that the tests try with those that the schema has.
#[track_caller]
fn assert_all_tried<K: CustomResourceExt>(tried: impl IntoIterator<Item = &'static str>) {
    let mut known: Vec<_> = messages_in(&schema_of::<K>())
        .into_iter()
        .filter(|said| !said.starts_with("must be "))
        .collect();
    let mut tried: Vec<_> = tried.into_iter().map(str::to_owned).collect();
    known.sort();
    known.dedup();
    tried.sort();
    tried.dedup();
    assert_eq!(known, tried, "the schema's rules, and the rules that are tried");
}

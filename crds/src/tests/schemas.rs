//! What the API server demands of every schema, and what people do.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::{compile_schema, estimate_rule_cost};
use kube::{CustomResourceExt, Resource};
use serde_json::{Value, json};

use super::schema_of;
use crate::condition::MESSAGE_MAX;
use crate::node::status::NodeState;
use crate::pair::status::PairPhase;
use crate::{DefsCluster, DefsNode, DefsPair, crds, manifests, names};

fn schemas() -> [Value; 3] {
    [schema_of::<DefsCluster>(), schema_of::<DefsNode>(), schema_of::<DefsPair>()]
}

/// Calls `see` with every schema below `schema` and its path.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), see);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            walk(&schema[below], &format!("{path}[]"), see);
        }
    }
}

/// The paths for which `is_bad`.
fn all_where(is_bad: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for schema in schemas() {
        walk(&schema, "", &mut |path, schema| {
            if is_bad(path, schema) {
                found.push(path.to_owned());
            }
        });
    }
    found
}

/// Unbounded, the API server takes a rule that reads it to cost more than is allowed.
#[test]
fn every_text_list_map_and_number_is_bounded() {
    let unbounded = all_where(|_, schema| {
        let has = |bound: &str| !schema[bound].is_null();
        match schema["type"].as_str() {
            Some("string") => {
                !has("maxLength") && !has("enum") && schema["format"] != json!("date-time")
            }
            Some("array") => !has("maxItems"),
            Some("object") => has("additionalProperties") && !has("maxProperties"),
            Some("integer") => !has("minimum") || !has("maximum"),
            Some("boolean") => false,
            _ => schema["x-kubernetes-int-or-string"] != true,
        }
    });
    assert_eq!(unbounded, [""; 0]);
}

#[test]
fn schemas_are_structural_and_name_unknown_fields() {
    let loose = all_where(|path, schema| {
        let kept =
            ["anyOf", "oneOf", "allOf", "not", "$ref", "x-kubernetes-preserve-unknown-fields"];
        // The status is there or not, which needs no null, but is not ours to say.
        let is_nullable = schema["nullable"] == true && path != ".status";
        is_nullable || kept.iter().any(|word| !schema[word].is_null())
    });
    assert_eq!(loose, [""; 0]);
}

#[test]
fn integers_have_the_formats_of_kubernetes() {
    let foreign = all_where(|_, schema| {
        schema["type"] == "integer" && ![json!("int32"), json!("int64")].contains(&schema["format"])
    });
    assert_eq!(foreign, [""; 0]);
}

/// What Kubernetes defines is explained there.
#[test]
fn every_field_is_explained_in_whole_sentences() {
    let embedded =
        ["affinity", "tolerations", "topologySpreadConstraints", "resources", "conditions"];
    let silent = all_where(|path, schema| {
        let is_embedded = path.split(['.', '[']).rev().skip(1).any(|part| embedded.contains(&part));
        let is_entry = path.is_empty() || path.ends_with("[]") || is_embedded;
        let said = schema["description"].as_str().unwrap_or_default();
        !is_entry && (said.contains('\n') || !said.ends_with('.'))
    });
    assert_eq!(silent, [""; 0]);
}

#[test]
fn words_are_explained_where_they_are_chosen() {
    let cluster = schema_of::<DefsCluster>();
    let mode = &cluster["properties"]["spec"]["properties"]["security"]["properties"]["tls"]["properties"]
        ["mode"];
    assert_eq!(mode["enum"], json!(["Internal", "CertManager", "Provided"]));
    let said = "Who makes the certificates. `Internal`: The operator, by an authority of its own. \
        `CertManager`: cert-manager, by `issuerRef`. `Provided`: Somebody else, into `secretName`.";
    assert_eq!(mode["description"], json!(said));
    assert_eq!(mode["default"], json!("Internal"));
}

#[test]
fn no_rule_costs_more_than_the_api_server_allows() {
    for schema in schemas() {
        walk(&schema, "", &mut |path, schema| {
            let compiled = compile_schema(schema);
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let rule = rule["rule"].as_str().unwrap();
                let warnings = estimate_rule_cost(rule, &compiled);
                assert!(warnings.is_empty(), "{path}: {rule}: {warnings:?}");
            }
        });
    }
}

#[test]
fn kinds_are_named_as_the_constants_say() {
    assert_eq!(DefsCluster::group(&()), names::GROUP);
    assert_eq!(DefsCluster::version(&()), names::VERSION);
    assert_eq!(DefsCluster::api_version(&()), names::API_VERSION);
    for (crd, plural, short) in [
        (DefsCluster::crd(), "defsclusters", "dfc"),
        (DefsNode::crd(), "defsnodes", "dfn"),
        (DefsPair::crd(), "defspairs", "dfp"),
    ] {
        let known = crd.spec.names;
        assert_eq!((crd.spec.group.as_str(), known.plural.as_str()), (names::GROUP, plural));
        assert_eq!(known.short_names, Some(vec![short.to_owned()]));
        assert_eq!(known.categories, Some(vec!["defs".to_owned()]));
        assert_eq!(crd.spec.scope, "Namespaced");
    }
}

#[test]
fn kubectl_shows_the_columns_that_people_look_for() {
    let columns = |crd: usize, priority: Option<i32>| -> Vec<String> {
        let all = crds()[crd].spec.versions[0].additional_printer_columns.clone().unwrap();
        let chosen = all.into_iter().filter(|column| column.priority == priority);
        chosen.map(|column| column.name).collect()
    };
    assert_eq!(
        columns(0, None),
        ["Ready", "Nodes", "Pairs", "Degraded", "Usable", "Used%", "Version", "Age"]
    );
    assert_eq!(columns(0, Some(1)), ["Durability", "Paused"]);
    assert_eq!(
        columns(1, None),
        ["Cluster", "Pair", "Role", "State", "Zone", "Score", "Used%", "Node", "Age"]
    );
    assert_eq!(
        columns(2, None),
        ["Cluster", "Primary", "Mirror", "Phase", "Epoch", "Sync", "Domains", "Score", "Age"]
    );
}

#[test]
fn clusters_scale_and_children_are_found_by_their_cluster() {
    let [cluster, node, pair] = crds().map(|crd| crd.spec.versions[0].clone());
    let scale = cluster.subresources.and_then(|subresources| subresources.scale).unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
    for child in [node, pair] {
        let fields = child.selectable_fields.unwrap();
        let paths: Vec<_> = fields.iter().map(|field| field.json_path.as_str()).collect();
        assert_eq!(paths, [".spec.clusterRef.name"]);
    }
}

#[test]
fn conditions_are_told_apart_by_their_type() {
    for schema in schemas() {
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
        assert_eq!(conditions["items"]["properties"]["message"]["maxLength"], json!(MESSAGE_MAX));
    }
}

#[test]
fn states_have_the_names_of_the_core() {
    use defs_core::states;
    use defs_core::states::State;
    for state in states::NodeState::MOVES.iter().flat_map(|(from, to)| [from, to]) {
        assert_eq!(json!(NodeState::from(*state)), json!(state.to_string()));
    }
    for state in states::PairState::MOVES.iter().flat_map(|(from, to)| [from, to]) {
        assert_eq!(json!(PairPhase::from(*state)), json!(state.to_string()));
    }
}

#[test]
fn a_written_crd_reads_back_as_it_was() {
    for (manifest, crd) in manifests().unwrap().into_iter().zip(crds()) {
        // By way of JSON, as every reader of CRDs goes.
        let read: Value = serde_saphyr::from_str(&manifest.text).unwrap();
        let read: CustomResourceDefinition = super::read(read);
        assert!(read == crd, "{}", manifest.path);
        assert!(!manifest.text.contains(".0\n"), "{}", manifest.path);
    }
}

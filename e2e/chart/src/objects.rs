//! Rendered objects, and what is asked of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{matrix, render};

/// Kinds that belong to no namespace.
pub(crate) const CLUSTER_WIDE: &[&str] = &[
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

pub(crate) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap()
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

pub(crate) fn namespace(object: &Value) -> Option<&str> {
    object["metadata"]["namespace"].as_str()
}

/// `Kind/name`, for people.
pub(crate) fn title(object: &Value) -> String {
    format!("{}/{}", kind(object), name(object))
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], wanted: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| kind(object) == wanted).collect()
}

/// The object of this kind and name, which must be there.
pub(crate) fn find<'a>(objects: &'a [Value], wanted: &str, called: &str) -> &'a Value {
    let mut found = objects.iter().filter(|it| kind(it) == wanted && name(it) == called);
    found.next().unwrap_or_else(|| panic!("there is no {wanted} {called}"))
}

/// Whose pods are described, and how.
pub(crate) fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let spec = |object: &'_ Value| match kind(object) {
        "Pod" => Some("/spec"),
        "Deployment" | "DaemonSet" | "StatefulSet" | "Job" => Some("/spec/template/spec"),
        _ => None,
    };
    let pods: Vec<_> = objects
        .iter()
        .filter_map(|object| Some((title(object), object.pointer(spec(object)?)?)))
        .collect();
    assert!(!pods.is_empty(), "no pods are described");
    pods
}

/// Everything that runs in a pod.
pub(crate) fn containers(pod: &Value) -> Vec<&Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| pod[*list].as_array().into_iter().flatten())
        .collect()
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether labels are what a `matchLabels` asks for.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(key, value)| labels[key.as_str()] == *value)
}

#[test]
fn no_two_objects_have_the_same_name() {
    for values in matrix() {
        let mut seen = BTreeSet::new();
        for object in &render(&["--values", &values]) {
            let at = (kind(object).to_owned(), namespace(object), name(object).to_owned());
            assert!(seen.insert(at.clone()), "{values}: {at:?} twice");
        }
    }
}

#[test]
fn names_stay_short_enough_for_labels_whatever_the_release_is_called() {
    let long = "a".repeat(40);
    let objects = render(&["--set", &format!("fullnameOverride={long}")]);
    for object in objects.iter().filter(|object| namespace(object).is_some()) {
        assert!(name(object).len() <= 63, "{}", title(object));
    }
    let check = of_kind(&objects, "Pod")[0];
    let is_cluster = |it: &&str| it.starts_with("--name=");
    let arguments = texts(&check["spec"]["containers"][0]["args"]);
    let cluster = arguments.into_iter().find(is_cluster).unwrap();
    assert_eq!(cluster.len(), "--name=".len() + defs_crds::names::CLUSTER_NAME_MAX);
}

#[test]
fn every_object_says_whose_it_is() {
    for object in &render(&[]) {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "defs", "{}", title(object));
        assert_eq!(labels["app.kubernetes.io/instance"], "defs", "{}", title(object));
        // What has this label the operator takes for its own, and removes.
        let managed = &labels[defs_crds::names::label::MANAGED_BY];
        assert_eq!(managed, "Helm", "{}", title(object));
    }
}

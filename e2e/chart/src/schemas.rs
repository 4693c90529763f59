//! Rendered objects against the schemas of Kubernetes' own kinds, strictly: a field that the API
//! server would drop is a mistake.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::helm::{NEWEST, OLDEST, cache, matrix, render_for, root};

/// Kinds of others, whose schemas are not Kubernetes' own.
const FOREIGN: &[&str] = &["monitoring.coreos.com/v1"];

/// What the schemas of a version have against these objects, a line each.
fn problems(kubernetes: &str, objects: &[Value]) -> String {
    let (version, _patch) = kubernetes.rsplit_once('.').unwrap();
    let mut validate = Command::new(cache().join("venv/bin/python"))
        .arg(root().join("e2e/chart/validate.py"))
        .arg(version)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("no schemas are there ({error}): run scripts/chart-tools"));
    let asked = serde_json::to_vec(objects).unwrap();
    validate.stdin.take().unwrap().write_all(&asked).unwrap();
    let ran = validate.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    match ran.status.code() {
        Some(0 | 1) => said,
        code => panic!("e2e/chart/validate.py ended with {code:?}: {said}"),
    }
}

#[test]
fn every_object_is_what_the_oldest_and_the_newest_kubernetes_know() {
    for kubernetes in [OLDEST, NEWEST] {
        // Most objects are the same with other values.
        let mut different = BTreeSet::new();
        let mut objects = Vec::new();
        for values in matrix() {
            for object in render_for(kubernetes, &["--values", &values]) {
                let is_foreign = FOREIGN.iter().any(|version| object["apiVersion"] == *version);
                if !is_foreign && different.insert(object.to_string()) {
                    objects.push(object);
                }
            }
        }
        assert_eq!(problems(kubernetes, &objects), "", "Kubernetes {kubernetes}");
    }
}

#[test]
fn wrong_objects_are_noticed() {
    let deployment = |spec: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": spec})
    };
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    let good = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    assert_eq!(problems(NEWEST, &[deployment(good.clone())]), "");
    let with = |field: &str, value: Value| {
        let mut spec = good.clone();
        spec[field] = value;
        problems(NEWEST, &[deployment(spec)])
    };
    let misspelt = with("replica", json!(1));
    assert!(misspelt.contains("Deployment a") && misspelt.contains("replica"), "{misspelt}");
    assert!(with("replicas", json!("one")).contains("replicas"));
    let unknown = json!({"apiVersion": "apps/v1", "kind": "Deploymint", "metadata": {"name": "a"}});
    assert!(problems(NEWEST, &[unknown]).contains("Deploymint a"));
}

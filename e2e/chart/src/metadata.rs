//! What the chart says about itself, and what it tells people after an installation.

use serde_json::Value;

use crate::helm::{NEWEST, OLDEST, render, text, yaml};
use crate::objects::{name, of_kind};

const EXAMPLE: &str = "examples/cluster.yaml";

fn chart() -> Value {
    yaml("charts/defs/Chart.yaml")
}

/// An annotation whose text is YAML itself.
fn listed(annotation: &str) -> Vec<Value> {
    let text = chart()["annotations"][annotation].as_str().unwrap().to_owned();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_chart_has_the_version_of_the_workspace() {
    for field in ["version", "appVersion"] {
        assert_eq!(chart()[field], env!("CARGO_PKG_VERSION"), "{field}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("ghcr.io/bpfs/defs:{version}");
    assert_eq!(listed("artifacthub.io/images")[0]["image"], image);
}

#[test]
fn the_oldest_version_of_kubernetes_is_the_one_that_is_tested() {
    assert_eq!(chart()["kubeVersion"], format!(">={OLDEST}-0"));
    assert!(OLDEST < NEWEST);
}

#[test]
fn the_list_of_kinds_is_that_of_the_crds() {
    let objects = render(&[]);
    let crds = of_kind(&objects, "CustomResourceDefinition");
    let listed = listed("artifacthub.io/crds");
    assert_eq!(listed.len(), crds.len());
    for (listed, crd) in listed.iter().zip(crds) {
        assert_eq!(listed["name"], name(crd));
        assert_eq!(listed["kind"], crd["spec"]["names"]["kind"]);
        assert_eq!(listed["version"], crd["spec"]["versions"][0]["name"]);
    }
}

#[test]
fn people_are_given_the_example_that_is_tested() {
    let notes = text("charts/defs/templates/NOTES.txt");
    let notes = notes.replace("{{ .Chart.AppVersion }}", env!("CARGO_PKG_VERSION"));
    assert!(notes.contains(&text(EXAMPLE)), "NOTES.txt and {EXAMPLE} differ");
    assert_eq!(listed("artifacthub.io/crdsExamples"), [yaml(EXAMPLE)]);
}

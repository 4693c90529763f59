//! The operator's Deployment: what it runs is what the operator's code knows, and its pods are its own.

use defs_crds::names::{STATUS_PORT, label, value};
use serde_json::{Value, json};

use crate::helm::{matrix, render, text};
use crate::objects::{containers, find, of_kind, pods, selects, texts};

const OPERATOR: &str = "defs-operator";

fn operator(arguments: &[&str]) -> Value {
    let objects = render(arguments);
    let deployments = of_kind(&objects, "Deployment");
    assert_eq!(deployments.len(), 1);
    deployments[0].clone()
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The value of an environment variable; `None` if there is none of this name.
fn variable<'a>(container: &'a Value, wanted: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|it| it["name"] == wanted)?["value"].as_str()
}

#[test]
fn every_setting_of_the_operator_is_one_that_its_command_line_knows() {
    let options = text("operator/src/run.rs");
    let deployment = operator(&["--set", "watchNamespace=storage"]);
    let names = container(&deployment)["env"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
    for name in &names {
        assert!(options.contains(&format!("env = \"{name}\"")), "the operator has no {name}");
    }
    for known in options.split("env = \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(names.contains(&known), "the chart doesn't set {known}");
    }
}

#[test]
fn values_reach_the_operator() {
    let values = ["--values", "charts/defs/ci/full-values.yaml", "--set", "watchNamespace=storage"];
    let deployment = operator(&values);
    let container = container(&deployment);
    for (name, value) in [
        ("DEFS_OPERATOR_NAMESPACE", "storage"),
        ("DEFS_OPERATOR_LEASE_NAMESPACE", "defs-system"),
        ("DEFS_OPERATOR_LISTEN", "[::]:8080"),
        ("DEFS_OPERATOR_REPOSITORY", "ghcr.io/bpfs/defs"),
        ("DEFS_LOG_LEVEL", "debug"),
        ("DEFS_LOG_FORMAT", "json"),
    ] {
        assert_eq!(variable(container, name), Some(value), "{name}");
    }
    assert_eq!(deployment["metadata"]["name"], "store-operator");
    assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], "keeper");
}

#[test]
fn without_a_namespace_to_watch_the_operator_is_told_of_none() {
    let deployment = operator(&[]);
    assert_eq!(variable(container(&deployment), "DEFS_OPERATOR_NAMESPACE"), None);
}

#[test]
fn probes_ask_what_the_operator_answers() {
    let health = text("operator/src/health.rs");
    let deployment = operator(&[]);
    let container = container(&deployment);
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}));
        assert!(health.contains(&format!(".route(\"{path}\"")), "{path}");
    }
    let port = json!([{"name": "http", "containerPort": STATUS_PORT, "protocol": "TCP"}]);
    assert_eq!(container["ports"], port);
}

#[test]
fn the_operators_selector_takes_its_own_pods_and_no_nodes() {
    for values in matrix() {
        let deployment = operator(&["--values", &values]);
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert!(selects(selector, labels), "{values}");
        // Even of a cluster that is called as the release is.
        let node = json!({
            (label::NAME): value::NAME,
            (label::INSTANCE): "defs",
            (label::PART_OF): value::NAME,
            (label::COMPONENT): value::NODE,
        });
        assert!(!selects(selector, &node), "{values}");
    }
}

#[test]
fn nodes_let_the_operator_in_whatever_labels_are_set() {
    // operator/src/build/shared.rs: who may reach the admin port.
    for values in matrix() {
        let deployment = operator(&["--values", &values]);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels[label::NAME], value::NAME, "{values}");
        assert_eq!(labels[label::COMPONENT], "operator", "{values}");
    }
}

#[test]
fn two_replicas_are_spread_and_drained_one_after_the_other() {
    let objects = render(&["--set", "replicas=2"]);
    let deployment = find(&objects, "Deployment", OPERATOR);
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(spread[0]["labelSelector"]["matchLabels"], *selector);
    let budget = find(&objects, "PodDisruptionBudget", OPERATOR);
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    // A pod in two budgets could not be evicted at all: nodes have one of their own.
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *selector);
    assert!(of_kind(&render(&[]), "PodDisruptionBudget").is_empty());
}

#[test]
fn the_programs_are_in_the_image() {
    let image = text("images/src/image.rs");
    for (whose, pod) in pods(&render(&[])) {
        for container in containers(pod) {
            let command = texts(&container["command"]);
            let program = command[0].strip_prefix("/usr/bin/").unwrap();
            assert!(image.contains(&format!("name: \"{program}\"")), "{whose}: {program}");
        }
    }
}

#[test]
fn a_digest_counts_and_a_tag_is_never_latest() {
    let image = |arguments: &[&str]| container(&operator(arguments))["image"].clone();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&[]), format!("ghcr.io/bpfs/defs:{version}"));
    assert_eq!(image(&["--set", "image.tag=e2e"]), "ghcr.io/bpfs/defs:e2e");
    let digest = format!("sha256:{}", "1".repeat(64));
    let set = format!("image.digest={digest}");
    assert_eq!(image(&["--set", &set]), format!("ghcr.io/bpfs/defs@{digest}"));
    let both = image(&["--set", &set, "--set", "image.tag=e2e"]);
    assert_eq!(both, format!("ghcr.io/bpfs/defs:e2e@{digest}"));
    for values in matrix() {
        for (whose, pod) in pods(&render(&["--values", &values])) {
            for container in containers(pod) {
                let image = container["image"].as_str().unwrap();
                let last = image.rsplit('/').next().unwrap();
                assert!(
                    last.contains([':', '@']) && !last.ends_with(":latest"),
                    "{whose}: {image}"
                );
            }
        }
    }
}

#[test]
fn the_test_runs_the_operators_image_on_nodes_of_the_same() {
    let images = |arguments: &[&str]| {
        let objects = render(arguments);
        let pod = find(&objects, "Pod", "defs-test");
        let container = &pod["spec"]["containers"][0];
        let image = container["image"].as_str().unwrap().to_owned();
        let nodes = format!("--image={image}");
        assert!(texts(&container["args"]).contains(&nodes.as_str()), "{container}");
        image
    };
    assert_eq!(images(&["--set", "image.tag=e2e"]), "ghcr.io/bpfs/defs:e2e");
    assert_eq!(
        images(&["--set", "image.tag=e2e", "--set", "test.image.repository=a.example/b"]),
        "a.example/b:e2e"
    );
    let digest = format!("sha256:{}", "1".repeat(64));
    let set = format!("image.digest={digest}");
    assert_eq!(images(&["--set", &set]), format!("ghcr.io/bpfs/defs@{digest}"));
    let own = ["--set", &set, "--set", "test.image.tag=e2e"];
    assert_eq!(images(&own), "ghcr.io/bpfs/defs:e2e", "the digest is another image's");
}

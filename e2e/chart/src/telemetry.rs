//! Metrics, traces and dashboards: off unless asked for, and then complete.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::helm::{render, root};
use crate::objects::{find, of_kind};

fn environment(arguments: &[&str]) -> Vec<(String, Value)> {
    let objects = render(arguments);
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    let pair = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["value"].clone());
    variables.iter().map(pair).collect()
}

#[test]
fn without_a_collector_nothing_is_said_of_telemetry() {
    let variables = environment(&[]);
    assert!(variables.iter().all(|(name, _)| !name.starts_with("OTEL_")), "{variables:?}");
}

#[test]
fn with_a_collector_the_operator_is_told_all_that_the_standard_names() {
    let variables = environment(&["--values", "charts/defs/ci/full-values.yaml"]);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.telemetry:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ] {
        assert!(variables.contains(&(name.to_owned(), json!(value))), "{name}: {variables:?}");
    }
    let at = |wanted: &str| variables.iter().position(|(name, _)| name == wanted);
    let attributes = at("OTEL_RESOURCE_ATTRIBUTES").unwrap();
    let said = variables[attributes].1.as_str().unwrap();
    // A variable is put in for its name only if it was said before.
    for used in said.split("$(").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(at(used).is_some_and(|before| before < attributes), "{used} in {said}");
    }
}

#[test]
fn a_pod_monitor_scrapes_the_port_and_the_pods_that_there_are() {
    let objects = render(&["--set", "metrics.podMonitor.enabled=true"]);
    let monitor = &find(&objects, "PodMonitor", "defs-operator")["spec"];
    let deployment = find(&objects, "Deployment", "defs-operator");
    assert_eq!(monitor["selector"], deployment["spec"]["selector"]);
    let port = &deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(monitor["podMetricsEndpoints"][0]["port"], *port);
    assert!(of_kind(&render(&[]), "PodMonitor").is_empty());
}

/// The files of the dashboards.
fn dashboards() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("charts/defs/files/dashboards")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn each_dashboard_is_in_a_config_map_of_its_own() {
    let objects = render(&["--set", "dashboards.enabled=true"]);
    let maps = of_kind(&objects, "ConfigMap");
    assert_eq!(maps.len(), dashboards().len());
    for (map, file) in maps.into_iter().zip(dashboards()) {
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let name = file.file_name().unwrap().to_str().unwrap();
        let carried: Value = serde_json::from_str(map["data"][name].as_str().unwrap()).unwrap();
        let made: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(carried == made, "{name} is not what the file says");
    }
    assert!(of_kind(&render(&[]), "ConfigMap").is_empty());
}

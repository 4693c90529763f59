//! Who reaches the operator, and whom it reaches.

use defs_crds::names::{STATUS_PORT, label, value};
use serde_json::{Value, json};

use crate::helm::{render, text};
use crate::objects::{find, of_kind};

/// The admin port of nodes.
const ADMIN_PORT: u16 = 8443;

fn policy(arguments: &[&str]) -> Value {
    let objects = render(arguments);
    let policies = of_kind(&objects, "NetworkPolicy");
    assert_eq!(policies.len(), 1);
    policies[0]["spec"].clone()
}

fn tcp(port: u16) -> Value {
    json!({"port": port, "protocol": "TCP"})
}

#[test]
fn the_policy_is_the_operators_and_holds_both_ways() {
    let objects = render(&[]);
    let policy = &find(&objects, "NetworkPolicy", "defs-operator")["spec"];
    let deployment = find(&objects, "Deployment", "defs-operator");
    assert_eq!(policy["podSelector"], deployment["spec"]["selector"]);
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
}

#[test]
fn only_health_and_metrics_are_reached() {
    assert_eq!(policy(&[])["ingress"], json!([{"ports": [tcp(STATUS_PORT)]}]));
    let narrow = policy(&["--values", "charts/defs/ci/full-values.yaml"]);
    let monitoring = json!([{"namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]);
    assert_eq!(narrow["ingress"], json!([{"ports": [tcp(STATUS_PORT)], "from": monitoring}]));
}

#[test]
fn the_operator_reaches_names_the_api_server_and_the_nodes_admin_port() {
    let nodes = json!({"matchLabels": {
        (label::NAME): value::NAME, (label::COMPONENT): value::NODE}});
    let expected = |namespaces: Value| {
        json!([
            {"ports": [{"port": 53, "protocol": "UDP"}, tcp(53)]},
            {"ports": [tcp(443), tcp(6443)]},
            {"ports": [tcp(ADMIN_PORT)],
                "to": [{"namespaceSelector": namespaces, "podSelector": nodes}]},
        ])
    };
    assert_eq!(policy(&[])["egress"], expected(json!({})));
    let only = json!({"matchLabels": {"kubernetes.io/metadata.name": "storage"}});
    assert_eq!(policy(&["--set", "watchNamespace=storage"])["egress"], expected(only));
    let known = format!("const ADMIN_PORT: u16 = {ADMIN_PORT};");
    assert!(text("operator/src/build.rs").contains(&known), "the operator calls another port");
}

#[test]
fn the_collector_is_reached_at_the_port_that_its_address_means() {
    for (endpoint, port) in [
        ("http://collector.telemetry:4317", 4317),
        ("https://collector.example:8443/otlp", 8443),
        ("https://collector.example", 443),
        ("http://collector.example/otlp", 80),
        ("http://[2001:db8::1]:4317", 4317),
    ] {
        let policy = policy(&["--set", &format!("telemetry.otlp.endpoint={endpoint}")]);
        let last = policy["egress"].as_array().unwrap().last().unwrap();
        assert_eq!(*last, json!({"ports": [tcp(port)]}), "{endpoint}");
    }
}

#[test]
fn the_api_server_and_further_ways_are_as_the_values_say() {
    let policy = policy(&["--values", "charts/defs/ci/full-values.yaml"]);
    let server = json!({"ports": [tcp(6443)], "to": [
        {"ipBlock": {"cidr": "192.0.2.0/24"}}, {"ipBlock": {"cidr": "2001:db8::/32"}}]});
    assert_eq!(policy["egress"][1], server);
    let proxy = json!({"ports": [tcp(3128)], "to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}]});
    assert_eq!(*policy["egress"].as_array().unwrap().last().unwrap(), proxy);
}

//! The bounds that schemas set without a rule.

use serde_json::{Value, json};

use super::verdict::problems;
use super::{Judge, cluster_json, merged, node, pair, schema_of};
use crate::{DefsCluster, DefsNode, DefsPair};

/// What is wrong with a cluster of this spec, by schema and field rules.
fn wrong(judge: &Judge, spec: &Value) -> Vec<String> {
    let found = judge.problems(&cluster_json(spec));
    found.into_iter().map(|(path, problem)| format!("{path}: {problem}")).collect()
}

#[test]
fn values_within_their_bounds_are_taken() {
    let judge = Judge::of::<DefsCluster>();
    for spec in [
        json!({ "replicas": 2, "profile": "Dev" }),
        json!({ "replicas": 1000, "minSpares": 100, "profile": "Strict" }),
        json!({ "image": "registry.example/defs@sha256:0123abcd", "version": null }),
        json!({ "version": "1.2.3-rc.1" }),
        json!({ "imagePullPolicy": "Never", "imagePullSecrets": [{ "name": "pull" }] }),
        json!({ "storage": { "size": "64Mi", "storageClassName": "fast.ssd" } }),
        json!({ "storage": { "size": "1024Ti", "retention": { "whenDeleted": "Delete" } } }),
        json!({ "erasure": { "parityRatio": "0.125" } }),
        json!({ "erasure": { "parityRatio": "1" } }),
        json!({ "pairing": { "maxRtt": "20ms", "cooldown": "1m", "approval": "Manual" } }),
        json!({ "network": { "announce": "External", "networkPolicy": false,
            "bootstrapPeers": ["/ip4/10.0.0.1/tcp/4001"] } }),
        json!({ "observability": { "otlp": { "endpoint": "http://otel:4317" },
            "prometheus": { "podMonitor": true } } }),
        json!({ "paused": { "healing": true, "until": "2030-01-01T00:00:00Z" } }),
        json!({ "scheduling": {
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "storage", "operator": "Exists" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{ "matchExpressions": [
                    { "key": "disk", "operator": "In", "values": ["ssd"] }] }] } } },
        } }),
        json!({ "node": { "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } } } }),
    ] {
        assert_eq!(wrong(&judge, &spec), [""; 0], "{spec}");
    }
}

#[test]
fn values_beyond_their_bounds_are_refused_at_their_field() {
    let judge = Judge::of::<DefsCluster>();
    for (spec, told) in [
        (json!({ "replicas": 1 }), "spec.replicas: minimum"),
        (json!({ "replicas": 1001 }), "spec.replicas: maximum"),
        (json!({ "replicas": null }), "spec: required \"replicas\""),
        (json!({ "minSpares": 101 }), "spec.minSpares: maximum"),
        (json!({ "minSpares": -1 }), "spec.minSpares: minimum"),
        (json!({ "profile": "dev" }), "spec.profile: enum"),
        (json!({ "version": "latest" }), "spec.version: pattern"),
        (json!({ "replica": 3 }), "spec.replica: unknown"),
        (json!({ "imagePullPolicy": "Sometimes" }), "spec.imagePullPolicy: enum"),
        (json!({ "storage": { "size": null } }), "spec.storage: required \"size\""),
        (json!({ "storage": { "size": "ten" } }), "spec.storage.size: pattern"),
        (json!({ "storage": { "size": "10Gb" } }), "spec.storage.size: pattern"),
        (json!({ "storage": { "size": "-1Gi" } }), "spec.storage.size: pattern"),
        (json!({ "storage": { "size": 10 } }), "spec.storage.size: type"),
        (json!({ "storage": { "size": "63Mi" } }), "spec.storage.size: must be 64Mi to 1024Ti"),
        (json!({ "storage": { "size": "1025Ti" } }), "spec.storage.size: must be 64Mi to 1024Ti"),
        (
            json!({ "storage": { "storageClassName": "" } }),
            "spec.storage.storageClassName: minLength",
        ),
        (json!({ "erasure": { "mode": "rs-size" } }), "spec.erasure.mode: enum"),
        (json!({ "erasure": { "parityRatio": "1.1" } }), "spec.erasure.parityRatio: pattern"),
        (json!({ "erasure": { "parityRatio": "0.1234" } }), "spec.erasure.parityRatio: maxLength"),
        (
            json!({ "durability": { "tolerate": { "zones": 11 } } }),
            "spec.durability.tolerate.zones: maximum",
        ),
        (json!({ "topology": { "domainKeys": [] } }), "spec.topology.domainKeys: minItems"),
        (json!({ "topology": { "domainKeys": ["a b"] } }), "spec.topology.domainKeys[]: pattern"),
        (
            json!({ "pairing": { "weights": { "load": 101 } } }),
            "spec.pairing.weights.load: maximum",
        ),
        (json!({ "pairing": { "minGainPercent": 101 } }), "spec.pairing.minGainPercent: maximum"),
        (
            json!({ "pairing": { "maxConcurrentMoves": 0 } }),
            "spec.pairing.maxConcurrentMoves: minimum",
        ),
        (json!({ "pairing": { "maxRtt": "0ms" } }), "spec.pairing.maxRtt: must be 1ms to 10s"),
        (json!({ "pairing": { "cooldown": "59s" } }), "spec.pairing.cooldown: must be 1m to 720h"),
        (json!({ "failover": { "heartbeat": "1m30s" } }), "spec.failover.heartbeat: pattern"),
        (
            json!({ "failover": { "freezeAbovePercent": 0 } }),
            "spec.failover.freezeAbovePercent: minimum",
        ),
        (json!({ "node": { "port": 1023 } }), "spec.node.port: minimum"),
        (json!({ "node": { "workers": 0 } }), "spec.node.workers: minimum"),
        (
            json!({ "network": { "bootstrapPeers": ["/a,/b"] } }),
            "spec.network.bootstrapPeers[]: pattern",
        ),
        (
            json!({ "observability": { "otlp": {} } }),
            "spec.observability.otlp: required \"endpoint\"",
        ),
        (
            json!({ "scheduling": { "affinity": { "pods": 1 } } }),
            "spec.scheduling.affinity.pods: unknown",
        ),
    ] {
        let found = wrong(&judge, &spec);
        assert!(found.iter().any(|found| found == told), "{spec}: {found:?}, not {told}");
    }
}

#[test]
fn nodes_and_pairs_have_bounds_too() {
    let (nodes, pairs) = (schema_of::<DefsNode>(), schema_of::<DefsPair>());
    let node_with = |patch: Value| {
        problems(&nodes, &merged(&serde_json::to_value(node(&json!({}))).unwrap(), &patch))
    };
    assert_eq!(node_with(json!({})), []);
    let told = |path: &str, problem: &str| vec![(path.to_owned(), problem.to_owned())];
    assert_eq!(node_with(json!({ "spec": { "index": -1 } })), told("spec.index", "minimum"));
    assert_eq!(node_with(json!({ "status": { "state": "Gone" } })), told("status.state", "enum"));
    let pair_with = |patch: Value| {
        problems(&pairs, &merged(&serde_json::to_value(pair(&json!({}))).unwrap(), &patch))
    };
    assert_eq!(pair_with(json!({})), []);
    let one = json!({ "spec": { "members": [{ "nodeRef": { "name": "a" } }] } });
    assert_eq!(pair_with(one), told("spec.members", "minItems"));
    let three = json!([1, 2, 3].map(|name| json!({ "nodeRef": { "name": format!("n{name}") } })));
    assert_eq!(
        pair_with(json!({ "spec": { "members": three } })),
        told("spec.members", "maxItems")
    );
}

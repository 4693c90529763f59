//! Made-up objects for tests: a cluster of five nodes, two pairs and a spare.

use defs_crds::pair::status::Migration;
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::access::Scope;
use crate::leader::Leader;
use crate::seen::Seen;

/// When it is looked at: noon.
pub(crate) fn now() -> Timestamp {
    "2026-05-05T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> String {
    (now() - SignedDuration::from_secs(seconds)).to_string()
}

/// Writes what `more` says over `object`, field by field.
pub(crate) fn overlay(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (name, value) in more {
                overlay(object.entry(name).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

/// It has been so for three minutes.
pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    serde_json::from_value(condition_json(type_, status, reason, message)).unwrap()
}

pub(crate) fn condition_json(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": ago(200),
    })
}

/// One that has begun.
pub(crate) fn migration(more: &Value) -> Migration {
    serde_json::from_value(migration_json(more)).unwrap()
}

pub(crate) fn migration_json(more: &Value) -> Value {
    let mut migration = json!({
        "id": "1", "cause": "its machine is gone", "from": "demo-3", "to": "demo-4",
        "phase": "Planned", "startedAt": ago(60),
    });
    overlay(&mut migration, more.clone());
    migration
}

fn object(kind: &str, name: &str, spec: &Value, status: &Value) -> Value {
    json!({
        "apiVersion": "defs.bpfs.io/v1alpha1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"),
            "creationTimestamp": ago(10_000), "generation": 1,
        },
        "spec": spec, "status": status,
    })
}

/// A cluster that is as it should be but for what `spec` and `status` say.
pub(crate) fn cluster(name: &str, spec: &Value, status: &Value) -> DefsCluster {
    let mut cluster = object(
        "DefsCluster",
        name,
        &json!({ "version": "0.1.0", "replicas": 5, "storage": { "size": "10Gi" } }),
        &json!({
            "observedGeneration": 1, "phase": "Ready", "replicas": 5, "ready": 5, "spares": 1,
            "pairs": { "total": 2, "healthy": 2 },
            "usableBytes": 15_u64 << 30, "usedBytes": 3_u64 << 29, "usedPercent": 10,
            "durability": { "toleratedPairs": 1 },
            "conditions": [condition_json("Ready", "True", "AsAsked", "Everything is as asked.")],
        }),
    );
    overlay(&mut cluster["spec"], spec.clone());
    overlay(&mut cluster["status"], status.clone());
    serde_json::from_value(cluster).unwrap()
}

/// A node that serves but for what `spec` and `status` say.
pub(crate) fn node(index: u32, spec: &Value, status: &Value) -> DefsNode {
    let name = format!("demo-{index}");
    let mut node = object(
        "DefsNode",
        &name,
        &json!({ "clusterRef": { "name": "demo" }, "index": index }),
        &json!({
            "state": "Serving", "peerId": format!("{index}").repeat(64), "podName": name,
            "podUid": format!("pod-{index}"), "pvcName": format!("data-{name}"),
            "addresses": [format!("/ip4/10.0.0.{index}/tcp/4001")],
            "nodeName": format!("machine-{index}"), "domain": { "zone": "a" }, "usedPercent": 4,
            "conditions": [
                condition_json("Ready", "True", "NodeJoined", "A node has joined the network."),
            ],
        }),
    );
    overlay(&mut node["spec"], spec.clone());
    overlay(&mut node["status"], status.clone());
    serde_json::from_value(node).unwrap()
}

/// A healthy pair of the nodes `2 × number` and `2 × number + 1` but for what `spec` and `status`
/// say.
pub(crate) fn pair(number: u32, spec: &Value, status: &Value) -> DefsPair {
    let members = [number * 2, number * 2 + 1].map(|index| format!("demo-{index}"));
    let mut pair = object(
        "DefsPair",
        &format!("demo-pair-{number}"),
        &json!({
            "clusterRef": { "name": "demo" }, "origin": "Auto",
            "members": [
                { "nodeRef": { "name": members[0] } }, { "nodeRef": { "name": members[1] } },
            ],
        }),
        &json!({
            "phase": "Healthy", "pairId": format!("{number}").repeat(32), "epoch": 3,
            "primary": members[0], "mirror": members[1], "sync": { "state": "InSync" },
            "conditions": [condition_json("Ready", "True", "AsAsked", "Everything is as asked.")],
        }),
    );
    overlay(&mut pair["spec"], spec.clone());
    overlay(&mut pair["status"], status.clone());
    serde_json::from_value(pair).unwrap()
}

/// One that was heard two seconds ago.
pub(crate) fn leader() -> Leader {
    Leader::Leads {
        namespace: "defs-system".to_owned(),
        holder: "defs-operator-1".to_owned(),
        heard: now() - SignedDuration::from_secs(2),
    }
}

/// All is as it should be.
pub(crate) fn healthy() -> Seen {
    let nothing = json!({});
    let mut nodes: Vec<_> = (0..4).map(|index| node(index, &nothing, &nothing)).collect();
    nodes.push(node(4, &nothing, &json!({ "state": "Spare" })));
    for (index, node) in nodes.iter_mut().enumerate().take(4) {
        let status = node.status.as_mut().unwrap();
        status.pair = Some(format!("demo-pair-{}", index / 2));
    }
    Seen {
        now: now(),
        scope: Scope::In("shop".to_owned()),
        leader: leader(),
        clusters: vec![cluster("demo", &nothing, &nothing)],
        nodes,
        pairs: (0..2).map(|number| pair(number, &nothing, &nothing)).collect(),
        unreadable: Vec::new(),
    }
}

/// `demo-3` is gone, and `more` says how far the change to `demo-4` is.
pub(crate) fn replacing(more: &Value) -> Seen {
    let mut seen = without_demo_3();
    let nothing = json!({});
    seen.pairs[1] = pair(
        1,
        &nothing,
        &json!({
            "phase": "Migrating", "sync": { "state": "Behind" }, "migration": migration_json(more),
            "conditions": [condition_json(
                "Ready", "False", "Replacing",
                "Another node takes the place of one that is down.",
            )],
        }),
    );
    seen
}

/// `demo-3` is gone, and nothing is done about it yet.
pub(crate) fn without_demo_3() -> Seen {
    let mut seen = healthy();
    let nothing = json!({});
    let away = "One member of a pair is away; the other serves reads.";
    seen.clusters[0] = cluster(
        "demo",
        &nothing,
        &json!({
            "phase": "Degraded", "ready": 4,
            "pairs": { "total": 2, "healthy": 1, "degraded": 1 },
            "durability": { "toleratedPairs": 1, "atRisk": 1 },
            "conditions": [
                condition_json("Ready", "False", "MemberAway", &format!("{away} Not heard: demo-3.")),
                condition_json("Degraded", "True", "MemberAway", away),
                condition_json("OperatorIsolated", "False", "Reachable", "Nodes answer the operator."),
            ],
        }),
    );
    seen.nodes[3] = node(
        3,
        &nothing,
        &json!({
            "state": "Down", "pair": "demo-pair-1", "role": "Mirror",
            "evidence": [{ "at": ago(190), "who": "demo-2", "what": "no heartbeat for 10 s" }],
            "conditions": [condition_json(
                "Ready", "False", "NodeSuspected",
                "A node didn't answer for a while; its partner serves. no connection",
            )],
        }),
    );
    seen.pairs[1] = pair(
        1,
        &nothing,
        &json!({
            "phase": "Degraded", "sync": { "state": "Behind", "pending": 7 },
            "conditions": [
                condition_json("Ready", "False", "MemberAway", &format!("{away} demo-3: silent")),
                condition_json("RedundancyMet", "False", "MemberAway", away),
            ],
        }),
    );
    seen
}

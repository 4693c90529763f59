//! The rules of a DefsCluster: each refuses with its message, and admits what is next to it.

use serde_json::{Value, json};

use super::{Judge, assert_all_tried, cluster, messages};
use crate::DefsCluster;

/// A rule with a spec that it refuses and one beside it that it admits.
struct Case {
    message: &'static str,
    refused: Value,
    admitted: Value,
}

fn case(message: &'static str, refused: Value, admitted: Value) -> Case {
    Case { message, refused, admitted }
}

const ONE_OF_BOTH: &str = "say either image or version, and not both";
const SPARES: &str = "minSpares must leave at least two of the replicas for a pair";
const PAIRS: &str = "there must be more pairs than durability.tolerate.pairs: a pair is two \
    replicas that are no spares; add replicas, or use profile Dev";
const PARITY: &str = "parityShards must make up for every pair of durability.tolerate.pairs: each \
    pair holds (dataShards + parityShards) / pairs shards of a stripe, rounded up; add replicas or \
    parityShards, or use profile Dev";
const ZONES: &str = "durability.tolerate.zones needs a zone key in topology.domainKeys, such as \
    topology.kubernetes.io/zone";
const HARD_ZONE: &str = "topology.hard Zone needs a zone key in topology.domainKeys, such as \
    topology.kubernetes.io/zone";
const HARD_REGION: &str = "topology.hard Region needs a region key in topology.domainKeys, such \
    as topology.kubernetes.io/region";
const NAME: &str = "the name has at most 40 characters, since names of pods, services and volumes \
    are made from it";
const SHRINKS: &str = "storage.size can't become smaller: volumes don't shrink";
const CLASS: &str = "storage.storageClassName can't be changed after creation";

fn cases_of_numbers() -> Vec<Case> {
    let coded = |data: u32, parity: u32, replicas: u32, tolerate: u32| {
        json!({
            "replicas": replicas,
            "durability": { "tolerate": { "pairs": tolerate } },
            "erasure": { "mode": "RsSize", "dataShards": data, "parityShards": parity },
        })
    };
    let dev = |spec: Value| super::merged(&spec, &json!({ "profile": "Dev" }));
    let tolerant = |replicas: u32, pairs: u32| json!({ "replicas": replicas, "durability": { "tolerate": { "pairs": pairs } } });
    vec![
        case(
            SPARES,
            json!({ "minSpares": 9, "profile": "Dev" }),
            json!({ "minSpares": 8, "profile": "Dev" }),
        ),
        case(PAIRS, tolerant(3, 1), tolerant(4, 1)),
        case(PAIRS, tolerant(6, 3), dev(tolerant(6, 3))),
        case(
            PAIRS,
            json!({ "replicas": 5, "minSpares": 2 }),
            json!({ "replicas": 6, "minSpares": 2 }),
        ),
        // Fourteen shards on three pairs: five on one of them; on four pairs: four.
        case(PARITY, coded(10, 4, 6, 1), coded(10, 4, 8, 1)),
        case(PARITY, coded(10, 4, 6, 1), coded(10, 5, 6, 1)),
        case(PARITY, coded(10, 4, 12, 2), coded(10, 4, 14, 2)),
        case(PARITY, coded(10, 4, 6, 1), dev(coded(10, 4, 6, 1))),
        case(PARITY, coded(10, 0, 6, 1), coded(10, 0, 6, 0)),
    ]
}

fn cases_of_words() -> Vec<Case> {
    let hosts = json!(["kubernetes.io/hostname"]);
    let both = json!(["topology.kubernetes.io/region", "example.org/zone"]);
    vec![
        case(
            ONE_OF_BOTH,
            json!({ "image": "defs:1" }),
            json!({ "image": "defs:1", "version": null }),
        ),
        case(ONE_OF_BOTH, json!({ "version": null }), json!({})),
        case(
            ZONES,
            json!({ "durability": { "tolerate": { "zones": 1 } }, "topology": { "domainKeys": hosts } }),
            json!({ "durability": { "tolerate": { "zones": 1 } }, "topology": { "domainKeys": both } }),
        ),
        case(
            HARD_ZONE,
            json!({ "topology": { "hard": "Zone", "domainKeys": hosts } }),
            json!({ "topology": { "hard": "Zone" } }),
        ),
        case(
            HARD_REGION,
            json!({ "topology": { "hard": "Region" } }),
            json!({ "topology": { "hard": "Region", "domainKeys": both } }),
        ),
        case(
            "security.tls.mode CertManager needs issuerRef",
            json!({ "security": { "tls": { "mode": "CertManager" } } }),
            json!({ "security": { "tls": { "mode": "CertManager", "issuerRef": { "name": "ca" } } } }),
        ),
        case(
            "security.tls.mode Provided needs secretName",
            json!({ "security": { "tls": { "mode": "Provided" } } }),
            json!({ "security": { "tls": { "mode": "Provided", "secretName": "defs-tls" } } }),
        ),
        case(
            "8080 is the port of health and metrics: choose another one",
            json!({ "node": { "port": 8080 } }),
            json!({ "node": { "port": 8081 } }),
        ),
        case("at least one weight must be above 0", weights(0), weights(1)),
    ]
}

/// All weights 0, but for the load's.
fn weights(load: u8) -> Value {
    json!({ "pairing": { "weights": {
        "geography": 0, "capacity": 0, "bandwidth": 0, "latency": 0, "stability": 0, "load": load,
    } } })
}

fn cases_of_order() -> Vec<Case> {
    let sizes = |least: &str, shard: &str, most: &str| json!({ "erasure": { "minSliceSize": least, "shardSize": shard, "maxSliceSize": most } });
    let times = |heartbeat: &str, suspect: &str, fail: &str, replace: &str| {
        json!({ "failover": {
            "heartbeat": heartbeat, "suspectAfter": suspect, "failAfter": fail, "replaceAfter": replace,
        } })
    };
    vec![
        case(
            "minSliceSize must not be above maxSliceSize",
            sizes("9Mi", "8Mi", "8Mi"),
            sizes("8Mi", "8Mi", "8192Ki"),
        ),
        case(
            "shardSize must not be below minSliceSize",
            sizes("8Mi", "7Mi", "9Mi"),
            sizes("1Mi", "7Mi", "9Mi"),
        ),
        case(
            "shardSize must not be above maxSliceSize",
            sizes("1Mi", "10M", "9Mi"),
            sizes("1Mi", "9M", "9Mi"),
        ),
        case(
            "heartbeat must be shorter than suspectAfter",
            times("6s", "6000ms", "10s", "10m"),
            times("5999ms", "6s", "10s", "10m"),
        ),
        case(
            "suspectAfter must be shorter than failAfter",
            times("2s", "1m", "60s", "10m"),
            times("2s", "59s", "1m", "10m"),
        ),
        case(
            "failAfter must be shorter than replaceAfter",
            times("2s", "6s", "1h", "60m"),
            times("2s", "6s", "1h", "61m"),
        ),
    ]
}

fn cases() -> Vec<Case> {
    [cases_of_numbers(), cases_of_words(), cases_of_order()].into_iter().flatten().collect()
}

#[test]
fn each_rule_refuses_with_its_message_and_admits_what_is_beside_it() {
    let judge = Judge::of::<DefsCluster>();
    let said = |spec: &Value| -> Vec<String> {
        let object = serde_json::to_value(cluster(spec)).unwrap();
        judge.problems(&object).into_iter().map(|(_, message)| message).collect()
    };
    for Case { message, refused, admitted } in cases() {
        let told = said(&refused);
        assert!(told.iter().any(|told| told == message), "{refused}: {told:?}, not {message}");
        assert_eq!(said(&admitted), [""; 0], "{admitted}");
    }
}

#[test]
fn a_name_has_at_most_40_characters() {
    let mut named = cluster(&json!({}));
    named.metadata.name = Some("n".repeat(crate::names::CLUSTER_NAME_MAX));
    assert_eq!(messages(named.validate_cel()), [""; 0]);
    named.metadata.name = Some("n".repeat(crate::names::CLUSTER_NAME_MAX + 1));
    assert_eq!(messages(named.validate_cel()), [NAME]);
}

/// What an update from one spec to another is told.
fn update(before: &Value, after: &Value) -> Vec<String> {
    messages(cluster(after).validate_cel_update(&cluster(before)))
}

#[test]
fn storage_grows_and_never_shrinks() {
    let sized = |size: &str| json!({ "storage": { "size": size } });
    assert_eq!(update(&sized("10Gi"), &sized("9.999Gi")), [SHRINKS]);
    assert_eq!(update(&sized("10Gi"), &sized("10240Mi")), [""; 0]);
    assert_eq!(update(&sized("10Gi"), &sized("1Ti")), [""; 0]);
}

#[test]
fn a_storage_class_stays_as_it_was() {
    let classed = |class: Value| json!({ "storage": { "storageClassName": class } });
    let (fast, slow, none) = (classed(json!("fast")), classed(json!("slow")), classed(Value::Null));
    for (before, after) in [(&fast, &slow), (&fast, &none), (&none, &slow)] {
        assert_eq!(update(before, after), [CLASS]);
    }
    for same in [&fast, &none] {
        assert_eq!(update(same, same), [""; 0]);
    }
}

#[test]
fn every_rule_is_tried() {
    let tried = cases().into_iter().map(|case| case.message);
    assert_all_tried::<DefsCluster>(tried.chain([NAME, SHRINKS, CLASS]));
}

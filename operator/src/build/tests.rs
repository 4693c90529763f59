//! That every field of a cluster's spec shows in what is built, or is decided on elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use defs_crds::names::annotation;
use k8s_openapi::api::core::v1::Secret;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::authority::Authority;
use crate::condition::system_time;
use crate::tests::fake::merge;

fn cluster(change: &Value) -> DefsCluster {
    let mut spec = json!({"image": "example/defs:1", "replicas": 4, "storage": {"size": "1Gi"}});
    merge(&mut spec, change);
    serde_json::from_value(json!({
        "apiVersion": API_VERSION,
        "kind": "DefsCluster",
        "metadata": {"name": "demo", "namespace": "storage", "uid": "u"},
        "spec": spec,
    }))
    .unwrap()
}

fn node(cluster: &DefsCluster) -> DefsNode {
    let mut node = defs_node(cluster, 1).unwrap();
    node.metadata.uid = Some("v".to_owned());
    let status = json!({"pair": "demo-pair-0", "announced": "/dns/demo-1-peers.storage.svc"});
    node.status = Some(serde_json::from_value(status).unwrap());
    node
}

/// All that is built for a cluster and one of its nodes.
fn built(cluster: &DefsCluster) -> Value {
    let names = Names::of(cluster).unwrap();
    let node = node(cluster);
    let shared = shared_objects(cluster, "network").unwrap();
    let image = image(cluster, "example/repository");
    let certificates = cluster.spec.security.tls.issuer_ref.as_ref();
    let certificates = certificates.map(|it| super::certificates(cluster, it, &names).unwrap());
    let monitor = cluster.spec.observability.prometheus.pod_monitor;
    json!({
        "configMaps": shared.config_maps,
        "services": shared.services,
        "budget": shared.budget,
        "policy": shared.policy,
        "claim": claim(cluster, &node, &names).unwrap(),
        "pod": pod(cluster, &node, (&image, "r"), &names).unwrap(),
        "service": node_service(cluster, &node, &names).unwrap(),
        "certificates": certificates,
        "monitor": monitor.then(|| pod_monitor(cluster, &names).unwrap()),
        "nodes": (0..cluster.spec.replicas).map(|it| names.node(it)).collect::<Vec<_>>(),
    })
}

/// Another value of each field that shows in what is built.
#[expect(clippy::too_many_lines, reason = "a table")]
fn shown() -> BTreeMap<&'static str, Value> {
    let pod = json!({"podAntiAffinity": {}});
    let spread = json!([{"maxSkew": 2, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]);
    let otlp = |field: &str, value: Value| {
        let mut otlp = json!({"endpoint": "http://collector:4317"});
        otlp[field] = value;
        json!({"observability": {"otlp": otlp}})
    };
    let issuer = |field: &str, value: &str| {
        let mut issuer = json!({"name": "issuer"});
        issuer[field] = value.into();
        json!({"security": {"tls": {"mode": "CertManager", "issuerRef": issuer}}})
    };
    BTreeMap::from([
        ("image", json!({"image": "example/defs:2"})),
        ("version", json!({"image": null, "version": "1.2.3"})),
        ("imagePullPolicy", json!({"imagePullPolicy": "Always"})),
        ("imagePullSecrets", json!({"imagePullSecrets": [{"name": "pull"}]})),
        ("profile", json!({"profile": "Dev"})),
        ("replicas", json!({"replicas": 6})),
        ("storage.size", json!({"storage": {"size": "2Gi"}})),
        ("storage.storageClassName", json!({"storage": {"storageClassName": "fast"}})),
        (
            "storage.retention.whenDeleted",
            json!({"storage": {"retention": {"whenDeleted": "Delete"}}}),
        ),
        ("erasure.mode", json!({"erasure": {"mode": "File"}})),
        ("erasure.dataShards", json!({"erasure": {"mode": "RsSize", "dataShards": 4}})),
        ("erasure.parityShards", json!({"erasure": {"mode": "RsSize", "parityShards": 2}})),
        ("erasure.parityRatio", json!({"erasure": {"parityRatio": "0.5"}})),
        ("erasure.minSliceSize", json!({"erasure": {"minSliceSize": "2Mi"}})),
        ("erasure.maxSliceSize", json!({"erasure": {"maxSliceSize": "48Mi"}})),
        ("erasure.shardSize", json!({"erasure": {"shardSize": "16Mi"}})),
        ("durability.tolerate.pairs", json!({"durability": {"tolerate": {"pairs": 0}}})),
        ("topology.domainKeys", json!({"topology": {"domainKeys": ["rack"]}})),
        ("topology.hard", json!({"topology": {"hard": "None"}})),
        ("scheduling.nodeSelector", json!({"scheduling": {"nodeSelector": {"disk": "ssd"}}})),
        (
            "scheduling.affinity",
            json!({"scheduling": {"affinity": pod}, "topology": {"hard": "None"}}),
        ),
        ("scheduling.tolerations", json!({"scheduling": {"tolerations": [{"key": "k"}]}})),
        (
            "scheduling.topologySpreadConstraints",
            json!({"scheduling": {"topologySpreadConstraints": spread}}),
        ),
        ("scheduling.priorityClassName", json!({"scheduling": {"priorityClassName": "high"}})),
        ("failover.heartbeat", json!({"failover": {"heartbeat": "1s"}})),
        ("failover.suspectAfter", json!({"failover": {"suspectAfter": "5s"}})),
        ("failover.failAfter", json!({"failover": {"failAfter": "20s"}})),
        ("failover.replaceAfter", json!({"failover": {"replaceAfter": "30s"}})),
        ("repair.maxBandwidth", json!({"repair": {"maxBandwidth": "10Mi"}})),
        ("node.port", json!({"node": {"port": 4002}})),
        ("node.maxConnections", json!({"node": {"maxConnections": 64}})),
        ("node.dialTimeout", json!({"node": {"dialTimeout": "1s"}})),
        ("node.workers", json!({"node": {"workers": 2}})),
        ("node.logLevel", json!({"node": {"logLevel": "Debug"}})),
        ("node.logFormat", json!({"node": {"logFormat": "Json"}})),
        ("node.resources", json!({"node": {"resources": {"limits": {"memory": "1Gi"}}}})),
        ("network.announce", json!({"network": {"announce": "External"}})),
        ("network.bootstrapPeers", json!({"network": {"bootstrapPeers": ["/dns/x/tcp/1"]}})),
        ("network.networkPolicy", json!({"network": {"networkPolicy": false}})),
        (
            "security.tls.mode",
            json!({"security": {"tls": {"mode": "Provided", "secretName": "s"}}}),
        ),
        (
            "security.tls.secretName",
            json!({"security": {"tls": {"mode": "Provided", "secretName": "t"}}}),
        ),
        ("security.tls.issuerRef.name", issuer("name", "other")),
        ("security.tls.issuerRef.kind", issuer("kind", "ClusterIssuer")),
        ("security.tls.issuerRef.group", issuer("group", "example.com")),
        ("observability.otlp.endpoint", otlp("endpoint", "http://other:4317".into())),
        ("observability.otlp.protocol", otlp("protocol", "Grpc".into())),
        ("observability.otlp.samplingPercent", otlp("samplingPercent", 50.into())),
        (
            "observability.prometheus.podMonitor",
            json!({"observability": {"prometheus": {"podMonitor": true}}}),
        ),
    ])
}

/// Fields on which something is decided, and the test that shows it.
const DECIDED: &[(&str, &str)] = &[
    ("minSpares", "fewer_pairs_are_formed_where_spares_are_kept"),
    ("durability.tolerate.zones", "zones_that_may_vanish_are_no_more_than_there_are"),
    ("pairing.weights.geography", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.weights.capacity", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.weights.bandwidth", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.weights.latency", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.weights.stability", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.weights.load", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.maxRtt", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.minGainPercent", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.cooldown", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.maxConcurrentMoves", "each_part_of_the_policy_reaches_the_planner"),
    ("pairing.approval", "a_plan_waits_for_the_word_that_names_it"),
    (
        "failover.freezeAbovePercent",
        "when_most_are_silent_nobody_is_replaced_but_who_a_person_gave_up",
    ),
    ("paused.all", "what_is_paused_is_so_until_its_time"),
    ("paused.healing", "what_is_paused_is_so_until_its_time"),
    ("paused.rebalancing", "what_is_paused_is_so_until_its_time"),
    ("paused.until", "what_is_paused_is_so_until_its_time"),
];

/// Fields of pods are Kubernetes' own, and taken as a whole.
const WHOLE: &[&str] = &["node.resources", "scheduling.nodeSelector", "scheduling.affinity"];

/// Paths of all fields of the spec that are not made of others.
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    match schema["properties"].as_object().filter(|_| !WHOLE.contains(&path)) {
        Some(fields) => {
            for (name, below) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(below, &format!("{path}{dot}{name}"), found);
            }
        }
        None => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn no_field_of_the_spec_is_dead() {
    let crd = serde_json::to_value(DefsCluster::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = BTreeSet::new();
    leaves(schema, "", &mut fields);
    let shown = shown();
    let decided = DECIDED.iter().map(|(field, _)| (*field).to_owned());
    let seen: BTreeSet<_> = shown.keys().map(|it| (*it).to_owned()).chain(decided).collect();
    assert_eq!(fields, seen);
    let usual = built(&cluster(&json!({})));
    let dead: Vec<_> =
        shown.iter().filter(|(_, change)| built(&cluster(change)) == usual).collect();
    assert!(dead.is_empty(), "{dead:#?}");
    let sources = concat!(
        include_str!("../plan/tests.rs"),
        include_str!("../cluster/decide/tests.rs"),
        include_str!("../cluster/tell.rs")
    );
    for (field, test) in DECIDED {
        assert!(sources.contains(&format!("fn {test}()")), "{field}: there is no test {test}");
    }
}

#[test]
fn fields_that_go_together_tell_their_values_apart() {
    let provided = |name: &str| {
        built(&cluster(&json!({"security": {"tls": {"mode": "Provided", "secretName": name}}})))
    };
    assert_ne!(provided("one"), provided("two"));
    let issued = |kind: &str| {
        let issuer = json!({"name": "issuer", "kind": kind});
        built(&cluster(&json!({"security": {"tls": {"mode": "CertManager", "issuerRef": issuer}}})))
    };
    assert_ne!(issued("Issuer"), issued("ClusterIssuer"));
    let sampled = |percent: u8| {
        let otlp = json!({"endpoint": "http://collector:4317", "samplingPercent": percent});
        built(&cluster(&json!({"observability": {"otlp": otlp}})))
    };
    assert_ne!(sampled(1), sampled(2));
}

#[test]
fn a_pod_is_what_restricted_pod_security_asks_for() {
    let built = built(&cluster(&json!({})));
    let spec = &built["pod"]["spec"];
    let container = &spec["containers"][0];
    for (is, should) in [
        (&spec["automountServiceAccountToken"], json!(false)),
        (&spec["securityContext"]["runAsNonRoot"], json!(true)),
        (&spec["securityContext"]["seccompProfile"]["type"], json!("RuntimeDefault")),
        (&container["securityContext"]["allowPrivilegeEscalation"], json!(false)),
        (&container["securityContext"]["readOnlyRootFilesystem"], json!(true)),
        (&container["securityContext"]["capabilities"]["drop"], json!(["ALL"])),
    ] {
        assert_eq!(*is, should);
    }
    let hands_over = &container["lifecycle"]["preStop"]["exec"]["command"][1];
    assert_eq!(*hands_over, "hand-over");
}

#[test]
fn a_revision_follows_image_and_settings_and_not_the_pair() {
    let of = |change: &Value, pair: Option<&str>| {
        let cluster = cluster(change);
        let mut node = node(&cluster);
        node.status.as_mut().unwrap().pair = pair.map(str::to_owned);
        revision(&cluster, &node, &Names::of(&cluster).unwrap(), "example/defs").unwrap()
    };
    let usual = of(&json!({}), None);
    assert_eq!(of(&json!({}), Some("demo-pair-1")), usual);
    assert_eq!(of(&json!({"replicas": 8, "minSpares": 2}), None), usual);
    assert_ne!(of(&json!({"image": "example/defs:2"}), None), usual);
    assert_ne!(of(&json!({"node": {"logLevel": "Debug"}}), None), usual);
    assert_ne!(of(&json!({"failover": {"replaceAfter": "1h"}}), None), usual);
}

#[test]
fn a_volume_that_comes_in_place_of_one_given_up_says_so() {
    let cluster = cluster(&json!({}));
    let mut node = node(&cluster);
    let names = Names::of(&cluster).unwrap();
    assert_eq!(claim(&cluster, &node, &names).unwrap().metadata.annotations, None);
    node.spec.replace.acknowledge_lost = Some("abc".to_owned());
    let annotations = claim(&cluster, &node, &names).unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations[annotation::IN_PLACE_OF], "abc");
}

#[test]
fn a_certificate_is_kept_until_it_is_time_or_the_authority_is_another() {
    let cluster = cluster(&json!({}));
    let (node, names) = (node(&cluster), Names::of(&cluster).unwrap());
    let (now, authority) = (system_time(), Authority::new("demo", system_time()).unwrap());
    let secret = |authority: &Authority, kept: Option<&Secret>, now| {
        tls_secret(&node, &names, authority, kept, now).unwrap()
    };
    let first = secret(&authority, None, now);
    assert_eq!(secret(&authority, Some(&first), now).data, first.data);
    let days = |days: u64| now + std::time::Duration::from_hours(days * 24);
    assert_eq!(secret(&authority, Some(&first), days(59)).data, first.data);
    assert_ne!(secret(&authority, Some(&first), days(61)).data, first.data);
    let other = Authority::new("demo", now).unwrap();
    assert_ne!(secret(&other, Some(&first), now).data, first.data);
}

#[test]
fn one_node_at_a_time_may_be_evicted_also_while_there_are_more_than_are_wanted() {
    let least = |cluster: &DefsCluster| built(cluster)["budget"]["spec"]["minAvailable"].clone();
    let mut cluster = cluster(&json!({"replicas": 6}));
    assert_eq!(least(&cluster), 5);
    let status =
        defs_crds::cluster::status::DefsClusterStatus { replicas: 10, ..Default::default() };
    cluster.status = Some(status);
    assert_eq!(least(&cluster), 9);
}

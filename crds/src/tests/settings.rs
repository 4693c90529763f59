//! That custom resources say the same of a setting as the table of settings.

use defs_core::settings::{Settings, table};
use serde_json::{Value, json};

use super::{Judge, cluster, cluster_json};
use crate::DefsCluster;
use crate::cluster::Weights;

/// All settings of a spec.
fn given(spec: &Value) -> Vec<(&'static str, String)> {
    let spec = cluster(spec).spec;
    spec.node_settings().into_iter().chain(spec.client_settings()).collect()
}

/// A setting of a spec.
fn setting(spec: &Value, name: &str) -> Option<String> {
    given(spec).into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A field of the spec and its setting, with what settings call its value.
struct Field {
    setting: &'static str,
    spec: Value,
    value: &'static str,
}

fn field(setting: &'static str, spec: Value, value: &'static str) -> Field {
    Field { setting, spec, value }
}

fn fields() -> Vec<Field> {
    let rs_size =
        |field: &str, shards: u32| json!({ "erasure": { "mode": "RsSize", field: shards } });
    vec![
        field("port", json!({ "node": { "port": 4100 } }), "4100"),
        field("maxConnections", json!({ "node": { "maxConnections": 64 } }), "64"),
        field("dialTimeout", json!({ "node": { "dialTimeout": "250ms" } }), "250ms"),
        field("workers", json!({ "node": { "workers": 2 } }), "2"),
        field("logLevel", json!({ "node": { "logLevel": "Debug" } }), "debug"),
        field("logFormat", json!({ "node": { "logFormat": "Json" } }), "json"),
        field("heartbeat", json!({ "failover": { "heartbeat": "1s" } }), "1s"),
        field("suspectAfter", json!({ "failover": { "suspectAfter": "3s" } }), "3s"),
        field("failAfter", json!({ "failover": { "failAfter": "20s" } }), "20s"),
        field("replaceAfter", json!({ "failover": { "replaceAfter": "1h" } }), "1h"),
        field("repairRate", json!({ "repair": { "maxBandwidth": "1Gi" } }), "1Gi"),
        field("capacity", json!({ "storage": { "size": "100Mi" } }), "85Mi"),
        field(
            "bootstrapPeers",
            json!({ "network": { "bootstrapPeers": ["/ip4/10.0.0.1/tcp/1", "/dns/a/tcp/2"] } }),
            "/ip4/10.0.0.1/tcp/1,/dns/a/tcp/2",
        ),
        field("storageMode", json!({ "erasure": { "mode": "RsProportion" } }), "rs-proportion"),
        field("dataShards", rs_size("dataShards", 4), "4"),
        field("parityShards", rs_size("parityShards", 7), "7"),
        field("parityRatio", json!({ "erasure": { "parityRatio": "0.25" } }), "0.25"),
        field("minSliceSize", json!({ "erasure": { "minSliceSize": "2Mi" } }), "2Mi"),
        field("maxSliceSize", json!({ "erasure": { "maxSliceSize": "48Mi" } }), "48Mi"),
        field("shardSize", json!({ "erasure": { "shardSize": "1.5Mi" } }), "1536Ki"),
        field("durability", json!({ "durability": { "tolerate": { "pairs": 2 } } }), "2"),
        field("durability", json!({ "durability": { "tolerate": { "pairs": 0 } } }), "pair"),
    ]
}

#[test]
fn each_field_changes_its_setting() {
    for Field { setting: name, spec, value } in fields() {
        assert_eq!(setting(&spec, name).as_deref(), Some(value), "{spec}");
        assert_ne!(setting(&json!({}), name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn every_setting_of_a_spec_is_taken_and_all_go_together() {
    for spec in fields().into_iter().map(|field| field.spec).chain([json!({})]) {
        let mut settings = Settings::default();
        for (name, value) in given(&spec) {
            assert_eq!(settings.set(name, &value), Ok(()), "{spec}");
        }
        assert_eq!(settings.check(), Ok(()), "{spec}");
    }
}

#[test]
fn numbers_of_shards_are_told_only_in_the_mode_that_uses_them() {
    for mode in ["Auto", "File", "Slice", "RsProportion"] {
        assert_eq!(setting(&json!({ "erasure": { "mode": mode } }), "dataShards"), None, "{mode}");
    }
}

#[test]
fn defaults_are_those_of_the_settings() {
    // They follow from the volume, from there being a probe, and from suspectAfter.
    let own = ["capacity", "statusPort", "heartbeat"];
    let told = given(&json!({ "erasure": { "mode": "RsSize" } }));
    let ratio = given(&json!({})).into_iter().filter(|(name, _)| *name == "parityRatio");
    for (name, value) in told.into_iter().chain(ratio) {
        let default = table().iter().find(|setting| setting.name == name).unwrap().default;
        if own.contains(&name) || name == "storageMode" {
            continue;
        }
        let with = |value: &str| {
            let mut settings = Settings::default();
            settings.set(name, value).unwrap();
            settings
        };
        assert_eq!(with(&value), with(default), "{name}");
    }
    assert_eq!(setting(&json!({}), "storageMode").as_deref(), Some("auto"));
}

/// Whether the API server takes `value` at `path`, whatever it says of other fields.
fn takes(judge: &Judge, path: &str, value: &Value) -> bool {
    let spec = path.rsplit('.').fold(value.clone(), |below, name| json!({ name: below }));
    let found = judge.problems(&cluster_json(&spec));
    found.iter().all(|(at, _)| at.strip_prefix("spec.") != Some(path))
}

/// Texts as objects and as settings carry them.
fn texts(all: &[&str]) -> Vec<(Value, String)> {
    all.iter().map(|text| (json!(text), (*text).to_owned())).collect()
}

/// Where the schema and the settings disagree on whether a value is allowed.
fn disagreements(
    judge: &Judge,
    path: &str,
    setting: &str,
    values: &[(Value, String)],
) -> Vec<String> {
    let is_other = |(value, text): &&(Value, String)| {
        takes(judge, path, value) != Settings::default().set(setting, text).is_ok()
    };
    values.iter().filter(is_other).map(|(_, text)| format!("{path} {text}")).collect()
}

#[test]
fn bounds_of_texts_are_those_of_the_settings() {
    let judge = Judge::of::<DefsCluster>();
    let times = [
        "99ms", "100ms", "299ms", "300ms", "399ms", "400ms", "499ms", "500ms", "60s", "61s", "5m",
        "301s", "1h", "3601s", "720h", "721h", "0s", "1d", "10", "1Mi", "",
    ];
    for (path, setting) in [
        ("node.dialTimeout", "dialTimeout"),
        ("failover.heartbeat", "heartbeat"),
        ("failover.suspectAfter", "suspectAfter"),
        ("failover.failAfter", "failAfter"),
        ("failover.replaceAfter", "replaceAfter"),
    ] {
        assert_eq!(disagreements(&judge, path, setting, &texts(&times)), [""; 0]);
    }
    // `5m` is missing: five megabytes to settings, five thousandths of a byte to Kubernetes.
    let sizes = [
        "65535", "64Ki", "1023Ki", "1Mi", "1.5Mi", "2M", "64Mi", "65Mi", "1Gi", "16Gi", "16.001Gi",
        "1Ti", "10s", "",
    ];
    for (path, setting) in [
        ("repair.maxBandwidth", "repairRate"),
        ("erasure.minSliceSize", "minSliceSize"),
        ("erasure.maxSliceSize", "maxSliceSize"),
        ("erasure.shardSize", "shardSize"),
    ] {
        assert_eq!(disagreements(&judge, path, setting, &texts(&sizes)), [""; 0]);
    }
    let ratios = ["0", "0.4", "0.125", "0.1234", "1", "1.000", "1.001", "2", "-0.1", ""];
    assert_eq!(
        disagreements(&judge, "erasure.parityRatio", "parityRatio", &texts(&ratios)),
        [""; 0]
    );
}

#[test]
fn bounds_of_numbers_are_those_of_the_settings() {
    let judge = Judge::of::<DefsCluster>();
    let values: Vec<_> = [0_u32, 1, 7, 8, 99, 100, 101, 256, 257, 10_000, 10_001, 65_535, 65_536]
        .map(|number| (json!(number), number.to_string()))
        .into();
    for (path, setting) in [
        ("node.maxConnections", "maxConnections"),
        ("node.workers", "workers"),
        ("erasure.dataShards", "dataShards"),
        ("erasure.parityShards", "parityShards"),
    ] {
        assert_eq!(disagreements(&judge, path, setting, &values), [""; 0]);
    }
    // No pairs are the setting's word `pair`.
    let pairs = &values[1..];
    assert_eq!(disagreements(&judge, "durability.tolerate.pairs", "durability", pairs), [""; 0]);
    // Below 1024, as of no fixed port (0), a pod can't serve.
    let (below, rest): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|(value, _)| value.as_u64() < Some(1024));
    assert!(below.iter().all(|(value, _)| !takes(&judge, "node.port", value)));
    assert_eq!(disagreements(&judge, "node.port", "port", &rest), [""; 0]);
}

#[test]
fn weights_and_policy_begin_as_those_of_the_planner() {
    use defs_pairing::planner::Policy;
    use defs_pairing::score::Given;
    let Given { geography, capacity, bandwidth, latency, stability, load } = Given::default();
    let planner = Weights { geography, capacity, bandwidth, latency, stability, load };
    assert_eq!(Weights::default(), planner);
    let (policy, pairing) = (Policy::default(), crate::cluster::Pairing::default());
    assert_eq!(pairing.max_rtt.map(crate::Interval::duration), policy.max_round_trip);
    assert_eq!(pairing.min_gain_percent, policy.min_gain_percent);
    assert_eq!(pairing.cooldown.duration(), policy.cooldown);
    assert_eq!(usize::try_from(pairing.max_concurrent_moves), Ok(policy.moves_max.get()));
}

//! Who may depend on whom.

use std::collections::BTreeSet;

use crate::repository::{crates, dependencies};

/// Each crate of the workspace with the workspace crates it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("defs-core", &[]),
    ("defs-codec", &["defs-core"]),
    ("defs-identity", &["defs-core"]),
    ("defs-pairing", &["defs-core"]),
    ("defs-wire", &["defs-core"]),
    // What people write for Kubernetes, and no client of it.
    ("defs-crds", &["defs-core"]),
    ("defs-telemetry", &["defs-core"]),
    ("defs-otel", &["defs-core", "defs-telemetry"]),
    ("defs-launch", &["defs-core", "defs-otel", "defs-telemetry"]),
    ("defs-port-suite", &["defs-core"]),
    ("defs-swarm", &["defs-core", "defs-identity", "defs-telemetry", "defs-wire"]),
    ("defs-store", &["defs-core", "defs-telemetry"]),
    (
        "defs-engine",
        &["defs-codec", "defs-core", "defs-identity", "defs-pairing", "defs-telemetry"],
    ),
    (
        "defs-node",
        &[
            "defs-core",
            "defs-engine",
            "defs-identity",
            "defs-launch",
            "defs-pairing",
            "defs-store",
            "defs-swarm",
            "defs-telemetry",
            "defs-wire",
        ],
    ),
    // The machine's clock, randomness and processors live in launch: whoever starts a
    // client passes them in.
    (
        "defs-client",
        &["defs-codec", "defs-core", "defs-identity", "defs-swarm", "defs-telemetry", "defs-wire"],
    ),
    ("defs-cli", &["defs-client", "defs-core", "defs-launch", "defs-telemetry", "defs-wire"]),
    // It measures the parts as well as the whole.
    (
        "defs-bench",
        &[
            "defs-client",
            "defs-codec",
            "defs-core",
            "defs-e2e",
            "defs-engine",
            "defs-identity",
            "defs-launch",
            "defs-node",
            "defs-pairing",
            "defs-port-suite",
            "defs-store",
            "defs-swarm",
            "defs-telemetry",
            "defs-wire",
        ],
    ),
    (
        "defs-operator",
        &[
            "defs-core",
            "defs-crds",
            "defs-identity",
            "defs-launch",
            "defs-pairing",
            "defs-telemetry",
            "defs-wire",
        ],
    ),
    // It reads what the operator wrote, also where no operator is.
    ("defs-kubectl", &["defs-core", "defs-crds", "defs-launch"]),
    // Both sides in one process, over ports in memory.
    (
        "defs-sim",
        &[
            "defs-client",
            "defs-codec",
            "defs-core",
            "defs-engine",
            "defs-identity",
            "defs-pairing",
            "defs-port-suite",
        ],
    ),
    ("defs-e2e", &["defs-core", "defs-identity", "defs-wire"]),
    ("defs-tidy", &["defs-core", "defs-crds", "defs-telemetry"]),
    // It is an owner, a person with kubectl, and whoever pulls the plug.
    ("defs-e2e-kubernetes", &["defs-client", "defs-core", "defs-crds", "defs-e2e", "defs-launch"]),
    // It sees what helm renders.
    ("defs-chart-tests", &[]),
    // It packs what others built.
    ("defs-images", &[]),
];

/// Outside crates that one crate wraps for everybody else.
const WRAPPED_BY: &[(&str, &[&str])] = &[
    ("rocksdb", &["defs-store"]),
    ("rusqlite", &["defs-client"]),
    ("libp2p", &["defs-swarm"]),
    ("libp2p-stream", &["defs-swarm"]),
    ("yamux", &["defs-swarm"]),
    ("reed-solomon-simd", &["defs-codec"]),
    ("aws-lc-rs", &["defs-codec", "defs-identity"]),
    ("vsss-rs", &["defs-codec"]),
    ("prometheus-client", &["defs-telemetry"]),
    ("opentelemetry", &["defs-otel"]),
    ("opentelemetry_sdk", &["defs-otel"]),
    // The end-to-end tests have a receiver of their own.
    ("opentelemetry-proto", &["defs-e2e", "defs-otel"]),
    ("tracing-opentelemetry", &["defs-otel"]),
    ("kube", &["defs-crds", "defs-e2e-kubernetes", "defs-kubectl", "defs-operator"]),
    ("k8s-openapi", &["defs-crds", "defs-e2e-kubernetes", "defs-kubectl", "defs-operator"]),
    ("object", &["defs-images"]),
    ("tar", &["defs-images"]),
];

#[test]
fn crates_use_only_what_they_may() {
    let mut offences = BTreeSet::new();
    for (user, used) in dependencies() {
        if used.starts_with("defs-") && !allows(MAY_USE, &user, &used) {
            offences.insert(format!("{user} must not use {used}"));
        }
        if is_wrapped(&used) && !allows(WRAPPED_BY, &used, &user) {
            offences.insert(format!("{user} must reach {used} through its wrapper"));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn every_crate_has_its_row() {
    let rowless: Vec<_> = crates()
        .into_iter()
        .filter(|name| !MAY_USE.iter().any(|(known, _)| known == name))
        .collect();
    assert!(rowless.is_empty(), "say in MAY_USE what these may use: {rowless:#?}");
}

#[test]
fn the_storage_side_cannot_reach_the_owners() {
    for node in ["defs-store", "defs-engine", "defs-node", "defs-swarm"] {
        let reached = reach(node);
        assert!(!reached.contains("defs-client"), "{node} reaches {reached:?}");
    }
}

/// The workspace's crates that `from` reaches by the table, directly or not.
fn reach(from: &'static str) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(name) = todo.pop() {
        if reached.insert(name) {
            let used = MAY_USE.iter().find(|(user, _)| *user == name);
            todo.extend(used.into_iter().flat_map(|(_, used)| used.iter().copied()));
        }
    }
    reached
}

fn allows(table: &[(&str, &[&str])], key: &str, value: &str) -> bool {
    table.iter().any(|(name, allowed)| *name == key && allowed.contains(&value))
}

fn is_wrapped(used: &str) -> bool {
    WRAPPED_BY.iter().any(|(name, _)| *name == used)
}

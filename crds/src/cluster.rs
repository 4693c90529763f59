//! `DefsCluster`: what people want of a whole network of storage nodes, and how it is.

mod durability;
mod erasure;
mod failover;
mod image;
mod network;
mod observability;
mod pairing;
mod paused;
mod process;
mod repair;
mod scheduling;
mod security;
mod settings;
pub mod status;
mod storage;
mod topology;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::reference::Reference;
use crate::rules::rule;

pub use durability::{Durability, Tolerate};
pub use erasure::{Erasure, ErasureMode};
pub use failover::Failover;
pub use image::{Profile, PullPolicy};
pub use network::{Announce, Network};
pub use observability::{Observability, Otlp, OtlpProtocol, Prometheus};
pub use pairing::{Approval, Pairing, Weights};
pub use paused::Paused;
pub use process::{LogFormat, LogLevel, NodeProcess};
pub use repair::Repair;
pub use scheduling::Scheduling;
pub use security::{IssuerRef, Security, Tls, TlsMode};
pub use settings::{CAPACITY_PERCENT, Given};
pub use status::DefsClusterStatus;
pub use storage::{Retention, Storage, WhenDeleted};
pub use topology::{Hard, REGION_KEY, Topology, ZONE_KEY};

/// What is wanted of a network of storage nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "defs.bpfs.io",
    version = "v1alpha1",
    kind = "DefsCluster",
    plural = "defsclusters",
    shortname = "dfc",
    category = "defs",
    namespaced,
    status = "DefsClusterStatus",
    derive = "PartialEq",
    cel,
    doc = "A network of storage nodes that hold the same in pairs.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Pairs", type_ = "integer", json_path = ".status.pairs.total"),
    printcolumn(name = "Degraded", type_ = "integer", json_path = ".status.pairs.degraded"),
    printcolumn(name = "Usable", type_ = "string", json_path = ".status.usable"),
    printcolumn(name = "Used%", type_ = "integer", json_path = ".status.usedPercent"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.versions[0].version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Durability",
        type_ = "integer",
        description = "Whole pairs that may vanish now without loss",
        priority = 1,
        json_path = ".status.durability.toleratedPairs"
    ),
    printcolumn(
        name = "Paused",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Paused\")].status"
    ),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("the name has at most 40 characters, since names of pods, services and volumes are made from it")
)]
#[serde(rename_all = "camelCase")]
#[schemars(
    transform = crate::schema::plain,
    extend("x-kubernetes-validations" = rules())
)]
pub struct DefsClusterSpec {
    /// The image of the nodes, with a tag or better a digest. Either this or `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$"))]
    pub image: Option<String>,
    /// The version of DeFS that the nodes run, from the operator's own registry. Either this or
    /// `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 5, max = 64),
        regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.-]+)?$")
    )]
    pub version: Option<String>,
    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<Reference>,
    /// How much the operator insists on.
    #[serde(default)]
    pub profile: Profile,
    /// Storage nodes. An odd one out stays a spare.
    #[schemars(range(min = 2, max = 1000))]
    pub replicas: u32,
    /// Nodes of these that are kept out of pairs, to replace one that is lost.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub min_spares: u32,
    /// Where nodes keep what they hold.
    pub storage: Storage,
    /// How owners' files are cut and coded: what the operator tells clients, nodes know nothing
    /// of it.
    #[serde(default)]
    pub erasure: Erasure,
    /// What may be lost without losing data.
    #[serde(default)]
    pub durability: Durability,
    /// In what the two nodes of a pair differ.
    #[serde(default)]
    pub topology: Topology,
    /// Where pods of nodes may run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How pairs are chosen, and when a better pair is worth the trouble.
    #[serde(default)]
    pub pairing: Pairing,
    /// When a node that is silent is suspected, held to be down, and replaced.
    #[serde(default)]
    pub failover: Failover,
    /// What repair may cost.
    #[serde(default)]
    pub repair: Repair,
    /// The node's process.
    #[serde(default)]
    pub node: NodeProcess,
    /// How nodes are reached.
    #[serde(default)]
    pub network: Network,
    /// Certificates.
    #[serde(default)]
    pub security: Security,
    /// Where telemetry goes.
    #[serde(default)]
    pub observability: Observability,
    /// What the operator leaves alone for now.
    #[serde(default)]
    pub paused: Paused,
}

/// The rules in which several parts of the spec meet. Pairs: what is left of the nodes
/// without the spares, two by two.
fn rules() -> Value {
    json!([
        rule("has(self.image) != has(self.version)", "say either image or version, and not both",),
        rule(
            "self.minSpares < self.replicas - 1",
            "minSpares must leave at least two of the replicas for a pair",
        ),
        rule(
            "self.profile == 'Dev' || \
             (self.replicas - self.minSpares) / 2 > self.durability.tolerate.pairs",
            "there must be more pairs than durability.tolerate.pairs: a pair is two replicas that \
             are no spares; add replicas, or use profile Dev",
        ),
        rule(
            "self.profile == 'Dev' || self.erasure.mode != 'RsSize' || \
             (self.replicas - self.minSpares) / 2 < 1 || \
             self.erasure.parityShards >= self.durability.tolerate.pairs * \
             ((self.erasure.dataShards + self.erasure.parityShards + \
             (self.replicas - self.minSpares) / 2 - 1) / ((self.replicas - self.minSpares) / 2))",
            "parityShards must make up for every pair of durability.tolerate.pairs: each pair holds \
             (dataShards + parityShards) / pairs shards of a stripe, rounded up; add replicas or \
             parityShards, or use profile Dev",
        ),
        rule(
            "self.durability.tolerate.zones == 0 || \
             self.topology.domainKeys.exists(key, key.endsWith('/zone'))",
            "durability.tolerate.zones needs a zone key in topology.domainKeys, such as \
             topology.kubernetes.io/zone",
        ),
    ])
}

impl DefsClusterSpec {
    /// Pairs that the replicas make when the spares are kept out.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        self.replicas.saturating_sub(self.min_spares) / 2
    }
}

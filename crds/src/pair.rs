//! `DefsPair`: two storage nodes that hold the same.

pub mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::status::Role;
use crate::reference::Reference;
use crate::rules::{immutable, rule};

pub use status::DefsPairStatus;

/// What is wanted of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "defs.bpfs.io",
    version = "v1alpha1",
    kind = "DefsPair",
    plural = "defspairs",
    shortname = "dfp",
    category = "defs",
    namespaced,
    status = "DefsPairStatus",
    derive = "PartialEq",
    cel,
    selectable = ".spec.clusterRef.name",
    doc = "Two storage nodes of a DefsCluster that hold the same.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary"),
    printcolumn(name = "Mirror", type_ = "string", json_path = ".status.mirror"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(name = "Sync", type_ = "string", json_path = ".status.sync.state"),
    printcolumn(
        name = "Domains",
        type_ = "string",
        description = "Whether the two stand apart as asked",
        json_path = ".status.conditions[?(@.type==\"DomainsDistinct\")].status"
    ),
    printcolumn(name = "Score", type_ = "integer", json_path = ".status.score.total"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.epoch) || \
         (has(self.status) && has(self.status.epoch) && \
         self.status.epoch >= oldSelf.status.epoch)"
    )
    .message("status.epoch never decreases"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.primary) || !has(oldSelf.status.epoch) || \
         !has(self.status) || !has(self.status.primary) || !has(self.status.epoch) || \
         self.status.primary == oldSelf.status.primary || \
         self.status.epoch >= oldSelf.status.epoch + 1"
    )
    .message("another status.primary comes with a higher status.epoch")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::plain)]
pub struct DefsPairSpec {
    /// The DefsCluster that it belongs to. Can't be changed.
    #[schemars(extend("x-kubernetes-validations" = immutable("clusterRef")))]
    pub cluster_ref: Reference,
    /// The two nodes.
    #[schemars(
        length(min = 2, max = 2),
        extend("x-kubernetes-validations" = member_rules())
    )]
    pub members: Vec<Member>,
    /// Who chose the members.
    #[serde(default)]
    pub origin: Origin,
    /// Whether the operator leaves this pair alone: it is watched, and nothing is moved.
    #[serde(default)]
    pub paused: bool,
}

/// A node of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The DefsNode.
    pub node_ref: Reference,
    /// The place that it shall have where there is a choice; without it, either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_role: Option<Role>,
}

fn member_rules() -> Value {
    json!([
        rule(
            "size(self) != 2 || self[0].nodeRef.name != self[1].nodeRef.name",
            "the two members of a pair must be two nodes",
        ),
        rule(
            "size(self) != 2 || !has(self[0].preferredRole) || !has(self[1].preferredRole) || \
             self[0].preferredRole != self[1].preferredRole",
            "the two members of a pair can't both prefer the same role",
        ),
    ])
}

/// Who chose the members of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Origin {
    /// The planner, which may choose others.
    Auto,
    /// A person: the planner leaves the pair as it is.
    #[default]
    Pinned,
}

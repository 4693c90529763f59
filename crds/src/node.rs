//! `DefsNode`: one storage node, with the pod and the volume that the operator runs for it.

pub mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::Reference;
use crate::rules::immutable;

pub use status::DefsNodeStatus;

/// What is wanted of a storage node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "defs.bpfs.io",
    version = "v1alpha1",
    kind = "DefsNode",
    plural = "defsnodes",
    shortname = "dfn",
    category = "defs",
    namespaced,
    status = "DefsNodeStatus",
    derive = "PartialEq",
    cel,
    selectable = ".spec.clusterRef.name",
    doc = "One storage node of a DefsCluster: made and removed by the operator.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Pair", type_ = "string", json_path = ".status.pair"),
    printcolumn(name = "Role", type_ = "string", json_path = ".status.role"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.domain.zone"),
    printcolumn(name = "Score", type_ = "integer", json_path = ".status.score.total"),
    printcolumn(name = "Used%", type_ = "integer", json_path = ".status.usedPercent"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.nodeName"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(
        "!has(self.spec.replace.acknowledgeLost) || \
         (has(self.status) && has(self.status.peerId))"
    )
    .message("replace.acknowledgeLost can only be said of a node that has a status.peerId"),
    validation = Rule::new(
        "!has(self.spec.replace.acknowledgeLost) || \
         (has(oldSelf.spec.replace.acknowledgeLost) && \
         self.spec.replace.acknowledgeLost == oldSelf.spec.replace.acknowledgeLost) || \
         (has(self.status) && has(self.status.peerId) && \
         self.spec.replace.acknowledgeLost == self.status.peerId)"
    )
    .message("replace.acknowledgeLost must be the node's status.peerId, letter by letter")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::plain)]
pub struct DefsNodeSpec {
    /// The DefsCluster that it belongs to. Can't be changed.
    #[schemars(extend("x-kubernetes-validations" = immutable("clusterRef")))]
    pub cluster_ref: Reference,
    /// Its number in the cluster, from which its pod and its volume have their names. Can't be
    /// changed.
    #[schemars(
        range(min = 0, max = 99_999),
        extend("x-kubernetes-validations" = immutable("index"))
    )]
    pub index: u32,
    /// Whether another node shall take its place.
    #[serde(default)]
    pub replace: Replace,
}

/// Whether another node shall take a node's place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Replace {
    /// Whether another node shall take its place. It hands over first, as long as it answers,
    /// and takes no other place while that is asked.
    pub requested: bool,
    /// The node's `status.peerId`, as a person's word that what only it holds is given up: nobody
    /// waits for it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub acknowledge_lost: Option<String>,
}

impl DefsNode {
    /// Whether a person has given up what this very node holds. Compared here once more: a
    /// word about the node that had this place before counts for nothing.
    #[must_use]
    pub fn is_acknowledged_lost(&self) -> bool {
        let peer = self.status.as_ref().and_then(|status| status.peer_id.as_ref());
        peer.is_some() && self.spec.replace.acknowledge_lost.as_ref() == peer
    }
}

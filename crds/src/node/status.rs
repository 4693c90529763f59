//! How a storage node is, as the operator has seen it.

use std::collections::BTreeMap;

use defs_core::{network, states};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::LARGE;

/// The most pieces of evidence that are kept, the newest first.
pub const EVIDENCE_MAX: usize = 8;

/// The most addresses that are listed.
pub const ADDRESSES_MAX: usize = network::ADDRESSES_MAX;

/// How a storage node is. Written when it changes, never by a heartbeat.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::plain)]
pub struct DefsNodeStatus {
    /// The generation of the spec that this follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = LARGE))]
    pub observed_generation: Option<i64>,
    /// Where the node is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// Its id in the network. Once known it is never removed, only replaced by that of the node
    /// which has its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub peer_id: Option<String>,
    /// The name of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod_name: Option<String>,
    /// The UID of its pod: another pod of the same name has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// The name of its volume claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pvc_name: Option<String>,
    /// Where peers dial it, as multiaddresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ADDRESSES_MAX), inner(length(max = 256)))]
    pub addresses: Vec<String>,
    /// The address that its service gives it, as the first part of a multiaddress: what it
    /// announces where `network.announce` is Service or External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub announced: Option<String>,
    /// The machine that its pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node_name: Option<String>,
    /// Where that machine stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// The DefsPair that it is a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pair: Option<String>,
    /// Its place in that pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How good it is as a partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<NodeScore>,
    /// Bytes that it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LARGE))]
    pub capacity_bytes: Option<u64>,
    /// Bytes of these that are in use; in steps of at most a sixteenth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = LARGE))]
    pub used_bytes: Option<u64>,
    /// Percent of these bytes that are in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub used_percent: Option<u8>,
    /// What the last decisions about it rest on, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = EVIDENCE_MAX))]
    pub evidence: Vec<Evidence>,
    /// What is true of the node, by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = crate::schema::conditions)]
    pub conditions: Vec<Condition>,
}

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub zone: Option<String>,
    /// Its region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub region: Option<String>,
}

/// How good a node is as a partner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeScore {
    /// Of a thousand points.
    #[schemars(range(max = 1000))]
    pub total: u16,
    /// The points of each dimension, of a thousand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub parts: BTreeMap<String, u16>,
}

/// What somebody saw of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// When.
    pub at: Time,
    /// Who: a DefsNode, the kubelet, or the operator.
    #[schemars(length(max = 253))]
    pub who: String,
    /// What, for people.
    #[schemars(length(max = 512))]
    pub what: String,
}

/// Where a node is in its life, as in `defs_core::states`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// Connected, not yet admitted or known.
    Joining,
    /// Admitted, in no pair.
    Spare,
    /// In a pair.
    Serving,
    /// Didn't answer for a while.
    Suspect,
    /// Two witnesses agree that it is gone.
    Down,
    /// Another node has taken its place.
    Replaced,
    /// Leaving on purpose.
    Draining,
    /// Holds nothing any more.
    Drained,
}

impl From<states::NodeState> for NodeState {
    fn from(state: states::NodeState) -> Self {
        match state {
            states::NodeState::Joining => Self::Joining,
            states::NodeState::Spare => Self::Spare,
            states::NodeState::Serving => Self::Serving,
            states::NodeState::Suspect => Self::Suspect,
            states::NodeState::Down => Self::Down,
            states::NodeState::Replaced => Self::Replaced,
            states::NodeState::Draining => Self::Draining,
            states::NodeState::Drained => Self::Drained,
        }
    }
}

/// A member's place in its pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// Takes writes and forwards them.
    Primary,
    /// Serves reads and watches.
    Mirror,
}

impl From<network::Role> for Role {
    fn from(role: network::Role) -> Self {
        match role {
            network::Role::Primary => Self::Primary,
            network::Role::Mirror => Self::Mirror,
        }
    }
}

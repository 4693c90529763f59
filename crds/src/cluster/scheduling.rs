//! Where pods of nodes may run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where pods of nodes may run. The fields are those of a pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Labels that a machine must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = crate::schema::embedded)]
    pub node_selector: BTreeMap<String, String>,
    /// Affinity, as of a pod. That the nodes of a pair stand apart needs none: `topology` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::schema::embedded)]
    pub affinity: Option<Affinity>,
    /// Taints of machines that pods of nodes tolerate, as of a pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = crate::schema::embedded)]
    pub tolerations: Vec<Toleration>,
    /// How pods of nodes are spread, as of a pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(transform = crate::schema::embedded)]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The priority class of pods of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,
}

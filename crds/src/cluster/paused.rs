//! What the operator leaves alone for now.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator leaves alone for now. Nodes serve on, and a mirror takes over for a
/// primary that fails, whatever is said here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Paused {
    /// Everything: only the status is kept up to date.
    pub all: bool,
    /// Replacing nodes that are down.
    pub healing: bool,
    /// Moving pairs that would fit better.
    pub rebalancing: bool,
    /// When the pause ends by itself; without it, it lasts until it is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

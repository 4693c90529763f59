//! How nodes are reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How nodes are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// The address that a node tells its peers and clients.
    pub announce: Announce,
    /// Peers outside of this cluster to ask first, as multiaddresses; `/p2p/` and the peer's id
    /// may follow. The cluster's own nodes know each other without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 2, max = 256), regex(pattern = r"^/[^,\s]+$")))]
    pub bootstrap_peers: Vec<String>,
    /// Whether only peers and the operator may reach nodes, as far as the cluster's network
    /// enforces such policies.
    pub network_policy: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { announce: Announce::default(), bootstrap_peers: Vec::new(), network_policy: true }
    }
}

/// The address that a node tells its peers and clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Announce {
    /// Its pod's: for clients inside of the cluster.
    #[default]
    Pod,
    /// That of a service of its own: stays when the pod is made anew.
    Service,
    /// That of a load balancer of its own: for clients outside of the cluster.
    External,
}

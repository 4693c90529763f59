//! In what the two nodes of a pair differ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules::rule;

/// The label of machines that says their zone.
pub const ZONE_KEY: &str = "topology.kubernetes.io/zone";

/// The label of machines that says their region.
pub const REGION_KEY: &str = "topology.kubernetes.io/region";

/// The label of machines that says their host.
const HOST_KEY: &str = "kubernetes.io/hostname";

/// In what the two nodes of a pair differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Topology {
    /// Labels of machines in which the two nodes of a pair should differ, the most important
    /// first. A key that ends with `/zone` says the zone, one with `/region` the region, one with
    /// `/hostname` the host.
    #[schemars(
        length(min = 1, max = 8),
        inner(
            length(min = 1, max = 317),
            regex(
                pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
            )
        )
    )]
    pub domain_keys: Vec<String>,
    /// In what the two nodes of a pair must differ: rather no pair than one that doesn't.
    pub hard: Hard,
}

impl Default for Topology {
    fn default() -> Self {
        Self { domain_keys: vec![ZONE_KEY.to_owned(), HOST_KEY.to_owned()], hard: Hard::default() }
    }
}

/// In what the two nodes of a pair must differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Hard {
    /// In nothing.
    None,
    /// In the machine.
    #[default]
    Node,
    /// In the zone.
    Zone,
    /// In the region.
    Region,
}

fn rules() -> Value {
    json!([
        rule(
            "self.hard != 'Zone' || self.domainKeys.exists(key, key.endsWith('/zone'))",
            "topology.hard Zone needs a zone key in topology.domainKeys, such as \
             topology.kubernetes.io/zone",
        ),
        rule(
            "self.hard != 'Region' || self.domainKeys.exists(key, key.endsWith('/region'))",
            "topology.hard Region needs a region key in topology.domainKeys, such as \
             topology.kubernetes.io/region",
        ),
    ])
}

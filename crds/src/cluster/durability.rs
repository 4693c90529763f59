//! What may be lost without losing data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be lost without losing data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Durability {
    /// What may vanish at once.
    pub tolerate: Tolerate,
}

/// What may vanish at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tolerate {
    /// Whole pairs that may vanish; 0 means one node of each pair, but no pair.
    #[schemars(range(min = 0, max = 100))]
    pub pairs: u32,
    /// Whole zones that may vanish; 0 promises nothing for zones.
    #[schemars(range(min = 0, max = 10))]
    pub zones: u32,
}

impl Default for Tolerate {
    fn default() -> Self {
        Self { pairs: 1, zones: 0 }
    }
}

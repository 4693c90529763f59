//! What repair may cost.

use defs_core::size::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::size_within;
use crate::size::ByteSize;

/// What repair may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Repair {
    /// Bytes that a node copies and rebuilds a second, at most.
    #[schemars(extend("x-kubernetes-validations" = size_within("1Mi", "16Gi")))]
    pub max_bandwidth: ByteSize,
}

impl Default for Repair {
    fn default() -> Self {
        Self { max_bandwidth: ByteSize(Size::mib(100)) }
    }
}

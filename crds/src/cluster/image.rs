//! What is run, and how much is insisted on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the machine doesn't have it.
    #[default]
    IfNotPresent,
    /// The machine must have it.
    Never,
}

impl PullPolicy {
    /// As a pod says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// How much the operator insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// For trying out: the promises of `durability` need not fit the number of nodes, and
    /// drains are never held up.
    Dev,
    /// The promises must fit the number of nodes.
    #[default]
    Standard,
    /// Like Standard, and the cluster is Ready only while durability and topology are as asked.
    Strict,
}

//! Where nodes keep what they hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules::{rule, size_within};
use crate::size::ByteSize;

/// Where nodes keep what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Storage {
    /// The volume of each node, in bytes: `10Gi`. It may grow and never shrinks.
    #[schemars(extend("x-kubernetes-validations" = size_within("64Mi", "1024Ti")))]
    pub size: ByteSize,
    /// The storage class of the volumes; without one, the default class. Can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub storage_class_name: Option<String>,
    /// What becomes of volumes.
    #[serde(default)]
    pub retention: Retention,
}

/// What becomes of volumes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retention {
    /// What becomes of the volumes when the DefsCluster is deleted.
    pub when_deleted: WhenDeleted,
}

/// What becomes of the volumes when the DefsCluster is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum WhenDeleted {
    /// They stay, with everything on them.
    #[default]
    Retain,
    /// They are deleted, and what they hold is lost.
    Delete,
}

fn rules() -> Value {
    json!([
        rule(
            "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
            "storage.size can't become smaller: volumes don't shrink",
        ),
        rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && \
             (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "storage.storageClassName can't be changed after creation",
        ),
    ])
}

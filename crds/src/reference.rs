//! The name of another object of the same namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names another object of the same namespace.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Reference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

impl Reference {
    /// To the object of this `name`.
    pub fn to(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

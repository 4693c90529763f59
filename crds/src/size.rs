//! A number of bytes as objects carry it: `10Gi`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use defs_core::size::{NotASize, Size};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A number of bytes: what both Kubernetes and our settings read, so no `Pi`, no exponent
/// and no sign. The schema compares it by CEL's `quantity()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub Size);

impl ByteSize {
    /// How it is written. 18 digits of bytes are more than any disk has.
    pub(crate) const PATTERN: &str = r"^[0-9]{1,18}(\.[0-9]{1,3})?(k|Ki|M|Mi|G|Gi|T|Ti)?$";
    /// The longest text of the pattern.
    const LENGTH_MAX: usize = 24;

    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0.0
    }
}

impl FromStr for ByteSize {
    type Err = NotASize;
    fn from_str(text: &str) -> Result<Self, NotASize> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = NotASize;
    fn try_from(text: String) -> Result<Self, NotASize> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": Self::PATTERN,
            "maxLength": Self::LENGTH_MAX,
        })
    }
}

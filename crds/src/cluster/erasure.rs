//! How owners' files are cut and coded.

use defs_core::mode::Mode;
use defs_core::size::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ratio::Ratio;
use crate::rules::{rule, size_within};
use crate::size::ByteSize;

/// How owners' files are cut and coded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct Erasure {
    /// How a file is cut and coded.
    pub mode: ErasureMode,
    /// Shards of a stripe that carry data, in mode RsSize.
    #[schemars(range(min = 1, max = 100))]
    pub data_shards: u32,
    /// Shards of a stripe that may be lost, in mode RsSize.
    #[schemars(range(min = 0, max = 100))]
    pub parity_shards: u32,
    /// Parity shards for each data shard, in modes Auto and RsProportion: a text of 0 to 1 in
    /// steps of 0.001.
    pub parity_ratio: Ratio,
    /// The smallest slice that a file is cut into, in bytes; its last slice may be smaller.
    #[schemars(extend("x-kubernetes-validations" = size_within("1Mi", "64Mi")))]
    pub min_slice_size: ByteSize,
    /// The largest slice that a file is cut into, in bytes.
    #[schemars(extend("x-kubernetes-validations" = size_within("1Mi", "64Mi")))]
    pub max_slice_size: ByteSize,
    /// The largest shard that modes Auto and RsProportion make, in bytes.
    #[schemars(extend("x-kubernetes-validations" = size_within("64Ki", "64Mi")))]
    pub shard_size: ByteSize,
}

impl Default for Erasure {
    fn default() -> Self {
        Self {
            mode: ErasureMode::Auto,
            data_shards: 10,
            parity_shards: 4,
            parity_ratio: Ratio::permille(400),
            min_slice_size: ByteSize(Size::mib(1)),
            max_slice_size: ByteSize(Size::mib(64)),
            shard_size: ByteSize(Size::mib(32)),
        }
    }
}

fn rules() -> Value {
    json!([
        rule(
            "quantity(self.minSliceSize).compareTo(quantity(self.maxSliceSize)) <= 0",
            "minSliceSize must not be above maxSliceSize",
        ),
        rule(
            "quantity(self.minSliceSize).compareTo(quantity(self.shardSize)) <= 0",
            "shardSize must not be below minSliceSize",
        ),
        rule(
            "quantity(self.shardSize).compareTo(quantity(self.maxSliceSize)) <= 0",
            "shardSize must not be above maxSliceSize",
        ),
    ])
}

/// How a file is cut and coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ErasureMode {
    /// Chosen by the file's size and the open pairs.
    #[default]
    Auto,
    /// Whole and replicated.
    File,
    /// In slices, each replicated.
    Slice,
    /// In slices, coded with `dataShards` and `parityShards`.
    RsSize,
    /// In slices, coded with as many shards as follow from `parityRatio` and `shardSize`.
    RsProportion,
}

impl From<ErasureMode> for Mode {
    fn from(mode: ErasureMode) -> Self {
        match mode {
            ErasureMode::Auto => Self::Auto,
            ErasureMode::File => Self::File,
            ErasureMode::Slice => Self::Slice,
            ErasureMode::RsSize => Self::RsSize,
            ErasureMode::RsProportion => Self::RsProportion,
        }
    }
}

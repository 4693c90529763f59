//! How a slice becomes shards: how many carry data, how many parity, how long each is.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::ShardIndex;

/// A slice becomes `data + parity` shards; any `data` of them restore it.
/// `data` is 1–100, `parity` 0–100; `data == 1` means replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Geometry {
    data: u8,
    parity: u8,
}

/// Why two numbers are not a geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GeometryError {
    /// `data` is outside 1–100.
    #[error("dataShards is {0}, allowed is 1 to 100")]
    Data(u32),
    /// `parity` is outside 0–100.
    #[error("parityShards is {0}, allowed is 0 to 100")]
    Parity(u32),
}

/// The largest number of data shards, and of parity shards.
pub const SHARDS_MAX: u8 = 100;

impl Geometry {
    /// `data` data shards and `parity` parity shards.
    pub fn new(data: u32, parity: u32) -> Result<Self, GeometryError> {
        let bounded = |value: u32| u8::try_from(value).ok().filter(|value| *value <= SHARDS_MAX);
        Ok(Self {
            data: bounded(data).filter(|data| *data > 0).ok_or(GeometryError::Data(data))?,
            parity: bounded(parity).ok_or(GeometryError::Parity(parity))?,
        })
    }

    /// Shards that carry data: k.
    #[must_use]
    pub fn data(self) -> usize {
        usize::from(self.data)
    }

    /// Shards that carry parity: m, the number that may be lost.
    #[must_use]
    pub fn parity(self) -> usize {
        usize::from(self.parity)
    }

    /// All shards of a stripe: n.
    #[must_use]
    pub fn total(self) -> usize {
        self.data() + self.parity()
    }

    /// Every index of a stripe, data first.
    pub fn indices(self) -> impl Iterator<Item = ShardIndex> {
        (0..self.data + self.parity).map(ShardIndex)
    }

    /// Whether `index` names a shard of this geometry.
    #[must_use]
    pub fn has(self, index: ShardIndex) -> bool {
        usize::from(index.0) < self.total()
    }

    /// The length of each of the k equal, even shards that `coded` bytes are padded to.
    /// Reed–Solomon works on pairs of bytes; at least one pair, so that an empty slice
    /// has shards too.
    #[must_use]
    pub fn shard_length(self, coded: u64) -> u64 {
        coded.div_ceil(u64::from(self.data)).next_multiple_of(2).max(2)
    }
}

impl TryFrom<(u8, u8)> for Geometry {
    type Error = GeometryError;
    fn try_from((data, parity): (u8, u8)) -> Result<Self, GeometryError> {
        Self::new(data.into(), parity.into())
    }
}

impl From<Geometry> for (u8, u8) {
    fn from(geometry: Geometry) -> Self {
        (geometry.data, geometry.parity)
    }
}

impl std::fmt::Display for Geometry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}+{}", self.data, self.parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_named_when_refused() {
        assert_eq!(Geometry::new(0, 4), Err(GeometryError::Data(0)));
        assert_eq!(Geometry::new(101, 4), Err(GeometryError::Data(101)));
        assert_eq!(Geometry::new(10, 101), Err(GeometryError::Parity(101)));
        assert_eq!(Geometry::new(100, 100).map(Geometry::total), Ok(200));
    }

    #[test]
    fn shards_are_equal_even_and_hold_every_byte() {
        for data in 1..=100 {
            let geometry = Geometry::new(data, 0).unwrap();
            for coded in [0, 1, 2, 99, 100, 101, 65_537] {
                let length = geometry.shard_length(coded);
                assert!(length >= 2 && length.is_multiple_of(2));
                assert!(length * u64::from(data) >= coded);
            }
        }
    }
}

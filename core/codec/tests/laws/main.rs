//! The laws of the codec: what must hold for every input, and what must be refused.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail as its test does")]
#![expect(clippy::cast_possible_truncation, reason = "test lengths are far below 4 GiB")]

mod erasure;
mod seal;
mod shares;
mod stripe;

use defs_core::geometry::Geometry;
use defs_core::ids::ShardIndex;
use proptest::prelude::*;

/// `length` bytes in which no two places of a few MiB repeat each other.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

fn geometry(data: u32, parity: u32) -> Geometry {
    Geometry::new(data, parity).unwrap()
}

/// Lengths around which framing and padding change their shape, and any others.
fn lengths() -> impl Strategy<Value = usize> {
    let edges = vec![0, 1, 2, 63, 64, 65, 65_535, 65_536, 65_537, 131_072, 131_073];
    prop_oneof![proptest::sample::select(edges), 0..200_000_usize]
}

/// A geometry and its indices in a random order.
fn shuffled(data: u32, parity: u32) -> impl Strategy<Value = (Geometry, Vec<ShardIndex>)> {
    (1..=data, 0..=parity).prop_flat_map(|(data, parity)| {
        let geometry = geometry(data, parity);
        (Just(geometry), Just(geometry.indices().collect::<Vec<_>>()).prop_shuffle())
    })
}

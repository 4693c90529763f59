//! Reed–Solomon: k data shards and m parity shards, any k of which restore the data.
//!
//! The data is padded with zeros to k equal shards, so the data shards are the padded bytes
//! themselves and only parity is computed. With k = 1 every shard is the data: replication.
//!
//! Coding works on one column of all shards at a time, so that its work space stays in the
//! cache. A column of any multiple of 64 bytes gives the same parity as the whole shard.

use std::ops::Range;

use defs_core::geometry::Geometry;
use defs_core::ids::ShardIndex;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use thiserror::Error;

/// Bytes of each shard that are encoded together: 16 shards of it stay in a core's cache.
const ENCODE_COLUMN: usize = 64 << 10;

/// As [`ENCODE_COLUMN`], for decoding: each call costs over 100 µs before the first byte, so
/// columns are longer. Measured in 10+4: half the speed at 32 KiB and at 2 MiB.
const DECODE_COLUMN: usize = 256 << 10;

/// The n shards of a slice, before sealing.
pub struct Shards {
    geometry: Geometry,
    length: usize,
    padded: Vec<u8>,
    parity: Vec<Vec<u8>>,
}

impl Shards {
    /// How many there are.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The length of each.
    #[must_use]
    pub fn shard_length(&self) -> usize {
        self.length
    }

    /// Every shard, data first.
    pub fn iter(&self) -> impl Iterator<Item = (ShardIndex, &[u8])> {
        let replicas = if self.geometry.data() == 1 { self.geometry.parity() } else { 0 };
        let shards = self
            .padded
            .chunks_exact(self.length)
            .chain(std::iter::repeat_n(self.padded.as_slice(), replicas))
            .chain(self.parity.iter().map(Vec::as_slice));
        self.geometry.indices().zip(shards)
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Shards({} of {} bytes)", self.geometry, self.length)
    }
}

/// The length that [`encode`] pads to. A buffer with that capacity is never copied.
#[must_use]
pub fn padded_length(geometry: Geometry, coded_length: u64) -> u64 {
    geometry.shard_length(coded_length).saturating_mul(geometry.data() as u64)
}

/// The shards of `coded`.
#[must_use]
pub fn encode(geometry: Geometry, coded: Vec<u8>) -> Shards {
    let length = in_memory(geometry.shard_length(coded.len() as u64));
    let mut padded = coded;
    padded.resize(length * geometry.data(), 0);
    let parity = if geometry.data() == 1 || geometry.parity() == 0 {
        Vec::new()
    } else {
        let data: Vec<_> = padded.chunks_exact(length).collect();
        parity_of(geometry, &data)
    };
    Shards { geometry, length, padded, parity }
}

/// Why shards did not give back what they were made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// Fewer than k shards.
    #[error("failed to restore from {have} shards: {need} are needed")]
    TooFew {
        /// Shards given.
        have: usize,
        /// Shards needed: k.
        need: usize,
    },
    /// The same shard twice.
    #[error("failed to restore: shard {0} was given twice")]
    Duplicate(ShardIndex),
    /// The stripe has no such shard.
    #[error("failed to restore: the stripe has no shard {0}")]
    IndexOutside(ShardIndex),
    /// A shard is shorter or longer than the stripe's shards.
    #[error("failed to restore: shard {index} has {have} bytes, the stripe's shards have {need}")]
    Length {
        /// The shard.
        index: ShardIndex,
        /// Its length.
        have: usize,
        /// The length of the stripe's shards.
        need: u64,
    },
    /// No stripe has shards that long: they hold pairs of bytes, at least one.
    #[error("failed to restore: no stripe has shards of {0} bytes")]
    NoSuchLength(u64),
}

/// The `coded_length` bytes that were encoded, from k of `shards`, data shards first. Where
/// all data shards are there, nothing is decoded: a caller that has them one behind the
/// other has the data.
pub fn restore(
    geometry: Geometry,
    coded_length: u64,
    shards: &[(ShardIndex, &[u8])],
) -> Result<Vec<u8>, RestoreError> {
    let present = Present::new(geometry, geometry.shard_length(coded_length), shards)?;
    let mut padded = Vec::with_capacity(present.length * geometry.data());
    for data in 0..geometry.data() {
        match present.by_index[data] {
            Some(shard) => padded.extend_from_slice(shard),
            None => padded.resize(padded.len() + present.length, 0),
        }
    }
    present.decode(|data, column, restored| {
        let start = data * present.length + column.start;
        padded[start..][..restored.len()].copy_from_slice(restored);
    });
    padded.truncate(in_memory(coded_length));
    Ok(padded)
}

/// The shards `wanted`, data or parity, in that order and bit for bit as [`encode`] gave them.
/// However many there are, the others are decoded once. The shards may also be the same range
/// of each shard, if it starts at a multiple of 64 and ends at one or with the shard: then that
/// range of those wanted is rebuilt.
pub fn rebuild(
    geometry: Geometry,
    shard_length: u64,
    shards: &[(ShardIndex, &[u8])],
    wanted: &[ShardIndex],
) -> Result<Vec<Vec<u8>>, RestoreError> {
    if let Some(outside) = wanted.iter().find(|index| !geometry.has(**index)) {
        return Err(RestoreError::IndexOutside(*outside));
    }
    let present = Present::new(geometry, shard_length, shards)?;
    let places = || wanted.iter().map(|index| usize::from(index.0));
    let is_missing = |place: &usize| present.by_index[*place].is_none();
    if places().filter(is_missing).all(|place| place < geometry.data()) {
        let mut rebuilt: Vec<_> = places()
            .map(|place| match present.by_index[place] {
                Some(shard) => shard.to_vec(),
                None => Vec::with_capacity(present.length),
            })
            .collect();
        if places().any(|place| is_missing(&place)) {
            present.decode(|data, _, restored| {
                let of_it = rebuilt.iter_mut().zip(places()).filter(|(_, place)| *place == data);
                of_it.for_each(|(shard, _)| shard.extend_from_slice(restored));
            });
        }
        return Ok(rebuilt);
    }
    let data = restore(geometry, shard_length.saturating_mul(geometry.data() as u64), shards)?;
    let data: Vec<_> = data.chunks_exact(present.length).collect();
    let parity = parity_of(geometry, &data);
    let shard = |place: usize| match place.checked_sub(geometry.data()) {
        None => data[place].to_vec(),
        Some(place) => parity[place].clone(),
    };
    Ok(places().map(shard).collect())
}

/// The m parity shards of k ≥ 2 equal data shards; m ≥ 1.
#[expect(clippy::expect_used, reason = "counts and lengths are a geometry's")]
fn parity_of(geometry: Geometry, data: &[&[u8]]) -> Vec<Vec<u8>> {
    let length = data[0].len();
    let mut parity: Vec<_> = (0..geometry.parity()).map(|_| Vec::with_capacity(length)).collect();
    let mut encoder: Option<ReedSolomonEncoder> = None;
    for column in columns(length, ENCODE_COLUMN) {
        let encoder = match &mut encoder {
            Some(encoder) => {
                encoder
                    .reset(geometry.data(), geometry.parity(), column.len())
                    .expect("at most 200 shards of even length");
                encoder
            }
            none => none.insert(
                ReedSolomonEncoder::new(geometry.data(), geometry.parity(), column.len())
                    .expect("at most 200 shards of even length"),
            ),
        };
        for shard in data {
            encoder.add_original_shard(&shard[column.clone()]).expect("k shards of one length");
        }
        let encoded = encoder.encode().expect("k shards were added");
        for (shard, column) in parity.iter_mut().zip(encoded.recovery_iter()) {
            shard.extend_from_slice(column);
        }
    }
    parity
}

/// Exactly k distinct shards of one length, data before parity.
struct Present<'a> {
    geometry: Geometry,
    length: usize,
    by_index: Vec<Option<&'a [u8]>>,
}

impl<'a> Present<'a> {
    fn new(
        geometry: Geometry,
        shard_length: u64,
        shards: &[(ShardIndex, &'a [u8])],
    ) -> Result<Self, RestoreError> {
        if shard_length == 0 || !shard_length.is_multiple_of(2) {
            return Err(RestoreError::NoSuchLength(shard_length));
        }
        let mut by_index = vec![None; geometry.total()];
        for (index, shard) in shards {
            let place =
                by_index.get_mut(usize::from(index.0)).ok_or(RestoreError::IndexOutside(*index))?;
            if place.is_some() {
                return Err(RestoreError::Duplicate(*index));
            }
            if shard.len() as u64 != shard_length {
                return Err(RestoreError::Length {
                    index: *index,
                    have: shard.len(),
                    need: shard_length,
                });
            }
            *place = Some(*shard);
        }
        let (have, need) = (shards.len(), geometry.data());
        if have < need {
            return Err(RestoreError::TooFew { have, need });
        }
        // One replica is as good as the other.
        if need == 1 {
            by_index[0] = by_index.iter().flatten().next().copied();
        }
        by_index
            .iter_mut()
            .filter(|shard| shard.is_some())
            .skip(need)
            .for_each(|shard| *shard = None);
        Ok(Self { geometry, length: in_memory(shard_length), by_index })
    }

    /// Hands each column of each missing data shard to `take`, from first to last.
    #[expect(clippy::expect_used, reason = "counts, indices and lengths were checked")]
    fn decode(&self, mut take: impl FnMut(usize, &Range<usize>, &[u8])) {
        let (data, parity) = (self.geometry.data(), self.geometry.parity());
        if self.by_index[..data].iter().all(Option::is_some) {
            return;
        }
        let mut decoder: Option<ReedSolomonDecoder> = None;
        for column in columns(self.length, DECODE_COLUMN) {
            let decoder = match &mut decoder {
                Some(decoder) => {
                    decoder.reset(data, parity, column.len()).expect("at most 200 shards");
                    decoder
                }
                none => none.insert(
                    ReedSolomonDecoder::new(data, parity, column.len())
                        .expect("at most 200 shards"),
                ),
            };
            self.add_to(decoder, &column);
            let decoded = decoder.decode().expect("k distinct shards were added");
            for (place, restored) in decoded.restored_original_iter() {
                take(place, &column, restored);
            }
        }
    }

    #[expect(clippy::expect_used, reason = "indices and lengths were checked")]
    fn add_to(&self, decoder: &mut ReedSolomonDecoder, column: &Range<usize>) {
        let data = self.geometry.data();
        for (place, shard) in self.by_index.iter().enumerate() {
            let Some(shard) = shard else { continue };
            let shard = &shard[column.clone()];
            if place < data {
                decoder.add_original_shard(place, shard).expect("a data shard, once");
            } else {
                decoder.add_recovery_shard(place - data, shard).expect("a parity shard, once");
            }
        }
    }
}

fn columns(length: usize, column: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(column).map(move |start| start..length.min(start + column))
}

/// The length of something that is in memory or is about to be.
fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

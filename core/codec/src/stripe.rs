//! A stripe: from an encrypted slice to n sealed shards with their shares and descriptor,
//! and how k holders rebuild one of them without any key of the owner's.
//!
//! ```text
//! CodedStripe ─ shards → UnsealedShard ─ seal → SealedBytes ─ all n, finish → SealedStripe
//! ```
//! Shards seal independently, so that a caller's cores can share them.

use std::ops::Range;

use bytes::Bytes;
use defs_core::digest::shard_id;
use defs_core::geometry::Geometry;
use defs_core::ids::{ShardId, ShardIndex};
use defs_core::statement::Lock;
use defs_core::stripe::{CodecId, StripeDescriptor};

use crate::erasure::{self, Shards};
use crate::keys::SealingKey;
use crate::seal::{self, OpenError, SealedPart};
use crate::shares::{Share, StripeSecret, share_digest};

/// The label of a shard's frame.
pub const SHARD_LABEL: &[u8] = b"defs/1 shard";

/// What the owner says of a stripe besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Grows when the owner lays the same slice anew; otherwise 0.
    pub generation: u32,
    /// The most shards that one pair may hold; at least 1.
    pub per_pair: u8,
    /// Who may act on the shards.
    pub lock: Lock,
}

/// A slice's n shards and the secret that seals them; the secret seals nothing else.
#[derive(Debug)]
pub struct CodedStripe {
    secret: StripeSecret,
    coded_length: u64,
    shards: Shards,
}

impl CodedStripe {
    /// Codes a slice that was encrypted under the owner's key. `coded` is not copied if its
    /// capacity is [`erasure::padded_length`].
    #[must_use]
    pub fn new(secret: StripeSecret, geometry: Geometry, coded: Vec<u8>) -> Self {
        let coded_length = coded.len() as u64;
        Self { secret, coded_length, shards: erasure::encode(geometry, coded) }
    }

    /// The n shards, to be sealed in any order and on any core.
    pub fn shards(&self) -> impl Iterator<Item = UnsealedShard<'_>> {
        self.shards.iter().map(|(index, bytes)| UnsealedShard {
            key: self.secret.shard_key(index),
            index,
            bytes,
        })
    }

    /// Puts each shard beside its share, and describes them all. `sealed` holds all n in any
    /// order.
    pub fn finish(
        self,
        mut sealed: Vec<SealedBytes>,
        terms: Terms,
    ) -> Result<SealedStripe, IncompleteStripe> {
        let geometry = self.shards.geometry();
        sealed.sort_by_key(|shard| shard.index);
        if !sealed.iter().map(|shard| shard.index).eq(geometry.indices()) {
            return Err(IncompleteStripe { have: sealed.len(), need: geometry.total() });
        }
        let tag = self.secret.tag();
        let shares = self.secret.shares(geometry);
        let descriptor = StripeDescriptor {
            codec: CodecId::ReedSolomon16,
            geometry,
            generation: terms.generation,
            per_pair: terms.per_pair,
            coded_length: self.coded_length,
            tag,
            shards: sealed.iter().map(|shard| shard.id).collect(),
            shares: shares.iter().map(|share| share_digest(&tag, share)).collect(),
            lock: terms.lock,
        };
        let shards = sealed
            .into_iter()
            .zip(shares)
            .map(|(SealedBytes { index, bytes, .. }, share)| SealedShard { index, bytes, share })
            .collect();
        Ok(SealedStripe { descriptor, shards })
    }
}

/// One shard of a [`CodedStripe`] and the key that it alone is sealed under.
#[derive(Debug)]
pub struct UnsealedShard<'a> {
    key: SealingKey,
    index: ShardIndex,
    bytes: &'a [u8],
}

impl UnsealedShard<'_> {
    /// Seals the shard and names it.
    #[must_use]
    pub fn seal(self) -> SealedBytes {
        let bytes = seal::seal(self.key, SHARD_LABEL, self.bytes);
        SealedBytes { index: self.index, id: shard_id(&bytes), bytes: bytes.into() }
    }
}

/// A shard as every holder sees it.
#[derive(Debug, Clone)]
pub struct SealedBytes {
    /// Which of the n.
    pub index: ShardIndex,
    /// The name of `bytes`.
    pub id: ShardId,
    /// What is stored.
    pub bytes: Bytes,
}

/// The sealed shards given are not the stripe's n shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to finish a stripe: {have} sealed shards are not one of each of its {need}")]
pub struct IncompleteStripe {
    /// Shards given.
    pub have: usize,
    /// Shards needed: n.
    pub need: usize,
}

/// What goes to one holder, with the signed descriptor.
#[derive(Debug)]
pub struct SealedShard {
    /// Which of the n.
    pub index: ShardIndex,
    /// What is stored.
    pub bytes: Bytes,
    /// Stored beside it.
    pub share: Share,
}

/// All that goes to holders, but for the owner's signature over the descriptor.
#[derive(Debug)]
pub struct SealedStripe {
    /// The same for each holder.
    pub descriptor: StripeDescriptor,
    /// All n, by index.
    pub shards: Vec<SealedShard>,
}

/// Codes and seals a whole stripe on the calling thread.
#[expect(clippy::expect_used, reason = "each shard was sealed once")]
#[must_use]
pub fn seal_stripe(
    secret: StripeSecret,
    geometry: Geometry,
    coded: Vec<u8>,
    terms: Terms,
) -> SealedStripe {
    let stripe = CodedStripe::new(secret, geometry, coded);
    let sealed = stripe.shards().map(UnsealedShard::seal).collect();
    stripe.finish(sealed, terms).expect("each of the n shards is there once")
}

/// The shard inside `sealed`.
pub fn open_shard(
    secret: &StripeSecret,
    index: ShardIndex,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    seal::open(&secret.shard_key(index), SHARD_LABEL, sealed)
}

/// As [`open_shard`], of sealed bytes in pieces, into a buffer of the shard's length. Data shards that are opened one
/// behind the other are the encrypted slice and its padding: nothing is left to restore.
pub fn open_shard_into(
    secret: &StripeSecret,
    index: ShardIndex,
    sealed: &[impl AsRef<[u8]>],
    out: &mut [u8],
) -> Result<(), OpenError> {
    seal::open_pieces_into(&secret.shard_key(index), SHARD_LABEL, sealed, out)
}

/// The bytes `range` of a shard, from the sealed chunks that hold them.
pub fn open_shard_range(
    secret: &StripeSecret,
    index: ShardIndex,
    range: Range<u64>,
    part: SealedPart<'_>,
) -> Result<Vec<u8>, OpenError> {
    seal::open_range(&secret.shard_key(index), SHARD_LABEL, range, part)
}

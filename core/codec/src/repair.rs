//! Rebuilds lost shards and their shares from k others, bit for bit, with no key but what the
//! holders' shares give: what repairers run.

use std::collections::BTreeSet;

use defs_core::digest::shard_id;
use defs_core::ids::ShardIndex;
use defs_core::stripe::StripeDescriptor;
use thiserror::Error;

use crate::erasure::{RestoreError, rebuild};
use crate::seal::{OpenError, seal};
use crate::shares::{CombineError, Share, StripeSecret, combine, share_digest, share_of};
use crate::stripe::{SHARD_LABEL, open_shard};

/// Why a shard was not rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RebuildError {
    /// The stripe has no such shard.
    #[error("failed to rebuild: the stripe has no shard {0}")]
    IndexOutside(ShardIndex),
    /// Fewer than k parts.
    #[error("failed to rebuild from {have} shards: {need} are needed")]
    TooFew {
        /// Parts given.
        have: usize,
        /// Parts needed: k.
        need: usize,
    },
    /// The same part twice.
    #[error("failed to rebuild: shard {0} was given twice")]
    Duplicate(ShardIndex),
    /// A share is not the one that the descriptor names: ask its holder's mirror.
    #[error("failed to rebuild: the share of shard {0} is not the descriptor's")]
    WrongShare(ShardIndex),
    /// Sealed bytes are not those that the descriptor names: ask the holder's mirror.
    #[error("failed to rebuild: the bytes of shard {0} are not the descriptor's")]
    WrongBytes(ShardIndex),
    /// The descriptor's shares do not give a secret with the descriptor's tag.
    #[error("failed to rebuild: the stripe's shares do not combine")]
    Combine(#[source] CombineError),
    /// A shard has the descriptor's name and yet does not open.
    #[error("failed to rebuild: shard {index} does not open")]
    Open {
        /// The shard.
        index: ShardIndex,
        /// Why.
        source: OpenError,
    },
    /// The opened shards do not fit the descriptor's lengths.
    #[error("failed to rebuild: the stripe's shards do not fit together")]
    Restore(#[source] RestoreError),
    /// The result is not what the descriptor names: its owner did not seal a stripe.
    #[error("failed to rebuild: shard {0} came out other than the descriptor says")]
    NotTheSame(ShardIndex),
}

/// The shards `wanted` as they were sealed, and their shares, in that order. `parts` are
/// others' shares and sealed bytes; the first k are used, each checked against the descriptor
/// before anything is combined, and so is each result. The parts are opened and decoded once,
/// however many shards are wanted.
pub fn rebuild_shards(
    descriptor: &StripeDescriptor,
    parts: &[(Share, &[u8])],
    wanted: &[ShardIndex],
) -> Result<Vec<(Vec<u8>, Share)>, RebuildError> {
    let geometry = descriptor.geometry;
    if let Some(outside) = wanted.iter().find(|index| !geometry.has(**index)) {
        return Err(RebuildError::IndexOutside(*outside));
    }
    let (have, need) = (parts.len(), geometry.data());
    let parts = parts.get(..need).ok_or(RebuildError::TooFew { have, need })?;
    check(descriptor, parts)?;
    let shares: Vec<_> = parts.iter().map(|(share, _)| share).collect();
    let secret = combine(&descriptor.tag, geometry, &shares).map_err(RebuildError::Combine)?;
    let shards = rebuild_inside(descriptor, &secret, parts, wanted)?;
    let seal_one = |(index, shard): (&ShardIndex, Vec<u8>)| {
        let sealed = seal(secret.shard_key(*index), SHARD_LABEL, &shard);
        let share = share_of(&secret, geometry, *index);
        if has_share(descriptor, &share) && has_bytes(descriptor, *index, &sealed) {
            Ok((sealed, share))
        } else {
            Err(RebuildError::NotTheSame(*index))
        }
    };
    wanted.iter().zip(shards).map(seal_one).collect()
}

fn check(descriptor: &StripeDescriptor, parts: &[(Share, &[u8])]) -> Result<(), RebuildError> {
    let mut seen = BTreeSet::new();
    for (share, sealed) in parts {
        let index = share.index;
        if !descriptor.geometry.has(index) {
            return Err(RebuildError::IndexOutside(index));
        }
        if !seen.insert(index) {
            return Err(RebuildError::Duplicate(index));
        }
        check_part(descriptor, share, sealed)?;
    }
    Ok(())
}

/// Whether a share and sealed bytes are those that the descriptor names. Each part is worth
/// checking when it comes: one that is wrong spoils all that is rebuilt with it.
pub fn check_part(
    descriptor: &StripeDescriptor,
    share: &Share,
    sealed: &[u8],
) -> Result<(), RebuildError> {
    let index = share.index;
    if !has_share(descriptor, share) {
        return Err(RebuildError::WrongShare(index));
    }
    if !has_bytes(descriptor, index, sealed) {
        return Err(RebuildError::WrongBytes(index));
    }
    Ok(())
}

fn has_share(descriptor: &StripeDescriptor, share: &Share) -> bool {
    let named = descriptor.shares.get(usize::from(share.index.0));
    named == Some(&share_digest(&descriptor.tag, share))
}

fn has_bytes(descriptor: &StripeDescriptor, index: ShardIndex, sealed: &[u8]) -> bool {
    descriptor.shards.get(usize::from(index.0)) == Some(&shard_id(sealed))
}

/// Opens the outer layer of `parts` and codes the shards `wanted` anew. What is inside is still
/// encrypted by its owner.
fn rebuild_inside(
    descriptor: &StripeDescriptor,
    secret: &StripeSecret,
    parts: &[(Share, &[u8])],
    wanted: &[ShardIndex],
) -> Result<Vec<Vec<u8>>, RebuildError> {
    let mut opened = Vec::with_capacity(parts.len());
    for (share, sealed) in parts {
        let index = share.index;
        let shard = open_shard(secret, index, sealed)
            .map_err(|source| RebuildError::Open { index, source })?;
        opened.push((index, shard));
    }
    let shards: Vec<_> = opened.iter().map(|(index, shard)| (*index, shard.as_slice())).collect();
    let length = descriptor.geometry.shard_length(descriptor.coded_length);
    rebuild(descriptor.geometry, length, &shards, wanted).map_err(RebuildError::Restore)
}

//! From a slice's bytes to sealed shards and back: derivation of keys, authenticated
//! framing, Reed–Solomon, threshold shares of the stripe secret, and the stripe that ties
//! them together. Pure functions of their arguments: no I/O, no clock, no randomness.
//!
//! An owner seals a slice under a slice key ([`seal`]), codes the result and seals each
//! shard ([`stripe`]). Any k holders can rebuild lost shards bit for bit with
//! [`rebuild_shards`], which needs no key of the owner's.

pub mod checksum;
pub mod erasure;
pub mod keys;
pub mod repair;
pub mod seal;
pub mod shares;
pub mod slicing;
pub mod stripe;

pub use checksum::crc32;
pub use erasure::{RestoreError, Shards, encode, rebuild, restore};
pub use keys::{SealingKey, derive};
pub use repair::{RebuildError, check_part, rebuild_shards};
pub use seal::{
    OpenError, SealedPart, open, open_append, open_in_place, open_into, open_pieces_into,
    open_range, seal, seal_into,
};
pub use shares::{CombineError, Share, StripeSecret, combine, rebuild_share, share_digest};
pub use slicing::{SliceSizes, SliceSizesError, slice_size};
pub use stripe::{
    CodedStripe, IncompleteStripe, SealedBytes, SealedShard, SealedStripe, Terms, UnsealedShard,
    open_shard, open_shard_into, open_shard_range, seal_stripe,
};

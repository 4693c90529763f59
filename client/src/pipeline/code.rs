//! The outer layer: n shards of an encrypted slice, each under its own key; and back from
//! any k of them.

use bytes::{Bytes, BytesMut};
use defs_codec::erasure::restore;
use defs_codec::stripe::Terms;
use defs_codec::{OpenError, RestoreError, SealedStripe, open_shard_into, seal_stripe};
use defs_core::framing::sealed_length;
use defs_core::geometry::Geometry;
use defs_core::ids::{NetworkId, ShardIndex, SliceNo};
use defs_core::manifest::SliceEntry;
use defs_core::statement::Signed;
use defs_core::stripe::StripeDescriptor;
use defs_identity::sign_statement;

use super::FileContext;
use super::encrypt::EncryptedSlice;

/// A stripe that is ready to be placed: sealed shards under a signed descriptor.
#[derive(Debug)]
pub(crate) struct SignedStripe {
    pub(crate) slice: SealedSlice,
    pub(crate) descriptor: Signed<StripeDescriptor>,
    pub(crate) shards: Vec<defs_codec::SealedShard>,
}

/// What the manifest will say of the slice, but for where its shards are.
#[derive(Debug, Clone)]
pub(crate) struct SealedSlice {
    pub(crate) number: SliceNo,
    pub(crate) length: u64,
    pub(crate) digest: defs_core::ids::Digest,
    pub(crate) salt: [u8; 32],
}

/// Codes and seals an encrypted slice, and signs for it.
pub(crate) fn seal(
    encrypted: EncryptedSlice,
    file: &FileContext,
    per_pair: u8,
    network: &NetworkId,
) -> SignedStripe {
    let EncryptedSlice { number, length, digest, salt, coded } = encrypted;
    let secret = file.key.stripe_secret(number, &salt);
    let terms = Terms { generation: 0, per_pair, lock: file.lock.lock.clone() };
    let SealedStripe { descriptor, shards } = seal_stripe(secret, file.geometry, coded, terms);
    let descriptor = sign_statement(&file.lock.key, network, descriptor);
    SignedStripe { slice: SealedSlice { number, length, digest, salt }, descriptor, shards }
}

/// Lengths that follow from a slice's length and geometry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    /// The slice after inner encryption.
    pub(crate) coded: u64,
    /// Of each shard.
    pub(crate) shard: u64,
    /// Of each sealed shard.
    pub(crate) sealed: u64,
}

impl Lengths {
    pub(crate) fn of(entry: &SliceEntry, geometry: Geometry) -> Self {
        let coded = sealed_length(entry.length);
        let shard = geometry.shard_length(coded);
        Self { coded, shard, sealed: sealed_length(shard) }
    }
}

/// Takes the opened shards of one stripe until there are k. Data shards are opened side by
/// side into one buffer, so that without losses nothing is copied or decoded.
#[derive(Debug)]
pub(crate) struct Gathering {
    geometry: Geometry,
    lengths: Lengths,
    /// Where each data shard goes, until it is opened or given out.
    rooms: Vec<Option<BytesMut>>,
    opened: Vec<Option<BytesMut>>,
}

impl Gathering {
    pub(crate) fn new(geometry: Geometry, lengths: Lengths) -> Self {
        let shard = usize::try_from(lengths.shard).unwrap_or(0);
        let mut whole = BytesMut::zeroed(shard.saturating_mul(geometry.data()));
        let rooms = (0..geometry.data()).map(|_| Some(whole.split_to(shard))).collect();
        Self { geometry, lengths, rooms, opened: vec![None; geometry.total()] }
    }

    /// A buffer to open shard `index` into.
    pub(crate) fn room(&mut self, index: ShardIndex) -> BytesMut {
        let room = self.rooms.get_mut(usize::from(index.0)).and_then(Option::take);
        room.unwrap_or_else(|| BytesMut::zeroed(usize::try_from(self.lengths.shard).unwrap_or(0)))
    }

    pub(crate) fn add(&mut self, index: ShardIndex, opened: BytesMut) {
        if let Some(place) = self.opened.get_mut(usize::from(index.0)) {
            *place = Some(opened);
        }
    }

    pub(crate) fn have(&self) -> usize {
        self.opened.iter().flatten().count()
    }

    /// The encrypted slice. `decoded` says whether parity was needed.
    pub(crate) fn finish(mut self) -> Result<(BytesMut, bool), RestoreError> {
        let coded = usize::try_from(self.lengths.coded).unwrap_or(0);
        let data = self.geometry.data();
        if self.opened[..data].iter().all(Option::is_some) {
            let mut parts = self.opened.drain(..data).flatten();
            let mut whole = parts.next().unwrap_or_default();
            // Side by side in memory, unless a shard was asked for twice: then it copies.
            parts.for_each(|part| whole.unsplit(part));
            whole.truncate(coded);
            return Ok((whole, false));
        }
        let present: Vec<_> = self
            .geometry
            .indices()
            .zip(&self.opened)
            .filter_map(|(index, opened)| Some((index, opened.as_deref()?)))
            .take(data)
            .collect();
        let restored = restore(self.geometry, self.lengths.coded, &present)?;
        // Not copied: nobody else has them.
        Ok((Bytes::from(restored).into(), true))
    }
}

/// Opens one sealed shard, in pieces as they came, into its room.
pub(crate) fn open_into_room(
    file: &FileContext,
    (number, salt): (SliceNo, &[u8; 32]),
    index: ShardIndex,
    sealed: &[Bytes],
    mut room: BytesMut,
) -> Result<BytesMut, OpenError> {
    let secret = file.key.stripe_secret(number, salt);
    open_shard_into(&secret, index, sealed, &mut room)?;
    Ok(room)
}

//! What holders know of a stripe: the descriptor that its owner signs once, and the head
//! that each holder keeps beside its shard.

use crate::digest::digest;
use crate::format::{Format, FormatError, Reader, Writer};
use crate::framing::sealed_length;
use crate::geometry::Geometry;
use crate::ids::{Digest, NetworkId, PairId, ShardId, ShardIndex, StripeId, StripeTag};
use crate::statement::{Lock, Signed, Statement, stated};

/// How a slice was coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecId {
    /// Reed–Solomon over GF(2¹⁶) as `reed-solomon-simd` 3 does it; k = 1 is replication.
    ReedSolomon16,
}

/// The same in all n heads of a stripe, so that any one surviving head can check a
/// rebuilt shard and a handed-over share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeDescriptor {
    /// How the slice was coded.
    pub codec: CodecId,
    /// How many shards carry data, how many parity.
    pub geometry: Geometry,
    /// Grows when the owner lays the same slice anew; otherwise 0.
    pub generation: u32,
    /// The most shards of this stripe that one pair may hold: at most m, unless the owner
    /// asked by name for an unsafe placement. Holders refuse more.
    pub per_pair: u8,
    /// Bytes of the slice after inner encryption, before padding to k shards.
    pub coded_length: u64,
    /// Groups the shards of this stripe.
    pub tag: StripeTag,
    /// The names of the n sealed shards, by index.
    pub shards: Vec<ShardId>,
    /// Digests of the n threshold shares, by index.
    pub shares: Vec<Digest>,
    /// Who may act on these shards.
    pub lock: Lock,
}

/// The largest slice after inner encryption that a holder accepts: 64 MiB and what
/// sealing adds.
pub const CODED_LENGTH_MAX: u64 = sealed_length(64 << 20);

impl StripeDescriptor {
    /// The name by which repair, notes and tombstones group.
    #[must_use]
    pub fn id(&self) -> StripeId {
        StripeId(digest("defs 2026 descriptor id", &self.encode()).0)
    }

    /// The length of each sealed shard.
    #[must_use]
    pub fn sealed_shard_length(&self) -> u64 {
        sealed_length(self.geometry.shard_length(self.coded_length))
    }
}

impl Statement for StripeDescriptor {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 descriptor", network, &self.encode())
    }
}

impl Format for StripeDescriptor {
    const NAME: &'static str = "a stripe descriptor";

    fn write(&self, out: &mut Writer) {
        let CodecId::ReedSolomon16 = self.codec;
        out.u8(1);
        let (data, parity) = self.geometry.into();
        out.u8(data);
        out.u8(parity);
        out.u32(self.generation);
        out.u8(self.per_pair);
        out.u64(self.coded_length);
        out.raw(&self.tag.0);
        for shard in &self.shards {
            out.raw(&shard.0);
        }
        for share in &self.shares {
            out.raw(&share.0);
        }
        self.lock.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        if input.u8("codec")? != 1 {
            return Err(FormatError::Invalid("codec"));
        }
        let (data, parity) = (input.u8("data")?, input.u8("parity")?);
        let geometry = Geometry::new(data.into(), parity.into());
        let Ok(geometry) = geometry else { return Err(FormatError::Invalid("geometry")) };
        let generation = input.u32("generation")?;
        let per_pair = input.u8("shards per pair")?;
        if per_pair == 0 {
            return Err(FormatError::Invalid("shards per pair"));
        }
        let coded_length = input.u64("coded length")?;
        if coded_length > CODED_LENGTH_MAX {
            return Err(FormatError::Invalid("coded length"));
        }
        let tag = StripeTag(input.array("tag")?);
        let shards = geometry
            .indices()
            .map(|_| input.array("shard id").map(ShardId))
            .collect::<Result<_, _>>()?;
        let shares = geometry
            .indices()
            .map(|_| input.array("share digest").map(Digest))
            .collect::<Result<_, _>>()?;
        let lock = Lock::read(input)?;
        Ok(Self {
            codec: CodecId::ReedSolomon16,
            geometry,
            generation,
            per_pair,
            coded_length,
            tag,
            shards,
            shares,
            lock,
        })
    }
}

/// A sibling shard that a holder watches: if its pair is lost, this holder helps to
/// rebuild it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The sibling.
    pub index: ShardIndex,
    /// Where it was put.
    pub pair: PairId,
}

/// Siblings that each holder watches.
pub const WATCHED: usize = 2;

/// What a holder keeps beside a shard: the signed descriptor and what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardHead {
    /// Signed by the owner, the same at all holders.
    pub descriptor: Signed<StripeDescriptor>,
    /// Which of the n shards this is.
    pub index: ShardIndex,
    /// This index's share of the stripe secret.
    pub share: [u8; 32],
    /// At most [`WATCHED`] siblings.
    pub watched: Vec<Watched>,
}

impl ShardHead {
    /// The name that the sealed bytes must have.
    #[must_use]
    pub fn shard_id(&self) -> ShardId {
        self.descriptor.body.shards[usize::from(self.index.0)]
    }

    /// The same, but that it watches the sibling `index`, if it does, at `pair`.
    #[must_use]
    pub fn watching_at(&self, index: ShardIndex, pair: PairId) -> Self {
        let mut head = self.clone();
        let of_it = head.watched.iter_mut().filter(|watched| watched.index == index);
        of_it.for_each(|watched| watched.pair = pair);
        head
    }
}

impl Format for ShardHead {
    const NAME: &'static str = "a shard head";

    fn write(&self, out: &mut Writer) {
        self.descriptor.write_versioned(out);
        out.u8(self.index.0);
        out.raw(&self.share);
        out.list(&self.watched, |out, watched| {
            out.u8(watched.index.0);
            out.raw(&watched.pair.0);
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let descriptor = Signed::<StripeDescriptor>::read_versioned(input)?;
        let index = ShardIndex(input.u8("index")?);
        if !descriptor.body.geometry.has(index) {
            return Err(FormatError::Invalid("index"));
        }
        let share = input.array("share")?;
        let watched = input.list("watched", WATCHED, |input| {
            let index = ShardIndex(input.u8("watched index")?);
            Ok(Watched { index, pair: PairId(input.array("watched pair")?) })
        })?;
        Ok(Self { descriptor, index, share, watched })
    }
}

/// The largest encoded head: 200 shards, a lock and an unlock of the longest kind.
pub const SHARD_HEAD_MAX: usize = 20 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{LOCK_MAX, UNLOCK_MAX, Unlock};

    fn head(data: u32, parity: u32) -> ShardHead {
        let geometry = Geometry::new(data, parity).unwrap();
        let descriptor = StripeDescriptor {
            codec: CodecId::ReedSolomon16,
            geometry,
            generation: 3,
            per_pair: 1,
            coded_length: 1000,
            tag: StripeTag([1; 16]),
            shards: geometry.indices().map(|index| ShardId([index.0; 32])).collect(),
            shares: geometry.indices().map(|index| Digest([index.0; 32])).collect(),
            lock: Lock::new(vec![1; LOCK_MAX]).unwrap(),
        };
        let unlock = Unlock { script: vec![7; UNLOCK_MAX], ..Unlock::default() };
        ShardHead {
            descriptor: Signed { body: descriptor, unlock },
            index: ShardIndex(u8::try_from(data + parity - 1).unwrap()),
            share: [9; 32],
            watched: vec![Watched { index: ShardIndex(0), pair: PairId([4; 16]) }],
        }
    }

    #[test]
    fn the_largest_head_reads_back_and_is_within_its_bound() {
        let head = head(100, 100);
        let bytes = head.encode();
        assert!(bytes.len() <= SHARD_HEAD_MAX);
        assert_eq!(ShardHead::decode(&bytes), Ok(head));
    }

    #[test]
    fn an_index_outside_the_geometry_is_refused() {
        let mut head = head(2, 1);
        head.index = ShardIndex(3);
        assert_eq!(ShardHead::decode(&head.encode()), Err(FormatError::Invalid("index")));
    }

    #[test]
    fn every_field_of_a_descriptor_changes_its_id_and_its_statement() {
        let network = NetworkId([5; 32]);
        let original = head(2, 1).descriptor.body;
        let mut changed = vec![original.clone(); 7];
        changed[0].generation += 1;
        changed[1].coded_length += 1;
        changed[2].tag.0[0] ^= 1;
        changed[3].shards[2].0[0] ^= 1;
        changed[4].shares[2].0[0] ^= 1;
        changed[5].lock = Lock::new(vec![2]).unwrap();
        changed[6].per_pair += 1;
        for other in changed {
            assert_ne!(other.id(), original.id());
            assert_ne!(other.statement(&network), original.statement(&network));
        }
    }
}

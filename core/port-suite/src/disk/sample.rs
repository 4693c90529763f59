//! Shards and records to store: what they say is made up, their names are right.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::digest::{digest, file_id, shard_id};
use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, Epoch, NetworkId, PairId, ShardId, ShardIndex, StripeTag};
use defs_core::message::ShardKey;
use defs_core::port::{Disk, DiskError, ShardState};
use defs_core::record::{Content, Record, RecordKey, RecordSet, SignedRecord};
use defs_core::statement::{Lock, Signed, Unlock};
use defs_core::stripe::{CodecId, ShardHead, StripeDescriptor, Watched};

/// The network of the laws.
pub const NETWORK: NetworkId = NetworkId([0x4e; 32]);

/// The pair of every sample.
pub const PAIR: PairId = PairId([0x50; 16]);

/// A shard of a stripe of three, with its bytes.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is kept beside the bytes.
    pub head: Arc<ShardHead>,
    /// The state that it is stored in.
    pub state: ShardState,
    /// The sealed bytes.
    pub sealed: Bytes,
}

impl Sample {
    /// The first shard of the stripe `seed`, with `length` sealed bytes.
    #[must_use]
    pub fn new(seed: u64, length: usize) -> Self {
        Self::of_index(seed, length, ShardIndex(0))
    }

    /// A shard of the stripe `seed`: 0, 1 or 2. All have `length` sealed bytes.
    #[must_use]
    pub fn of_index(seed: u64, length: usize, index: ShardIndex) -> Self {
        let sealed = |index: u8| noise(seed.wrapping_mul(4) + u64::from(index), length);
        let shards: Vec<ShardId> = (0..3).map(|index| shard_id(&sealed(index))).collect();
        Self::with_names(seed, shards, index, sealed(index.0))
    }

    /// Like [`Sample::new`] without siblings that anybody has hashed: cheap to make.
    #[must_use]
    pub fn alone(seed: u64, length: usize) -> Self {
        Self::of_bytes(seed, noise(seed.wrapping_mul(4), length))
    }

    /// Like [`Sample::alone`], of given bytes.
    #[must_use]
    pub fn of_bytes(seed: u64, sealed: Bytes) -> Self {
        let shards = vec![shard_id(&sealed), ShardId([1; 32]), ShardId([2; 32])];
        Self::with_names(seed, shards, ShardIndex(0), sealed)
    }

    fn with_names(seed: u64, shards: Vec<ShardId>, index: ShardIndex, sealed: Bytes) -> Self {
        let mut tag = [0; StripeTag::SIZE];
        tag[..8].copy_from_slice(&seed.to_le_bytes());
        let descriptor = StripeDescriptor {
            codec: CodecId::ReedSolomon16,
            geometry: sample_geometry(),
            per_pair: 1,
            generation: 0,
            coded_length: 2 * sealed.len() as u64,
            tag: StripeTag(tag),
            shards,
            shares: vec![Digest([7; 32]); 3],
            lock: sample_lock(),
        };
        let unlock = Unlock { script: vec![9; 72], ..Unlock::default() };
        let head = ShardHead {
            descriptor: Signed { body: descriptor, unlock },
            index,
            share: [index.0; 32],
            watched: vec![Watched { index: ShardIndex((index.0 + 1) % 3), pair: PAIR }],
        };
        let state = ShardState {
            pair: PAIR,
            epoch: Epoch(3),
            lease_until: Duration::from_millis(86_400_123),
            commit: None,
        };
        Self { head: Arc::new(head), state, sealed }
    }

    /// The shard's name at a holder.
    #[must_use]
    pub fn key(&self) -> ShardKey {
        ShardKey { stripe: self.head.descriptor.body.id(), index: self.head.index }
    }

    /// Sealed bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.sealed.len() as u64
    }

    /// Stores it.
    pub async fn store(&self, disk: &impl Disk) -> Result<(), DiskError> {
        self.store_bytes(disk, self.sealed.clone()).await
    }

    /// Stores other bytes under its name.
    pub async fn store_bytes(&self, disk: &impl Disk, bytes: Bytes) -> Result<(), DiskError> {
        disk.store(Arc::clone(&self.head), self.state.clone(), Body::whole(bytes)).await
    }

    /// Whether the disk holds it bit for bit, with its head and state.
    pub async fn is_whole_on(&self, disk: &impl Disk) -> Result<bool, DiskError> {
        let Some(stored) = disk.shard(self.key()).await? else { return Ok(false) };
        let read = disk.read(self.key(), 0..self.length()).await?.collect().await?;
        let same = stored.head == self.head && stored.state == self.state;
        Ok(same && stored.length == self.length() && read == self.sealed)
    }
}

/// Bytes without a pattern, the same for the same seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Bytes {
    let key = digest("defs 2026 test noise", &seed.to_le_bytes());
    // Hashing once and repeating under a counter: a gigabyte of noise is soon made.
    let mut bytes = Vec::with_capacity(length.next_multiple_of(32));
    let mut block = 0_u64;
    while bytes.len() < length {
        let mut input = key.0;
        for (byte, count) in input.iter_mut().zip(block.to_le_bytes()) {
            *byte ^= count;
        }
        bytes.extend_from_slice(&digest("defs 2026 test block", &input).0);
        block += 1;
    }
    bytes.truncate(length);
    bytes.into()
}

/// A version of page `page` of the file `seed`, with `length` sealed bytes.
#[must_use]
pub fn record(seed: u64, page: u32, counter: u64, length: usize) -> Arc<SignedRecord> {
    let content = Content::Sealed(noise(seed.wrapping_add(counter), length).to_vec());
    record_with(seed, page, counter, content)
}

/// The deletion of page `page` of the file `seed`.
#[must_use]
pub fn deleted_record(seed: u64, page: u32, counter: u64) -> Arc<SignedRecord> {
    record_with(seed, page, counter, Content::Deleted)
}

fn record_with(seed: u64, page: u32, counter: u64, content: Content) -> Arc<SignedRecord> {
    let lock = sample_lock();
    let mut random = [0; 32];
    random[..8].copy_from_slice(&seed.to_le_bytes());
    let body = Record {
        key: RecordKey::manifest(file_id(lock.script(), &random), page),
        counter,
        parents: vec![],
        set: RecordSet { pairs: vec![PAIR, PairId([2; 16])], version: 1 },
        lock,
        file_random: random,
        salt: [6; 32],
        content,
    };
    Arc::new(Signed { body, unlock: Unlock::default() })
}

fn sample_geometry() -> Geometry {
    #[expect(clippy::expect_used, reason = "2 + 1 is a geometry")]
    Geometry::new(2, 1).expect("2 + 1 is a geometry")
}

fn sample_lock() -> Lock {
    #[expect(clippy::expect_used, reason = "the script is neither empty nor long")]
    Lock::new(vec![5; 25]).expect("25 bytes are a script")
}

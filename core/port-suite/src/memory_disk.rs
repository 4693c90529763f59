//! A disk in memory: ordered, without real I/O, the same on every run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::digest::{file_locator, shard_id, stripe_locator};
use defs_core::ids::{FileId, Locator, NetworkId, PairId, ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::port::{Change, Disk, DiskError, ShardState, StateKey, StoredShard, Usage};
use defs_core::record::{Content, RecordKey, RecordKind, SignedRecord};
use defs_core::stripe::ShardHead;

/// Keeps everything in memory. Passes the same laws as the real disk.
#[derive(Debug)]
pub struct MemoryDisk {
    network: NetworkId,
    capacity: u64,
    held: Mutex<Held>,
}

/// A change of it is made to a copy first, so it is all or nothing.
#[derive(Debug, Default, Clone)]
struct Held {
    shards: BTreeMap<ShardKey, Shard>,
    records: BTreeMap<RecordKey, Vec<Arc<SignedRecord>>>,
    state: BTreeMap<StateKey, Vec<u8>>,
    /// Shards whose bytes the medium does not give.
    unreadable: BTreeSet<ShardKey>,
    reserved: u64,
}

#[derive(Debug, Clone)]
struct Shard {
    head: Arc<ShardHead>,
    state: ShardState,
    bytes: Bytes,
}

impl Shard {
    fn stored(&self) -> StoredShard {
        let Self { head, state, bytes } = self;
        StoredShard { head: Arc::clone(head), state: state.clone(), length: bytes.len() as u64 }
    }
}

/// Room that is given back when its store ends, however it ends.
struct Reserved<'a> {
    disk: &'a MemoryDisk,
    bytes: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.disk.held().reserved -= self.bytes;
    }
}

impl MemoryDisk {
    /// An empty disk that takes `capacity` sealed bytes.
    #[must_use]
    pub fn new(capacity: u64, network: NetworkId) -> Self {
        Self { network, capacity, held: Mutex::default() }
    }

    /// Flips the lowest bit of a stored byte, as a rotting disk does. Answers whether
    /// the byte is there.
    pub fn rot(&self, key: ShardKey, at: usize) -> bool {
        let mut held = self.held();
        let Some(shard) = held.shards.get_mut(&key) else { return false };
        let mut bytes = shard.bytes.to_vec();
        let Some(byte) = bytes.get_mut(at) else { return false };
        *byte ^= 1;
        shard.bytes = bytes.into();
        true
    }

    /// Every shard, with its bytes as they lie here.
    #[must_use]
    pub fn shards(&self) -> Vec<(ShardKey, StoredShard, Bytes)> {
        let held = self.held();
        held.shards.iter().map(|(key, shard)| (*key, shard.stored(), shard.bytes.clone())).collect()
    }

    /// Whether a shard is here.
    #[must_use]
    pub fn has_shard(&self, key: &ShardKey) -> bool {
        self.held().shards.contains_key(key)
    }

    /// Whether a shard's bytes can be read from now on; a shard that is stored anew can.
    pub fn set_readable(&self, key: ShardKey, readable: bool) {
        let mut held = self.held();
        if readable {
            held.unreadable.remove(&key)
        } else {
            held.unreadable.insert(key)
        };
    }

    /// Whether a small value is here.
    #[must_use]
    pub fn has_state(&self, key: &StateKey) -> bool {
        self.held().state.contains_key(key)
    }

    /// Every record with its heads.
    #[must_use]
    pub fn all_records(&self) -> Vec<(RecordKey, Vec<Arc<SignedRecord>>)> {
        self.held().records.iter().map(|(key, heads)| (*key, heads.clone())).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, bytes: u64) -> Result<Reserved<'_>, DiskError> {
        let mut held = self.held();
        let free = self.capacity.saturating_sub(held.used());
        if bytes > free {
            return Err(DiskError::Full { needed: bytes, free });
        }
        held.reserved += bytes;
        Ok(Reserved { disk: self, bytes })
    }
}

impl Held {
    fn stored(&self) -> u64 {
        let shards: u64 = self.shards.values().map(|shard| shard.bytes.len() as u64).sum();
        let records: u64 = self.records.values().flatten().map(|head| sealed_bytes(head)).sum();
        shards + records
    }

    fn used(&self) -> u64 {
        self.stored() + self.reserved
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::ShardState(key, state) => {
                if let Some(shard) = self.shards.get_mut(&key) {
                    shard.state = state.after(&shard.state);
                }
            }
            Change::ShardHead(key, head) => {
                if let Some(shard) = self.shards.get_mut(&key) {
                    shard.head = head;
                }
            }
            Change::DeleteShard(key) => {
                self.shards.remove(&key);
                self.unreadable.remove(&key);
            }
            Change::ExpireShard(key, deadline) => {
                if self.shards.get(&key).is_some_and(|it| it.state.expires_before(deadline)) {
                    self.apply(Change::DeleteShard(key));
                }
            }
            Change::Record(key, heads) if heads.is_empty() => {
                self.records.remove(&key);
            }
            Change::Record(key, heads) => {
                self.records.insert(key, heads);
            }
            Change::Put(key, value) => {
                self.state.insert(key, value);
            }
            Change::Remove(key) => {
                self.state.remove(&key);
            }
        }
    }
}

fn sealed_bytes(head: &SignedRecord) -> u64 {
    match &head.body.content {
        Content::Sealed(bytes) => bytes.len() as u64,
        Content::Deleted => 0,
    }
}

fn io(what: &str, kind: std::io::ErrorKind) -> DiskError {
    DiskError::Io { what: what.to_owned(), source: std::io::Error::from(kind).into() }
}

impl Disk for MemoryDisk {
    async fn store(
        &self,
        head: Arc<ShardHead>,
        state: ShardState,
        body: Body,
    ) -> Result<(), DiskError> {
        let key = ShardKey { stripe: head.descriptor.body.id(), index: head.index };
        let known = self.held().shards.contains_key(&key);
        let room = if known { 0 } else { body.left() };
        let reserved = self.reserve(room)?;
        let bytes = Bytes::from(body.collect().await?);
        if shard_id(&bytes) != head.shard_id() {
            return Err(DiskError::WrongBytes);
        }
        drop(reserved);
        self.held().shards.entry(key).or_insert(Shard { head, state, bytes });
        Ok(())
    }

    async fn shard(&self, key: ShardKey) -> Result<Option<StoredShard>, DiskError> {
        Ok(self.held().shards.get(&key).map(Shard::stored))
    }

    async fn read(&self, key: ShardKey, range: Range<u64>) -> Result<Body, DiskError> {
        let held = self.held();
        let shard = held.shards.get(&key);
        let shard = shard.ok_or_else(|| io("find a shard", std::io::ErrorKind::NotFound))?;
        if held.unreadable.contains(&key) {
            return Err(io("read a shard", std::io::ErrorKind::Other));
        }
        let outside = || io("read a shard", std::io::ErrorKind::InvalidInput);
        if range.start > range.end || range.end > shard.bytes.len() as u64 {
            return Err(outside());
        }
        let place = |at: u64| usize::try_from(at).map_err(|_too_large| outside());
        Ok(Body::whole(shard.bytes.slice(place(range.start)?..place(range.end)?)))
    }

    async fn indices(&self, stripe: StripeId) -> Result<Vec<ShardIndex>, DiskError> {
        let held = self.held();
        let keys = held.shards.keys().filter(|key| key.stripe == stripe);
        Ok(keys.map(|key| key.index).collect())
    }

    async fn holds(&self, locator: Locator) -> Result<Option<PairId>, DiskError> {
        let held = self.held();
        let shard = held.shards.values().find(|shard| {
            stripe_locator(&self.network, &shard.head.descriptor.body.tag) == locator
        });
        if let Some(shard) = shard {
            return Ok(Some(shard.state.pair));
        }
        let mut records = held.records.iter();
        let record = records.find(|(key, _)| file_locator(&self.network, &key.file) == locator);
        let newest = record.and_then(|(_, heads)| {
            heads.iter().map(|head| &head.body.set).max_by_key(|set| set.version)
        });
        Ok(newest.and_then(|set| set.pairs.first().copied()))
    }

    async fn shards_after(
        &self,
        after: Option<ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, StoredShard)>, DiskError> {
        let held = self.held();
        let later = held.shards.iter().filter(|(key, _)| Some(**key) > after);
        Ok(later.take(limit).map(|(key, shard)| (*key, shard.stored())).collect())
    }

    async fn files_after(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileId>, DiskError> {
        let held = self.held();
        let pages = held.records.keys().filter(|key| key.kind == RecordKind::Manifest);
        let files: BTreeSet<_> = pages.map(|key| key.file).collect();
        Ok(files.into_iter().filter(|file| Some(*file) > after).take(limit).collect())
    }

    async fn records_after(
        &self,
        after: Option<RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, DiskError> {
        let held = self.held();
        let later = held.records.keys().filter(|key| Some(**key) > after);
        Ok(later.take(limit).copied().collect())
    }

    async fn records(
        &self,
        keys: Vec<RecordKey>,
    ) -> Result<Vec<Vec<Arc<SignedRecord>>>, DiskError> {
        let held = self.held();
        Ok(keys.iter().map(|key| held.records.get(key).cloned().unwrap_or_default()).collect())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), DiskError> {
        let mut held = self.held();
        let records = |held: &Held| -> u64 {
            held.records.values().flatten().map(|head| sealed_bytes(head)).sum()
        };
        let mut changed = held.clone();
        changes.into_iter().for_each(|change| changed.apply(change));
        let growth = records(&changed).saturating_sub(records(&held));
        let free = self.capacity.saturating_sub(held.used());
        if growth > free {
            return Err(DiskError::Full { needed: growth, free });
        }
        *held = changed;
        Ok(())
    }

    async fn get(&self, key: StateKey) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.held().state.get(&key).cloned())
    }

    async fn scan(
        &self,
        prefix: StateKey,
        limit: usize,
    ) -> Result<Vec<(StateKey, Bytes)>, DiskError> {
        let held = self.held();
        let from = held.state.range(prefix.clone()..);
        let matching = from.take_while(|(key, _)| key.0.starts_with(&prefix.0)).take(limit);
        Ok(matching.map(|(key, value)| (key.clone(), Bytes::from(value.clone()))).collect())
    }

    fn usage(&self) -> Usage {
        let held = self.held();
        Usage {
            capacity: self.capacity,
            used: held.used(),
            shards: held.shards.len() as u64,
            records: held.records.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(capacity: u64, network: NetworkId) -> (MemoryDisk, ()) {
        (MemoryDisk::new(capacity, network), ())
    }

    crate::disk_laws!(make);

    #[tokio::test]
    async fn a_rotten_byte_is_read_as_it_is() {
        let disk = MemoryDisk::new(1 << 20, NetworkId([1; 32]));
        let sample = crate::disk::Sample::new(1, 100);
        sample.store(&disk).await.unwrap();
        assert!(disk.rot(sample.key(), 7));
        let read = disk.read(sample.key(), 7..8).await.unwrap().collect().await.unwrap();
        assert_eq!(read, [sample.sealed[7] ^ 1]);
    }
}

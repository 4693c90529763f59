//! Questions to the index.

use std::sync::Arc;

use bytes::Bytes;
use defs_core::format::Format;
use defs_core::ids::{FileId, Locator, PairId, ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::port::{DiskError, StateKey, StoredShard};
use defs_core::record::{RecordKey, RecordKind, SignedRecord};
use defs_core::stripe::ShardHead;

use crate::apply::Heads;
use crate::index::{Family, damaged, parse_record_key, parse_shard_key, record_key, shard_key};
use crate::locators::{self, Behind};
use crate::place::Stored;
use crate::store::Inner;

/// Entries behind one locator that are looked at: pages of a file and shards of a stripe
/// all name the same pair, or one that is as good.
const BEHIND_MAX: usize = 8;

impl Inner {
    pub(crate) fn shard(&self, key: &ShardKey) -> Result<Option<StoredShard>, DiskError> {
        let Some(stored) = self.stored(key)? else { return Ok(None) };
        self.with_head(key, stored)
    }

    fn with_head(&self, key: &ShardKey, stored: Stored) -> Result<Option<StoredShard>, DiskError> {
        // Without a head it was deleted since `stored` was read.
        let head = self.index.value::<ShardHead>(Family::Heads, &shard_key(key))?;
        Ok(head.map(|head| StoredShard {
            head: Arc::new(head),
            state: stored.state,
            length: stored.place.length,
        }))
    }

    pub(crate) fn indices(&self, stripe: &StripeId) -> Result<Vec<ShardIndex>, DiskError> {
        let keys = self.index.keys(Family::Shards, &stripe.0, usize::MAX)?;
        Ok(keys.iter().filter_map(|key| Some(parse_shard_key(key)?.index)).collect())
    }

    pub(crate) fn holds(&self, locator: &Locator) -> Result<Option<PairId>, DiskError> {
        for key in self.index.keys(Family::Locators, &locator.0, BEHIND_MAX)? {
            let pair = match locators::parse(&key) {
                Some(Behind::Shard(key)) => self.stored(&key)?.map(|stored| stored.state.pair),
                Some(Behind::Record(key)) => self.pair_of_record(&key)?,
                None => None,
            };
            if pair.is_some() {
                return Ok(pair);
            }
        }
        Ok(None)
    }

    /// The first pair of the newest set: which of the set's pairs this node is in, the
    /// disk doesn't know, and each of them is asked for the whole set's quorum anyway.
    fn pair_of_record(&self, key: &RecordKey) -> Result<Option<PairId>, DiskError> {
        let heads = self.record(key)?;
        let newest = heads.iter().map(|head| &head.body.set).max_by_key(|set| set.version);
        Ok(newest.and_then(|set| set.pairs.first().copied()))
    }

    pub(crate) fn shards_after(
        &self,
        after: Option<&ShardKey>,
        limit: usize,
    ) -> Result<Vec<(ShardKey, StoredShard)>, DiskError> {
        let from = after.map_or(Vec::new(), |key| shard_key(key).to_vec());
        let mut found = Vec::new();
        self.index.visit(Family::Shards, &from, |key, value| {
            if found.len() == limit {
                return Ok(false);
            }
            if let Some(key) = parse_shard_key(key).filter(|key| Some(key) != after) {
                let stored = Stored::decode(value).map_err(|e| damaged(Family::Shards, &e))?;
                found.extend(self.with_head(&key, stored)?.map(|shard| (key, shard)));
            }
            Ok(true)
        })?;
        Ok(found)
    }

    pub(crate) fn files_after(
        &self,
        after: Option<&FileId>,
        limit: usize,
    ) -> Result<Vec<FileId>, DiskError> {
        // Behind the last page that the file could have.
        let behind = |file: &FileId| record_key(&RecordKey::manifest(*file, u32::MAX));
        let from = after.map_or(Vec::new(), behind);
        let mut found: Vec<FileId> = Vec::new();
        self.index.visit(Family::Sizes, &from, |key, _| {
            let key = parse_record_key(key).filter(|key| key.kind == RecordKind::Manifest);
            // Manifests come first.
            let Some(RecordKey { file, .. }) = key else { return Ok(false) };
            if Some(&file) != after && found.last() != Some(&file) {
                if found.len() == limit {
                    return Ok(false);
                }
                found.push(file);
            }
            Ok(true)
        })?;
        Ok(found)
    }

    pub(crate) fn records_after(
        &self,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, DiskError> {
        let from = after.map_or(Vec::new(), record_key);
        let mut found = Vec::new();
        self.index.visit(Family::Sizes, &from, |key, _| {
            if found.len() == limit {
                return Ok(false);
            }
            found.extend(parse_record_key(key).filter(|key| Some(key) != after));
            Ok(true)
        })?;
        Ok(found)
    }

    pub(crate) fn record(&self, key: &RecordKey) -> Result<Vec<Arc<SignedRecord>>, DiskError> {
        let heads = self.index.value::<Heads>(Family::Records, &record_key(key))?;
        Ok(heads.map_or(Vec::new(), |heads| heads.0))
    }

    pub(crate) fn get(&self, key: &StateKey) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.index.get(Family::State, &key.0)?.map(|value| value.to_vec()))
    }

    pub(crate) fn scan(
        &self,
        prefix: &StateKey,
        limit: usize,
    ) -> Result<Vec<(StateKey, Bytes)>, DiskError> {
        let mut found = Vec::new();
        self.index.visit(Family::State, &prefix.0, |key, value| {
            let more = found.len() < limit && key.starts_with(&prefix.0);
            if more {
                found.push((StateKey(key.to_vec()), Bytes::copy_from_slice(value)));
            }
            Ok(more)
        })?;
        Ok(found)
    }
}

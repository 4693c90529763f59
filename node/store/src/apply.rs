//! Changes of small things: one batch, durable as a whole or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::message::ShardKey;
use defs_core::port::{Change, DiskError, ShardState};
use defs_core::record::{Content, HEADS_MAX, RecordKey, SignedRecord};
use defs_core::stripe::ShardHead;

use crate::index::{Batch, Family, damaged, record_key, shard_key};
use crate::locators;
use crate::locked::Key;
use crate::place::{Home, Place};
use crate::store::Inner;

/// The heads of a record as they are stored.
#[derive(Debug)]
pub(crate) struct Heads(pub(crate) Vec<Arc<SignedRecord>>);

impl Format for Heads {
    const NAME: &'static str = "a record's heads";
    fn write(&self, out: &mut Writer) {
        out.list(&self.0, |out, head| head.write_versioned(out));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let read = |input: &mut Reader<'_>| SignedRecord::read_versioned(input).map(Arc::new);
        input.list("heads", HEADS_MAX, read).map(Self)
    }
}

/// Sealed bytes of a record, which its room is counted by: none in a deleted one, so
/// that a full disk can still take the deletion.
fn sealed_bytes(heads: &[Arc<SignedRecord>]) -> u64 {
    heads
        .iter()
        .map(|head| match &head.body.content {
            Content::Sealed(bytes) => bytes.len() as u64,
            Content::Deleted => 0,
        })
        .sum()
}

/// What a batch does beside its index entries.
#[derive(Debug, Default)]
struct Effects {
    freed: BTreeMap<ShardKey, Place>,
    /// Sealed bytes before and after; `None` where there is no record.
    records: BTreeMap<RecordKey, (Option<u64>, Option<u64>)>,
}

impl Effects {
    /// Sealed bytes that the batch adds to records.
    fn growth(&self) -> u64 {
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        let before = sum(&mut self.records.values().filter_map(|(before, _)| *before));
        let after = sum(&mut self.records.values().filter_map(|(_, after)| *after));
        after.saturating_sub(before)
    }
}

impl Inner {
    /// Changes are made in their order. A state of a shard that isn't here is passed
    /// over, and so is the deletion of one.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Result<(), DiskError> {
        let _held = self.keys.hold(changes.iter().filter_map(changed_key));
        let (mut batch, mut effects) = (self.index.batch(), Effects::default());
        for change in changes {
            match change {
                Change::ShardState(key, state) => {
                    self.change_state(&mut batch, &effects, &key, state)?;
                }
                Change::ShardHead(key, head) => {
                    self.change_head(&mut batch, &effects, &key, &head)?;
                }
                Change::DeleteShard(key) => self.delete_shard(&mut batch, &mut effects, &key)?,
                Change::ExpireShard(key, deadline) => {
                    if self.stored(&key)?.is_some_and(|it| it.state.expires_before(deadline)) {
                        self.delete_shard(&mut batch, &mut effects, &key)?;
                    }
                }
                Change::Record(key, heads) => {
                    self.change_record(&mut batch, &mut effects, key, heads)?;
                }
                Change::Put(key, value) => batch.put(Family::State, &key.0, &value),
                Change::Remove(key) => batch.delete(Family::State, &key.0),
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let _room = self.space.reserve(effects.growth())?;
        self.write_index(batch)?;
        for (before, after) in effects.records.into_values() {
            self.space.change_record(before, after);
        }
        for (key, place) in &effects.freed {
            self.free(key, place);
        }
        Ok(())
    }

    fn change_state(
        &self,
        batch: &mut Batch<'_>,
        effects: &Effects,
        key: &ShardKey,
        state: ShardState,
    ) -> Result<(), DiskError> {
        if effects.freed.contains_key(key) {
            return Ok(());
        }
        if let Some(stored) = self.stored(key)? {
            let state = state.after(&stored.state);
            let stored = crate::place::Stored { state, ..stored };
            batch.put(Family::Shards, &shard_key(key), &stored.encode());
        }
        Ok(())
    }

    fn change_head(
        &self,
        batch: &mut Batch<'_>,
        effects: &Effects,
        key: &ShardKey,
        head: &ShardHead,
    ) -> Result<(), DiskError> {
        if !effects.freed.contains_key(key) && self.stored(key)?.is_some() {
            batch.put(Family::Heads, &shard_key(key), &head.encode());
        }
        Ok(())
    }

    fn delete_shard(
        &self,
        batch: &mut Batch<'_>,
        effects: &mut Effects,
        key: &ShardKey,
    ) -> Result<(), DiskError> {
        if effects.freed.contains_key(key) {
            return Ok(());
        }
        let Some(stored) = self.stored(key)? else { return Ok(()) };
        let bytes = shard_key(key);
        if let Some(head) = self.index.value::<ShardHead>(Family::Heads, &bytes)? {
            let tag = &head.descriptor.body.tag;
            batch.delete(Family::Locators, &locators::of_shard(&self.network, tag, key));
        }
        batch.delete(Family::Shards, &bytes);
        batch.delete(Family::Heads, &bytes);
        if stored.place.home == Home::File {
            batch.put(Family::Trash, &bytes, &[]);
        }
        effects.freed.insert(*key, stored.place);
        Ok(())
    }

    fn change_record(
        &self,
        batch: &mut Batch<'_>,
        effects: &mut Effects,
        key: RecordKey,
        heads: Vec<Arc<SignedRecord>>,
    ) -> Result<(), DiskError> {
        let bytes = record_key(&key);
        let before = match effects.records.get(&key) {
            Some((before, _)) => *before,
            None => self.record_size(&bytes)?,
        };
        let locator = locators::of_record(&self.network, &key);
        let after = if heads.is_empty() {
            batch.delete(Family::Records, &bytes);
            batch.delete(Family::Sizes, &bytes);
            batch.delete(Family::Locators, &locator);
            None
        } else {
            let sealed = sealed_bytes(&heads);
            batch.put(Family::Records, &bytes, &Heads(heads).encode());
            batch.put(Family::Sizes, &bytes, &sealed.to_le_bytes());
            batch.put(Family::Locators, &locator, &[]);
            Some(sealed)
        };
        effects.records.insert(key, (before, after));
        Ok(())
    }

    fn record_size(&self, key: &[u8]) -> Result<Option<u64>, DiskError> {
        let Some(bytes) = self.index.get(Family::Sizes, key)? else { return Ok(None) };
        parse_size(&bytes).map(Some)
    }
}

pub(crate) fn parse_size(bytes: &[u8]) -> Result<u64, DiskError> {
    let size = bytes.try_into().map(u64::from_le_bytes);
    size.map_err(|_length| damaged(Family::Sizes, &FormatError::Invalid("size")))
}

fn changed_key(change: &Change) -> Option<Key> {
    match change {
        Change::ShardState(key, _)
        | Change::ShardHead(key, _)
        | Change::DeleteShard(key)
        | Change::ExpireShard(key, _) => Some(Key::Shard(*key)),
        Change::Record(key, _) => Some(Key::Record(*key)),
        Change::Put(..) | Change::Remove(_) => None,
    }
}

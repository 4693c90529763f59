//! Versions of records: checked, merged into the heads that are here, and made durable
//! at both members before anything is acknowledged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use defs_core::format::Format;
use defs_core::ids::{Digest, Epoch, NodeId, PairId};
use defs_core::message::{ItemResult, MESSAGE_MAX, Reason, Refusal, Request, Response};
use defs_core::network::{PairRecord, Role};
use defs_core::port::{Change, Clock, Disk};
use defs_core::receipt::{Kept, Receipt, SignedReceipt};
use defs_core::record::{Content, HEADS_MAX, RecordKey, SignedRecord, merge_heads};
use defs_core::statement::Operations;
use defs_telemetry::{spans, trace};
use tokio::sync::{Mutex, MutexGuard};

use crate::config::World;
use crate::engine::Engine;
use crate::keep::bounded;
use crate::refuse::{disk_refusal, refuse};
use crate::stamp::stamp;

/// Locks that spread read-modify-write over keys: enough that writers of different
/// records rarely wait for each other's disk.
const STRIPES: usize = 64;

/// One writer at a time for each record.
#[derive(Debug)]
pub(crate) struct KeyLocks([Mutex<()>; STRIPES]);

impl Default for KeyLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl KeyLocks {
    /// Holds the locks of all `keys`, taken in one order so that two batches never wait
    /// for each other.
    async fn hold<'a>(&'a self, keys: impl Iterator<Item = &RecordKey>) -> Vec<MutexGuard<'a, ()>> {
        let stripes: BTreeSet<_> = keys.map(|key| usize::from(key.file.0[0]) % STRIPES).collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(self.0[stripe].lock().await);
        }
        guards
    }
}

/// Encoded heads that an answer carries at most: what a message takes, less the framing of
/// [`BATCH_ITEMS_MAX`](defs_core::message::BATCH_ITEMS_MAX) items and the words of their
/// refusals.
const ANSWER_MAX: usize = MESSAGE_MAX - (64 << 10);

/// Records read at once: with eight versions of the largest size, 16 MiB.
const READ_AT_ONCE: usize = 8;

/// Sealed bytes of heads that are merged before they are written: what a batch of small
/// records stays below, so that it costs one sync. A batch that names records with many
/// large versions is written in several.
const MERGED_MAX: usize = 16 << 20;

type Heads = Vec<Arc<SignedRecord>>;
type Receipts = ItemResult<Vec<SignedReceipt>>;

impl<W: World> Engine<W> {
    pub(crate) async fn write_records(
        &self,
        caller: NodeId,
        (pair, epoch): (PairId, Epoch),
        records: Vec<Arc<SignedRecord>>,
        forward: bool,
    ) -> Result<Response, Refusal> {
        bounded(records.len())?;
        let own = self.own_pair_at(pair, epoch)?;
        if forward {
            self.check_primary(&own)?;
        } else if own.partner_of(&self.me) != Some(caller) {
            return Err(refuse(Reason::NotAllowed, "only the partner may send records to mirror"));
        }
        let checked: Vec<_> =
            records.iter().map(|record| self.check_record(record, &pair)).collect();
        if !forward {
            return Ok(Response::Written(self.keep_records(&own, &records, checked).await?));
        }
        let mirrored =
            Request::WriteRecords { pair, epoch, records: records.clone(), forward: false };
        let written = self.keep_at_both(&own, &records, checked, mirrored).await?;
        Ok(Response::Written(self.pass_to_stand_ins(&own, &records, written).await?))
    }

    /// Keeps records here while the mirror does what `mirrored` asks: an item counts only if
    /// both members kept it.
    pub(crate) async fn keep_at_both(
        &self,
        own: &PairRecord,
        records: &[Arc<SignedRecord>],
        checked: Vec<Result<(), Refusal>>,
        mirrored: Request,
    ) -> Result<Vec<Receipts>, Refusal> {
        let mine = self.keep_records(own, records, checked);
        let (mine, mirrored) = tokio::join!(mine, self.ask_partner(mirrored));
        let mine = mine?;
        let Response::Written(theirs) = mirrored? else {
            return Err(refuse(Reason::Degraded, "the mirror answered something else"));
        };
        if theirs.len() != mine.len() {
            return Err(refuse(Reason::Degraded, "the mirror answered for other records"));
        }
        Ok(mine.into_iter().zip(theirs).map(both).collect())
    }

    pub(crate) fn check_primary(&self, own: &PairRecord) -> Result<(), Refusal> {
        if own.role_of(&self.me) != Some(Role::Primary) {
            let detail = format!("this node is the mirror of pair {}: ask its primary", own.pair);
            return Err(refuse(Reason::WrongEpoch, detail));
        }
        let now = self.clock.elapsed();
        if self.membership.partner_alive(now, self.config.timings.watch.suspect_after()) {
            return Ok(());
        }
        Err(refuse(Reason::Degraded, "the pair has one member only now and takes no writes"))
    }

    pub(crate) fn check_record(&self, record: &SignedRecord, pair: &PairId) -> Result<(), Refusal> {
        let body = &record.body;
        if !body.set.pairs.contains(pair) {
            return Err(refuse(Reason::NotAllowed, "the record's set does not name this pair"));
        }
        self.check_owner(record)
    }

    /// Whether a record is its owner's.
    pub(crate) fn check_owner(&self, record: &SignedRecord) -> Result<(), Refusal> {
        let body = &record.body;
        if !body.names_its_lock() {
            let detail = "the file id is not the one that this lock may write under";
            return Err(refuse(Reason::NotAuthorised, detail));
        }
        self.check_statement(record, &body.lock)
    }

    /// Merges what was checked into the heads that are here, and signs for it once it is
    /// durable.
    pub(crate) async fn keep_records(
        &self,
        own: &PairRecord,
        records: &[Arc<SignedRecord>],
        checked: Vec<Result<(), Refusal>>,
    ) -> Result<Vec<Receipts>, Refusal> {
        let span = spans::record_write(records.len() as u64, own.pair);
        trace::within(span, self.merge_records(own, records, checked)).await
    }

    async fn merge_records(
        &self,
        own: &PairRecord,
        records: &[Arc<SignedRecord>],
        checked: Vec<Result<(), Refusal>>,
    ) -> Result<Vec<Receipts>, Refusal> {
        let _held = self.key_locks.hold(records.iter().map(|record| &record.body.key)).await;
        let checked: Vec<_> = records.iter().zip(checked).collect();
        let mut outcome: Vec<Result<Digest, Refusal>> = Vec::with_capacity(records.len());
        let mut merging = Merging::default();
        for some in checked.chunks(READ_AT_ONCE) {
            self.load(&mut merging, some).await?;
            for (record, checked) in some {
                outcome.push(match checked {
                    Ok(()) => merging.add(record),
                    Err(refusal) => Err(refusal.clone()),
                });
            }
            if merging.sealed_bytes() > MERGED_MAX {
                self.write(own, std::mem::take(&mut merging)).await?;
            }
        }
        self.write(own, merging).await?;
        Ok(self.sign_for(own, outcome))
    }

    /// Reads the heads of those records that passed and are not loaded yet.
    async fn load(
        &self,
        merging: &mut Merging,
        checked: &[(&Arc<SignedRecord>, Result<(), Refusal>)],
    ) -> Result<(), Refusal> {
        let passed = checked.iter().filter(|(_, checked)| checked.is_ok());
        let keys: BTreeSet<_> = passed.map(|(record, _)| record.body.key).collect();
        let keys = keys.into_iter().filter(|key| !merging.heads.contains_key(key));
        let keys: Vec<_> = keys.collect();
        let heads = self.disk.records(keys.clone()).await.map_err(disk_refusal)?;
        merging.heads.extend(keys.into_iter().zip(heads));
        Ok(())
    }

    /// Makes what was merged durable, all or none, and has the hash table told where it is.
    async fn write(&self, own: &PairRecord, merging: Merging) -> Result<(), Refusal> {
        let Merging { mut heads, changed } = merging;
        if changed.is_empty() {
            return Ok(());
        }
        let changes = changed
            .iter()
            .map(|key| Change::Record(*key, heads.remove(key).unwrap_or_default()))
            .collect();
        self.disk.apply(changes).await.map_err(disk_refusal)?;
        if own.role_of(&self.me) == Some(Role::Primary) {
            let files: BTreeSet<_> = changed.iter().map(|key| key.file).collect();
            self.untold.add(files);
        }
        Ok(())
    }

    fn sign_for(&self, own: &PairRecord, outcome: Vec<Result<Digest, Refusal>>) -> Vec<Receipts> {
        let receipt = |hash: &Digest| Receipt {
            kept: Kept::Record(*hash),
            pair: own.pair,
            epoch: own.epoch,
            node: self.me,
        };
        let kept: Vec<_> =
            outcome.iter().filter_map(|item| item.as_ref().ok()).map(receipt).collect();
        self.metrics.records_written.add(kept.len() as u64);
        self.metrics.receipts.add(kept.len() as u64);
        let stamped = spans::receipt_sign().in_scope(|| stamp(&self.key, &self.network, &kept));
        let mut stamped = stamped.into_iter();
        outcome
            .into_iter()
            .map(|item| item.map(|_hash| stamped.next().into_iter().collect()))
            .collect()
    }

    pub(crate) async fn read_records(
        &self,
        caller: NodeId,
        keys: Vec<RecordKey>,
    ) -> Result<Response, Refusal> {
        bounded(keys.len())?;
        // What is missing here may be at the partner.
        if self.is_syncing() && self.membership.partner() != Some(caller) {
            return Err(refuse(Reason::Busy, "this node is still taking over its pair's records"));
        }
        self.check_confirmed().await?;
        self.read_heads(keys, |heads| self.readable(&caller, heads)).await
    }

    /// All heads of records that `may_read` lets through.
    pub(crate) async fn read_heads(
        &self,
        keys: Vec<RecordKey>,
        may_read: impl Fn(Heads) -> ItemResult<Heads> + Send,
    ) -> Result<Response, Refusal> {
        bounded(keys.len())?;
        let mut answer = Answer::default();
        for some in keys.chunks(READ_AT_ONCE) {
            if answer.is_full {
                answer.refuse(some.len());
                continue;
            }
            for heads in self.disk.records(some.to_vec()).await.map_err(disk_refusal)? {
                answer.add(may_read(heads));
            }
        }
        let heads = answer.items.iter().flatten().map(|heads| heads.len() as u64);
        self.metrics.records_read.add(heads.sum());
        Ok(Response::Records(answer.items))
    }

    fn readable(&self, caller: &NodeId, heads: Heads) -> ItemResult<Heads> {
        for head in &heads {
            self.check_right(caller, &head.body.lock, Operations::READ)?;
        }
        Ok(heads)
    }
}

/// Records that are being changed, with all their heads.
#[derive(Debug, Default)]
struct Merging {
    heads: BTreeMap<RecordKey, Heads>,
    changed: BTreeSet<RecordKey>,
}

impl Merging {
    fn add(&mut self, record: &Arc<SignedRecord>) -> Result<Digest, Refusal> {
        let key = record.body.key;
        if merge(self.heads.entry(key).or_default(), record)? {
            self.changed.insert(key);
        }
        Ok(record.body.hash())
    }

    fn sealed_bytes(&self) -> usize {
        let sealed = |head: &Arc<SignedRecord>| match &head.body.content {
            Content::Sealed(bytes) => bytes.len(),
            Content::Deleted => 0,
        };
        self.heads.values().flatten().map(sealed).sum()
    }
}

/// What is answered to a read, as much of it as one message takes.
#[derive(Debug, Default)]
struct Answer {
    items: Vec<ItemResult<Heads>>,
    bytes: usize,
    /// From here on every item is refused: whoever asks for these again, alone, gets them.
    is_full: bool,
}

impl Answer {
    fn add(&mut self, item: ItemResult<Heads>) {
        if self.is_full {
            return self.refuse(1);
        }
        let Ok(heads) = item else { return self.items.push(item) };
        let bytes: usize = heads.iter().map(|head| bytes_of(head)).sum();
        let room = ANSWER_MAX.saturating_sub(self.bytes);
        if bytes <= room {
            self.bytes = self.bytes.saturating_add(bytes);
            return self.items.push(Ok(heads));
        }
        // A record whose versions fill a message by themselves would else never be read.
        let is_alone = self.bytes == 0;
        self.is_full = true;
        if is_alone {
            self.items.push(Ok(newest_within(heads, room)));
        } else {
            self.refuse(1);
        }
    }

    fn refuse(&mut self, items: usize) {
        let later = || Err(refuse(Reason::Busy, "the answer is full: ask for this again"));
        self.items.extend(std::iter::repeat_with(later).take(items));
    }
}

/// The newest of `heads` that fit `room`.
fn newest_within(mut heads: Heads, mut room: usize) -> Heads {
    heads.sort_by_cached_key(|head| Reverse((head.body.counter, head.body.hash())));
    let fit = heads.iter().map_while(|head| {
        room = room.checked_sub(bytes_of(head))?;
        Some(())
    });
    let fit = fit.count();
    heads.truncate(fit);
    heads
}

fn bytes_of(head: &SignedRecord) -> usize {
    head.encode().len()
}

/// Adds `record` to the heads. Whether they changed: a version that is here already, or
/// was replaced, is acknowledged again and changes nothing.
fn merge(heads: &mut Vec<Arc<SignedRecord>>, record: &Arc<SignedRecord>) -> Result<bool, Refusal> {
    let before: Vec<_> = heads.iter().map(|head| head.as_ref().clone()).collect();
    let after = merge_heads(&before, record);
    if after == before {
        return Ok(false);
    }
    if after.len() > HEADS_MAX {
        let detail = format!("the record has {HEADS_MAX} versions side by side: merge them first");
        return Err(refuse(Reason::TooMany, detail));
    }
    *heads = after.into_iter().map(Arc::new).collect();
    Ok(true)
}

/// An item counts only if both members kept it.
fn both((mine, theirs): (Receipts, Receipts)) -> Receipts {
    let mut receipts = mine?;
    receipts.extend(theirs?);
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_that_share_keys_do_not_lock_each_other_out() {
        let locks = KeyLocks::default();
        let key = |byte: u8| RecordKey::manifest(defs_core::ids::FileId([byte; 32]), 0);
        let (forth, back) = ([key(1), key(2)], [key(2), key(1)]);
        for _ in 0..100 {
            let one = async { drop(locks.hold(forth.iter()).await) };
            let two = async { drop(locks.hold(back.iter()).await) };
            tokio::join!(one, two);
        }
    }
}

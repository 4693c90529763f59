//! Versions of records: checked, merged into the heads that are here, and made durable
//! at both members before anything is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use defs_core::digest::file_locator;
use defs_core::ids::{Digest, Epoch, NodeId, PairId};
use defs_core::message::{ItemResult, Reason, Refusal, Request, Response};
use defs_core::network::{PairRecord, Role};
use defs_core::port::{Change, Clock, Disk, Publish};
use defs_core::receipt::{Kept, Receipt, SignedReceipt};
use defs_core::record::{HEADS_MAX, RecordKey, SignedRecord, merge_heads};
use defs_core::statement::Operations;
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
        let mine = self.keep_records(&own, &records, checked);
        let mirrored = async {
            if !forward {
                return Ok(None);
            }
            let request =
                Request::WriteRecords { pair, epoch, records: records.clone(), forward: false };
            self.ask_partner(request).await.map(Some)
        };
        let (mine, mirrored) = tokio::join!(mine, mirrored);
        let mine = mine?;
        let Some(response) = mirrored? else {
            return Ok(Response::Written(mine));
        };
        let Response::Written(theirs) = response else {
            return Err(refuse(Reason::Degraded, "the mirror answered something else"));
        };
        if theirs.len() != mine.len() {
            return Err(refuse(Reason::Degraded, "the mirror answered for other records"));
        }
        Ok(Response::Written(mine.into_iter().zip(theirs).map(both).collect()))
    }

    fn check_primary(&self, own: &PairRecord) -> Result<(), Refusal> {
        if own.role_of(&self.me) != Some(Role::Primary) {
            let detail = format!("this node is the mirror of pair {}: ask its primary", own.pair);
            return Err(refuse(Reason::WrongEpoch, detail));
        }
        let now = self.clock.elapsed();
        if self.membership.partner_alive(now, self.config.timings.suspect_after) {
            return Ok(());
        }
        Err(refuse(Reason::Degraded, "the pair has one member only now and takes no writes"))
    }

    fn check_record(&self, record: &SignedRecord, pair: &PairId) -> Result<(), Refusal> {
        let body = &record.body;
        if !body.names_its_lock() {
            let detail = "the file id is not the one that this lock may write under";
            return Err(refuse(Reason::NotAuthorised, detail));
        }
        if !body.set.pairs.contains(pair) {
            return Err(refuse(Reason::NotAllowed, "the record's set does not name this pair"));
        }
        self.check_statement(record, &body.lock)
    }

    /// Merges what was checked into the heads that are here, durable as a whole, and
    /// signs for it.
    async fn keep_records(
        &self,
        own: &PairRecord,
        records: &[Arc<SignedRecord>],
        checked: Vec<Result<(), Refusal>>,
    ) -> Result<Vec<Receipts>, Refusal> {
        let _held = self.key_locks.hold(records.iter().map(|record| &record.body.key)).await;
        let mut heads = self.heads_of(records).await?;
        let mut outcome: Vec<Result<Digest, Refusal>> = Vec::with_capacity(records.len());
        let mut changed = BTreeSet::new();
        for (record, checked) in records.iter().zip(checked) {
            let key = record.body.key;
            let known = heads.entry(key).or_default();
            outcome.push(checked.and_then(|()| {
                if merge(known, record)? {
                    changed.insert(key);
                }
                Ok(record.body.hash())
            }));
        }
        let changes: Vec<_> = changed
            .iter()
            .map(|key| Change::Record(*key, heads.get(key).cloned().unwrap_or_default()))
            .collect();
        if !changes.is_empty() {
            self.disk.apply(changes).await.map_err(disk_refusal)?;
        }
        if own.role_of(&self.me) == Some(Role::Primary) {
            for key in changed {
                self.peers.provide(file_locator(&self.network, &key.file), own.pair);
            }
        }
        Ok(self.sign_for(own, outcome))
    }

    async fn heads_of(
        &self,
        records: &[Arc<SignedRecord>],
    ) -> Result<BTreeMap<RecordKey, Vec<Arc<SignedRecord>>>, Refusal> {
        let keys: BTreeSet<_> = records.iter().map(|record| record.body.key).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let heads = self.disk.records(keys.clone()).await.map_err(disk_refusal)?;
        Ok(keys.into_iter().zip(heads).collect())
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
        let mut stamped = stamp(&self.key, &self.network, &kept).into_iter();
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
        let found = self.disk.records(keys).await.map_err(disk_refusal)?;
        let allowed = |heads: Vec<Arc<SignedRecord>>| {
            for head in &heads {
                self.check_right(&caller, &head.body.lock, Operations::READ)?;
            }
            Ok(heads)
        };
        Ok(Response::Records(found.into_iter().map(allowed).collect()))
    }
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

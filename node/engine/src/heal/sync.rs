//! Taking over what the partner has and this node lacks: everything, by a new member; what
//! differs, after an absence and every hour. Each shard is checked against its owner's word
//! before it counts, so a partner can withhold and never falsify.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId, StripeId};
use defs_core::message::{
    BATCH_ITEMS_MAX, Item, ItemKind, Reason, Refusal, Request, Response, ShardCopy, ShardKey,
    Summary,
};
use defs_core::network::{Activity, PairRecord};
use defs_core::port::{CallError, Change, Clock, Disk, Peers, Reply, ShardState, StateKey};
use defs_core::statement::{Signed, Tombstone};
use defs_telemetry::{spans, trace};
use futures::StreamExt;
use tracing::Span;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::scrub::Found;
use crate::heal::summary::{parts, record_of, shard_of, tombstone_of};
use crate::keep::{LEASE_MAX, bounded, owed_key, tombstone_key};
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// Shards that are copied at once: enough that the disk has one to write while others wait to
/// be synced, and half of the lanes to a peer, which audits and summaries need too.
const COPIES_AT_ONCE: usize = 8;

/// What is known to be lacking is taken when it is so much.
const LACKING_MAX: usize = 4096;

/// Before a copy that broke off goes on.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Set while this node has not yet all that its partner had when it joined.
fn sync_key() -> StateKey {
    StateKey(b"sync".to_vec())
}

/// The mark that all of the pair is still to be taken over, since `epoch`.
pub(crate) fn sync_change(epoch: Epoch) -> Change {
    Change::Put(sync_key(), epoch.0.to_le_bytes().to_vec())
}

/// Shards whose giving is remembered.
const GIVEN_MAX: usize = 4096;

/// The shards that the partner got last.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<(BTreeSet<ShardKey>, VecDeque<ShardKey>)>);

impl Given {
    /// Whether the shard was not given lately; from now on it was.
    fn is_first(&self, key: ShardKey) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, order) = &mut *state;
        if !keys.insert(key) {
            return false;
        }
        order.push_back(key);
        if order.len() > GIVEN_MAX
            && let Some(oldest) = order.pop_front()
        {
            keys.remove(&oldest);
        }
        true
    }
}

/// What one comparison brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    pub(crate) shards: u64,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) tombstones: u64,
    pub(crate) promises: u64,
}

impl<W: World> Engine<W> {
    /// Reads back whether the pair was still being taken over when this node stopped.
    pub(crate) async fn recall_sync(&self) -> Result<(), defs_core::port::DiskError> {
        if self.disk.get(sync_key()).await?.is_some() {
            self.begin_sync();
        }
        Ok(())
    }

    pub(crate) fn begin_sync(&self) {
        self.syncing.store(true, Ordering::Relaxed);
        self.sync_wanted.notify_one();
    }

    /// Whether this node lacks what its partner has.
    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.load(Ordering::Relaxed)
    }

    /// What this node does now, as its card says.
    pub(crate) fn activity(&self) -> Activity {
        let is_to_leave = self.wishes.want(&self.me) == Some(defs_core::wish::Want::Drain);
        if is_to_leave || self.steps_back.load(Ordering::Relaxed) {
            Activity::Draining
        } else if self.is_syncing() || self.is_preparing() {
            Activity::Syncing
        } else {
            Activity::Ready
        }
    }

    /// Compares with the partner when something happened, and every now and then.
    pub(crate) async fn keep_in_sync(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.sync_wanted.notified() => {}
                () = self.clock.sleep(self.config.timings.compare) => {}
            }
            if let Err(error) = self.compare_with_partner().await {
                tracing::debug!(%error, "not compared to the end");
                self.clock.sleep(AGAIN_AFTER).await;
                self.sync_wanted.notify_one();
            }
        }
    }

    async fn compare_with_partner(&self) -> Result<(), Refusal> {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return Ok(()) };
        let Some(partner) = own.partner_of(&self.me) else { return Ok(()) };
        let brought = trace::within(self.copying_span(&own), self.compare(&own, partner)).await?;
        if brought != Brought::default() {
            tracing::info!(pair = %own.pair, ?brought, "taken over from the partner");
        }
        self.end_sync(&own).await;
        Ok(())
    }

    /// In the trace of the wish that brought this node into the pair, while it is new in it.
    fn copying_span(&self, own: &PairRecord) -> Span {
        if !self.is_syncing() {
            return Span::none();
        }
        let trace = self.wishes.trace_step_of_heir(&self.me, &own.pair);
        trace::following(trace, || spans::pair_copy(own.pair))
    }

    async fn end_sync(&self, own: &PairRecord) {
        if !self.is_syncing() {
            return;
        }
        let still_own = self.membership.own_pair().is_some_and(|now| now.record.pair == own.pair);
        if !still_own {
            return;
        }
        tracing::info!(pair = %own.pair, "this node holds all that its partner holds");
        self.forget_sync().await;
    }

    /// A node that was put out of its pair, or came too late into it, takes nothing over: else
    /// it would be no spare ever again.
    pub(crate) async fn sync_no_more(&self) {
        if !self.is_syncing() {
            return;
        }
        // Whoever joins has the mark a moment before the pair.
        let _promising = self.forming.lock().await;
        if self.membership.own_pair().is_none() {
            self.forget_sync().await;
        }
    }

    async fn forget_sync(&self) {
        match self.disk.apply(vec![Change::Remove(sync_key())]).await {
            Ok(()) => {
                self.syncing.store(false, Ordering::Relaxed);
                // Until others hear it, none of them reads here or counts on the pair.
                self.tell_card();
            }
            Err(error) => self.note_failure(Err(error)),
        }
    }

    /// Takes over all that differs.
    pub(crate) async fn compare(
        &self,
        own: &PairRecord,
        partner: NodeId,
    ) -> Result<Brought, Refusal> {
        let mut brought = Brought::default();
        for kind in ItemKind::ALL {
            let mut lacking = Vec::new();
            let mut prefixes = vec![Vec::new()];
            while let Some(prefix) = prefixes.pop() {
                let request = Request::Summary {
                    pair: own.pair,
                    epoch: own.epoch,
                    kind,
                    prefix: prefix.clone(),
                };
                let Response::Summary(theirs) = self.ask(partner, request).await?.response else {
                    return Err(unexpected());
                };
                let mine = self.items(&own.pair, kind, &prefix).await?;
                match theirs {
                    Summary::Items(theirs) => {
                        let differ = |item: &Item| mine.binary_search(item).is_err();
                        lacking.extend(theirs.into_iter().filter(differ));
                        // A part may name a single shard: copies of many parts overlap.
                        if lacking.len() >= LACKING_MAX {
                            let some = std::mem::take(&mut lacking);
                            self.take_all((own, partner), kind, some, &mut brought).await?;
                        }
                    }
                    Summary::Parts(theirs) => {
                        let mine = parts(&mine, &prefix);
                        let differing = (0_u8..=u8::MAX)
                            .zip(mine.iter().zip(&theirs))
                            .filter(|(_, (mine, theirs))| mine != theirs && **theirs != [0; 16]);
                        prefixes.extend(
                            differing.map(|(byte, _)| [prefix.as_slice(), &[byte]].concat()),
                        );
                    }
                }
            }
            self.take_all((own, partner), kind, lacking, &mut brought).await?;
        }
        Ok(brought)
    }

    async fn take_all(
        &self,
        (own, partner): (&PairRecord, NodeId),
        kind: ItemKind,
        items: Vec<Item>,
        brought: &mut Brought,
    ) -> Result<(), Refusal> {
        match kind {
            ItemKind::Tombstone => {
                let stripes: Vec<_> = items.iter().filter_map(tombstone_of).collect();
                for some in stripes.chunks(BATCH_ITEMS_MAX / 4) {
                    brought.tombstones += self.take_tombstones(own, partner, some).await?;
                }
            }
            ItemKind::StandIn => brought.promises += self.take_stand_ins(&items).await?,
            ItemKind::Record => {
                let keys: Vec<_> = items.iter().filter_map(record_of).collect();
                // One at a time would be slow, and many large ones don't fit an answer.
                for some in keys.chunks(BATCH_ITEMS_MAX / 16) {
                    brought.records += self.take_records(own, partner, some).await?;
                }
            }
            ItemKind::Shard => {
                let keys =
                    items.iter().filter_map(shard_of).map(|key| self.take_shard(own, partner, key));
                let mut copies = futures::stream::iter(keys).buffer_unordered(COPIES_AT_ONCE);
                while let Some(copied) = copies.next().await {
                    match copied {
                        Ok(Some(bytes)) => {
                            brought.shards += 1;
                            brought.bytes += bytes;
                        }
                        Ok(None) => {}
                        // One bad shard is no reason to lack all others.
                        Err(refusal) if refusal.reason == Reason::WrongBytes => {
                            tracing::warn!(%partner, %refusal, "a shard was not taken over");
                        }
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, partner: NodeId, request: Request) -> Result<Reply, Refusal> {
        self.peers.call(partner, request, Body::empty()).await.map_err(partner_refusal)
    }

    async fn take_tombstones(
        &self,
        own: &PairRecord,
        partner: NodeId,
        stripes: &[StripeId],
    ) -> Result<u64, Refusal> {
        let request =
            Request::CopyTombstones { pair: own.pair, epoch: own.epoch, stripes: stripes.to_vec() };
        let Response::Tombstones(tombstones) = self.ask(partner, request).await?.response else {
            return Err(unexpected());
        };
        let mut changes = Vec::new();
        for tombstone in tombstones.iter().filter(|one| stripes.contains(&one.body.stripe)) {
            let stripe = tombstone.body.stripe;
            let held = self.held(stripe).await?;
            // Where the stripe is here, its owner must have said so; where it isn't, the
            // partner can only keep this pair from taking what it could refuse anyway.
            if let Some((_, first)) = held.first() {
                self.check_statement(tombstone, &first.head.descriptor.body.lock)?;
            }
            changes.extend(held.iter().map(|(key, _)| Change::DeleteShard(*key)));
            changes.push(Change::Put(tombstone_key(&stripe), tombstone.encode()));
        }
        let taken = changes.iter().filter(|change| matches!(change, Change::Put(..))).count();
        if taken > 0 {
            self.disk.apply(changes).await.map_err(disk_refusal)?;
        }
        Ok(taken as u64)
    }

    async fn take_records(
        &self,
        own: &PairRecord,
        partner: NodeId,
        keys: &[defs_core::record::RecordKey],
    ) -> Result<u64, Refusal> {
        let mut left = keys.to_vec();
        let mut taken = 0;
        while !left.is_empty() {
            let request =
                Request::CopyRecords { pair: own.pair, epoch: own.epoch, keys: left.clone() };
            let Response::Records(answers) = self.ask(partner, request).await?.response else {
                return Err(unexpected());
            };
            if answers.len() != left.len() {
                return Err(unexpected());
            }
            let answered = answers.iter().take_while(|answer| answer.is_ok()).count();
            if answered == 0 {
                return Err(unexpected());
            }
            let records: Vec<_> = answers.into_iter().flatten().flatten().collect();
            // The partner keeps some in a lost pair's place, so their sets may not name this one.
            let checked: Vec<_> = records.iter().map(|record| self.check_owner(record)).collect();
            let kept = self.keep_records(own, &records, checked).await?;
            taken += kept.iter().filter(|one| one.is_ok()).count() as u64;
            left.drain(..answered);
        }
        Ok(taken)
    }

    /// The shard's bytes, if they had to be copied. Wrong ones may have rotted at the partner, which
    /// looks at what it is asked for a second time.
    pub(crate) async fn take_shard(
        &self,
        own: &PairRecord,
        partner: NodeId,
        key: ShardKey,
    ) -> Result<Option<u64>, Refusal> {
        match self.try_shard(own, partner, key).await {
            Err(refusal) if refusal.reason == Reason::WrongBytes => {
                self.try_shard(own, partner, key).await
            }
            taken => taken,
        }
    }

    async fn try_shard(
        &self,
        own: &PairRecord,
        partner: NodeId,
        key: ShardKey,
    ) -> Result<Option<u64>, Refusal> {
        if let Some(tombstone) =
            self.disk.get(tombstone_key(&key.stripe)).await.map_err(disk_refusal)?
        {
            // It is the partner that hasn't heard.
            let owed = Change::Put(owed_key(&key.stripe), tombstone);
            self.disk.apply(vec![owed]).await.map_err(disk_refusal)?;
            return Ok(None);
        }
        let request = Request::CopyShard { pair: own.pair, epoch: own.epoch, key };
        let began = self.clock.elapsed();
        let answer = self.peers.call(partner, request, Body::empty()).await;
        self.note_load(partner, &answer);
        let reply = match answer {
            Ok(reply) => reply,
            // Deleted or collected since.
            Err(CallError::Refused { refusal, .. }) if refusal.reason == Reason::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(partner_refusal(error)),
        };
        let Response::Copy(copy) = reply.response else { return Err(unexpected()) };
        self.check_copy(key, &copy)?;
        let lease = Duration::from_millis(copy.lease_ms).min(LEASE_MAX);
        let state = ShardState {
            pair: own.pair,
            epoch: own.epoch,
            lease_until: self.lease_clock().saturating_add(lease),
            commit: copy.commit,
        };
        if self.disk.shard(key).await.map_err(disk_refusal)?.is_some() {
            // Whoever has it sees to it that both members do.
            let Some(_claimed) = self.arrivals.claim(key) else { return Ok(None) };
            self.disk.apply(vec![Change::ShardState(key, state)]).await.map_err(disk_refusal)?;
            return Ok(None);
        }
        let bytes = copy.head.descriptor.body.sealed_shard_length();
        if reply.body.left() != bytes {
            return Err(unexpected());
        }
        self.disk.store(copy.head, state, reply.body).await.map_err(disk_refusal)?;
        self.note_transfer(partner, bytes, began);
        self.metrics.shards_copied.one();
        self.metrics.bytes_copied.add(bytes);
        self.pace.spend(bytes, &self.clock).await;
        Ok(Some(bytes))
    }

    /// Whether a copy is what its owner signed, and the one that was asked for.
    fn check_copy(&self, key: ShardKey, copy: &ShardCopy) -> Result<(), Refusal> {
        let ShardCopy { head, commit, .. } = copy;
        let descriptor = &head.descriptor.body;
        if descriptor.id() != key.stripe || head.index != key.index {
            return Err(refuse(Reason::WrongBytes, "the partner sent another shard"));
        }
        self.check_head(head)?;
        if let Some(commit) = commit {
            if commit.body.stripe != key.stripe {
                return Err(refuse(Reason::WrongBytes, "the commit is another stripe's"));
            }
            self.check_statement(commit, &descriptor.lock)?;
        }
        Ok(())
    }

    pub(crate) async fn copy_shard(
        &self,
        caller: NodeId,
        (pair, epoch): (PairId, Epoch),
        key: ShardKey,
    ) -> Result<Reply, Refusal> {
        self.shared_pair(caller, pair, epoch)?;
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let stored = stored.filter(|stored| stored.state.pair == pair && self.is_kept(stored));
        let stored = stored.ok_or_else(|| refuse(Reason::NotFound, "the shard is not here"))?;
        // Whoever gets it checks every byte. To do so here as well takes as long again; only if it
        // is asked for once more something was wrong with it.
        if !self.given.is_first(key) && self.look_at(key, &stored).await == Found::Rotten {
            // The partner would ask for it for ever.
            self.replace_bad(key, stored).await?;
            return Err(refuse(Reason::NotFound, "the shard has rotted here"));
        }
        let left = stored.state.lease_until.saturating_sub(self.lease_clock());
        let body = self.disk.read(key, 0..stored.length).await.map_err(disk_refusal)?;
        let copy = ShardCopy {
            head: stored.head,
            lease_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            commit: stored.state.commit,
        };
        Ok(Reply { response: Response::Copy(Box::new(copy)), body })
    }

    pub(crate) async fn copy_records(
        &self,
        caller: NodeId,
        (pair, epoch): (PairId, Epoch),
        keys: Vec<defs_core::record::RecordKey>,
    ) -> Result<Response, Refusal> {
        self.shared_pair(caller, pair, epoch)?;
        self.read_heads(keys, Ok).await
    }

    pub(crate) async fn copy_tombstones(
        &self,
        caller: NodeId,
        (pair, epoch): (PairId, Epoch),
        stripes: Vec<StripeId>,
    ) -> Result<Response, Refusal> {
        self.shared_pair(caller, pair, epoch)?;
        bounded(stripes.len())?;
        let mut found = Vec::new();
        for stripe in stripes {
            let stored = self.disk.get(tombstone_key(&stripe)).await.map_err(disk_refusal)?;
            found.extend(stored.and_then(|bytes| Signed::<Tombstone>::decode(&bytes).ok()));
        }
        Ok(Response::Tombstones(found))
    }
}

fn unexpected() -> Refusal {
    refuse(Reason::Degraded, "the partner answered something else")
}

#[cfg(test)]
mod tests {
    use defs_core::ids::ShardIndex;

    use super::*;

    #[test]
    fn what_was_given_is_remembered_for_a_while() {
        let given = Given::default();
        let key = |number: u64| {
            let mut stripe = [0; 32];
            stripe[..8].copy_from_slice(&number.to_le_bytes());
            ShardKey { stripe: StripeId(stripe), index: ShardIndex(1) }
        };
        assert!(given.is_first(key(0)));
        assert!(!given.is_first(key(0)));
        for number in 1..=GIVEN_MAX as u64 {
            assert!(given.is_first(key(number)));
        }
        assert!(!given.is_first(key(1)));
        assert!(given.is_first(key(0)), "it was forgotten");
    }
}

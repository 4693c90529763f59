//! What an owner says of shards that are here: hold them longer, keep them, delete them.

use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    BATCH_ITEMS_MAX, KeepStripe, Reason, Refusal, Request, Response, ShardKey,
};
use defs_core::network::PairRecord;
use defs_core::port::{Change, Disk, Peers, ShardState, StateKey, StoredShard};
use defs_core::statement::{Operations, Signed, Tombstone};

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// The longest lease that a shard gets without a commit, at first and at each renewal.
pub(crate) const LEASE_MAX: Duration = Duration::from_hours(7 * 24);

/// Where a stripe's tombstone is kept.
pub(crate) fn tombstone_key(stripe: &StripeId) -> StateKey {
    StateKey([b"tomb/".as_slice(), &stripe.0].concat())
}

/// Where a tombstone waits that the partner has not heard yet.
pub(crate) fn owed_key(stripe: &StripeId) -> StateKey {
    StateKey([b"owed/".as_slice(), &stripe.0].concat())
}

impl<W: World> Engine<W> {
    /// This node's pair, if it is `pair` in `epoch`.
    pub(crate) fn own_pair_at(&self, pair: PairId, epoch: Epoch) -> Result<PairRecord, Refusal> {
        let own = self.membership.own_pair().map(|own| own.record);
        match own {
            Some(own) if own.pair == pair && own.epoch == epoch => Ok(own),
            Some(own) => Err(refuse(
                Reason::WrongEpoch,
                format!(
                    "this node is in pair {} at epoch {}, not in {pair} at {epoch}",
                    own.pair, own.epoch
                ),
            )),
            None => Err(refuse(Reason::WrongEpoch, "this node is in no pair now")),
        }
    }

    /// The newest record of `pair`, which is to be asked for something.
    pub(crate) fn known_pair(&self, pair: &PairId) -> Result<PairRecord, Refusal> {
        let known = self.membership.pair(pair).map(|known| known.record);
        known.ok_or_else(|| refuse(Reason::Degraded, format!("pair {pair} is not known here")))
    }

    /// The shards of `stripe` that are here.
    pub(crate) async fn held(
        &self,
        stripe: StripeId,
    ) -> Result<Vec<(ShardKey, StoredShard)>, Refusal> {
        let mut held = Vec::new();
        for index in self.disk.indices(stripe).await.map_err(disk_refusal)? {
            let key = ShardKey { stripe, index };
            if let Some(stored) = self.disk.shard(key).await.map_err(disk_refusal)? {
                held.push((key, stored));
            }
        }
        Ok(held)
    }

    pub(crate) async fn renew(
        &self,
        caller: NodeId,
        shards: Vec<ShardKey>,
        lease: Duration,
        both: bool,
    ) -> Result<Response, Refusal> {
        bounded(shards.len())?;
        let until = self.lease_clock().saturating_add(lease.min(LEASE_MAX));
        let (mut held, mut changes) = (Vec::new(), Vec::new());
        for key in &shards {
            let stored = self.disk.shard(*key).await.map_err(disk_refusal)?;
            held.push(stored.is_some());
            let Some(stored) = stored else { continue };
            self.check_right(&caller, &stored.head.descriptor.body.lock, Operations::RENEW)?;
            if stored.state.commit.is_none() && stored.state.lease_until < until {
                let state = ShardState { lease_until: until, ..stored.state };
                changes.push(Change::ShardState(*key, state));
            }
        }
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        let theirs = Request::Renew { shards, lease_ms, both: false };
        self.change_at_both(held, changes, both.then_some(theirs)).await
    }

    pub(crate) async fn commit(
        &self,
        stripes: Vec<KeepStripe>,
        both: bool,
    ) -> Result<Response, Refusal> {
        bounded(stripes.len())?;
        let (mut held, mut changes) = (Vec::new(), Vec::new());
        for KeepStripe { commit, indices } in &stripes {
            let shards = self.held(commit.body.stripe).await?;
            let is_here = |index: &ShardIndex| shards.iter().any(|(key, _)| key.index == *index);
            held.push(!shards.is_empty() && indices.iter().all(is_here));
            for (key, stored) in shards {
                let lock = &stored.head.descriptor.body.lock;
                self.check_statement(commit, lock)?;
                // What a put that failed has left here besides lies elsewhere now, and expires.
                if stored.state.commit.is_none() && indices.contains(&key.index) {
                    let state = ShardState { commit: Some(commit.clone()), ..stored.state };
                    changes.push(Change::ShardState(key, state));
                }
            }
        }
        let theirs = Request::Commit { stripes, both: false };
        self.change_at_both(held, changes, both.then_some(theirs)).await
    }

    /// Applies `changes` here while the partner does `theirs`; an item is held if it is
    /// held wherever it was asked for.
    async fn change_at_both(
        &self,
        mut held: Vec<bool>,
        changes: Vec<Change>,
        theirs: Option<Request>,
    ) -> Result<Response, Refusal> {
        let is_commit = |change: &&Change| {
            matches!(change, Change::ShardState(_, ShardState { commit: Some(_), .. }))
        };
        let committed = changes.iter().filter(is_commit).count() as u64;
        // Those whose lease is over may be collected just now, and then nothing was changed.
        let now = self.lease_clock();
        let doubtful: Vec<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::ShardState(key, state) if state.lease_until < now => Some(*key),
                _ => None,
            })
            .collect();
        let here =
            async { if changes.is_empty() { Ok(()) } else { self.disk.apply(changes).await } };
        let there = async {
            match theirs {
                Some(request) => self.ask_partner(request).await.map(Some),
                None => Ok(None),
            }
        };
        let (here, there) = tokio::join!(here, there);
        here.map_err(disk_refusal)?;
        for key in doubtful {
            if self.disk.shard(key).await.map_err(disk_refusal)?.is_none() {
                return Err(refuse(Reason::Busy, "a shard was collected meanwhile: ask again"));
            }
        }
        self.metrics.shards_committed.add(committed);
        if let Some(response) = there? {
            let Response::Held(partner) = response else {
                return Err(refuse(Reason::Degraded, "the partner answered something else"));
            };
            if partner.len() != held.len() {
                return Err(refuse(Reason::Degraded, "the partner answered for other shards"));
            }
            held.iter_mut().zip(partner).for_each(|(mine, theirs)| *mine &= theirs);
        }
        Ok(Response::Held(held))
    }

    /// Sends `request` to the other member of this node's pair.
    pub(crate) async fn ask_partner(&self, request: Request) -> Result<Response, Refusal> {
        let partner = self
            .membership
            .partner()
            .ok_or_else(|| refuse(Reason::Degraded, "this node has no partner"))?;
        let answer = self.peers.call(partner, request, Body::empty()).await;
        Ok(answer.map_err(partner_refusal)?.response)
    }

    /// Deletes stripes here and at the partner. What the partner can't hear now is kept
    /// and handed on when it is back, so a lone member's word is enough to delete.
    pub(crate) async fn delete(
        &self,
        tombstones: Vec<Signed<Tombstone>>,
        both: bool,
    ) -> Result<Response, Refusal> {
        bounded(tombstones.len())?;
        let mut changes = Vec::new();
        let (mut meant, mut unknown) = (Vec::new(), Vec::new());
        for tombstone in tombstones {
            let mut shards = self.held(tombstone.body.stripe).await?;
            // What has rotted here is the partner's still, or is just being rebuilt.
            shards.extend(self.bad.of(tombstone.body.stripe));
            // Of a stripe that isn't here nobody can tell whose it is: nothing to delete,
            // and nothing to remember, or a stranger could fill the disk. The partner may have
            // what this node has not yet.
            let Some((_, first)) = shards.first() else {
                unknown.push(tombstone);
                continue;
            };
            let lock = &first.head.descriptor.body.lock;
            self.check_statement(&tombstone, lock)?;
            changes.extend(shards.iter().map(|(key, _)| Change::DeleteShard(*key)));
            changes.push(Change::Put(tombstone_key(&tombstone.body.stripe), tombstone.encode()));
            if both {
                let heads = shards.iter().map(|(_, stored)| &stored.head);
                changes.extend(self.to_pass_on(&tombstone, heads));
            }
            meant.push(tombstone);
        }
        if both && !(meant.is_empty() && unknown.is_empty()) {
            let tombstones = meant.iter().chain(&unknown).cloned().collect();
            if self.ask_partner(Request::Delete { tombstones, both: false }).await.is_err() {
                let owed = meant.iter();
                changes
                    .extend(owed.map(|one| Change::Put(owed_key(&one.body.stripe), one.encode())));
            }
        }
        if !changes.is_empty() {
            let deleted = |change: &&Change| matches!(change, Change::DeleteShard(_));
            let deleted = changes.iter().filter(deleted).count() as u64;
            self.disk.apply(changes).await.map_err(disk_refusal)?;
            meant.iter().for_each(|tombstone| self.bad.forget(tombstone.body.stripe));
            self.metrics.shards_deleted.add(deleted);
        }
        Ok(Response::Done)
    }

    /// Hands the partner the tombstones that it missed. At most a batch a time.
    pub(crate) async fn pay_owed(&self) {
        let owed = match self.disk.scan(StateKey(b"owed/".to_vec()), BATCH_ITEMS_MAX).await {
            Ok(owed) if !owed.is_empty() => owed,
            Ok(_) => return,
            Err(error) => return self.note_failure(Err(error)),
        };
        let tombstones: Vec<_> =
            owed.iter().filter_map(|(_, bytes)| Signed::<Tombstone>::decode(bytes).ok()).collect();
        let paid = self.ask_partner(Request::Delete { tombstones, both: false }).await;
        if paid.is_ok() {
            let changes = owed.into_iter().map(|(key, _)| Change::Remove(key)).collect();
            self.note_failure(self.disk.apply(changes).await);
        }
    }
}

/// Refuses a batch over its bound.
pub(crate) fn bounded(items: usize) -> Result<(), Refusal> {
    if items > BATCH_ITEMS_MAX {
        let detail = format!("{items} items in one request, at most {BATCH_ITEMS_MAX} are allowed");
        return Err(refuse(Reason::Malformed, detail));
    }
    Ok(())
}

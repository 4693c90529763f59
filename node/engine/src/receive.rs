//! A shard comes in: check all that was said of it, store it and pass it on to the mirror
//! while it arrives, and give both receipts when it is durable on both disks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use defs_codec::{Share, share_digest};
use defs_core::body::{Body, BodyError, BodyWriter};
use defs_core::ids::{NodeId, ShardIndex, StripeId};
use defs_core::message::{Reason, Refusal, Request, Response, ShardKey, StoreShard};
use defs_core::network::{PairRecord, Role};
use defs_core::port::{CallError, Change, Clock, Disk, DiskError, Peers, Reply, ShardState};
use defs_core::receipt::{Kept, Receipt, SignedReceipt};
use defs_core::stripe::ShardHead;
use defs_telemetry::{spans, trace};

use crate::arrivals::Claim;
use crate::config::World;
use crate::engine::Engine;
use crate::keep::{LEASE_MAX, tombstone_key};
use crate::refuse::{disk_refusal, partner_refusal, refuse};
use crate::stamp::stamp;

impl<W: World> Engine<W> {
    /// As primary: both receipts, this node's first.
    pub(crate) async fn store_shard(
        &self,
        caller: NodeId,
        store: StoreShard,
        body: Body,
    ) -> Result<Response, Refusal> {
        let span = spans::shard_receive(body.left(), store.pair);
        trace::within(span, self.receive_as_primary(caller, store, body)).await
    }

    async fn receive_as_primary(
        &self,
        caller: NodeId,
        store: StoreShard,
        body: Body,
    ) -> Result<Response, Refusal> {
        let pair = self.serving(&store, Role::Primary)?;
        self.check_open(&pair).await?;
        let suspect_after = self.config.timings.watch.suspect_after();
        if !self.membership.partner_alive(self.clock.elapsed(), suspect_after) {
            return Err(refuse(
                Reason::Degraded,
                format!("pair {} has one member only now and takes no new shards", pair.pair),
            ));
        }
        let arriving = self.accept(&store, &body).await?;
        let _place = self.gate.store(Role::Primary, caller, &self.clock).await?;
        let (local, local_body) = Body::channel(body.left());
        let (remote, remote_body) = Body::channel(body.left());
        let keep = self.keep_shard(&store, arriving.key, local_body);
        let forward =
            self.peers.call(pair.mirror(), Request::MirrorShard(store.clone()), remote_body);
        let forward = trace::within(spans::shard_forward(body.left(), pair.mirror()), forward);
        let (bytes, began) = (body.left(), self.clock.elapsed());
        let copy = copy(body, local, remote, &self.clock);
        let (copied, kept, mirrored) = tokio::join!(copy, keep, forward);
        self.note_load(pair.mirror(), &mirrored);
        let theirs = mirror_receipt(mirrored, pair.mirror());
        // The cause comes first: a full disk here makes the copying stop, and that makes
        // the mirror see a broken body.
        let waited = match (copied, kept) {
            (_, Err(error)) if !matches!(error, DiskError::Body(_)) => {
                return Err(disk_refusal(error));
            }
            (Err(error), _) => return Err(refuse(Reason::Malformed, error.to_string())),
            (Ok(_), Err(error)) => {
                return Err(theirs.err().unwrap_or_else(|| disk_refusal(error)));
            }
            (Ok(waited), Ok(())) => waited,
        };
        let theirs = theirs?;
        let took = self.clock.elapsed().saturating_sub(began);
        // Where the owner was waited for, this says how fast the owner is.
        if waited < took / 4 {
            self.note_transfer(pair.mirror(), bytes, began);
        }
        self.metrics.shards_forwarded.one();
        let mut receipts = self.receipt(&store, arriving.key);
        receipts.push(theirs);
        Ok(Response::Receipts(receipts))
    }

    /// As mirror, from the primary: this node's receipt.
    pub(crate) async fn mirror_shard(
        &self,
        caller: NodeId,
        store: StoreShard,
        body: Body,
    ) -> Result<Response, Refusal> {
        let span = spans::shard_mirror(body.left(), store.pair);
        trace::within(span, self.receive_as_mirror(caller, store, body)).await
    }

    async fn receive_as_mirror(
        &self,
        caller: NodeId,
        store: StoreShard,
        body: Body,
    ) -> Result<Response, Refusal> {
        let pair = self.serving(&store, Role::Mirror)?;
        self.check_open(&pair).await?;
        if caller != pair.primary() {
            return Err(refuse(Reason::NotAllowed, "only the primary may send shards to mirror"));
        }
        self.membership.heard_partner(self.clock.elapsed());
        let arriving = self.accept(&store, &body).await?;
        let _place = self.gate.store(Role::Mirror, caller, &self.clock).await?;
        self.keep_shard(&store, arriving.key, body).await.map_err(disk_refusal)?;
        Ok(Response::Receipts(self.receipt(&store, arriving.key)))
    }

    /// The pair in which this node is asked to act, if it is in it as `role` now.
    fn serving(&self, store: &StoreShard, role: Role) -> Result<PairRecord, Refusal> {
        let own = self.own_pair_at(store.pair, store.epoch)?;
        if own.role_of(&self.me) != Some(role) {
            let detail = format!("this node is not the {role} of pair {}", store.pair);
            return Err(refuse(Reason::WrongEpoch, detail));
        }
        Ok(own)
    }

    /// An epoch of which this node has signed the successor takes nothing any more.
    async fn check_open(&self, pair: &PairRecord) -> Result<(), Refusal> {
        if self.has_signed_after(&pair.pair, pair.epoch).await? {
            let detail = format!("epoch {} of pair {} is over", pair.epoch, pair.pair);
            return Err(refuse(Reason::Degraded, detail));
        }
        Ok(())
    }

    /// Checks everything that can be checked before the first byte.
    async fn accept(&self, store: &StoreShard, body: &Body) -> Result<Claim<'_>, Refusal> {
        let head = &store.head;
        let descriptor = &head.descriptor.body;
        if body.left() != descriptor.sealed_shard_length() {
            let detail = format!(
                "{} bytes are announced, the descriptor says {}",
                body.left(),
                descriptor.sealed_shard_length()
            );
            return Err(refuse(Reason::Malformed, detail));
        }
        self.check_head(head)?;
        let stripe = descriptor.id();
        if self.disk.get(tombstone_key(&stripe)).await.map_err(disk_refusal)?.is_some() {
            return Err(refuse(Reason::Deleted, "the stripe was deleted by its owner"));
        }
        self.reserve(stripe, store).await
    }

    /// Whether a head is what its stripe's owner signed.
    pub(crate) fn check_head(&self, head: &ShardHead) -> Result<(), Refusal> {
        let descriptor = &head.descriptor.body;
        let share = Share::new(head.index, head.share);
        // A head from the wire has an index within its geometry; nothing here rests on that.
        let expected = descriptor.shares.get(usize::from(head.index.0));
        if expected != Some(&share_digest(&descriptor.tag, &share)) {
            return Err(refuse(Reason::WrongBytes, "the share is not the descriptor's"));
        }
        self.check_statement(&head.descriptor, &descriptor.lock)
    }

    /// Holds the pair to the owner's bound on shards of one stripe, those on their way in
    /// included: what was claimed before this one is among those or on the disk by now.
    async fn reserve(
        &self,
        stripe: StripeId,
        StoreShard { head, pair, .. }: &StoreShard,
    ) -> Result<Claim<'_>, Refusal> {
        let key = ShardKey { stripe, index: head.index };
        let claimed = self.arrivals.claim(key);
        let (claim, mut coming) = claimed
            .ok_or_else(|| refuse(Reason::Busy, "somebody has to do with this shard just now"))?;
        let bound = usize::from(head.descriptor.body.per_pair);
        coming.insert(key.index);
        let together = |held: BTreeSet<ShardIndex>| held.union(&coming).count();
        let held = self.disk.indices(stripe).await.map_err(disk_refusal)?;
        if together(held.into_iter().collect()) > bound {
            // What is left of another pair's counts there.
            let all = self.held(stripe).await?.into_iter();
            let of_pair = all.filter(|(_, stored)| stored.state.pair == *pair);
            if together(of_pair.map(|(key, _)| key.index).collect()) > bound {
                let detail = format!("a pair may hold {bound} shards of this stripe");
                return Err(refuse(Reason::TooMany, detail));
            }
        }
        Ok(claim)
    }

    /// Stores the shard, durably and as one of its present pair: it may be here from a pair
    /// that this node was in before.
    async fn keep_shard(
        &self,
        store: &StoreShard,
        key: ShardKey,
        body: Body,
    ) -> Result<(), DiskError> {
        let fresh = self.fresh_state(store);
        self.disk.store(Arc::clone(&store.head), fresh.clone(), body).await?;
        let Some(kept) = self.disk.shard(key).await? else { return Ok(()) };
        let mut changes = Vec::new();
        if kept.state.commit.is_none() {
            // Its client tells it again since siblings found other places than was first told.
            let watched = store.head.watched.clone();
            if kept.head.watched != watched {
                let head = ShardHead { watched, ..kept.head.as_ref().clone() };
                changes.push(Change::ShardHead(key, Arc::new(head)));
            }
        }
        if kept.state.pair != fresh.pair {
            changes.push(Change::ShardState(key, fresh));
        }
        if changes.is_empty() { Ok(()) } else { self.disk.apply(changes).await }
    }

    fn fresh_state(&self, store: &StoreShard) -> ShardState {
        // Whatever is asked: the mirror hears it from the primary, and an upload takes its time.
        let least = self.config.timings.lease_min;
        let lease = Duration::from_millis(store.lease_ms).max(least).min(LEASE_MAX);
        ShardState {
            pair: store.pair,
            epoch: store.epoch,
            lease_until: self.lease_clock().saturating_add(lease),
            commit: None,
        }
    }

    /// This node's receipt for one shard, as the list that a response carries.
    fn receipt(&self, store: &StoreShard, key: ShardKey) -> Vec<SignedReceipt> {
        self.metrics.shards_stored.one();
        self.metrics.bytes_received.add(store.head.descriptor.body.sealed_shard_length());
        self.metrics.receipts.one();
        let receipt = Receipt {
            kept: Kept::Shard(key.stripe, key.index),
            pair: store.pair,
            epoch: store.epoch,
            node: self.me,
        };
        spans::receipt_sign().in_scope(|| stamp(&self.key, &self.network, &[receipt]))
    }
}

/// Each frame goes to both, as fast as the slower of the two takes it. Ends early when
/// either stops reading: its own result says why. How long the body was waited for.
async fn copy(
    mut body: Body,
    local: BodyWriter,
    remote: BodyWriter,
    clock: &impl Clock,
) -> Result<Duration, BodyError> {
    let mut waited = Duration::ZERO;
    loop {
        let began = clock.elapsed();
        let Some(frame) = body.next().await? else { return Ok(waited) };
        waited = waited.saturating_add(clock.elapsed().saturating_sub(began));
        let (here, there) = tokio::join!(local.send(frame.clone()), remote.send(frame));
        if here.is_err() || there.is_err() {
            return Ok(waited);
        }
    }
}

fn mirror_receipt(
    answer: Result<Reply, CallError>,
    mirror: NodeId,
) -> Result<SignedReceipt, Refusal> {
    match answer.map_err(partner_refusal)?.response {
        Response::Receipts(mut receipts) if receipts.len() == 1 => {
            let receipt = receipts.remove(0);
            if receipt.receipt.node == mirror {
                Ok(receipt)
            } else {
                Err(refuse(Reason::Degraded, "the mirror's receipt names another node"))
            }
        }
        _ => Err(refuse(Reason::Degraded, "the mirror answered something else")),
    }
}

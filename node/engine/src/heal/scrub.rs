//! Reading everything back, again and again: a shard that is not what its name says is taken
//! from the partner, and if the partner hasn't got it either, rebuilt from its siblings. A
//! bad copy is never handed on, since every copy is checked where it arrives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{NodeId, ShardIndex, StripeId};
use defs_core::message::{Reason, Refusal, Request, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Change, Clock, Disk, Peers as _, StateKey, StoredShard};

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// Shards looked at in one step.
const PAGE: usize = 64;

/// The longest pause between two shards: a node that holds little reads it more often.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Bad shards that wait to be rebuilt.
const BAD_MAX: usize = 4096;

/// Where the scrub goes on after a restart.
fn place_key() -> StateKey {
    StateKey(b"scrub".to_vec())
}

/// What was found bad, for people: kept until the shard is whole again.
fn evidence_key(key: ShardKey) -> StateKey {
    StateKey([b"bad/".as_slice(), &key.stripe.0, &[key.index.0]].concat())
}

fn first_of(stripe: StripeId) -> ShardKey {
    ShardKey { stripe, index: ShardIndex(0) }
}

/// How the bytes of a shard are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The shard isn't here any more.
    Gone,
    /// They are what their name says.
    Whole,
    /// They were read and are worth nothing.
    Rotten,
    /// The disk didn't give them now. It may later.
    Unreadable,
}

/// Shards that neither member has whole, with what stood beside them.
#[derive(Debug, Default)]
pub(crate) struct BadShards(Mutex<BTreeMap<ShardKey, StoredShard>>);

impl BadShards {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ShardKey, StoredShard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, key: ShardKey, stored: StoredShard) {
        let mut bad = self.lock();
        if bad.len() < BAD_MAX {
            bad.insert(key, stored);
        }
    }

    pub(crate) fn all(&self) -> Vec<(ShardKey, StoredShard)> {
        self.lock().iter().map(|(key, stored)| (*key, stored.clone())).collect()
    }

    pub(crate) fn is_whole(&self, key: &ShardKey) {
        self.lock().remove(key);
    }

    /// Those of one stripe.
    pub(crate) fn of(&self, stripe: StripeId) -> Vec<(ShardKey, StoredShard)> {
        let bad = self.lock();
        let its = bad.range(first_of(stripe)..).take_while(|(key, _)| key.stripe == stripe);
        its.map(|(key, stored)| (*key, stored.clone())).collect()
    }

    /// Its owner has deleted the stripe.
    pub(crate) fn forget(&self, stripe: StripeId) {
        self.lock().retain(|key, _| key.stripe != stripe);
    }
}

/// Whether the bytes of `body` are those of `stored`; `None` if they don't come whole.
async fn is_as_named(mut body: Body, stored: &StoredShard) -> Option<bool> {
    let mut hasher = defs_core::digest::ShardHasher::default();
    while let Some(frame) = body.next().await.ok()? {
        hasher.update(&frame);
    }
    Some(hasher.finish() == stored.head.shard_id())
}

impl<W: World> Engine<W> {
    /// Reads back one shard after the other, for ever.
    pub(crate) async fn scrub(&self) {
        loop {
            match self.scrub_once().await {
                Ok(()) => {}
                Err(refusal) => tracing::warn!(%refusal, "the scrub broke off"),
            }
            self.clock.sleep(PAUSE_MAX).await;
        }
    }

    async fn scrub_once(&self) -> Result<(), Refusal> {
        let mut after = self.scrub_place().await?;
        loop {
            let page = self.disk.shards_after(after, PAGE).await.map_err(disk_refusal)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (key, stored) in page {
                self.clock.sleep(self.scrub_pause(stored.length)).await;
                self.scrub_shard(key, stored).await?;
            }
            if let Some(ShardKey { stripe, index }) = after {
                let place = [stripe.0.as_slice(), &[index.0]].concat();
                let change = Change::Put(place_key(), place);
                self.disk.apply(vec![change]).await.map_err(disk_refusal)?;
            }
        }
        self.disk.apply(vec![Change::Remove(place_key())]).await.map_err(disk_refusal)
    }

    async fn scrub_place(&self) -> Result<Option<ShardKey>, Refusal> {
        let place = self.disk.get(place_key()).await.map_err(disk_refusal)?;
        Ok(place.as_deref().and_then(|place| {
            let (stripe, index) = place.split_first_chunk::<32>()?;
            let index = ShardIndex(*index.first()?);
            Some(ShardKey { stripe: StripeId(*stripe), index })
        }))
    }

    /// So that everything is read once in the time that was set, and twice as slowly while
    /// shards come in.
    fn scrub_pause(&self, length: u64) -> Duration {
        let used = self.disk.usage().used.max(1);
        let share = self.config.timings.scrub.as_nanos().saturating_mul(length.into());
        let pause =
            Duration::from_nanos(u64::try_from(share / u128::from(used)).unwrap_or(u64::MAX));
        pause.min(PAUSE_MAX)
    }

    pub(crate) async fn scrub_shard(
        &self,
        key: ShardKey,
        stored: StoredShard,
    ) -> Result<(), Refusal> {
        match self.look_at(key, &stored).await {
            Found::Whole => {
                self.metrics.scrubbed_bytes.add(stored.length);
                Ok(())
            }
            Found::Gone => Ok(()),
            Found::Rotten => self.replace_bad(key, stored).await,
            Found::Unreadable => self.replace_unreadable(key, stored).await,
        }
    }

    /// Reads a shard back.
    pub(crate) async fn look_at(&self, key: ShardKey, stored: &StoredShard) -> Found {
        let read = async {
            let body = self.disk.read(key, 0..stored.length).await.ok()?;
            is_as_named(body, stored).await
        };
        match read.await {
            Some(true) => Found::Whole,
            Some(false) => Found::Rotten,
            None if matches!(self.disk.shard(key).await, Ok(None)) => Found::Gone,
            None => Found::Unreadable,
        }
    }

    /// Puts another copy in the place of one that the disk doesn't give. That may be the last
    /// one, and come back: it goes only when the partner has shown that it has another, or,
    /// where that one has none, when enough siblings are at other pairs to rebuild it.
    async fn replace_unreadable(&self, key: ShardKey, stored: StoredShard) -> Result<(), Refusal> {
        self.clock.sleep(self.config.timings.probe).await;
        if self.look_at(key, &stored).await != Found::Unreadable {
            return Ok(());
        }
        tracing::error!(stripe = %key.stripe, index = %key.index,
            "a shard can't be read from this disk");
        let own = self.membership.own_pair().map(|own| own.record);
        let is_own = |own: &PairRecord| own.pair == stored.state.pair;
        let partner = own.filter(is_own).and_then(|own| Some((own.partner_of(&self.me)?, own)));
        let Some((partner, own)) = partner else { return Ok(()) };
        if self.is_replaceable(key, &stored, (&own, partner)).await? {
            self.replace_bad(key, stored).await?;
        }
        Ok(())
    }

    async fn is_replaceable(
        &self,
        key: ShardKey,
        stored: &StoredShard,
        (own, partner): (&PairRecord, NodeId),
    ) -> Result<bool, Refusal> {
        // What the partner is asked for a second time it looks at first.
        for _ in 0..2 {
            let request = Request::CopyShard { pair: own.pair, epoch: own.epoch, key };
            match self.peers.call(partner, request, Body::empty()).await {
                Ok(copy) => {
                    if is_as_named(copy.body, stored).await == Some(true) {
                        return Ok(true);
                    }
                }
                Err(CallError::Refused { refusal, .. })
                    if matches!(refusal.reason, Reason::NotFound | Reason::Disk) =>
                {
                    return self.can_be_rebuilt(key, stored).await;
                }
                Err(error) => return Err(partner_refusal(error)),
            }
        }
        Ok(false)
    }

    pub(crate) async fn replace_bad(
        &self,
        key: ShardKey,
        stored: StoredShard,
    ) -> Result<(), Refusal> {
        tracing::error!(stripe = %key.stripe, index = %key.index,
            "a shard on this disk is worth nothing any more");
        self.metrics.shards_rotten.one();
        let text = format!("rotten at {} ms", self.clock.now().0);
        let changes =
            vec![Change::Put(evidence_key(key), text.into_bytes()), Change::DeleteShard(key)];
        self.disk.apply(changes).await.map_err(disk_refusal)?;
        let own = self.membership.own_pair().map(|own| own.record);
        let is_own = |own: &PairRecord| own.pair == stored.state.pair;
        let Some(own) = own.filter(is_own) else { return Ok(()) };
        if let Err(refusal) = self.copy_from_partner(&own, key).await {
            tracing::warn!(stripe = %key.stripe, index = %key.index, %refusal,
                "the partner gives no good copy");
            // What no finished file needs is nobody's to rebuild.
            if stored.state.commit.is_some() {
                self.bad.add(key, stored);
            }
            return Ok(());
        }
        let gone = Change::Remove(evidence_key(key));
        self.disk.apply(vec![gone]).await.map_err(disk_refusal)
    }

    /// Whether a bad shard is here again, or comes from the partner, which may only have been
    /// away when it was asked before.
    pub(crate) async fn is_good_again(&self, key: ShardKey, stored: &StoredShard) -> bool {
        let is_here = matches!(self.disk.shard(key).await, Ok(Some(_)));
        let own = self.membership.own_pair().map(|own| own.record);
        let is_good = match own.filter(|own| own.pair == stored.state.pair) {
            _ if is_here => true,
            Some(own) => self.copy_from_partner(&own, key).await.is_ok(),
            None => false,
        };
        if is_good {
            self.bad.is_whole(&key);
            let gone = Change::Remove(evidence_key(key));
            if let Err(error) = self.disk.apply(vec![gone]).await {
                tracing::warn!(%error, "what was noted of a bad shard stays");
            }
        }
        is_good
    }

    async fn copy_from_partner(&self, own: &PairRecord, key: ShardKey) -> Result<(), Refusal> {
        let partner = own.partner_of(&self.me);
        let partner =
            partner.ok_or_else(|| refuse(Reason::Degraded, "this node has no partner"))?;
        match self.take_shard(own, partner, key).await? {
            Some(_) => Ok(()),
            None => Err(refuse(Reason::NotFound, "the partner has it not")),
        }
    }
}

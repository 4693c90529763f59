//! Copies of a pair that this node is in no more. They are the last resort if the handing over
//! went wrong, so they go only a day later, and only when both members of the pair have shown
//! that they hold the same bytes.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{NodeId, PairId, StripeId};
use defs_core::message::{Request, Response, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{Change, Disk, Peers, Randomness, StateKey, StoredShard};
use defs_core::statement::{Signed, Tombstone};
use defs_pairing::score::audit::{Challenge, Verdict};

use crate::config::World;
use crate::engine::Engine;
use crate::keep::tombstone_key;

/// Shards looked at in one step of the scan.
const PAGE: usize = 256;

/// When this node was first out of a pair whose copies it still has.
fn left_key(pair: &PairId) -> StateKey {
    StateKey([b"left/".as_slice(), &pair.0].concat())
}

/// Whoever is in a pair again has not left it.
pub(crate) fn not_left(pair: &PairId) -> Change {
    Change::Remove(left_key(pair))
}

/// What the pair's present members say of a copy.
pub(crate) enum Word {
    /// Both have it.
    Kept,
    /// Its owner has deleted it.
    Deleted(Box<Signed<Tombstone>>),
    /// Not both have shown it.
    Unknown,
}

impl<W: World> Engine<W> {
    /// One pass over all shards here: those of other pairs go, if they may.
    pub(crate) async fn drop_superseded(self: Arc<Self>) {
        let mut after = None;
        loop {
            let page = match self.disk.shards_after(after, PAGE).await {
                Ok(page) => page,
                Err(error) => return self.note_failure(Err(error)),
            };
            let Some((last, _)) = page.last() else { return };
            after = Some(*last);
            for (key, stored) in page {
                if let Some(now) = self.superseding(&stored).await
                    && let Err(error) = self.drop_if_kept(key, &stored, &now).await
                {
                    return self.note_failure(Err(error));
                }
            }
        }
    }

    /// The pair that has the shard now, if this node has been out of it for long enough.
    async fn superseding(&self, stored: &StoredShard) -> Option<PairRecord> {
        let pair = stored.state.pair;
        let now = self.membership.pair(&pair)?.record;
        let is_awaited = self.awaited_at(&self.me).is_some_and(|awaited| awaited.pair == pair);
        if now.role_of(&self.me).is_some() || is_awaited {
            return None;
        }
        let left = self.disk.get(left_key(&pair)).await.ok()?;
        let clock = self.lease_clock();
        let Some(left) = left.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        else {
            let millis = u64::try_from(clock.as_millis()).unwrap_or(u64::MAX);
            let mark = Change::Put(left_key(&pair), millis.to_le_bytes().to_vec());
            self.note_failure(self.disk.apply(vec![mark]).await);
            return None;
        };
        let kept_for = clock.saturating_sub(Duration::from_millis(left));
        (kept_for >= self.config.timings.keep_superseded).then_some(now)
    }

    pub(crate) async fn drop_if_kept(
        &self,
        key: ShardKey,
        stored: &StoredShard,
        now: &PairRecord,
    ) -> Result<(), defs_core::port::DiskError> {
        let mut changes = match self.ask_members(key, stored, now).await {
            Word::Unknown => return Ok(()),
            Word::Kept => Vec::new(),
            Word::Deleted(tombstone) => {
                vec![Change::Put(tombstone_key(&key.stripe), tombstone.encode())]
            }
        };
        // The same shard may come back for this node's present pair meanwhile.
        let Some(_claimed) = self.arrivals.claim(key) else { return Ok(()) };
        let is_same = |found: StoredShard| found.state.pair == stored.state.pair;
        if !self.disk.shard(key).await?.is_some_and(is_same) {
            return Ok(());
        }
        changes.push(Change::DeleteShard(key));
        self.disk.apply(changes).await?;
        self.metrics.shards_superseded.one();
        tracing::debug!(stripe = %key.stripe, index = %key.index, pair = %now.pair,
            "a copy that both members of its pair hold is removed");
        Ok(())
    }

    pub(crate) async fn ask_members(
        &self,
        key: ShardKey,
        stored: &StoredShard,
        now: &PairRecord,
    ) -> Word {
        let mut shown = 0;
        for member in now.members {
            let place = u64::from_le_bytes(self.random.array());
            let challenge = Challenge::draw(key, stored.length, self.random.array(), place);
            if self.challenge(member, &challenge).await == Ok(Some(Verdict::Holds)) {
                shown += 1;
            } else if let Some(tombstone) = self.tombstone_at(member, key.stripe, stored).await {
                return Word::Deleted(Box::new(tombstone));
            }
        }
        if shown == now.members.len() { Word::Kept } else { Word::Unknown }
    }

    async fn tombstone_at(
        &self,
        member: NodeId,
        stripe: StripeId,
        stored: &StoredShard,
    ) -> Option<Signed<Tombstone>> {
        let answer = self.peers.call(member, Request::StripeStatus { stripe }, Body::empty()).await;
        let Response::Stripe { tombstone: Some(tombstone), .. } = answer.ok()?.response else {
            return None;
        };
        let lock = &stored.head.descriptor.body.lock;
        let is_genuine =
            tombstone.body.stripe == stripe && self.check_statement(&tombstone, lock).is_ok();
        is_genuine.then_some(tombstone)
    }
}

//! Giving shards to pairs that are less full. The pair that gives has a shard until both members
//! of the new pair have signed for it, whoever watches it has written down where it went, and
//! both have shown that they hold its bytes; whatever breaks off is gone on with from a note on
//! the disk. So at every moment some pair has it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{Gossip, Reason, Refusal, Request, Response, ShardKey};
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::network::{Activity, PairRecord};
use defs_core::port::{
    Change, Clock, Disk, Peers, Publish, Randomness, ShardState, StateKey, StoredShard,
};
use defs_core::statement::{Signed, Tombstone};
use defs_pairing::balance::Balance;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::notes::Forged;
use crate::heal::rebuild::{Census, Need, watchers};
use crate::keep::tombstone_key;
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// Bytes that a pair gives in one pass at most; then it looks again how full all are.
const PASS_MAX: u64 = 4 << 30;

/// Shards that are looked at in one pass: most stripes have a place to go to.
const LOOKED_MAX: usize = 16_384;

/// A shard of at most this part of what a node offers, half of the band of five percent, may be
/// given though a little less would do.
const SMALL_PART: u64 = 40;

/// Shards looked at in one step.
const PAGE: usize = 256;

/// A pass ends when so many shards could not be given, one after the other.
const FAILURES_MAX: usize = 3;

/// Shards whose giving was begun and not ended.
const BEGUN_MAX: usize = 4096;

const BEGUN: &[u8] = b"give/";

/// That a shard is being given away, and to whom.
fn begun_key(key: ShardKey) -> StateKey {
    StateKey([BEGUN, &key.stripe.0, &[key.index.0]].concat())
}

fn read_begun(key: &StateKey, value: &[u8]) -> Option<(ShardKey, PairId)> {
    let (stripe, index) = key.0.strip_prefix(BEGUN)?.split_first_chunk::<32>()?;
    let [index] = *index else { return None };
    let pair = PairId(value.try_into().ok()?);
    Some((ShardKey { stripe: StripeId(*stripe), index: ShardIndex(index) }, pair))
}

/// One shard that is to go from one pair to another.
#[derive(Clone, Copy)]
pub(crate) struct Gift<'a> {
    pub(crate) key: ShardKey,
    pub(crate) stored: &'a StoredShard,
    pub(crate) own: &'a PairRecord,
    pub(crate) to: PairId,
}

impl<W: World> Engine<W> {
    /// One pass: what this node's pair has too much goes to others.
    pub(crate) async fn even_out(self: Arc<Self>) {
        let Some(own) = self.giver() else { return };
        if let Err(refusal) = self.give_all(&own).await {
            tracing::debug!(pair = %own.pair, %refusal, "shards were not given to other pairs");
        }
    }

    /// This node's pair, if this node gives for it and nothing is more urgent.
    fn giver(&self) -> Option<PairRecord> {
        let nothing_missing = self.repairs.is_idle() && self.bad.all().is_empty();
        self.whole_pair_led().filter(|_| nothing_missing)
    }

    /// This node's pair, if both its members are well and this one acts for it.
    pub(crate) fn whole_pair_led(&self) -> Option<PairRecord> {
        let own = self.membership.own_pair()?.record;
        let suspect = self.config.timings.watch.suspect_after();
        let is_whole = self.membership.partner_alive(self.clock.elapsed(), suspect);
        let may = own.primary() == self.me
            && self.activity() == Activity::Ready
            && is_whole
            && self.standing().may_heal();
        may.then_some(own)
    }

    async fn give_all(&self, own: &PairRecord) -> Result<(), Refusal> {
        if self.has_signed_after(&own.pair, own.epoch).await? {
            return Ok(());
        }
        self.finish_gifts(own).await?;
        let Balance { shifts, .. } = self.unevenness().await;
        let mut left = PASS_MAX;
        for shift in shifts.into_iter().filter(|shift| shift.from == own.pair) {
            let given = self.give(own, shift.to, shift.bytes.min(left)).await?;
            if given > 0 {
                tracing::info!(from = %shift.from, to = %shift.to, bytes = given,
                    "shards were given to a pair that is less full");
            }
            left = left.saturating_sub(given);
        }
        Ok(())
    }

    /// Gives shards of about `bytes` together. How many bytes went.
    async fn give(&self, own: &PairRecord, to: PairId, bytes: u64) -> Result<u64, Refusal> {
        // Shards that may not go are passed by; not the same ones in each pass.
        let first = ShardKey { stripe: StripeId(self.random.array()), index: ShardIndex(0) };
        let (mut after, mut is_second_half) = (Some(first), false);
        let (mut given, mut looked, mut failures) = (0_u64, 0, 0);
        // The last one may be more than what is left to give, or pairs would end a little outside of
        // the band; not so much more that it came back.
        let small = self.disk.usage().capacity / SMALL_PART;
        while looked < LOOKED_MAX && given < bytes {
            let page = self.disk.shards_after(after, PAGE).await.map_err(disk_refusal)?;
            let Some((last, _)) = page.last() else {
                if is_second_half {
                    return Ok(given);
                }
                (after, is_second_half) = (None, true);
                continue;
            };
            after = Some(*last);
            looked += page.len();
            for (key, stored) in page {
                if is_second_half && key > first {
                    return Ok(given);
                }
                let length = stored.length;
                let gift = Gift { key, stored: &stored, own, to };
                let fits = length <= bytes.saturating_sub(given).max(small);
                if given >= bytes || !fits || !gift.is_giveable() {
                    continue;
                }
                if self.giver().as_ref() != Some(own) {
                    return Ok(given);
                }
                match self.begin(gift).await {
                    Ok(true) => (given, failures) = (given.saturating_add(length), 0),
                    Ok(false) => continue,
                    Err(refusal) => {
                        failures += 1;
                        if failures >= FAILURES_MAX {
                            return Err(refusal);
                        }
                        tracing::debug!(stripe = %key.stripe, index = %key.index, %to, %refusal,
                            "a shard was not given");
                    }
                }
                self.pace.spend(length, &self.clock).await;
            }
        }
        Ok(given)
    }

    /// Gives one shard if its stripe is as safe there.
    async fn begin(&self, gift: Gift<'_>) -> Result<bool, Refusal> {
        let census = self.whole_stripe(gift.stored, gift.key).await?;
        let Some(census) = census.filter(|census| self.is_as_safe(gift, census)) else {
            return Ok(false);
        };
        self.note_begun(gift).await?;
        self.hand_over(gift, &census).await?;
        Ok(true)
    }

    /// Notes on the disk that a shard is being given, so that it is gone on with after a stop.
    pub(crate) async fn note_begun(&self, gift: Gift<'_>) -> Result<(), Refusal> {
        let begun = Change::Put(begun_key(gift.key), gift.to.0.to_vec());
        self.disk.apply(vec![begun]).await.map_err(disk_refusal)
    }

    /// Who holds what of a stripe, if nothing of it is missing or unknown.
    async fn whole_stripe(
        &self,
        stored: &StoredShard,
        key: ShardKey,
    ) -> Result<Option<Census>, Refusal> {
        let census = self.census(&Need::nothing_lost(key, stored), stored).await?;
        let is_whole = !census.is_deleted && census.silent == 0 && census.missing.is_empty();
        Ok(is_whole.then_some(census))
    }

    /// Whether neither the loss of a pair nor that of a zone takes more of the stripe when the
    /// shard is at its new place.
    fn is_as_safe(&self, Gift { key, stored, own, to }: Gift<'_>, census: &Census) -> bool {
        let of_pair = |pair: &PairId| census.held.get(pair).map_or(0, BTreeSet::len);
        let bound = usize::from(stored.head.descriptor.body.per_pair);
        let zones: BTreeMap<_, _> = census
            .held
            .keys()
            .chain([&to])
            .map(|pair| (*pair, self.membership.zone_of(pair)))
            .collect();
        let of_zone = |zone: &Option<(String, String)>| -> usize {
            let there = census.held.iter().filter(|(pair, _)| zones.get(pair) == Some(zone));
            there.map(|(_, held)| held.len()).sum()
        };
        let (Some(here), Some(there)) = (zones.get(&own.pair), zones.get(&to)) else {
            return false;
        };
        let is_there = census.held.get(&to).is_some_and(|held| held.contains(&key.index));
        !is_there
            && of_pair(&to) < of_pair(&own.pair)
            && of_pair(&to) < bound
            && (here == there || of_zone(there) < of_zone(here))
    }

    /// Ends what was begun earlier, before this node stopped or somebody did not answer.
    async fn finish_gifts(&self, own: &PairRecord) -> Result<(), Refusal> {
        let begun = self.disk.scan(StateKey(BEGUN.to_vec()), BEGUN_MAX).await;
        for (state_key, value) in begun.map_err(disk_refusal)? {
            let is_over = match read_begun(&state_key, &value) {
                Some((key, to)) => self.finish(own, key, to).await?,
                None => true,
            };
            if is_over {
                let over = vec![Change::Remove(state_key)];
                self.disk.apply(over).await.map_err(disk_refusal)?;
            }
        }
        Ok(())
    }

    /// Whether there is nothing left to do for a shard whose giving was begun.
    async fn finish(&self, own: &PairRecord, key: ShardKey, to: PairId) -> Result<bool, Refusal> {
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let Some(stored) = stored.filter(|stored| stored.state.pair == own.pair) else {
            return self.tell_deleted(key, to).await;
        };
        let gift = Gift { key, stored: &stored, own, to };
        let census = self.census(&Need::nothing_lost(key, &stored), &stored).await?;
        let is_there = census.holders(key.index).contains(&to);
        let is_whole = census.silent == 0 && census.missing.is_empty();
        let may_go = is_whole || is_there && self.is_at_rest(&gift, &census);
        if census.is_deleted || !may_go {
            return Ok(false);
        }
        match self.hand_over(gift, &census).await {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.reason.is_about_this_node() => Ok(false),
            // It was never kept there, so it expires there.
            Err(refusal) => {
                tracing::debug!(stripe = %key.stripe, index = %key.index, %to, %refusal,
                    "a shard stays where it is");
                Ok(true)
            }
        }
    }

    /// The owner may have deleted the stripe just when a shard of it was on its way.
    async fn tell_deleted(&self, key: ShardKey, to: PairId) -> Result<bool, Refusal> {
        let tombstone = self.disk.get(tombstone_key(&key.stripe)).await.map_err(disk_refusal)?;
        let Some(tombstone) = tombstone.and_then(|it| Signed::<Tombstone>::decode(&it).ok()) else {
            return Ok(true);
        };
        let record = self.known_pair(&to)?;
        let request = Request::Delete { tombstones: vec![tombstone], both: true };
        let told = self.to_primary(record.primary(), request, Body::empty()).await;
        Ok(told.is_ok())
    }

    /// The shard goes to its new pair, and leaves this one when all know.
    pub(crate) async fn hand_over(
        &self,
        Gift { key, stored, own, to }: Gift<'_>,
        census: &Census,
    ) -> Result<(), Refusal> {
        let descriptor = &stored.head.descriptor;
        let Some(commit) = stored.state.commit.clone() else { return Ok(()) };
        let where_to = census.where_to();
        let part = self.own_part(key).await?;
        let note = self.place(to, part, (descriptor, &commit), &where_to).await?;
        self.keep_note(&note);
        let mut told: BTreeSet<NodeId> = own.partner_of(&self.me).into_iter().collect();
        let total = descriptor.body.geometry.total();
        for pair in watchers(key.index, total).flat_map(|index| census.holders(index)) {
            told.extend(self.known_pair(&pair)?.members);
        }
        told.remove(&self.me);
        let notes = MovedNotes(vec![note.clone()]);
        for node in told {
            self.tell_moved(node, &notes).await?;
        }
        if !self.take_note(self.me, &note).await? {
            return Err(refuse(Reason::Degraded, "the shard changed while it was given away"));
        }
        self.peers.publish(Gossip::Moved(Box::new(notes)));
        self.metrics.shards_given.one();
        let over = vec![Change::Remove(begun_key(key))];
        self.disk.apply(over).await.map_err(disk_refusal)
    }

    async fn tell_moved(&self, node: NodeId, notes: &MovedNotes) -> Result<(), Refusal> {
        let request = Request::Moved(Box::new(notes.clone()));
        let answer = self.peers.call(node, request, Body::empty()).await;
        match answer.map_err(partner_refusal)?.response {
            Response::Held(held) if held == [true] => Ok(()),
            _ => Err(refuse(Reason::Degraded, "a watcher did not write down where a shard went")),
        }
    }

    /// From members of pairs that gave shards away.
    pub(crate) async fn take_moved(
        &self,
        caller: NodeId,
        notes: &MovedNotes,
    ) -> Result<Response, Refusal> {
        let mut held = Vec::new();
        for note in &notes.0 {
            held.push(self.take_note(caller, note).await?);
        }
        Ok(Response::Held(held))
    }

    /// Whether this node goes by the note now. Only who was to have a shard can say that
    /// another has it: else a pair could keep it from being rebuilt.
    async fn take_note(&self, caller: NodeId, note: &MovedNote) -> Result<bool, Refusal> {
        let believed = self.believed(note);
        let believed = believed
            .map_err(|Forged| refuse(Reason::WrongBytes, "the pair's receipts are not genuine"))?;
        let Some((stripe, index, to)) = believed else { return Ok(false) };
        let own = self.membership.own_pair().map(|own| own.record);
        let from = self.membership.pair_of(&caller);
        let from = from.ok_or_else(|| refuse(Reason::NotAllowed, "the caller is in no pair"))?;
        let is_ours = own.as_ref().is_some_and(|own| own.pair == from);
        // Of the pair that gives it, who holds nothing of it any more has nothing to write down.
        let (mut changes, mut goes_by_it, mut superseded) = (Vec::new(), is_ours, None);
        for (key, stored) in self.held(stripe).await? {
            if key.index == index {
                if is_ours && stored.state.pair == from {
                    let epoch = note.receipts[0].receipt.epoch;
                    let state = ShardState { pair: to, epoch, ..stored.state.clone() };
                    changes.push(Change::ShardState(key, state.clone()));
                    superseded = Some((key, StoredShard { state, ..stored }));
                }
                continue;
            }
            match stored.head.watched.iter().find(|one| one.index == index) {
                // Where it was at a lost pair, notes are gone by already.
                Some(one) if one.pair == from || self.lost.is_lost(&one.pair) => {
                    let head = stored.head.watching_at(index, to);
                    changes.push(Change::ShardHead(key, Arc::new(head)));
                    goes_by_it = true;
                }
                Some(one) => goes_by_it |= one.pair == to,
                None => {}
            }
        }
        if !changes.is_empty() {
            self.disk.apply(changes).await.map_err(disk_refusal)?;
        }
        if let Some((key, stored)) = superseded {
            // If the new pair can't show the bytes now, the copy waits as any superseded one.
            let now = self.known_pair(&to)?;
            let dropped = self.drop_if_kept(key, &stored, &now).await;
            dropped.map_err(disk_refusal)?;
        }
        Ok(goes_by_it)
    }
}

impl Gift<'_> {
    pub(crate) fn is_giveable(&self) -> bool {
        let Self { stored, own, .. } = self;
        // One without siblings is watched by nobody, who would hand its deletion on.
        let has_siblings = stored.head.descriptor.body.geometry.total() > 1;
        stored.state.pair == own.pair && stored.state.commit.is_some() && has_siblings
    }
}

//! Rebuilding what lost pairs held. Whoever watches a shard of a lost pair gathers k siblings
//! with their shares, rebuilds bit for bit what is missing of the stripe, and places it at
//! other pairs, where it is stored like any other shard: mirrored, with both receipts.
//!
//! One pair does it, whose turn it is (`turn.rs`); the others wait for a while. Two that do it at
//! once waste work, and one gives back what both have placed (`doubles.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use defs_codec::{RebuildError, Share, check_part, rebuild_shards};
use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{NodeId, PairId, ShardIndex, StripeId};
use defs_core::message::{
    Gossip, KeepStripe, Reason, Refusal, Request, Response, ShardKey, StoreShard,
};
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::network::PairRecord;
use defs_core::port::{
    Change, Clock, Compute, Disk, Peers, Publish, Randomness, Reply, StoredShard,
};
use defs_core::receipt::SignedReceipt;
use defs_core::statement::{Commit, Signed, Tombstone};
use defs_core::stripe::{ShardHead, StripeDescriptor, WATCHED, Watched};
use defs_pairing::placement::{self, Place, Placement};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::config::World;
use crate::engine::Engine;
use crate::heal::lost::Loss;
use crate::heal::rate::Rate;
use crate::locate::Patience;
use crate::membership::draw;
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// Shards looked at in one step of the scan.
const PAGE: usize = 256;

/// Stripes that wait to be repaired: the rest is found by the next scan.
const QUEUE_MAX: usize = 65_536;

/// Stripes whose failed repair is remembered.
const FAILED_MAX: usize = 65_536;

/// Where there are so few pairs all are asked at once: a broadcast would take longer, as it
/// has to wait for those who answer last.
const PAIRS_ASKED_FIRST: usize = 32;

/// Pairs that are asked by name about one stripe.
const PAIRS_ASKED_MAX: usize = 1000;

/// After a failure a stripe waits so long, and twice as long after each further one.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// At most so long.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// Stripes that are rebuilt side by side: while one waits for its siblings another decodes.
const SIDE_BY_SIDE_MAX: usize = 4;

/// Bytes that these may have in memory together. One stripe may have more alone.
const WEIGHT_MAX: u64 = 96 << 20;

/// As many as may be in memory together, whichever they are.
fn side_by_side(needs: &[Need]) -> usize {
    let heaviest = needs.iter().map(|need| need.weight).max().unwrap_or(1);
    let fitting = WEIGHT_MAX / heaviest.max(1);
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, SIDE_BY_SIDE_MAX)
}

/// Bytes that are in memory while a stripe is rebuilt, at most: all its shards.
fn weight(descriptor: &StripeDescriptor) -> u64 {
    descriptor.sealed_shard_length().saturating_mul(descriptor.geometry.total() as u64)
}

/// How long to wait before the next try after so many that failed before the last one.
pub(crate) fn again_after(tries: u32) -> Duration {
    AGAIN_AFTER.saturating_mul(1 << tries.min(5)).min(AGAIN_AFTER_MAX)
}

/// Why a stripe is not whole, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrepaired {
    /// What hinders.
    pub why: String,
    /// Shards that are missing.
    pub missing: BTreeSet<ShardIndex>,
    /// Shards that were found.
    pub found: usize,
    /// Shards that are needed: k.
    pub needed: usize,
    /// Times that it was tried.
    pub tries: u32,
    /// Pairs that seemed to have room and took nothing: the next try turns to others.
    refused_by: BTreeSet<PairId>,
    again_at: Duration,
}

/// What is being repaired here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Stripes that wait or are under way, and of which something is missing still.
    pub queued: usize,
    /// Stripes under way.
    pub current: BTreeSet<StripeId>,
    /// Sealed bytes of missing shards that are this pair's to rebuild before others: summed over
    /// all nodes, each shard counts once.
    pub bytes_left: u64,
    /// Sealed bytes that this node rebuilds in a second, lately.
    pub bytes_per_second: u64,
    /// Stripes that were made whole since this node began to repair.
    pub stripes_done: u64,
    /// Shards that were rebuilt.
    pub shards_rebuilt: u64,
    /// Sealed bytes of these.
    pub bytes_rebuilt: u64,
    /// Sealed bytes that were read for it.
    pub bytes_read: u64,
    /// Stripes that can't be made whole now, and why.
    pub unrepaired: BTreeMap<StripeId, Unrepaired>,
    /// Stripes that are whole and don't survive the loss of any pair: too few pairs are there.
    pub at_risk: BTreeSet<StripeId>,
}

#[derive(Debug, Default)]
pub(crate) struct Repairs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    rate: Rate,
    /// The stripes that wait or are under way, here or where it is their turn.
    waiting: BTreeMap<StripeId, Waiting>,
    /// Of these, those that are another pair's turn: how often that was found, and until when it
    /// is left to that one.
    put_off: BTreeMap<StripeId, (u32, Duration)>,
}

/// What is still missing of a stripe, as far as this node has heard: others see to some of it.
#[derive(Debug)]
struct Waiting {
    missing: BTreeSet<ShardIndex>,
    /// Of these, what nobody nearer watches.
    first: BTreeSet<ShardIndex>,
    shard_length: u64,
}

impl Waiting {
    fn of(need: &Need) -> (StripeId, Self) {
        let missing = need.lost.keys().copied().collect();
        let waiting = Self { missing, first: need.first.clone(), shard_length: need.shard_length };
        (need.stripe, waiting)
    }

    fn bytes_left(&self) -> u64 {
        let first = self.missing.intersection(&self.first).count();
        self.shard_length.saturating_mul(first as u64)
    }
}

impl Repairs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is being done; `is_back` says whether a shard that was missing is at a pair again.
    pub(crate) fn progress(
        &self,
        now: Duration,
        is_back: impl Fn(StripeId, ShardIndex) -> bool,
    ) -> Progress {
        let mut state = self.lock();
        state.waiting.retain(|stripe, waiting| {
            waiting.missing.retain(|index| !is_back(*stripe, *index));
            !waiting.missing.is_empty()
        });
        Progress {
            queued: state.waiting.len(),
            bytes_left: state.waiting.values().map(Waiting::bytes_left).sum(),
            bytes_per_second: state.rate.per_second(now),
            ..state.progress.clone()
        }
    }

    fn wait(&self, stripe: &StripeId, now: Duration) -> Wait {
        let state = self.lock();
        if state.progress.unrepaired.get(stripe).is_some_and(|failed| failed.again_at > now) {
            Wait::AfterFailure
        } else if state.put_off.get(stripe).is_some_and(|(_, until)| *until > now) {
            Wait::ForOthers
        } else {
            Wait::Over
        }
    }

    /// Whether nothing waits, as far as was looked.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.progress.unrepaired.is_empty()
    }

    /// Pairs that did not take a shard of the stripe when it was tried last.
    fn refusing(&self, stripe: &StripeId) -> BTreeSet<PairId> {
        let state = self.lock();
        let failed = state.progress.unrepaired.get(stripe);
        failed.map(|failed| failed.refused_by.clone()).unwrap_or_default()
    }

    fn pass_begins(&self, needs: &[Need], now: Duration) {
        let mut state = self.lock();
        let open = needs.iter().filter(|need| need.wait != Wait::AfterFailure);
        state.waiting = open.map(Waiting::of).collect();
        // Of the rest nothing is missing any more.
        let needed: BTreeSet<_> = needs.iter().map(|need| need.stripe).collect();
        state.put_off.retain(|stripe, _| needed.contains(stripe));
        state.progress.unrepaired.retain(|stripe, _| needed.contains(stripe));
        if !needs.is_empty() {
            state.rate.work_begins(now);
        }
    }

    fn rebuilt(&self, bytes: u64, now: Duration) {
        let mut state = self.lock();
        state.progress.shards_rebuilt += 1;
        state.progress.bytes_rebuilt += bytes;
        state.rate.done(bytes, now);
    }

    fn pass_is_over(&self) {
        let mut state = self.lock();
        let State { waiting, put_off, progress, .. } = &mut *state;
        waiting.retain(|stripe, _| put_off.contains_key(stripe));
        progress.current.clear();
    }

    fn ended(&self, stripe: StripeId, result: Result<Outcome, Failure>, now: Duration) {
        let mut state = self.lock();
        state.progress.current.remove(&stripe);
        if let Ok(Outcome::LeftTo(first)) = result {
            let tries = state.put_off.get(&stripe).map_or(0, |(tries, _)| *tries);
            let until = now.saturating_add(again_after(tries));
            state.put_off.insert(stripe, (tries.saturating_add(1), until));
            tracing::debug!(%stripe, %first, "another pair rebuilds a stripe before this one");
            return;
        }
        state.waiting.remove(&stripe);
        state.put_off.remove(&stripe);
        let progress = &mut state.progress;
        match result {
            Ok(outcome) => {
                progress.unrepaired.remove(&stripe);
                progress.stripes_done += u64::from(outcome == Outcome::Rebuilt);
            }
            Err(failure) => {
                tracing::debug!(%stripe, why = failure.why, missing = failure.missing.len(),
                    found = failure.found, "a stripe is not whole yet");
                progress.failed(stripe, failure, now);
            }
        }
    }
}

impl Progress {
    fn failed(&mut self, stripe: StripeId, failure: Failure, now: Duration) {
        let tries = self.unrepaired.get(&stripe).map_or(0, |before| before.tries);
        if self.unrepaired.len() >= FAILED_MAX && tries == 0 {
            return;
        }
        let Failure { why, missing, found, needed, refused_by } = failure;
        let again_at = now.saturating_add(again_after(tries));
        let tries = tries.saturating_add(1);
        let unrepaired = Unrepaired { why, missing, found, needed, tries, refused_by, again_at };
        self.unrepaired.insert(stripe, unrepaired);
    }
}

/// What this node knows of a stripe that lacks shards.
pub(crate) struct Need {
    stripe: StripeId,
    /// Shards of it that are here.
    mine: BTreeSet<ShardIndex>,
    /// Watched siblings at lost pairs.
    lost: BTreeMap<ShardIndex, PairId>,
    /// Of these, what nobody nearer watches.
    first: BTreeSet<ShardIndex>,
    /// Shards that may still be missing.
    spare: usize,
    /// Of one of its shards, sealed.
    shard_length: u64,
    /// Bytes that are in memory while it is rebuilt, at most.
    weight: u64,
    /// When this node judged the last of their pairs to be lost.
    pub(crate) lost_last: Duration,
    /// Whether it is left alone for a while.
    wait: Wait,
    /// What stood beside a shard that isn't here any more.
    known: Option<StoredShard>,
}

impl Need {
    /// To look at the stripe of a shard that is here, when nothing is known to be lost.
    pub(crate) fn nothing_lost(key: ShardKey, stored: &StoredShard) -> Self {
        Self {
            mine: BTreeSet::from([key.index]),
            ..Self::of(key.stripe, &stored.head.descriptor.body)
        }
    }

    /// To replace a shard that its own pair has lost.
    fn of_bad(key: ShardKey, stored: &StoredShard) -> Self {
        Self {
            lost: BTreeMap::from([(key.index, stored.state.pair)]),
            first: BTreeSet::from([key.index]),
            known: Some(stored.clone()),
            ..Self::of(key.stripe, &stored.head.descriptor.body)
        }
    }

    fn of(stripe: StripeId, descriptor: &StripeDescriptor) -> Self {
        Self {
            stripe,
            mine: BTreeSet::new(),
            lost: BTreeMap::new(),
            first: BTreeSet::new(),
            spare: 0,
            shard_length: descriptor.sealed_shard_length(),
            weight: weight(descriptor),
            lost_last: Duration::ZERO,
            wait: Wait::Over,
            known: None,
        }
    }

    /// Whether others watch what is missing too: what a pair finds bad of its own only it sees.
    pub(crate) fn is_watched(&self) -> bool {
        self.known.is_none()
    }

    /// Where a missing shard was: for one that nobody here watched, where another was lost.
    fn lost_at(&self, index: ShardIndex) -> Option<PairId> {
        self.lost.get(&index).or_else(|| self.lost.values().next()).copied()
    }
}

/// Why a stripe is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// It is not.
    Over,
    /// It failed not long ago.
    AfterFailure,
    /// It is another pair's turn.
    ForOthers,
}

/// A shard that was at a lost pair and is watched from here.
struct LostSibling {
    index: ShardIndex,
    pair: PairId,
    lost_at: Duration,
    /// Whether no watcher that is nearer lives.
    is_first: bool,
}

/// What became of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing was missing.
    Whole,
    /// What was missing is at other pairs now.
    Rebuilt,
    /// It is this pair's turn.
    LeftTo(PairId),
}

struct Failure {
    why: String,
    missing: BTreeSet<ShardIndex>,
    found: usize,
    needed: usize,
    refused_by: BTreeSet<PairId>,
}

impl Failure {
    fn of(why: impl Into<String>, census: &Census, needed: usize) -> Self {
        Self {
            why: why.into(),
            missing: census.missing.clone(),
            found: census.found(),
            needed,
            refused_by: BTreeSet::new(),
        }
    }
}

/// Who holds what of a stripe.
#[derive(Default)]
pub(crate) struct Census {
    pub(crate) held: BTreeMap<PairId, BTreeSet<ShardIndex>>,
    /// Of these, what more than one word stands for: a watched shard that was lost is found
    /// elsewhere only so. Else one liar would keep every stripe from being repaired, and what
    /// is left of a put that failed, until it expires.
    sure: BTreeMap<ShardIndex, BTreeSet<PairId>>,
    /// What both members of a pair say that they hold, and were not told yet to keep.
    to_keep: BTreeMap<ShardIndex, PairId>,
    /// What the living member of a pair that is held to be lost has still. It is missing all the
    /// same, as nobody can be put beside it; but what is missing can be rebuilt from it.
    left: BTreeMap<ShardIndex, PairId>,
    /// What is gone for good, as far as can be said.
    pub(crate) missing: BTreeSet<ShardIndex>,
    /// Where notes said that it is, when all were asked.
    noted: BTreeMap<ShardIndex, PairId>,
    /// Pairs that did not answer and are not lost.
    pub(crate) silent: usize,
    pub(crate) is_deleted: bool,
}

impl Census {
    fn found(&self) -> usize {
        let found = self.held.values().flatten().chain(self.left.keys());
        found.collect::<BTreeSet<_>>().len()
    }

    fn holds(&self, index: ShardIndex) -> bool {
        self.held.values().any(|held| held.contains(&index))
    }

    /// Where shards are said to be: one that several pairs have comes with each of them.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ShardIndex, PairId)> {
        self.held.iter().flat_map(|(pair, held)| held.iter().map(|index| (*index, *pair)))
    }

    fn is_sure(&self, index: ShardIndex, pair: &PairId) -> bool {
        self.sure.get(&index).is_some_and(|pairs| pairs.contains(pair))
    }

    /// Who keeps a shard: of several pairs that are sure to have it, the one with the lowest id.
    pub(crate) fn keeper(&self, index: ShardIndex) -> Option<PairId> {
        self.sure.get(&index)?.first().copied()
    }

    /// Who has a shard: those who are sure to, or else whoever is said to.
    pub(crate) fn holders(&self, index: ShardIndex) -> BTreeSet<PairId> {
        let said = || self.held.iter().filter(|(_, held)| held.contains(&index));
        match self.sure.get(&index) {
            Some(sure) => sure.clone(),
            None => said().map(|(pair, _)| *pair).collect(),
        }
    }

    /// A place of every shard that has one.
    pub(crate) fn where_to(&self) -> BTreeMap<ShardIndex, PairId> {
        let indices: BTreeSet<_> = self.held.values().flatten().copied().collect();
        let place = |index| Some((index, *self.holders(index).first()?));
        indices.into_iter().filter_map(place).collect()
    }

    /// Every shard with the pairs to ask for it, one after the other: those of `own` first, and of
    /// several pairs the one that is sure to have it, as another may have what is left of a put
    /// that failed, which it gives to nobody. What is left at lost pairs comes last.
    fn sources(&self, own: &PairId) -> Vec<(ShardIndex, Vec<PairId>)> {
        let mut pairs: BTreeMap<ShardIndex, Vec<PairId>> = BTreeMap::new();
        for (index, pair) in self.places() {
            pairs.entry(index).or_default().push(pair);
        }
        for (index, pairs) in &mut pairs {
            pairs.sort_by_key(|pair| (pair != own, !self.is_sure(*index, pair)));
        }
        for (index, pair) in &self.left {
            pairs.entry(*index).or_default().push(*pair);
        }
        let mut sources: Vec<_> = pairs.into_iter().collect();
        sources.sort_by_key(|(index, pairs)| (!pairs.contains(own), !self.holds(*index)));
        sources
    }
}

/// What the members of a pair say that they hold of a stripe.
pub(crate) struct Told {
    pair: PairId,
    /// What any of them says.
    held: BTreeSet<ShardIndex>,
    /// What both say, and that its owner wants it kept.
    pub(crate) sure: BTreeSet<ShardIndex>,
    /// What both say, whether they were told to keep it or not.
    both: BTreeSet<ShardIndex>,
    tombstones: Vec<Signed<Tombstone>>,
}

impl Told {
    /// A liar's word counts for so many as a pair may hold. It crowds out nothing that its partner
    /// says too or that others have told, and neither does what is left of puts that failed.
    fn held_within(
        &self,
        bound: usize,
        is_told: impl Fn(&ShardIndex) -> bool,
    ) -> BTreeSet<ShardIndex> {
        let mut held: Vec<_> = self.held.iter().copied().collect();
        held.sort_by_key(|it| (!self.sure.contains(it), !self.both.contains(it), !is_told(it)));
        held.into_iter().take(bound).collect()
    }
}

impl<W: World> Engine<W> {
    /// One pass over what is here: what is missing of other shards' stripes is rebuilt, and what
    /// another pair keeps too is given up.
    pub(crate) async fn repair(self: Arc<Self>) {
        self.rebuild_lost().await;
        self.give_doubles().await;
    }

    /// Every stripe that has a watched shard at a lost pair is made whole, the one that can bear
    /// the least first.
    async fn rebuild_lost(&self) {
        // What is bad here is this member's to see to, whichever it is.
        let mut needs = self.bad_needs().await;
        if !self.standing().may_heal() {
            return;
        }
        if self.lost.all().is_empty() && needs.is_empty() {
            return self.repairs.pass_begins(&[], self.clock.elapsed());
        }
        if self.is_acting() {
            needs.extend(self.needs().await.unwrap_or_else(|refusal| {
                tracing::warn!(%refusal, "failed to look for what is to be repaired");
                Vec::new()
            }));
            if let Err(refusal) = self.rehome_records().await {
                tracing::warn!(%refusal, "failed to look for records of lost pairs");
            }
        }
        self.repair_all(needs).await;
    }

    async fn repair_all(&self, needs: Vec<Need>) {
        self.repairs.pass_begins(&needs, self.clock.elapsed());
        let side_by_side = side_by_side(&needs);
        let due = needs.into_iter().filter(|need| need.wait == Wait::Over);
        let repair = async |need: Need| {
            if !self.standing().may_heal() {
                return;
            }
            let stripe = need.stripe;
            self.repairs.lock().progress.current.insert(stripe);
            let result = self.make_whole(need).await;
            self.repairs.ended(stripe, result, self.clock.elapsed());
        };
        futures::stream::iter(due).for_each_concurrent(side_by_side, repair).await;
        self.repairs.pass_is_over();
    }

    /// Shards of this pair that neither member has whole.
    async fn bad_needs(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        for (key, stored) in self.bad.all() {
            let wait = self.repairs.wait(&key.stripe, self.clock.elapsed());
            if wait != Wait::Over || !self.is_good_again(key, &stored).await {
                needs.push(Need { wait, ..Need::of_bad(key, &stored) });
            }
        }
        needs
    }

    /// Whether so many of its siblings are at other pairs that it isn't needed for them.
    pub(crate) async fn can_be_rebuilt(
        &self,
        key: ShardKey,
        stored: &StoredShard,
    ) -> Result<bool, Refusal> {
        let census = self.census(&Need::of_bad(key, stored), stored).await?;
        let others = census.sure.keys().filter(|index| **index != key.index).count();
        Ok(!census.is_deleted && others >= stored.head.descriptor.body.geometry.data())
    }

    /// Of the two members one acts: the primary, or the mirror alone. Of a pair that is held to
    /// be lost none does: others give it nothing.
    fn is_acting(&self) -> bool {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return false };
        if self.lost.is_lost(&own.pair) {
            return false;
        }
        let suspect = self.config.timings.watch.suspect_after();
        own.primary() == self.me || !self.membership.partner_alive(self.clock.elapsed(), suspect)
    }

    async fn needs(&self) -> Result<Vec<Need>, Refusal> {
        let now = self.clock.elapsed();
        let Some(own) = self.membership.own_pair().map(|own| own.record.pair) else {
            return Ok(Vec::new());
        };
        let losses = self.lost.all();
        let mut needs: BTreeMap<StripeId, Need> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.disk.shards_after(after, PAGE).await.map_err(disk_refusal)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (key, stored) in page {
                if stored.state.pair != own || stored.state.commit.is_none() {
                    continue;
                }
                let lost = self.lost_siblings((key.stripe, &stored), &losses, now);
                if lost.is_empty() {
                    continue;
                }
                if needs.len() >= QUEUE_MAX && !needs.contains_key(&key.stripe) {
                    continue;
                }
                let descriptor = &stored.head.descriptor.body;
                let geometry = descriptor.geometry;
                let spare = geometry.total().saturating_sub(geometry.data());
                let need = needs.entry(key.stripe).or_insert_with(|| Need {
                    spare,
                    wait: self.repairs.wait(&key.stripe, now),
                    ..Need::of(key.stripe, descriptor)
                });
                need.mine.insert(key.index);
                for sibling in lost {
                    need.lost.insert(sibling.index, sibling.pair);
                    need.lost_last = need.lost_last.max(sibling.lost_at);
                    if sibling.is_first {
                        need.first.insert(sibling.index);
                    }
                }
            }
        }
        let mut needs: Vec<_> = needs.into_values().collect();
        // Equals in an order of this pair's own: others watch shards of the same stripes, and would
        // else be at the same one.
        let order = |need: &Need| draw(&own, &NodeId(need.stripe.0));
        needs.sort_by_cached_key(|need| (need.spare.saturating_sub(need.lost.len()), order(need)));
        Ok(needs)
    }

    /// The siblings that this holder watches, whose pairs are lost and whose repair is its
    /// turn.
    fn lost_siblings(
        &self,
        (stripe, stored): (StripeId, &StoredShard),
        losses: &BTreeMap<PairId, Loss>,
        now: Duration,
    ) -> Vec<LostSibling> {
        let mut lost = Vec::new();
        for (place, watched) in stored.head.watched.iter().enumerate() {
            let Some(loss) = losses.get(&watched.pair) else { continue };
            // Whoever stands between this holder and the shard is nearer.
            let nearer = stored.head.watched.iter().take(place);
            let is_first = nearer.into_iter().all(|near| losses.contains_key(&near.pair));
            let is_its_turn =
                is_first || now.saturating_sub(loss.at) >= self.config.timings.repair_turn;
            let pair = match self.hints.moved(stripe, watched.index) {
                Some(pair) => losses.contains_key(&pair).then_some(pair),
                None => is_its_turn.then_some(watched.pair),
            };
            let (index, lost_at) = (watched.index, loss.at);
            lost.extend(pair.map(|pair| LostSibling { index, pair, lost_at, is_first }));
        }
        lost
    }

    /// Rebuilds and places what is missing of one stripe, when it is this pair's turn.
    async fn make_whole(&self, need: Need) -> Result<Outcome, Failure> {
        let nothing = Census::default();
        let failed = |refusal: Refusal| Failure::of(refusal.detail, &nothing, 0);
        let stored = match (&need.known, need.mine.first()) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(index)) => {
                let key = ShardKey { stripe: need.stripe, index: *index };
                self.disk.shard(key).await.map_err(disk_refusal).map_err(failed)?
            }
            (None, None) => None,
        };
        let Some(stored) = stored else { return Ok(Outcome::Whole) };
        let Some(commit) = stored.state.commit.clone() else { return Ok(Outcome::Whole) };
        let descriptor = &stored.head.descriptor.body;
        let data = descriptor.geometry.data();
        let mut census = self.census(&need, &stored).await.map_err(failed)?;
        if census.is_deleted {
            return Ok(Outcome::Whole);
        }
        self.keep_all(&mut census, &commit).await;
        for index in need.lost.keys().filter(|index| !census.missing.contains(index)) {
            self.bad.is_whole(&ShardKey { stripe: need.stripe, index: *index });
            if let Some(pair) = census.keeper(*index) {
                self.note_move(need.stripe, *index, pair).await.map_err(failed)?;
            }
        }
        if census.missing.is_empty() {
            return Ok(Outcome::Whole);
        }
        if census.found() < data {
            let why = format!("{} of the {data} shards needed can be reached", census.found());
            return Err(Failure::of(why, &census, data));
        }
        let placement = self.placement(descriptor, &census);
        let wanted: Vec<_> = placement.places.keys().copied().collect();
        if wanted.is_empty() {
            self.note_risk(need.stripe, false);
            return Err(Failure::of(placement.to_string(), &census, data));
        }
        if let Some(first) = self.goes_before(&need, &census, &stored) {
            return Ok(Outcome::LeftTo(first));
        }
        let parts = self.gather_parts(&need, &census, &stored).await?;
        let shards = self.rebuild_all(&stored, parts, wanted, &census).await?;
        let missing = census.missing.iter();
        let lost = missing.filter_map(|index| Some((*index, need.lost_at(*index)?))).collect();
        self.place_all(&stored, &commit, shards, (census, placement, lost)).await?;
        Ok(Outcome::Rebuilt)
    }

    /// Tells pairs to keep what both their members have already: whoever rebuilt it was cut off
    /// before it could.
    async fn keep_all(&self, census: &mut Census, commit: &Signed<Commit>) {
        let wanted = |(index, _): &(&ShardIndex, &PairId)| census.missing.contains(index);
        let to_keep: Vec<_> =
            census.to_keep.iter().filter(wanted).map(|(index, pair)| (*index, *pair)).collect();
        for (index, pair) in to_keep {
            match self.tell_to_keep(pair, index, commit).await {
                Ok(()) => {
                    census.missing.remove(&index);
                    census.sure.entry(index).or_default().insert(pair);
                }
                Err(refusal) => tracing::debug!(%pair, %index, %refusal, "not kept"),
            }
        }
    }

    /// Where what is missing may go.
    pub(crate) fn placement(&self, descriptor: &StripeDescriptor, census: &Census) -> Placement {
        let geometry = descriptor.geometry;
        // Half of what a put or a rebuild left may lie there: the same shard may come again.
        let is_there = |index: &ShardIndex| !census.missing.contains(index);
        let held = census.held.iter().map(|(pair, held)| {
            (*pair, held.iter().copied().filter(is_there).collect::<BTreeSet<_>>())
        });
        let spread = placement::Stripe {
            held: held.collect(),
            lost: census.missing.clone(),
            bound: descriptor.per_pair.into(),
            spare_shards: u32::try_from(geometry.total() - geometry.data()).unwrap_or(0),
        };
        let salt: u64 = u64::from_le_bytes(self.random.array());
        let draw = |pair: &PairId| draw(pair, &NodeId([0; 32])) ^ salt;
        let places = self.places(descriptor.sealed_shard_length());
        let refusing = self.repairs.refusing(&descriptor.id());
        let willing = places.iter().filter(|place| !refusing.contains(&place.pair)).cloned();
        let placement = placement::place(&spread, &willing.collect::<Vec<_>>(), draw);
        if placement.places.is_empty() && !refusing.is_empty() {
            return placement::place(&spread, &places, draw);
        }
        placement
    }

    /// Notes whether a stripe survives the loss of any one pair.
    fn note_risk(&self, stripe: StripeId, is_safe: bool) {
        let at_risk = &mut self.repairs.lock().progress.at_risk;
        if is_safe {
            at_risk.remove(&stripe);
        } else if at_risk.len() < FAILED_MAX {
            at_risk.insert(stripe);
        }
    }

    /// Asks all pairs that may hold something of the stripe.
    pub(crate) async fn census(
        &self,
        need: &Need,
        stored: &StoredShard,
    ) -> Result<Census, Refusal> {
        let descriptor = &stored.head.descriptor.body;
        let locator = stripe_locator(&self.network, &descriptor.tag);
        let mut pairs: BTreeSet<PairId> = self.hints.pairs(&locator).into_iter().collect();
        pairs.extend(stored.head.watched.iter().map(|watched| watched.pair));
        let all_pairs = self.membership.all_pairs();
        if all_pairs.len() <= PAIRS_ASKED_FIRST {
            pairs.extend(all_pairs.iter().map(|one| one.pair));
        } else {
            pairs.extend(self.broadcast(locator, Patience::AllAnswers).await?);
        }
        let mine = self.disk.indices(need.stripe).await.map_err(disk_refusal)?;
        let mut census = Census::default();
        let own = stored.state.pair;
        census.sure.extend(mine.iter().map(|index| (*index, BTreeSet::from([own]))));
        census.held.entry(own).or_default().extend(mine);
        self.ask_pairs(&pairs, stored, &mut census).await?;
        let all: BTreeSet<_> = descriptor.geometry.indices().collect();
        let unknown = |census: &Census| {
            all.iter().any(|index| !census.holds(*index) && !need.lost.contains_key(index))
        };
        if unknown(&census) && !census.is_deleted {
            // Nobody here knows where these were: whoever may have them is asked by name.
            let others: BTreeSet<_> = all_pairs.iter().map(|one| one.pair).collect();
            let others: BTreeSet<_> =
                others.difference(&pairs).copied().take(PAIRS_ASKED_MAX).collect();
            self.ask_pairs(&others, stored, &mut census).await?;
        }
        let is_missing = |index: &ShardIndex| match need.lost.contains_key(index) {
            true => !census.sure.contains_key(index),
            // What is at a pair that is silent and not lost will come back with it.
            false => !census.holds(*index) && census.silent == 0,
        };
        census.missing = all.into_iter().filter(is_missing).collect();
        let noted = |index: &ShardIndex| Some((*index, self.hints.moved(need.stripe, *index)?));
        census.noted = census.missing.iter().filter_map(noted).collect();
        Ok(census)
    }

    /// Asks `pairs` what they hold, and takes it in.
    async fn ask_pairs(
        &self,
        pairs: &BTreeSet<PairId>,
        stored: &StoredShard,
        census: &mut Census,
    ) -> Result<(), Refusal> {
        let descriptor = &stored.head.descriptor.body;
        let stripe = descriptor.id();
        let records = pairs.iter().filter_map(|pair| Some(self.membership.pair(pair)?.record));
        let (lost, others): (Vec<_>, Vec<_>) = records
            .filter(|record| record.role_of(&self.me).is_none())
            .partition(|record| self.lost.is_lost(&record.pair));
        let asking: FuturesUnordered<_> =
            others.into_iter().map(|record| self.ask_about(record, stored)).collect();
        let left = lost.into_iter().map(|record| self.ask_left(record, descriptor));
        let (answers, left): (Vec<_>, Vec<_>) =
            futures::join!(asking.collect(), futures::future::join_all(left));
        census.left.extend(left.into_iter().flatten());
        for told in answers {
            let Some(told) = told else {
                census.silent += 1;
                continue;
            };
            let bound = usize::from(descriptor.per_pair);
            let is_told = |index: &ShardIndex| self.hints.moved(stripe, *index) == Some(told.pair);
            let held = told.held_within(bound, is_told);
            let moved: Vec<_> = held.iter().copied().filter(is_told).collect();
            let Told { pair, sure, both, tombstones, .. } = told;
            let is_genuine = |tombstone: &Signed<Tombstone>| {
                tombstone.body.stripe == stripe
                    && self.check_statement(tombstone, &descriptor.lock).is_ok()
            };
            if let Some(tombstone) = tombstones.into_iter().find(is_genuine) {
                self.delete(vec![tombstone], true).await?;
                census.is_deleted = true;
            }
            let to_keep = both.difference(&sure).take(bound).map(|index| (*index, pair));
            census.to_keep.extend(to_keep);
            for index in sure.into_iter().take(bound).chain(moved) {
                census.sure.entry(index).or_default().insert(pair);
            }
            if !held.is_empty() {
                census.held.entry(pair).or_default().extend(held);
            }
        }
        Ok(())
    }

    /// Asks those members of a lost pair that are heard.
    async fn ask_left(
        &self,
        record: PairRecord,
        descriptor: &StripeDescriptor,
    ) -> Vec<(ShardIndex, PairId)> {
        let (stripe, within) = (descriptor.id(), self.config.timings.probe);
        let mut left = Vec::new();
        for member in record.members.into_iter().filter(|member| self.is_heard(member)) {
            let answer = self.call_within(member, Request::StripeStatus { stripe }, within).await;
            if let Ok(Reply { response: Response::Stripe { indices, .. }, .. }) = answer {
                left.extend(indices.into_iter().take(descriptor.per_pair.into()));
            }
        }
        left.into_iter().map(|index| (index, record.pair)).collect()
    }

    /// Asks both members; nothing if neither answers.
    pub(crate) async fn ask_about(&self, record: PairRecord, stored: &StoredShard) -> Option<Told> {
        let stripe = stored.head.descriptor.body.id();
        let within = self.config.timings.probe;
        let asking = record
            .members
            .map(|member| self.call_within(member, Request::StripeStatus { stripe }, within));
        let mut said: Vec<BTreeSet<ShardIndex>> = Vec::new();
        let mut sure = 0;
        let mut tombstones = Vec::new();
        for answer in futures::future::join_all(asking).await {
            let Ok(Response::Stripe { indices, commit, tombstone }) =
                answer.map(|reply| reply.response)
            else {
                continue;
            };
            sure += usize::from(commit.is_some_and(|commit| self.is_genuine(&commit, stored)));
            said.push(indices.into_iter().collect());
            tombstones.extend(tombstone);
        }
        let both: BTreeSet<_> = match said.as_slice() {
            [one, other] => one.intersection(other).copied().collect(),
            _ => BTreeSet::new(),
        };
        let held = said.iter().flatten().copied().collect();
        let sure = if sure == 2 { both.clone() } else { BTreeSet::new() };
        let told = Told { pair: record.pair, held, sure, both, tombstones };
        (!said.is_empty()).then_some(told)
    }

    /// k shards with their shares: this node's own first, then others', a new one for each
    /// that fails.
    async fn gather_parts(
        &self,
        need: &Need,
        census: &Census,
        stored: &StoredShard,
    ) -> Result<Vec<(Share, Bytes)>, Failure> {
        let data = stored.head.descriptor.body.geometry.data();
        let lost: Vec<_> = census
            .missing
            .iter()
            .filter_map(|index| {
                let pair = need.lost.get(index)?;
                Some(Watched { index: *index, pair: *pair })
            })
            .collect();
        let mut sources = census.sources(&stored.state.pair).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut parts: Vec<(Share, Bytes)> = Vec::with_capacity(data);
        let mut last = String::new();
        loop {
            while asked.len() + parts.len() < data
                && let Some((index, pairs)) = sources.next()
            {
                let key = ShardKey { stripe: need.stripe, index };
                asked.push(self.part(key, pairs, &stored.head, &lost));
            }
            match asked.next().await {
                Some(Ok(part)) => parts.push(part),
                Some(Err(refusal)) => last = refusal.detail,
                None => break,
            }
        }
        drop(asked);
        if parts.len() < data {
            let why = format!("{} of the {data} shards needed were had: {last}", parts.len());
            return Err(Failure::of(why, census, data));
        }
        let read: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        self.repairs.lock().progress.bytes_read += read as u64;
        self.metrics.repair_bytes_read.add(read as u64);
        Ok(parts)
    }

    /// One shard and its share, from here or from a member of `pairs`: from the first whose
    /// part is the one that the descriptor names.
    async fn part(
        &self,
        key: ShardKey,
        pairs: Vec<PairId>,
        head: &Arc<ShardHead>,
        lost: &[Watched],
    ) -> Result<(Share, Bytes), Refusal> {
        let records = pairs.iter().filter_map(|pair| self.membership.pair(pair));
        let mut members: Vec<_> = records.flat_map(|known| known.record.members).collect();
        members.sort_by_key(|member| *member != self.me);
        let mut last = refuse(Reason::Degraded, "no member of the pair is heard");
        for member in members.into_iter().filter(|member| self.is_heard(member)) {
            let part = match member == self.me {
                true => self.own_part(key).await,
                false => self.released_part(member, key, lost).await,
            };
            let checked = match part {
                Ok((share, bytes)) => self.checked_part(head, share, bytes).await,
                Err(refusal) => Err(refusal),
            };
            match checked {
                Ok(part) => return Ok(part),
                Err(refusal) => {
                    tracing::debug!(stripe = %key.stripe, index = %key.index, %member, %refusal,
                        "no part for a rebuild");
                    last = refusal;
                }
            }
        }
        Err(last)
    }

    pub(crate) async fn own_part(&self, key: ShardKey) -> Result<(Share, Bytes), Refusal> {
        let stored = self.disk.shard(key).await.map_err(disk_refusal)?;
        let stored = stored.ok_or_else(|| refuse(Reason::NotFound, "the shard is gone"))?;
        let body = self.disk.read(key, 0..stored.length).await.map_err(disk_refusal)?;
        let bytes = body.collect().await;
        let bytes = bytes.map_err(|error| refuse(Reason::Disk, error.to_string()))?;
        Ok((Share::new(key.index, stored.head.share), bytes.into()))
    }

    async fn released_part(
        &self,
        member: NodeId,
        key: ShardKey,
        lost: &[Watched],
    ) -> Result<(Share, Bytes), Refusal> {
        let request = Request::Release { key, lost: lost.to_vec() };
        let reply = self.peers.call(member, request, Body::empty()).await;
        let reply = reply.map_err(partner_refusal)?;
        let Response::Released { share } = reply.response else {
            return Err(refuse(Reason::Degraded, "the holder answered something else"));
        };
        let bytes = reply.body.collect().await;
        let bytes = bytes.map_err(|error| refuse(Reason::Degraded, error.to_string()))?;
        Ok((Share::new(key.index, share), bytes.into()))
    }

    /// A part that is the one which the descriptor names. What has rotted at one holder, or
    /// is a lie, would spoil the whole rebuild, now and whenever it is tried again.
    async fn checked_part(
        &self,
        head: &Arc<ShardHead>,
        share: Share,
        bytes: Bytes,
    ) -> Result<(Share, Bytes), Refusal> {
        let head = Arc::clone(head);
        let work =
            move || check_part(&head.descriptor.body, &share, &bytes).map(|()| (share, bytes));
        let checked = self.compute.run(work).await;
        checked.map_err(|error| refuse(Reason::WrongBytes, error.to_string()))
    }

    /// The wanted shards, bit for bit as they were.
    async fn rebuild_all(
        &self,
        stored: &StoredShard,
        parts: Vec<(Share, Bytes)>,
        wanted: Vec<ShardIndex>,
        census: &Census,
    ) -> Result<Vec<(Share, Bytes)>, Failure> {
        let head = Arc::clone(&stored.head);
        let work = move || {
            let share = |share: &Share| Share::new(share.index, *share.bytes);
            let parts: Vec<_> =
                parts.iter().map(|(one, bytes)| (share(one), bytes.as_ref())).collect();
            let rebuilt = rebuild_shards(&head.descriptor.body, &parts, &wanted)?;
            let shards = rebuilt.into_iter().map(|(sealed, share)| (share, Bytes::from(sealed)));
            Ok::<Vec<_>, RebuildError>(shards.collect())
        };
        let data = stored.head.descriptor.body.geometry.data();
        self.compute.run(work).await.map_err(|error| {
            tracing::warn!(%error, stripe = %stored.head.descriptor.body.id(), "failed to rebuild");
            Failure::of(error.to_string(), census, data)
        })
    }

    /// Stores rebuilt shards at pairs that have room, as flat as can be.
    async fn place_all(
        &self,
        stored: &StoredShard,
        commit: &Signed<Commit>,
        shards: Vec<(Share, Bytes)>,
        (mut census, placement, lost): (Census, Placement, BTreeMap<ShardIndex, PairId>),
    ) -> Result<(), Failure> {
        let descriptor = &stored.head.descriptor;
        let (stripe, geometry) = (descriptor.body.id(), descriptor.body.geometry);
        // What is at no place yet is watched where it was lost, or nobody would see to it if it
        // finds none. Once it has one, watchers hear that it moved.
        let mut where_to = lost;
        where_to.extend(census.where_to());
        let (mut notes, mut refused_by) = (Vec::new(), BTreeSet::new());
        let mut why = None;
        for (share, bytes) in shards {
            let index = share.index;
            let Some(pair) = placement.places.get(&index) else { continue };
            if let Some(pair) = self.moved_meanwhile(&census, (stripe, index)) {
                census.missing.remove(&index);
                where_to.insert(index, pair);
                continue;
            }
            let length = bytes.len() as u64;
            match self.place(*pair, (share, bytes), (descriptor, commit), &where_to).await {
                Ok(note) => {
                    census.missing.remove(&index);
                    where_to.insert(index, *pair);
                    self.bad.is_whole(&ShardKey { stripe, index });
                    notes.push(note);
                    let noted = self.note_move(stripe, index, *pair).await;
                    noted
                        .unwrap_or_else(|refusal| tracing::warn!(%refusal, "a move was not noted"));
                    self.repairs.rebuilt(length, self.clock.elapsed());
                    self.metrics.shards_rebuilt.one();
                    self.metrics.repair_bytes_written.add(length);
                }
                Err(refusal) => {
                    refused_by.insert(*pair);
                    why = Some(refusal.detail);
                }
            }
            self.pace.spend(length, &self.clock).await;
        }
        notes.iter().for_each(|note| self.keep_note(note));
        if !notes.is_empty() {
            self.peers.publish(Gossip::Moved(Box::new(MovedNotes(notes))));
        }
        let is_safe = placement.outcome == placement::Outcome::Safe && census.missing.is_empty();
        self.note_risk(stripe, is_safe);
        if census.missing.is_empty() {
            return Ok(());
        }
        let why = why.unwrap_or_else(|| placement.to_string());
        Err(Failure { refused_by, ..Failure::of(why, &census, geometry.data()) })
    }

    /// Where a missing shard is by now, if others have placed it since all were asked.
    fn moved_meanwhile(
        &self,
        census: &Census,
        (stripe, index): (StripeId, ShardIndex),
    ) -> Option<PairId> {
        let pair = self.hints.moved(stripe, index)?;
        let is_news = census.noted.get(&index) != Some(&pair);
        (is_news && !self.lost.is_lost(&pair)).then_some(pair)
    }

    /// Pairs that take shards now.
    fn places(&self, length: u64) -> Vec<Place> {
        let now = self.clock.elapsed();
        let open = self.membership.open_pairs(now, self.config.timings.card_stale);
        open.into_iter()
            .filter(|open| !self.lost.is_lost(&open.pair))
            .map(|open| Place {
                pair: open.pair,
                room: open.room.checked_div(length).unwrap_or(0),
                domain: open.domain,
            })
            .collect()
    }

    /// Stores one shard at both members of `pair`, for good. It watches its siblings where
    /// `where_to` says that they are.
    pub(crate) async fn place(
        &self,
        pair: PairId,
        (share, bytes): (Share, Bytes),
        (descriptor, commit): (&Signed<StripeDescriptor>, &Signed<Commit>),
        where_to: &BTreeMap<ShardIndex, PairId>,
    ) -> Result<MovedNote, Refusal> {
        let record = self.known_pair(&pair)?;
        let index = share.index;
        let head = ShardHead {
            descriptor: descriptor.clone(),
            index,
            share: *share.bytes,
            watched: watched(index, descriptor.body.geometry.total(), where_to),
        };
        let store = StoreShard { head: Arc::new(head), pair, epoch: record.epoch, lease_ms: 0 };
        let primary = record.primary();
        let stored =
            self.to_primary(primary, Request::StoreShard(store), Body::whole(bytes)).await?;
        let Response::Receipts(receipts) = stored else {
            return Err(refuse(Reason::Degraded, "the pair answered something else"));
        };
        let receipts: [SignedReceipt; 2] = receipts
            .try_into()
            .map_err(|_other| refuse(Reason::Degraded, "the pair gave not two receipts"))?;
        let members = receipts.each_ref().map(|signed| signed.receipt.node);
        if members != record.members || !receipts.iter().all(|one| self.is_genuine_receipt(one)) {
            return Err(refuse(Reason::Degraded, "the pair's receipts are not its members'"));
        }
        self.tell_to_keep(pair, index, commit).await?;
        let locator = stripe_locator(&self.network, &descriptor.body.tag);
        Ok(MovedNote { locator, receipts })
    }

    async fn tell_to_keep(
        &self,
        pair: PairId,
        index: ShardIndex,
        commit: &Signed<Commit>,
    ) -> Result<(), Refusal> {
        let primary = self.known_pair(&pair)?.primary();
        let stripes = vec![KeepStripe { commit: commit.clone(), indices: vec![index] }];
        let kept = self.to_primary(primary, Request::Commit { stripes, both: true }, Body::empty());
        match kept.await? {
            Response::Held(held) if held == [true] => Ok(()),
            _ => Err(refuse(Reason::Degraded, "the pair did not keep the shard")),
        }
    }

    /// Asks a primary, which may be this node itself.
    pub(crate) async fn to_primary(
        &self,
        primary: NodeId,
        request: Request,
        body: Body,
    ) -> Result<Response, Refusal> {
        if primary != self.me {
            let answer = self.peers.call(primary, request, body).await;
            return Ok(answer.map_err(partner_refusal)?.response);
        }
        match request {
            Request::StoreShard(store) => self.store_shard(self.me, store, body).await,
            Request::Commit { stripes, both } => self.commit(stripes, both).await,
            _ => Err(refuse(Reason::Malformed, "nothing else is asked of oneself")),
        }
    }

    /// From now on what is here watches the shard at `pair`.
    async fn note_move(
        &self,
        stripe: StripeId,
        index: ShardIndex,
        pair: PairId,
    ) -> Result<(), Refusal> {
        let elsewhere =
            |head: &ShardHead| head.watched.iter().any(|it| it.index == index && it.pair != pair);
        let held = self.held(stripe).await?.into_iter();
        let changes: Vec<_> = held
            .filter(|(_, stored)| elsewhere(&stored.head))
            .map(|(key, stored)| {
                Change::ShardHead(key, Arc::new(stored.head.watching_at(index, pair)))
            })
            .collect();
        if changes.is_empty() {
            Ok(())
        } else {
            self.disk.apply(changes).await.map_err(disk_refusal)
        }
    }
}

/// The siblings that the holder of `index` watches, as far as it is known where they are: those
/// after it.
fn watched(
    index: ShardIndex,
    total: usize,
    where_to: &BTreeMap<ShardIndex, PairId>,
) -> Vec<Watched> {
    let sibling = |step: usize| {
        let index = round(usize::from(index.0) + step, total)?;
        Some(Watched { index, pair: *where_to.get(&index)? })
    };
    (1..=WATCHED.min(total.saturating_sub(1))).filter_map(sibling).collect()
}

/// Whose holders watch the shard: those before it.
pub(crate) fn watchers(index: ShardIndex, total: usize) -> impl Iterator<Item = ShardIndex> {
    (1..=WATCHED.min(total.saturating_sub(1)))
        .filter_map(move |step| round(usize::from(index.0) + total - step, total))
}

fn round(place: usize, total: usize) -> Option<ShardIndex> {
    u8::try_from(place % total).ok().map(ShardIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_asked_for_here_then_where_it_is_sure_then_elsewhere() {
        let [orphan, own, sure] = [1, 2, 3].map(|id| PairId([id; 16]));
        let [one, two, three] = [1, 2, 3].map(ShardIndex);
        let census = Census {
            held: BTreeMap::from([
                (orphan, BTreeSet::from([one, two, three])),
                (own, BTreeSet::from([three])),
                (sure, BTreeSet::from([two])),
            ]),
            sure: BTreeMap::from([(two, BTreeSet::from([sure])), (three, BTreeSet::from([own]))]),
            ..Census::default()
        };
        let expected = [(three, vec![own, orphan]), (one, vec![orphan]), (two, vec![sure, orphan])];
        assert_eq!(census.sources(&own), expected);
    }

    #[test]
    fn what_one_member_says_crowds_out_nothing_that_is_known_better() {
        let set = |indices: &[u8]| indices.iter().copied().map(ShardIndex).collect();
        let held = |sure: &[u8], both: &[u8], told: u8| {
            let told_of = Told {
                pair: PairId([1; 16]),
                held: set(&[0, 1, 6, 7]),
                sure: set(sure),
                both: set(both),
                tombstones: Vec::new(),
            };
            told_of.held_within(2, |index| index.0 == told)
        };
        assert_eq!(held(&[7], &[6, 7], 1), set(&[6, 7]));
        assert_eq!(held(&[7], &[7], 1), set(&[1, 7]));
        assert_eq!(held(&[], &[6], 9), set(&[0, 6]));
        assert_eq!(held(&[], &[], 9), set(&[0, 1]));
    }
}

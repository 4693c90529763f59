//! Records of a lost pair: another pair stands in for it in their sets.
//!
//! First the other pairs of the set promise, at both members, that whatever they acknowledge
//! of the record from now on reaches the stand-in too. Then the stand-in gets the heads that
//! all of them have after their promise. So a version that any quorum of the old set has
//! acknowledged is at a quorum of the new one, and no owner has to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use defs_core::body::Body;
use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Item, ItemResult, Reason, Refusal, Request, Response};
use defs_core::network::PairRecord;
use defs_core::port::{Change, Clock, Disk, DiskError, Peers, StateKey};
use defs_core::receipt::SignedReceipt;
use defs_core::record::{RecordKey, RecordSet, SignedRecord};

use crate::config::World;
use crate::engine::Engine;
use crate::heal::rebuild::again_after;
use crate::keep::bounded;
use crate::membership::draw;
use crate::refuse::{disk_refusal, partner_refusal, refuse};

/// Records that are moved in one exchange: of the largest size, as many as fit a message.
const BATCH: usize = 2;

/// Records looked at in one step of the scan.
const PAGE: usize = 256;

/// Who stands in for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StandIn {
    lost: PairId,
    by: PairId,
}

impl Format for StandIn {
    const NAME: &'static str = "a stand-in";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.lost.0);
        out.raw(&self.by.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { lost: PairId(input.array("lost")?), by: PairId(input.array("by")?) })
    }
}

/// Stand-ins whose failure is remembered.
const POSTPONED_MAX: usize = 4096;

/// Stand-ins that could not be given everything: how often, and when it is tried again.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Mutex<BTreeMap<StandIn, (u32, Duration)>>);

impl Postponed {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StandIn, (u32, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self, stand_in: &StandIn, now: Duration) -> bool {
        self.lock().get(stand_in).is_some_and(|(_, again_at)| *again_at > now)
    }

    fn tried(&self, stand_in: StandIn, is_done: bool, now: Duration) {
        let mut state = self.lock();
        let tries = state.remove(&stand_in).map_or(0, |(tries, _)| tries);
        if !is_done && state.len() < POSTPONED_MAX {
            let again_at = now.saturating_add(again_after(tries));
            state.insert(stand_in, (tries.saturating_add(1), again_at));
        }
    }
}

const KEY: &[u8] = b"standin/";

/// Promises that members compare.
const PROMISES_MAX: usize = 1 << 20;

fn prefix(key: &RecordKey) -> Vec<u8> {
    [KEY, &key.encode()].concat()
}

/// A stored promise as members compare it.
fn item_of((key, stand_in): &(StateKey, Bytes)) -> Option<Item> {
    let (key, lost) = key.0.strip_prefix(KEY)?.split_last_chunk::<16>()?;
    let file = RecordKey::decode(key).ok()?.file;
    let digest = StandIn::decode(stand_in).ok()?.by.0;
    Some(Item { name: [&file.0, key, lost].concat(), digest })
}

/// The promise that an item tells.
fn promise_of(item: &Item) -> Option<(RecordKey, StandIn)> {
    let (file, rest) = item.name.split_first_chunk::<32>()?;
    let (key, lost) = rest.split_last_chunk::<16>()?;
    let key = RecordKey::decode(key).ok()?;
    let stand_in = StandIn { lost: PairId(*lost), by: PairId(item.digest) };
    (key.file.0 == *file).then_some((key, stand_in))
}

fn state_key(key: &RecordKey, lost: &PairId) -> StateKey {
    StateKey([prefix(key).as_slice(), &lost.0].concat())
}

/// Where a leader notes who has got everything in the place of `lost`.
fn settled_key(key: &RecordKey, lost: &PairId) -> StateKey {
    StateKey([b"stoodin/".as_slice(), &key.encode(), &lost.0].concat())
}

type Written = Vec<ItemResult<Vec<SignedReceipt>>>;

impl<W: World> Engine<W> {
    pub(crate) async fn recall_stand_ins(&self) -> Result<(), DiskError> {
        let any = self.disk.scan(StateKey(b"standin/".to_vec()), 1).await?;
        self.has_stand_ins.store(!any.is_empty(), Ordering::Relaxed);
        Ok(())
    }

    /// Who stands in for lost pairs of the set of `key`, as far as this node has promised.
    pub(crate) async fn stand_ins(&self, key: &RecordKey) -> Result<Vec<StandIn>, Refusal> {
        if !self.has_stand_ins.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let stored = self.disk.scan(StateKey(prefix(key)), defs_core::record::RECORD_PAIRS);
        let stored = stored.await.map_err(disk_refusal)?;
        Ok(stored.iter().filter_map(|(_, bytes)| StandIn::decode(bytes).ok()).collect())
    }

    /// Whether this node's pair keeps the record in a lost pair's place.
    pub(crate) async fn stands_in(&self, key: &RecordKey, pair: &PairId) -> Result<bool, Refusal> {
        Ok(self.stand_ins(key).await?.iter().any(|known| known.by == *pair))
    }

    /// Whether this node has seen to it that the stand-in has everything.
    async fn is_settled_for(&self, key: &RecordKey, stand_in: &StandIn) -> Result<bool, Refusal> {
        let settled =
            self.disk.get(settled_key(key, &stand_in.lost)).await.map_err(disk_refusal)?;
        Ok(settled.as_deref() == Some(stand_in.by.0.as_slice()))
    }

    async fn remember(&self, keys: &[RecordKey], stand_in: StandIn) -> Result<(), Refusal> {
        let change =
            |key: &RecordKey| Change::Put(state_key(key, &stand_in.lost), stand_in.encode());
        self.disk.apply(keys.iter().map(change).collect()).await.map_err(disk_refusal)?;
        self.has_stand_ins.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// All promises of this node about records of files that begin with `prefix`.
    pub(crate) async fn stand_in_items(&self, prefix: &[u8]) -> Result<Vec<Item>, Refusal> {
        if !self.has_stand_ins.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let stored = self.disk.scan(StateKey(KEY.to_vec()), PROMISES_MAX);
        let stored = stored.await.map_err(disk_refusal)?;
        Ok(stored.iter().filter_map(item_of).filter(|item| item.name.starts_with(prefix)).collect())
    }

    /// Takes over promises of the partner. Of two about one record the one counts whose pair
    /// lives.
    pub(crate) async fn take_stand_ins(&self, items: &[Item]) -> Result<u64, Refusal> {
        let mut taken = 0;
        for (key, theirs) in items.iter().filter_map(promise_of) {
            let mine = self.stand_ins(&key).await?.into_iter().find(|one| one.lost == theirs.lost);
            if mine.is_none_or(|mine| self.lost.is_lost(&mine.by)) {
                self.remember(&[key], theirs).await?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// One pass over the records that are here: each of which a pair of its set is lost, and
    /// for which it is this pair's turn, gets a stand-in.
    pub(crate) async fn rehome_records(&self) -> Result<(), Refusal> {
        let Some(own) = self.membership.own_pair().map(|own| own.record) else { return Ok(()) };
        let mut after = None;
        loop {
            let page = self.disk.records_after(after, PAGE).await.map_err(disk_refusal)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let heads = self.disk.records(page.clone()).await.map_err(disk_refusal)?;
            let mut moves: BTreeMap<(StandIn, Vec<PairId>), Vec<RecordKey>> = BTreeMap::new();
            for (key, heads) in page.into_iter().zip(heads) {
                let newest = heads.iter().map(|head| &head.body.set).max_by_key(|set| set.version);
                let Some(set) = newest else { continue };
                if let Some((stand_in, others)) = self.wanted(&own, &key, set).await? {
                    moves.entry((stand_in, others)).or_default().push(key);
                }
            }
            for ((stand_in, others), keys) in moves {
                for keys in keys.chunks(BATCH) {
                    if self.postponed.waits(&stand_in, self.clock.elapsed()) {
                        break;
                    }
                    let moved = self.move_records(&own, keys, stand_in, &others).await;
                    if let Err(refusal) = &moved {
                        tracing::debug!(lost = %stand_in.lost, by = %stand_in.by, %refusal,
                            "records have no stand-in yet");
                    }
                    self.postponed.tried(stand_in, moved.is_ok(), self.clock.elapsed());
                }
            }
        }
    }

    /// The stand-in that the record lacks, if it is this pair's to see to it.
    async fn wanted(
        &self,
        own: &PairRecord,
        key: &RecordKey,
        set: &RecordSet,
    ) -> Result<Option<(StandIn, Vec<PairId>)>, Refusal> {
        let known = self.stand_ins(key).await?;
        let now_at =
            |pair: &PairId| known.iter().find(|one| one.lost == *pair).map_or(*pair, |one| one.by);
        let current: Vec<_> = set.pairs.iter().map(now_at).collect();
        let live: Vec<_> =
            current.iter().copied().filter(|pair| !self.lost.is_lost(pair)).collect();
        // The first that lives leads; of those that stand in only if no other does: until it has
        // been given everything, a stand-in has nothing to go on from.
        let named = set.pairs.iter().find(|pair| !self.lost.is_lost(pair));
        let quorum = defs_core::record::quorum_of(set.pairs.len());
        if named.or(live.first()) != Some(&own.pair) || live.len() < quorum {
            return Ok(None);
        }
        // What was promised and not brought to its end, since another did not agree yet.
        for stand_in in known.iter().filter(|one| live.contains(&one.by) && one.by != own.pair) {
            if set.pairs.contains(&stand_in.lost) && !self.is_settled_for(key, stand_in).await? {
                let others = live.iter().copied().filter(|pair| *pair != stand_in.by).collect();
                return Ok(Some((*stand_in, others)));
            }
        }
        if live.len() == current.len() {
            return Ok(None);
        }
        let place = current.iter().position(|pair| self.lost.is_lost(pair));
        let Some(lost) = place.and_then(|place| set.pairs.get(place)) else { return Ok(None) };
        let now = self.clock.elapsed();
        let open = self.membership.open_pairs(now, self.config.timings.card_stale);
        let fit = open.iter().map(|open| open.pair).filter(|pair| {
            !current.contains(pair) && !set.pairs.contains(pair) && !self.lost.is_lost(pair)
        });
        let by = fit.min_by_key(|pair| draw(pair, &NodeId(key.file.0)));
        Ok(by.map(|by| (StandIn { lost: *lost, by }, live)))
    }

    async fn move_records(
        &self,
        own: &PairRecord,
        keys: &[RecordKey],
        stand_in: StandIn,
        live: &[PairId],
    ) -> Result<(), Refusal> {
        let StandIn { lost, by } = stand_in;
        let mine = self.promise_stand_in(keys, stand_in, true).await?;
        let mut heads: BTreeMap<[u8; 32], Arc<SignedRecord>> = BTreeMap::new();
        let mut add = |items: Vec<ItemResult<Vec<Arc<SignedRecord>>>>| {
            for head in items.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
                heads.insert(head.body.hash().0, head);
            }
            Ok::<_, Refusal>(())
        };
        add(mine)?;
        for pair in live.iter().filter(|pair| **pair != own.pair) {
            let request = Request::StandIn { keys: keys.to_vec(), lost, by, both: true };
            match self.ask_acting(pair, request).await? {
                Response::Records(items) if items.len() == keys.len() => add(items)?,
                _ => {
                    return Err(refuse(
                        Reason::Degraded,
                        "a pair of the set answered something else",
                    ));
                }
            }
        }
        let heads: Vec<_> = heads.into_values().collect();
        for head in heads {
            self.give_record(&head, stand_in).await?;
        }
        for key in keys {
            self.tell_stand_ins(key, stand_in).await?;
        }
        let settled = keys.iter().map(|key| Change::Put(settled_key(key, &lost), by.0.to_vec()));
        self.disk.apply(settled.collect()).await.map_err(disk_refusal)?;
        tracing::info!(%lost, %by, records = keys.len(), "another pair stands in for records");
        self.metrics.records_rehomed.add(keys.len() as u64);
        Ok(())
    }

    /// Tells a stand-in of the others: when no pair of the set is left, they have to agree on
    /// those that follow, and each goes by what it knows of whom to ask.
    async fn tell_stand_ins(&self, key: &RecordKey, newest: StandIn) -> Result<(), Refusal> {
        let known = self.stand_ins(key).await?;
        for StandIn { lost, by } in known.into_iter().filter(|one| one.lost != newest.lost) {
            let request = Request::StandIn { keys: vec![*key], lost, by, both: true };
            match self.ask_acting(&newest.by, request).await? {
                Response::Records(_) => {}
                _ => {
                    return Err(refuse(Reason::Degraded, "the stand-in answered something else"));
                }
            }
        }
        Ok(())
    }

    /// Sends one version to the pair that stands in.
    async fn give_record(
        &self,
        head: &Arc<SignedRecord>,
        StandIn { lost, by }: StandIn,
    ) -> Result<(), Refusal> {
        let record = self.known_pair(&by)?;
        let request = Request::TakeRecords {
            pair: by,
            epoch: record.epoch,
            lost,
            records: vec![Arc::clone(head)],
            forward: true,
        };
        let answer = self.peers.call(record.primary(), request, Body::empty()).await;
        match answer.map_err(partner_refusal)?.response {
            Response::Written(items) => items.into_iter().collect::<Result<Vec<_>, _>>().map(drop),
            _ => Err(refuse(Reason::Degraded, "the stand-in answered something else")),
        }
    }

    /// Versions that were just acknowledged here go to whoever stands in.
    pub(crate) async fn pass_to_stand_ins(
        &self,
        own: &PairRecord,
        records: &[Arc<SignedRecord>],
        written: Written,
    ) -> Result<Written, Refusal> {
        if !self.has_stand_ins.load(Ordering::Relaxed) {
            return Ok(written);
        }
        let mut passed = Vec::with_capacity(written.len());
        for (record, outcome) in records.iter().zip(written) {
            let mut outcome = outcome;
            for stand_in in self.stand_ins(&record.body.key).await? {
                let concerns =
                    stand_in.by != own.pair && record.body.set.pairs.contains(&stand_in.lost);
                if outcome.is_ok()
                    && concerns
                    && let Err(refusal) = self.give_record(record, stand_in).await
                {
                    outcome = Err(refusal);
                }
            }
            passed.push(outcome);
        }
        Ok(passed)
    }

    /// Asks the member of `pair` that acts.
    async fn ask_acting(&self, pair: &PairId, request: Request) -> Result<Response, Refusal> {
        let record = self.known_pair(pair)?;
        let heard = record.members.into_iter().find(|member| self.is_heard(member));
        let member =
            heard.ok_or_else(|| refuse(Reason::Degraded, "nobody of the pair is heard"))?;
        let answer = self.call_within(member, request, self.config.timings.probe.saturating_mul(3));
        Ok(answer.await.map_err(partner_refusal)?.response)
    }

    async fn promise_stand_in(
        &self,
        keys: &[RecordKey],
        stand_in: StandIn,
        both: bool,
    ) -> Result<Vec<ItemResult<Vec<Arc<SignedRecord>>>>, Refusal> {
        self.remember(keys, stand_in).await?;
        // A member that is away has no say: what it misses it takes over when it is back.
        if both
            && let Some(partner) = self.membership.partner()
            && self.is_heard(&partner)
        {
            let StandIn { lost, by } = stand_in;
            let request = Request::StandIn { keys: keys.to_vec(), lost, by, both: false };
            self.ask_partner(request).await?;
        }
        let heads = self.disk.records(keys.to_vec()).await.map_err(disk_refusal)?;
        Ok(heads.into_iter().map(Ok).collect())
    }

    pub(crate) async fn take_stand_in(
        &self,
        caller: NodeId,
        keys: Vec<RecordKey>,
        (lost, by): (PairId, PairId),
        both: bool,
    ) -> Result<Response, Refusal> {
        bounded(keys.len())?;
        let stand_in = StandIn { lost, by };
        if self.membership.partner() == Some(caller) {
            return Ok(Response::Records(self.promise_stand_in(&keys, stand_in, both).await?));
        }
        let theirs = self.membership.pair_of(&caller);
        let theirs = theirs.ok_or_else(|| refuse(Reason::NotAllowed, "only members ask that"))?;
        let heads = self.disk.records(keys.clone()).await.map_err(disk_refusal)?;
        let sets = |heads: &Vec<Arc<SignedRecord>>| -> BTreeSet<PairId> {
            heads.iter().flat_map(|head| head.body.set.pairs.iter().copied()).collect()
        };
        for (key, heads) in keys.iter().zip(&heads) {
            let set = sets(heads);
            let is_there = set.contains(&theirs) || self.stands_in(key, &theirs).await?;
            if !heads.is_empty() && (!is_there || !set.contains(&lost)) {
                return Err(refuse(
                    Reason::NotAllowed,
                    "the record's set does not name these pairs",
                ));
            }
        }
        if !self.is_gone(&keys, &lost).await? {
            let detail = format!("this node does not hold pair {lost} to be lost");
            return Err(refuse(Reason::Busy, detail));
        }
        Ok(Response::Records(self.promise_stand_in(&keys, stand_in, both).await?))
    }

    /// Whether `lost`, and whoever stood in for it before, are lost by this node's judgement.
    async fn is_gone(&self, keys: &[RecordKey], lost: &PairId) -> Result<bool, Refusal> {
        if !self.lost.is_lost(lost) {
            // It may have been forgotten since another stood in for it.
            for key in keys {
                let known = self.stand_ins(key).await?;
                let before = known.iter().find(|one| one.lost == *lost);
                if !before.is_some_and(|one| self.lost.is_lost(&one.by)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    pub(crate) async fn take_records_for(
        &self,
        caller: NodeId,
        (pair, epoch, lost): (PairId, Epoch, PairId),
        records: Vec<Arc<SignedRecord>>,
        forward: bool,
    ) -> Result<Response, Refusal> {
        bounded(records.len())?;
        let own = self.own_pair_at(pair, epoch)?;
        if forward {
            self.check_primary(&own)?;
            let theirs = self.membership.pair_of(&caller);
            let is_member = |record: &Arc<SignedRecord>| {
                theirs.is_some_and(|theirs| record.body.set.pairs.contains(&theirs))
            };
            // A pair that stands in itself hands on what it has.
            let is_node = theirs.is_some() && self.lost.is_lost(&lost);
            if !records.iter().all(|record| is_member(record) || is_node) {
                return Err(refuse(
                    Reason::NotAllowed,
                    "only a pair of the record's set asks that",
                ));
            }
        } else if own.partner_of(&self.me) != Some(caller) {
            return Err(refuse(Reason::NotAllowed, "only the partner may send records to mirror"));
        }
        let checked: Vec<_> = records
            .iter()
            .map(|record| match record.body.set.pairs.contains(&lost) {
                true => self.check_owner(record),
                false => {
                    Err(refuse(Reason::NotAllowed, "the record's set does not name that pair"))
                }
            })
            .collect();
        let keys: Vec<_> = records.iter().map(|record| record.body.key).collect();
        self.remember(&keys, StandIn { lost, by: pair }).await?;
        if !forward {
            return Ok(Response::Written(self.keep_records(&own, &records, checked).await?));
        }
        let mirrored =
            Request::TakeRecords { pair, epoch, lost, records: records.clone(), forward: false };
        Ok(Response::Written(self.keep_at_both(&own, &records, checked, mirrored).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use defs_core::ids::FileId;

    #[test]
    fn what_failed_waits_longer_each_time_and_what_succeeded_does_not() {
        let postponed = Postponed::default();
        let stand_in = StandIn { lost: PairId([4; 16]), by: PairId([5; 16]) };
        let mut now = Duration::ZERO;
        assert!(!postponed.waits(&stand_in, now));
        let mut waited = Vec::new();
        for _ in 0..6 {
            postponed.tried(stand_in, false, now);
            let began = now;
            while postponed.waits(&stand_in, now) {
                now += Duration::from_secs(1);
            }
            waited.push((now - began).as_secs());
        }
        assert_eq!(waited, [2, 4, 8, 16, 30, 30]);
        postponed.tried(stand_in, true, now);
        postponed.tried(stand_in, false, now);
        assert!(!postponed.waits(&stand_in, now + Duration::from_secs(2)), "from the beginning");
    }

    #[test]
    fn a_promise_is_told_in_an_item_and_read_back() {
        let key = RecordKey::manifest(FileId([3; 32]), 258);
        let promise = StandIn { lost: PairId([4; 16]), by: PairId([5; 16]) };
        let stored = (state_key(&key, &promise.lost), promise.encode().into());
        let item = item_of(&stored).unwrap();
        assert_eq!(item.name.len(), defs_core::message::ITEM_NAME_MAX, "the longest name there is");
        assert_eq!(promise_of(&item), Some((key, promise)));
        let of_another_file = Item { name: [&[9; 32], &item.name[32..]].concat(), ..item };
        assert_eq!(promise_of(&of_another_file), None);
    }
}

//! Fetches any k shards of a stripe: data shards first, from the member that answers
//! sooner, and others as soon as one fails or is slow.

use std::collections::BTreeMap;

use bytes::BytesMut;
use defs_codec::{OpenError, RestoreError};
use defs_core::body::Body;
use defs_core::ids::{NodeId, PairId, ShardIndex, SliceNo};
use defs_core::manifest::SliceEntry;
use defs_core::message::{ReadShard, Reason, Request, Response, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Clock as _, Compute as _};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use thiserror::Error;

use super::FileContext;
use super::code::{Gathering, Lengths, open_into_room};
use crate::nodes::{AskPairError, Nodes};
use crate::peers::{Kind, unexpected};
use crate::ports::World;

/// A node that sends nothing of a body for so long is given up.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(15);

/// Why one shard was not had.
#[derive(Debug, Clone, Error)]
pub enum ShardError {
    /// Its pair can't be asked or refused.
    #[error(transparent)]
    Pair(#[from] AskPairError),
    /// What its pair sent is not the shard.
    #[error("node {node} of pair {pair} sent other bytes than were stored")]
    Damaged {
        /// The pair.
        pair: PairId,
        /// The member that sent them.
        node: NodeId,
        /// Why they don't open.
        source: OpenError,
    },
}

/// Why a slice was not had.
#[derive(Debug, Clone, Error)]
pub enum FetchError {
    /// Fewer than k shards.
    #[error("slice {slice} is {short} shards short: {have} of the {need} needed can be had")]
    TooFewShards {
        /// The slice.
        slice: SliceNo,
        /// Shards that were had.
        have: usize,
        /// Shards needed: k.
        need: usize,
        /// How many more are needed.
        short: usize,
        /// Why the others were not had.
        failed: Vec<(ShardIndex, ShardError)>,
    },
    /// The manifest's numbers don't fit its geometry.
    #[error("the manifest of slice {slice} names {named} shards, its geometry has {need}")]
    Manifest {
        /// The slice.
        slice: SliceNo,
        /// Pairs that the manifest names.
        named: usize,
        /// Shards of the geometry.
        need: usize,
    },
    /// The shards don't give the slice.
    #[error("slice {slice} can't be restored from its shards")]
    Restore {
        /// The slice.
        slice: SliceNo,
        /// Why.
        source: RestoreError,
    },
}

/// A shard that a node sent damaged, and that was had elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedShard {
    /// Of which slice.
    pub slice: SliceNo,
    /// Which shard.
    pub index: ShardIndex,
    /// The pair that should hold it.
    pub pair: PairId,
    /// The member that sent other bytes.
    pub node: NodeId,
}

/// An encrypted slice that was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) coded: bytes::Bytes,
    /// Whether parity was needed.
    pub(crate) decoded: bool,
    pub(crate) damaged: Vec<DamagedShard>,
}

/// One stripe to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a FileContext,
    pub(crate) number: SliceNo,
    pub(crate) entry: &'a SliceEntry,
}

/// A shard that was opened, or given up, with what nodes sent damaged on the way.
struct Outcome {
    index: ShardIndex,
    result: Result<BytesMut, ShardError>,
    damaged: Vec<DamagedShard>,
}

impl<W: World> Nodes<W> {
    /// Fetches and opens k shards of a stripe.
    pub(crate) async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, FetchError> {
        let Wanted { file, number, entry } = wanted;
        let (geometry, need) = (file.geometry, file.geometry.data());
        if entry.pairs.len() != geometry.total() {
            let (named, need) = (entry.pairs.len(), geometry.total());
            return Err(FetchError::Manifest { slice: number, named, need });
        }
        let lengths = Lengths::of(entry, geometry);
        let mut gathering = Gathering::new(geometry, lengths);
        let mut queue = self.by_likelihood(entry).await.into_iter();
        let mut running = FuturesUnordered::new();
        let (mut failed, mut damaged) = (Vec::new(), Vec::new());
        for index in queue.by_ref().take(need) {
            running.push(self.fetch_shard(wanted, index, lengths, gathering.room(index)));
        }
        let patience = self.stripe_patience(entry, lengths);
        let mut slow = Box::pin(self.world.clock().sleep(patience));
        while gathering.have() < need && !running.is_empty() {
            let finished = tokio::select! {
                biased;
                finished = running.next() => finished,
                () = &mut slow => {
                    slow = Box::pin(self.world.clock().sleep(patience));
                    None
                }
            };
            if let Some(Outcome { index, result, damaged: found }) = finished {
                damaged.extend(found);
                match result {
                    Ok(opened) => {
                        gathering.add(index, opened);
                        continue;
                    }
                    Err(error) => failed.push((index, error)),
                }
            }
            if let Some(index) = queue.next() {
                running.push(self.fetch_shard(wanted, index, lengths, gathering.room(index)));
            }
        }
        drop(running);
        let have = gathering.have();
        if have < need {
            let short = need - have;
            return Err(FetchError::TooFewShards { slice: number, have, need, short, failed });
        }
        let finished = self.world.compute().run(move || gathering.finish()).await;
        let (coded, decoded) =
            finished.map_err(|source| FetchError::Restore { slice: number, source })?;
        Ok(Fetched { coded, decoded, damaged })
    }

    /// Indices in the order to ask: data before parity, but what is likely missing last.
    async fn by_likelihood(&self, entry: &SliceEntry) -> Vec<ShardIndex> {
        let mut view = self.directory.view();
        if entry.pairs.iter().any(|pair| !view.pairs.contains_key(pair)) {
            match self.directory.fresh().await {
                Ok(fresh) => view = fresh,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no fresh table");
                }
            }
        }
        let now = self.world.clock().elapsed();
        let well = |pair: &PairId| {
            view.pairs.get(pair).is_some_and(|pair| {
                let members = pair.record.members.iter().zip(pair.alive);
                members
                    .into_iter()
                    .any(|(node, alive)| alive && !self.links.pace.is_shunned(*node, now))
            })
        };
        let all = (0_u8..).map(ShardIndex).zip(&entry.pairs);
        let (mut first, last): (Vec<_>, Vec<_>) = all.partition(|(_, pair)| well(pair));
        first.extend(last);
        first.into_iter().map(|(index, _)| index).collect()
    }

    /// How long a stripe may take before one shard more is asked for: each shard's own
    /// second member comes first.
    fn stripe_patience(&self, entry: &SliceEntry, lengths: Lengths) -> std::time::Duration {
        let view = self.directory.view();
        let members = entry.pairs.iter().filter_map(|pair| view.pairs.get(pair));
        let members = members.flat_map(|pair| pair.record.members);
        let kind = Kind::Shard(lengths.sealed);
        let waits = members.map(|node| self.links.pace.hedge_after(node, kind));
        waits.max().unwrap_or_default() * 2
    }

    async fn fetch_shard(
        &self,
        wanted: Wanted<'_>,
        index: ShardIndex,
        lengths: Lengths,
        room: BytesMut,
    ) -> Outcome {
        let mut damaged = Vec::new();
        let pair = wanted.entry.pairs[usize::from(index.0)];
        let result =
            self.fetch_from_pair(wanted, (index, pair), lengths, (room, &mut damaged)).await;
        Outcome { index, result, damaged }
    }

    /// From the likelier member; from the other one if that fails, lies or is slow.
    async fn fetch_from_pair(
        &self,
        wanted: Wanted<'_>,
        (index, pair): (ShardIndex, PairId),
        lengths: Lengths,
        (room, damaged): (BytesMut, &mut Vec<DamagedShard>),
    ) -> Result<BytesMut, ShardError> {
        let kind = Kind::Shard(lengths.sealed);
        let record = self.pair(pair).await?;
        let [first, second] = self.members_in_order(&record, kind);
        let key = ShardKey { stripe: wanted.entry.stripe, index };
        let mut asked = FuturesUnordered::new();
        asked.push(self.read_from(first, wanted, key, lengths));
        let mut spare = Some(second);
        let mut slow = Box::pin(self.world.clock().sleep(self.links.pace.hedge_after(first, kind)));
        let (mut room, mut last) = (Some(room), None);
        while !asked.is_empty() {
            let finished = tokio::select! {
                biased;
                finished = asked.next() => finished,
                () = &mut slow, if spare.is_some() => None,
            };
            match finished {
                Some((node, Ok(sealed))) => {
                    let into = room.take().unwrap_or_else(|| {
                        BytesMut::zeroed(usize::try_from(lengths.shard).unwrap_or(0))
                    });
                    match self.open(wanted, index, sealed, into).await {
                        Ok(opened) => return Ok(opened),
                        Err(source) => {
                            let slice = wanted.number;
                            tracing::warn!(%slice, %index, %pair, %node, "damaged shard");
                            self.links.pace.failed(node, self.world.clock().elapsed());
                            damaged.push(DamagedShard { slice, index, pair, node });
                            last = Some(ShardError::Damaged { pair, node, source });
                        }
                    }
                }
                Some((_, Err(source))) => {
                    // A lie is worth more than a member that is away: keep it as the cause.
                    last = last.or(Some(AskPairError::Call { pair, source }.into()));
                }
                None => {}
            }
            if let Some(node) = spare.take() {
                asked.push(self.read_from(node, wanted, key, lengths));
            }
        }
        Err(last.unwrap_or(ShardError::Pair(AskPairError::Unknown(pair))))
    }

    pub(crate) fn members_in_order(&self, record: &PairRecord, kind: Kind) -> [NodeId; 2] {
        let view = self.directory.view();
        let alive = view.pairs.get(&record.pair).map_or([true; 2], |pair| pair.alive);
        self.links.pace.order(record.members, alive, kind, self.world.clock().elapsed())
    }

    async fn open(
        &self,
        wanted: Wanted<'_>,
        index: ShardIndex,
        sealed: Vec<u8>,
        room: BytesMut,
    ) -> Result<BytesMut, OpenError> {
        let (file, number, salt) = (wanted.file.clone(), wanted.number, wanted.entry.salt);
        let opening = move || open_into_room(&file, (number, &salt), index, &sealed, room);
        self.world.compute().run(opening).await
    }

    /// A shard's sealed bytes from one node, with what the node's pace learns from it.
    async fn read_from(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        key: ShardKey,
        lengths: Lengths,
    ) -> (NodeId, Result<Vec<u8>, CallError>) {
        let began = self.world.clock().elapsed();
        self.links.pace.begins(node);
        let underway = Underway { nodes: self, node, over: false };
        let read = self.read_sealed(node, wanted, key, lengths.sealed).await;
        underway.ends();
        let now = self.world.clock().elapsed();
        match &read {
            Ok(_) => {
                let took = now.saturating_sub(began);
                self.links.pace.answered(node, Kind::Shard(lengths.sealed), took);
            }
            Err(error) if error.refusal().is_some_and(|why| why.reason == Reason::NotFound) => {
                self.links.pace.given_up(node);
            }
            Err(_) => self.links.pace.failed(node, now),
        }
        (node, read)
    }

    async fn read_sealed(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        key: ShardKey,
        length: u64,
    ) -> Result<Vec<u8>, CallError> {
        let request = Request::ReadShard(ReadShard { key, range: None });
        let reply = self.links.call_as_owner(node, &wanted.file.lock, request).await?;
        match reply.response {
            Response::Shard { length: whole } if whole == length && reply.body.left() == length => {
                self.collect(node, reply.body).await
            }
            Response::Shard { .. } => Err(unexpected(node, "the shard has another length")),
            _ => Err(unexpected(node, "a shard was asked for and something else answered")),
        }
    }

    /// All bytes of a body whose length was checked; a silent sender is given up.
    pub(crate) async fn collect(&self, node: NodeId, mut body: Body) -> Result<Vec<u8>, CallError> {
        let mut bytes = Vec::with_capacity(usize::try_from(body.left()).unwrap_or(0));
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.next() => frame,
                () = self.world.clock().sleep(SILENCE_MAX) => {
                    return Err(CallError::TimedOut { to: node });
                }
            };
            match frame {
                Ok(Some(frame)) => bytes.extend_from_slice(&frame),
                Ok(None) => return Ok(bytes),
                Err(error) => {
                    return Err(CallError::Unreachable { to: node, why: error.to_string() });
                }
            }
        }
    }
}

/// Gives the node's pace back what it was counting, if the exchange is dropped.
struct Underway<'a, W: World> {
    nodes: &'a Nodes<W>,
    node: NodeId,
    over: bool,
}

impl<W: World> Underway<'_, W> {
    fn ends(mut self) {
        self.over = true;
    }
}

impl<W: World> Drop for Underway<'_, W> {
    fn drop(&mut self) {
        if !self.over {
            self.nodes.links.pace.given_up(self.node);
        }
    }
}

/// How many pairs of a stripe may still be lost: shards left beyond k, counted by pair,
/// the fullest pairs first.
pub(crate) fn losses_survived(held: &BTreeMap<PairId, usize>, data: usize) -> usize {
    let mut counts: Vec<_> = held.values().copied().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let mut left: usize = counts.iter().sum();
    let survived = counts.iter().take_while(|count| {
        left = left.saturating_sub(**count);
        left >= data
    });
    survived.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_pairs_are_lost_first() {
        let held = |counts: &[usize]| {
            let pairs = (0_u8..).map(|pair| PairId([pair; 16]));
            pairs.zip(counts.iter().copied()).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(losses_survived(&held(&[1; 14]), 10), 4);
        assert_eq!(losses_survived(&held(&[3, 3, 3, 3, 2]), 10), 1);
        assert_eq!(losses_survived(&held(&[1, 1]), 1), 1);
        assert_eq!(losses_survived(&held(&[1]), 1), 0);
        assert_eq!(losses_survived(&held(&[1; 9]), 10), 0);
    }
}

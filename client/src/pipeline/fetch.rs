//! Fetches any k shards of a stripe: data shards first, from the member that answers
//! sooner, and others as soon as one fails or is slow.

use std::collections::BTreeMap;

use bytes::BytesMut;
use defs_codec::{OpenError, RestoreError};
use defs_core::ids::{NodeId, PairId, ShardIndex, SliceNo};
use defs_core::manifest::SliceEntry;
use defs_core::port::{Clock as _, Compute as _};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use thiserror::Error;

use super::FileContext;
use super::code::{Gathering, Lengths};
use crate::nodes::{AskPairError, Nodes};
use crate::peers::Kind;
use crate::ports::World;

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

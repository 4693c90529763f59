//! Fetches any k shards of a stripe: data shards first, from the member that answers
//! sooner, and others as soon as one fails or is slow.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use defs_codec::{OpenError, RestoreError};
use defs_core::ids::{NodeId, PairId, ShardIndex, SliceNo};
use defs_core::manifest::SliceEntry;
use defs_core::port::{Clock as _, Compute as _};
use defs_telemetry::{spans, trace};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use thiserror::Error;

use super::FileContext;
use super::code::{Gathering, Lengths};
use super::encrypt::DecryptError;
use super::harm::Report;
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
    /// Whoever of its pair answered before sent forged shards.
    #[error("the members of pair {0} sent forged shards")]
    LeftOut(PairId),
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
    /// Shards open and give another slice than was put.
    #[error(
        "slice {slice} is not what was put, with any of {trials} choices of whose shards to use"
    )]
    Forged {
        /// The slice.
        slice: SliceNo,
        /// Times that it was fetched, from other nodes each time.
        trials: usize,
        /// What the first one gave.
        source: DecryptError,
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

/// An encrypted slice that was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) coded: BytesMut,
    /// Whether parity was needed.
    pub(crate) decoded: bool,
    /// The shards that it was made of, and who sent them.
    pub(super) used: Vec<(ShardIndex, NodeId)>,
}

/// One stripe to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) file: &'a FileContext,
    pub(crate) number: SliceNo,
    pub(crate) entry: &'a SliceEntry,
    /// Nodes that are not asked.
    pub(crate) without: &'a BTreeSet<NodeId>,
    /// Nodes that are asked before the other members of their pairs, whoever is faster.
    pub(crate) first: &'a BTreeSet<NodeId>,
    /// Where damage is noted as soon as it is seen, whatever becomes of the read.
    pub(crate) report: &'a Report,
}

type Outcome = (ShardIndex, Result<(NodeId, BytesMut), ShardError>);

impl<W: World> Nodes<W> {
    /// Fetches and opens k shards of a stripe: each from either member of its pair, and
    /// others until there are k or none is left to ask.
    pub(crate) async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, FetchError> {
        let Wanted { file, number, entry, .. } = wanted;
        let (geometry, need) = (file.geometry, file.geometry.data());
        if entry.pairs.len() != geometry.total() {
            let (named, need) = (entry.pairs.len(), geometry.total());
            return Err(FetchError::Manifest { slice: number, named, need });
        }
        let mut pairs = self.moves.pairs_of(entry);
        let lengths = Lengths::of(entry, geometry);
        let mut gathering = Gathering::new(geometry, lengths);
        let (queue, mut looked) = self.to_ask(wanted, &mut pairs).await;
        let mut queue = queue.into_iter();
        let mut running = FuturesUnordered::new();
        let (mut failed, mut used) = (Vec::new(), Vec::new());
        for index in queue.by_ref().take(need) {
            let place = (index, pairs[usize::from(index.0)]);
            running.push(self.fetch_shard(wanted, place, lengths, gathering.room(index)));
        }
        let patience = self.stripe_patience(&pairs, lengths);
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
            let mut next = None;
            match finished {
                Some((index, Ok((node, opened)))) => {
                    gathering.add(index, opened);
                    used.push((index, node));
                }
                Some((index, Err(error))) => {
                    failed.push((index, error));
                    next = queue.next();
                }
                None => next = queue.next(),
            }
            if let Some(index) = next {
                let place = (index, pairs[usize::from(index.0)]);
                running.push(self.fetch_shard(wanted, place, lengths, gathering.room(index)));
            }
            if running.is_empty() && !looked && gathering.have() < need {
                looked = true;
                // Too few are where they were put: they may have been rebuilt elsewhere.
                let missing = failed.iter().map(|(index, _)| *index).collect();
                let moved = self.find_moved(file, (number, entry), &missing).await;
                for (index, pair) in moved {
                    pairs[usize::from(index.0)] = pair;
                    let place = (index, pair);
                    running.push(self.fetch_shard(wanted, place, lengths, gathering.room(index)));
                }
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
        Ok(Fetched { coded, decoded, used })
    }

    /// What to ask for, in this order. Where too few pairs are well, `pairs` names then who else has
    /// what is away; whether it was looked for.
    async fn to_ask(&self, wanted: Wanted<'_>, pairs: &mut [PairId]) -> (Vec<ShardIndex>, bool) {
        let Wanted { file, number, entry, .. } = wanted;
        let (mut likely, mut away) = self.by_likelihood(pairs).await;
        let looks = likely.len() < file.geometry.data();
        if looks {
            // To wait for those who are away would take longer than to ask who else has theirs.
            let missing = away.iter().copied().collect();
            for (index, pair) in self.find_moved(file, (number, entry), &missing).await {
                pairs[usize::from(index.0)] = pair;
                away.retain(|one| *one != index);
                likely.push(index);
            }
        }
        likely.extend(away);
        (likely, looks)
    }

    /// What can likely be had, in the order to ask: data before parity; and what is likely missing.
    async fn by_likelihood(&self, pairs: &[PairId]) -> (Vec<ShardIndex>, Vec<ShardIndex>) {
        let mut view = self.directory.view();
        if pairs.iter().any(|pair| !view.pairs.contains_key(pair)) {
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
        let all = (0_u8..).map(ShardIndex).zip(pairs);
        let (likely, away): (Vec<_>, Vec<_>) = all.partition(|(_, pair)| well(pair));
        let indices =
            |of: Vec<_>| of.into_iter().map(|(index, _): (ShardIndex, &PairId)| index).collect();
        (indices(likely), indices(away))
    }

    /// How long a stripe may take before one shard more is asked for: each shard's own
    /// second member comes first.
    fn stripe_patience(&self, pairs: &[PairId], lengths: Lengths) -> std::time::Duration {
        let view = self.directory.view();
        let members = pairs.iter().filter_map(|pair| view.pairs.get(pair));
        let members = members.flat_map(|pair| pair.record.members);
        let kind = Kind::Shard(lengths.sealed);
        let waits = members.map(|node| self.links.pace.hedge_after(node, kind));
        waits.max().unwrap_or_default() * 2
    }

    async fn fetch_shard(
        &self,
        wanted: Wanted<'_>,
        place: (ShardIndex, PairId),
        lengths: Lengths,
        room: BytesMut,
    ) -> Outcome {
        let span = spans::shard_fetch(wanted.number.0, place.0.0, place.1);
        let fetching = self.fetch_from_pair(wanted, place, lengths, room);
        (place.0, trace::within(span, fetching).await)
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

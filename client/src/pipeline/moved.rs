//! Shards that are not where the manifest says any more: their pair was lost, and the network
//! has rebuilt them elsewhere. Where there are few pairs all are asked; else a broadcast by
//! the stripe's tag finds the pairs that have some of the stripe. Their members say which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{PairId, ShardIndex, SliceNo, StripeId};
use defs_core::manifest::SliceEntry;
use defs_core::message::{Request, Response, ShardKey};

use super::FileContext;
use crate::nodes::Nodes;
use crate::ports::World;

/// Moved shards that are remembered: of a file of 400 GiB that lost a pair in five.
const MOVES_MAX: usize = 65_536;

/// In a network of at most so many pairs each is asked, which costs less than a broadcast.
const PAIRS_ASKED_MAX: usize = 32;

/// Where moved shards were found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moves(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<ShardKey, PairId>,
    order: VecDeque<ShardKey>,
}

impl Moves {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pairs of a slice's shards, as far as is known.
    pub(crate) fn pairs_of(&self, entry: &SliceEntry) -> Vec<PairId> {
        let state = self.lock();
        let at = |(index, pair): (u8, &PairId)| {
            let key = ShardKey { stripe: entry.stripe, index: ShardIndex(index) };
            state.known.get(&key).copied().unwrap_or(*pair)
        };
        (0_u8..).zip(&entry.pairs).map(at).collect()
    }

    /// Puts the pairs that are known now in the place of those of the manifest.
    pub(crate) fn apply(&self, slices: &mut [SliceEntry]) {
        for slice in slices {
            slice.pairs = self.pairs_of(slice);
        }
    }

    fn learn(&self, stripe: StripeId, found: &BTreeMap<ShardIndex, PairId>) {
        let mut state = self.lock();
        for (index, pair) in found {
            let key = ShardKey { stripe, index: *index };
            if state.known.insert(key, *pair).is_none() {
                state.order.push_back(key);
            }
        }
        while state.order.len() > MOVES_MAX {
            let oldest = state.order.pop_front();
            oldest.and_then(|key| state.known.remove(&key));
        }
    }
}

impl<W: World> Nodes<W> {
    /// Looks for those of `missing` that other pairs than the manifest's hold, and remembers
    /// where.
    pub(crate) async fn find_moved(
        &self,
        file: &FileContext,
        (number, entry): (SliceNo, &SliceEntry),
        missing: &BTreeSet<ShardIndex>,
    ) -> BTreeMap<ShardIndex, PairId> {
        let mut pairs = self.living_pairs().await;
        if pairs.len() > PAIRS_ASKED_MAX {
            let tag = file.key.stripe_secret(number, &entry.salt).tag();
            pairs = self.holders_of(stripe_locator(&self.links.network(), &tag)).await;
        }
        let asked: Vec<_> = missing.iter().copied().collect();
        let asking = pairs.into_iter().map(|pair| self.held_at(file, entry.stripe, pair, &asked));
        let answers = futures::future::join_all(asking).await;
        let found: BTreeMap<_, _> = answers.into_iter().flatten().collect();
        self.moves.learn(entry.stripe, &found);
        found
    }

    /// Pairs of which a member lives.
    async fn living_pairs(&self) -> Vec<PairId> {
        let Ok(view) = self.directory.fresh().await else { return Vec::new() };
        let lives = view.pairs.iter().filter(|(_, pair)| pair.alive.contains(&true));
        lives.map(|(pair, _)| *pair).collect()
    }

    /// Pairs that say they hold something behind `locator`.
    async fn holders_of(&self, locator: defs_core::ids::Locator) -> Vec<PairId> {
        let mut pairs = BTreeSet::new();
        for node in self.locators().await.unwrap_or_default() {
            // The first answer may be the first one's only: who asks again gets all.
            for _ in 0..2 {
                let request = Request::Locate { locator };
                let answer = self.links.call(node, request, Body::empty()).await;
                if let Ok(Response::Located(located)) = answer.map(|reply| reply.response) {
                    pairs.extend(located.pairs);
                }
            }
            if !pairs.is_empty() {
                break;
            }
        }
        pairs.into_iter().collect()
    }

    /// Which of `indices` a member of `pair` holds.
    async fn held_at(
        &self,
        file: &FileContext,
        stripe: StripeId,
        pair: PairId,
        indices: &[ShardIndex],
    ) -> BTreeMap<ShardIndex, PairId> {
        let Ok(record) = self.pair(pair).await else { return BTreeMap::new() };
        for node in record.members {
            let keys = indices.iter().map(|index| ShardKey { stripe, index: *index }).collect();
            if let Some(held) = self.holds(node, &file.lock, keys).await {
                let there = indices.iter().zip(held).filter(|(_, held)| *held);
                return there.map(|(index, _)| (*index, pair)).collect();
            }
        }
        BTreeMap::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use defs_core::ids::Digest;

    #[test]
    fn a_move_is_remembered_and_the_oldest_give_way() {
        let moves = Moves::default();
        let entry = |stripe: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&stripe.to_le_bytes());
            SliceEntry {
                length: 1,
                digest: Digest([0; 32]),
                salt: [0; 32],
                stripe: StripeId(bytes),
                pairs: vec![PairId([1; 16]), PairId([2; 16])],
            }
        };
        let moved = BTreeMap::from([(ShardIndex(1), PairId([9; 16]))]);
        moves.learn(entry(0).stripe, &moved);
        assert_eq!(moves.pairs_of(&entry(0)), [PairId([1; 16]), PairId([9; 16])]);
        for stripe in 1..=u32::try_from(MOVES_MAX).unwrap() {
            moves.learn(entry(stripe).stripe, &moved);
        }
        assert_eq!(moves.pairs_of(&entry(0)), entry(0).pairs);
        assert_eq!(moves.pairs_of(&entry(1))[1], PairId([9; 16]));
    }
}

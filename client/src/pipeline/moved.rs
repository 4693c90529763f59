//! Shards that are not where the manifest says any more: their pair was lost, and the network
//! has rebuilt them elsewhere. Where there are few pairs all are asked; else a broadcast by
//! the stripe's tag finds the pairs that have some of the stripe. Their members say which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use defs_core::body::Body;
use defs_core::digest::stripe_locator;
use defs_core::ids::{FileId, PairId, ShardIndex, SliceNo, StripeId};
use defs_core::manifest::{PAGE_SLICES, SliceEntry};
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
    /// The pair, and whether its bytes were part of a slice that turned out to be right.
    known: BTreeMap<ShardKey, (PairId, Trust)>,
    order: VecDeque<ShardKey>,
    /// Pages of manifests that don't say yet what was proven.
    unwritten: BTreeSet<(FileId, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Said,
    Proven,
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
            state.known.get(&key).map_or(*pair, |(pair, _)| *pair)
        };
        (0_u8..).zip(&entry.pairs).map(at).collect()
    }

    /// Notes that these shards gave slice `number` of `file` as it was put, from where they
    /// were thought to be.
    pub(crate) fn prove(
        &self,
        (file, number): (FileId, SliceNo),
        stripe: StripeId,
        indices: impl Iterator<Item = ShardIndex>,
    ) {
        let mut state = self.lock();
        for index in indices {
            let Some((_, trust)) = state.known.get_mut(&ShardKey { stripe, index }) else {
                continue;
            };
            if *trust == Trust::Said {
                *trust = Trust::Proven;
                let page = usize::try_from(number.0).unwrap_or(usize::MAX) / PAGE_SLICES;
                state.unwritten.insert((file, u32::try_from(page).unwrap_or(u32::MAX)));
            }
        }
        while state.unwritten.len() > MOVES_MAX {
            state.unwritten.pop_first();
        }
    }

    /// Pages of a file's manifest that are behind what was proven.
    pub(crate) fn unwritten(&self, file: FileId) -> Vec<u32> {
        let state = self.lock();
        let pages = state.unwritten.range((file, 0)..=(file, u32::MAX));
        pages.map(|(_, page)| *page).collect()
    }

    pub(crate) fn written(&self, file: FileId, page: u32) {
        self.lock().unwritten.remove(&(file, page));
    }

    /// Puts the pairs whose bytes were right in the place of those of the manifest. Whether
    /// anything changed.
    pub(crate) fn settle(&self, slices: &mut [SliceEntry]) -> bool {
        let state = self.lock();
        let mut changed = false;
        for slice in slices {
            for (index, pair) in (0_u8..).zip(&mut slice.pairs) {
                let key = ShardKey { stripe: slice.stripe, index: ShardIndex(index) };
                if let Some((now, Trust::Proven)) = state.known.get(&key)
                    && now != pair
                {
                    *pair = *now;
                    changed = true;
                }
            }
        }
        changed
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
            if state.known.insert(key, (*pair, Trust::Said)).is_none() {
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

    #[test]
    fn only_what_was_proven_is_worth_writing_down() {
        let (moves, stripe) = (Moves::default(), StripeId([7; 32]));
        let [old, new, liar] = [1, 2, 3].map(|byte| PairId([byte; 16]));
        let slice = SliceEntry {
            length: 1,
            digest: Digest([0; 32]),
            salt: [0; 32],
            stripe,
            pairs: vec![old; 3],
        };
        moves.learn(stripe, &BTreeMap::from([(ShardIndex(0), new), (ShardIndex(1), liar)]));
        let mut slices = [slice];
        assert!(!moves.settle(&mut slices));
        let (file, number) = (FileId([6; 32]), SliceNo(u32::try_from(PAGE_SLICES).unwrap()));
        assert!(moves.unwritten(file).is_empty());
        moves.prove((file, number), stripe, [ShardIndex(0), ShardIndex(2)].into_iter());
        assert_eq!(moves.unwritten(file), [1]);
        moves.written(file, 1);
        moves.prove((file, number), stripe, [ShardIndex(0)].into_iter());
        assert!(moves.unwritten(file).is_empty());
        assert!(moves.settle(&mut slices));
        assert_eq!(slices[0].pairs, [new, old, old]);
        assert!(!moves.settle(&mut slices), "that is what it says already");
    }
}

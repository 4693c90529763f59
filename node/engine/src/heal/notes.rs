//! Where rebuilt shards are: what others told, as bounded hints for readers and watchers. A
//! hint adds a candidate and nothing more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use defs_core::ids::{Locator, PairId, ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::moved::{MovedNote, MovedNotes};
use defs_core::port::Verdict;
use defs_core::receipt::{Kept, SignedReceipt};
use defs_core::statement::Statement;
use defs_identity::verify_node;

use crate::config::World;
use crate::engine::Engine;

/// Hints that are kept: a lost pair of 4 TiB in shards of 6 MiB has ten times as many, and
/// what is forgotten is found by a broadcast.
const HINTS_MAX: usize = 65_536;

/// Of these, hints that name one pair: what one pair says crowds out nothing of the others.
const HINTS_OF_PAIR_MAX: usize = HINTS_MAX / 4;

/// Hints, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    by_shard: BTreeMap<(StripeId, ShardIndex), PairId>,
    by_locator: BTreeMap<Locator, Vec<(ShardIndex, PairId)>>,
    order: VecDeque<(StripeId, ShardIndex, Locator)>,
    of_pair: BTreeMap<PairId, usize>,
}

impl Hints {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the shard was said to be.
    pub(crate) fn moved(&self, stripe: StripeId, index: ShardIndex) -> Option<PairId> {
        self.lock().by_shard.get(&(stripe, index)).copied()
    }

    /// Pairs that were said to hold shards of what `locator` names.
    pub(crate) fn pairs(&self, locator: &Locator) -> Vec<PairId> {
        let state = self.lock();
        let mut pairs: Vec<_> =
            state.by_locator.get(locator).into_iter().flatten().map(|(_, pair)| *pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Whether it is news.
    fn add(&self, locator: Locator, stripe: StripeId, index: ShardIndex, pair: PairId) -> bool {
        let mut state = self.lock();
        if state.by_shard.get(&(stripe, index)) == Some(&pair) {
            return false;
        }
        if state.of_pair.get(&pair).copied().unwrap_or(0) >= HINTS_OF_PAIR_MAX {
            return false;
        }
        state.forget(stripe, index, &locator);
        while state.order.len() >= HINTS_MAX {
            let Some((stripe, index, locator)) = state.order.pop_front() else { break };
            state.forget(stripe, index, &locator);
        }
        state.by_shard.insert((stripe, index), pair);
        state.by_locator.entry(locator).or_default().push((index, pair));
        state.order.push_back((stripe, index, locator));
        *state.of_pair.entry(pair).or_default() += 1;
        true
    }
}

impl State {
    fn forget(&mut self, stripe: StripeId, index: ShardIndex, locator: &Locator) {
        let Some(pair) = self.by_shard.remove(&(stripe, index)) else { return };
        if let Some(count) = self.of_pair.get_mut(&pair) {
            *count = count.saturating_sub(1);
        }
        if let Some(places) = self.by_locator.get_mut(locator) {
            places.retain(|(known, _)| *known != index);
            if places.is_empty() {
                self.by_locator.remove(locator);
            }
        }
    }
}

impl<W: World> Engine<W> {
    pub(crate) fn hear_notes(&self, notes: &MovedNotes) -> Verdict {
        let mut news = false;
        for note in &notes.0 {
            match self.believed(note) {
                Ok(Some((stripe, index, pair))) => {
                    news |= self.note_place(note.locator, ShardKey { stripe, index }, pair);
                }
                Ok(None) => {}
                Err(Forged) => return Verdict::Reject,
            }
        }
        if news { Verdict::PassOn } else { Verdict::Ignore }
    }

    /// This node's own note.
    pub(crate) fn keep_note(&self, note: &MovedNote) {
        if let Ok(Some((stripe, index, pair))) = self.believed(note) {
            self.note_place(note.locator, ShardKey { stripe, index }, pair);
        }
    }

    /// Whether it is news.
    fn note_place(&self, locator: Locator, key: ShardKey, pair: PairId) -> bool {
        let before = self.hints.moved(key.stripe, key.index);
        if before.is_some_and(|before| before != pair && !self.lost.is_lost(&before)) {
            self.doubles.add(key);
        }
        self.hints.add(locator, key.stripe, key.index, pair)
    }

    /// What a note says, if both members of a known pair say it.
    pub(crate) fn believed(
        &self,
        note: &MovedNote,
    ) -> Result<Option<(StripeId, ShardIndex, PairId)>, Forged> {
        let [one, other] = note.receipts.each_ref().map(|signed| signed.receipt);
        let (Kept::Shard(stripe, index), true) = (one.kept, one.kept == other.kept) else {
            return Err(Forged);
        };
        if (one.pair, one.epoch) != (other.pair, other.epoch) || one.node == other.node {
            return Err(Forged);
        }
        let Some(known) = self.membership.pair(&one.pair) else { return Ok(None) };
        let are_members =
            [one.node, other.node].iter().all(|node| known.record.role_of(node).is_some());
        if known.record.epoch != one.epoch || !are_members {
            return Ok(None);
        }
        if note.receipts.iter().all(|signed| self.is_genuine_receipt(signed)) {
            Ok(Some((stripe, index, one.pair)))
        } else {
            Err(Forged)
        }
    }

    pub(crate) fn is_genuine_receipt(&self, signed: &SignedReceipt) -> bool {
        let root = signed.path.root(&signed.receipt.statement(&self.network));
        let by = verify_node(&signed.by.key, &root, &signed.by.signature, &self.checker);
        by.is_ok_and(|node| node == signed.receipt.node)
    }
}

/// Nobody who keeps to the protocol says such a thing.
#[derive(Debug)]
pub(crate) struct Forged;

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32) -> (Locator, StripeId, ShardIndex) {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        (Locator(bytes), StripeId(bytes), ShardIndex(3))
    }

    #[test]
    fn a_pair_has_a_share_of_the_hints_and_the_oldest_give_way() {
        let hints = Hints::default();
        let add = |number: u32, pair: u8| {
            let (locator, stripe, index) = shard(number);
            hints.add(locator, stripe, index, PairId([pair; 16]))
        };
        let quota = u32::try_from(HINTS_OF_PAIR_MAX).unwrap();
        assert!((0..quota).all(|number| add(number, 1)));
        assert!(!add(quota, 1), "one pair took more than its share");
        assert!(
            (quota..4 * quota).all(|number| add(number, u8::try_from(number / quota).unwrap() + 1))
        );
        assert!(add(4 * quota, 9));
        let (locator, stripe, index) = shard(0);
        assert_eq!((hints.moved(stripe, index), hints.pairs(&locator)), (None, vec![]));
        let (locator, stripe, index) = shard(4 * quota);
        let pair = PairId([9; 16]);
        assert_eq!((hints.moved(stripe, index), hints.pairs(&locator)), (Some(pair), vec![pair]));
    }

    #[test]
    fn a_shard_that_moves_again_is_where_it_was_said_to_be_last() {
        let hints = Hints::default();
        let (locator, stripe, index) = shard(1);
        for pair in [1, 2, 2] {
            hints.add(locator, stripe, index, PairId([pair; 16]));
        }
        assert_eq!(hints.moved(stripe, index), Some(PairId([2; 16])));
        assert_eq!(hints.pairs(&locator), vec![PairId([2; 16])]);
    }
}

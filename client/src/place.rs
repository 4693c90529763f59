//! Which pair gets which shard: drawn at random, weighted by room, one shard a pair while
//! there are pairs enough, and never more of a stripe than the layout allows.
//!
//! Pure: the draws come in as a function. A function of nothing that an outsider knows,
//! if the draws are.

use std::collections::BTreeMap;

use defs_core::ids::PairId;
use thiserror::Error;

/// A pair that takes new shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenPair {
    pub(crate) id: PairId,
    /// Bytes left: twice the room, twice the chance.
    pub(crate) weight: u64,
    /// Where it stands; zones are used in turn while there are several.
    pub(crate) zone: String,
}

/// The open pairs can't take a stripe as promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{shards} shards with at most {per_pair} of them on a pair need {need} open pairs, {have} are \
     open, {full} others have no room"
)]
pub struct TooFewPairs {
    /// Shards to be placed.
    pub shards: usize,
    /// The most of a stripe on one pair.
    pub per_pair: usize,
    /// Pairs needed.
    pub need: usize,
    /// Pairs open.
    pub have: usize,
    /// Pairs that would be open if they had room.
    pub full: usize,
}

/// How many shards of the stripe each pair has.
pub(crate) type Held = BTreeMap<PairId, usize>;

/// Draws pairs for `shards` shards, beside what `held` says they hold of the stripe
/// already. `draw(bound)` gives a number below `bound`, which is at least 1.
pub(crate) fn spread(
    shards: usize,
    per_pair: usize,
    pairs: &[OpenPair],
    mut held: Held,
    mut draw: impl FnMut(u64) -> u64,
) -> Result<Vec<PairId>, TooFewPairs> {
    let held_of = |held: &Held, pair: &OpenPair| held.get(&pair.id).copied().unwrap_or(0);
    let room: usize = pairs.iter().map(|pair| per_pair.saturating_sub(held_of(&held, pair))).sum();
    if room < shards {
        let need = shards.div_ceil(per_pair.max(1));
        return Err(TooFewPairs { shards, per_pair, need, have: pairs.len(), full: 0 });
    }
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    let mut placed = Vec::with_capacity(shards);
    while placed.len() < shards {
        let flattest = pairs.iter().map(|pair| held_of(&held, pair)).min().unwrap_or(0);
        let level = |pair: &&OpenPair| held_of(&held, pair) == flattest;
        let zone_use = |pair: &OpenPair| zones.get(pair.zone.as_str()).copied().unwrap_or(0);
        let calmest = pairs.iter().filter(level).map(zone_use).min().unwrap_or(0);
        let open: Vec<_> =
            pairs.iter().filter(level).filter(|pair| zone_use(pair) == calmest).collect();
        let Some(pair) = draw_weighted(&open, &mut draw) else { break };
        *held.entry(pair.id).or_default() += 1;
        *zones.entry(pair.zone.as_str()).or_default() += 1;
        placed.push(pair.id);
    }
    Ok(shuffled(placed, draw))
}

/// One of `pairs` by weight. A pair counts for at least one part in a million, so that
/// none is left out for good.
fn draw_weighted<'a>(
    pairs: &[&'a OpenPair],
    draw: &mut impl FnMut(u64) -> u64,
) -> Option<&'a OpenPair> {
    let largest = pairs.iter().map(|pair| pair.weight).max()?.max(1);
    let parts = |pair: &OpenPair| {
        u64::try_from(u128::from(pair.weight) * 1_000_000 / u128::from(largest)).unwrap_or(0) + 1
    };
    let total: u64 = pairs.iter().map(|pair| parts(pair)).sum();
    let mut left = draw(total);
    for pair in pairs {
        match left.checked_sub(parts(pair)) {
            Some(less) => left = less,
            None => return Some(pair),
        }
    }
    pairs.last().copied()
}

/// Which index a pair gets tells nothing of when it was drawn.
fn shuffled(mut placed: Vec<PairId>, mut draw: impl FnMut(u64) -> u64) -> Vec<PairId> {
    for last in (1..placed.len()).rev() {
        let other = usize::try_from(draw(last as u64 + 1)).unwrap_or(0).min(last);
        placed.swap(last, other);
    }
    placed
}

/// An unbiased number below `bound` from 8 random bytes at a time.
pub(crate) fn below(bound: u64, mut random: impl FnMut() -> u64) -> u64 {
    let fair = u64::MAX - u64::MAX % bound.max(1);
    loop {
        let draw = random();
        if draw < fair {
            return draw % bound.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(count: u8, zones: u8) -> Vec<OpenPair> {
        (0..count)
            .map(|pair| OpenPair {
                id: PairId([pair; 16]),
                weight: u64::from(pair) * 1000,
                zone: format!("zone {}", pair % zones.max(1)),
            })
            .collect()
    }

    /// A generator whose seed proptest shows.
    fn draws(mut seed: u64) -> impl FnMut(u64) -> u64 {
        move |bound| {
            below(bound, || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            })
        }
    }

    fn counted(placed: &[PairId]) -> Held {
        placed.iter().fold(Held::new(), |mut held, pair| {
            *held.entry(*pair).or_default() += 1;
            held
        })
    }

    #[test]
    fn zones_are_used_in_turn() {
        for seed in 0..50 {
            let placed = spread(4, 2, &pairs(8, 4), Held::new(), draws(seed)).unwrap();
            let zones: std::collections::BTreeSet<_> =
                placed.iter().map(|pair| pair.0[0] % 4).collect();
            assert_eq!(zones.len(), 4, "{placed:?}");
        }
    }

    #[test]
    fn more_room_is_drawn_more_often() {
        let mut count = Held::new();
        for seed in 0..2000 {
            let placed = spread(1, 1, &pairs(5, 1), Held::new(), draws(seed * 7919)).unwrap();
            *count.entry(placed[0]).or_default() += 1;
        }
        let of = |pair: u8| count.get(&PairId([pair; 16])).copied().unwrap_or(0);
        assert!(of(4) > of(2) && of(2) > of(1) && of(0) < 50, "{count:?}");
    }

    #[test]
    fn too_few_pairs_say_how_many_are_needed() {
        let refused = spread(14, 4, &pairs(3, 1), Held::new(), draws(1)).unwrap_err();
        assert_eq!(refused, TooFewPairs { shards: 14, per_pair: 4, need: 4, have: 3, full: 0 });
    }

    proptest! {
        #[test]
        fn no_pair_gets_more_than_it_may_and_the_spread_is_flat(
            shards in 1_usize..60, per_pair in 1_usize..8, count in 1_u8..40, zones in 1_u8..5,
            seed: u64,
        ) {
            let pairs = pairs(count, zones);
            match spread(shards, per_pair, &pairs, Held::new(), draws(seed)) {
                Ok(placed) => {
                    prop_assert_eq!(placed.len(), shards);
                    let held = counted(&placed);
                    let most = held.values().max().copied().unwrap_or(0);
                    prop_assert!(most <= per_pair);
                    prop_assert_eq!(most, shards.div_ceil(pairs.len()));
                }
                Err(_) => prop_assert!(pairs.len() * per_pair < shards),
            }
        }

        #[test]
        fn what_a_pair_holds_already_counts(seed: u64, held in 0_usize..=2) {
            let already = Held::from([(PairId([0; 16]), held)]);
            let placed = spread(3, 2, &pairs(3, 1), already, draws(seed)).unwrap();
            let count = counted(&placed).get(&PairId([0; 16])).copied().unwrap_or(0);
            prop_assert!(count + held <= 2);
        }
    }
}

//! Where rebuilt shards of a stripe go: to pairs with room, never more on one pair than the
//! owner's signed bound, as flat as can be. Which pairs among equals is drawn by the caller, so
//! that a place follows from nothing that outsiders know.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use defs_core::ids::{PairId, ShardIndex};

/// A pair that takes shards now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub pair: PairId,
    /// Shards of this size for which it has room.
    pub room: u64,
    /// The region and the zone where it stands: pairs of one zone may fail together.
    pub domain: (String, String),
}

/// The shards of one stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripe {
    /// Shards that are well, by the pair that holds them.
    pub held: BTreeMap<PairId, BTreeSet<ShardIndex>>,
    /// Shards that are to be placed.
    pub lost: BTreeSet<ShardIndex>,
    /// Shards that any pair may hold.
    pub bound: u32,
    /// Shards that may be missing in all: parity.
    pub spare_shards: u32,
}

/// Whether a stripe survives the loss of any one whole pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does, once all is placed.
    Safe,
    /// It doesn't: fewer pairs have room than it needs. It is spread again when pairs join.
    AtRisk {
        /// Shards that found no place.
        unplaced: BTreeSet<ShardIndex>,
        /// Shards missing already, and those of the fullest pair, are so many more than may
        /// be missing.
        short: u32,
    },
}

/// Where each shard goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// By shard.
    pub places: BTreeMap<ShardIndex, PairId>,
    /// The most shards of the stripe that one pair holds then.
    pub fullest: u32,
    /// What it survives then.
    pub outcome: Outcome,
}

/// Places the lost shards of `stripe` one after the other, each on the pair that has the
/// fewest of the stripe, in the domain that has the fewest; `draw` orders equals.
#[must_use]
pub fn place(stripe: &Stripe, places: &[Place], draw: impl Fn(&PairId) -> u64) -> Placement {
    let mut room: BTreeMap<PairId, (u64, &(String, String))> = BTreeMap::new();
    for place in places {
        room.entry(place.pair).or_insert((place.room, &place.domain));
    }
    let mut of_pair: BTreeMap<PairId, u32> =
        stripe.held.iter().map(|(pair, shards)| (*pair, count(shards))).collect();
    let mut of_domain: BTreeMap<&(String, String), u32> = BTreeMap::new();
    for (pair, shards) in &of_pair {
        if let Some((_, domain)) = room.get(pair) {
            *of_domain.entry(domain).or_default() += shards;
        }
    }
    let mut placed = BTreeMap::new();
    let mut unplaced = BTreeSet::new();
    for shard in &stripe.lost {
        let on = |pair: &PairId| of_pair.get(pair).copied().unwrap_or(0);
        let best = room
            .iter()
            .filter(|(pair, (room, _))| *room > 0 && on(pair) < stripe.bound)
            .min_by_key(|(pair, (room, domain))| {
                let alike = of_domain.get(domain).copied().unwrap_or(0);
                (on(pair), alike, draw(pair), Reverse(*room), **pair)
            });
        let Some((pair, (_, domain))) = best.map(|(pair, place)| (*pair, *place)) else {
            unplaced.insert(*shard);
            continue;
        };
        *of_pair.entry(pair).or_default() += 1;
        *of_domain.entry(domain).or_default() += 1;
        if let Some((room, _)) = room.get_mut(&pair) {
            *room -= 1;
        }
        placed.insert(*shard, pair);
    }
    let fullest = of_pair.values().max().copied().unwrap_or(0);
    let missing = count(&unplaced).saturating_add(fullest);
    let short = missing.saturating_sub(stripe.spare_shards);
    let outcome = if short == 0 && unplaced.is_empty() {
        Outcome::Safe
    } else {
        Outcome::AtRisk { unplaced, short }
    };
    Placement { places: placed, fullest, outcome }
}

fn count(shards: &BTreeSet<ShardIndex>) -> u32 {
    u32::try_from(shards.len()).unwrap_or(u32::MAX)
}

impl fmt::Display for Placement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places, fullest, outcome } = self;
        write!(out, "{} shards placed, at most {fullest} on a pair; ", places.len())?;
        match outcome {
            Outcome::Safe => out.write_str("the loss of any one pair is survived"),
            Outcome::AtRisk { unplaced, short } => write!(
                out,
                "at risk: {} found no place, {short} too many would be missing without the fullest pair",
                unplaced.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(number: u8) -> PairId {
        PairId([number; 16])
    }

    fn places(rooms: &[u64]) -> Vec<Place> {
        let place = |(number, room): (u8, &u64)| Place {
            pair: pair(number),
            room: *room,
            domain: (String::new(), (number % 2).to_string()),
        };
        (0..).zip(rooms).map(place).collect()
    }

    fn shards(from: u8, count: u8) -> BTreeSet<ShardIndex> {
        (from..from + count).map(ShardIndex).collect()
    }

    fn stripe(held: &[(u8, BTreeSet<ShardIndex>)], lost: BTreeSet<ShardIndex>) -> Stripe {
        let held = held.iter().map(|(number, shards)| (pair(*number), shards.clone())).collect();
        Stripe { held, lost, bound: 2, spare_shards: 2 }
    }

    fn drawn(pair: &PairId) -> u64 {
        u64::from(pair.0[0])
    }

    #[test]
    fn a_shard_goes_where_none_of_its_stripe_is_and_then_to_the_other_domain() {
        let stripe = stripe(&[(0, shards(0, 1)), (2, shards(1, 1))], shards(2, 3));
        let found = place(&stripe, &places(&[9, 9, 9, 9, 9, 0]), drawn);
        let order: Vec<_> = found.places.values().map(|pair| pair.0[0]).collect();
        assert_eq!(order, [1, 3, 4]);
        assert_eq!((found.fullest, found.outcome), (1, Outcome::Safe));
    }

    #[test]
    fn a_second_shard_on_a_pair_is_the_next_best_and_a_third_is_refused() {
        let stripe = stripe(&[], shards(0, 5));
        let found = place(&stripe, &places(&[9, 9]), drawn);
        assert_eq!((found.places.len(), found.fullest), (4, 2));
        let unplaced = shards(4, 1);
        assert_eq!(found.outcome, Outcome::AtRisk { unplaced, short: 1 });
        let expected = "4 shards placed, at most 2 on a pair; at risk: 1 found no place, 1 too many would be missing without the fullest pair";
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn a_bound_above_parity_places_all_and_says_that_it_is_at_risk() {
        let stripe = Stripe { bound: 3, ..stripe(&[], shards(0, 6)) };
        let found = place(&stripe, &places(&[9, 9]), drawn);
        let outcome = Outcome::AtRisk { unplaced: BTreeSet::new(), short: 1 };
        assert_eq!((found.places.len(), found.outcome), (6, outcome));
    }

    proptest! {
        #[test]
        fn no_bound_and_no_room_is_exceeded_and_the_spread_is_the_flattest(
            rooms in prop::collection::vec(0_u64..4, 0..10), lost in 0_u8..20, bound in 1_u32..5, seed: u64,
        ) {
            let stripe = Stripe { bound, ..stripe(&[], shards(0, lost)) };
            let found = place(&stripe, &places(&rooms), |pair| seed.rotate_left(pair.0[0].into()));
            let on = |number: u8| {
                found.places.values().filter(|at| **at == pair(number)).count() as u64
            };
            let most: Vec<_> = rooms.iter().map(|room| u64::from(bound).min(*room)).collect();
            for (number, own) in (0..).zip(&most) {
                prop_assert!(on(number) <= *own);
                // Nobody has two more than somebody who could have one more.
                let could_more = (0..).zip(&most).any(|(other, most)| on(other) < *most && on(other) + 1 < on(number));
                prop_assert!(!could_more);
            }
            let places = most.iter().sum::<u64>().min(lost.into());
            prop_assert_eq!(found.places.len() as u64, places);
            prop_assert_eq!(matches!(found.outcome, Outcome::Safe), places == u64::from(lost) && found.fullest <= 2);
        }
    }
}

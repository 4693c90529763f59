//! What is wrong with putting two nodes into one pair, as one number.
//!
//! Two that nobody can dial cost as much as one host that is too far from itself: [`Total`]
//! counts them by themselves, and `reach` mends what a search leaves of them.
//!
//! From the top bits down: one host, too far by round trip, one zone, one region, then
//! what is missing to a perfect fit and what moving there costs. Each field has room for
//! the sum over 511 pairs, so that sums compare field by field: no number of
//! good fits makes up for one host that meets itself.

use std::collections::BTreeMap;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::Reach;

use super::{Candidate, Rated};
use crate::score::{Dimension, Weights, dimensions, log2_milli};

/// Sums of up to 511 pairs fit; those of more pairs are made of [`Total`]s.
const FIELD_BITS: u32 = 9;
const SOFT_BITS: u32 = 26;
const SAME_REGION: i64 = 1 << SOFT_BITS;
const SAME_ZONE: i64 = SAME_REGION << FIELD_BITS;
const TOO_FAR: i64 = SAME_ZONE << FIELD_BITS;
const SAME_HOST: i64 = TOO_FAR << FIELD_BITS;

/// What the worst fit costs: a hundredth of a point is told apart.
pub(super) const WORST_FIT: u64 = 100_000;

/// What moving a whole full pair costs, in the same unit: 150 points. A swap of two full
/// pairs must gain more than 150 points in each.
const FULL_MOVE: u64 = 15_000;

/// Stands for no pair.
pub(super) const NO_PAIR: u32 = u32::MAX;

/// A node as costs see it: labels as numbers, capacity as a logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) node: NodeId,
    pub(super) host: u32,
    pub(super) zone: u32,
    pub(super) region: u32,
    pub(super) cluster: u32,
    /// log₂ of the capacity, in thousandths.
    pub(super) size: u64,
    pub(super) bandwidth: u64,
    /// What is missing to full stability.
    pub(super) absent: u64,
    pub(super) idle: u64,
    pub(super) is_hidden: bool,
    /// The pair that it is in.
    pub(super) pair: u32,
    /// Half of what moving that pair's bytes costs: one half at each end of a new edge.
    pub(super) half_move: u64,
    /// Stands for nobody: who is matched with it becomes a spare.
    pub(super) is_nobody: bool,
}

/// Sites of `nodes`, which are ordered by place, with numbers for their labels.
pub(super) fn sites(nodes: &[Rated]) -> Vec<Site> {
    let mut numbers = BTreeMap::new();
    let mut number = |place: Vec<String>| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(place).or_insert(next)
    };
    let site = |rated: &Rated| {
        let Candidate { node, labels, capacity, reach } = &rated.candidate;
        let place = [labels.region.clone(), labels.zone.clone(), labels.host.clone()];
        Site {
            node: *node,
            region: number(place.iter().take(1).cloned().collect()),
            zone: number(place.iter().take(2).cloned().collect()),
            host: number(place.to_vec()),
            // Who was not put into a cluster shares one with nobody.
            cluster: rated.cluster.map_or_else(|| number(vec![node.full(); 4]), |it| it.0),
            size: log2_milli(*capacity),
            bandwidth: u64::from(rated.bandwidth.get()),
            absent: u64::from(rated.stability.missing()),
            idle: u64::from(rated.load.get()),
            is_hidden: *reach == Reach::Hidden,
            pair: NO_PAIR,
            half_move: 0,
            is_nobody: false,
        }
    };
    nodes.iter().map(site).collect()
}

impl Site {
    /// Nobody: the partner of a spare.
    pub(super) fn nobody() -> Self {
        Self {
            node: NodeId([0xff; 32]),
            host: u32::MAX,
            zone: u32::MAX,
            region: u32::MAX,
            cluster: u32::MAX,
            size: 0,
            bandwidth: 0,
            absent: 0,
            idle: 0,
            is_hidden: false,
            pair: NO_PAIR,
            half_move: 0,
            is_nobody: true,
        }
    }

    /// In `pair`, which holds `held` of the `capacity` bytes that one of its members has.
    pub(super) fn enter(&mut self, pair: u32, held: u64, capacity: u64) {
        let full = u128::from(FULL_MOVE) * u128::from(held.min(capacity));
        let cost = full.checked_div(u128::from(capacity)).unwrap_or(0);
        self.pair = pair;
        self.half_move = u64::try_from(cost / 2).unwrap_or(FULL_MOVE / 2);
    }
}

/// What is missing to a perfect fit by dimension, in points: 0 to 1000 each.
pub(super) fn missing(a: &Site, b: &Site, round_trip: Option<Duration>) -> [u64; 6] {
    let same = |same: bool| if same { 250 } else { 0 };
    let geography = same(a.host == b.host)
        + same(a.zone == b.zone)
        + same(a.region == b.region)
        + same(a.cluster == b.cluster);
    // Twice the capacity means that half of the larger one is wasted: 500 points.
    let capacity = (a.size.abs_diff(b.size) / 2).min(1000);
    let latency = round_trip.map_or(500, |took| {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        u64::from(dimensions::round_trip(micros).missing())
    });
    let bandwidth = 1000 - a.bandwidth.min(b.bandwidth);
    // As if independent: how likely it is that both are away.
    let stability = a.absent * b.absent / 1000;
    let load = 1000 - a.idle.min(b.idle);
    [geography, capacity, bandwidth, latency, stability, load]
}

/// Weights made ready to multiply with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    /// Of a point of each dimension, in 2⁻¹⁶ of a hundredth of a point of the fit.
    by_dimension: [u64; 6],
    max_round_trip: Option<Duration>,
}

impl Prices {
    pub(super) fn new(weights: &Weights, max_round_trip: Option<Duration>) -> Self {
        let unit = (WORST_FIT / 1000) << 16;
        let price = |dimension| u64::from(weights.of(dimension)) * unit / weights.sum();
        Self { by_dimension: Dimension::ALL.map(price), max_round_trip }
    }

    /// The price of a point of `dimension`, for what needs proportions only.
    pub(super) fn of(&self, dimension: Dimension) -> u64 {
        let at = Dimension::ALL.iter().position(|one| *one == dimension);
        at.and_then(|at| self.by_dimension.get(at)).copied().unwrap_or(0)
    }

    /// The part of a pair's cost that `site` brings along whoever its partner is: the slow
    /// are slow with everybody. Without it, all would look for the same few best nodes;
    /// what it leaves is how much two differ, and how far the absences of both together
    /// are from `absent_of_two`, the usual sum.
    pub(super) fn own_part(&self, site: &Site, absent_of_two: u64) -> i64 {
        let absent = absent_of_two * site.absent * 2;
        let lacks = [
            (Dimension::Bandwidth, (1000 - site.bandwidth.min(1000)) / 2),
            (Dimension::Load, (1000 - site.idle.min(1000)) / 2),
            (Dimension::Stability, absent.saturating_sub(site.absent * site.absent) / 2000),
        ];
        let sum: u64 = lacks.iter().map(|(dimension, lack)| lack * self.of(*dimension)).sum();
        i64::try_from(sum >> 16).unwrap_or(0)
    }

    /// The cost of `a` and `b` as one pair.
    pub(super) fn cost(&self, a: &Site, b: &Site, round_trip: Option<Duration>) -> i64 {
        let offence = |is: bool, cost: i64| if is { cost } else { 0 };
        let is_too_far = self.max_round_trip.zip(round_trip).is_some_and(|(max, took)| took > max);
        let is_unmet = a.is_hidden && b.is_hidden;
        let soft = self.lack(a, b, round_trip) + move_cost(a, b);
        offence(a.host == b.host || is_unmet, SAME_HOST)
            + offence(is_too_far || is_unmet, TOO_FAR)
            + offence(a.zone == b.zone, SAME_ZONE)
            + offence(a.region == b.region, SAME_REGION)
            + i64::try_from(soft).unwrap_or(SAME_REGION - 1)
    }

    /// What is missing to a perfect fit, in hundredths of points.
    pub(super) fn lack(&self, a: &Site, b: &Site, round_trip: Option<Duration>) -> u64 {
        let lacks = missing(a, b, round_trip);
        let sum: u64 = lacks.iter().zip(&self.by_dimension).map(|(lack, price)| lack * price).sum();
        (sum >> 16).min(WORST_FIT)
    }
}

/// What it costs to bring the bytes to where they must be if the two become partners.
/// Around every ring of changed pairs the halves add up to each pair's bytes once.
fn move_cost(a: &Site, b: &Site) -> u64 {
    if a.pair == b.pair && a.pair != NO_PAIR { 0 } else { a.half_move + b.half_move }
}

/// The cost of a spare: what it holds goes elsewhere.
pub(super) fn cost_alone(site: &Site) -> i64 {
    i64::try_from(site.half_move).unwrap_or(0)
}

/// A sum over any number of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Total {
    /// Pairs of two that nobody can dial; they count as on one host and as too far, too.
    pub unmet: u64,
    /// Pairs on one host.
    pub same_host: u64,
    /// Pairs beyond the longest round trip.
    pub too_far: u64,
    /// Pairs in one zone, those on one host included.
    pub same_zone: u64,
    /// Pairs in one region, those in one zone included.
    pub same_region: u64,
    /// What is missing to perfect fits and what moving costs, in hundredths of points.
    pub soft: u64,
}

impl Total {
    pub(super) fn add(&mut self, cost: i64) {
        let field = |shift: u32, bits: u32| {
            u64::try_from(cost >> shift).unwrap_or(0) & ((1_u64 << bits) - 1)
        };
        self.soft += field(0, SOFT_BITS);
        self.same_region += field(SOFT_BITS, FIELD_BITS);
        self.same_zone += field(SOFT_BITS + FIELD_BITS, FIELD_BITS);
        self.too_far += field(SOFT_BITS + 2 * FIELD_BITS, FIELD_BITS);
        self.same_host += field(SOFT_BITS + 3 * FIELD_BITS, FIELD_BITS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_sum_of_each_field_stays_below_one_of_the_next() {
        let pairs = (1 << FIELD_BITS) - 1;
        let worst_soft = i64::try_from(WORST_FIT + FULL_MOVE).unwrap();
        assert!(pairs * worst_soft < SAME_REGION);
        let mut worst = worst_soft;
        for offence in [SAME_REGION, SAME_ZONE, TOO_FAR, SAME_HOST] {
            assert!(worst * pairs < offence, "{offence}");
            worst = offence;
        }
        let mut total = Total::default();
        let all = SAME_HOST + TOO_FAR + SAME_ZONE + SAME_REGION + worst_soft;
        (0..pairs).for_each(|_| total.add(all));
        let counted = [total.same_host, total.too_far, total.same_zone, total.same_region];
        assert_eq!(counted, [511; 4]);
        assert_eq!(total.soft, 511 * 115_000);
    }
}

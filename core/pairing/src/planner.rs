//! Pairs from candidates: the two of a pair stand as far apart as the network allows,
//! then match in capacity and are near in round trip.
//!
//! The same candidates give the same pairs in whatever order they come, so nodes that see
//! the same network propose the same pairs without asking each other.

use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::Labels;

/// A node that is in no pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub labels: Labels,
    /// Bytes that it offers.
    pub capacity: u64,
}

/// Two nodes to pair: the primary, then the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match(pub NodeId, pub NodeId);

/// Rounds of swaps that may improve a plan; each shortens it, most plans need two.
const ROUNDS_MAX: usize = 8;

/// Beyond this many pairs, swaps are tried among neighbours only.
const ALL_SWAPS_MAX: usize = 256;

/// What is wrong with putting two nodes into one pair, worst first. Compared in order: no
/// gain in a later term makes up for an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    same_host: u64,
    same_zone: u64,
    same_region: u64,
    /// Bytes that the larger one can't use.
    wasted_capacity: u64,
    round_trip_us: u64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            same_host: self.same_host + other.same_host,
            same_zone: self.same_zone + other.same_zone,
            same_region: self.same_region + other.same_region,
            wasted_capacity: self.wasted_capacity.saturating_add(other.wasted_capacity),
            round_trip_us: self.round_trip_us.saturating_add(other.round_trip_us),
        }
    }
}

/// Pairs up `candidates`; of an odd number one stays a spare. `round_trip` is what was
/// measured between two nodes, if it was.
#[must_use]
pub fn plan(
    mut candidates: Vec<Candidate>,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> Vec<Match> {
    candidates.sort_by(|a, b| (place(a), a.node).cmp(&(place(b), b.node)));
    candidates.dedup_by_key(|candidate| candidate.node);
    let cost = |a: &Candidate, b: &Candidate| cost(a, b, &round_trip);
    let mut pairs = far_apart(candidates);
    improve(&mut pairs, cost);
    let mut matches: Vec<_> = pairs.iter().map(|(a, b)| in_order(a.node, b.node)).collect();
    matches.sort();
    matches
}

/// Region, zone, host: nodes that share the most stand next to each other.
fn place(candidate: &Candidate) -> (&str, &str, &str) {
    (&candidate.labels.region, &candidate.labels.zone, &candidate.labels.host)
}

/// Matches each of the sorted `candidates` with the one half the list away: two of one
/// host (zone, region) meet only where it has more than half of all nodes, and then no
/// plan could avoid it.
fn far_apart(mut candidates: Vec<Candidate>) -> Vec<(Candidate, Candidate)> {
    if candidates.len() % 2 == 1 {
        let spare = one_of_the_largest_host(&candidates);
        candidates.remove(spare);
    }
    let second = candidates.split_off(candidates.len() / 2);
    candidates.into_iter().zip(second).collect()
}

/// Leaving out one of the host with the most nodes keeps every pair apart that can be.
fn one_of_the_largest_host(candidates: &[Candidate]) -> usize {
    let size =
        |host: &Candidate| candidates.iter().filter(|other| place(other) == place(host)).count();
    let mut largest = (0, 0);
    for (index, candidate) in candidates.iter().enumerate() {
        let size = size(candidate);
        if size >= largest.0 {
            largest = (size, index);
        }
    }
    largest.1
}

fn improve(pairs: &mut [(Candidate, Candidate)], cost: impl Fn(&Candidate, &Candidate) -> Cost) {
    for _ in 0..ROUNDS_MAX {
        let mut better = false;
        for one in 0..pairs.len() {
            let reach = if pairs.len() <= ALL_SWAPS_MAX { pairs.len() } else { one + 64 };
            for two in one + 1..reach.min(pairs.len()) {
                better |= swap_if_better(pairs, (one, two), &cost);
            }
        }
        if !better {
            return;
        }
    }
}

/// Tries both other ways to pair the four nodes of two pairs.
fn swap_if_better(
    pairs: &mut [(Candidate, Candidate)],
    (one, two): (usize, usize),
    cost: &impl Fn(&Candidate, &Candidate) -> Cost,
) -> bool {
    let (a, b) = &pairs[one];
    let (c, d) = &pairs[two];
    let today = cost(a, b).plus(cost(c, d));
    let crossed = cost(a, d).plus(cost(c, b));
    let swapped = cost(a, c).plus(cost(b, d));
    if crossed.min(swapped) >= today {
        return false;
    }
    let (a, b, c, d) = (a.clone(), b.clone(), c.clone(), d.clone());
    (pairs[one], pairs[two]) = if crossed <= swapped { ((a, d), (c, b)) } else { ((a, c), (b, d)) };
    true
}

fn cost(
    a: &Candidate,
    b: &Candidate,
    round_trip: &impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> Cost {
    let (low, high) = if a.node < b.node { (a, b) } else { (b, a) };
    let round_trip = round_trip(&low.node, &high.node).unwrap_or_default();
    Cost {
        same_host: u64::from(place(a) == place(b)),
        same_zone: u64::from((place(a).0, place(a).1) == (place(b).0, place(b).1)),
        same_region: u64::from(place(a).0 == place(b).0),
        wasted_capacity: a.capacity.abs_diff(b.capacity),
        round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
    }
}

/// The lower of the two hashes is the primary: a rule that needs no agreement.
fn in_order(a: NodeId, b: NodeId) -> Match {
    if a < b { Match(a, b) } else { Match(b, a) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn candidate(node: u8, host: &str, zone: &str) -> Candidate {
        let labels = Labels { host: host.into(), zone: zone.into(), region: String::new() };
        Candidate { node: NodeId([node; 32]), labels, capacity: 100 }
    }

    fn planned(candidates: &[Candidate]) -> Vec<Match> {
        plan(candidates.to_vec(), |_, _| None)
    }

    #[test]
    fn ten_nodes_of_one_host_become_five_pairs() {
        let nodes: Vec<_> = (0..10).map(|node| candidate(node, "a", "z")).collect();
        assert_eq!(planned(&nodes).len(), 5);
    }

    #[test]
    fn an_odd_node_stays_a_spare_and_comes_from_the_fullest_host() {
        let nodes = [candidate(1, "a", "z"), candidate(2, "a", "z"), candidate(3, "b", "z")];
        let pairs = planned(&nodes);
        assert_eq!(pairs, vec![Match(NodeId([1; 32]), NodeId([3; 32]))]);
    }

    #[test]
    fn equal_capacities_are_paired_where_hosts_allow_it() {
        let sized = |node, host, capacity| Candidate { capacity, ..candidate(node, host, "z") };
        let nodes = [sized(1, "a", 10), sized(2, "a", 99), sized(3, "b", 99), sized(4, "b", 10)];
        let expected =
            vec![Match(NodeId([1; 32]), NodeId([4; 32])), Match(NodeId([2; 32]), NodeId([3; 32]))];
        assert_eq!(planned(&nodes), expected);
    }

    #[test]
    fn nearer_partners_are_chosen_last_of_all() {
        let nodes = [
            candidate(1, "a", "x"),
            candidate(2, "b", "x"),
            candidate(3, "c", "y"),
            candidate(4, "d", "y"),
        ];
        let near = |a: &NodeId, b: &NodeId| {
            let millis = if (a.0[0], b.0[0]) == (1, 4) { 1 } else { 50 };
            Some(Duration::from_millis(millis))
        };
        let pairs = plan(nodes.to_vec(), near);
        assert!(pairs.contains(&Match(NodeId([1; 32]), NodeId([4; 32]))), "{pairs:?}");
    }

    proptest! {
        #[test]
        fn no_host_meets_itself_unless_it_has_more_than_half(hosts in prop::collection::vec(0_u8..6, 2..40)) {
            let nodes: Vec<_> = hosts
                .iter()
                .enumerate()
                .map(|(node, host)| candidate(u8::try_from(node).unwrap(), &host.to_string(), "z"))
                .collect();
            let host_of: BTreeMap<_, _> =
                nodes.iter().map(|node| (node.node, node.labels.host.clone())).collect();
            let pairs = planned(&nodes);
            prop_assert_eq!(pairs.len(), nodes.len() / 2);
            let largest = (0..6).map(|host| hosts.iter().filter(|h| **h == host).count()).max().unwrap();
            let avoidable = largest <= hosts.len().div_ceil(2);
            let met = pairs.iter().any(|Match(a, b)| host_of[a] == host_of[b]);
            prop_assert!(!(avoidable && met), "{:?}", pairs);
        }

        #[test]
        fn the_order_in_which_candidates_come_changes_nothing(seed: u64, size in 2_usize..20) {
            let nodes: Vec<_> = (0..size)
                .map(|node| candidate(u8::try_from(node).unwrap(), &(node % 4).to_string(), &(node % 2).to_string()))
                .collect();
            let mut shuffled = nodes.clone();
            let turn = usize::try_from(seed % size as u64).unwrap();
            shuffled.rotate_left(turn);
            prop_assert_eq!(planned(&nodes), planned(&shuffled));
        }
    }
}

//! How good plans are: against all plans of small networks, and a search against the best.

use defs_core::ids::NodeId;

use super::*;
use crate::planner::board::Board;
use crate::planner::cost::{Prices, sites};
use crate::score::Weights;

/// A number below `below` that depends on nothing but these.
pub(super) fn drawn(seed: u64, below: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 29)) % below
}

pub(super) fn network(seed: u64, count: usize) -> Vec<Rated> {
    let rated = |number: u64| {
        let number = number * 64 + seed.rotate_left(20);
        let points = |salt| Points::at_most_full(drawn(number + salt, 1001));
        let mut id = [0; 32];
        id[..8].copy_from_slice(&drawn(number, u64::MAX).to_be_bytes());
        let labels = Labels {
            host: drawn(number + 1, 3).to_string(),
            zone: drawn(number + 2, 2).to_string(),
            region: drawn(number + 3, 2 + seed % 3).to_string(),
        };
        let capacity = (1 << 38) + drawn(number + 4, 1 << 41);
        Rated {
            bandwidth: points(5),
            stability: points(6),
            load: points(7),
            ..Rated::unknown(Candidate { node: NodeId(id), labels, capacity, reach: Reach::Open })
        }
    };
    (0..count as u64).map(rated).collect()
}

fn round_trip(a: &NodeId, b: &NodeId) -> Option<Duration> {
    let apart = u64::from(a.0[0].abs_diff(b.0[0])) + u64::from(a.0[1].abs_diff(b.0[1]));
    Some(Duration::from_micros(300 + apart * 300))
}

/// The best total of all ways to pair the sites that are left, by trying them.
fn least(
    board: &Board<impl Fn(&NodeId, &NodeId) -> Option<Duration>>,
    left: &[usize],
    so_far: Total,
) -> Total {
    let Some((first, others)) = left.split_first() else { return so_far };
    let with = |at: usize| {
        let mut rest = others.to_vec();
        let mut total = so_far;
        total.add(board.cost(*first, rest.remove(at)));
        least(board, &rest, total)
    };
    (0..others.len()).map(with).min().unwrap()
}

fn offences(total: &Total) -> [u64; 4] {
    [total.same_host, total.too_far, total.same_zone, total.same_region]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_other_plan_of_a_small_network_is_better(seed: u64, count in 1_usize..10, is_bounded: bool) {
        let policy = Policy {
            max_round_trip: is_bounded.then_some(Duration::from_millis(40)),
            ..Policy::default()
        };
        let nodes = network(seed, count);
        let free = Network::new(nodes.clone(), Vec::new()).free();
        let prices = Prices::new(&Weights::default(), policy.max_round_trip);
        let board = Board::new(sites(&free), prices, round_trip);
        let all: Vec<_> = (0..board.sites.len()).collect();
        let found = measure(nodes, &policy, round_trip, Effort::Exact);
        prop_assert_eq!(found, least(&board, &all, Total::default()));
    }

    #[test]
    fn what_costs_count_is_what_labels_say(seed: u64, count in 2_usize..60) {
        let nodes = network(seed, count);
        let arranged = arrange(
            &Network::new(nodes.clone(), Vec::new()), &Policy::default(), round_trip, Duration::ZERO,
        );
        let labels = |node: &NodeId| {
            let rated = nodes.iter().find(|rated| rated.candidate.node == *node).unwrap();
            let Labels { host, zone, region } = rated.candidate.labels.clone();
            [region, zone, host]
        };
        let alike = |depth: usize| {
            let meets = |Match(a, b): &Match| labels(a)[..depth] == labels(b)[..depth];
            arranged.formed.iter().filter(|formed| meets(&formed.pair)).count() as u64
        };
        let total = measure(nodes.clone(), &Policy::default(), round_trip, Effort::Exact);
        prop_assert_eq!([alike(3), alike(2), alike(1)], [total.same_host, total.same_zone, total.same_region]);
        prop_assert_eq!(arranged.formed.len(), count / 2);
        prop_assert_eq!(arranged.spares.len(), count % 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_search_is_within_two_percent_of_the_best_and_as_far_apart(seed: u64, count in 201_usize..320, is_measured: bool) {
        let took = |a: &NodeId, b: &NodeId| is_measured.then(|| round_trip(a, b)).flatten();
        let by = |effort| measure(network(seed, count), &Policy::default(), took, effort);
        let (best, found) = (by(Effort::Exact), by(Effort::Search));
        prop_assert_eq!(offences(&found), offences(&best));
        prop_assert!(found.soft >= best.soft);
        prop_assert!((found.soft - best.soft) * 50 <= best.soft, "{found:?}, best {best:?}");
    }

    #[test]
    fn a_large_network_has_one_plan_in_whatever_order_it_comes(seed: u64, count in 201_usize..600, turn: prop::sample::Index) {
        let plan = |nodes: Vec<Rated>| {
            arrange(&Network::new(nodes, Vec::new()), &Policy::default(), round_trip, Duration::ZERO)
        };
        let nodes = network(seed, count);
        let mut turned = nodes.clone();
        turned.rotate_left(turn.index(count));
        turned.push(nodes[0].clone());
        prop_assert_eq!(plan(nodes), plan(turned));
    }
}

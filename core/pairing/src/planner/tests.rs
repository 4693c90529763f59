//! Pairs of free nodes, of which only labels and capacities are known.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

mod exchanges;
mod optimum;
mod reach;

fn candidate(node: u8, host: &str, zone: &str) -> Candidate {
    let labels = Labels { host: host.into(), zone: zone.into(), region: String::new() };
    Candidate { node: NodeId([node; 32]), labels, capacity: 100, reach: Reach::Open }
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

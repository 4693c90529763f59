//! What the labels of nodes change in whom they are paired with.
#![cfg(test)]

use std::collections::BTreeMap;

use defs_core::ids::NodeId;
use defs_core::network::{Labels, Reach};
use defs_pairing::planner::{Candidate, Match, plan};

fn candidate(node: u8, region: &str, zone: &str, host: &str) -> Candidate {
    let labels = Labels { host: host.into(), zone: zone.into(), region: region.into() };
    Candidate { node: NodeId([node; 32]), labels, capacity: 100, reach: Reach::Open }
}

/// The labels of the two of each pair.
fn paired(candidates: &[Candidate]) -> Vec<[Labels; 2]> {
    let labels: BTreeMap<_, _> =
        candidates.iter().map(|one| (one.node, one.labels.clone())).collect();
    let pairs = plan(candidates.to_vec(), |_, _| None);
    pairs.iter().map(|Match(a, b)| [labels[a].clone(), labels[b].clone()]).collect()
}

#[test]
fn the_two_of_a_pair_stand_in_different_zones_where_that_can_be() {
    let zones = ["x", "x", "x", "y", "y", "z"];
    let nodes: Vec<_> =
        (0..).zip(zones).map(|(node, zone)| candidate(node, "", zone, &node.to_string())).collect();
    let pairs = paired(&nodes);
    assert_eq!(pairs.len(), 3);
    for [a, b] in pairs {
        assert_ne!(a.zone, b.zone);
    }
}

#[test]
fn the_two_of_a_pair_stand_in_different_regions_where_that_can_be() {
    let nodes = [
        candidate(1, "north", "x", "a"),
        candidate(2, "north", "y", "b"),
        candidate(3, "south", "x", "c"),
        candidate(4, "south", "y", "d"),
    ];
    for [a, b] in paired(&nodes) {
        assert_ne!(a.region, b.region);
    }
}

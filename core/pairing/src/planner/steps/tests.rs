//! Every order of replacements leads to what the exchange says, and nobody is in two pairs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::planner::fit::{Apart, Fit};
use crate::planner::report::{Gain, Risk};
use crate::score::{Dimension, Part, Points};

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// `pair` loses `leaves` and gets `joins`; `100 + pair` stays.
fn a_move(pair: u8, leaves: u8, joins: u8, bytes: u64) -> Move {
    let parts = Dimension::ALL.map(|dimension| Part { dimension, points: Points::FULL, weight: 1 });
    let fit = Fit { apart: Apart::Regions, round_trip: None, parts, total: Points::FULL };
    Move {
        pair: PairId([pair; 16]),
        stays: node(100 + pair),
        leaves: node(leaves),
        joins: node(joins),
        bytes,
        before: fit,
        after: fit,
    }
}

fn exchange(moves: Vec<Move>) -> Exchange {
    Exchange { moves, gain: Gain::Hosts(1), bytes: 0, risk: Risk::Nothing }
}

fn ways(steps: &[Replace]) -> Vec<[u8; 3]> {
    let way = |step: &Replace| [step.pair.0[0], step.leaves.0[0], step.joins.0[0]];
    steps.iter().map(way).collect()
}

#[test]
fn a_spare_begins_and_each_that_leaves_goes_on() {
    let ring = exchange(vec![a_move(2, 12, 11, 5), a_move(1, 11, 50, 5)]);
    let steps = steps(&ring, &[node(50)], |_| 5).unwrap();
    assert_eq!(ways(&steps), [[1, 11, 50], [2, 12, 11]]);
    assert_eq!(
        steps[0].to_string(),
        "pair 01010101: 32323232 takes over 0 MiB from 65656565, then 0b0b0b0b leaves"
    );
}

#[test]
fn a_swap_is_done_by_way_of_a_spare_in_the_pair_that_holds_less() {
    let swap = exchange(vec![a_move(1, 11, 12, 9), a_move(2, 12, 11, 5)]);
    let steps = steps(&swap, &[node(50), node(51)], |_| 9).unwrap();
    assert_eq!(ways(&steps), [[2, 12, 50], [1, 11, 12], [2, 50, 11]]);
}

#[test]
fn without_a_spare_or_without_room_it_says_what_is_missing() {
    let swap = exchange(vec![a_move(1, 11, 12, 9), a_move(2, 12, 11, 5)]);
    assert_eq!(steps(&swap, &[], |_| 9), Err(Blocked::NoSpare { bytes: 5 }));
    let small = |node: &NodeId| if node.0[0] == 50 { 4 } else { 9 };
    assert_eq!(steps(&swap, &[node(50)], small), Err(Blocked::NoSpare { bytes: 5 }));
    let full = |one: &NodeId| if *one == node(12) { 2 } else { 9 };
    let blocked = Blocked::NoRoom { node: node(12), missing: 7 };
    assert_eq!(steps(&swap, &[node(50)], full), Err(blocked));
}

proptest! {
    #[test]
    fn steps_lead_to_the_exchange_and_nobody_is_in_two_pairs(
        rings in prop::collection::vec(2_u8..5, 1..4), is_open: bool, sizes in prop::collection::vec(0_u64..9, 16),
    ) {
        let mut moves = Vec::new();
        let mut first = 1;
        for (number, length) in rings.iter().enumerate() {
            for place in 0..*length {
                let pair = first + place;
                let next = first + (place + 1) % length;
                let opens = is_open && number == 0 && place + 1 == *length;
                let joins = if opens { 90 } else { next };
                moves.push(a_move(pair, pair, joins, sizes[usize::from(pair)]));
            }
            first += length;
        }
        let wanted: BTreeMap<_, _> = moves.iter().map(|one| (one.pair, one.joins)).collect();
        let mut members: BTreeMap<_, _> = moves.iter().map(|one| (one.pair, one.leaves)).collect();
        let spares = if is_open { vec![node(90), node(91)] } else { vec![node(91)] };
        let steps = steps(&exchange(moves), &spares, |_| 9).unwrap();
        prop_assert!(steps.len() <= wanted.len() + rings.len());
        for step in steps {
            prop_assert_eq!(members.get(&step.pair), Some(&step.leaves));
            prop_assert!(!members.values().any(|member| *member == step.joins), "{step}");
            members.insert(step.pair, step.joins);
        }
        prop_assert_eq!(members, wanted);
    }
}

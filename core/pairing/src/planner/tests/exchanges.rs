//! Pairs that are there already: what changes, why, and what waits.

use std::num::NonZeroUsize;

use defs_core::ids::PairId;

use super::optimum::{drawn, network};
use super::*;

pub(super) const NOW: Duration = Duration::from_secs(100_000);

pub(super) fn rated(node: u8, host: &str, zone: &str) -> Rated {
    let labels = Labels { host: host.into(), zone: zone.into(), region: String::new() };
    let candidate =
        Candidate { node: NodeId([node; 32]), labels, capacity: 1 << 40, reach: Reach::Open };
    Rated::unknown(candidate)
}

pub(super) fn paired(pair: u8, [a, b]: [u8; 2], held: u64) -> Paired {
    let members = [NodeId([a; 32]), NodeId([b; 32])];
    Paired { pair: PairId([pair; 16]), members, held, changed: None }
}

fn arranged(nodes: &[Rated], pairs: &[Paired], policy: &Policy) -> Plan {
    arrange(&Network::new(nodes.to_vec(), pairs.to_vec()), policy, |_, _| None, NOW)
}

/// Two pairs, each on one host.
fn crossed() -> ([Rated; 4], [Paired; 2]) {
    let nodes = [rated(1, "a", "x"), rated(2, "a", "x"), rated(3, "b", "y"), rated(4, "b", "y")];
    (nodes, [paired(1, [1, 2], 1 << 30), paired(2, [3, 4], 2 << 30)])
}

#[test]
fn two_pairs_on_one_host_each_swap_a_member_and_say_why() {
    let (nodes, pairs) = crossed();
    let plan = arranged(&nodes, &pairs, &Policy::default());
    let expected = "\
change 2 pairs: 2 fewer on one host; 3072 MiB to copy; both old members serve until the new one has everything; 2 pairs are busier
  pair 01010101: 01010101 stays, 03030303 comes for 02020202, 1024 MiB
    now fit 587 on one host, geography 250, capacity 1000, bandwidth 500, latency 500, stability 750, load 500
    then fit 687 in two zones of one region, geography 750, capacity 1000, bandwidth 500, latency 500, stability 750, load 500
  pair 02020202: 04040404 stays, 02020202 comes for 03030303, 2048 MiB
    now fit 587 on one host, geography 250, capacity 1000, bandwidth 500, latency 500, stability 750, load 500
    then fit 687 in two zones of one region, geography 750, capacity 1000, bandwidth 500, latency 500, stability 750, load 500
0 pairs stay as they are; spares: none";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn a_pair_that_changed_lately_waits_and_says_until_when() {
    let (nodes, mut pairs) = crossed();
    pairs[1].changed = Some(NOW - Duration::from_secs(60));
    let plan = arranged(&nodes, &pairs, &Policy::default());
    assert_eq!(plan.exchanges, []);
    let until = NOW + Duration::from_secs(3540);
    let waits: Vec<_> = plan.waiting.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, [Wait::CoolingDown { pair: PairId([2; 16]), until }]);
}

/// Four nodes of one zone, two large and two small, each large one with a small one.
fn mismatched(held: u64, small: u64) -> ([Rated; 4], [Paired; 2]) {
    let sized = |node: u8, capacity| {
        let Rated { candidate, .. } = rated(node, &node.to_string(), "x");
        Rated::unknown(Candidate { capacity, ..candidate })
    };
    let nodes = [sized(1, 4 << 40), sized(2, small), sized(3, 4 << 40), sized(4, small)];
    (nodes, [paired(1, [1, 2], held), paired(2, [3, 4], held)])
}

#[test]
fn a_better_fit_is_worth_few_bytes_and_not_many() {
    let (nodes, pairs) = mismatched(0, 1 << 40);
    let plan = arranged(&nodes, &pairs, &Policy::default());
    let [exchange] = plan.exchanges.as_slice() else { panic!("{plan}") };
    // A quarter of the capacity: 1,000 of 1,000 points at a weight of 15 %, in both pairs.
    assert!(matches!(exchange.gain, Gain::Fit { hundredths: 29_998..=30_000, percent: 30 }));
    assert_eq!(exchange.risk, Risk::Nothing);
    let (nodes, pairs) = mismatched(1 << 40, 1 << 40);
    let plan = arranged(&nodes, &pairs, &Policy::default());
    assert_eq!((plan.exchanges.len(), plan.waiting.len(), plan.kept), (0, 0, 2));
}

#[test]
fn a_small_gain_waits_though_it_costs_nothing() {
    let (nodes, pairs) = mismatched(0, 3 << 40);
    let plan = arranged(&nodes, &pairs, &Policy::default());
    assert_eq!(plan.exchanges, []);
    let waits: Vec<_> = plan.waiting.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, [Wait::TooLittle { percent: 5 }]);
    let eager = Policy { min_gain_percent: 5, ..Policy::default() };
    assert_eq!(arranged(&nodes, &pairs, &eager).exchanges.len(), 1);
}

#[test]
fn a_spare_takes_the_place_of_a_member_that_shares_its_partners_host() {
    let (mut nodes, pairs) = crossed();
    nodes[1].candidate.labels.host = "b".into();
    nodes[1].candidate.labels.zone = "y".into();
    let mut nodes = nodes.to_vec();
    nodes.push(rated(5, "c", "z"));
    let plan = arranged(&nodes, &pairs, &Policy::default());
    let [exchange] = plan.exchanges.as_slice() else { panic!("{plan}") };
    let [only] = exchange.moves.as_slice() else { panic!("{exchange}") };
    assert_eq!((only.pair, only.joins), (PairId([2; 16]), NodeId([5; 32])));
    assert_eq!(exchange.gain, Gain::Hosts(1));
    assert_eq!((plan.spares, plan.kept), (vec![NodeId([5; 32])], 1));
}

#[test]
fn spares_are_kept_out_of_pairs() {
    let nodes: Vec<_> = (1..=7).map(|node| rated(node, &node.to_string(), "x")).collect();
    let policy = Policy { spares_min: 2, ..Policy::default() };
    let plan = arranged(&nodes, &[], &policy);
    assert_eq!((plan.formed.len(), plan.spares.len()), (2, 3));
}

#[test]
fn a_partner_too_far_away_is_worse_than_one_in_the_same_zone() {
    let nodes = [rated(1, "a", "x"), rated(2, "b", "x"), rated(3, "c", "y"), rated(4, "d", "y")];
    let far = |a: &NodeId, b: &NodeId| {
        let is_near = a.0[0].div_ceil(2) == b.0[0].div_ceil(2);
        Some(Duration::from_millis(if is_near { 1 } else { 90 }))
    };
    let partner = |max_round_trip| {
        let policy = Policy { max_round_trip, ..Policy::default() };
        let network = Network::new(nodes.to_vec(), Vec::new());
        let plan = arrange(&network, &policy, far, NOW);
        plan.formed.first().unwrap().pair.1.0[0]
    };
    assert_eq!(partner(Some(Duration::from_millis(50))), 2);
    assert_eq!(partner(None), 3);
}

#[test]
fn a_pair_with_a_member_that_is_not_there_is_left_alone() {
    let (nodes, pairs) = crossed();
    let plan = arranged(&nodes[..3], &pairs, &Policy::default());
    assert_eq!(plan, Plan { kept: 1, ..Plan::default() });
}

/// The pairs after all exchanges of a plan are done.
fn done(plan: &Plan, pairs: &[Paired], now: Duration) -> Vec<Paired> {
    let moves: BTreeMap<_, _> =
        plan.exchanges.iter().flat_map(|it| &it.moves).map(|one| (one.pair, one)).collect();
    let after = |pair: &Paired| match moves.get(&pair.pair) {
        Some(one) => Paired { members: [one.stays, one.joins], changed: Some(now), ..*pair },
        None => *pair,
    };
    pairs.iter().map(after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn exchanges_come_to_an_end_within_their_bounds_and_nobody_is_in_two_pairs(
        seed: u64, count in 4_usize..40, moves_max in 1_usize..6, shift in 20_u32..45,
    ) {
        let policy = Policy {
            moves_max: NonZeroUsize::new(moves_max).unwrap(),
            ..Policy::default()
        };
        let nodes = network(seed, count);
        let mut pairs: Vec<_> = (0_u8..)
            .zip(nodes.chunks_exact(2))
            .map(|(number, two)| Paired {
                members: [two[0].candidate.node, two[1].candidate.node],
                held: drawn(u64::from(number), 1 << shift),
                ..paired(number, [0, 0], 0)
            })
            .collect();
        let mut now = NOW;
        for round in 0.. {
            let plan = arrange(&Network::new(nodes.clone(), pairs.clone()), &policy, |_, _| None, now);
            let moves: usize = plan.exchanges.iter().map(|it| it.moves.len()).sum();
            prop_assert!(moves <= moves_max.max(2));
            prop_assert_eq!(plan.kept + moves, count / 2);
            if moves == 0 {
                break;
            }
            prop_assert!(round < count * 2, "{plan}");
            pairs = done(&plan, &pairs, now);
            let mut members: Vec<_> = pairs.iter().flat_map(|pair| pair.members).collect();
            members.sort();
            members.dedup();
            prop_assert_eq!(members.len(), pairs.len() * 2);
            now += policy.cooldown;
        }
    }

    #[test]
    fn what_was_just_planned_stays_as_it_is(seed: u64, count in 2_usize..60) {
        let nodes = network(seed, count);
        let plan = arranged(&nodes, &[], &Policy::default());
        let pair = |(number, formed): (u8, &Formed)| Paired {
            members: [formed.pair.0, formed.pair.1],
            ..paired(number, [0, 0], 1 << 30)
        };
        let pairs: Vec<_> = (0..).zip(&plan.formed).map(pair).collect();
        let again = arranged(&nodes, &pairs, &Policy::default());
        prop_assert_eq!((again.formed.len(), again.exchanges.len(), again.waiting.len()), (0, 0, 0));
    }
}

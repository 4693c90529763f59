//! Nodes that nobody can dial.

use std::collections::BTreeSet;

use super::exchanges::{NOW, paired, rated};
use super::optimum::network;
use super::*;

/// Hides some of the nodes; answers which.
fn hide(nodes: &mut [Rated], hidden: &[bool]) -> BTreeSet<NodeId> {
    let mut ids = BTreeSet::new();
    for (rated, _) in nodes.iter_mut().zip(hidden).filter(|(_, is_hidden)| **is_hidden) {
        rated.candidate.reach = Reach::Hidden;
        ids.insert(rated.candidate.node);
    }
    ids
}

/// Nobody waits who could be in a pair, and two hidden ones never are.
fn fits(plan: &Plan, nodes: usize, hidden: &BTreeSet<NodeId>) -> Result<(), TestCaseError> {
    for Formed { pair: Match(a, b), .. } in &plan.formed {
        prop_assert!(!(hidden.contains(a) && hidden.contains(b)), "{a} and {b} are hidden");
    }
    prop_assert_eq!(plan.formed.len(), (nodes / 2).min(nodes - hidden.len()));
    prop_assert_eq!(plan.spares.len(), nodes - 2 * plan.formed.len());
    Ok(())
}

fn formed(nodes: Vec<Rated>) -> Plan {
    arrange(&Network::new(nodes, Vec::new()), &Policy::default(), |_, _| None, NOW)
}

proptest! {
    #[test]
    fn two_that_nobody_can_dial_are_no_pair_and_nobody_else_waits_for_that(
        seed: u64, hidden in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let mut nodes = network(seed, hidden.len());
        let ids = hide(&mut nodes, &hidden);
        fits(&formed(nodes), hidden.len(), &ids)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_search_keeps_hidden_nodes_apart_as_well(
        seed: u64, hidden in prop::collection::vec(prop::bool::weighted(0.4), 201..320),
    ) {
        let mut nodes = network(seed, hidden.len());
        let ids = hide(&mut nodes, &hidden);
        fits(&formed(nodes), hidden.len(), &ids)?;
    }
}

#[test]
fn a_pair_of_two_that_became_hidden_gives_one_for_one_that_can_be_dialled() {
    let mut nodes =
        [rated(1, "a", "x"), rated(2, "b", "y"), rated(3, "c", "x"), rated(4, "d", "y")];
    hide(&mut nodes, &[true, true]);
    let pairs = [paired(1, [1, 2], 1 << 30), paired(2, [3, 4], 1 << 30)];
    let network = Network::new(nodes.to_vec(), pairs.to_vec());
    let plan = arrange(&network, &Policy::default(), |_, _| None, NOW);
    let [exchange] = plan.exchanges.as_slice() else { panic!("{plan}") };
    assert_eq!(exchange.gain, Gain::Unmet(1));
    assert_eq!(exchange.gain.to_string(), "1 fewer of two that nobody can dial");
    assert_eq!(exchange.moves.len(), 2);
}

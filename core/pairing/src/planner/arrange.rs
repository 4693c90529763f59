//! The plan for a whole network: free nodes become pairs, and pairs that would fit better
//! exchange members where it is worth the bytes.

use std::time::Duration;

use defs_core::ids::NodeId;

use super::board::{Board, Effort, pairs};
use super::cost::{Prices, Total, sites};
use super::exchange::judge;
use super::fit::Fit;
use super::fold::spare_of;
use super::network::Network;
use super::policy::Policy;
use super::report::{Formed, Plan};
use super::today::Today;
use super::{Candidate, Match, Rated, in_order};

/// Plans `network` at `now`, in elapsed time. `round_trip` is what was measured between two
/// nodes, if it was; it is asked with the lower id first.
///
/// Free nodes are matched among themselves, then today's pairs and one spare are matched
/// anew with the price of moving bytes in the costs. What changes falls apart into rings
/// of pairs; each is worth it or not by itself. The same network gives the same plan.
#[must_use]
pub fn arrange(
    network: &Network,
    policy: &Policy,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
    now: Duration,
) -> Plan {
    let (formed, spares) = form(network.free(), policy, &round_trip);
    let mut plan = Plan { formed, ..Plan::default() };
    let today = Today::new(network, &spares, policy, &round_trip);
    judge(&today, policy, now, &mut plan);
    plan.spares = spares.iter().map(|rated| rated.candidate.node).collect();
    plan
}

/// Pairs of free nodes, which are ordered by place, and those that are left over.
pub(super) fn form(
    mut free: Vec<Rated>,
    policy: &Policy,
    round_trip: &impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> (Vec<Formed>, Vec<Rated>) {
    let mut spares = Vec::new();
    while spares.len() < policy.spares_min && !free.is_empty() {
        let row: Vec<_> = (0..free.len()).collect();
        spares.push(free.remove(spare_of(&sites(&free), &row)));
    }
    let prices = Prices::new(&policy.weights, policy.max_round_trip);
    let board = Board::new(sites(&free), prices, round_trip);
    let mut formed = Vec::new();
    for (a, b) in pairs(&board.solve(None)) {
        let (Some(one), Some(other)) = (free.get(a), free.get(b)) else {
            spares.extend(free.get(a).or(free.get(b)).cloned());
            continue;
        };
        // Each waits for somebody who can be dialled.
        if board.is_hidden(a) && board.is_hidden(b) {
            spares.extend([one.clone(), other.clone()]);
            continue;
        }
        let (Some(a), Some(b)) = (board.sites.get(a), board.sites.get(b)) else { continue };
        let fit = Fit::new(a, b, board.took(a, b), &policy.weights);
        formed.push(Formed { pair: in_order(one.candidate.node, other.candidate.node), fit });
    }
    formed.sort_by_key(|formed| formed.pair);
    spares.sort_by_key(|spare| spare.candidate.node);
    (formed, spares)
}

/// The matches of `candidates`, nothing but their labels and capacities being known.
pub(super) fn matches(
    candidates: Vec<Candidate>,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> Vec<Match> {
    let nodes = candidates.into_iter().map(Rated::unknown).collect();
    let free = Network::new(nodes, Vec::new()).free();
    let (formed, _) = form(free, &Policy::default(), &round_trip);
    formed.into_iter().map(|formed| formed.pair).collect()
}

/// What the pairs of `nodes` cost together, found by a given effort: what the claims on how
/// good a search is are measured with. [`Effort::Exact`] is for 1,000 nodes at most.
#[must_use]
pub fn measure(
    nodes: Vec<Rated>,
    policy: &Policy,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
    effort: Effort,
) -> Total {
    let free = Network::new(nodes, Vec::new()).free();
    let prices = Prices::new(&policy.weights, policy.max_round_trip);
    let board = Board::new(sites(&free), prices, round_trip);
    board.total(&board.solve_by(effort, None))
}

//! All that is known of a network's nodes at one moment, and what follows for each of them and
//! for the pairs: what a planner starts from, whoever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::network::Labels;

use crate::balance::{Balance, Filled, balance};
use crate::planner::{Candidate, Paired, Rated};
use crate::score::clusters::{Cluster, clusters};
use crate::score::geography::standing;
use crate::score::measured::{Capacity, Geography};
use crate::score::observers::Observers;
use crate::score::{Score, Weights, score};

/// Nodes whose answers come sooner stand near each other, whatever their labels say: in one
/// city.
const NEAR: Duration = Duration::from_millis(5);

/// A node, and what of its room is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Who and where.
    pub candidate: Candidate,
    /// Bytes in use.
    pub used: u64,
}

/// All nodes, and what they have measured of each other.
#[derive(Debug)]
pub struct Survey {
    nodes: BTreeMap<NodeId, Surveyed>,
    observers: Observers,
    weights: Weights,
    clusters: BTreeMap<NodeId, Cluster>,
    geography: BTreeMap<NodeId, Geography>,
}

impl Survey {
    /// Of these nodes, with what `observers` said of them; scores by `weights`.
    #[must_use]
    pub fn new(nodes: Vec<Surveyed>, observers: Observers, weights: Weights) -> Self {
        let nodes: BTreeMap<_, _> =
            nodes.into_iter().map(|known| (known.candidate.node, known)).collect();
        let clusters = clusters(nodes.keys().copied(), NEAR, |a, b| observers.round_trip(a, b));
        let places: Vec<(NodeId, Labels)> =
            nodes.iter().map(|(node, known)| (*node, known.candidate.labels.clone())).collect();
        let geography = standing(&places, &clusters);
        Self { nodes, observers, weights, clusters, geography }
    }

    /// How many others have measured `node`.
    #[must_use]
    pub fn observers(&self, node: &NodeId) -> usize {
        self.observers.count(node)
    }

    /// The time that an answer takes between two nodes, as far as it was measured.
    #[must_use]
    pub fn round_trip(&self, a: &NodeId, b: &NodeId) -> Option<Duration> {
        self.observers.round_trip(a, b)
    }

    /// Bytes that `node` may still take.
    #[must_use]
    pub fn room(&self, node: &NodeId) -> u64 {
        let room = |known: &Surveyed| known.candidate.capacity.saturating_sub(known.used);
        self.nodes.get(node).map_or(0, room)
    }

    /// Bytes that `node` holds.
    #[must_use]
    pub fn used(&self, node: &NodeId) -> u64 {
        self.nodes.get(node).map_or(0, |known| known.used)
    }

    /// How good `node` is as a partner, if it is known.
    #[must_use]
    pub fn score(&self, node: &NodeId) -> Option<Score> {
        let total = self.nodes.get(node)?.candidate.capacity;
        let capacity = Capacity { total, free: self.room(node) };
        let geography = self.geography.get(node).copied().unwrap_or_default();
        let measured = self.observers.measured(node, geography, capacity);
        Some(score(&measured, &self.weights))
    }

    /// As the planner takes it.
    #[must_use]
    pub fn rated(&self, node: &NodeId) -> Option<Rated> {
        let candidate = self.nodes.get(node)?.candidate.clone();
        Some(Rated::new(candidate, &self.score(node)?, self.clusters.get(node).copied()))
    }

    /// How evenly pairs are filled of which both members are `fit`, and what it would take to
    /// even them out.
    #[must_use]
    pub fn balance(&self, pairs: &[Paired], fit: &BTreeSet<NodeId>) -> Balance {
        let fills = pairs.iter().filter(|pair| pair.members.iter().all(|it| fit.contains(it)));
        let fills: Vec<_> = fills.filter_map(|pair| self.filled(pair)).collect();
        balance(&fills, u64::MAX)
    }

    fn filled(&self, pair: &Paired) -> Option<Filled> {
        let [one, other] = pair.members.map(|member| self.nodes.get(&member));
        let capacity = one?.candidate.capacity.min(other?.candidate.capacity);
        let busy = |node: &NodeId| self.score(node).map_or(0, |it| it.inputs.load.busy_permille);
        let busy_permille = pair.members.iter().map(busy).max().unwrap_or(0);
        Some(Filled { pair: pair.pair, capacity, used: pair.held, busy_permille })
    }
}

//! What a plan is made for: the nodes and the pairs that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};

use super::Rated;

/// A pair as it is today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paired {
    /// Its id.
    pub pair: PairId,
    /// The primary, then the mirror.
    pub members: [NodeId; 2],
    /// Bytes that a new member would have to copy.
    pub held: u64,
    /// When its members last changed, in elapsed time; now, if they are changing; `None` if
    /// they never did.
    pub changed: Option<Duration>,
}

/// All nodes that may be in pairs, in the order of their places, and the pairs of which
/// both members are among them; each node once and in one pair at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    nodes: Vec<Rated>,
    /// By the places of their members in `nodes`.
    pairs: Vec<(Paired, [usize; 2])>,
}

impl Network {
    /// The network of these nodes and pairs, in whatever order they come. A node or a pair that
    /// comes twice counts once; a pair with a member that is not among the nodes is left to
    /// whoever replaces that member, and so is its other member.
    #[must_use]
    pub fn new(mut nodes: Vec<Rated>, mut pairs: Vec<Paired>) -> Self {
        let place = |rated: &Rated| {
            let labels = &rated.candidate.labels;
            (labels.region.clone(), labels.zone.clone(), labels.host.clone(), rated.candidate.node)
        };
        nodes.sort_by_cached_key(place);
        let mut seen = BTreeSet::new();
        nodes.retain(|rated| seen.insert(rated.candidate.node));
        pairs.sort_by_key(|pair| pair.pair);
        let mut taken = BTreeSet::new();
        pairs.retain(|pair| {
            let [a, b] = pair.members;
            let is_new = a != b && !taken.contains(&a) && !taken.contains(&b);
            if is_new {
                taken.extend(pair.members);
            }
            is_new
        });
        let halved = |pair: &Paired| !pair.members.iter().all(|member| seen.contains(member));
        let busy: BTreeSet<_> =
            pairs.iter().filter(|pair| halved(pair)).flat_map(|pair| pair.members).collect();
        nodes.retain(|rated| !busy.contains(&rated.candidate.node));
        let at: BTreeMap<_, _> =
            nodes.iter().enumerate().map(|(at, rated)| (rated.candidate.node, at)).collect();
        let placed = |pair: Paired| {
            let [a, b] = pair.members;
            Some((pair, [*at.get(&a)?, *at.get(&b)?]))
        };
        let pairs = pairs.into_iter().filter_map(placed).collect();
        Self { nodes, pairs }
    }

    /// Today's pairs, by id, with the places of their members.
    pub(super) fn pairs(&self) -> &[(Paired, [usize; 2])] {
        &self.pairs
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> &[Rated] {
        &self.nodes
    }

    /// A node by its place.
    pub(super) fn node(&self, at: usize) -> Option<&Rated> {
        self.nodes.get(at)
    }

    /// Those in no pair.
    pub(super) fn free(&self) -> Vec<Rated> {
        let paired: BTreeSet<_> = self.pairs.iter().flat_map(|(_, members)| *members).collect();
        let free = self.nodes.iter().enumerate().filter(|(at, _)| !paired.contains(at));
        free.map(|(_, rated)| rated.clone()).collect()
    }
}

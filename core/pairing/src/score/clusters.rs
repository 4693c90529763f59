//! Which nodes stand near each other by round trip, whatever their labels say.

use std::collections::BTreeMap;
use std::time::Duration;

use defs_core::ids::NodeId;

/// A cluster, named by its first node's place in the order of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cluster(pub u32);

/// Clusters that are looked for; the rest of the world is one more. Regions and zones
/// together are fewer, and 64 keep 10,000 nodes at 640,000 look-ups.
const CLUSTERS_MAX: usize = 64;

/// Puts each node into the first cluster whose first node is within `near` of it, in the
/// order of ids; a node whose round trips are not known founds its own.
///
/// Rejected: k-means and the like, which need a number of clusters and coordinates, and
/// whose result depends on where they begin.
#[must_use]
pub fn clusters(
    nodes: impl IntoIterator<Item = NodeId>,
    near: Duration,
    round_trip: impl Fn(&NodeId, &NodeId) -> Option<Duration>,
) -> BTreeMap<NodeId, Cluster> {
    let mut clusters: BTreeMap<NodeId, Cluster> =
        nodes.into_iter().map(|node| (node, Cluster(0))).collect();
    let mut leaders: Vec<NodeId> = Vec::new();
    for (node, cluster) in &mut clusters {
        let is_near = |leader: &NodeId| round_trip(leader, node).is_some_and(|took| took <= near);
        let place = leaders.iter().position(is_near).unwrap_or(leaders.len());
        if place == leaders.len() && leaders.len() < CLUSTERS_MAX {
            leaders.push(*node);
        }
        *cluster = Cluster(u32::try_from(place).unwrap_or(u32::MAX));
    }
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn two_buildings_are_two_clusters_in_whatever_order_the_nodes_come() {
        let far = |a: &NodeId, b: &NodeId| {
            Some(Duration::from_millis(if a.0[0] % 2 == b.0[0] % 2 { 1 } else { 20 }))
        };
        let near = Duration::from_millis(5);
        let found = clusters((1..=6).map(node), near, far);
        let numbers: Vec<_> = found.values().map(|cluster| cluster.0).collect();
        assert_eq!(numbers, [0, 1, 0, 1, 0, 1]);
        assert_eq!(clusters((1..=6).rev().map(node), near, far), found);
    }

    #[test]
    fn who_was_not_measured_stands_alone() {
        let found = clusters((1..=3).map(node), Duration::from_secs(1), |_, _| None);
        assert_eq!(found.values().map(|cluster| cluster.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

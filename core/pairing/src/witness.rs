//! Which nodes witness an epoch: not members, on other hosts first, and those first of which
//! nothing bad was measured.

use std::collections::BTreeSet;

use defs_core::ids::NodeId;
use defs_core::network::WITNESSES_MAX;

use crate::planner::Candidate;

/// Up to three of `others` that can witness an epoch of `members`; fewer where there are
/// fewer. The lower `rank` comes first: the steady before the unsteady, and equals at random,
/// so that no node witnesses for everybody.
#[must_use]
pub fn choose<R: Ord>(
    members: &[Candidate; 2],
    others: &[Candidate],
    rank: impl Fn(&NodeId) -> R,
) -> Vec<NodeId> {
    let mut hosts: BTreeSet<_> = members.iter().map(|member| &member.labels.host).collect();
    let mut left: Vec<_> = others
        .iter()
        .filter(|other| members.iter().all(|member| member.node != other.node))
        .collect();
    left.sort_by_cached_key(|other| (rank(&other.node), other.node));
    let mut chosen = Vec::new();
    while chosen.len() < WITNESSES_MAX && !left.is_empty() {
        let fresh = left.iter().position(|other| !hosts.contains(&other.labels.host));
        let next = left.remove(fresh.unwrap_or(0));
        hosts.insert(&next.labels.host);
        chosen.push(next.node);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use defs_core::network::{Labels, Reach};

    use super::*;

    fn candidate(node: u8, host: &str) -> Candidate {
        let labels = Labels { host: host.into(), ..Labels::default() };
        Candidate { node: NodeId([node; 32]), labels, capacity: 1, reach: Reach::Open }
    }

    #[test]
    fn other_hosts_come_first_and_members_never() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        let others = [
            candidate(1, "a"),
            candidate(3, "a"),
            candidate(4, "c"),
            candidate(5, "c"),
            candidate(6, "d"),
        ];
        let chosen = choose(&members, &others, |node| node.0[0]);
        assert_eq!(chosen, vec![NodeId([4; 32]), NodeId([6; 32]), NodeId([3; 32])]);
    }

    #[test]
    fn the_steady_come_first_but_on_other_hosts_only() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        let others = [candidate(3, "a"), candidate(4, "c"), candidate(5, "d"), candidate(6, "e")];
        let chosen = choose(&members, &others, |node| (node.0[0] == 4, node.0[0]));
        assert_eq!(chosen, [5, 6, 4].map(|node| NodeId([node; 32])));
    }

    #[test]
    fn a_small_network_has_the_witnesses_it_has() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        assert_eq!(choose(&members, &[], |_| ()), vec![]);
    }
}

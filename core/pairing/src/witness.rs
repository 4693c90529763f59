//! Which nodes witness an epoch: not members, on other hosts and of different pairs first, and
//! those first of which nothing bad was measured.

use std::collections::BTreeSet;

use defs_core::ids::NodeId;
use defs_core::network::WITNESSES_MAX;

use crate::planner::Candidate;

/// Up to three of `others` that can witness an epoch of `members`; fewer where there are
/// fewer. Two that would fail together come last: those of one host, then those of one pair
/// (`pair_of`, as far as that is known, by whatever names them). The lower `rank` comes first: the steady before the
/// unsteady, and equals at random, so that no node witnesses for everybody.
#[must_use]
pub fn choose<R: Ord, P: Ord>(
    members: &[Candidate; 2],
    others: &[Candidate],
    rank: impl Fn(&NodeId) -> R,
    pair_of: impl Fn(&NodeId) -> Option<P>,
) -> Vec<NodeId> {
    let mut hosts: BTreeSet<_> = members.iter().map(|member| &member.labels.host).collect();
    let mut pairs = BTreeSet::new();
    let mut left: Vec<_> = others
        .iter()
        .filter(|other| members.iter().all(|member| member.node != other.node))
        .collect();
    left.sort_by_cached_key(|other| (rank(&other.node), other.node));
    let mut chosen = Vec::new();
    while chosen.len() < WITNESSES_MAX && !left.is_empty() {
        let on_new_host = |other: &&Candidate| !hosts.contains(&other.labels.host);
        let of_new_pair =
            |other: &&Candidate| pair_of(&other.node).is_none_or(|pair| !pairs.contains(&pair));
        let fresh = left.iter().position(|other| on_new_host(other) && of_new_pair(other));
        let fresh = fresh.or_else(|| left.iter().position(on_new_host));
        let next = left.remove(fresh.unwrap_or(0));
        hosts.insert(&next.labels.host);
        pairs.extend(pair_of(&next.node));
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
        let chosen = choose(&members, &others, |node| node.0[0], |_| None::<u8>);
        assert_eq!(chosen, vec![NodeId([4; 32]), NodeId([6; 32]), NodeId([3; 32])]);
    }

    #[test]
    fn the_steady_come_first_but_on_other_hosts_only() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        let others = [candidate(3, "a"), candidate(4, "c"), candidate(5, "d"), candidate(6, "e")];
        let chosen = choose(&members, &others, |node| (node.0[0] == 4, node.0[0]), |_| None::<u8>);
        assert_eq!(chosen, [5, 6, 4].map(|node| NodeId([node; 32])));
    }

    #[test]
    fn two_of_one_pair_witness_together_only_where_there_are_no_others() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        let others = [candidate(3, "c"), candidate(4, "d"), candidate(5, "e"), candidate(6, "f")];
        let pair_of = |node: &NodeId| Some(node.0[0] / 2).filter(|_| node.0[0] != 6);
        let chosen = choose(&members, &others, |node| u8::MAX - node.0[0], pair_of);
        assert_eq!(chosen, [6, 5, 3].map(|node| NodeId([node; 32])), "4 and 5 are a pair");
        let chosen = choose(&members, &others[1..3], |node| node.0[0], pair_of);
        assert_eq!(chosen, [4, 5].map(|node| NodeId([node; 32])));
    }

    #[test]
    fn a_small_network_has_the_witnesses_it_has() {
        let members = [candidate(1, "a"), candidate(2, "b")];
        assert_eq!(choose(&members, &[], |_| (), |_| None::<u8>), vec![]);
    }
}

//! Today's pairs as a matching that a better one can be compared with.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use defs_core::ids::NodeId;

use super::Rated;
use super::board::Board;
use super::cost::{NO_PAIR, Prices, Site, sites};
use super::network::{Network, Paired};
use super::policy::Policy;

/// The members of today's pairs, and one spare that may take the place of one of them.
pub(super) struct Today<F> {
    pub(super) board: Board<F>,
    /// The pairs, with the sites of their members; a site's `pair` counts in this list.
    pub(super) pairs: Vec<(Paired, [usize; 2])>,
    /// The partner of each site.
    pub(super) mates: Vec<usize>,
}

impl<F: Fn(&NodeId, &NodeId) -> Option<Duration>> Today<F> {
    pub(super) fn new(network: &Network, spares: &[Rated], policy: &Policy, round_trip: F) -> Self {
        let prices = Prices::new(&policy.weights, policy.max_round_trip);
        let mut board = Board { sites: seated(network, spares), prices, round_trip };
        let useful = most_useful(&board);
        board.sites.retain(|site| site.pair != NO_PAIR || Some(site.node) == useful);
        let board = Board::new(board.sites, board.prices, board.round_trip);
        let seats: BTreeMap<_, _> =
            board.sites.iter().enumerate().map(|(at, site)| (site.node, at)).collect();
        let seated = |(pair, _): &(Paired, [usize; 2])| {
            let [a, b] = pair.members;
            Some((*pair, [*seats.get(&a)?, *seats.get(&b)?]))
        };
        let pairs: Vec<_> = network.pairs().iter().filter_map(seated).collect();
        let mates = mates(board.sites.len(), &pairs);
        Self { board, pairs, mates }
    }

    pub(super) fn site(&self, at: usize) -> Option<&Site> {
        self.board.sites.get(at)
    }

    /// The pair of which a site is a member, with its number.
    pub(super) fn pair_of(&self, at: usize) -> Option<(usize, &Paired)> {
        let number = usize::try_from(self.site(at)?.pair).ok()?;
        self.pairs.get(number).map(|(pair, _)| (number, pair))
    }

    /// Today's partner.
    pub(super) fn mate(&self, at: usize) -> usize {
        self.mates.get(at).copied().unwrap_or(at)
    }

    pub(super) fn is_nobody(&self, at: usize) -> bool {
        self.site(at).is_none_or(|site| site.is_nobody)
    }
}

/// The sites of all members of pairs and of all spares, ordered by place.
fn seated(network: &Network, spares: &[Rated]) -> Vec<Site> {
    let spares: BTreeSet<_> = spares.iter().map(|spare| spare.candidate.node).collect();
    let mut pair_of = BTreeMap::new();
    for (number, (pair, members)) in (0..).zip(network.pairs()) {
        let room = members.iter().filter_map(|at| network.node(*at));
        let room = room.map(|rated| rated.candidate.capacity).min().unwrap_or(0);
        pair_of.extend(pair.members.map(|member| (member, (number, pair.held, room))));
    }
    let takes_part = |rated: &&Rated| {
        let node = rated.candidate.node;
        pair_of.contains_key(&node) || spares.contains(&node)
    };
    let nodes: Vec<_> = network.nodes().iter().filter(takes_part).cloned().collect();
    let mut sites = sites(&nodes);
    for site in &mut sites {
        if let Some((number, held, room)) = pair_of.get(&site.node) {
            site.enter(*number, *held, *room);
        }
    }
    sites
}

/// The spare that would make one pair cheaper by the most.
fn most_useful<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(board: &Board<F>) -> Option<NodeId> {
    let mut members: BTreeMap<u32, Vec<&Site>> = BTreeMap::new();
    for site in board.sites.iter().filter(|site| site.pair != NO_PAIR) {
        members.entry(site.pair).or_default().push(site);
    }
    let gain = |spare: &Site| {
        let of_pair = |members: &Vec<&Site>| {
            let [a, b] = members.as_slice() else { return None };
            let today = board.between(a, b);
            [a, b].map(|stays| today.saturating_sub(board.between(spare, stays))).into_iter().max()
        };
        members.values().filter_map(of_pair).max()
    };
    let spares = board.sites.iter().filter(|site| site.pair == NO_PAIR);
    spares.map(|spare| (gain(spare), Reverse(spare.node))).max().map(|(_, Reverse(node))| node)
}

/// Who is in no pair is matched with nobody, the last one.
fn mates(count: usize, pairs: &[(Paired, [usize; 2])]) -> Vec<usize> {
    let nobody = count.saturating_sub(1);
    let mut mates = vec![nobody; count];
    for (_, [a, b]) in pairs {
        for (one, other) in [(*a, *b), (*b, *a)] {
            if let Some(mate) = mates.get_mut(one) {
                *mate = other;
            }
        }
    }
    let spare = mates.iter().position(|mate| *mate == nobody);
    if let (Some(spare), Some(last)) = (spare, mates.last_mut())
        && *last == nobody
    {
        *last = spare;
    }
    mates
}

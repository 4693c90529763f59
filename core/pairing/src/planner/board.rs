//! The nodes that are to be matched, what any two of them cost, and the matching that
//! costs the least.

use std::time::Duration;

use defs_core::ids::NodeId;

use super::blossom::cheapest;
use super::chains;
use super::cost::{Prices, Site, Total, cost_alone};
use super::fold::fold;
use super::near::Near;
use super::reach;

/// Up to so many nodes the matching is the best there is, and takes tens of
/// milliseconds; it grows with the third power. Beyond, swaps along chains come within two
/// percent (see `examples/planner.rs`), and 10,000 nodes take less than a second.
pub const EXACT_MAX: usize = 200;

/// How a matching is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// The best there is, however long it takes.
    Exact,
    /// Chains of swaps.
    Search,
}

/// The nodes of one matching. If their number is odd, [`Site::nobody`] is the last.
pub(super) struct Board<F> {
    pub(super) sites: Vec<Site>,
    pub(super) prices: Prices,
    pub(super) round_trip: F,
}

impl<F: Fn(&NodeId, &NodeId) -> Option<Duration>> Board<F> {
    /// A board of an even number of sites, nobody included.
    pub(super) fn new(mut sites: Vec<Site>, prices: Prices, round_trip: F) -> Self {
        if !sites.len().is_multiple_of(2) {
            sites.push(Site::nobody());
        }
        Self { sites, prices, round_trip }
    }

    /// The cost of a pair of two different sites, the same in either order.
    pub(super) fn cost(&self, a: usize, b: usize) -> i64 {
        let (Some(a), Some(b)) = (self.sites.get(a), self.sites.get(b)) else { return i64::MAX };
        if a.is_nobody || b.is_nobody {
            return cost_alone(if a.is_nobody { b } else { a });
        }
        self.between(a, b)
    }

    /// The cost of a pair of two nodes.
    pub(super) fn between(&self, a: &Site, b: &Site) -> i64 {
        self.prices.cost(a, b, self.took(a, b))
    }

    /// What is missing to a perfect fit, in hundredths of points.
    pub(super) fn lack(&self, a: &Site, b: &Site) -> u64 {
        self.prices.lack(a, b, self.took(a, b))
    }

    /// The cost of a site that becomes a spare.
    pub(super) fn alone(&self, at: usize) -> i64 {
        self.sites.get(at).map_or(0, cost_alone)
    }

    /// The measured round trip between two sites.
    pub(super) fn took(&self, a: &Site, b: &Site) -> Option<Duration> {
        let (low, high) = if a.node < b.node { (a, b) } else { (b, a) };
        (self.round_trip)(&low.node, &high.node)
    }

    /// The partner of each site such that all pairs together cost the least, or nearly so
    /// beyond [`EXACT_MAX`]: then `today` is where the search begins, if it is given.
    pub(super) fn solve(&self, today: Option<Vec<usize>>) -> Vec<usize> {
        // A spare and nobody are more than nodes in pairs.
        let is_small = self.sites.len() <= EXACT_MAX + 2;
        let mates = self.solve_by(if is_small { Effort::Exact } else { Effort::Search }, today);
        reach::mend(mates, |at| self.is_hidden(at), |a, b| self.cost(a, b))
    }

    /// The same by a given effort.
    pub(super) fn solve_by(&self, effort: Effort, today: Option<Vec<usize>>) -> Vec<usize> {
        let cost = |a: usize, b: usize| self.cost(a, b);
        if effort == Effort::Exact {
            return cheapest(self.sites.len(), cost);
        }
        let took = |a: usize, b: usize| self.took(self.sites.get(a)?, self.sites.get(b)?);
        let near = Near::new(&self.sites, &self.prices, cost, took);
        let mates = today.unwrap_or_else(|| fold(&self.sites, near.curve()));
        chains::improve(mates, &near, cost)
    }

    /// Whether nobody can dial a site's node.
    pub(super) fn is_hidden(&self, at: usize) -> bool {
        self.sites.get(at).is_some_and(|site| site.is_hidden)
    }

    /// Adds the pair of two sites to `total`.
    pub(super) fn count(&self, total: &mut Total, a: usize, b: usize) {
        total.add(self.cost(a, b));
        total.unmet += u64::from(self.is_hidden(a) && self.is_hidden(b));
    }

    /// What `mates` cost together.
    pub(super) fn total(&self, mates: &[usize]) -> Total {
        let mut total = Total::default();
        for (a, b) in pairs(mates) {
            self.count(&mut total, a, b);
        }
        total
    }
}

/// Each pair once, the lower site first.
pub(super) fn pairs(mates: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    mates.iter().copied().enumerate().filter(|(a, b)| a < b)
}

//! Makes a matching cheaper by chains of swaps: a pair is given up, one of its two takes
//! a better partner, whose own partner is left and takes another, until the last one left
//! fits the other of the first pair, and all of it gained.

use std::collections::VecDeque;

use super::near::{KEPT, Near};

/// Steps of a chain, each of which changes one more pair. One step is a plain swap: those
/// alone end one to two and a half percent above the best, three steps half a percent.
const DEPTH_MAX: usize = 6;

/// How many partners are tried at each step of a chain.
const BREADTH: [usize; DEPTH_MAX] = [6, 5, 3, 1, 1, 1];

/// Looks at each site that are enough on average. A search ends by itself after three or
/// four; the bound keeps it finite whatever the costs are.
const LOOKS: usize = 64;

struct Search<'a, C> {
    mates: Vec<usize>,
    /// What each site's pair costs.
    costs: Vec<i64>,
    near: &'a Near,
    cost: C,
    /// The pairs that the present chain gives up: the one it came to, and the one left.
    chain: Vec<(usize, usize)>,
}

/// A matching no dearer than `mates`, such that no short chain among near ones makes it
/// cheaper.
pub(super) fn improve(
    mates: Vec<usize>,
    near: &Near,
    cost: impl Fn(usize, usize) -> i64,
) -> Vec<usize> {
    let count = mates.len();
    let costs = mates.iter().enumerate().map(|(a, b)| cost(a, *b)).collect();
    let mut search = Search { mates, costs, near, cost, chain: Vec::with_capacity(DEPTH_MAX + 1) };
    let mut todo: VecDeque<usize> = (0..count).collect();
    let mut waits = vec![true; count];
    for _ in 0..count.saturating_mul(LOOKS) {
        let Some(site) = todo.pop_front() else { break };
        if let Some(waits) = waits.get_mut(site) {
            *waits = false;
        }
        if !search.gains(site) {
            continue;
        }
        for changed in search.apply() {
            if let Some(waits) = waits.get_mut(changed).filter(|waits| !**waits) {
                *waits = true;
                todo.push_back(changed);
            }
        }
    }
    search.mates
}

impl<C: Fn(usize, usize) -> i64> Search<'_, C> {
    fn mate(&self, site: usize) -> usize {
        self.mates.get(site).copied().unwrap_or(site)
    }

    fn cost_of(&self, site: usize) -> i64 {
        self.costs.get(site).copied().unwrap_or(0)
    }

    /// Looks for a chain that begins by parting `site` from its partner.
    fn gains(&mut self, site: usize) -> bool {
        self.chain.clear();
        self.chain.push((site, self.mate(site)));
        self.extend(site, self.mate(site), self.cost_of(site))
    }

    /// Lets `open` take a new partner; `gain` is what was given up less what was taken.
    fn extend(&mut self, first: usize, open: usize, gain: i64) -> bool {
        let Some(breadth) = BREADTH.get(self.chain.len() - 1).copied() else { return false };
        let mut steps = [(0, 0, 0); KEPT];
        let mut found = 0;
        for (to, cost) in self.near.of(open) {
            let left = gain - cost;
            if left <= 0 || self.chain.iter().any(|(one, other)| *one == to || *other == to) {
                continue;
            }
            if let Some(step) = steps.get_mut(found) {
                *step = (left + self.cost_of(to), to, self.mate(to));
                found += 1;
            }
        }
        let steps = steps.get_mut(..found).unwrap_or_default();
        steps.sort_unstable_by_key(|(gain, to, _)| (std::cmp::Reverse(*gain), *to));
        for (gain, to, left) in steps.iter().take(breadth).copied() {
            self.chain.push((to, left));
            if gain > (self.cost)(left, first) || self.extend(first, left, gain) {
                return true;
            }
            self.chain.pop();
        }
        false
    }

    /// Makes the chain true; answers with all whose partner changed.
    fn apply(&mut self) -> Vec<usize> {
        let chain = std::mem::take(&mut self.chain);
        let first = chain.first().map(|(site, _)| *site);
        let next = chain.iter().skip(1).map(|(to, _)| *to).chain(first);
        let mut changed = Vec::with_capacity(chain.len() * 2);
        for ((_, open), to) in chain.iter().zip(next) {
            let cost = (self.cost)(*open, to);
            for (one, other) in [(*open, to), (to, *open)] {
                if let (Some(mate), Some(known)) =
                    (self.mates.get_mut(one), self.costs.get_mut(one))
                {
                    (*mate, *known) = (other, cost);
                }
                changed.push(one);
            }
        }
        self.chain = chain;
        changed
    }
}

//! The cheapest perfect matching of a complete graph, exactly: Edmonds' blossoms with
//! duals, in O(n³).
//!
//! Every vertex has a dual, and the *slack* of an edge is `dual + dual + 4 × cost`, never
//! below 0; matched edges have none. From all unmatched vertices, trees of alternating
//! edges without slack grow until two meet. An odd ring that closes becomes a *blossom*,
//! one vertex of its own, until its dual is used up and it opens again. When nothing grows,
//! the duals of all trees shift by as much as the next edge needs.
//!
//! Ours and not a library's: the same costs must give the same matching on every machine,
//! also where several are equally cheap, and no hashing may come into it.
//!
//! Vertices are `0..n`, blossoms `n..n + n / 2`; only this file and its children make such numbers,
//! so every index below is within its table.

use std::collections::VecDeque;

mod grow;
mod shrink;

/// Stands for no vertex and no blossom.
const NONE: usize = usize::MAX;

/// Where a tree has a vertex: roots are outer, and every second one on each branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Free,
    Outer,
    Inner,
}

/// The partner of each of `count` vertices such that the sum of `cost` over the pairs is
/// the least. `count` is even, `cost` symmetric and not negative, and four times the
/// highest cost times `count` fits an `i64`.
pub(super) fn cheapest(count: usize, cost: impl Fn(usize, usize) -> i64) -> Vec<usize> {
    let mut search = Search::new(count, cost);
    search.begin();
    while search.augments() {}
    search.mate.truncate(count);
    search.mate
}

struct Search {
    n: usize,
    /// Vertices and possible blossoms.
    all: usize,
    /// Four times the cost, `n × n`. Four, so that halves of slacks are whole numbers.
    cost: Vec<i64>,
    /// The edge of least slack between two outermost ones, by its ends; `all × all`.
    bridge: Vec<(u32, u32)>,
    /// The petal of a blossom in which a vertex lies; `all × n`, of use for blossoms.
    petal_of: Vec<u32>,
    dual: Vec<i64>,
    /// The vertex at the other end of the matched edge.
    mate: Vec<usize>,
    /// The outermost blossom around each; NONE for a blossom that isn't there.
    top: Vec<usize>,
    /// The outer vertex from which an inner one was reached.
    parent: Vec<usize>,
    /// The outer vertex with the least slack to each.
    nearest: Vec<usize>,
    side: Vec<Side>,
    petals: Vec<Vec<usize>>,
    /// Outer vertices whose edges are still to be looked at.
    todo: VecDeque<usize>,
    /// When each was last passed on the way to a common root.
    passed: Vec<u64>,
    pass: u64,
}

impl Search {
    fn new(n: usize, cost: impl Fn(usize, usize) -> i64) -> Self {
        let all = n + n / 2;
        let mut costs = vec![0; n * n];
        for u in 0..n {
            for v in u + 1..n {
                let both = 4 * cost(u, v);
                costs[u * n + v] = both;
                costs[v * n + u] = both;
            }
        }
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            n,
            all,
            cost: costs,
            bridge: (0..all * all).map(|at| (number(at / all), number(at % all))).collect(),
            petal_of: vec![u32::MAX; all * n],
            dual: vec![0; all],
            mate: vec![NONE; all],
            top: (0..all).map(|at| if at < n { at } else { NONE }).collect(),
            parent: vec![NONE; all],
            nearest: vec![NONE; all],
            side: vec![Side::Free; all],
            petals: vec![Vec::new(); all],
            todo: VecDeque::new(),
            passed: vec![0; all],
            pass: 0,
        }
    }

    /// Duals as large as edges allow, one vertex after the other, and what can be matched
    /// at once along edges without slack. Duals stay even, so slacks of trees do too.
    fn begin(&mut self) {
        let others = |u: usize| (0..self.n).filter(move |v| *v != u);
        let halves: Vec<_> = (0..self.n)
            .map(|u| others(u).map(|v| self.cost[u * self.n + v]).min().unwrap_or(0) / 4 * 2)
            .collect();
        for (u, half) in halves.into_iter().enumerate() {
            self.dual[u] = -half;
        }
        for u in 0..self.n {
            let least = (0..self.n).filter(|v| *v != u).map(|v| self.slack(u, v)).min();
            self.dual[u] -= least.unwrap_or(0);
            let free = |v: &usize| self.mate[*v] == NONE && *v != u && self.slack(u, *v) == 0;
            if self.mate[u] != NONE {
                continue;
            }
            if let Some(v) = (0..self.n).find(free) {
                self.mate[u] = v;
                self.mate[v] = u;
            }
        }
    }

    fn slack(&self, u: usize, v: usize) -> i64 {
        self.dual[u] + self.dual[v] + self.cost[u * self.n + v]
    }

    /// The ends of the best edge between two outermost ones.
    fn bridge(&self, x: usize, y: usize) -> (usize, usize) {
        let (u, v) = self.bridge[x * self.all + y];
        (u as usize, v as usize)
    }

    fn bridge_slack(&self, x: usize, y: usize) -> i64 {
        let (u, v) = self.bridge(x, y);
        self.slack(u, v)
    }

    fn petal_of(&self, blossom: usize, vertex: usize) -> usize {
        self.petal_of[blossom * self.n + vertex] as usize
    }

    fn is_top(&self, x: usize) -> bool {
        self.top[x] == x
    }

    /// Remembers the outer vertex `u` if no other is nearer to `x`.
    fn offer(&mut self, u: usize, x: usize) {
        let before = self.nearest[x];
        if before == NONE || self.bridge_slack(u, x) < self.bridge_slack(before, x) {
            self.nearest[x] = u;
        }
    }
}

#[cfg(test)]
mod tests;

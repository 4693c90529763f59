//! Trees of alternating edges grow from all unmatched vertices until two of them meet.

use super::{NONE, Search, Side};

impl Search {
    /// Matches two more vertices; false when all are.
    pub(super) fn augments(&mut self) -> bool {
        self.plant();
        if self.todo.is_empty() {
            return false;
        }
        loop {
            if self.scan() {
                return true;
            }
            let Some(by) = self.next_shift() else { return false };
            self.shift(by);
            if self.follow_tight() {
                return true;
            }
            self.open_spent();
        }
    }

    /// Every unmatched one is the root of a tree.
    fn plant(&mut self) {
        self.side.fill(Side::Free);
        self.nearest.fill(NONE);
        self.todo.clear();
        for x in 0..self.all {
            if self.is_top(x) && self.mate[x] == NONE {
                self.parent[x] = NONE;
                self.side[x] = Side::Outer;
                self.enqueue(x);
            }
        }
    }

    /// The vertices in `x` are outer from now on.
    pub(super) fn enqueue(&mut self, x: usize) {
        if x < self.n {
            return self.todo.push_back(x);
        }
        for at in 0..self.petals[x].len() {
            self.enqueue(self.petals[x][at]);
        }
    }

    /// Looks at the edges of new outer vertices; true if two trees met.
    fn scan(&mut self) -> bool {
        while let Some(u) = self.todo.pop_front() {
            if self.side[self.top[u]] == Side::Inner {
                continue;
            }
            for v in 0..self.n {
                let there = self.top[v];
                if there == self.top[u] || self.side[there] == Side::Inner {
                    continue;
                }
                if self.slack(u, v) > 0 {
                    self.offer(u, there);
                } else if self.meet(u, v) {
                    return true;
                }
            }
        }
        false
    }

    /// Follows an edge without slack from the outer vertex `u`.
    fn meet(&mut self, u: usize, v: usize) -> bool {
        let (here, there) = (self.top[u], self.top[v]);
        match self.side[there] {
            Side::Inner => false,
            Side::Free => {
                let beyond = self.top[self.mate[there]];
                self.parent[there] = u;
                self.side[there] = Side::Inner;
                self.side[beyond] = Side::Outer;
                self.nearest[there] = NONE;
                self.nearest[beyond] = NONE;
                self.enqueue(beyond);
                false
            }
            Side::Outer => {
                let common = self.common_root(here, there);
                if common == NONE {
                    self.flip(here, there);
                    self.flip(there, here);
                    return true;
                }
                self.shrink(here, common, there);
                false
            }
        }
    }

    /// Where the ways from two outer ones to their roots first meet.
    fn common_root(&mut self, x: usize, y: usize) -> usize {
        self.pass += 1;
        let (mut one, mut other) = (x, y);
        while one != NONE || other != NONE {
            if one != NONE {
                if self.passed[one] == self.pass {
                    return one;
                }
                self.passed[one] = self.pass;
                one = self.up(one);
            }
            std::mem::swap(&mut one, &mut other);
        }
        NONE
    }

    /// The next outer one towards the root.
    pub(super) fn up(&self, outer: usize) -> usize {
        let mate = self.mate[outer];
        if mate == NONE { NONE } else { self.top[self.parent[self.top[mate]]] }
    }

    /// Matches `x` towards `y`, and all on the way from `x` to its root anew.
    fn flip(&mut self, x: usize, y: usize) {
        let (mut x, mut y) = (x, y);
        loop {
            let mate = self.mate[x];
            self.set_mate(x, y);
            if mate == NONE {
                return;
            }
            let inner = self.top[mate];
            let outer = self.top[self.parent[inner]];
            self.set_mate(inner, outer);
            (x, y) = (outer, inner);
        }
    }

    /// By how much duals may shift before something new has no slack.
    fn next_shift(&self) -> Option<i64> {
        let spent = (self.n..self.all)
            .filter(|b| self.is_top(*b) && self.side[*b] == Side::Inner)
            .map(|b| self.dual[b] / 2);
        let reached = (0..self.all).filter(|x| self.is_top(*x) && self.nearest[*x] != NONE);
        let reached = reached.filter_map(|x| match self.side[x] {
            Side::Free => Some(self.bridge_slack(self.nearest[x], x)),
            Side::Outer => Some(self.bridge_slack(self.nearest[x], x) / 2),
            Side::Inner => None,
        });
        spent.chain(reached).min()
    }

    fn shift(&mut self, by: i64) {
        for u in 0..self.n {
            match self.side[self.top[u]] {
                Side::Outer => self.dual[u] -= by,
                Side::Inner => self.dual[u] += by,
                Side::Free => {}
            }
        }
        for b in self.n..self.all {
            if self.is_top(b) {
                match self.side[b] {
                    Side::Outer => self.dual[b] += 2 * by,
                    Side::Inner => self.dual[b] -= 2 * by,
                    Side::Free => {}
                }
            }
        }
    }

    /// Follows the edges that lost their slack; true if two trees met.
    fn follow_tight(&mut self) -> bool {
        for x in 0..self.all {
            let u = self.nearest[x];
            if !self.is_top(x) || u == NONE || self.top[u] == x || self.bridge_slack(u, x) != 0 {
                continue;
            }
            let (from, to) = self.bridge(u, x);
            if self.meet(from, to) {
                return true;
            }
        }
        false
    }
}

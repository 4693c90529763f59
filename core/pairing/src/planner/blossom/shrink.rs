//! Blossoms: odd rings that count as one vertex, until they open again.

use super::{NONE, Search, Side};

impl Search {
    /// Makes a blossom of the ring that the edge between `x` and `y` closes below `base`.
    pub(super) fn shrink(&mut self, x: usize, base: usize, y: usize) {
        let Some(blossom) = (self.n..self.all).find(|b| self.top[*b] == NONE) else { return };
        let mut ring = self.branch(x, base);
        ring.push(base);
        ring.reverse();
        ring.extend(self.branch(y, base));
        for petal in ring.iter().skip(1) {
            if self.side[*petal] == Side::Inner {
                self.enqueue(*petal);
            }
        }
        self.dual[blossom] = 0;
        self.side[blossom] = Side::Outer;
        self.mate[blossom] = self.mate[base];
        self.parent[blossom] = self.parent[base];
        self.passed[blossom] = 0;
        self.petals[blossom] = ring;
        self.set_top(blossom, blossom);
        self.build_bridges(blossom);
        self.find_nearest(blossom);
    }

    /// From the outer `x` up to below `base`, in that order.
    fn branch(&self, x: usize, base: usize) -> Vec<usize> {
        let mut found = Vec::new();
        let mut outer = x;
        while outer != base {
            let inner = self.top[self.mate[outer]];
            found.extend([outer, inner]);
            outer = self.top[self.parent[inner]];
        }
        found
    }

    pub(super) fn set_top(&mut self, x: usize, top: usize) {
        self.top[x] = top;
        if x >= self.n {
            for at in 0..self.petals[x].len() {
                self.set_top(self.petals[x][at], top);
            }
        }
    }

    /// The best edge between the blossom and everybody is the best of its petals'.
    fn build_bridges(&mut self, blossom: usize) {
        let (all, n) = (self.all, self.n);
        for at in 0..self.petals[blossom].len() {
            let petal = self.petals[blossom][at];
            for x in 0..all {
                let is_outside = self.top[x] != NONE && self.top[x] != blossom;
                let is_better =
                    |it: &Self| at == 0 || it.bridge_slack(petal, x) < it.bridge_slack(blossom, x);
                if is_outside && is_better(self) {
                    self.bridge[blossom * all + x] = self.bridge[petal * all + x];
                    self.bridge[x * all + blossom] = self.bridge[x * all + petal];
                }
            }
            let number = u32::try_from(petal).unwrap_or(u32::MAX);
            for v in 0..n {
                let is_inside =
                    petal == v || (petal >= n && self.petal_of[petal * n + v] != u32::MAX);
                if is_inside {
                    self.petal_of[blossom * n + v] = number;
                } else if at == 0 {
                    self.petal_of[blossom * n + v] = u32::MAX;
                }
            }
        }
    }

    /// Finds the outer vertex that is nearest to `x` anew.
    fn find_nearest(&mut self, x: usize) {
        self.nearest[x] = NONE;
        for u in 0..self.n {
            if self.top[u] != x && self.side[self.top[u]] == Side::Outer {
                self.offer(u, x);
            }
        }
    }

    /// Opens the inner blossoms whose duals are used up.
    pub(super) fn open_spent(&mut self) {
        for blossom in self.n..self.all {
            if self.is_top(blossom) && self.side[blossom] == Side::Inner && self.dual[blossom] == 0
            {
                self.open(blossom);
            }
        }
    }

    /// The petals on the even way from where the tree entered to the base stay in the
    /// tree, the others leave it.
    fn open(&mut self, blossom: usize) {
        for at in 0..self.petals[blossom].len() {
            let petal = self.petals[blossom][at];
            self.set_top(petal, petal);
        }
        let from = self.parent[blossom];
        let (entered, _) = self.bridge(blossom, from);
        let entry = self.petal_of(blossom, entered);
        let steps = self.turn_to(blossom, entry);
        let petals = std::mem::take(&mut self.petals[blossom]);
        for pair in petals.get(..steps).unwrap_or_default().chunks_exact(2) {
            let &[inner, outer] = pair else { continue };
            self.parent[inner] = self.bridge(outer, inner).0;
            self.side[inner] = Side::Inner;
            self.side[outer] = Side::Outer;
            self.nearest[inner] = NONE;
            self.find_nearest(outer);
            self.enqueue(outer);
        }
        self.side[entry] = Side::Inner;
        self.parent[entry] = from;
        self.nearest[entry] = NONE;
        for petal in petals.into_iter().skip(steps + 1) {
            self.side[petal] = Side::Free;
            self.find_nearest(petal);
        }
        self.top[blossom] = NONE;
    }

    /// Turns the ring so that `petal` lies an even number of steps from the base; answers
    /// with how many.
    fn turn_to(&mut self, blossom: usize, petal: usize) -> usize {
        let ring = &mut self.petals[blossom];
        let steps = ring.iter().position(|one| *one == petal).unwrap_or(0);
        if steps.is_multiple_of(2) {
            return steps;
        }
        if let Some(after_base) = ring.get_mut(1..) {
            after_base.reverse();
        }
        ring.len() - steps
    }

    /// Matches the outermost `x` along its best edge towards `y`; within a blossom the
    /// others are matched around the ring, and the petal that the edge leaves is the
    /// new base.
    pub(super) fn set_mate(&mut self, x: usize, y: usize) {
        let (from, to) = self.bridge(x, y);
        self.mate[x] = to;
        if x < self.n {
            return;
        }
        let petal = self.petal_of(x, from);
        let steps = self.turn_to(x, petal);
        for at in 0..steps {
            let (one, other) = (self.petals[x][at], self.petals[x][at ^ 1]);
            self.set_mate(one, other);
        }
        self.set_mate(petal, y);
        self.petals[x].rotate_left(steps);
    }
}

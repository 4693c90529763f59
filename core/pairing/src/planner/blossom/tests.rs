//! Against all matchings of small graphs, and by the duals' own proof for larger ones.

use proptest::prelude::*;

use super::*;

/// By trying all.
fn least(left: &[usize], cost: &impl Fn(usize, usize) -> i64) -> i64 {
    let Some((first, others)) = left.split_first() else { return 0 };
    let with = |at: usize| {
        let mut rest = others.to_vec();
        let partner = rest.remove(at);
        cost(*first, partner) + least(&rest, cost)
    };
    (0..others.len()).map(with).min().unwrap()
}

fn total(mates: &[usize], cost: impl Fn(usize, usize) -> i64) -> i64 {
    for (u, mate) in mates.iter().enumerate() {
        assert!(*mate != u && mates[*mate] == u, "{mates:?}");
    }
    mates.iter().enumerate().filter(|(u, v)| u < v).map(|(u, v)| cost(u, *v)).sum()
}

/// A number below `spread` for each edge.
fn drawn(seed: u64, spread: u64) -> impl Fn(usize, usize) -> i64 + Copy {
    move |u, v| {
        let edge = u.min(v) as u64 * 1_000_003 + u.max(v) as u64;
        let mixed = (edge ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        i64::try_from((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) % spread).unwrap()
    }
}

#[test]
fn nobody_is_matched_with_nobody() {
    assert_eq!(cheapest(0, |_, _| 1), Vec::<usize>::new());
    assert_eq!(cheapest(2, |_, _| 7), [1, 0]);
}

#[test]
fn two_odd_rings_need_the_dear_edge_between_them() {
    let cost = |u: usize, v: usize| if u / 3 == v / 3 { 1 } else { 100 };
    assert_eq!(total(&cheapest(6, cost), cost), 102);
}

impl Search {
    fn vertices(&self, x: usize) -> Vec<usize> {
        if x < self.n {
            return vec![x];
        }
        self.petals[x].iter().flat_map(|petal| self.vertices(*petal)).collect()
    }

    /// What no perfect matching is cheaper than, by the duals; fails if they prove nothing.
    fn bound(&self) -> i64 {
        let blossoms: Vec<_> = (self.n..self.all)
            .filter(|b| self.top[*b] != NONE)
            .map(|b| (self.dual[b], self.vertices(b)))
            .collect();
        let mut inside = vec![0; self.n * self.n];
        for (dual, vertices) in &blossoms {
            assert!(*dual >= 0 && vertices.len() % 2 == 1);
            for u in vertices {
                for v in vertices {
                    inside[u * self.n + v] += dual;
                }
            }
        }
        for u in 0..self.n {
            for v in (0..self.n).filter(|v| *v != u) {
                assert!(self.slack(u, v) + inside[u * self.n + v] >= 0);
            }
        }
        let of = |(dual, vertices): &(i64, Vec<usize>)| dual * (vertices.len() as i64 / 2);
        -self.dual[..self.n].iter().sum::<i64>() - blossoms.iter().map(of).sum::<i64>()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_other_matching_is_cheaper(half in 1_usize..6, spread in 1_u64..60, seed: u64) {
        let cost = drawn(seed, spread);
        let all: Vec<_> = (0..half * 2).collect();
        prop_assert_eq!(total(&cheapest(half * 2, cost), cost), least(&all, &cost));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_duals_prove_that_no_matching_of_many_is_cheaper(half in 5_usize..60, spread in 1_u64..3000, seed: u64) {
        let cost = drawn(seed, spread);
        let mut search = Search::new(half * 2, cost);
        search.begin();
        while search.augments() {}
        let mates = search.mate[..half * 2].to_vec();
        prop_assert_eq!(total(&mates, cost) * 4, search.bound());
    }
}

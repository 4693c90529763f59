//! Two nodes that nobody can dial are no pair: each would find the other through a third only.
//! Costs keep them apart; whatever a search leaves of them is mended here, so that it holds
//! for every search: none of them meet while two meet of which neither is hidden.

use super::board::pairs;

/// Lets pairs of two hidden sites exchange members with pairs without any, the cheaper way.
/// Nobody is not hidden: a spare takes one of the two, and the other becomes a spare.
pub(super) fn mend(
    mut mates: Vec<usize>,
    is_hidden: impl Fn(usize) -> bool,
    cost: impl Fn(usize, usize) -> i64,
) -> Vec<usize> {
    let of = |hidden: bool| -> Vec<_> {
        pairs(&mates).filter(|(a, b)| is_hidden(*a) == hidden && is_hidden(*b) == hidden).collect()
    };
    let (unmet, open) = (of(true), of(false));
    for ((a, b), (c, d)) in unmet.into_iter().zip(open) {
        let (one, other) = (cost(a, c) + cost(b, d), cost(a, d) + cost(b, c));
        let (c, d) = if other < one { (d, c) } else { (c, d) };
        for (from, to) in [(a, c), (c, a), (b, d), (d, b)] {
            if let Some(mate) = mates.get_mut(from) {
                *mate = to;
            }
        }
    }
    mates
}

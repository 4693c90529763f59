//! The rings of pairs that exchange members between two matchings.

use std::time::Duration;

use defs_core::ids::NodeId;

use super::today::Today;

/// One member of a pair is replaced; all are sites, the pair is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) pair: usize,
    pub(super) stays: usize,
    pub(super) leaves: usize,
    pub(super) joins: usize,
}

/// What changes from today to `next`, by rings: each pair once, with whom it keeps and whom
/// it takes. The ring of a spare is open: it begins with the pair that gives a spare and
/// ends with the one that takes the spare. Of the first pair of a closed ring the primary stays.
pub(super) fn rings<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(
    today: &Today<F>,
    next: &[usize],
) -> Vec<Vec<Step>> {
    let mate = |at: usize| next.get(at).copied().unwrap_or(at);
    let mut seen = vec![false; today.pairs.len()];
    let leaver =
        (0..next.len()).find(|at| today.is_nobody(mate(*at)) && !today.is_nobody(today.mate(*at)));
    let starts = today.pairs.iter().map(|(_, [_, mirror])| *mirror);
    let mut rings = Vec::new();
    for start in leaver.into_iter().chain(starts) {
        let mut ring = Vec::new();
        let mut leaves = start;
        while let Some((pair, _)) = today.pair_of(leaves) {
            let stays = today.mate(leaves);
            let joins = mate(stays);
            match seen.get_mut(pair) {
                Some(seen) if !*seen && joins != leaves => *seen = true,
                _ => break,
            }
            ring.push(Step { pair, stays, leaves, joins });
            leaves = joins;
        }
        if !ring.is_empty() {
            rings.push(ring);
        }
    }
    rings
}

/// The best exchange among the pairs of `ring` that changes two of them, or one with the
/// spare; none if today is better.
pub(super) fn best_swap<F: Fn(&NodeId, &NodeId) -> Option<Duration>>(
    today: &Today<F>,
    ring: &[Step],
) -> Option<Vec<Step>> {
    let mut best: Option<(i64, Vec<Step>)> = None;
    let mut offer = |gain: i64, steps: &dyn Fn() -> Vec<Step>| {
        if gain > best.as_ref().map_or(0, |(gain, _)| *gain) {
            best = Some((gain, steps()));
        }
    };
    let cost = |a: usize, b: usize| today.board.cost(a, b);
    let members = |step: &Step| today.pairs.get(step.pair).map(|(_, members)| *members);
    for (at, one) in ring.iter().enumerate() {
        let Some([a, b]) = members(one) else { continue };
        for two in ring.iter().skip(at + 1) {
            let Some([c, d]) = members(two) else { continue };
            let today = cost(a, b) + cost(c, d);
            for (joins, other) in [(c, d), (d, c)] {
                let gain = today - cost(a, joins) - cost(b, other);
                offer(gain, &|| {
                    let first = Step { pair: one.pair, stays: a, leaves: b, joins };
                    vec![first, Step { pair: two.pair, stays: other, leaves: joins, joins: b }]
                });
            }
        }
    }
    let spare = ring.iter().map(|step| step.joins).find(|at| today.pair_of(*at).is_none());
    let spare = spare.filter(|at| !today.is_nobody(*at));
    for (one, spare) in ring.iter().zip(std::iter::repeat(spare)) {
        let (Some([a, b]), Some(joins)) = (members(one), spare) else { continue };
        let nobody = today.mate(joins);
        for (stays, leaves) in [(a, b), (b, a)] {
            let before = cost(a, b) + cost(joins, nobody);
            let gain = before - cost(stays, joins) - cost(leaves, nobody);
            offer(gain, &|| vec![Step { pair: one.pair, stays, leaves, joins }]);
        }
    }
    best.map(|(_, steps)| steps)
}

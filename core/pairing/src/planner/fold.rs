//! The pairs from which a search begins: as far apart as the network allows.
//!
//! Sites are ordered by place, so those of one region stand together, within it those of
//! one zone, within it those of one host. Each is matched with the one half the row away:
//! two of one host (zone, region) meet only if it has more than half of all, and then as
//! many meet as in any plan.

use super::cost::Site;
use super::curve::Curve;

/// Partners for all sites, which are ordered by place and even in number, nobody at most
/// once and last.
pub(super) fn fold(sites: &[Site], curve: &Curve) -> Vec<usize> {
    let mut row: Vec<_> = (0..sites.len()).collect();
    let mut mates = vec![0; sites.len()];
    if sites.last().is_some_and(|site| site.is_nobody) {
        row.pop();
        let spare = row.remove(spare_of(sites, &row));
        join(&mut mates, spare, sites.len() - 1);
    }
    let second = row.split_off(row.len() / 2);
    let couples: Vec<_> = row.into_iter().zip(second).collect();
    for alike in couples.chunk_by(|one, other| meeting(sites, *one) == meeting(sites, *other)) {
        // Whoever of these meets whom, no host, zone or region meets itself more often: so
        // those meet that fit.
        let (mut first, mut second): (Vec<_>, Vec<_>) = alike.iter().copied().unzip();
        first.sort_by_key(|site| (curve.own(*site), *site));
        second.sort_by_key(|site| (curve.ideal(*site), *site));
        first.into_iter().zip(second).for_each(|(a, b)| join(&mut mates, a, b));
    }
    mates
}

fn join(mates: &mut [usize], a: usize, b: usize) {
    for (one, other) in [(a, b), (b, a)] {
        if let Some(mate) = mates.get_mut(one) {
            *mate = other;
        }
    }
}

/// The outermost places in which two sites differ.
fn meeting(sites: &[Site], (a, b): (usize, usize)) -> Option<[u32; 3]> {
    let (a, b) = (sites.get(a)?, sites.get(b)?);
    Some(if a.region != b.region {
        [0, a.region, b.region]
    } else if a.zone != b.zone {
        [1, a.zone, b.zone]
    } else {
        [2, a.host, b.host]
    })
}

/// Where in `row` the site stands without which the others stand farthest apart: one of a
/// host that has more than half of all, or else of such a zone, or region.
pub(super) fn spare_of(sites: &[Site], row: &[usize]) -> usize {
    let labels: [fn(&Site) -> u32; 3] = [|site| site.host, |site| site.zone, |site| site.region];
    for label in labels {
        let of = |at: usize| row.get(at).and_then(|site| sites.get(*site)).map(label);
        // Whoever has more than half of a sorted row stands in its middle.
        let middle = row.len() / 2;
        let size = (0..row.len()).filter(|at| of(*at) == of(middle)).count();
        if size > row.len() / 2 {
            return middle;
        }
    }
    row.len().saturating_sub(1)
}

//! For each node the few others that fit it best: what a local search looks at.
//!
//! Fits are near each other along a space-filling curve through capacity, bandwidth, idle
//! part and stability, each stretched by its weight. A node looks where its *ideal*
//! partner would be: the same in all but stability, where the unstable want the stable.

use std::time::Duration;

use super::cost::{Prices, Site};
use super::curve::{BITS, Curve, absent_of_two, interleaved};
use crate::score::Dimension;

/// Others that a node keeps. With ten the search takes twice as long and ends no better.
pub(super) const KEPT: usize = 6;

/// Others that are looked at on each side, along each curve.
const WINDOW: usize = 10;

/// The same curve, shifted: two that are near but on different sides of a bend of one curve
/// are seldom so in all.
const CURVES: u64 = 3;

/// By how much the next curve is shifted; no power of two, or all would bend alike.
const STEP: u64 = (1 << BITS) / CURVES;

/// Other regions (or zones, or hosts) in which a node looks too, so that there is always
/// somebody elsewhere among those that it knows.
const ELSEWHERE: usize = 4;

/// The lists.
#[derive(Debug)]
pub(super) struct Near {
    curve: Curve,
    /// By site: others with what a pair of the two costs, the fittest first.
    lists: Vec<Vec<(u32, i64)>>,
}

impl Near {
    pub(super) fn new(
        sites: &[Site],
        prices: &Prices,
        cost: impl Fn(usize, usize) -> i64,
        took: impl Fn(usize, usize) -> Option<Duration>,
    ) -> Self {
        let curve = Curve::new(sites, prices);
        let rows = Rows::new(sites, &curve);
        let is_measured = prices.of(Dimension::Latency) > 0
            && (1..sites.len()).any(|site| took(0, site).is_some());
        let by_round_trip =
            is_measured.then(|| Curve::by_round_trip(sites.len(), took)).map(|curve| {
                let rows = (0..CURVES).map(|turn| Row::new(0..sites.len(), &curve, turn * STEP));
                (rows.collect::<Vec<_>>(), curve)
            });
        let nobody = sites.iter().position(|site| site.is_nobody);
        let of_two = absent_of_two(sites);
        let own_parts: Vec<_> = sites.iter().map(|site| prices.own_part(site, of_two)).collect();
        let mut found = Vec::new();
        let lists = (0..sites.len()).map(|site| {
            found.clear();
            found.extend(nobody);
            rows.around(site, &curve, &mut found);
            if let Some((rows, curve)) = &by_round_trip
                && let Some(at) = curve.own.get(site)
            {
                rows.iter().for_each(|row| row.around(at, &mut found));
            }
            found.sort_unstable();
            found.dedup();
            let known = |other: &usize| {
                let cost = cost(site, *other);
                let own = own_parts.get(*other).copied().unwrap_or(0);
                (*other != site).then_some((cost - own, *other, cost))
            };
            let mut list: Vec<_> = found.iter().filter_map(known).collect();
            if list.len() > KEPT {
                list.select_nth_unstable(KEPT - 1);
                list.truncate(KEPT);
            }
            list.sort_unstable();
            let entry = |(_, other, cost)| (u32::try_from(other).unwrap_or(u32::MAX), cost);
            list.into_iter().map(entry).collect()
        });
        Self { lists: lists.collect(), curve }
    }

    /// The curve on which the lists were found.
    pub(super) fn curve(&self) -> &Curve {
        &self.curve
    }

    /// Who fits `site` best, with the cost, the fittest first.
    pub(super) fn of(&self, site: usize) -> impl Iterator<Item = (usize, i64)> {
        let list = self.lists.get(site).map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|(other, cost)| (*other as usize, *cost))
    }
}

/// Sites in the order of a curve.
struct Row {
    shift: u64,
    order: Vec<(u64, u32)>,
}

impl Row {
    fn new(sites: impl Iterator<Item = usize>, curve: &Curve, shift: u64) -> Self {
        let place = |site: usize| {
            let key = curve.own.get(site).map_or(0, |at| interleaved(at, shift));
            (key, u32::try_from(site).unwrap_or(u32::MAX))
        };
        let mut order: Vec<_> = sites.map(place).collect();
        order.sort_unstable();
        Self { shift, order }
    }

    fn around(&self, ideal: &[u64; 4], found: &mut Vec<usize>) {
        let at = self.order.partition_point(|(key, _)| *key < interleaved(ideal, self.shift));
        let to = at.saturating_add(WINDOW).min(self.order.len());
        let window = self.order.get(at.saturating_sub(WINDOW)..to).unwrap_or_default();
        found.extend(window.iter().map(|(_, other)| *other as usize));
    }
}

/// All sites along each curve, and those of each group along one.
struct Rows {
    all: Vec<Row>,
    by_group: Vec<Row>,
    group_of: Vec<usize>,
}

impl Rows {
    fn new(sites: &[Site], curve: &Curve) -> Self {
        let real = |site: &usize| sites.get(*site).is_some_and(|site| !site.is_nobody);
        let all = (0..CURVES)
            .map(|turn| Row::new((0..sites.len()).filter(real), curve, turn * STEP))
            .collect();
        let group_of = groups(sites);
        let count = group_of.iter().max().map_or(0, |last| last + 1);
        let mut members = vec![Vec::new(); count];
        for (site, group) in group_of.iter().enumerate().filter(|(site, _)| real(site)) {
            if let Some(members) = members.get_mut(*group) {
                members.push(site);
            }
        }
        let row = |members: Vec<usize>| Row::new(members.into_iter(), curve, 0);
        Self { all, by_group: members.into_iter().map(row).collect(), group_of }
    }

    /// Adds those around the ideal partner of `site`.
    fn around(&self, site: usize, curve: &Curve, found: &mut Vec<usize>) {
        let (Some(ideal), Some(group)) = (curve.ideal.get(site), self.group_of.get(site)) else {
            return;
        };
        self.all.iter().for_each(|row| row.around(ideal, found));
        let others = self.by_group.len().saturating_sub(1).min(ELSEWHERE);
        for step in 1..=others {
            if let Some(row) = self.by_group.get((group + step) % self.by_group.len()) {
                row.around(ideal, found);
            }
        }
    }
}

/// The group of each site: its region, or if there is only one its zone, or its host.
fn groups(sites: &[Site]) -> Vec<usize> {
    let by = |label: fn(&Site) -> u32| {
        let mut labels: Vec<_> = sites.iter().filter(|site| !site.is_nobody).map(label).collect();
        labels.sort_unstable();
        labels.dedup();
        let number = |site: &Site| labels.binary_search(&label(site)).unwrap_or(0);
        (labels.len(), sites.iter().map(number).collect::<Vec<_>>())
    };
    let labels: [fn(&Site) -> u32; 3] = [|site| site.region, |site| site.zone, |site| site.host];
    let found = labels.into_iter().map(by).find(|(count, _)| *count > 1);
    found.map_or_else(|| vec![0; sites.len()], |(_, groups)| groups)
}

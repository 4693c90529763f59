//! Evens out how full pairs are: the fewest bytes that bring all fills into one band of
//! five percent; then how busy they are, as far as that band leaves room.
//!
//! Where the band lies is free. Pairs above it must give, pairs below it must take, and
//! whatever the plan, at least the larger of the two sums must move. The higher the band,
//! the less must go and the more must come, so the best band is where both are equal: no
//! other plan moves less.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use defs_core::ids::PairId;
use serde::{Deserialize, Serialize};

mod load;

/// The width of the band, in millionths: below five percent, placement by room evens out by
/// itself what a few large files do.
const BAND_PPM: u64 = 50_000;

/// A pair as it is filled now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// Which.
    pub pair: PairId,
    /// Bytes that it can hold; more than 0, or it takes no part.
    pub capacity: u64,
    /// Bytes that it holds.
    pub used: u64,
    /// Of what was asked of its busier member, the part that it refused, in thousandths.
    pub busy_permille: u16,
}

/// Bytes that go from one pair to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// From here.
    pub from: PairId,
    /// To there.
    pub to: PairId,
    /// So many; never 0.
    pub bytes: u64,
}

/// What is to be moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Balance {
    /// For fill, from the fullest first; then for load, from the busiest first.
    pub shifts: Vec<Shift>,
    /// The fullest pair's fill less the emptiest one's, in thousandths.
    pub skew_before: u64,
    /// The same when all is moved.
    pub skew_after: u64,
    /// The busiest pair's load less the idlest one's, in thousandths.
    pub load_before: u64,
    /// The same when all is moved, if requests go with the bytes.
    pub load_after: u64,
    /// Bytes that should move too and are above the budget.
    pub left: u64,
}

impl Balance {
    /// Bytes that are moved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shifts.iter().map(|shift| shift.bytes).fold(0, u64::saturating_add)
    }
}

/// Plans at most `budget` bytes. The same pairs give the same plan in whatever order they come.
#[must_use]
pub fn balance(pairs: &[Filled], budget: u64) -> Balance {
    let mut pairs: Vec<_> = pairs.iter().filter(|pair| pair.capacity > 0).copied().collect();
    pairs.sort_by_key(|pair| pair.pair);
    pairs.dedup_by_key(|pair| pair.pair);
    let (skew_before, load_before) = (skew(&pairs), load::skew(&pairs));
    let low = best_low(&pairs);
    let mut changes = changes(&pairs, low);
    let needed = sum(changes.givers.iter().map(|(_, bytes)| *bytes));
    let roles = changes.roles();
    let mut shifts = matched(&mut changes, budget);
    shifts.iter().for_each(|shift| carry_out(&mut pairs, shift));
    let left = budget.saturating_sub(needed);
    shifts.extend(load::even_out(&mut pairs, low, left, roles));
    Balance {
        shifts,
        skew_before,
        skew_after: skew(&pairs),
        load_before,
        load_after: load::skew(&pairs),
        left: needed.saturating_sub(budget),
    }
}

/// Moves the bytes of a shift, and the requests for them.
fn carry_out(pairs: &mut [Filled], shift: &Shift) {
    let giver = pairs.iter().find(|pair| pair.pair == shift.from);
    let load = giver.map_or(0, |giver| load::load_of(giver, shift.bytes));
    for pair in pairs {
        if pair.pair == shift.from {
            pair.used = pair.used.saturating_sub(shift.bytes);
            pair.busy_permille = pair.busy_permille.saturating_sub(load);
        } else if pair.pair == shift.to {
            pair.used = pair.used.saturating_add(shift.bytes);
            pair.busy_permille = pair.busy_permille.saturating_add(load);
        }
    }
}

fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

/// A pair's fill in millionths.
fn fill(pair: &Filled) -> u64 {
    let part = u128::from(pair.used) * 1_000_000;
    part.checked_div(u128::from(pair.capacity))
        .map_or(0, |ppm| u64::try_from(ppm).unwrap_or(u64::MAX))
}

fn skew(pairs: &[Filled]) -> u64 {
    let fills = || pairs.iter().map(fill);
    fills().max().unwrap_or(0).saturating_sub(fills().min().unwrap_or(0)) / 1000
}

/// Bytes of a pair at a fill, in millionths.
fn at(pair: &Filled, ppm: u64) -> u64 {
    let bytes = u128::from(pair.capacity) * u128::from(ppm) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What a pair has above the band, and what it lacks to it.
fn outside(pair: &Filled, low: u64) -> (u64, u64) {
    let above = pair.used.saturating_sub(at(pair, low.saturating_add(BAND_PPM)));
    (above, at(pair, low).saturating_sub(pair.used))
}

fn needs(pairs: &[Filled], low: u64) -> (u64, u64) {
    let above = sum(pairs.iter().map(|pair| outside(pair, low).0));
    (above, sum(pairs.iter().map(|pair| outside(pair, low).1)))
}

/// The lower end of the band for which the fewest bytes must move, in millionths.
fn best_low(pairs: &[Filled]) -> u64 {
    let fills = || pairs.iter().map(fill);
    let (lowest, highest) = (fills().min().unwrap_or(0), fills().max().unwrap_or(0));
    let above = highest.saturating_sub(BAND_PPM);
    if above <= lowest {
        // All are in a band already: in its middle there is the most room for load.
        return above.midpoint(lowest);
    }
    let (mut low, mut high) = (0, highest);
    while low < high {
        let middle = low.midpoint(high);
        let (above, below) = needs(pairs, middle);
        if below >= above { high = middle } else { low = middle + 1 }
    }
    let moved = |low: u64| {
        let (above, below) = needs(pairs, low);
        above.max(below)
    };
    let before = low.saturating_sub(1);
    if moved(before) <= moved(low) { before } else { low }
}

/// Who gives and who takes how much; both sums are the same but for rounding.
struct Changes {
    givers: Vec<(PairId, u64)>,
    takers: Vec<(PairId, u64)>,
}

impl Changes {
    fn roles(&self) -> BTreeMap<PairId, bool> {
        let givers = self.givers.iter().map(|(pair, _)| (*pair, true));
        givers.chain(self.takers.iter().map(|(pair, _)| (*pair, false))).collect()
    }
}

fn changes(pairs: &[Filled], low: u64) -> Changes {
    let (above, below) = needs(pairs, low);
    let mut order: Vec<_> = pairs.iter().collect();
    // Who takes what nobody must take: the idle first, among them the emptiest.
    order.sort_by_key(|pair| (pair.busy_permille, fill(pair), pair.pair));
    let mut rest = above.saturating_sub(below);
    let mut takers = Vec::new();
    for pair in &order {
        let must = outside(pair, low).1;
        let most = at(pair, low.saturating_add(BAND_PPM)).saturating_sub(pair.used);
        let more = rest.min(most.saturating_sub(must));
        rest -= more;
        takers.push((*pair, must.saturating_add(more)));
    }
    // Who gives what nobody must give: the busy first, among them the fullest.
    let mut rest = below.saturating_sub(above);
    let mut givers = Vec::new();
    for pair in order.iter().rev() {
        let must = outside(pair, low).0;
        let most = pair.used.saturating_sub(at(pair, low));
        let more = rest.min(most.saturating_sub(must));
        rest -= more;
        givers.push((*pair, must.saturating_add(more)));
    }
    givers.sort_by_key(|(pair, _)| (Reverse(fill(pair)), pair.pair));
    takers.sort_by_key(|(pair, _)| (fill(pair), pair.pair));
    let named = |list: Vec<(&Filled, u64)>| {
        let some = list.into_iter().filter(|(_, bytes)| *bytes > 0);
        some.map(|(pair, bytes)| (pair.pair, bytes)).collect()
    };
    Changes { givers: named(givers), takers: named(takers) }
}

/// The fullest give to the emptiest: fewer shifts than there are givers and takers.
fn matched(changes: &mut Changes, budget: u64) -> Vec<Shift> {
    let mut shifts = Vec::new();
    let mut left = budget;
    let mut takers = changes.takers.iter_mut().peekable();
    for (from, gives) in &mut changes.givers {
        while *gives > 0 && left > 0 {
            let Some((to, takes)) = takers.peek_mut() else { return shifts };
            let bytes = (*gives).min(*takes).min(left);
            *gives -= bytes;
            *takes -= bytes;
            left -= bytes;
            shifts.push(Shift { from: *from, to: *to, bytes });
            if *takes == 0 {
                takers.next();
            }
        }
    }
    shifts
}

impl fmt::Display for Balance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |permille: u64| format!("{}.{} %", permille / 10, permille % 10);
        let (before, after) = (percent(self.skew_before), percent(self.skew_after));
        write!(out, "skew {before} → {after}, {} MiB to move", self.bytes() >> 20)?;
        if self.load_before != self.load_after {
            let (before, after) = (percent(self.load_before), percent(self.load_after));
            write!(out, ", load skew {before} → {after}")?;
        }
        if self.left > 0 {
            write!(out, ", {} MiB more later", self.left >> 20)?;
        }
        for Shift { from, to, bytes } in &self.shifts {
            write!(out, "\n  {from} → {to}: {} MiB", bytes >> 20)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

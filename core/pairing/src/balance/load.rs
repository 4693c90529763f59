//! Evens out how busy pairs are, as far as the band of fills leaves room: the busiest gives
//! bytes to the idlest, and with them the requests for these.

use std::collections::BTreeMap;

use defs_core::ids::PairId;

use super::{BAND_PPM, Filled, Shift, at, carry_out};

/// The width of the band of load, in thousandths: as that of fills.
const BAND_PERMILLE: u64 = BAND_PPM / 1000;

/// Shifts for load that one plan may hold, by pair: each brings one of two pairs to the end
/// of its room or both into the band, so that two suffice.
const SHIFTS_A_PAIR: usize = 2;

/// The difference between the busiest and the idlest, in thousandths.
pub(super) fn skew(pairs: &[Filled]) -> u64 {
    let busy = || pairs.iter().map(|pair| u64::from(pair.busy_permille));
    busy().max().unwrap_or(0).saturating_sub(busy().min().unwrap_or(0))
}

/// Shifts of at most `budget` bytes between `pairs`, which are changed by them. `roles` says
/// who gives (`true`) or takes already: bytes never go in and out of one pair.
pub(super) fn even_out(
    pairs: &mut [Filled],
    low: u64,
    mut budget: u64,
    mut roles: BTreeMap<PairId, bool>,
) -> Vec<Shift> {
    let mut shifts = Vec::new();
    for _ in 0..pairs.len().saturating_mul(SHIFTS_A_PAIR) {
        let may = |pair: &PairId, gives: bool| roles.get(pair).is_none_or(|role| *role == gives);
        let giver = pairs.iter().filter(|it| may(&it.pair, true) && spare(it, low) > 0);
        let giver = giver.max_by_key(|it| (it.busy_permille, it.pair)).copied();
        let taker = pairs.iter().filter(|it| may(&it.pair, false) && room(it, low) > 0);
        let taker = taker.min_by_key(|it| (it.busy_permille, it.pair)).copied();
        let (Some(giver), Some(taker)) = (giver, taker) else { break };
        let bytes = wanted(&giver, &taker).min(spare(&giver, low)).min(room(&taker, low));
        let bytes = bytes.min(budget);
        if load_of(&giver, bytes) == 0 {
            break;
        }
        let shift = Shift { from: giver.pair, to: taker.pair, bytes };
        carry_out(pairs, &shift);
        budget -= bytes;
        roles.extend([(giver.pair, true), (taker.pair, false)]);
        shifts.push(shift);
    }
    shifts
}

/// Bytes that a pair may give and stay in the band of fills.
fn spare(pair: &Filled, low: u64) -> u64 {
    pair.used.saturating_sub(at(pair, low))
}

/// Bytes that a pair may take and stay in the band, and below its capacity.
fn room(pair: &Filled, low: u64) -> u64 {
    at(pair, low.saturating_add(BAND_PPM)).min(pair.capacity).saturating_sub(pair.used)
}

/// Bytes that carry half of what the two differ by above the band.
fn wanted(giver: &Filled, taker: &Filled) -> u64 {
    let [busy, idle] = [giver, taker].map(|pair| u64::from(pair.busy_permille));
    let load = busy.saturating_sub(idle).saturating_sub(BAND_PERMILLE).div_ceil(2);
    let bytes = (u128::from(giver.used) * u128::from(load)).div_ceil(u128::from(busy.max(1)));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The load that goes with `bytes` of a pair: each byte is asked for as often as any other.
pub(super) fn load_of(pair: &Filled, bytes: u64) -> u16 {
    let load = u128::from(pair.busy_permille) * u128::from(bytes);
    let load = load.checked_div(u128::from(pair.used)).unwrap_or(0);
    u16::try_from(load).unwrap_or(u16::MAX)
}

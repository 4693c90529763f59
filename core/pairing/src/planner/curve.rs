//! Where nodes stand along space-filling curves: who is near along one costs little to
//! pair.

use std::time::Duration;

use super::cost::{Prices, Site};
use crate::score::Dimension;

/// Round trips beyond this, half a second, are all alike.
const FARTHEST_US: u64 = 500_000;

/// Bits of a coordinate.
pub(super) const BITS: u32 = 12;

/// Where each site stands on the curves, and where its ideal partner would.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) own: Vec<[u64; 4]>,
    pub(super) ideal: Vec<[u64; 4]>,
}

impl Curve {
    pub(super) fn new(sites: &[Site], prices: &Prices) -> Self {
        let own: Vec<_> = sites.iter().map(|site| coordinates(site, prices, site.absent)).collect();
        let of_two = absent_of_two(sites);
        let mirrored = |site: &Site| coordinates(site, prices, of_two.saturating_sub(site.absent));
        let mut curve = Self { ideal: sites.iter().map(mirrored).collect(), own };
        curve.fit();
        curve
    }

    /// Brings all coordinates below 2¹² by one common scale.
    fn fit(&mut self) {
        let all = || self.own.iter().chain(&self.ideal);
        let mut least = [u64::MAX; 4];
        for at in all() {
            least = std::array::from_fn(|axis| least[axis].min(at[axis]));
        }
        let most = all().flatten().max().copied().unwrap_or(0);
        let shift = (u64::BITS - most.leading_zeros()).saturating_sub(BITS);
        for at in self.own.iter_mut().chain(&mut self.ideal) {
            *at = std::array::from_fn(|axis| (at[axis] - least[axis]) >> shift);
        }
    }

    /// By round trips to a few landmarks: who is near to another is as far from all of
    /// them. Each next landmark is the farthest from those before it.
    pub(super) fn by_round_trip(
        count: usize,
        took: impl Fn(usize, usize) -> Option<Duration>,
    ) -> Self {
        let micros = |from: usize, to: usize| {
            let took = if from == to { Some(Duration::ZERO) } else { took(from, to) };
            took.map_or(0, |took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
        };
        let mut own = vec![[0; 4]; count];
        let mut nearest = vec![u64::MAX; count];
        let mut landmark = 0;
        for axis in 0..4 {
            for (site, (at, nearest)) in own.iter_mut().zip(&mut nearest).enumerate() {
                let far = micros(landmark, site).min(FARTHEST_US);
                if let Some(at) = at.get_mut(axis) {
                    *at = far;
                }
                *nearest = far.min(*nearest);
            }
            let far = nearest.iter().enumerate().max_by_key(|(site, far)| (**far, *site));
            landmark = far.map_or(0, |(site, _)| site);
        }
        let mut curve = Self { ideal: own.clone(), own };
        curve.fit();
        curve
    }

    /// Where the site itself stands.
    pub(super) fn own(&self, site: usize) -> u64 {
        self.own.get(site).map_or(0, |at| interleaved(at, 0))
    }

    /// Where its partner would best stand.
    pub(super) fn ideal(&self, site: usize) -> u64 {
        self.ideal.get(site).map_or(0, |at| interleaved(at, 0))
    }
}

/// Twice the mean of what sites lack in stability: what two partners lack together when the
/// worst are with the best.
pub(super) fn absent_of_two(sites: &[Site]) -> u64 {
    let count = u64::try_from(sites.len()).unwrap_or(u64::MAX);
    let sum: u64 = sites.iter().map(|site| site.absent).sum();
    (2 * sum).checked_div(count).unwrap_or(0)
}

/// Distances along each axis are, but for a factor, what they cost.
fn coordinates(site: &Site, prices: &Prices, absent: u64) -> [u64; 4] {
    let price = |dimension| prices.of(dimension) >> 8;
    [
        price(Dimension::Capacity) * site.size,
        price(Dimension::Bandwidth) * site.bandwidth,
        price(Dimension::Load) * site.idle,
        price(Dimension::Stability) * absent / 4,
    ]
}

/// The bits of all four in turn.
pub(super) fn interleaved(at: &[u64; 4], shift: u64) -> u64 {
    let spread = |value: u64| {
        (0..=BITS + 1).fold(0_u64, |spread, bit| spread | (((value >> bit) & 1) << (bit * 4)))
    };
    let [a, b, c, d] = at.map(|value| spread(value + shift));
    a | b << 1 | c << 2 | d << 3
}

//! Points, and the integer arithmetic by which measurements become points: the same on
//! every machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 0 is the worst that was ever useful, 1,000 is as good as it helps to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Points(u16);

impl Points {
    /// Nothing worse.
    pub const NONE: Self = Self(0);
    /// What is not measured yet counts as: a new node neither wins nor loses by being new.
    pub const UNKNOWN: Self = Self(500);
    /// Nothing better.
    pub const FULL: Self = Self(1000);

    /// `points`, or 1,000 if it is more.
    #[must_use]
    pub fn at_most_full(points: u64) -> Self {
        Self(u16::try_from(points.min(1000)).unwrap_or(1000))
    }

    /// `part` of `whole`; unknown if there is no whole.
    #[must_use]
    pub fn share(part: u64, whole: u64) -> Self {
        match u128::from(part.min(whole)).saturating_mul(1000).checked_div(u128::from(whole)) {
            Some(points) => Self::at_most_full(u64::try_from(points).unwrap_or(1000)),
            None => Self::UNKNOWN,
        }
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// What is missing to full.
    #[must_use]
    pub fn missing(self) -> u16 {
        1000 - self.0
    }

    /// Half of each.
    #[must_use]
    pub fn mean(self, other: Self) -> Self {
        Self(self.0.midpoint(other.0))
    }

    /// Draws points of few measurements towards unknown: eight measurements weigh as much
    /// as none did, so that one lucky transfer makes no champion.
    #[must_use]
    pub fn sure_of(self, measurements: u32) -> Self {
        const DOUBT: u64 = 8;
        let count = u64::from(measurements.min(1000));
        let sum = u64::from(Self::UNKNOWN.0) * DOUBT + u64::from(self.0) * count;
        Self::at_most_full(sum / (DOUBT + count))
    }
}

impl TryFrom<u16> for Points {
    type Error = String;
    fn try_from(points: u16) -> Result<Self, String> {
        if points <= 1000 {
            Ok(Self(points))
        } else {
            Err(format!("{points} is above 1000 points"))
        }
    }
}

impl From<Points> for u16 {
    fn from(points: Points) -> Self {
        points.0
    }
}

impl fmt::Display for Points {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The logarithm to base two of `value`, in thousandths, rounded down; 0 for 0.
#[must_use]
pub(crate) fn log2_milli(value: u64) -> u64 {
    let Some(whole) = value.checked_ilog2() else { return 0 };
    // The mantissa in 1.63 fixed point; each squaring brings out one more binary digit.
    let mut mantissa = u128::from(value) << (63 - whole);
    let mut fraction = 0_u64;
    for _ in 0..16 {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            fraction |= 1;
        }
    }
    u64::from(whole) * 1000 + ((fraction * 1000) >> 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_logarithm_is_exact_at_powers_and_close_between() {
        for power in 0..64_u64 {
            assert_eq!(log2_milli(1 << power), power * 1000);
        }
        assert_eq!(log2_milli(0), 0);
        assert_eq!(log2_milli(3), 1584);
        assert_eq!(log2_milli(10), 3321);
        assert_eq!(log2_milli(1_000_000), 19_931);
        assert_eq!(log2_milli(u64::MAX), 63_999);
    }

    #[test]
    fn few_measurements_stay_near_the_middle() {
        assert_eq!(Points::FULL.sure_of(0), Points::UNKNOWN);
        assert_eq!(Points::FULL.sure_of(8), Points(750));
        assert_eq!(Points::NONE.sure_of(792), Points(5));
    }

    #[test]
    fn more_than_full_is_refused() {
        assert_eq!(Points::try_from(1000), Ok(Points::FULL));
        assert_eq!(Points::try_from(1001), Err("1001 is above 1000 points".to_owned()));
    }

    proptest! {
        #[test]
        fn the_logarithm_never_falls(a: u64, b: u64) {
            prop_assert!(log2_milli(a.min(b)) <= log2_milli(a.max(b)));
        }

        #[test]
        fn a_share_is_never_more_than_the_whole(part: u64, whole in 1_u64..) {
            let points = u128::from(part.min(whole)) * 1000 / u128::from(whole);
            prop_assert_eq!(u128::from(Points::share(part, whole).get()), points);
        }
    }
}

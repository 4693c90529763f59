//! How long a partner that came back must be heard before it is trusted again: at once
//! the first time, longer each time that it comes and goes, never longer than a minute
//! of beats.

use std::time::Duration;

use defs_core::format::{Format, FormatError, Reader, Writer};

/// After so long without another return, half as many count. A partner that flapped
/// through a bad ten minutes is like any other after an hour.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// What one return adds, in thousandths.
const ONE: u32 = 1000;

/// Returns that count at most, in thousandths.
const MOST: u32 = 5 * ONE;

/// Returns of the partner, smoothed: each counts less as time passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Returns {
    milli: u32,
    at: Duration,
}

impl Returns {
    /// Counts a return.
    pub(crate) fn count(&mut self, at: Duration) {
        self.milli = self.milli_at(at).saturating_add(ONE).min(MOST);
        self.at = at;
    }

    /// The smoothed count, in thousandths of a return.
    pub(crate) fn milli_at(&self, at: Duration) -> u32 {
        let passed = at.saturating_sub(self.at).as_millis();
        let half = HALF_LIFE.as_millis();
        let halves = u32::try_from(passed / half).unwrap_or(u32::MAX);
        let whole = self.milli.checked_shr(halves).unwrap_or(0);
        // Straight between two halvings: close to the curve, and no floating point.
        let rest = u128::from(whole) * (passed % half) / (2 * half);
        whole.saturating_sub(u32::try_from(rest).unwrap_or(whole))
    }

    /// How long the partner must be heard: no beat, 1, 3, 7, 15, 31 heartbeats.
    pub(super) fn probation(&self, heartbeat: Duration, at: Duration) -> Duration {
        let times = (self.milli_at(at).saturating_add(ONE / 2) / ONE).min(MOST / ONE);
        heartbeat.saturating_mul((1_u32 << times) - 1)
    }
}

impl Format for Returns {
    const NAME: &'static str = "returns";
    fn write(&self, out: &mut Writer) {
        out.u32(self.milli);
        out.u64(u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let milli = input.u32("returns")?;
        let at = Duration::from_millis(input.u64("last return")?);
        if milli > MOST {
            return Err(FormatError::Invalid("returns"));
        }
        Ok(Self { milli, at })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEAT: Duration = Duration::from_secs(2);

    #[test]
    fn each_return_within_minutes_doubles_the_probation_up_to_a_minute() {
        let mut returns = Returns::default();
        let mut waits = Vec::new();
        for second in 0..7 {
            waits.push(returns.probation(BEAT, Duration::from_secs(second)).as_secs());
            returns.count(Duration::from_secs(second));
        }
        assert_eq!(waits, [0, 2, 6, 14, 30, 62, 62]);
    }

    #[test]
    fn an_hour_of_calm_makes_good() {
        let mut returns = Returns::default();
        (0..5).for_each(|_| returns.count(Duration::ZERO));
        assert_eq!(returns.milli_at(HALF_LIFE), 2500);
        assert_eq!(returns.milli_at(HALF_LIFE * 3 / 2), 1875);
        assert_eq!(returns.probation(BEAT, Duration::from_secs(3600)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn calm_never_makes_worse(counts in 0_u32..8, early in 0_u64..100_000, later in 0_u64..100_000) {
            let mut returns = Returns::default();
            (0..counts).for_each(|_| returns.count(Duration::ZERO));
            let [early, later] = [early.min(later), early.max(later)].map(Duration::from_secs);
            prop_assert!(returns.milli_at(later) <= returns.milli_at(early));
        }
    }
}

//! Moments, as they come in from a clock and stand in sessions and time locks.

use std::fmt;
use std::time::Duration;

use defs_core::port::UnixMillis;

/// By how much two honest clocks may differ: every check that compares times gives this
/// much to whoever asks.
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// A moment: milliseconds since the start of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The moment this many milliseconds after the start of 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment this many seconds after the start of 1970; the latest moment there is
    /// when they are too many.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the start of 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the start of 1970.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `wait` later; the latest moment there is when that is too far.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// What a clock says.
impl From<UnixMillis> for UnixTime {
    fn from(now: UnixMillis) -> Self {
        Self(now.0)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Unix time {}.{:03}", self.seconds(), self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_shows_seconds_and_never_overflows() {
        assert_eq!(UnixTime::from_millis(12_007).to_string(), "Unix time 12.007");
        assert_eq!(UnixTime::from_seconds(u64::MAX).after(CLOCK_SKEW).millis(), u64::MAX);
        assert_eq!(UnixTime::from_seconds(1).after(CLOCK_SKEW), UnixTime::from_seconds(301));
    }
}

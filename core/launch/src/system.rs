//! The machine's clock and its randomness.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use defs_core::port::{Clock, Randomness, UnixMillis};
use tokio::time::Instant;

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose elapsed time begins now. Tokio's instant, so that elapsed time and
    /// sleeps agree when a test pauses time.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
    fn now(&self) -> UnixMillis {
        // A machine whose date is before 1970 gets 1970: every signature check then says
        // that its clock is off.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Randomness for OsRandom {
    #[expect(clippy::expect_used, reason = "without randomness no key may be made: better to end")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn elapsed_time_grows_by_what_was_slept() {
        let clock = SystemClock::new();
        let before = clock.elapsed();
        clock.sleep(Duration::from_secs(3)).await;
        assert_eq!(clock.elapsed() - before, Duration::from_secs(3));
    }

    #[tokio::test]
    async fn the_date_is_of_this_century() {
        let year_2020 = UnixMillis(1_577_836_800_000);
        let year_2100 = UnixMillis(4_102_444_800_000);
        let now = SystemClock::new().now();
        assert!(now > year_2020 && now < year_2100, "{now:?}");
    }

    #[test]
    fn two_draws_differ_and_fill_the_whole_array() {
        let (one, other): ([u8; 64], [u8; 64]) = (OsRandom.array(), OsRandom.array());
        assert_ne!(one, other);
        // 2^-256 for a fair source.
        assert!(one[32..] != [0; 32] && one[..32] != [0; 32]);
    }
}

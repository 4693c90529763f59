//! How fast background copying may go.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use defs_core::port::Clock;

/// Bytes a second for all copies of this node together.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When what was spent so far has been paid for.
    paid_at: Mutex<Duration>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Mutex::default() }
    }

    /// Waits until `bytes` more may follow.
    pub(crate) async fn spend(&self, bytes: u64, clock: &impl Clock) {
        let wait = self.wait_for(bytes, clock.elapsed());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
    }

    fn wait_for(&self, bytes: u64, now: Duration) -> Duration {
        let nanos =
            u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now).saturating_add(cost);
        paid_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_wait_for_what_all_before_them_cost() {
        let pace = Pace::new(1000);
        let now = Duration::from_secs(5);
        assert_eq!(pace.wait_for(500, now), Duration::from_millis(500));
        assert_eq!(pace.wait_for(500, now), Duration::from_secs(1));
        // Idle time isn't saved up.
        let later = Duration::from_secs(60);
        assert_eq!(pace.wait_for(1000, later), Duration::from_secs(1));
    }
}

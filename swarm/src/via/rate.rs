//! How many bytes a second go through, whoever they are of.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What was not used may be used so much later: longer than timers are late, so that a
/// steady flow reaches the rate.
const CREDIT: Duration = Duration::from_millis(50);

/// A number of bytes a second. Whoever takes some waits until all that were taken before
/// have had their time.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_a_second: u32,
    /// When all that was taken so far has had its time.
    until: Mutex<Instant>,
}

impl Rate {
    pub(crate) fn new(bytes_a_second: u32) -> Self {
        Self { bytes_a_second, until: Mutex::new(Instant::now()) }
    }

    /// Returns when `bytes` more may go.
    pub(crate) async fn take(&self, bytes: usize) {
        let now = Instant::now();
        let begins = self.reserve(bytes, now);
        if begins > now {
            sleep_until(begins).await;
        }
    }

    fn reserve(&self, bytes: usize, now: Instant) -> Instant {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let takes =
            Duration::from_secs(1).mul_f64(f64::from(bytes) / f64::from(self.bytes_a_second));
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let begins = (*until).max(earliest);
        *until = begins + takes;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_for_what_all_before_them_took_and_an_idle_time_is_not_saved_up() {
        let rate = Rate::new(1000);
        let began = Instant::now();
        for _ in 0..10 {
            rate.take(100).await;
        }
        // The last hundred go when those before them have had their time.
        assert_eq!(began.elapsed().as_millis(), 900);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        for _ in 0..10 {
            rate.take(100).await;
        }
        assert_eq!(began.elapsed().as_millis(), 900 - CREDIT.as_millis());
    }
}

//! A clock for each node: time runs the same for all, the date may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use defs_core::port::{Clock, UnixMillis};
use tokio::time::Instant;

pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);

#[derive(Debug, Clone)]
pub(crate) struct TestClock {
    began: Instant,
    ahead_ms: Arc<AtomicU64>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), ahead_ms: Arc::default() }
    }

    /// Another clock, which is right, and stays so when this one is set.
    pub(crate) fn another(&self) -> Self {
        Self { began: self.began, ahead_ms: Arc::default() }
    }

    /// Sets the date so far ahead of the right one.
    pub(crate) fn set_ahead(&self, by: Duration) {
        self.ahead_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        UnixMillis(START.0 + elapsed + self.ahead_ms.load(Ordering::Relaxed))
    }
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

//! A machine that may be switched off, stand still or have a wrong date, and the clock of
//! what runs on it.
//!
//! A process that ends at once can't be had by asking it to: its tasks stop where they
//! wait for a port. So every port of a machine that is off never answers again, and a
//! machine that is switched on again is another [`Host`].

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::port::{Clock, UnixMillis};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// The date at the beginning of time.
pub const FIRST_DATE: UnixMillis = UnixMillis(1_800_000_000_000);

/// What draws what happens by chance, and hears what happened.
pub trait Nature: Send + Sync + 'static {
    /// A number below `bound`, 0 if that is 0.
    fn draw(&self, bound: u64) -> u64;

    /// Something happened.
    fn note(&self, event: fmt::Arguments<'_>);

    /// Whether something happens that does so `permille` times in a thousand.
    fn happens(&self, permille: u64) -> bool {
        permille > 0 && self.draw(1000) < permille
    }
}

/// Nothing happens by chance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calm;

impl Nature for Calm {
    fn draw(&self, _: u64) -> u64 {
        0
    }

    fn note(&self, _: fmt::Arguments<'_>) {}
}

/// One life of a machine: from when it is switched on until it is off.
#[derive(Debug)]
pub struct Host {
    life: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    stalled_until: Instant,
    ahead_ms: i64,
    writes_left: Option<u32>,
}

impl Host {
    /// A machine whose clock shows [`FIRST_DATE`] at `began`, and `ahead_ms` more.
    #[must_use]
    pub fn on(began: Instant, ahead_ms: i64) -> Arc<Self> {
        let state = State { began, stalled_until: began, ahead_ms, writes_left: None };
        Arc::new(Self { life: CancellationToken::new(), state: Mutex::new(state) })
    }

    /// It is off at once, for ever.
    pub fn switch_off(&self) {
        self.life.cancel();
    }

    /// Whether it still runs.
    pub fn is_on(&self) -> bool {
        !self.life.is_cancelled()
    }

    /// Ends with the machine.
    pub fn life(&self) -> &CancellationToken {
        &self.life
    }

    /// Nothing on it gets on for `time` from now.
    pub fn stall(&self, time: Duration) {
        self.state().stalled_until = Instant::now() + time;
    }

    /// Sets the date so far from the right one.
    pub fn set_ahead(&self, millis: i64) {
        self.state().ahead_ms = millis;
    }

    /// How far its date is from the right one.
    pub fn ahead(&self) -> i64 {
        self.state().ahead_ms
    }

    /// It is switched off in the middle of its write number `writes` from now, from 0.
    pub fn switch_off_at_write(&self, writes: u32) {
        self.state().writes_left = Some(writes);
    }

    /// It is not switched off at any write.
    pub fn bear_writes(&self) {
        self.state().writes_left = None;
    }

    /// Whether the write that begins now is the one in which it ends.
    pub(crate) fn is_last_write(&self) -> bool {
        let mut state = self.state();
        match state.writes_left {
            None => false,
            Some(0) => true,
            Some(left) => {
                state.writes_left = Some(left - 1);
                false
            }
        }
    }

    /// Returns when the machine gets on: at once, after its stall, or never.
    pub async fn gets_on(&self) {
        while self.is_on() {
            let until = self.state().stalled_until;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
        pending().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of a machine.
#[derive(Debug, Clone)]
pub struct HostClock(pub Arc<Host>);

impl Clock for HostClock {
    fn now(&self) -> UnixMillis {
        let state = self.0.state();
        let elapsed = u64::try_from(state.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        UnixMillis(FIRST_DATE.0.saturating_add(elapsed).saturating_add_signed(state.ahead_ms))
    }

    fn elapsed(&self) -> Duration {
        self.0.state().began.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        sleep(time).await;
        self.0.gets_on().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stall_delays_what_was_due_and_off_is_for_ever() {
        let host = Host::on(Instant::now(), 0);
        let (clock, began) = (HostClock(Arc::clone(&host)), Instant::now());
        host.stall(Duration::from_secs(5));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(6));
        host.switch_off();
        let slept = timeout(Duration::from_hours(1), clock.sleep(Duration::from_secs(1))).await;
        assert!(slept.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_date_jumps_and_time_does_not() {
        let host = Host::on(Instant::now(), -1000);
        let clock = HostClock(Arc::clone(&host));
        assert_eq!(clock.now().0, FIRST_DATE.0 - 1000);
        sleep(Duration::from_secs(3)).await;
        host.set_ahead(60_000);
        assert_eq!(clock.now().0, FIRST_DATE.0 + 63_000);
        assert_eq!(clock.elapsed(), Duration::from_secs(3));
    }
}

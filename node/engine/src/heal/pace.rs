//! How fast background copying may go: as fast as was asked for, and slower while those whom
//! the node serves have to wait for it, or whatever else runs on the machine.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defs_core::port::Clock;

/// Reads may take half as long again as usual before copying slows down. Averages of noisy
/// times are compared here; a reader is to notice a fifth at most.
const SLOWER: f64 = 1.5;

/// Differences below that are the machine's, not copying's.
const NOISE: f64 = 200e-6;

/// By each read that took too long copying slows down by so much, and by each that didn't it
/// speeds up again by less.
const DOWN: f64 = 0.95;
const UP: f64 = 1.02;

/// A copy whose timer wakes it so late, in seconds, shares its processors with others who
/// want them: ten times what a timer is late by on an idle machine. The delay is the signal
/// before anything is lost, as in LEDBAT (RFC 6817).
const LATE: f64 = 5e-3;

/// Later than that is no queue for a processor: the machine stood still.
const LATE_MAX: Duration = Duration::from_millis(100);

/// It always goes on: what is missing puts data at risk. So little, since many nodes may share a
/// machine and each keeps that share.
const SHARE_MIN: f64 = 1.0 / 64.0;

/// Without a read for so long, nobody has to wait.
const QUIET: Duration = Duration::from_secs(1);

/// Timers are no finer: to sleep for less takes as long, and its delay would be taken for that
/// of a busy machine.
const TICK: Duration = Duration::from_millis(2);

/// Bytes a second for all copies of this node together.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When what was spent so far has been paid for.
    paid_at: Duration,
    readers: Readers,
    machine: Machine,
}

/// Of the rate that was asked for, what copies take now.
#[derive(Debug)]
struct Share(f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Share {
    fn follow(&mut self, is_slow: bool) {
        self.0 = (self.0 * if is_slow { DOWN } else { UP }).clamp(SHARE_MIN, 1.0);
    }
}

/// How long those who read from this node wait, in seconds.
#[derive(Debug, Default)]
struct Readers {
    /// The usual time: follows shorter ones at once, longer ones slowly.
    usual: Option<f64>,
    /// The average of the last ten or so.
    lately: f64,
    last: Duration,
    share: Share,
}

impl Readers {
    fn waited(&mut self, took: Duration, now: Duration) {
        let took = took.as_secs_f64();
        let is_quiet = now.saturating_sub(self.last) >= QUIET;
        self.last = now;
        let usual = self.usual.get_or_insert(took);
        *usual += (took - *usual) * if took < *usual { 0.3 } else { 0.001 };
        self.lately = if is_quiet { took } else { self.lately + (took - self.lately) * 0.1 };
        self.share.follow(self.lately > *usual * SLOWER + NOISE);
    }

    fn share(&self, now: Duration) -> f64 {
        if now.saturating_sub(self.last) >= QUIET { 1.0 } else { self.share.0 }
    }
}

/// How long copies wait for a processor of their own machine.
#[derive(Debug, Default)]
struct Machine {
    /// By how much the last ten timers or so were late, in seconds.
    late: f64,
    last: Duration,
    share: Share,
}

impl Machine {
    fn woke(&mut self, late: Duration, now: Duration) {
        if now.saturating_sub(self.last) >= QUIET {
            *self = Self::default();
        }
        self.last = now;
        self.late += (late.min(LATE_MAX).as_secs_f64() - self.late) * 0.1;
        self.share.follow(self.late > LATE);
    }
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody whom this node serves had what was asked for after `took`.
    pub(crate) fn served(&self, took: Duration, now: Duration) {
        self.lock().readers.waited(took, now);
    }

    /// Waits until `bytes` more may follow.
    pub(crate) async fn spend(&self, bytes: u64, clock: &impl Clock) {
        let began = clock.elapsed();
        let wait = self.wait_for(bytes, began);
        // What isn't waited for now stays owed.
        if wait >= TICK {
            clock.sleep(wait).await;
            let now = clock.elapsed();
            let late = now.saturating_sub(began).saturating_sub(wait);
            self.lock().machine.woke(late, now);
        }
    }

    fn wait_for(&self, bytes: u64, now: Duration) -> Duration {
        let mut state = self.lock();
        let nanos =
            u128::from(bytes).saturating_mul(1_000_000_000) / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let cost = cost.div_f64(state.readers.share(now).min(state.machine.share.0));
        state.paid_at = state.paid_at.max(now).saturating_add(cost);
        state.paid_at.saturating_sub(now)
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

    #[test]
    fn copying_gives_way_to_readers_who_wait_and_comes_back_when_they_do_not() {
        let pace = Pace::new(1000);
        let mut now = Duration::from_secs(10);
        let mut reads = |count: u32, took: u64| {
            for _ in 0..count {
                now += Duration::from_millis(10);
                pace.served(Duration::from_millis(took), now);
            }
            let share = pace.lock().readers.share(now);
            (share, now)
        };
        assert_eq!(reads(100, 2).0.to_bits(), 1.0_f64.to_bits(), "as usual");
        let (slowed, _) = reads(200, 9);
        assert!((SHARE_MIN..0.1).contains(&slowed), "{slowed}");
        let (again, at) = reads(400, 2);
        assert_eq!(again.to_bits(), 1.0_f64.to_bits());
        reads(200, 9);
        // Nobody reads any more.
        let wait = pace.wait_for(1000, at + Duration::from_mins(1));
        assert_eq!(wait, Duration::from_secs(1));
    }

    #[test]
    fn copying_gives_way_to_whatever_else_needs_the_processors() {
        let pace = Pace::new(1000);
        let mut now = Duration::from_secs(10);
        let mut wakes = |count: u32, late: u64| {
            for _ in 0..count {
                now += Duration::from_millis(10);
                pace.lock().machine.woke(Duration::from_millis(late), now);
            }
            pace.lock().machine.share.0
        };
        assert_eq!(wakes(100, 1).to_bits(), 1.0_f64.to_bits(), "a timer is never exact");
        let slowed = wakes(100, 20);
        assert!((SHARE_MIN..0.1).contains(&slowed), "{slowed}");
        assert_eq!(wakes(300, 1).to_bits(), 1.0_f64.to_bits());
        // A laptop that slept is not a busy one.
        assert!(wakes(1, 3_600_000) > 0.9);
        assert_eq!(wakes(100, 1).to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn a_network_that_is_slow_for_good_does_not_starve_its_repair() {
        let mut readers = Readers::default();
        for read in 0..20_000_u64 {
            readers.waited(Duration::from_millis(2), Duration::from_millis(read));
        }
        for read in 20_000..40_000_u64 {
            readers.waited(Duration::from_millis(8), Duration::from_millis(read));
        }
        assert_eq!(readers.share.0.to_bits(), 1.0_f64.to_bits());
    }
}

//! The time in which this node itself was looking. A process that was stopped, starved
//! or moved in time has not seen the partner be silent, whatever the clock says.

use std::time::Duration;

/// A look may come so many halves of a heartbeat after the last one; what is later is a
/// stall of this process. One and a half heartbeats: a loop that looks every heartbeat
/// is late by less on a busy machine, and a stop of 5 s is always more.
const LATE_HALVES: u32 = 3;

/// Heartbeats that must pass after a stall before anything gets worse: one that lay in
/// the kernel's queue, and one that the partner sent since.
const GRACE_BEATS: u32 = 2;

/// Counts attended time: it runs with the clock while looks follow each other, and stands
/// still in between. It never runs back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attention {
    step_max: Duration,
    grace: Duration,
    last_look: Duration,
    attended: Duration,
    graced_until: Duration,
}

impl Attention {
    pub(super) fn new(heartbeat: Duration, now: Duration) -> Self {
        Self {
            step_max: heartbeat.saturating_mul(LATE_HALVES) / 2,
            grace: heartbeat.saturating_mul(GRACE_BEATS),
            last_look: now,
            attended: Duration::ZERO,
            graced_until: Duration::ZERO,
        }
    }

    /// Takes a look; answers with how long this node was not looking, if it wasn't.
    pub(super) fn look(&mut self, now: Duration) -> Option<Duration> {
        let passed = now.saturating_sub(self.last_look);
        let ran_back = now < self.last_look;
        self.attended = self.at(now);
        self.last_look = now;
        if passed <= self.step_max && !ran_back {
            return None;
        }
        self.graced_until = self.attended.saturating_add(self.grace);
        Some(passed)
    }

    /// Attended time at `now`, between looks.
    pub(super) fn at(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.last_look).min(self.step_max);
        self.attended.saturating_add(passed)
    }

    /// Attended time at the last look.
    pub(super) fn attended(&self) -> Duration {
        self.attended
    }

    /// Whether nothing may get worse yet, since this node has only just come to itself.
    pub(super) fn is_graced(&self) -> bool {
        self.attended < self.graced_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_stop_of_five_seconds_is_noticed_and_graced() {
        let mut attention = Attention::new(secs(2), secs(100));
        assert_eq!(attention.look(secs(102)), None);
        assert_eq!(attention.look(secs(107)), Some(secs(5)));
        assert_eq!(attention.attended(), secs(2) + secs(3));
        assert!(attention.is_graced());
        assert_eq!(attention.look(secs(109)), None);
        assert!(attention.is_graced());
        assert_eq!(attention.look(secs(111)), None);
        assert!(!attention.is_graced());
    }

    #[test]
    fn a_clock_that_jumps_moves_attended_time_by_a_step_at_most() {
        let mut attention = Attention::new(secs(2), secs(100));
        assert_eq!(attention.look(Duration::MAX), Some(Duration::MAX - secs(100)));
        assert_eq!(attention.attended(), secs(3));
        assert_eq!(attention.look(secs(1)), Some(Duration::ZERO));
        assert_eq!(attention.attended(), secs(3));
        assert_eq!(attention.look(secs(2)), None);
        assert_eq!(attention.attended(), secs(4));
    }
}

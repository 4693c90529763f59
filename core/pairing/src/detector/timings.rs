//! How long silence may last before something follows from it.

use std::time::Duration;

use thiserror::Error;

/// The longest of these times: a day's worth of beats fits every sum that is made of them.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Rising times: heartbeat < suspect < fail < replace; no heartbeat is shorter than 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    heartbeat: Duration,
    suspect_after: Duration,
    fail_after: Duration,
    replace_after: Duration,
}

/// Why some times are not [`Timings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "heartbeat ≥ 10 ms < suspectAfter < failAfter < replaceAfter ≤ 30 d must hold, not {heartbeat:?}, {suspect_after:?}, {fail_after:?}, {replace_after:?}"
)]
pub struct NotTimings {
    heartbeat: Duration,
    suspect_after: Duration,
    fail_after: Duration,
    replace_after: Duration,
}

impl Timings {
    /// Checks that the times rise.
    pub fn new(
        heartbeat: Duration,
        suspect_after: Duration,
        fail_after: Duration,
        replace_after: Duration,
    ) -> Result<Self, NotTimings> {
        let rises = heartbeat >= Duration::from_millis(10)
            && heartbeat < suspect_after
            && suspect_after < fail_after
            && fail_after < replace_after
            && replace_after <= LONGEST;
        if rises {
            Ok(Self { heartbeat, suspect_after, fail_after, replace_after })
        } else {
            Err(NotTimings { heartbeat, suspect_after, fail_after, replace_after })
        }
    }

    /// Between two beats of the partner.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Silence after which the partner is suspected in any case.
    #[must_use]
    pub fn suspect_after(&self) -> Duration {
        self.suspect_after
    }

    /// Silence before which it is never held to be down.
    #[must_use]
    pub fn fail_after(&self) -> Duration {
        self.fail_after
    }

    /// How long it is down before it is given up: most absences are restarts.
    #[must_use]
    pub fn replace_after(&self) -> Duration {
        self.replace_after
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            suspect_after: Duration::from_secs(6),
            fail_after: Duration::from_secs(10),
            replace_after: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_do_not_rise_are_refused() {
        let seconds = |times: [u64; 4]| {
            let [beat, suspect, fail, replace] = times.map(Duration::from_secs);
            Timings::new(beat, suspect, fail, replace)
        };
        assert_eq!(seconds([2, 6, 10, 600]), Ok(Timings::default()));
        for wrong in [[0, 6, 10, 600], [6, 6, 10, 600], [2, 10, 10, 600], [2, 6, 600, 600]] {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
        assert!(seconds([2, 6, 10, 31 * 24 * 3600]).is_err());
    }
}

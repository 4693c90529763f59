//! How fast something goes lately: an average that forgets.

use std::time::Duration;

/// What was done so long ago counts for a third, in seconds.
const MEMORY: f64 = 10.0;

/// Who did nothing for so long begins anew.
const IDLE: Duration = Duration::from_secs(30);

/// Bytes a second, weighted by how long ago they were.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When the first of what is done now was done. It doesn't count: how long it took isn't how
    /// far apart things are of which several are under way.
    first: Option<Duration>,
    last: Duration,
    /// Bytes, each weighted by its age at `last`.
    bytes: f64,
}

impl Rate {
    /// From `now` on something is done, if it wasn't before.
    pub(crate) fn work_begins(&mut self, now: Duration) {
        if now.saturating_sub(self.last) >= IDLE {
            *self = Self { first: None, last: now, bytes: 0.0 };
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an average")]
    pub(crate) fn done(&mut self, bytes: u64, now: Duration) {
        match self.first {
            None => self.first = Some(now),
            Some(_) => self.bytes = self.bytes * kept(self.last, now) + bytes as f64,
        }
        self.last = now;
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an average")]
    pub(crate) fn per_second(&self, now: Duration) -> u64 {
        let Some(first) = self.first else { return 0 };
        // In a short time the weights are not all there yet.
        let weights = MEMORY * (1.0 - kept(first, now));
        if weights > 0.0 { (self.bytes * kept(self.last, now) / weights) as u64 } else { 0 }
    }
}

/// What a weight at `then` has become.
fn kept(then: Duration, now: Duration) -> f64 {
    (-now.saturating_sub(then).as_secs_f64() / MEMORY).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Duration {
        Duration::from_millis(1_000_000 + tenths * 100)
    }

    #[test]
    fn a_steady_rate_is_told_from_the_start_and_forgotten_at_the_end() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0)), 0);
        rate.work_begins(at(0) - Duration::from_secs(5));
        for tenth in 1..=600 {
            rate.done(100, at(tenth));
            let told = rate.per_second(at(tenth));
            assert!((950..=1060).contains(&told) || tenth == 1, "{told} after {tenth}");
        }
        assert!(rate.per_second(at(900)) < 60);
    }

    #[test]
    fn a_new_rate_counts_after_some_time_and_what_was_before_a_rest_does_not() {
        let mut rate = Rate::default();
        rate.work_begins(at(0));
        (1..=300).for_each(|tenth| rate.done(100, at(tenth)));
        (301..=600).for_each(|tenth| rate.done(10, at(tenth)));
        assert!((100..200).contains(&rate.per_second(at(600))));
        rate.work_begins(at(1000));
        assert_eq!(rate.per_second(at(1001)), 0);
        rate.done(9000, at(1005));
        rate.done(500, at(1015));
        assert!((480..=560).contains(&rate.per_second(at(1015))));
    }
}

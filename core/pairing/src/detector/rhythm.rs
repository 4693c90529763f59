//! How regularly the partner beats and how fast it answers, and how unlikely its present
//! silence is (phi-accrual).

use std::collections::VecDeque;
use std::time::Duration;

/// Intervals that are remembered: about a minute of beats. More would keep a congested
/// hour in mind for too long, fewer take one late beat for a habit.
const REMEMBERED: usize = 32;

/// Before so many intervals, the agreed rhythm stands for the learned one.
const ENOUGH: usize = 4;

/// The most that phi grows to, in thousandths; past it nothing is less likely.
const PHI_MAX_MILLI: u64 = 1_000_000;

/// The learned rhythm of one partner. All numbers are microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rhythm {
    heartbeat: u64,
    longest: u64,
    intervals: VecDeque<u64>,
    round_trip: Option<RoundTrip>,
}

/// Mean and mean deviation as TCP smooths them: an eighth and a quarter of what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RoundTrip {
    mean: u64,
    deviation: u64,
}

impl Rhythm {
    /// Before anything is learned. An interval longer than `longest` was an absence, and
    /// says nothing about rhythm.
    pub(super) fn new(heartbeat: Duration, longest: Duration) -> Self {
        Self {
            heartbeat: micros(heartbeat).max(1),
            longest: micros(longest),
            intervals: VecDeque::with_capacity(REMEMBERED),
            round_trip: None,
        }
    }

    /// Learns from the time between two beats. A burst, such as a duplicate or beats that
    /// lay in a queue, teaches nothing: else it would make us impatient.
    pub(super) fn beat_after(&mut self, interval: Duration) {
        let interval = micros(interval);
        if interval < self.heartbeat / 2 || interval > self.longest {
            return;
        }
        if self.intervals.len() >= REMEMBERED {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval);
    }

    /// Learns from the time that an answer took.
    pub(super) fn answered_after(&mut self, took: Duration) {
        let took = micros(took);
        if took > self.longest {
            return;
        }
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip { mean: took, deviation: took / 2 },
            Some(RoundTrip { mean, deviation }) => RoundTrip {
                mean: (mean * 7 + took) / 8,
                deviation: (deviation * 3 + mean.abs_diff(took)) / 4,
            },
        });
    }

    /// The learned time that an answer takes.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|learned| Duration::from_micros(learned.mean))
    }

    /// How long to wait for an answer: four deviations above the mean; at least a tenth
    /// of a heartbeat, since a process may be busy, and at most a whole one.
    pub(super) fn answer_timeout(&self) -> Duration {
        let learned = self
            .round_trip
            .map_or(self.heartbeat, |RoundTrip { mean, deviation }| mean + 4 * deviation);
        Duration::from_micros(learned.clamp(self.heartbeat / 10, self.heartbeat))
    }

    /// How unlikely it is, as −log₁₀ of the probability in thousandths, that a partner of
    /// this rhythm is there and was silent for so long. One lost beat is forgiven.
    ///
    /// The tail of a normal distribution by its logistic approximation, in integers.
    pub(super) fn phi_milli(&self, silence: Duration) -> u64 {
        let (mean, deviation) = self.spread();
        let on_the_way = self.round_trip.map_or(0, |learned| learned.mean / 2);
        let expected = mean + self.heartbeat + on_the_way;
        let Some(late) = micros(silence).checked_sub(expected) else { return 0 };
        // 1,000 deviations are certainty; the cube of more would not fit.
        let y = (u128::from(late) * 1000 / u128::from(deviation)).min(1_000_000);
        let exponent = y * (1_597_600 + 70_566 * y * y / 1_000_000) / 1_000_000;
        // ln 10 = 2.303.
        u64::try_from(exponent * 1000 / 2303).unwrap_or(PHI_MAX_MILLI).min(PHI_MAX_MILLI)
    }

    /// Mean and deviation of the intervals. Never below what was agreed: who beats more
    /// often than agreed may fall back to the agreed rhythm at any time.
    fn spread(&self) -> (u64, u64) {
        let count = u64::try_from(self.intervals.len()).unwrap_or(u64::MAX);
        if self.intervals.len() < ENOUGH {
            return (self.heartbeat, self.heartbeat / 4 + 1);
        }
        let mean = self.intervals.iter().sum::<u64>() / count;
        let square = |interval: &u64| u128::from(interval.abs_diff(mean)).pow(2);
        let variance = self.intervals.iter().map(square).sum::<u128>() / u128::from(count);
        let jitter = self.round_trip.map_or(0, |learned| learned.deviation);
        let deviation = u64::try_from(variance.isqrt()).unwrap_or(u64::MAX);
        (mean.max(self.heartbeat), deviation.max(self.heartbeat / 10).max(jitter) + 1)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEAT: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(6);

    fn regular() -> Rhythm {
        let mut rhythm = Rhythm::new(BEAT, LONGEST);
        (0..10).for_each(|_| rhythm.beat_after(BEAT));
        rhythm
    }

    #[test]
    fn one_lost_beat_is_forgiven_and_the_next_is_not() {
        let rhythm = regular();
        assert_eq!(rhythm.phi_milli(Duration::from_millis(4000)), 0);
        // One deviation of 200 ms too late, then five and a half.
        assert_eq!(rhythm.phi_milli(Duration::from_millis(4200)), 723);
        assert_eq!(rhythm.phi_milli(Duration::from_millis(5100)), 8909);
    }

    #[test]
    fn an_irregular_partner_is_given_longer() {
        let mut irregular = Rhythm::new(BEAT, LONGEST);
        for millis in [1000, 3000].into_iter().cycle().take(20) {
            irregular.beat_after(Duration::from_millis(millis));
        }
        let silence = Duration::from_millis(5500);
        assert!(irregular.phi_milli(silence) < 2000);
        assert!(regular().phi_milli(silence) > 8000);
    }

    #[test]
    fn bursts_and_absences_teach_nothing() {
        let mut rhythm = regular();
        for odd in
            [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(90), Duration::MAX]
        {
            (0..50).for_each(|_| rhythm.beat_after(odd));
            (0..50).for_each(|_| rhythm.answered_after(odd.max(Duration::from_secs(90))));
        }
        assert_eq!(rhythm, regular());
    }

    #[test]
    fn answers_are_waited_for_as_long_as_they_take() {
        let mut rhythm = Rhythm::new(BEAT, LONGEST);
        assert_eq!(rhythm.answer_timeout(), BEAT);
        (0..40).for_each(|_| rhythm.answered_after(Duration::from_millis(300)));
        assert_eq!(rhythm.round_trip(), Some(Duration::from_millis(300)));
        assert!(rhythm.answer_timeout() < Duration::from_millis(310));
        (0..40).for_each(|_| rhythm.answered_after(Duration::from_micros(50)));
        assert_eq!(rhythm.answer_timeout(), Duration::from_millis(200));
    }

    proptest! {
        #[test]
        fn longer_silence_is_never_likelier(intervals in prop::collection::vec(0_u64..10_000, 0..50), a: u64, b: u64) {
            let mut rhythm = Rhythm::new(BEAT, LONGEST);
            intervals.into_iter().for_each(|millis| rhythm.beat_after(Duration::from_millis(millis)));
            let [short, long] = [a.min(b), a.max(b)].map(Duration::from_micros);
            prop_assert!(rhythm.phi_milli(short) <= rhythm.phi_milli(long));
        }
    }
}

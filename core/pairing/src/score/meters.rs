//! What keeps measurements: each takes one at a time and gives an input of the score. All
//! are small, bounded, and can be written down and read back.

use std::time::Duration;

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::NodeId;
use defs_core::reading::Reading;

use super::audit::Verdict;
use super::measured::{Bandwidth, Latency, Load};
use super::presence::Presence;

/// Bytes below which a transfer says more of latency than of bandwidth.
const TRANSFER_MIN: u64 = 256 * 1024;

/// A new value counts for one part in so many: about the last eight values are remembered.
const SMOOTHING: u64 = 8;

/// All that one node measures of another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meters {
    /// How long its answers took.
    pub answers: Answers,
    /// How fast bytes went to it and came from it.
    pub transfers: Transfers,
    /// Whether it was there.
    pub presence: Presence,
    /// How often it refused as too busy.
    pub busy: Busy,
    /// How its audits went.
    pub audits: Audits,
}

impl Meters {
    /// What was measured of `node`, which these are the meters of.
    #[must_use]
    pub fn reading(&self, node: NodeId) -> Reading {
        let Latency { p50_us, p95_us, answers } = self.answers.measured();
        let Bandwidth { bytes_per_second, transfers } = self.transfers.measured();
        Reading {
            node,
            p50_us,
            p95_us,
            answers,
            bytes_per_second,
            transfers,
            watched_s: self.presence.watched().as_secs(),
            away_s: self.presence.away().as_secs(),
            flaps_milli: self.presence.flaps_milli(),
            audits_passed: self.audits.passed,
            audits_failed: self.audits.failed,
            busy_permille: self.busy.measured().busy_permille,
        }
    }
}

impl Format for Meters {
    const NAME: &'static str = "meters";
    fn write(&self, out: &mut Writer) {
        let Self { answers, transfers, presence, busy, audits } = self;
        out.list(&answers.counts, |out, count| out.u32(*count));
        out.u64(transfers.0.bytes_per_second);
        out.u32(transfers.0.transfers);
        presence.write(out);
        busy.write(out);
        out.u32(audits.passed);
        out.u32(audits.failed);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let counts = input.list("answers", BUCKETS, |input| input.u32("answers"))?;
        let bandwidth = Bandwidth {
            bytes_per_second: input.u64("bandwidth")?,
            transfers: input.u32("transfers")?,
        };
        Ok(Self {
            answers: Answers { counts },
            transfers: Transfers(bandwidth),
            presence: Presence::read(input)?,
            busy: Busy::read(input)?,
            audits: Audits { passed: input.u32("passed")?, failed: input.u32("failed")? },
        })
    }
}

/// How audits of a node went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audits {
    passed: u32,
    failed: u32,
}

impl Audits {
    /// One more.
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Holds => self.passed = self.passed.saturating_add(1),
            Verdict::Fails => self.failed = self.failed.saturating_add(1),
        }
    }
}

/// Bandwidth, smoothed over real transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfers(Bandwidth);

impl Transfers {
    /// `bytes` went in `took`.
    pub fn add(&mut self, bytes: u64, took: Duration) {
        let micros = took.as_micros();
        if bytes < TRANSFER_MIN || micros == 0 {
            return;
        }
        let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX);
        let Bandwidth { bytes_per_second: before, transfers } = self.0;
        self.0 = Bandwidth {
            bytes_per_second: if transfers == 0 { rate } else { smoothed(before, rate) },
            transfers: transfers.saturating_add(1),
        };
    }

    /// What was measured.
    #[must_use]
    pub fn measured(&self) -> Bandwidth {
        self.0
    }
}

/// How busy a node is, smoothed over the times that something was asked of it: the part of it
/// that was refused for want of a free place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Busy {
    permille: Option<u16>,
}

impl Busy {
    /// `used` of `limit` were in use.
    pub fn add(&mut self, used: u64, limit: u64) {
        let share = u128::from(used.min(limit)) * 1000;
        let now = share.checked_div(u128::from(limit)).unwrap_or(1000);
        let now = u64::try_from(now).unwrap_or(1000);
        let next = self.permille.map_or(now, |before| smoothed(u64::from(before), now));
        self.permille = u16::try_from(next).ok();
    }

    /// What was measured.
    #[must_use]
    pub fn measured(&self) -> Load {
        Load { busy_permille: self.permille.unwrap_or(0) }
    }
}

impl Format for Busy {
    const NAME: &'static str = "a load";
    fn write(&self, out: &mut Writer) {
        out.option(self.permille.as_ref(), |out, permille| out.u16(*permille));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let permille = input.option("busy", |input| input.u16("busy"))?;
        if permille.is_some_and(|permille| permille > 1000) {
            return Err(FormatError::Invalid("busy"));
        }
        Ok(Self { permille })
    }
}

/// Buckets of [`Answers`]: four a doubling from 1 µs to more than a minute.
const BUCKETS: usize = 104;

/// Answers after which all counts are halved, so that the last thousands count.
const ANSWERS_MAX: u32 = 4096;

/// How long answers took, as a histogram of four buckets a doubling: a quantile is right
/// to within a quarter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// At most [`BUCKETS`].
    counts: Vec<u32>,
}

impl Answers {
    /// An answer took so long.
    pub fn add(&mut self, took: Duration) {
        let bucket = bucket_of(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        if self.total() > u64::from(ANSWERS_MAX) {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// What was measured.
    #[must_use]
    pub fn measured(&self) -> Latency {
        Latency {
            p50_us: self.quantile(50),
            p95_us: self.quantile(95),
            answers: u32::try_from(self.total()).unwrap_or(u32::MAX),
        }
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The upper end of the bucket below which `percent` of the answers lie.
    fn quantile(&self, percent: u64) -> u64 {
        let wanted = (self.total() * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && *count > 0 {
                return upper_end(bucket);
            }
        }
        0
    }
}

/// Two bits after the leading one tell four buckets of a doubling apart.
fn bucket_of(micros: u64) -> usize {
    let Some(doubling) = micros.checked_ilog2() else { return 0 };
    let quarter = if doubling >= 2 { (micros >> (doubling - 2)) & 3 } else { 0 };
    let bucket = u64::from(doubling) * 4 + quarter;
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

fn upper_end(bucket: usize) -> u64 {
    let (doubling, quarter) = (bucket / 4, bucket % 4);
    let base = 1_u64 << doubling.min(40);
    base + (base * (quarter as u64 + 1)) / 4 - 1
}

fn smoothed(before: u64, now: u64) -> u64 {
    if now >= before {
        before + (now - before) / SMOOTHING
    } else {
        before - (before - now) / SMOOTHING
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_transfers_say_nothing_of_bandwidth() {
        let mut transfers = Transfers::default();
        transfers.add(1000, Duration::from_millis(100));
        transfers.add(1 << 30, Duration::ZERO);
        assert_eq!(transfers.measured(), Bandwidth::default());
        transfers.add(1 << 20, Duration::from_millis(500));
        assert_eq!(transfers.measured(), Bandwidth { bytes_per_second: 1 << 21, transfers: 1 });
        transfers.add(1 << 20, Duration::from_secs(1));
        let expected = (1 << 21) - (1 << 20) / 8;
        assert_eq!(transfers.measured().bytes_per_second, expected);
    }

    #[test]
    fn busy_is_smoothed_and_a_limit_of_nothing_is_full() {
        let mut busy = Busy::default();
        busy.add(50, 100);
        assert_eq!(busy.measured().busy_permille, 500);
        busy.add(9, 0);
        assert_eq!(busy.measured().busy_permille, 562);
    }

    #[test]
    fn one_slow_answer_in_ten_shows_in_the_slow_twentieth_only() {
        let mut answers = Answers::default();
        for number in 0..100 {
            let micros = if number % 10 == 0 { 50_000 } else { 1000 };
            answers.add(Duration::from_micros(micros));
        }
        assert_eq!(answers.measured(), Latency { p50_us: 1023, p95_us: 57_343, answers: 100 });
    }

    #[test]
    fn old_answers_are_forgotten() {
        let mut answers = Answers::default();
        (0..5000).for_each(|_| answers.add(Duration::from_millis(100)));
        (0..20_000).for_each(|_| answers.add(Duration::from_millis(1)));
        let latency = answers.measured();
        assert_eq!((latency.p50_us, latency.p95_us), (1023, 1023));
        assert!(latency.answers <= ANSWERS_MAX);
    }

    #[test]
    fn meters_read_back_and_say_what_they_measured() {
        let mut meters = Meters::default();
        let node = NodeId([7; 32]);
        assert_eq!(meters.reading(node), Reading::nothing(node));
        meters.answers.add(Duration::from_millis(1));
        meters.transfers.add(1 << 20, Duration::from_secs(1));
        meters.presence.look(true, Duration::from_secs(90));
        meters.presence.look(false, Duration::from_secs(10));
        meters.presence.look(true, Duration::from_secs(100));
        meters.busy.add(1, 4);
        meters.audits.add(Verdict::Holds);
        meters.audits.add(Verdict::Fails);
        assert_eq!(Meters::decode(&meters.encode()), Ok(meters.clone()));
        let expected = Reading {
            node,
            p50_us: 1023,
            p95_us: 1023,
            answers: 1,
            bytes_per_second: 1 << 20,
            transfers: 1,
            watched_s: 200,
            away_s: 10,
            flaps_milli: 1000,
            audits_passed: 1,
            audits_failed: 1,
            busy_permille: 250,
        };
        assert_eq!(meters.reading(node), expected);
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_to_within_a_quarter(micros in 4_u64..60_000_000) {
            let mut answers = Answers::default();
            answers.add(Duration::from_micros(micros));
            let found = answers.measured().p50_us;
            prop_assert!(found >= micros && (found - micros) * 4 <= micros, "{found} for {micros}");
        }

        #[test]
        fn nothing_that_can_be_measured_overflows(nanos: u64, bytes: u64) {
            let took = Duration::from_nanos(nanos).saturating_mul(1000);
            let (mut answers, mut transfers) = (Answers::default(), Transfers::default());
            for _ in 0..3 {
                answers.add(took);
                transfers.add(bytes, took);
            }
            prop_assert!(answers.counts.len() <= BUCKETS);
            prop_assert!(transfers.measured().transfers <= 3);
        }
    }
}

//! What one node has measured of another: numbers with their units, as nodes tell them to each
//! other. Nobody measures itself, so nobody speaks for itself.

use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::NodeId;

/// The most readings in one answer: 110 KiB.
pub const READINGS_MAX: usize = 1024;

/// What its observer has measured of one node. A count of 0 says that nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Of whom.
    pub node: NodeId,
    /// Microseconds until half of the answers came.
    pub p50_us: u64,
    /// Microseconds until all but one in twenty came.
    pub p95_us: u64,
    /// Answers that these are from.
    pub answers: u32,
    /// Bytes a second, smoothed over real transfers.
    pub bytes_per_second: u64,
    /// Transfers that this is from.
    pub transfers: u32,
    /// Seconds that it was watched.
    pub watched_s: u64,
    /// Seconds of these in which it was not heard.
    pub away_s: u64,
    /// Smoothed count of its returns, in thousandths.
    pub flaps_milli: u32,
    /// Challenges that only a holder of the bytes can answer, and it did.
    pub audits_passed: u32,
    /// Those that it answered wrong, or with "not here".
    pub audits_failed: u32,
    /// The part of what was asked of it that it refused as too busy, smoothed, in thousandths.
    pub busy_permille: u16,
}

impl Reading {
    /// Nothing was measured of `node` yet.
    #[must_use]
    pub fn nothing(node: NodeId) -> Self {
        Self {
            node,
            p50_us: 0,
            p95_us: 0,
            answers: 0,
            bytes_per_second: 0,
            transfers: 0,
            watched_s: 0,
            away_s: 0,
            flaps_milli: 0,
            audits_passed: 0,
            audits_failed: 0,
            busy_permille: 0,
        }
    }
}

impl Format for Reading {
    const NAME: &'static str = "a reading";
    fn write(&self, out: &mut Writer) {
        let Self { node, p50_us, p95_us, answers, bytes_per_second, transfers, .. } = self;
        let Self { watched_s, away_s, flaps_milli, audits_passed, audits_failed, .. } = self;
        out.raw(&node.0);
        out.u64(*p50_us);
        out.u64(*p95_us);
        out.u32(*answers);
        out.u64(*bytes_per_second);
        out.u32(*transfers);
        out.u64(*watched_s);
        out.u64(*away_s);
        out.u32(*flaps_milli);
        out.u32(*audits_passed);
        out.u32(*audits_failed);
        out.u16(self.busy_permille);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let reading = Self {
            node: NodeId(input.array("node")?),
            p50_us: input.u64("p50")?,
            p95_us: input.u64("p95")?,
            answers: input.u32("answers")?,
            bytes_per_second: input.u64("bytes per second")?,
            transfers: input.u32("transfers")?,
            watched_s: input.u64("watched")?,
            away_s: input.u64("away")?,
            flaps_milli: input.u32("flaps")?,
            audits_passed: input.u32("audits passed")?,
            audits_failed: input.u32("audits failed")?,
            busy_permille: input.u16("busy")?,
        };
        let is_possible = reading.p50_us <= reading.p95_us
            && reading.away_s <= reading.watched_s
            && reading.busy_permille <= 1000;
        if is_possible { Ok(reading) } else { Err(FormatError::Invalid("reading")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_reads_back_and_an_impossible_one_is_refused() {
        let reading = Reading {
            node: NodeId([1; 32]),
            p50_us: 2,
            p95_us: 3,
            answers: 4,
            bytes_per_second: 5,
            transfers: 6,
            watched_s: 8,
            away_s: 7,
            flaps_milli: 9,
            audits_passed: 10,
            audits_failed: 11,
            busy_permille: 1000,
        };
        assert_eq!(Reading::decode(&reading.encode()), Ok(reading));
        let impossible = [
            Reading { p50_us: 4, ..reading },
            Reading { away_s: 9, ..reading },
            Reading { busy_permille: 1001, ..reading },
        ];
        for reading in impossible {
            assert_eq!(
                Reading::decode(&reading.encode()),
                Err(FormatError::Invalid("reading")),
                "{reading:?}"
            );
        }
    }
}

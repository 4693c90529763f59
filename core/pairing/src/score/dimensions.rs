//! One function a dimension: from what was measured to points.

use super::measured::{Bandwidth, Capacity, Geography, Latency, Load, Stability};
use super::points::{Points, log2_milli};

/// Bytes a second worth nothing: 1 Mbit/s, where a 32 MiB shard takes four minutes.
const SLOWEST: u64 = 125_000;

/// Doublings from [`SLOWEST`] to what is as good as it helps, in thousandths: ten, to
/// 1 Gbit/s, which one disk of a node just about takes.
const BANDWIDTH_SPAN_MILLI: u64 = 10_000;

/// Microseconds of a round trip that are as good as it helps: one within a building.
const NEAREST_US: u64 = 250;

/// Doublings from [`NEAREST_US`] to what is worth nothing, in thousandths: ten, to 256 ms,
/// the other side of the earth.
const LATENCY_SPAN_MILLI: u64 = 10_000;

/// Free bytes worth nothing: 1 GiB, some thirty shards.
const SMALLEST: u64 = 1 << 30;

/// Doublings from [`SMALLEST`] to what is as good as it helps, in thousandths: to 16 TiB,
/// a large disk.
const CAPACITY_SPAN_MILLI: u64 = 14_000;

/// Absence of one in 10,000 is as good as it helps: 52 minutes a year. log₂ 10⁴.
const PRESENCE_SPAN_MILLI: u64 = 13_287;

/// Before anything is known, a node counts as watched for an hour and away for six minutes
/// of it: ten good minutes prove little, a good week proves much.
const ASSUMED_WATCHED_S: u64 = 3600;
const ASSUMED_AWAY_S: u64 = 360;

/// What a failed audit weighs in passed ones: a node that lost bytes, or lies, is worse
/// than one that is away.
const FAILED_AUDIT: u64 = 50;

/// The members that stand elsewhere, by host, zone, region and round trip in equal parts:
/// who is far from many can be a partner to many.
#[must_use]
pub fn geography(measured: &Geography) -> Points {
    let counts = [
        measured.other_hosts,
        measured.other_zones,
        measured.other_regions,
        measured.other_clusters,
    ];
    let elsewhere = counts.iter().map(|count| u64::from(*count)).sum();
    Points::share(elsewhere, u64::from(measured.others) * 4)
}

/// Half for the free share, half for the free bytes on a logarithmic scale.
#[must_use]
pub fn capacity(measured: &Capacity) -> Points {
    if measured.total == 0 {
        return Points::NONE;
    }
    let doublings = log2_milli(measured.free / SMALLEST);
    let size = Points::at_most_full(doublings * 1000 / CAPACITY_SPAN_MILLI);
    Points::share(measured.free, measured.total).mean(size)
}

/// Bytes a second on a logarithmic scale, a hundred points a doubling.
#[must_use]
pub fn bandwidth(measured: &Bandwidth) -> Points {
    let above = log2_milli(measured.bytes_per_second).saturating_sub(log2_milli(SLOWEST));
    Points::at_most_full(above * 1000 / BANDWIDTH_SPAN_MILLI).sure_of(measured.transfers)
}

/// Half for the usual answer, half for the slow one.
#[must_use]
pub fn latency(measured: &Latency) -> Points {
    round_trip(measured.p50_us).mean(round_trip(measured.p95_us)).sure_of(measured.answers)
}

/// A round trip on a logarithmic scale; a doubling costs a hundred points.
#[must_use]
pub fn round_trip(micros: u64) -> Points {
    let above = log2_milli(micros).saturating_sub(log2_milli(NEAREST_US));
    Points::at_most_full(1000_u64.saturating_sub(above * 1000 / LATENCY_SPAN_MILLI))
}

/// Presence by its nines, less for returns and much less for failed audits.
#[must_use]
pub fn stability(measured: &Stability) -> Points {
    let watched = measured.watched_s.saturating_add(ASSUMED_WATCHED_S);
    let away = measured.away_s.min(measured.watched_s).saturating_add(ASSUMED_AWAY_S);
    let nines = log2_milli(watched).saturating_sub(log2_milli(away));
    let present = (nines * 1000 / PRESENCE_SPAN_MILLI).min(1000);
    let calm = present * 4000 / (4000 + u64::from(measured.flaps_milli));
    let passed = u64::from(measured.audits_passed) + FAILED_AUDIT;
    let failed = u64::from(measured.audits_failed) * FAILED_AUDIT;
    Points::at_most_full(calm * passed / (passed + failed))
}

/// What is idle.
#[must_use]
pub fn load(measured: &Load) -> Points {
    Points::at_most_full(1000_u64.saturating_sub(u64::from(measured.busy_permille)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bandwidth_gains_a_hundred_points_a_doubling() {
        let sure =
            |bytes_per_second| bandwidth(&Bandwidth { bytes_per_second, transfers: 1000 }).get();
        assert_eq!([sure(0), sure(125_000), sure(2_000_000), sure(1 << 40)], [3, 3, 400, 996]);
        assert_eq!(bandwidth(&Bandwidth::default()), Points::UNKNOWN);
    }

    #[test]
    fn a_round_trip_loses_a_hundred_points_a_doubling() {
        let points = [0, 250, 500, 1000, 64_000, 256_000, u64::MAX].map(|us| round_trip(us).get());
        assert_eq!(points, [1000, 1000, 900, 800, 200, 0, 0]);
    }

    #[test]
    fn a_good_week_is_worth_more_than_ten_good_minutes() {
        let watched = |watched_s, away_s| {
            stability(&Stability { watched_s, away_s, ..Stability::default() }).get()
        };
        assert_eq!(watched(0, 0), 250);
        assert_eq!(watched(600, 0), 266);
        assert_eq!(watched(7 * 86_400, 0), 807);
        assert_eq!(watched(7 * 86_400, 86_400), 211);
        assert_eq!(watched(10 * 365 * 86_400, 0), 1000);
    }

    #[test]
    fn one_failed_audit_halves_a_young_node_and_is_outgrown_by_many_passed_ones() {
        let year = Stability { watched_s: 365 * 86_400, ..Stability::default() };
        let audited = |audits_passed, audits_failed| {
            stability(&Stability { audits_passed, audits_failed, ..year }).get()
        };
        assert_eq!([audited(0, 0), audited(0, 1), audited(450, 1)], [1000, 500, 909]);
        let flapping = Stability { flaps_milli: 4000, ..year };
        assert_eq!(stability(&flapping).get(), 500);
    }

    #[test]
    fn capacity_is_the_free_share_and_the_free_bytes() {
        let points = |total, free| capacity(&Capacity { total, free }).get();
        assert_eq!(points(0, 0), 0);
        assert_eq!(points(1 << 40, 1 << 40), 857);
        assert_eq!(points(1 << 40, 1 << 30), 0);
        assert_eq!(points(1 << 44, 1 << 44), 1000);
    }

    #[test]
    fn who_stands_apart_from_all_has_full_points_and_alone_is_unknown() {
        let apart = Geography {
            others: 9,
            other_hosts: 9,
            other_zones: 9,
            other_regions: 9,
            other_clusters: 9,
        };
        assert_eq!(geography(&apart), Points::FULL);
        assert_eq!(geography(&Geography { other_regions: 0, ..apart }).get(), 750);
        assert_eq!(geography(&Geography::default()), Points::UNKNOWN);
    }

    proptest! {
        #[test]
        fn more_absence_more_returns_and_more_failures_never_help(
            watched_s: u64, away_s: u64, more: u64, flaps_milli in 0_u32..5000, audits: (u32, u32),
        ) {
            let base = Stability {
                watched_s, away_s, flaps_milli, audits_passed: audits.0, audits_failed: audits.1,
            };
            let points = stability(&base);
            let worse = [
                Stability { away_s: away_s.saturating_add(more), ..base },
                Stability { flaps_milli: flaps_milli + 100, ..base },
                Stability { audits_failed: audits.1.saturating_add(1), ..base },
            ];
            prop_assert!(worse.iter().all(|worse| stability(worse) <= points));
        }
    }
}

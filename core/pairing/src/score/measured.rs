//! What is measured of a node, by others: the inputs of its score, with their units.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that a score is computed from. The same values give the same score on every
/// machine, so a score can be checked later by who has these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How far the others stand.
    pub geography: Geography,
    /// What it has room for.
    pub capacity: Capacity,
    /// How fast bytes went.
    pub bandwidth: Bandwidth,
    /// How fast it answered.
    pub latency: Latency,
    /// Whether it stays.
    pub stability: Stability,
    /// How busy it is.
    pub load: Load,
}

/// Members that stand elsewhere, by label and by round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Geography {
    /// All members but this one.
    pub others: u32,
    /// Of these, on another host.
    pub other_hosts: u32,
    /// In another zone.
    pub other_zones: u32,
    /// In another region.
    pub other_regions: u32,
    /// In another round-trip cluster, whatever their labels say.
    pub other_clusters: u32,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// What it took and may still take.
    pub total: u64,
    /// What it may still take.
    pub free: u64,
}

/// Smoothed over real transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Transfers that this is from.
    pub transfers: u32,
}

/// Microseconds until an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of the answers came sooner.
    pub p50_us: u64,
    /// All but one in twenty came sooner.
    pub p95_us: u64,
    /// Answers that this is from.
    pub answers: u32,
}

/// Presence and honesty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stability {
    /// Seconds that it was watched.
    pub watched_s: u64,
    /// Seconds of these in which it was away.
    pub away_s: u64,
    /// Smoothed count of returns, in thousandths.
    pub flaps_milli: u32,
    /// Challenges that only a holder of the bytes can answer, and it did.
    pub audits_passed: u32,
    /// Those that it answered wrong, or not although it was there.
    pub audits_failed: u32,
}

/// Smoothed over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Of what was asked of it, the part that it refused for want of a free place, in thousandths.
    pub busy_permille: u16,
}

impl fmt::Display for Geography {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { others, other_hosts, other_zones, other_regions, other_clusters } = self;
        write!(
            out,
            "of {others} others {other_hosts} on other hosts, {other_zones} in other zones, {other_regions} in other regions, {other_clusters} far by round trip"
        )
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} MiB free of {} MiB", self.free >> 20, self.total >> 20)
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.bytes_per_second >> 10;
        write!(out, "{kib} KiB/s over {} transfers", self.transfers)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p95_us, answers } = self;
        write!(out, "p50 {p50_us} µs, p95 {p95_us} µs over {answers} answers")
    }
}

impl fmt::Display for Stability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { watched_s, away_s, flaps_milli, audits_passed, audits_failed } = self;
        write!(
            out,
            "away {away_s} s of {watched_s} s, {}.{} recent returns, {audits_passed} audits passed, {audits_failed} failed",
            flaps_milli / 1000,
            flaps_milli % 1000 / 100
        )
    }
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{} % busy", self.busy_permille / 10, self.busy_permille % 10)
    }
}

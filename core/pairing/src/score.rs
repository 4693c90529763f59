//! How good a node is as a partner: measured by others, never declared by itself, the
//! same from the same inputs on every machine, and explained.

use std::fmt;

use serde::Serialize;

pub use self::measured::Measured;
pub use self::points::Points;
pub use self::weights::{Given, NotWeights, Weights};

pub mod audit;
pub mod clusters;
pub mod dimensions;
pub mod geography;
pub mod measured;
pub mod meters;
pub mod observers;
mod points;
pub mod presence;
mod weights;

pub(crate) use self::points::log2_milli;

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// How far it stands from the others.
    Geography,
    /// What it has room for.
    Capacity,
    /// How fast bytes go.
    Bandwidth,
    /// How fast it answers.
    Latency,
    /// Whether it stays and is honest.
    Stability,
    /// How much of it is idle.
    Load,
}

impl Dimension {
    /// All of them, in the order in which people read them.
    pub const ALL: [Self; 6] = [
        Self::Geography,
        Self::Capacity,
        Self::Bandwidth,
        Self::Latency,
        Self::Stability,
        Self::Load,
    ];

    /// What its inputs are measured in.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Geography => "nodes",
            Self::Capacity => "bytes",
            Self::Bandwidth => "bytes/s",
            Self::Latency => "µs",
            Self::Stability => "s",
            Self::Load => "‰",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Geography => "geography",
            Self::Capacity => "capacity",
            Self::Bandwidth => "bandwidth",
            Self::Latency => "latency",
            Self::Stability => "stability",
            Self::Load => "load",
        })
    }
}

/// What one dimension gives to a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Of what.
    pub dimension: Dimension,
    /// How good.
    pub points: Points,
    /// How much it counts.
    pub weight: u8,
}

/// A score with all that it follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// What was measured.
    pub inputs: Measured,
    /// By dimension.
    pub parts: [Part; 6],
    /// The weighted mean of the parts.
    pub total: Points,
}

/// Scores what was measured.
#[must_use]
pub fn score(inputs: &Measured, weights: &Weights) -> Score {
    let parts = Dimension::ALL.map(|dimension| Part {
        dimension,
        points: points_of(dimension, inputs),
        weight: weights.of(dimension),
    });
    Score { inputs: inputs.clone(), parts, total: weighted(&parts) }
}

/// The weighted mean of `parts`; at least one weight is above 0.
pub(crate) fn weighted(parts: &[Part]) -> Points {
    let of = |part: &Part| u64::from(part.points.get()) * u64::from(part.weight);
    let weights: u64 = parts.iter().map(|part| u64::from(part.weight)).sum();
    Points::at_most_full(parts.iter().map(of).sum::<u64>().checked_div(weights).unwrap_or(0))
}

fn points_of(dimension: Dimension, inputs: &Measured) -> Points {
    match dimension {
        Dimension::Geography => dimensions::geography(&inputs.geography),
        Dimension::Capacity => dimensions::capacity(&inputs.capacity),
        Dimension::Bandwidth => dimensions::bandwidth(&inputs.bandwidth),
        Dimension::Latency => dimensions::latency(&inputs.latency),
        Dimension::Stability => dimensions::stability(&inputs.stability),
        Dimension::Load => dimensions::load(&inputs.load),
    }
}

impl Score {
    /// The points of `dimension`.
    #[must_use]
    pub fn points(&self, dimension: Dimension) -> Points {
        let part = self.parts.iter().find(|part| part.dimension == dimension);
        part.map_or(Points::UNKNOWN, |part| part.points)
    }

    /// The inputs of `dimension`, for people.
    #[must_use]
    pub fn reading(&self, dimension: Dimension) -> &dyn fmt::Display {
        let Measured { geography, capacity, bandwidth, latency, stability, load } = &self.inputs;
        match dimension {
            Dimension::Geography => geography,
            Dimension::Capacity => capacity,
            Dimension::Bandwidth => bandwidth,
            Dimension::Latency => latency,
            Dimension::Stability => stability,
            Dimension::Load => load,
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of 1000", self.total)?;
        for Part { dimension, points, weight } in &self.parts {
            let reading = self.reading(*dimension);
            write!(out, "\n  {dimension:<9} {points:>4} × {weight:>3}  {reading}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::measured::{Bandwidth, Capacity, Geography, Latency, Load, Stability};
    use super::*;

    fn measured(seed: u64) -> Measured {
        let number = |salt: u64, most: u64| seed.rotate_left(17).wrapping_mul(salt | 1) % most;
        let count = |salt, most| u32::try_from(number(salt, most)).unwrap();
        Measured {
            geography: Geography {
                others: 100,
                other_hosts: count(3, 101),
                other_zones: count(5, 101),
                other_regions: count(7, 101),
                other_clusters: count(9, 101),
            },
            capacity: Capacity { total: 1 << 42, free: number(11, 1 << 42) },
            bandwidth: Bandwidth {
                bytes_per_second: number(13, 1 << 31),
                transfers: count(15, 99),
            },
            latency: Latency {
                p50_us: number(17, 50_000),
                p95_us: number(19, 500_000),
                answers: count(21, 999),
            },
            stability: Stability {
                watched_s: number(23, 1 << 24),
                away_s: number(25, 1 << 20),
                flaps_milli: count(27, 5000),
                audits_passed: count(29, 5000),
                audits_failed: count(31, 3),
            },
            load: Load { busy_permille: u16::try_from(number(33, 1001)).unwrap() },
        }
    }

    #[test]
    fn a_score_says_what_it_follows_from() {
        let inputs = Measured {
            latency: Latency { p50_us: 500, p95_us: 1000, answers: 992 },
            ..Measured::default()
        };
        let expected = "\
464 of 1000
  geography  500 ×  20  of 0 others 0 on other hosts, 0 in other zones, 0 in other regions, 0 far by round trip
  capacity     0 ×  15  0 MiB free of 0 MiB
  bandwidth  500 ×  15  0 KiB/s over 0 transfers
  latency    847 ×  15  p50 500 µs, p95 1000 µs over 992 answers
  stability  250 ×  25  away 0 s of 0 s, 0.0 recent returns, 0 audits passed, 0 failed
  load      1000 ×  10  0.0 % busy";
        assert_eq!(score(&inputs, &Weights::default()).to_string(), expected);
    }

    #[test]
    fn a_dimension_without_weight_changes_nothing() {
        let weights =
            Weights::new(Given { latency: 0, ..Given::from(Weights::default()) }).unwrap();
        let slow = Latency { p50_us: 900_000, p95_us: 900_000, answers: 50 };
        let (base, slow) = (measured(1), Measured { latency: slow, ..measured(1) });
        assert_eq!(score(&base, &weights).total, score(&slow, &weights).total);
        assert!(score(&base, &Weights::default()).total > score(&slow, &Weights::default()).total);
    }

    proptest! {
        #[test]
        fn a_score_is_replayed_from_its_written_inputs(seed: u64) {
            let (inputs, weights) = (measured(seed), Weights::default());
            let first = score(&inputs, &weights);
            let written = serde_json::to_string(&first.inputs).unwrap();
            let read: Measured = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(score(&read, &weights), first);
        }

        #[test]
        fn a_total_lies_between_its_parts(seed: u64) {
            let score = score(&measured(seed), &Weights::default());
            let points = score.parts.map(|part| part.points);
            prop_assert!(points.iter().min() <= Some(&score.total));
            prop_assert!(points.iter().max() >= Some(&score.total));
        }
    }
}

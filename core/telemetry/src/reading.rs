//! What a registry holds at one moment, as values, for whoever tells it in another way than
//! as Prometheus text.

use crate::declared::Declared;

/// A metric with all its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which metric.
    pub declared: Declared,
    /// One point for each value of its labels; one without labels.
    pub points: Vec<Point>,
}

/// One number of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Label and value.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// A number, as what the metric is makes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(u64),
    /// Of a histogram.
    Spread(Spread),
}

/// What was observed so far, by size.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Upper bounds of the buckets, the last one, which has none, left out.
    pub bounds: Vec<f64>,
    /// What fell into each bucket, and at last what was over all bounds.
    pub counts: Vec<u64>,
    /// All that was observed, added up.
    pub sum: f64,
}

impl Spread {
    /// How many were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

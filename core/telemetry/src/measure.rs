//! The things that count. All are handles: a clone counts on the same number, and one
//! that was made by `default()` counts for nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Metric;

use crate::Registry;
use crate::declared::{Declared, Kind};

/// Something that can be declared and registered.
pub trait Measure: Sized {
    /// What its number does.
    const KIND: Kind;
    /// By what it is split.
    const LABEL: Option<&'static str>;

    /// Made known to `registry` under its declared name.
    fn register(declared: &Declared, registry: &mut Registry) -> Self;
}

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Count(pub(crate) Counter<u64>);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.0.inc();
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.inc_by(more);
    }

    /// Follows a number that somebody else counts, and that only grows.
    pub fn follow(&self, total: u64) {
        self.0.inner().fetch_max(total, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Level(pub(crate) Gauge<u64, AtomicU64>);

impl Level {
    /// Is `value` now.
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// The shortest time that has a bucket of its own; fsync on a fast disk is near it.
const SHORTEST: f64 = 0.000_5;

/// Buckets that double from [`SHORTEST`]: the last one holds what took up to 16 s.
const BUCKETS: u16 = 16;

/// How long something took.
#[derive(Debug, Clone)]
pub struct Seconds(Histogram);

impl Seconds {
    /// One more that took `time`.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(SHORTEST, 2.0, BUCKETS)))
    }
}

impl Measure for Count {
    const KIND: Kind = Kind::Counter;
    const LABEL: Option<&'static str> = None;

    fn register(declared: &Declared, registry: &mut Registry) -> Self {
        let measure = Self::default();
        add(declared, registry, measure.0.clone());
        measure
    }
}

impl Measure for Level {
    const KIND: Kind = Kind::Gauge;
    const LABEL: Option<&'static str> = None;

    fn register(declared: &Declared, registry: &mut Registry) -> Self {
        let measure = Self::default();
        add(declared, registry, measure.0.clone());
        measure
    }
}

impl Measure for Seconds {
    const KIND: Kind = Kind::Histogram;
    const LABEL: Option<&'static str> = None;

    fn register(declared: &Declared, registry: &mut Registry) -> Self {
        let measure = Self::default();
        add(declared, registry, measure.0.clone());
        measure
    }
}

/// Makes `metric` known under its declared name.
pub(crate) fn add(declared: &Declared, registry: &mut Registry, metric: impl Metric) {
    // The registry ends the sentence itself.
    let help = declared.help.trim_end_matches('.');
    match declared.prometheus_unit() {
        Some(unit) => registry.0.register_with_unit(declared.bare(), help, unit, metric),
        None => registry.0.register(declared.bare(), help, metric),
    }
}

//! The things that count. All are handles: a clone counts on the same number, and one
//! that was made by `default()` counts for nobody.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Metric;

use crate::Registry;
use crate::declared::{Declared, Kind};
use crate::reading::{Point, Reading, Spread, Value};

/// Something that can be declared and registered.
pub trait Measure: Sized {
    /// What its number does.
    const KIND: Kind;
    /// By what it is split.
    const LABELS: &'static [&'static str];

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

    /// One more.
    pub fn rise(&self) {
        self.0.inc();
    }

    /// One less.
    pub fn fall(&self) {
        self.0.dec();
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
#[derive(Debug, Clone, Default)]
pub struct Seconds(pub(crate) Times);

impl Seconds {
    /// One more that took `time`.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }

    /// All that was observed so far.
    #[must_use]
    pub fn get(&self) -> Spread {
        self.0.lock().clone()
    }
}

/// What [`Seconds`] counts on. The registry's own histogram tells nobody what it holds but
/// as text.
#[derive(Clone)]
pub struct Times(Arc<Mutex<Spread>>);

impl Times {
    /// No code panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, Spread> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, seconds: f64) {
        let mut spread = self.lock();
        let bucket = spread.bounds.partition_point(|bound| *bound < seconds);
        spread.counts[bucket] += 1;
        spread.sum += seconds;
    }
}

impl Default for Times {
    fn default() -> Self {
        let bounds: Vec<_> = exponential_buckets(SHORTEST, 2.0, BUCKETS).collect();
        let counts = vec![0; bounds.len() + 1];
        Self(Arc::new(Mutex::new(Spread { bounds, counts, sum: 0.0 })))
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Times({})", self.lock().count())
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let spread = self.lock().clone();
        let bounds = spread.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(spread.counts.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(spread.sum, spread.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// A measure of one number.
pub(crate) trait Single: Clone + Send + Sync + 'static {
    /// The number now.
    fn value(&self) -> Value;
}

impl Single for Count {
    fn value(&self) -> Value {
        Value::Count(self.get())
    }
}

impl Single for Level {
    fn value(&self) -> Value {
        Value::Level(self.get())
    }
}

impl Single for Seconds {
    fn value(&self) -> Value {
        Value::Spread(self.get())
    }
}

fn alone(measure: &impl Single) -> Vec<Point> {
    vec![Point { labels: Vec::new(), value: measure.value() }]
}

macro_rules! measure {
    ($measure:ident, $kind:ident) => {
        impl Measure for $measure {
            const KIND: Kind = Kind::$kind;
            const LABELS: &'static [&'static str] = &[];

            fn register(declared: &Declared, registry: &mut Registry) -> Self {
                let measure = Self::default();
                let read = measure.clone();
                add(declared, registry, measure.0.clone(), move || alone(&read));
                measure
            }
        }
    };
}

measure!(Count, Counter);
measure!(Level, Gauge);
measure!(Seconds, Histogram);

/// Makes `metric` known under its declared name; `points` reads it.
pub(crate) fn add(
    declared: &Declared,
    registry: &mut Registry,
    metric: impl Metric,
    points: impl Fn() -> Vec<Point> + Send + Sync + 'static,
) {
    // The registry ends the sentence itself.
    let help = declared.help.trim_end_matches('.');
    match declared.prometheus_unit() {
        Some(unit) => registry.page.register_with_unit(declared.bare(), help, unit, metric),
        None => registry.page.register(declared.bare(), help, metric),
    }
    let declared = *declared;
    registry.readers.push(Box::new(move || Reading { declared, points: points() }));
}

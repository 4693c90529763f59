//! Metrics by OTLP: what the process's registry holds, under its own names, from time to time.
//! There is no second set of instruments: the registry that Prometheus reads is read here too.

use std::time::Duration;

use defs_core::port::Clock;
use defs_telemetry::ExportMetrics;
use defs_telemetry::reading::{Point, Reading, Spread, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio_util::sync::CancellationToken;

use crate::resource::{attribute, scope};
use crate::transport::Transport;

/// Between which moments counters and histograms have counted, by Unix time in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) now: u64,
}

/// What tells a registry's metrics again and again.
pub(crate) struct Metrics<C, R> {
    pub(crate) transport: Transport,
    pub(crate) resource: Resource,
    pub(crate) interval: Duration,
    pub(crate) clock: C,
    pub(crate) read: R,
    pub(crate) counts: ExportMetrics,
}

impl<C: Clock, R: Fn() -> Vec<Reading> + Send + Sync + 'static> Metrics<C, R> {
    /// Tells them until `stop`, and once more then. A receiver that is away is told the sums
    /// when it is back: nothing waits for it.
    pub(crate) async fn tell(self, stop: CancellationToken) {
        let start = nanos(&self.clock);
        while stop.run_until_cancelled(self.clock.sleep(self.interval)).await.is_some() {
            self.tell_now(start).await;
        }
        self.tell_now(start).await;
    }

    async fn tell_now(&self, start: u64) {
        let readings = (self.read)();
        if readings.is_empty() {
            return;
        }
        let span = Span { start, now: nanos(&self.clock) };
        if !self.transport.metrics(request(&self.resource, &readings, span)).await {
            self.counts.failed.one();
        }
    }
}

/// The date, as OTLP writes it.
fn nanos(clock: &impl Clock) -> u64 {
    clock.now().0.saturating_mul(1_000_000)
}

/// All `readings` as one request.
pub(crate) fn request(
    resource: &Resource,
    readings: &[Reading],
    span: Span,
) -> ExportMetricsServiceRequest {
    let metrics = readings.iter().map(|reading| metric(reading, span)).collect();
    let scope_metrics =
        vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = Some(resource.clone());
    let resource_metrics =
        vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn metric(reading: &Reading, span: Span) -> Metric {
    let declared = reading.declared;
    Metric {
        name: declared.name.to_owned(),
        description: declared.help.to_owned(),
        unit: declared.unit.to_owned(),
        data: data(&reading.points, span),
        ..Metric::default()
    }
}

/// All points of a metric are of one kind; a metric without points tells nothing.
fn data(points: &[Point], span: Span) -> Option<Data> {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    Some(match points.first()?.value {
        Value::Count(_) => {
            let data_points = numbers(points, span);
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
        }
        Value::Level(_) => Data::Gauge(Gauge { data_points: numbers(points, span) }),
        Value::Spread(_) => {
            let data_points = points.iter().filter_map(|point| spread(point, span)).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }
    })
}

fn numbers(points: &[Point], Span { start, now }: Span) -> Vec<NumberDataPoint> {
    let number = |point: &Point| {
        let (Value::Count(number) | Value::Level(number)) = point.value else { return None };
        Some(NumberDataPoint {
            attributes: attributes(point),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(Number::AsInt(i64::try_from(number).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        })
    };
    points.iter().filter_map(number).collect()
}

fn spread(point: &Point, Span { start, now }: Span) -> Option<HistogramDataPoint> {
    let Value::Spread(spread) = &point.value else { return None };
    let Spread { bounds, counts, sum } = spread;
    Some(HistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: spread.count(),
        sum: Some(*sum),
        bucket_counts: counts.clone(),
        explicit_bounds: bounds.clone(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(point: &Point) -> Vec<KeyValue> {
    point.labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use defs_core::message::Reason;
    use defs_telemetry::{NodeMetrics, Registry};

    use super::*;

    const SPAN: Span = Span { start: 5, now: 9 };

    /// What is told of a node that has counted a little.
    fn told(name: &str) -> Metric {
        let mut registry = Registry::new();
        let node = NodeMetrics::register(&mut registry);
        node.bytes_received.add(4096);
        node.store_used.set(7);
        node.refused.of(Reason::Full).add(2);
        node.store_fsync.took(Duration::from_millis(3));
        let request = request(&Resource::default(), &registry.read(), SPAN);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(metrics.len(), NodeMetrics::DECLARED.len());
        metrics.iter().find(|metric| metric.name == name).unwrap().clone()
    }

    fn number(point: &NumberDataPoint) -> i64 {
        let Some(Number::AsInt(number)) = point.value else { panic!("an integer") };
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        number
    }

    #[test]
    fn a_counter_is_a_sum_since_the_start_under_its_declared_name_and_unit() {
        let metric = told("defs.shard.received");
        assert_eq!(metric.unit, "By");
        assert_eq!(metric.description, "Sealed bytes of the shards made durable.");
        let Some(Data::Sum(sum)) = metric.data else { panic!("a sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
        assert_eq!(sum.data_points.iter().map(number).collect::<Vec<_>>(), [4096]);
    }

    #[test]
    fn a_gauge_tells_what_is() {
        let Some(Data::Gauge(gauge)) = told("defs.store.used").data else { panic!("a gauge") };
        assert_eq!(gauge.data_points.iter().map(number).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn each_value_of_a_label_has_a_point() {
        let Some(Data::Sum(sum)) = told("defs.request.refused").data else { panic!("a sum") };
        assert_eq!(sum.data_points.len(), Reason::ALL.len());
        let full = vec![attribute("reason", "full")];
        let point = sum.data_points.iter().find(|point| point.attributes == full).unwrap();
        assert_eq!(number(point), 2);
    }

    #[test]
    fn a_histogram_has_one_count_more_than_bounds() {
        let data = told("defs.store.fsync").data;
        let Some(Data::Histogram(histogram)) = data else { panic!("a histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(point.count, 1);
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), 1);
        assert_eq!(point.bucket_counts[3], 1);
    }
}

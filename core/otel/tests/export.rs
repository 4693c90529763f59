//! What leaves a process for a receiver of OTLP, and what a receiver that is away costs.
#![cfg(test)]

use std::collections::BTreeMap;
use std::time::Duration;

use defs_core::port::{Clock, UnixMillis};
use defs_core::trace::{SpanId, TraceContext, TraceId};
use defs_e2e::free_port;
use defs_e2e::otlp::{Receiver, Span};
use defs_otel::{Asked, Export, Process, asked, carried, carry};
use defs_telemetry::{ExportMetrics, NodeMetrics, Registry, spans, trace};
use tokio::time::Instant;
use tonic::Request;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

/// The machine's time.
struct Time(Instant);

impl Clock for Time {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_800_000_000_000)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn export(variables: &[(&str, &str)]) -> Export {
    let process = Process { program: "test", version: "1", host: "here".to_owned() };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let Asked { export, complaints } = asked(process, variables);
    assert_eq!(complaints, Vec::<String>::new());
    export.unwrap()
}

/// Records what this thread does, as long as the guard lives.
fn recorded(export: &Export) -> DefaultGuard {
    let layers: Vec<_> = export.layer().into_iter().collect();
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layers))
}

/// A little work, in two spans.
fn work() {
    spans::get().in_scope(|| {
        let slice = spans::slice_open(7);
        let opened = trace::within_blocking(&slice, || Err::<(), _>("a secret cause"));
        assert!(opened.is_err());
    });
}

/// Does [`work`], and ends; what the receiver was told then.
async fn told(receiver: &Receiver, variables: &[(&str, &str)]) -> Vec<Span> {
    let endpoint = receiver.endpoint();
    let all = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], variables].concat();
    let export = export(&all);
    let recorded = recorded(&export);
    let mut registry = Registry::new();
    let node = NodeMetrics::register(&mut registry);
    node.receipts.add(3);
    let exporting =
        export.start(ExportMetrics::default(), Time(Instant::now()), move || registry.read());
    work();
    drop(recorded);
    exporting.end().await;
    receiver.spans()
}

fn assert_told(spans: &[Span]) {
    let [slice, get] = spans else { panic!("two spans: {spans:?}") };
    assert_eq!((get.name.as_str(), slice.name.as_str()), ("defs.get", "defs.slice.open"));
    assert_eq!((&slice.parent, &slice.trace), (&get.id, &get.trace));
    assert!(get.parent.is_empty() && slice.failed && !get.failed);
    assert_eq!(slice.attributes, BTreeMap::from([("defs.slice".to_owned(), "7".to_owned())]));
    assert_eq!(slice.service, "storage");
    assert!(!format!("{spans:?}").contains("secret"), "why it failed is no part of it");
}

const STORAGE: (&str, &str) = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=storage");
const TOKEN: (&str, &str) = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t");

#[tokio::test]
async fn spans_and_metrics_arrive_over_grpc() {
    let receiver = Receiver::start().unwrap();
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_told(&told(&receiver, &[grpc, STORAGE, TOKEN]).await);
    let metrics = receiver.metrics_of("storage");
    let declared = NodeMetrics::DECLARED.iter().map(|declared| declared.name.to_owned());
    assert_eq!(metrics, declared.collect());
    assert_eq!(receiver.authorizations().into_iter().collect::<Vec<_>>(), ["Bearer t"]);
}

#[tokio::test]
async fn spans_and_metrics_arrive_over_http() {
    let receiver = Receiver::start().unwrap();
    assert_told(&told(&receiver, &[STORAGE, TOKEN]).await);
    assert_eq!(receiver.metrics_of("storage").len(), NodeMetrics::DECLARED.len());
    assert_eq!(receiver.authorizations().into_iter().collect::<Vec<_>>(), ["Bearer t"]);
}

#[tokio::test]
async fn what_is_not_sampled_is_not_told() {
    let receiver = Receiver::start().unwrap();
    assert_eq!(told(&receiver, &[("OTEL_TRACES_SAMPLER", "always_off")]).await, []);
    let none = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    assert_eq!(told(&receiver, &none).await, []);
}

fn context(sampled: bool) -> TraceContext {
    let (trace, span) = (TraceId::new([1; 16]).unwrap(), SpanId::new([2; 8]).unwrap());
    TraceContext { trace, span, sampled }
}

#[tokio::test]
async fn a_span_follows_one_of_another_process_and_is_carried_to_the_next() {
    let receiver = Receiver::start().unwrap();
    let export = export(&[("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint().as_str())]);
    let recorded = recorded(&export);
    let exporting = export.start(ExportMetrics::default(), Time(Instant::now()), Vec::new);
    assert_eq!(trace::current(), None);
    assert_eq!(carried(&carry(Request::new(())).unwrap()), None);
    let served = trace::following(Some(context(true)), || spans::admin_serve("test"));
    let next = served.in_scope(|| {
        let here = trace::current().unwrap();
        assert_eq!(here.trace, context(true).trace);
        assert!(here.sampled && here.span != context(true).span);
        assert_eq!(carried(&carry(Request::new(())).unwrap()), Some(here));
        here
    });
    drop(served);
    // Of a trace that its owner doesn't record nothing is recorded or carried on.
    let silent = trace::following(Some(context(false)), || spans::admin_serve("test"));
    assert_eq!(silent.in_scope(trace::current), None);
    drop((silent, recorded));
    exporting.end().await;
    let [served] = &receiver.spans()[..] else { panic!("one span") };
    assert_eq!((&served.trace[..], &served.parent[..]), (&[1; 16][..], &[2; 8][..]));
    assert_eq!((&served.id[..], served.kind), (&next.span.bytes()[..], 2));
}

/// What a metric of `counts` has come to.
fn counted(registry: &Registry, name: &str) -> u64 {
    let text = registry.encode();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap()
}

#[tokio::test]
async fn a_receiver_that_is_away_makes_nobody_wait_and_what_it_misses_is_counted() {
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let export = export(&[("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str())]);
    let recorded = recorded(&export);
    let mut registry = Registry::new();
    let counts = ExportMetrics::register(&mut registry);
    let exporting = export.start(counts, Time(Instant::now()), Vec::new);
    let began = Instant::now();
    // More than may wait.
    (0..10_000).for_each(|_| drop(spans::get().entered()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(recorded);
    let began = Instant::now();
    exporting.end().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(counted(&registry, "defs_export_spans_total"), 0);
    assert_eq!(counted(&registry, "defs_export_spans_dropped_total"), 10_000);
    assert!(counted(&registry, "defs_export_failed_total") >= 1);
}

#[tokio::test]
async fn a_receiver_that_comes_back_is_told_what_happens_then() {
    let port = free_port().unwrap();
    let endpoint = format!("http://127.0.0.1:{port}");
    let export = export(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]);
    let recorded = recorded(&export);
    let mut registry = Registry::new();
    let counts = ExportMetrics::register(&mut registry);
    let failed = counts.failed.clone();
    let exporting = export.start(counts, Time(Instant::now()), Vec::new);
    work();
    let lost = async {
        while failed.get() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), lost).await.unwrap();
    let receiver = Receiver::at(port).unwrap();
    work();
    drop(recorded);
    exporting.end().await;
    assert_eq!(receiver.spans().len(), 2);
    assert_eq!(counted(&registry, "defs_export_spans_total"), 2);
    assert_eq!(counted(&registry, "defs_export_spans_dropped_total"), 2);
}

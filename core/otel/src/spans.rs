//! Spans by OTLP: those that have ended wait in a queue, and one task sends them. What ends a
//! span never waits: a full queue drops it, and that is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use defs_telemetry::ExportMetrics;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::resource::scope;
use crate::transport::Transport;

/// Spans that may wait: a few seconds of a busy node, at about a kilobyte each.
pub(crate) const WAITING_MAX: usize = 4096;

/// Spans of one export.
const BATCH_MAX: usize = 512;

/// How long a span waits for others, so that one export carries many.
const GATHERING: Duration = Duration::from_secs(1);

/// Where spans go when they end.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) waiting: mpsc::Sender<SpanData>,
    pub(crate) dropped: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.waiting.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What sends them.
pub(crate) struct Sender {
    waiting: mpsc::Receiver<SpanData>,
    /// The next export, as far as it has come.
    batch: Vec<SpanData>,
    dropped: Arc<AtomicU64>,
    transport: Transport,
    resource: Resource,
    counts: ExportMetrics,
}

impl Sender {
    pub(crate) fn new(
        (waiting, dropped): (mpsc::Receiver<SpanData>, Arc<AtomicU64>),
        (transport, resource): (Transport, Resource),
        counts: ExportMetrics,
    ) -> Self {
        Self { waiting, batch: Vec::new(), dropped, transport, resource, counts }
    }

    /// Sends what comes until `stop`, and then what waits.
    pub(crate) async fn send_all(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.gather()).await.is_some() && !self.batch.is_empty() {
            self.send().await;
        }
        self.waiting.close();
        loop {
            let room = BATCH_MAX.saturating_sub(self.batch.len()).max(1);
            self.waiting.recv_many(&mut self.batch, room).await;
            if self.batch.is_empty() {
                return;
            }
            self.send().await;
        }
    }

    /// At least one, and what else ends soon; none when nobody makes spans any more. Nothing
    /// is lost if this is cut short.
    async fn gather(&mut self) {
        let Self { waiting, batch, .. } = self;
        if waiting.recv_many(batch, BATCH_MAX).await == 0 {
            return;
        }
        let others = async {
            while let room @ 1.. = BATCH_MAX.saturating_sub(batch.len()) {
                if waiting.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        // Whatever is there after a while is a batch too.
        drop(timeout(GATHERING, others).await);
    }

    async fn send(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let count = batch.len() as u64;
        if self.transport.traces(request(&self.resource, batch)).await {
            self.counts.spans_sent.add(count);
        } else {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            self.counts.failed.one();
        }
        self.counts.spans_dropped.follow(self.dropped.load(Ordering::Relaxed));
    }
}

fn request(resource: &Resource, batch: Vec<SpanData>) -> ExportTraceServiceRequest {
    let spans = batch.into_iter().map(OtlpSpan::from).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = Some(resource.clone());
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

//! Traces and metrics by OTLP, for whoever names a receiver by the standard `OTEL_…` variables.
//! Without one there is no layer, no task, and no cost.
//!
//! ```text
//! spans ── layer ── sampler ── queue (bounded) ── task ──► receiver
//! registry ──────── read every interval ───────── task ──► receiver
//! ```
//! What is a span and what is a metric says `defs-telemetry`; here is only how they leave.

mod environment;
mod metrics;
mod propagation;
mod resource;
mod spans;
mod transport;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use defs_core::port::Clock;
use defs_telemetry::spans::TARGET;
use defs_telemetry::{ExportMetrics, Reading};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

use environment::{Endpoint, Plan, Root, Sampling};
pub use propagation::{carried, carry};
pub use resource::Process;
use spans::{Queue, WAITING_MAX};
use transport::Transport;

/// How long the last spans and metrics may take on their way when a process ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// What is exported, before anything is.
#[derive(Debug)]
pub struct Export {
    process: Process,
    plan: Plan,
    traces: Option<Traces>,
}

#[derive(Debug)]
struct Traces {
    to: Endpoint,
    provider: SdkTracerProvider,
    waiting: mpsc::Receiver<SpanData>,
    dropped: Arc<AtomicU64>,
}

/// What the environment asks for.
#[derive(Debug)]
pub struct Asked {
    /// Nothing where no receiver is named.
    pub export: Option<Export>,
    /// What is wrong with the variables, for the log.
    pub complaints: Vec<String>,
}

/// Reads what the `OTEL_…` variables of `environment` ask for.
#[must_use]
pub fn asked(process: Process, environment: impl Iterator<Item = (String, String)>) -> Asked {
    let (plan, complaints) = environment::plan(environment);
    let export = plan.map(|plan| Export::new(process, plan));
    Asked { export, complaints }
}

impl Export {
    fn new(process: Process, mut plan: Plan) -> Self {
        let traces = plan.traces.take().map(|to| Traces::new(to, plan.sampling));
        Self { process, plan, traces }
    }

    /// Records spans, for the process's subscriber; nothing where traces go nowhere. Contexts
    /// are carried and followed from now on.
    #[must_use]
    pub fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        let tracer = self.traces.as_ref()?.provider.tracer("defs");
        propagation::start();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_context_activation(false);
        // Spans of ours and nothing else: log lines may name files.
        let ours = Targets::new().with_target(TARGET, LevelFilter::INFO);
        Some(layer.with_filter(ours).boxed())
    }

    /// Begins to send: spans, and what `read` gives. What can't be sent is told in the log: it
    /// is no reason not to serve. Must be called within a runtime.
    pub fn start<C: Clock>(
        self,
        counts: ExportMetrics,
        clock: C,
        read: impl Fn() -> Vec<Reading> + Send + Sync + 'static,
    ) -> Exporting {
        let Self { process, plan, traces } = self;
        let resource = resource::resource(&process, &plan.resource);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        if let Some(Traces { to, provider: _, waiting, dropped }) = traces
            && let Some(transport) = opened(to)
        {
            let to = (transport, resource.clone());
            let sender = spans::Sender::new((waiting, dropped), to, counts.clone());
            tasks.spawn(sender.send_all(stop.clone()));
        }
        if let Some(transport) = plan.metrics.and_then(opened) {
            let interval = plan.metric_interval;
            let metrics = metrics::Metrics { transport, resource, interval, clock, read, counts };
            tasks.spawn(metrics.tell(stop.clone()));
        }
        tasks.close();
        Exporting { tasks, stop }
    }
}

/// The way to a receiver, if there can be one.
fn opened(to: Endpoint) -> Option<Transport> {
    let opened = Transport::new(to);
    opened
        .inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "nothing is exported to this receiver");
        })
        .ok()
}

impl Traces {
    fn new(to: Endpoint, sampling: Sampling) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Queue { waiting: queue, dropped: Arc::clone(&dropped) };
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(sampling))
            .with_span_processor(queue)
            .build();
        Self { to, provider, waiting, dropped }
    }
}

fn sampler(sampling: Sampling) -> Sampler {
    match sampling {
        Sampling::Always => Sampler::AlwaysOn,
        Sampling::Never => Sampler::AlwaysOff,
        Sampling::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        Sampling::OfParent(root) => Sampler::ParentBased(Box::new(match root {
            Root::Always => Sampler::AlwaysOn,
            Root::Never => Sampler::AlwaysOff,
            Root::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        })),
    }
}

/// What is sent, until it is ended.
#[derive(Debug)]
pub struct Exporting {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Exporting {
    /// Sends what is left, within a few seconds.
    pub async fn end(self) {
        self.stop.cancel();
        if tokio::time::timeout(FLUSH_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("the last spans or metrics were not exported");
        }
    }
}

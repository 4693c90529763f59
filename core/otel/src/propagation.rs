//! How spans are known in other processes: read from and put under OpenTelemetry's contexts, and
//! carried in gRPC's metadata as `traceparent`.

use defs_core::trace::{SpanId, TraceContext, TraceId};
use defs_telemetry::trace::{Propagation, current, propagate_by};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState};
use tonic::{Request, Status};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of W3C's header.
const TRACEPARENT: &str = "traceparent";

/// From now on contexts are carried and followed in this process.
pub(crate) fn start() -> bool {
    propagate_by(Propagation { place, follow })
}

fn place(span: &Span) -> Option<TraceContext> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    Some(TraceContext {
        trace: TraceId::new(context.trace_id().to_bytes())?,
        span: SpanId::new(context.span_id().to_bytes())?,
        sampled: context.is_sampled(),
    })
}

fn follow(span: &Span, context: &TraceContext) {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let remote = SpanContext::new(
        opentelemetry::trace::TraceId::from_bytes(context.trace.bytes()),
        opentelemetry::trace::SpanId::from_bytes(context.span.bytes()),
        flags,
        true,
        TraceState::default(),
    );
    let parent = Context::new().with_remote_span_context(remote);
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(%error, "a span stands in a trace of its own");
    }
}

/// Says in a call where the current work stands; for clients of gRPC services, as their
/// interceptor. Nothing is added where no trace is recorded.
pub fn carry(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(value) = current().and_then(|context| context.to_string().parse().ok()) {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    Ok(request)
}

/// Where the caller's work stands, as far as it says so.
#[must_use]
pub fn carried<T>(request: &Request<T>) -> Option<TraceContext> {
    request.metadata().get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

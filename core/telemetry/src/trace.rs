//! How a trace goes on in another process: where the work of this one stands is read from the
//! current span and carried beside a message, and a span there is put under it.
//!
//! Whoever collects traces says how that is done, once a process, as with the collector itself.
//! Until then nothing is carried and nothing is followed.

use std::future::Future;
use std::sync::OnceLock;

use defs_core::trace::TraceContext;
use futures::FutureExt as _;
use tracing::{Instrument as _, Span};

/// How a collector knows spans in other processes.
#[derive(Debug, Clone, Copy)]
pub struct Propagation {
    /// Where a span stands, if it is recorded.
    pub place: fn(&Span) -> Option<TraceContext>,
    /// Puts a span that was just made under one of another process.
    pub follow: fn(&Span, &TraceContext),
}

static PROPAGATION: OnceLock<Propagation> = OnceLock::new();

/// Says how, for this process. Whether nobody had said it before.
pub fn propagate_by(propagation: Propagation) -> bool {
    PROPAGATION.set(propagation).is_ok()
}

/// Where the current work stands; nothing where it isn't recorded, so that whoever is asked
/// learns no more than without traces.
#[must_use]
pub fn current() -> Option<TraceContext> {
    let propagation = PROPAGATION.get()?;
    (propagation.place)(&Span::current()).filter(|context| context.sampled)
}

/// The span that `make` makes, under `context`; none without it.
pub fn following(context: Option<TraceContext>, make: impl FnOnce() -> Span) -> Span {
    let (Some(propagation), Some(context)) = (PROPAGATION.get(), context) else {
        return Span::none();
    };
    let span = make();
    (propagation.follow)(&span, &context);
    span
}

/// The same, but that without a context the span begins a trace if it may.
pub fn following_or_new(
    context: Option<TraceContext>,
    begins: bool,
    make: impl FnOnce() -> Span,
) -> Span {
    match context {
        None if begins => make(),
        context => following(context, make),
    }
}

/// Does `work` in `span`, and notes there whether it failed. Why it did, errors and logs tell:
/// their words may name files.
// Not an async function, which would hold the work twice: as its argument, and in its span.
pub fn within<T, E>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    let noted = span.clone();
    work.instrument(span).map(move |outcome| {
        if outcome.is_err() {
            failed(&noted);
        }
        outcome
    })
}

/// The same for work that blocks.
pub fn within_blocking<T, E>(span: &Span, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let outcome = span.in_scope(work);
    if outcome.is_err() {
        failed(span);
    }
    outcome
}

/// Notes that what `span` tells of failed.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "error");
}

/// Notes that what `span` tells of was refused, and by which of the reasons of the protocol.
pub fn refused(span: &Span, reason: impl std::fmt::Debug) {
    failed(span);
    span.record("defs.reason", tracing::field::debug(reason));
}

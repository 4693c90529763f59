//! The answering side of an exchange.

use std::pin::pin;
use std::sync::Arc;

use defs_core::body::{Body, BodyWriter};
use defs_core::ids::NodeId;
use defs_core::message::{Reason, Refusal, Request, Response};
use defs_core::port::{Reply, Service};
use defs_core::trace::TraceContext;
use defs_telemetry::{Ask, spans, trace};
use defs_wire::{Incoming, decode_request, encode_response};
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::call::{READ_AT_ONCE, SMALL_BODY, append};
use crate::config::{Limits, Timeouts};
use crate::family::Family;
use crate::frame::Frames;
use crate::lane::{Lane, LaneError, Pipe, Sent, framed};
use crate::stats::{Counters, FamilyCounters};

/// What lanes need of the node.
pub(crate) struct Server<S> {
    pub(crate) service: Arc<S>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) counters: Arc<Counters>,
    pub(crate) frames: Frames,
}

/// What becomes of a lane after an exchange.
enum Next {
    Exchange,
    Close,
}

/// Serves `lane` until either side ends it.
pub(crate) async fn serve_lane<S: Service>(
    server: &Server<S>,
    caller: NodeId,
    family: Family,
    mut lane: Lane<impl Pipe>,
) {
    let exchanges = async {
        lane.greet().await?;
        loop {
            let waiting = lane.wait_for_bytes(server.timeouts.lane_idle);
            match server.shutdown.run_until_cancelled(waiting).await {
                Some(come) => come?,
                // Nobody waits for an answer: the lane may just end.
                None => return Err(LaneError::Closed),
            }
            if let Next::Close = exchange(server, caller, family, &mut lane).await? {
                return Ok(());
            }
        }
    };
    let ended: Result<(), LaneError> = exchanges.await;
    match ended {
        // Closing in order lets the last response arrive.
        Ok(()) => drop(lane.close().await),
        Err(LaneError::Closed | LaneError::TimedOut) => {}
        Err(error) => tracing::debug!(%caller, family = family.name(), %error, "a lane broke off"),
    }
}

async fn exchange<S: Service>(
    server: &Server<S>,
    caller: NodeId,
    family: Family,
    lane: &mut Lane<impl Pipe>,
) -> Result<Next, LaneError> {
    let counters = server.counters.of(family);
    let received = match lane.receive(server.timeouts.progress, decode_request).await {
        Ok(received) => received,
        Err(LaneError::Wire(error)) => {
            let refusal = Refusal::new(Reason::Malformed, error.to_string());
            answer(lane, Reply::bare(Response::Refused(refusal)), true, counters).await?;
            return Ok(Next::Close);
        }
        Err(error) => return Err(error),
    };
    let Incoming { request, body_length: left, trace } = received.message;
    counters.served.add(1);
    counters.bytes_in.add(received.length);
    if Family::of(&request) != family {
        let refusal = Refusal::new(Reason::Malformed, "the request belongs on another protocol");
        answer(lane, Reply::bare(Response::Refused(refusal)), true, counters).await?;
        return Ok(Next::Close);
    }
    let span = span_of(&request, caller, trace);
    let (reply, unread) =
        serve(&*server.service, caller, lane, request, left).instrument(span.clone()).await?;
    if let Response::Refused(refusal) = &reply.response {
        trace::refused(&span, refusal.reason);
    }
    counters.bytes_in.add(usize::try_from(left.saturating_sub(unread)).unwrap_or(usize::MAX));
    let is_last = unread > 0 || server.shutdown.is_cancelled();
    match answer(lane, reply, is_last, counters).await? {
        Sent::Whole if !is_last => Ok(Next::Exchange),
        _ => Ok(Next::Close),
    }
}

/// In the caller's trace, if it said where it stands; else only what owners ask for is traced.
fn span_of(request: &Request, caller: NodeId, trace: Option<TraceContext>) -> Span {
    let begins = Ask::of(request).is_work();
    trace::following_or_new(trace, begins, || spans::peer_serve(request.name(), caller))
}

/// The service's reply, and how many bytes of the request's body were left unread.
async fn serve<S: Service>(
    service: &S,
    caller: NodeId,
    lane: &mut Lane<impl Pipe>,
    request: Request,
    left: u64,
) -> Result<(Reply, u64), LaneError> {
    if left <= READ_AT_ONCE {
        let bytes = lane.read_exact(usize::try_from(left).unwrap_or(0)).await?;
        return Ok((service.serve(caller, request, Body::whole(bytes)).await, 0));
    }
    let (writer, body) = Body::channel(left);
    let mut serving = pin!(service.serve(caller, request, body));
    let mut pumping = pin!(pump(lane, left, writer));
    tokio::select! {
        biased;
        // The service has let go of the body, so the pump ends as soon as it is asked,
        // unless it waits for bytes that now nobody needs.
        reply = &mut serving => Ok((reply, pumping.now_or_never().unwrap_or(left))),
        unread = &mut pumping => Ok((serving.await, unread)),
    }
}

/// Reads a request's body for the service. Returns how many bytes it left unread: the
/// service lost interest, or the caller broke off, which the service learns from its end.
async fn pump(lane: &mut Lane<impl Pipe>, mut left: u64, writer: BodyWriter) -> u64 {
    while left > 0 {
        let Ok(frame) = lane.read_frame(left).await else { break };
        left -= frame.len() as u64;
        if writer.send(frame).await.is_err() {
            break;
        }
    }
    left
}

/// Sends the service's reply and the body that follows it.
async fn answer(
    lane: &mut Lane<impl Pipe>,
    reply: Reply,
    is_last: bool,
    counters: &FamilyCounters,
) -> Result<Sent, LaneError> {
    let Reply { response, mut body } = reply;
    let length = body.left();
    let mut message = match framed(&encode_response(&response, length), is_last) {
        Ok(message) => message,
        Err(too_large) => {
            body = Body::empty();
            let refusal = Refusal::new(Reason::NotAllowed, format!("the answer is {too_large}"));
            framed(&encode_response(&Response::Refused(refusal), 0), is_last)?
        }
    };
    if body.left() <= SMALL_BODY {
        append(&mut message, &mut body).await?;
    }
    counters.bytes_out.add(message.len() + usize::try_from(body.left()).unwrap_or(0));
    lane.send(&message).await?;
    lane.send_body(&mut body).await
}

#[cfg(test)]
mod tests;

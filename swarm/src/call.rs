//! The asking side of an exchange.

use std::sync::Arc;

use defs_core::body::{Body, BodyWriter};
use defs_core::ids::NodeId;
use defs_core::message::{Request, Response};
use defs_core::port::{CallError, Reply};
use defs_telemetry::{spans, trace};
use defs_wire::{decode_response, encode_request};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::config::Timeouts;
use crate::family::Family;
use crate::frame::Frames;
use crate::lane::{LaneError, Received, Sent, framed};
use crate::pool::{Leased, Pool};
use crate::stats::Counters;

/// A body up to this size travels in one piece with its message.
pub(crate) const SMALL_BODY: u64 = 8 << 10;

/// A body up to this size is read before its reply is handed on, so that no task is
/// needed for it.
pub(crate) const READ_AT_ONCE: u64 = 64 << 10;

pub(crate) struct Caller {
    pub(crate) pool: Pool,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) timeouts: Timeouts,
    pub(crate) counters: Arc<Counters>,
    pub(crate) frames: Frames,
}

impl Caller {
    pub(crate) async fn call(
        &self,
        to: NodeId,
        request: &Request,
        body: Body,
    ) -> Result<Reply, CallError> {
        let family = Family::of(request);
        self.counters.of(family).calls.add(1);
        let span = spans::peer_call(request.name(), to);
        let reply = self.exchange(to, family, request, body).instrument(span.clone()).await;
        if reply.is_err() {
            self.counters.of(family).calls_failed.add(1);
            trace::failed(&span);
        }
        match reply? {
            Reply { response: Response::Refused(refusal), .. } => {
                trace::refused(&span, refusal.reason);
                Err(CallError::Refused { to, refusal })
            }
            reply => Ok(reply),
        }
    }

    async fn exchange(
        &self,
        to: NodeId,
        family: Family,
        request: &Request,
        mut body: Body,
    ) -> Result<Reply, CallError> {
        let failed = |error: LaneError| failed(to, &error);
        let length = body.left();
        let mut message = framed(&encode_request(request, length, trace::current()), false)
            .map_err(|error| failed(error.into()))?;
        if length <= SMALL_BODY {
            append(&mut message, &mut body).await.map_err(failed)?;
        }
        let mut lease = self.pool.lease(to, family).await?;
        let lane = lease.lane();
        lane.send(&message).await.map_err(failed)?;
        let sent = lane.send_body(&mut body).await.map_err(failed)?;
        let received =
            lane.receive(self.timeouts.response, decode_response).await.map_err(failed)?;
        let counters = self.counters.of(family);
        counters.bytes_out.add(message.len() + usize::try_from(length).unwrap_or(0));
        counters.bytes_in.add(received.length);
        self.reply(lease, received, sent).await.map_err(failed)
    }

    /// Takes the body that follows a response, and gives the lane back after it.
    async fn reply(
        &self,
        mut lease: Leased,
        received: Received<(Response, u64)>,
        sent: Sent,
    ) -> Result<Reply, LaneError> {
        let (response, left) = received.message;
        let keep = sent == Sent::Whole && !received.is_last;
        let body = if left <= READ_AT_ONCE {
            let bytes = lease.lane().read_exact(usize::try_from(left).unwrap_or(0)).await?;
            if keep {
                lease.give_back();
            }
            Body::whole(bytes)
        } else {
            let (writer, body) = Body::channel(left);
            self.tasks.spawn(pass_on(lease, left, writer, keep));
            body
        };
        Ok(Reply { response, body })
    }
}

/// Adds the few bytes of `body` to the message before it.
pub(crate) async fn append(message: &mut Vec<u8>, body: &mut Body) -> Result<(), LaneError> {
    while let Some(frame) = body.next().await? {
        message.extend_from_slice(&frame);
    }
    Ok(())
}

/// Reads a reply's body, which is not empty, for whoever holds its other end; ends when
/// nobody does.
async fn pass_on(mut lease: Leased, mut left: u64, writer: BodyWriter, keep: bool) {
    let last = loop {
        let Ok(frame) = lease.lane().read_frame(left).await else { return };
        left -= frame.len() as u64;
        if left == 0 {
            break frame;
        }
        if writer.send(frame).await.is_err() {
            return;
        }
    };
    // Before the reader can know that this was all, so that its next call finds the lane.
    if keep {
        lease.give_back();
    }
    if writer.send(last).await.is_err() {
        tracing::trace!("nobody read the end of a body");
    }
}

fn failed(to: NodeId, error: &LaneError) -> CallError {
    let why = error.to_string();
    match error {
        LaneError::TimedOut => CallError::TimedOut { to },
        LaneError::Wire(_) => CallError::Protocol { to, why },
        LaneError::Closed | LaneError::Broken(_) | LaneError::Body(_) | LaneError::NotGreeted => {
            CallError::Unreachable { to, why }
        }
    }
}

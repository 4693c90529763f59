//! Bytes on their way, frame by frame, and the names of requests.

use std::time::Duration;

use defs_core::body::{Body, BodyWriter};
use defs_core::ids::NodeId;
use defs_core::message::Request;
use tokio::time::sleep;

use super::FaultyNetwork;

/// Bytes that pass in a microsecond: some 100 MB/s.
const BYTES_A_MICRO: u64 = 100;

/// A pause shorter than a timer's tick is none.
const TICK: Duration = Duration::from_millis(1);

/// Carries `body` to `writer`, until either end is gone or the way is cut.
pub(super) async fn flow(
    network: &FaultyNetwork,
    mut body: Body,
    writer: BodyWriter,
    (from, to): (NodeId, NodeId),
) {
    let mut due = Duration::ZERO;
    while let Ok(Some(frame)) = body.next().await {
        due += Duration::from_micros(frame.len() as u64 / BYTES_A_MICRO);
        if due >= TICK {
            sleep(due).await;
            due = Duration::ZERO;
        }
        if !network.passes(from, to) || writer.send(frame).await.is_err() {
            return;
        }
    }
}

/// What is asked, in a word.
pub(super) fn kind(request: &Request) -> &'static str {
    match request {
        Request::Hello(_) => "hello",
        Request::OpenSession(_) => "open session",
        Request::StoreShard(_) => "store shard",
        Request::MirrorShard(_) => "mirror shard",
        Request::ReadShard(_) => "read shard",
        Request::Renew { .. } => "renew",
        Request::Commit { .. } => "commit",
        Request::Delete { .. } => "delete",
        Request::WriteRecords { .. } => "write records",
        Request::ReadRecords { .. } => "read records",
        Request::StripeStatus { .. } => "stripe status",
        Request::Table { .. } => "table",
        Request::Propose(_) => "propose",
        Request::Heartbeat { .. } => "heartbeat",
        Request::Locate { .. } => "locate",
        Request::Found { .. } => "found",
        Request::Ping => "ping",
        Request::Probe { .. } => "probe",
        Request::Confirm { .. } => "confirm",
        Request::History { .. } => "history",
        Request::Summary { .. } => "summary",
        Request::CopyShard { .. } => "copy shard",
        Request::CopyRecords { .. } => "copy records",
        Request::CopyTombstones { .. } => "copy tombstones",
        Request::Release { .. } => "release",
        Request::StandIn { .. } => "stand in",
        Request::TakeRecords { .. } => "take records",
        Request::Challenge { .. } => "challenge",
        Request::Readings { .. } => "readings",
        Request::Moved(_) => "moved",
    }
}

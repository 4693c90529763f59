//! What the serving side does with lanes, peers and bodies that misbehave.

use std::time::Duration;

use bytes::Bytes;
use defs_core::message::{Gossip, MESSAGE_MAX};
use defs_core::port::Verdict;
use defs_wire::{decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;

/// Refuses what has a large body without reading it; answers the rest.
struct Picky;

impl Service for Picky {
    async fn serve(&self, _: NodeId, _: Request, body: Body) -> Reply {
        if body.left() > READ_AT_ONCE {
            Reply::bare(Response::Refused(Refusal::new(Reason::Full, "too much")))
        } else {
            Reply::bare(Response::Done)
        }
    }

    fn hear(&self, _: Gossip) -> Verdict {
        Verdict::Ignore
    }

    fn gone(&self, _: NodeId) {}
}

/// A lane for records, whose serving ends with the test.
async fn lane() -> (DuplexStream, TaskTracker) {
    let (near, far) = duplex(1 << 20);
    let tasks = TaskTracker::new();
    let server = Server {
        service: Arc::new(Picky),
        tasks: tasks.clone(),
        shutdown: CancellationToken::new(),
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        counters: Arc::default(),
        frames: Frames::new(1),
    };
    let far = Lane::new(far.compat(), server.timeouts.progress, server.frames.clone());
    tasks.spawn(async move { serve_lane(&server, NodeId([1; 32]), Family::Record, far).await });
    let mut near = near;
    assert_eq!(near.read_u8().await.unwrap(), 1, "the greeting");
    (near, tasks)
}

fn read_records() -> Request {
    Request::ReadRecords { keys: Vec::new() }
}

/// The next response, and whether the lane closes after it.
async fn response(lane: &mut DuplexStream) -> (Response, bool) {
    let header = lane.read_u32_le().await.unwrap();
    let mut bytes = vec![0; usize::try_from(header & 0x7fff_ffff).unwrap()];
    lane.read_exact(&mut bytes).await.unwrap();
    (decode_response(&bytes).unwrap().0, header >> 31 == 1)
}

async fn assert_ended(mut lane: DuplexStream) {
    assert_eq!(lane.read(&mut [0]).await.unwrap(), 0);
}

fn malformed(response: &Response) -> &str {
    match response {
        Response::Refused(Refusal { reason: Reason::Malformed, detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_on_one_lane_are_answered_in_order() {
    let (mut lane, _tasks) = lane().await;
    let request = framed(&encode_request(&read_records(), 0, None), false).unwrap();
    lane.write_all(&[request.clone(), request].concat()).await.unwrap();
    assert_eq!(response(&mut lane).await, (Response::Done, false));
    assert_eq!(response(&mut lane).await, (Response::Done, false));
}

#[tokio::test(start_paused = true)]
async fn garbage_is_refused_and_ends_the_lane() {
    let (mut lane, _tasks) = lane().await;
    lane.write_all(&[5, 0, 0, 0, 255, 255, 255, 255, 255]).await.unwrap();
    let (refused, is_last) = response(&mut lane).await;
    assert_eq!(malformed(&refused), "the bytes are not a protobuf message of this protocol");
    assert!(is_last);
    assert_ended(lane).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_bound_is_refused_before_it_is_read() {
    let (mut lane, _tasks) = lane().await;
    lane.write_u32_le(u32::try_from(MESSAGE_MAX).unwrap() + 1).await.unwrap();
    let (refused, is_last) = response(&mut lane).await;
    assert_eq!(malformed(&refused), "a message of 1048577 bytes: at most 1048576 are allowed");
    assert!(is_last);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_another_family_is_refused() {
    let (mut lane, _tasks) = lane().await;
    let request = framed(&encode_request(&Request::Table { from: 0 }, 0, None), false).unwrap();
    lane.write_all(&request).await.unwrap();
    let (refused, is_last) = response(&mut lane).await;
    assert_eq!(malformed(&refused), "the request belongs on another protocol");
    assert!(is_last);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_the_service_leaves_unread_ends_the_lane_after_the_answer() {
    let (mut lane, _tasks) = lane().await;
    let request = framed(&encode_request(&read_records(), 1 << 40, None), false).unwrap();
    lane.write_all(&request).await.unwrap();
    lane.write_all(&[0; 200 << 10]).await.unwrap();
    let (refused, is_last) = response(&mut lane).await;
    assert!(matches!(refused, Response::Refused(Refusal { reason: Reason::Full, .. })));
    assert!(is_last);
    assert_ended(lane).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_claims_to_have_every_length_there_is_harms_nobody() {
    for length in [u64::MAX, u64::MAX - 1, 1 << 63, u64::from(u32::MAX)] {
        let (mut lane, _tasks) = lane().await;
        let request = framed(&encode_request(&read_records(), length, None), false).unwrap();
        lane.write_all(&request).await.unwrap();
        let (refused, is_last) = response(&mut lane).await;
        assert!(matches!(refused, Response::Refused(Refusal { reason: Reason::Full, .. })));
        assert!(is_last);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_ends_that_is_idle_or_stops_within_a_message() {
    let limits = Timeouts::default();
    let (idle, _tasks) = lane().await;
    let began = tokio::time::Instant::now();
    assert_ended(idle).await;
    assert_eq!(began.elapsed().as_secs(), limits.lane_idle.as_secs());

    let (mut stopped, _tasks) = lane().await;
    stopped.write_all(&[9, 0, 0, 0, 1]).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_ended(stopped).await;
    assert!(began.elapsed() <= limits.progress + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_small_body_arrives_with_its_message() {
    let (mut lane, _tasks) = lane().await;
    let mut request = framed(&encode_request(&read_records(), 3, None), false).unwrap();
    request.extend_from_slice(&Bytes::from_static(b"abc"));
    lane.write_all(&request).await.unwrap();
    assert_eq!(response(&mut lane).await, (Response::Done, false));
}

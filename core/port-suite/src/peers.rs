//! The laws of [`Peers`] and [`Publish`], each a function that fails when a network breaks
//! it. A network proves that it keeps them all with [`peers_laws!`](crate::peers_laws).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a law that is broken fails the test that states it"
)]

mod echo;

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::{Body, BodyError, NobodyReads};
use defs_core::ids::{Epoch, Locator, NodeId, PairId};
use defs_core::message::{FRAME_MAX, Gossip, Reason, Request, Response};
use defs_core::port::{CallError, Peers, Publish, Reply};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use echo::{Echo, ask_for, ask_without_end, pattern, refuse, send_back};

/// The longest that a law waits for something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sizes of bodies: none, a byte, more than a frame, and far more than any queue.
const SIZES: [usize; 4] = [0, 1, 300 << 10, 5 << 20];

/// A network that is put to the laws.
pub trait Net: Sync {
    /// The way to other peers.
    type Peers: Peers + Publish + Clone;

    /// A peer that serves with `service`; it and those that joined before know each other.
    fn join(&self, service: Arc<Echo>) -> impl Future<Output = Self::Peers> + Send;

    /// The peer is switched off.
    fn leave(&self, peer: NodeId) -> impl Future<Output = ()> + Send;
}

/// States one test for each law. The argument names a function that makes a [`Net`]. The
/// caller depends on `tokio`.
#[macro_export]
macro_rules! peers_laws {
    ($make:path) => {
        $crate::peers_laws!(@each $make;
            a_request_is_answered
            the_caller_is_who_it_says
            bodies_of_all_sizes_arrive_whole_in_both_directions
            a_refusal_comes_while_a_large_body_is_still_being_sent
            after_an_early_refusal_the_next_call_succeeds
            a_body_that_breaks_off_is_noticed
            a_reply_that_nobody_reads_to_its_end_does_no_harm
            two_hundred_calls_at_once_are_all_answered
            who_does_not_exist_is_unreachable
            who_was_switched_off_is_unreachable_and_its_peers_are_told
            everybody_hears_what_is_published
        );
    };
    (@each $make:path; $($law:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                $crate::peers::$law(&$make()).await;
            }
        )*
    };
}

async fn two<N: Net>(net: &N) -> (N::Peers, N::Peers, Arc<Echo>) {
    let service = Arc::new(Echo::default());
    let asked = net.join(Arc::clone(&service)).await;
    (net.join(Arc::default()).await, asked, service)
}

/// Waits until `holds`, and fails with `what` if that takes too long.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

fn heartbeat() -> Request {
    Request::Heartbeat { pair: PairId([1; 16]), epoch: Epoch(1) }
}

async fn bare(peers: &impl Peers, to: NodeId) -> Result<Response, CallError> {
    let reply = timeout(PATIENCE, peers.call(to, heartbeat(), Body::empty())).await.unwrap();
    reply.map(|reply| reply.response)
}

/// A request is answered by the peer that was asked.
pub async fn a_request_is_answered(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    assert_eq!(bare(&asking, asked.me()).await, Ok(Response::Alive));
    assert_eq!(bare(&asked, asking.me()).await, Ok(Response::Alive));
}

/// The service learns who calls.
pub async fn the_caller_is_who_it_says(net: &impl Net) {
    let (asking, asked, service) = two(net).await;
    bare(&asking, asked.me()).await.unwrap();
    assert_eq!(service.callers(), vec![asking.me()]);
}

/// What is sent comes back, and what is asked for comes, of whatever size.
pub async fn bodies_of_all_sizes_arrive_whole_in_both_directions(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    for size in SIZES {
        let sent = pattern(size);
        let reply = asking.call(asked.me(), send_back(), Body::whole(sent.clone())).await.unwrap();
        assert_eq!(reply.response, Response::Shard { length: size as u64 });
        assert_eq!(reply.body.left(), size as u64);
        assert!(reply.body.collect().await.unwrap() == sent, "{size} bytes changed on their way");

        let reply = asking.call(asked.me(), ask_for(size), Body::empty()).await.unwrap();
        assert!(reply.body.collect().await.unwrap() == pattern(size), "{size} bytes changed");
    }
}

/// Whoever refuses early needs not read what it refuses.
pub async fn a_refusal_comes_while_a_large_body_is_still_being_sent(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    // So large that it can't be sent in time, and never ends by itself.
    let (writer, body) = Body::channel(1 << 40);
    let feeding = async { while writer.send(pattern(FRAME_MAX)).await != Err(NobodyReads) {} };
    let called = asking.call(asked.me(), refuse(), body);
    let (refused, ()) = timeout(PATIENCE, async { tokio::join!(called, feeding) }).await.unwrap();
    assert_eq!(refused.unwrap_err().refusal().map(|refusal| refusal.reason), Some(Reason::Full));
}

/// An exchange that ended early leaves nothing behind that the next one trips over.
pub async fn after_an_early_refusal_the_next_call_succeeds(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    for size in [1, 100 << 10, 3 << 20] {
        for _ in 0..20 {
            let refused = asking.call(asked.me(), refuse(), Body::whole(pattern(size))).await;
            assert!(matches!(refused, Err(CallError::Refused { .. })), "{refused:?}");
            let reply = asking.call(asked.me(), ask_for(10), Body::empty()).await.unwrap();
            assert_eq!(reply.body.collect().await.unwrap(), pattern(10));
        }
    }
}

/// A body whose writer goes away ends in an error at both ends.
pub async fn a_body_that_breaks_off_is_noticed(net: &impl Net) {
    let (asking, asked, service) = two(net).await;
    let (writer, body) = Body::channel(1 << 20);
    let feeding = async move {
        writer.send(pattern(FRAME_MAX)).await.unwrap();
        drop(writer);
    };
    let (called, ()) = tokio::join!(asking.call(asked.me(), send_back(), body), feeding);
    if let Ok(reply) = called {
        assert!(reply.body.collect().await.is_err());
    }
    eventually("the service notices", || {
        matches!(service.broken().as_slice(), [BodyError::BrokenOff { missing: 1.. }])
    })
    .await;
}

/// A reader may lose interest at any time.
pub async fn a_reply_that_nobody_reads_to_its_end_does_no_harm(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    for _ in 0..50 {
        let mut reply = asking.call(asked.me(), ask_for(5 << 20), Body::empty()).await.unwrap();
        reply.body.next().await.unwrap();
    }
    assert_eq!(bare(&asking, asked.me()).await, Ok(Response::Alive));
}

/// Calls share what connections there are, and none is lost or mixed up.
pub async fn two_hundred_calls_at_once_are_all_answered(net: &impl Net) {
    let (asking, asked, _) = two(net).await;
    let mut calls = JoinSet::new();
    for size in 0..200 {
        let (asking, to) = (asking.clone(), asked.me());
        calls.spawn(async move {
            let sent = Body::whole(pattern(size * 997));
            let Reply { body, .. } = asking.call(to, send_back(), sent).await.unwrap();
            assert!(body.collect().await.unwrap() == pattern(size * 997));
        });
    }
    timeout(PATIENCE, calls.join_all()).await.unwrap();
}

/// Nobody answers for a node that never was.
pub async fn who_does_not_exist_is_unreachable(net: &impl Net) {
    let (asking, _, _) = two(net).await;
    let missing = NodeId([9; 32]);
    let failed = bare(&asking, missing).await;
    assert!(
        matches!(failed, Err(CallError::Unreachable { to, .. }) if to == missing),
        "{failed:?}"
    );
}

/// A node that goes away takes its sessions with it.
pub async fn who_was_switched_off_is_unreachable_and_its_peers_are_told(net: &impl Net) {
    let service = Arc::new(Echo::default());
    let staying = net.join(Arc::clone(&service)).await;
    let leaving = net.join(Arc::default()).await;
    assert_eq!(bare(&staying, leaving.me()).await, Ok(Response::Alive));
    net.leave(leaving.me()).await;
    eventually("the other is told", || service.gone_peers() == vec![leaving.me()]).await;
    let failed = bare(&staying, leaving.me()).await;
    assert!(matches!(failed, Err(CallError::Unreachable { .. })), "{failed:?}");
}

/// Gossip reaches all nodes, not only those that the publisher knows well.
pub async fn everybody_hears_what_is_published(net: &impl Net) {
    let services: [Arc<Echo>; 5] = std::array::from_fn(|_| Arc::default());
    let mut peers = Vec::new();
    for service in &services {
        peers.push(net.join(Arc::clone(service)).await);
    }
    for other in &peers[1..] {
        bare(other, peers[0].me()).await.unwrap();
    }
    let mut query = 0;
    // A mesh takes a moment to form; what is said before that reaches some.
    eventually("all hear of it", || {
        query += 1;
        let (locator, asker) = (Locator([3; 32]), peers[0].me());
        peers[0].publish(Gossip::Query { locator, asker, query });
        services[1..].iter().all(|service| !service.heard().is_empty())
    })
    .await;
    assert!(services[0].heard().is_empty(), "a publisher doesn't hear itself");
}

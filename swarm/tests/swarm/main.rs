//! What only real connections can get wrong.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the tests' own helpers fail with them")]

mod discovery;
mod loopback;
mod own_network;
mod relays;

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, Locator, PairId, ShardIndex, StripeId};
use defs_core::message::{Reason, Request, Response, ShardKey};
use defs_core::port::{CallError, Peers, Publish};
use defs_port_suite::peers::{Echo, ask_for, ask_without_end, pattern, send_back};
use defs_swarm::{Discovery, Running, StartError, Swarm, SwarmConfig, SwarmHandle};
use loopback::{config, impatient};
use tokio::time::{sleep, timeout};

/// Peers over real connections keep the laws that those in memory keep.
mod laws {
    defs_port_suite::peers_laws!(crate::loopback::Loopback::default);
}

const PATIENCE: Duration = Duration::from_secs(20);

const KEY: ShardKey = ShardKey { stripe: StripeId([1; 32]), index: ShardIndex(1) };

async fn serving(config: SwarmConfig) -> (SwarmHandle, Running) {
    let swarm = Swarm::start(config).await.unwrap();
    (swarm.handle(), swarm.serve(Arc::new(Echo::default())))
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

fn heartbeat() -> Request {
    Request::Heartbeat { pair: PairId([1; 16]), epoch: Epoch(1) }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let (first, _running) = serving(config(1)).await;
    let addresses = first.local_addresses();
    let tcp = addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
    let port: u16 = tcp.rsplit('/').next().unwrap().parse().unwrap();
    let mut second = config(2);
    second.listen = vec![([127, 0, 0, 1], port).into()];
    let refused = Swarm::start(second).await.unwrap_err();
    assert!(matches!(refused, StartError::PortTaken { port: taken, .. } if taken == port));
    assert!(refused.to_string().contains(&port.to_string()));
}

#[tokio::test]
async fn a_text_that_is_no_address_is_named() {
    let mut wrong = config(1);
    wrong.discovery.bootstrap = vec!["localhost:4100".to_owned()];
    let refused = Swarm::start(wrong).await.unwrap_err();
    assert!(refused.to_string().starts_with("`localhost:4100` is not a multiaddress"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_calls_a_node_and_serves_nothing() {
    let (node, _running) = serving(config(1)).await;
    let mut as_client = config(2);
    as_client.listen.clear();
    let (client, _client_running) = Swarm::start_client(as_client).unwrap();
    client.learn(node.me(), &node.local_addresses());
    let reply = client.call(node.me(), heartbeat(), Body::empty()).await.unwrap();
    assert_eq!(reply.response, Response::Alive);
    assert_eq!(client.connected_peers(), vec![node.me()]);
    let refused = node.call(client.me(), heartbeat(), Body::empty()).await.unwrap_err();
    assert!(matches!(refused, CallError::Unreachable { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_answers_times_out_and_the_next_call_succeeds() {
    let (node, _running) = serving(config(1)).await;
    let mut asking = config(2);
    asking.timeouts = impatient();
    let (asking, _asking_running) = serving(asking).await;
    asking.learn(node.me(), &node.local_addresses());
    let began = tokio::time::Instant::now();
    let failed = asking.call(node.me(), ask_without_end(), Body::empty()).await.unwrap_err();
    assert_eq!(failed, CallError::TimedOut { to: node.me() });
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    asking.call(node.me(), ask_for(10), Body::empty()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_writer_stalls_times_out() {
    let (node, _running) = serving(config(1)).await;
    let mut asking = config(2);
    asking.timeouts = impatient();
    let (asking, _asking_running) = serving(asking).await;
    asking.learn(node.me(), &node.local_addresses());
    let (writer, body) = Body::channel(1 << 20);
    writer.send(pattern(1000)).await.unwrap();
    let failed = timeout(PATIENCE, asking.call(node.me(), send_back(), body)).await.unwrap();
    assert_eq!(failed.unwrap_err(), CallError::TimedOut { to: node.me() });
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_listens_any_more_is_known_at_once() {
    let (node, running) = serving(config(1)).await;
    let (asking, _asking_running) = serving(config(2)).await;
    let addresses = node.local_addresses();
    running.shutdown().await;
    // Not before: who learns of a node may connect to it by itself.
    asking.learn(node.me(), &addresses);
    let began = tokio::time::Instant::now();
    let failed = asking.call(node.me(), heartbeat(), Body::empty()).await.unwrap_err();
    assert!(matches!(failed, CallError::Unreachable { .. }), "{failed}");
    assert!(failed.to_string().contains("Connection refused"), "{failed}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}: {failed}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_never_sent() {
    let (node, _running) = serving(config(1)).await;
    let (asking, _asking_running) = serving(config(2)).await;
    asking.learn(node.me(), &node.local_addresses());
    let request = Request::Renew { shards: vec![KEY; 1 << 16], lease_ms: 1, both: false };
    let refused = asking.call(node.me(), request, Body::empty()).await.unwrap_err();
    assert!(matches!(refused, CallError::Protocol { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_over_the_limit_is_refused_by_name() {
    let (node, _running) = serving(config(1)).await;
    let (asking, _asking_running) = serving(config(2)).await;
    asking.learn(node.me(), &node.local_addresses());
    let request = Request::Renew { shards: vec![KEY; 257], lease_ms: 1, both: false };
    let refused = asking.call(node.me(), request, Body::empty()).await.unwrap_err();
    let refusal = refused.refusal().unwrap();
    assert_eq!(refusal.reason, Reason::Malformed);
    assert_eq!(refusal.detail, "`shards` has length 257, at most 256 is allowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_one_address_finds_all() {
    let (first, first_running) = serving(config(0)).await;
    let mut nodes = vec![(first, first_running)];
    let bootstrap = nodes[0].0.local_addresses();
    for seed in 1..6 {
        let mut config = config(seed);
        config.discovery = Discovery { bootstrap: bootstrap[..1].to_vec(), ..<_>::default() };
        nodes.push(serving(config).await);
    }
    eventually("all are connected to all", || {
        nodes.iter().all(|(node, _)| node.connected_peers().len() == nodes.len() - 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pairs_that_provide_a_locator_are_both_found() {
    let (first, first_running) = serving(config(0)).await;
    let mut nodes = vec![(first, first_running)];
    for seed in 1..4 {
        let mut config = config(seed);
        config.discovery.bootstrap = nodes[0].0.local_addresses()[..1].to_vec();
        nodes.push(serving(config).await);
    }
    eventually("all are connected", || {
        nodes.iter().all(|(node, _)| node.connected_peers().len() == nodes.len() - 1)
    })
    .await;
    let (locator, pairs) = (Locator([5; 32]), [PairId([1; 16]), PairId([2; 16])]);
    nodes[1].0.provide(locator, pairs[0]);
    nodes[2].0.provide(locator, pairs[1]);
    let looking = async {
        loop {
            let mut found = nodes[3].0.look_up(locator).await;
            found.sort();
            if found == pairs {
                return;
            }
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
    assert!(nodes[3].0.look_up(Locator([6; 32])).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_a_running_exchange_end() {
    let (node, running) = serving(config(1)).await;
    let (asking, _asking_running) = serving(config(2)).await;
    asking.learn(node.me(), &node.local_addresses());
    asking.call(node.me(), heartbeat(), Body::empty()).await.unwrap();
    let (writer, body) = Body::channel(300 << 10);
    writer.send(pattern(100 << 10)).await.unwrap();
    let calling = asking.call(node.me(), send_back(), body);
    let stopping = async {
        // Only once the node has the request can its shutdown meet it running.
        while node.stats().families[0].served == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let ending = running.shutdown();
        let rest = async {
            sleep(Duration::from_millis(50)).await;
            writer.send(pattern(200 << 10)).await.unwrap();
        };
        tokio::join!(ending, rest);
    };
    let (reply, ()) = timeout(PATIENCE, async { tokio::join!(calling, stopping) }).await.unwrap();
    assert_eq!(reply.unwrap().body.collect().await.unwrap().len(), 300 << 10);
}

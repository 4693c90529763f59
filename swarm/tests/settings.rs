//! What the settings of connections change.
#![cfg(test)]

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::Request;
use defs_core::port::Peers;
use defs_identity::SecretKey;
use defs_port_suite::peers::Echo;
use defs_swarm::{Running, Swarm, SwarmConfig, SwarmHandle};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn config(seed: u8, listen: &[&str]) -> SwarmConfig {
    let listen = listen.iter().map(|address| address.parse().unwrap()).collect();
    SwarmConfig::new(key(seed).to_bytes(), listen)
}

async fn serving(config: SwarmConfig) -> (SwarmHandle, Running) {
    let swarm = Swarm::start(config).await.unwrap();
    (swarm.handle(), swarm.serve(Arc::new(Echo::default())))
}

fn heartbeat() -> Request {
    Request::Heartbeat { pair: PairId([1; 16]), epoch: Epoch(1) }
}

async fn is_served(client: &SwarmHandle, node: NodeId) -> bool {
    client.call(node, heartbeat(), Body::empty()).await.is_ok()
}

/// Of five clients, how many a node serves that takes so many connections.
async fn served_of_five(connections: u32) -> usize {
    let mut limited = config(1, &["127.0.0.1:0"]);
    limited.limits.connections = connections;
    let (node, _running) = serving(limited).await;
    // One way only, so that each client has one connection.
    let tcp: Vec<_> =
        node.local_addresses().into_iter().filter(|address| address.contains("/tcp/")).collect();
    let (mut served, mut open) = (0, Vec::new());
    for seed in 2..7 {
        let (client, running) = Swarm::start_client(config(seed, &[])).unwrap();
        client.learn(node.me(), &tcp);
        served += usize::from(is_served(&client, node.me()).await);
        open.push((client, running));
    }
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_taken_than_were_set() {
    assert_eq!(served_of_five(2).await, 2);
    assert_eq!(served_of_five(512).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_over_its_memory_takes_no_connection() {
    for (memory, serves) in [(Some(1), false), (None, true)] {
        let mut limited = config(1, &["127.0.0.1:0"]);
        limited.limits.memory_bytes = memory;
        let (node, _running) = serving(limited).await;
        let (client, _client_running) = Swarm::start_client(config(2, &[])).unwrap();
        client.learn(node.me(), &node.local_addresses());
        assert_eq!(is_served(&client, node.me()).await, serves, "{memory:?}");
    }
}

/// How long a peer is tried that takes connections and never says a word.
async fn given_up_after(dial_timeout: Duration) -> Duration {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let mut impatient = config(1, &[]);
    impatient.timeouts.dial = dial_timeout;
    let (client, _running) = Swarm::start_client(impatient).unwrap();
    let nobody = key(2).public().node_id();
    client.learn(nobody, &[address]);
    let began = tokio::time::Instant::now();
    assert!(!is_served(&client, nobody).await);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stays_silent_is_given_up_after_the_dial_timeout() {
    let short = given_up_after(Duration::from_millis(300)).await;
    assert!(short < Duration::from_millis(1_200), "{short:?}");
    let long = given_up_after(Duration::from_secs(3)).await;
    assert!((1_400..8_000).contains(&long.as_millis()), "{long:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_listens_at_the_address_that_was_set_and_at_no_other() {
    let (node, _running) = serving(config(1, &["127.0.0.2:0"])).await;
    let addresses = node.local_addresses();
    assert!(addresses.iter().all(|address| address.contains("127.0.0.2")), "{addresses:?}");
    let tcp = addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
    let port: u16 = tcp.rsplit('/').next().unwrap().parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.2", port)).is_ok());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

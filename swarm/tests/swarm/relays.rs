//! Nodes that nobody can dial, and the bootstrap nodes through which they are reached.

use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Locator, NodeId, PairId};
use defs_core::network::Reach;
use defs_core::port::{CallError, Peers, Publish};
use defs_port_suite::peers::{pattern, send_back};
use defs_swarm::{Running, Swarm, SwarmConfig, SwarmHandle, peer_id};
use tokio::time::{sleep, timeout};

use crate::loopback::config;
use crate::own_network::{ADDRESS, in_own_network};
use crate::{PATIENCE, eventually, heartbeat, serving};

/// More than libp2p would let through a relay by itself.
const BODY: usize = 1 << 20;

fn bootstrap(seed: u8, at: &str, relay: bool) -> SwarmConfig {
    let mut config = config(seed);
    config.listen = vec![format!("{at}:0").parse().unwrap()];
    config.discovery.relay = relay;
    config
}

fn over_tcp(node: &SwarmHandle) -> String {
    let mut addresses = node.local_addresses().into_iter();
    addresses.find(|address| address.contains("/tcp/")).unwrap()
}

/// A node that listens at `at` alone and knows `peers`.
fn node(seed: u8, at: &[&str], peers: &[&SwarmHandle]) -> SwarmConfig {
    let mut config = config(seed);
    config.listen = at.iter().map(|at| format!("{at}:0").parse().unwrap()).collect();
    config.discovery.bootstrap = peers.iter().map(|peer| over_tcp(peer)).collect();
    config
}

fn client(seed: u8) -> (SwarmHandle, Running) {
    Swarm::start_client(node(seed, &[], &[])).unwrap()
}

/// A client that somebody has told how it is seen from outside: without that there is
/// nothing to try a direct connection with.
async fn client_known_to(seed: u8, somebody: &SwarmHandle) -> (SwarmHandle, Running) {
    let (client, running) = Swarm::start_client(node(seed, &[], &[somebody])).unwrap();
    let (locator, pair) = (Locator([1; 32]), PairId([1; 16]));
    somebody.provide(locator, pair);
    let looking = async { while client.look_up(locator).await != [pair] {} };
    timeout(PATIENCE, looking).await.unwrap();
    (client, running)
}

/// Where `node` is reached through `relay`.
fn through(relay: &SwarmHandle) -> String {
    format!("{}/p2p/{}/p2p-circuit", over_tcp(relay), peer_id(&relay.me()))
}

async fn comes_back_whole(asking: &SwarmHandle, node: NodeId) {
    let sent = pattern(BODY);
    let reply = asking.call(node, send_back(), Body::whole(sent.clone())).await.unwrap();
    assert!(reply.body.collect().await.unwrap() == sent, "bytes changed on their way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_listens_nowhere_is_reached_through_a_bootstrap_node() {
    let (relay, _relay_running) = serving(bootstrap(1, "127.0.0.1", true)).await;
    let (hidden, _hidden_running) = serving(node(2, &[], &[&relay])).await;
    let announced = format!("{}/p2p/{}", through(&relay), peer_id(&hidden.me()));
    eventually("the relay keeps a place", || hidden.stats().relay_places == 1).await;
    assert_eq!(hidden.announced_addresses(), [announced]);
    let (client, _client_running) = client(3);
    client.learn(hidden.me(), &hidden.announced_addresses());
    comes_back_whole(&client, hidden.me()).await;
    // Another node as well, and the hidden one calls as it is called.
    let (other, _other_running) = serving(node(4, &["127.0.0.1"], &[])).await;
    other.learn(hidden.me(), &hidden.announced_addresses());
    comes_back_whole(&other, hidden.me()).await;
    comes_back_whole(&hidden, other.me()).await;
    assert_eq!(relay.stats().relayed, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_bootstrap_node_relays_nothing() {
    let (no_relay, _no_relay_running) = serving(bootstrap(1, "127.0.0.1", false)).await;
    let (hidden, _hidden_running) = serving(node(2, &[], &[&no_relay])).await;
    eventually("they are connected", || hidden.is_connected(&no_relay.me())).await;
    let (client, _client_running) = client(3);
    client.learn(hidden.me(), &[through(&no_relay)]);
    let refused = client.call(hidden.me(), heartbeat(), Body::empty()).await.unwrap_err();
    assert!(matches!(refused, CallError::Unreachable { .. }), "{refused}");
    assert_eq!(hidden.announced_addresses(), [""; 0]);
    assert_eq!((no_relay.stats().relayed, hidden.stats().relay_places), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_ends_gives_way_to_another() {
    let (first, first_running) = serving(bootstrap(1, "127.0.0.1", true)).await;
    let (second, _second_running) = serving(bootstrap(2, "127.0.0.1", true)).await;
    let (hidden, _hidden_running) = serving(node(3, &[], &[&first, &second])).await;
    eventually("both keep a place", || hidden.stats().relay_places == 2).await;
    let (client, _client_running) = client(4);
    client.learn(hidden.me(), &hidden.announced_addresses());
    first_running.shutdown().await;
    eventually("one place is left", || hidden.stats().relay_places == 1).await;
    comes_back_whole(&client, hidden.me()).await;
    assert_eq!((first.stats().relayed, second.stats().relayed), (0, 1));
}

/// A node at loopback alone, which a relay at another address can't dial, once it has
/// found that out. It has a neighbour, who can.
async fn behind_a_router(relay: &SwarmHandle, neighbour: &SwarmHandle) -> (SwarmHandle, Running) {
    let (hidden, running) = serving(node(3, &["127.0.0.1"], &[relay, neighbour])).await;
    eventually("it was found that nobody can dial it", || hidden.stats().relay_places == 1).await;
    (hidden, running)
}

#[test]
fn a_node_that_others_fail_to_dial_is_reached_through_a_bootstrap_node() {
    let name = "relays::a_node_that_others_fail_to_dial_is_reached_through_a_bootstrap_node";
    in_own_network(name, async {
        let (relay, _relay_running) = serving(bootstrap(1, ADDRESS, true)).await;
        let (neighbour, _neighbour_running) = serving(bootstrap(2, "127.0.0.1", false)).await;
        let (hidden, _hidden_running) = behind_a_router(&relay, &neighbour).await;
        let announced = format!("{}/p2p/{}", through(&relay), peer_id(&hidden.me()));
        assert_eq!(hidden.announced_addresses(), [announced]);
        assert_eq!((hidden.reach(), relay.reach()), (Reach::Hidden, Reach::Open));
        let (client, _client_running) = client(4);
        client.learn(hidden.me(), &hidden.announced_addresses());
        comes_back_whole(&client, hidden.me()).await;
        assert_eq!(relay.stats().relayed, 1);
    });
}

/// A client that reaches `hidden` through a relay and then directly. Both dial at one moment, a
/// few times after the relayed connection stands and never again: on a busy machine they may miss
/// each other, and the next client has another try.
async fn who_has_met(hidden: &SwarmHandle, lone: &SwarmHandle) -> (SwarmHandle, Running) {
    for seed in 10..15 {
        let (client, running) = client_known_to(seed, lone).await;
        client.learn(hidden.me(), &hidden.announced_addresses());
        comes_back_whole(&client, hidden.me()).await;
        let met = async {
            while client.stats().punched == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE / 4, met).await.is_ok() {
            return (client, running);
        }
        running.shutdown().await;
    }
    panic!("no client has dialled it");
}

#[test]
fn a_direct_connection_takes_the_place_of_a_relayed_one() {
    let name = "relays::a_direct_connection_takes_the_place_of_a_relayed_one";
    in_own_network(name, async {
        let (relay, relay_running) = serving(bootstrap(1, ADDRESS, true)).await;
        let (neighbour, _neighbour_running) = serving(bootstrap(2, "127.0.0.1", false)).await;
        let (hidden, _hidden_running) = behind_a_router(&relay, &neighbour).await;
        // It knows nobody, so that nobody tells the client where the hidden node listens.
        let (lone, _lone_running) = serving(bootstrap(5, ADDRESS, false)).await;
        let (client, _client_running) = who_has_met(&hidden, &lone).await;
        relay_running.shutdown().await;
        // What ran through the relay ends with it, and one connection a peer is left.
        eventually("the relayed connection is gone", || {
            let left = client.connected_peers();
            !left.contains(&relay.me()) && client.stats().connections == left.len() as u64
        })
        .await;
        assert!(client.is_connected(&hidden.me()));
        comes_back_whole(&client, hidden.me()).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_told_what_to_announce_asks_for_no_place() {
    let (relay, _relay_running) = serving(bootstrap(1, "127.0.0.1", true)).await;
    let mut told = node(2, &[], &[&relay]);
    told.external = vec!["/dns4/node.example/tcp/4001".to_owned()];
    let (told, _running) = serving(told).await;
    let (hidden, _hidden_running) = serving(node(3, &[], &[&relay])).await;
    eventually("a node that was not does", || hidden.stats().relay_places == 1).await;
    eventually("it knows the relay", || told.is_connected(&relay.me())).await;
    assert_eq!(told.announced_addresses(), ["/dns4/node.example/tcp/4001"]);
    assert_eq!((hidden.reach(), told.reach()), (Reach::Hidden, Reach::Open));
    assert_eq!(told.stats().relay_places, 0);
}

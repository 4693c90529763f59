//! How peers find each other, and how one is forgotten.

use defs_core::body::Body;
use defs_core::ids::Locator;
use defs_core::port::{Peers, Publish};
use defs_port_suite::peers::{pattern, send_back};
use defs_swarm::{Discovery, Running, Swarm, SwarmConfig, SwarmHandle};
use tokio::time::timeout;

use crate::loopback::config;
use crate::own_network::{ADDRESS, in_own_network};
use crate::{PATIENCE, eventually, heartbeat, serving};

/// Listens everywhere, as multicast tells no loopback addresses.
fn on_the_lan(seed: u8, mdns: bool) -> SwarmConfig {
    let mut config = config(seed);
    config.listen = vec!["0.0.0.0:0".parse().unwrap()];
    config.discovery.mdns = mdns;
    config
}

#[test]
fn multicast_finds_the_neighbours_that_look_for_it_and_no_others() {
    let name = "discovery::multicast_finds_the_neighbours_that_look_for_it_and_no_others";
    in_own_network(name, async {
        // First, so that it has had all the time that the others needed.
        let (deaf, _deaf_running) = serving(on_the_lan(1, false)).await;
        let (one, _one_running) = serving(on_the_lan(2, true)).await;
        let (other, _other_running) = serving(on_the_lan(3, true)).await;
        eventually("the two that use multicast are connected", || {
            one.connected_peers() == [other.me()] && other.connected_peers() == [one.me()]
        })
        .await;
        let mut as_client = on_the_lan(4, true);
        as_client.listen.clear();
        let (client, _client_running) = Swarm::start_client(as_client).unwrap();
        let mut both = [one.me(), other.me()];
        both.sort();
        eventually("a client finds them too", || client.connected_peers() == both).await;
        client.call(one.me(), heartbeat(), Body::empty()).await.unwrap();
        assert!(deaf.connected_peers().is_empty());
    });
}

/// So many nodes that all know the first one's address, once all are connected to all.
async fn acquainted(count: u8) -> Vec<(SwarmHandle, Running)> {
    let mut nodes: Vec<(SwarmHandle, Running)> = Vec::new();
    for seed in 0..count {
        nodes.push(serving(joining(seed, nodes.first().map(|(first, _)| first))).await);
    }
    eventually("all are connected to all", || {
        nodes.iter().all(|(node, _)| node.connected_peers().len() == nodes.len() - 1)
    })
    .await;
    nodes
}

fn joining(seed: u8, first: Option<&SwarmHandle>) -> SwarmConfig {
    let mut config = config(seed);
    let known = first.map(|first| first.local_addresses()[..1].to_vec()).unwrap_or_default();
    config.discovery = Discovery { bootstrap: known, ..Discovery::default() };
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_left_is_forgotten_with_the_first_dial_and_never_told_to_who_joins() {
    let mut nodes = acquainted(3).await;
    let (left, running) = nodes.pop().unwrap();
    let [(one, _), (other, _)] = &nodes[..] else { unreachable!("two of three are left") };
    for node in [one, other] {
        node.learn(left.me(), &left.local_addresses());
    }
    running.shutdown().await;
    eventually("both know", || [one, other].iter().all(|node| !node.is_connected(&left.me())))
        .await;
    let look_up = |node: &SwarmHandle| {
        let node = node.clone();
        async move { timeout(PATIENCE, node.look_up(Locator([9; 32]))).await.unwrap() }
    };
    // Each tells the other of it once more, and then neither does.
    for node in [one, other, one] {
        look_up(node).await;
    }
    let dialled = [one, other].map(|node| node.stats().dial_failures);
    assert!(dialled.iter().all(|failures| *failures > 0), "{dialled:?}");
    let (joiner, _joiner_running) = serving(joining(3, Some(one))).await;
    eventually("who joins finds those who are there", || joiner.connected_peers().len() == 2).await;
    for node in [one, other, &joiner] {
        look_up(node).await;
    }
    assert_eq!([one, other].map(|node| node.stats().dial_failures), dialled);
    assert_eq!(joiner.stats().dial_failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_travel_over_quic_where_nothing_else_is_known() {
    let (node, _running) = serving(config(1)).await;
    let addresses = node.local_addresses();
    let quic: Vec<_> = addresses.into_iter().filter(|one| one.ends_with("/quic-v1")).collect();
    assert_eq!(quic.len(), 1);
    let mut as_client = config(2);
    as_client.listen.clear();
    let (client, _client_running) = Swarm::start_client(as_client).unwrap();
    client.learn(node.me(), &quic);
    let sent = pattern(8 << 20);
    let reply = client.call(node.me(), send_back(), Body::whole(sent.clone())).await.unwrap();
    assert!(reply.body.collect().await.unwrap() == sent, "bytes changed on their way");
    assert_eq!(client.stats().connections, 1);
}

#[test]
fn a_node_that_others_can_dial_announces_what_they_dialled() {
    let name = "discovery::a_node_that_others_can_dial_announces_what_they_dialled";
    in_own_network(name, async {
        let mut helping = config(1);
        helping.listen = vec![format!("{ADDRESS}:0").parse().unwrap()];
        helping.discovery.relay = true;
        let (helper, _helper_running) = serving(helping).await;
        let mut open = joining(2, Some(&helper));
        open.listen = vec![format!("{ADDRESS}:0").parse().unwrap()];
        let (node, _running) = serving(open).await;
        // Only a peer that dialled it says the peer's id too.
        let found = format!("/p2p/{}", defs_swarm::peer_id(&node.me()));
        eventually("the helper has dialled it", || {
            let announced = node.announced_addresses();
            announced.len() == 1
                && announced[0].starts_with(&format!("/ip4/{ADDRESS}/"))
                && announced[0].ends_with(&found)
        })
        .await;
        assert_eq!(node.stats().relay_places, 0);
    });
}

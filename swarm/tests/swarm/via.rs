//! A client that reaches one node only, and others by way of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{Reason, Request};
use defs_core::port::{CallError, Peers};
use defs_port_suite::peers::{Echo, ask_for, ask_without_end, pattern, send_back};
use defs_swarm::{Running, Swarm, SwarmConfig, SwarmHandle};
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::loopback::config;
use crate::{PATIENCE, eventually, heartbeat};

/// More than one buffer on the way holds.
const BODY: usize = 3 << 20;

struct Node {
    peer: SwarmHandle,
    echo: Arc<Echo>,
    running: Running,
}

impl Node {
    async fn start(config: SwarmConfig) -> Self {
        let swarm = Swarm::start(config).await.unwrap();
        let (peer, echo) = (swarm.handle(), Arc::<Echo>::default());
        let running = swarm.serve(Arc::clone(&echo));
        Self { peer, echo, running }
    }

    /// A node that listens nowhere and is connected to `forwarders`, each of which it takes
    /// for a member, as they do it.
    async fn behind(seed: u8, forwarders: &[&Self]) -> Self {
        let mut config = knows(seed, forwarders);
        config.listen.clear();
        let node = Self::start(config).await;
        for forwarder in forwarders {
            node.echo.admit(forwarder.peer.me());
            forwarder.echo.admit(node.peer.me());
            eventually("they are connected", || forwarder.peer.is_connected(&node.peer.me())).await;
        }
        node
    }

    fn address(&self) -> String {
        let mut addresses = self.peer.local_addresses().into_iter();
        addresses.find(|address| address.contains("/tcp/")).unwrap()
    }
}

fn knows(seed: u8, nodes: &[&Node]) -> SwarmConfig {
    let mut config = config(seed);
    config.discovery.bootstrap = nodes.iter().map(|node| node.address()).collect();
    config
}

/// A client that knows these, and is connected to them.
async fn client(seed: u8, nodes: &[&Node]) -> (SwarmHandle, Running) {
    let (client, running) = Swarm::start_client(knows(seed, nodes)).unwrap();
    eventually("it is connected", || nodes.iter().all(|node| client.is_connected(&node.peer.me())))
        .await;
    (client, running)
}

async fn comes_back_whole(client: &SwarmHandle, node: NodeId) {
    let sent = pattern(BODY);
    let reply = client.call(node, send_back(), Body::whole(sent.clone())).await.unwrap();
    assert!(reply.body.collect().await.unwrap() == sent, "bytes changed on their way");
}

fn why_not(failed: Result<defs_core::port::Reply, CallError>) -> String {
    match failed.unwrap_err() {
        CallError::Unreachable { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cant_be_dialled_is_reached_by_way_of_one_that_can() {
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let (client, client_running) = client(3, &[&forwarder]).await;
    comes_back_whole(&client, hidden.peer.me()).await;
    // The node knows the client by its own key, and the forwarder heard nothing of it.
    assert_eq!(hidden.echo.callers(), [client.me()]);
    assert!(forwarder.echo.callers().is_empty());
    let (between, end) = (forwarder.peer.stats(), hidden.peer.stats());
    assert_eq!((between.via_opened, between.via_streams, between.via_refused), (1, 1, 0));
    assert!(between.via_bytes > 2 * BODY as u64, "{between:?}");
    assert_eq!((end.via_served, client.stats().detours), (1, 1));
    // The lane is kept for the next call, and both are told when the client leaves.
    comes_back_whole(&client, hidden.peer.me()).await;
    assert_eq!(forwarder.peer.stats().via_opened, 1);
    assert!(hidden.echo.gone_peers().is_empty());
    client_running.shutdown().await;
    eventually("its sessions are over", || hidden.echo.gone_peers() == [client.me()]).await;
    eventually("nothing is forwarded", || forwarder.peer.stats().via_streams == 0).await;
    assert_eq!(hidden.peer.stats().lanes_served, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_say_to_each_other_is_not_forwarded() {
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let refused = client.call(hidden.peer.me(), heartbeat(), Body::empty()).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().reason, Reason::NotAllowed);
    let (pair, epoch) = (PairId([1; 16]), Epoch(1));
    let records = Request::WriteRecords { pair, epoch, records: vec![], forward: false };
    let refused = client.call(hidden.peer.me(), records, Body::empty()).await.unwrap_err();
    assert_eq!(refused.refusal().unwrap().reason, Reason::NotAllowed);
    let copies = Request::CopyRecords { pair, epoch, keys: vec![] };
    let why = why_not(client.call(hidden.peer.me(), copies, Body::empty()).await);
    assert_eq!(why, "no address of it is known");
    assert!(hidden.echo.callers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_are_forwarded_to() {
    let forwarder = Node::start(config(1)).await;
    let mut config = knows(2, &[&forwarder]);
    config.listen.clear();
    let stranger = Node::start(config).await;
    eventually("they are connected", || forwarder.peer.is_connected(&stranger.peer.me())).await;
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let why = why_not(client.call(stranger.peer.me(), ask_for(10), Body::empty()).await);
    assert!(why.contains("no other member of the network"), "{why}");
    let stats = forwarder.peer.stats();
    assert_eq!((stats.via_opened, stats.via_refused), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_reached_is_said_to_be() {
    let forwarder = Node::start(config(1)).await;
    let gone = NodeId([9; 32]);
    forwarder.echo.admit(gone);
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let why = why_not(client.call(gone, ask_for(10), Body::empty()).await);
    assert!(why.contains("this one does not reach it either"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_served_whom_a_stranger_forwards_and_no_member_whom_another_forwards() {
    let forwarder = Node::start(config(1)).await;
    let mut alone = knows(2, &[&forwarder]);
    alone.listen.clear();
    let hidden = Node::start(alone).await;
    forwarder.echo.admit(hidden.peer.me());
    eventually("they are connected", || forwarder.peer.is_connected(&hidden.peer.me())).await;
    let (client, _client_running) = client(3, &[&forwarder]).await;
    // The node doesn't know the forwarder for a member.
    why_not(client.call(hidden.peer.me(), ask_for(10), Body::empty()).await);
    assert_eq!(hidden.peer.stats().lanes_refused, 1);
    hidden.echo.admit(forwarder.peer.me());
    // It takes the client for a node, whose rights are for what it sends itself.
    hidden.echo.admit(client.me());
    let refused = || hidden.peer.stats().lanes_refused;
    let asking = async {
        while refused() < 2 {
            why_not(client.call(hidden.peer.me(), ask_for(10), Body::empty()).await);
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap();
    assert_eq!((hidden.echo.callers(), hidden.peer.stats().via_served), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_has_so_many_streams_to_a_node_and_others_have_theirs() {
    /// What `via/bounds.rs` gives one client to one node.
    const MOST: usize = 48;
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let mut greedy = knows(3, &[&forwarder]);
    greedy.limits.lanes_to_peer = 2 * MOST;
    let (greedy, _greedy_running) = Swarm::start_client(greedy).unwrap();
    let (modest, _modest_running) = client(4, &[&forwarder]).await;
    eventually("it is connected", || greedy.is_connected(&forwarder.peer.me())).await;
    let asking = (0..MOST + 12).map(|_| async {
        let failed = greedy.call(hidden.peer.me(), ask_without_end(), Body::empty()).await;
        why_not(failed)
    });
    let others = async {
        eventually("all its places are taken", || {
            let stats = forwarder.peer.stats();
            stats.via_streams == MOST as u64 && stats.via_refused > 0
        })
        .await;
        comes_back_whole(&modest, hidden.peer.me()).await;
    };
    tokio::select! {
        never = join_all(asking) => panic!("all were answered: {never:?}"),
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_that_ends_gives_way_to_another() {
    let first = Node::start(config(1)).await;
    let second = Node::start(config(2)).await;
    let hidden = Node::behind(3, &[&first, &second]).await;
    let (client, _client_running) = client(4, &[&first, &second]).await;
    comes_back_whole(&client, hidden.peer.me()).await;
    let (used, other) = match first.peer.stats().via_opened {
        1 => (first, second),
        _ => (second, first),
    };
    assert_eq!((used.peer.stats().via_opened, other.peer.stats().via_opened), (1, 0));
    used.running.shutdown().await;
    let asking = async {
        while client.call(hidden.peer.me(), ask_for(10), Body::empty()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap();
    comes_back_whole(&client, hidden.peer.me()).await;
    assert!(other.peer.stats().via_opened > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_that_stops_lets_a_running_exchange_end() {
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let (writer, body) = Body::channel(300 << 10);
    writer.send(pattern(100 << 10)).await.unwrap();
    let calling = client.call(hidden.peer.me(), send_back(), body);
    let stopping = async {
        eventually("the node has the request", || hidden.peer.stats().families[0].served == 1)
            .await;
        let ending = forwarder.running.shutdown();
        let rest = async {
            sleep(Duration::from_millis(50)).await;
            writer.send(pattern(200 << 10)).await.unwrap();
        };
        tokio::join!(ending, rest);
    };
    let (reply, ()) = timeout(PATIENCE, async { tokio::join!(calling, stopping) }).await.unwrap();
    assert_eq!(reply.unwrap().body.collect().await.unwrap().len(), 300 << 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_be_dialled_is_dialled() {
    let near = Node::start(config(1)).await;
    let other = Node::start(knows(2, &[&near])).await;
    for (one, another) in [(&near, &other), (&other, &near)] {
        one.echo.admit(another.peer.me());
    }
    let (client, _client_running) = client(3, &[&near]).await;
    client.learn(other.peer.me(), &other.peer.local_addresses());
    comes_back_whole(&client, other.peer.me()).await;
    assert!(client.is_connected(&other.peer.me()));
    assert_eq!((client.stats().detours, near.peer.stats().via_opened), (0, 0));
}

/// How long a dial may take by default.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// An address at which connections are taken and nothing is ever said.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_stays_silent_is_not_waited_for_where_there_is_another_way() {
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let (_listener, address) = silent();
    client.learn(hidden.peer.me(), &[address]);
    let began = Instant::now();
    comes_back_whole(&client, hidden.peer.me()).await;
    assert!(began.elapsed() < DIAL_MAX, "{:?}", began.elapsed());
    // The next lane goes that way at once.
    let records = Request::ReadRecords { keys: vec![] };
    client.call(hidden.peer.me(), records, Body::empty()).await.unwrap();
    assert_eq!(client.stats().detours, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_stays_silent_is_not_waited_for_where_nobody_reaches_the_node() {
    let forwarder = Node::start(config(1)).await;
    let gone = NodeId([9; 32]);
    forwarder.echo.admit(gone);
    let (client, _client_running) = client(3, &[&forwarder]).await;
    let (_listener, address) = silent();
    client.learn(gone, &[address]);
    for expected in ["this one does not reach it either", "nobody reached it a moment ago"] {
        let began = Instant::now();
        let why = why_not(client.call(gone, ask_for(10), Body::empty()).await);
        assert!(why.contains(expected), "{why}");
        assert!(began.elapsed() < DIAL_MAX, "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_no_way_but_their_own() {
    let forwarder = Node::start(config(1)).await;
    let hidden = Node::behind(2, &[&forwarder]).await;
    let node = Node::start(knows(3, &[&forwarder])).await;
    eventually("they are connected", || node.peer.is_connected(&forwarder.peer.me())).await;
    why_not(node.peer.call(hidden.peer.me(), ask_for(10), Body::empty()).await);
    assert_eq!(forwarder.peer.stats().via_opened + forwarder.peer.stats().via_refused, 0);
}

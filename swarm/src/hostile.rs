//! A peer that speaks libp2p and nothing else right: what it sends under every protocol
//! costs it the lane, and the node answers the next.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{Epoch, Locator, NodeId, PairId};
use defs_core::message::{Gossip, MESSAGE_MAX, Reason, Refusal, Request, Response};
use defs_core::port::{Peers as _, Publish as _};
use defs_port_suite::peers::{Echo, ask_for};
use defs_wire::{decode_response, encode_gossip, encode_request};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::swarm::{NetworkBehaviour, Stream, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, noise, tcp};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::behaviour::GOSSIP_MAX;
use crate::channel::Channel;
use crate::frame::Frames;
use crate::identity::{keypair, node_id, peer_id};
use crate::lane::{Lane, LaneError, framed};
use crate::{Family, Running, Swarm, SwarmConfig, SwarmHandle, muxer, opening};

const PATIENCE: Duration = Duration::from_secs(20);

fn secret(seed: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([seed; 32])
}

async fn serving(seed: u8, service: Arc<Echo>) -> (SwarmHandle, Running) {
    let config = SwarmConfig::new(secret(seed), vec!["127.0.0.1:0".parse().unwrap()]);
    let swarm = Swarm::start(config).await.unwrap();
    (swarm.handle(), swarm.serve(service))
}

/// Bytes as they are, under the protocols of a node.
#[derive(NetworkBehaviour)]
struct Wires {
    lanes: opening::Behaviour,
    gossip: gossipsub::Behaviour,
}

struct Hostile {
    swarm: libp2p::Swarm<Wires>,
    node: PeerId,
}

impl Hostile {
    /// Connected, and heard to listen to both topics.
    async fn of(node: &SwarmHandle) -> Self {
        let config = gossipsub::ConfigBuilder::default()
            .validation_mode(ValidationMode::Anonymous)
            .max_transmit_size(4 * GOSSIP_MAX)
            .message_id_fn(|message| defs_core::digest("test", &message.data).0.to_vec().into())
            .build()
            .unwrap();
        let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
        for topic in ["defs/pairs/1", "defs/index/1"] {
            gossip.subscribe(&IdentTopic::new(topic)).unwrap();
        }
        let wires = Wires { lanes: opening::Behaviour::new(None), gossip };
        let mut swarm = SwarmBuilder::with_existing_identity(keypair(&secret(2)).unwrap())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, muxer::Upgrade::default)
            .unwrap()
            .with_behaviour(|_| wires)
            .unwrap()
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(PATIENCE))
            .build();
        let addresses = node.local_addresses();
        let tcp = addresses.iter().find(|address| address.contains("/tcp/")).unwrap();
        swarm.dial(tcp.parse::<Multiaddr>().unwrap()).unwrap();
        let mut hostile = Self { swarm, node: peer_id(&node.me()) };
        hostile
            .until("the node listens to gossip", |hostile| {
                let gossip = &hostile.swarm.behaviour().gossip;
                gossip.all_peers().any(|(peer, topics)| *peer == hostile.node && topics.len() == 2)
            })
            .await;
        hostile
    }

    /// Runs its connection while it waits for `work`.
    async fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let working = async {
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    event = self.swarm.select_next_some() => {
                        let closed = matches!(event, SwarmEvent::ConnectionClosed { .. });
                        assert!(!closed, "{event:?}");
                    }
                }
            }
        };
        timeout(PATIENCE, working).await.expect("it ends in time")
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 5 {
            if holds(self) {
                return;
            }
            self.run(sleep(Duration::from_millis(5))).await;
        }
        panic!("{what}: not within {PATIENCE:?}");
    }

    /// A stream that the node has not closed yet.
    async fn stream(&mut self, channel: Channel) -> Stream {
        let (answer, opened) = oneshot::channel();
        self.swarm.behaviour_mut().lanes.open(self.node, channel, answer);
        self.run(opened).await.unwrap().unwrap()
    }

    /// A lane that the node has greeted.
    async fn lane(&mut self, family: Family) -> Lane<Stream> {
        let stream = self.stream(Channel::Lane(family)).await;
        let mut lane = Lane::new(stream, PATIENCE, Frames::new(1));
        self.run(lane.await_greeting()).await.unwrap();
        lane
    }

    /// What the node answers to `bytes`, whether it closes the lane after it, and the lane.
    async fn say(&mut self, family: Family, bytes: &[u8]) -> (Response, bool, Lane<Stream>) {
        let mut lane = self.lane(family).await;
        let received = self
            .run(async {
                lane.send(bytes).await?;
                lane.receive(PATIENCE, decode_response).await
            })
            .await
            .unwrap();
        (received.message.0, received.is_last, lane)
    }

    fn publish(&mut self, topic: &str, bytes: impl Into<Vec<u8>>) {
        self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), bytes).unwrap();
    }
}

/// A request of each family, and what is answered to it.
fn good(family: Family) -> (Request, Response) {
    let locator = Locator([1; 32]);
    match family {
        Family::Shard => (ask_for(10), Response::Shard { length: 10 }),
        Family::Record => (Request::ReadRecords { keys: vec![] }, Response::Alive),
        Family::Pair => {
            (Request::Heartbeat { pair: PairId([1; 16]), epoch: Epoch(1) }, Response::Alive)
        }
        Family::Locate => {
            (Request::Found { locator, query: 1, pair: PairId([1; 16]) }, Response::Alive)
        }
        Family::Repair => {
            let (pair, epoch) = (PairId([1; 16]), Epoch(1));
            (Request::CopyRecords { pair, epoch, keys: vec![] }, Response::Alive)
        }
    }
}

fn message(request: &Request) -> Vec<u8> {
    framed(&encode_request(request, 0, None), false).unwrap()
}

/// What is no request of `family`, and how it is refused.
fn bad(family: Family) -> [(Vec<u8>, &'static str); 4] {
    let too_long = u32::try_from(MESSAGE_MAX).unwrap() + 1;
    let foreign = Family::ALL[(family.index() + 1) % Family::COUNT];
    [
        (
            [&[5, 0, 0, 0][..], &[255; 5]].concat(),
            "the bytes are not a protobuf message of this protocol",
        ),
        (vec![0; 4], "`request` is of no kind that this version knows"),
        (
            too_long.to_le_bytes().to_vec(),
            "a message of 1048577 bytes: at most 1048576 are allowed",
        ),
        (message(&good(foreign).0), "the request belongs on another protocol"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_refuses_what_is_too_large_or_no_message_and_answers_the_next() {
    let (node, _running) = serving(1, Arc::default()).await;
    let mut hostile = Hostile::of(&node).await;
    for family in Family::ALL {
        for (bytes, why) in bad(family) {
            let (response, is_last, mut lane) = hostile.say(family, &bytes).await;
            let refused = Response::Refused(Refusal::new(Reason::Malformed, why));
            assert_eq!((response, is_last), (refused, true), "{family:?}");
            let ended = hostile.run(lane.wait_for_bytes(PATIENCE)).await;
            assert!(matches!(ended, Err(LaneError::Closed)), "{family:?}: {ended:?}");
        }
        // A message that ends in the middle, of which nobody waits for the rest.
        let mut cut = hostile.lane(family).await;
        hostile.run(cut.send(&[9, 0, 0, 0, 1])).await.unwrap();
        drop(cut);
        let (request, expected) = good(family);
        let (response, is_last, _lane) = hostile.say(family, &message(&request)).await;
        assert_eq!((response, is_last), (expected, false), "{family:?}");
    }
    hostile.until("all lanes are given back", |_| node.stats().lanes_served == 0).await;
}

/// What comes on `stream` after `bytes`, up to its end.
async fn told(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut told = Vec::new();
    // A stream that the other side has dropped breaks.
    let talking = async {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        stream.read_to_end(&mut told).await
    };
    drop(talking.await);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_to_be_forwarded_ends_unless_it_names_another_member() {
    let (node, _running) = serving(1, Arc::default()).await;
    let mut hostile = Hostile::of(&node).await;
    for named in [node.me(), NodeId([9; 32])] {
        let stream = hostile.stream(Channel::Via).await;
        // "It is no other member."
        assert_eq!(hostile.run(told(stream, &named.0)).await, [2]);
    }
    let mut cut = hostile.stream(Channel::Via).await;
    hostile.run(cut.write_all(&[1; 31])).await.unwrap();
    drop(cut);
    hostile.until("all three are refused", |_| node.stats().via_refused == 3).await;
    assert_eq!(node.stats().via_opened, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_stream_ends_unless_a_member_sent_it_and_it_begins_with_a_handshake() {
    let service = Arc::<Echo>::default();
    let (node, _running) = serving(1, Arc::clone(&service)).await;
    let mut hostile = Hostile::of(&node).await;
    // As a stranger, and then as a member.
    for _ in 0..2 {
        let stream = hostile.stream(Channel::Forwarded).await;
        assert!(hostile.run(told(stream, &[0xff; 200])).await.is_empty());
        service.admit(node_id(hostile.swarm.local_peer_id()).unwrap());
    }
    hostile.until("both are refused", |_| node.stats().lanes_refused == 2).await;
    let (request, expected) = good(Family::Pair);
    let (response, ..) = hostile.say(Family::Pair, &message(&request)).await;
    assert_eq!(response, expected);
    assert_eq!((node.stats().via_served, service.callers().len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_is_too_large_or_no_message_is_not_heard_and_that_of_others_is() {
    let service = Arc::<Echo>::default();
    let (node, _running) = serving(1, Arc::clone(&service)).await;
    let mut hostile = Hostile::of(&node).await;
    let query = |asker, query| Gossip::Query { locator: Locator([1; 32]), asker, query };
    let of_hostile = |number| query(NodeId([2; 32]), number);
    hostile.publish("defs/index/1", vec![0xff; 100]);
    hostile.publish("defs/pairs/1", encode_gossip(&of_hostile(0)));
    hostile.publish("defs/index/1", encode_gossip(&of_hostile(1)));
    hostile.until("the good one is heard", |_| service.heard() == [of_hostile(1)]).await;
    // This one costs it the stream: what stands behind it there is lost.
    hostile.publish("defs/index/1", vec![7; GOSSIP_MAX + 4096]);
    let (request, expected) = good(Family::Pair);
    let (response, ..) = hostile.say(Family::Pair, &message(&request)).await;
    assert_eq!(response, expected);

    let (other, _other_running) = serving(3, Arc::default()).await;
    other.learn(node.me(), &node.local_addresses());
    hostile.run(other.call(node.me(), request, Body::empty())).await.unwrap();
    let of_other =
        |heard: &Gossip| matches!(heard, Gossip::Query { asker, .. } if *asker == other.me());
    let mut number = 0;
    while !service.heard().iter().any(of_other) {
        number += 1;
        assert!(number < 4000, "the other is not heard");
        other.publish(query(other.me(), number));
        hostile.run(sleep(Duration::from_millis(5))).await;
    }
    let heard = service.heard();
    assert!(heard.iter().skip(1).all(of_other), "{heard:?}");
    // Two were judged and refused; the one that was too large was never a message.
    hostile
        .until("all that came is counted", |_| {
            node.stats().gossip_heard == 2 + service.heard().len() as u64
        })
        .await;
}

//! A network of engines, and an owner who talks to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use defs_codec::{SealedStripe, StripeSecret, Terms, seal_stripe};
use defs_core::body::Body;
use defs_core::digest::file_id;
use defs_core::geometry::Geometry;
use defs_core::ids::{NetworkId, NodeId, PairId};
use defs_core::message::{Gossip, Hello, Reason, Refusal, Request, Response, StoreShard};
use defs_core::network::{
    Activity, Admission, Genesis, Labels, NodeCard, PairRecord, Reach, SignedCard,
};
use defs_core::port::{Clock as _, Peers, Randomness, Reply, Service as _, Verdict};
use defs_core::record::{Content, Record, RecordKey, RecordSet, SignedRecord};
use defs_core::settings::Pairing;
use defs_core::statement::{Lock, Operations, Session, Signed, Statement as _};
use defs_core::stripe::{ShardHead, StripeDescriptor};
use defs_core::wish::{SignedWish, Want, Wish};
use defs_engine::{Engine, EngineConfig, Timings, World};
use defs_identity::script::lock_p2pkh;
use defs_identity::{Address, SecretKey, sign_statement};
use defs_port_suite::{Inline, MemoryDisk, MemoryNetwork, MemoryPeers};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::TestClock;

pub(crate) const CAPACITY: u64 = 64 << 20;
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// Counts up: every draw differs, every run is the same.
#[derive(Debug)]
pub(crate) struct TestRandom(NodeId, AtomicU64);

impl Randomness for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let draw = self.1.fetch_add(1, Ordering::Relaxed);
        let seed = [self.0.0.as_slice(), &draw.to_le_bytes()].concat();
        let digest = defs_core::digest("test randomness", &seed);
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = digest.0[place % 32];
        }
    }
}

pub(crate) struct Memory;

impl World for Memory {
    type Peers = MemoryPeers;
    type Disk = Arc<MemoryDisk>;
    type Clock = TestClock;
    type Random = TestRandom;
    type Compute = Inline;
}

pub(crate) struct Node {
    pub(crate) engine: Arc<Engine<Memory>>,
    pub(crate) disk: Arc<MemoryDisk>,
    /// Its own: others stay right when it is set.
    pub(crate) clock: TestClock,
    stop: CancellationToken,
}

pub(crate) struct Net {
    pub(crate) net: MemoryNetwork,
    pub(crate) network: NetworkId,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    genesis: Genesis,
    invite: SecretKey,
    pub(crate) clock: TestClock,
    tasks: TaskTracker,
    timings: Timings,
    /// Of nodes that are started from now on.
    pub(crate) pairing: Pairing,
}

impl Net {
    /// `count` nodes, each on a host of its own, that have formed all pairs they can.
    pub(crate) async fn with(count: u8) -> Self {
        Self::timed(count, Timings::default()).await
    }

    pub(crate) async fn timed(count: u8, timings: Timings) -> Self {
        let mut net = Self::empty(timings);
        for seed in 1..=count {
            net.start(seed, Arc::new(MemoryDisk::new(CAPACITY, net.network))).await;
        }
        net.until("all pairs are formed", |net| {
            net.nodes.values().all(|node| {
                let table = node.engine.table();
                table.pairs.len() == usize::from(count) / 2
                    && table.pairs.iter().all(|pair| pair.alive == [true; 2])
            })
        })
        .await;
        net
    }

    /// `count` nodes that are in pairs as they are told only, and know each other.
    pub(crate) async fn assigned(count: u8, timings: Timings) -> Self {
        let mut net = Self { pairing: Pairing::Assigned, ..Self::empty(timings) };
        for seed in 1..=count {
            net.start(seed, Arc::new(MemoryDisk::new(CAPACITY, net.network))).await;
        }
        net.until("all know each other", |net| {
            net.nodes.values().all(|node| node.engine.table().cards.len() == usize::from(count))
        })
        .await;
        net
    }

    pub(crate) fn empty(timings: Timings) -> Self {
        let invite = SecretKey::from_seed(&[0xfe; 32]);
        let genesis = Genesis { random: [9; 32], invite_key: invite.public().to_bytes() };
        Self {
            net: MemoryNetwork::new(),
            network: genesis.network(),
            nodes: BTreeMap::new(),
            genesis,
            invite,
            clock: TestClock::new(),
            tasks: TaskTracker::new(),
            timings,
            pairing: Pairing::Own,
        }
    }

    /// Starts the node of this seed over `disk`, which may be one that it had before.
    pub(crate) async fn start(&mut self, seed: u8, disk: Arc<MemoryDisk>) -> NodeId {
        let labels = Labels { host: format!("host-{seed}"), ..Labels::default() };
        self.start_at(seed, labels, disk).await
    }

    /// Starts the node of this seed where `labels` say.
    pub(crate) async fn start_at(
        &mut self,
        seed: u8,
        labels: Labels,
        disk: Arc<MemoryDisk>,
    ) -> NodeId {
        let key = SecretKey::from_seed(&[seed; 32]);
        let id = key.public().node_id();
        let admission = Admission { node: id }.statement(&self.network);
        let config = EngineConfig {
            genesis: self.genesis,
            admission: self.invite.sign(&admission).0,
            labels,
            timings: self.timings,
            pairing: self.pairing,
            repair_rate: u64::MAX,
        };
        let random = TestRandom(id, AtomicU64::default());
        let ports = (self.net.peers(id), Arc::clone(&disk));
        let clock = self.clock.another();
        let engine =
            Engine::open(config, key, ports, (clock.clone(), random, Inline)).await.unwrap();
        self.net.serve(id, Arc::clone(&engine));
        let stop = CancellationToken::new();
        engine.start(&self.tasks, &stop);
        self.nodes.insert(id, Node { engine, disk, clock, stop });
        id
    }

    /// What a person wants of `node`, under the invite key.
    pub(crate) fn signed_wish(&self, node: NodeId, want: Want) -> SignedWish {
        let wish = Wish { node, want, sequence: self.clock.now().0 };
        SignedWish { wish, signature: self.invite.sign(&wish.statement(&self.network)).0 }
    }

    /// Tells the network a person's word, through the node `at`.
    pub(crate) fn wish(&self, at: &NodeId, node: NodeId, want: Want) {
        assert!(self.nodes[at].engine.take_wish(self.signed_wish(node, want)));
    }

    /// Starts a node again that was killed.
    pub(crate) async fn start_again(&mut self, node: NodeId, disk: Arc<MemoryDisk>) {
        assert_eq!(self.start(seed_of(&node), disk).await, node);
    }

    /// Switches a node off; what is on its disk stays.
    pub(crate) fn kill(&mut self, node: &NodeId) -> Arc<MemoryDisk> {
        self.net.stop(*node);
        let node = self.nodes.remove(node).unwrap();
        node.stop.cancel();
        node.disk
    }

    /// Tells a node of `count` others, which are nowhere.
    pub(crate) fn crowd(&self, to: &NodeId, count: u16) {
        for number in 0..count {
            let mut seed = [0xcd; 32];
            seed[..2].copy_from_slice(&number.to_le_bytes());
            let key = SecretKey::from_seed(&seed);
            let admission = Admission { node: key.public().node_id() }.statement(&self.network);
            let card = NodeCard {
                key: key.public().to_bytes(),
                sequence: 1,
                addresses: Vec::new(),
                labels: Labels { host: format!("crowd-{number}"), ..Labels::default() },
                capacity: 1,
                used: 1,
                activity: Activity::default(),
                reach: Reach::default(),
                admission: self.invite.sign(&admission).0,
            };
            let signature = key.sign(&card.statement(&self.network)).0;
            let card = Gossip::Card(Box::new(SignedCard { card, signature }));
            assert_eq!(self.nodes[to].engine.hear(card), Verdict::PassOn);
        }
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waits = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), waits).await.expect(what);
    }

    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn pairs(&self) -> Vec<PairRecord> {
        let table = self.nodes.values().next().unwrap().engine.table();
        table.pairs.into_iter().map(|pair| pair.record.record).collect()
    }

    pub(crate) fn disk(&self, node: &NodeId) -> &MemoryDisk {
        &self.nodes[node].disk
    }

    pub(crate) fn owner(&self, seed: u8) -> Owner {
        let key = SecretKey::from_seed(&[seed; 32]);
        let peer = SecretKey::from_seed(&[seed ^ 0x55; 32]).public().node_id();
        Owner {
            key,
            me: peer,
            peers: self.net.peers(peer),
            network: self.network,
            clock: self.clock.clone(),
        }
    }
}

/// The seed whose key is that of `node`.
pub(crate) fn seed_of(node: &NodeId) -> u8 {
    let is_of = |seed: &u8| SecretKey::from_seed(&[*seed; 32]).public().node_id() == *node;
    (1..=u8::MAX).find(is_of).unwrap()
}

/// A client with one lock for all that it stores.
pub(crate) struct Owner {
    pub(crate) key: SecretKey,
    pub(crate) me: NodeId,
    peers: MemoryPeers,
    pub(crate) network: NetworkId,
    clock: TestClock,
}

impl Owner {
    pub(crate) fn lock(&self) -> Lock {
        lock_p2pkh(&Address::of(&self.key.public()))
    }

    pub(crate) async fn ask(&self, node: NodeId, request: Request) -> Result<Response, Refusal> {
        self.send(node, request, Body::empty()).await.map(|reply| reply.response)
    }

    pub(crate) async fn send(
        &self,
        node: NodeId,
        request: Request,
        body: Body,
    ) -> Result<Reply, Refusal> {
        match self.peers.call(node, request, body).await {
            Ok(reply) => Ok(reply),
            Err(error) => Err(error.refusal().cloned().unwrap_or_else(|| {
                Refusal::new(Reason::ShuttingDown, format!("no answer: {error}"))
            })),
        }
    }

    pub(crate) async fn hello(&self, node: NodeId) -> [u8; 32] {
        let hello = Hello { network: self.network, version: 1 };
        match self.ask(node, Request::Hello(hello)).await.unwrap() {
            Response::Hello { challenge, .. } => challenge,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn session(&self, node: NodeId, challenge: [u8; 32]) -> Session {
        Session {
            operations: Operations::READ.and(Operations::RENEW),
            lock: self.lock(),
            client: self.me,
            node,
            challenge,
            not_after_ms: self.clock.now().0 + HOUR_MS,
        }
    }

    /// Opens a session for everything of this owner.
    pub(crate) async fn log_in(&self, node: NodeId) {
        let challenge = self.hello(node).await;
        let session = sign_statement(&self.key, &self.network, self.session(node, challenge));
        let opened = self.ask(node, Request::OpenSession(Box::new(session))).await;
        assert_eq!(opened, Ok(Response::Done));
    }

    /// A stripe of `bytes`, unsigned.
    pub(crate) fn stripe(
        &self,
        bytes: &[u8],
        (data, parity): (u32, u32),
        per_pair: u8,
    ) -> SealedStripe {
        let secret = defs_core::digest("test stripe", bytes);
        let terms = Terms { generation: 0, per_pair, lock: self.lock() };
        let geometry = Geometry::new(data, parity).unwrap();
        seal_stripe(StripeSecret::from_bytes(secret.0), geometry, bytes.to_vec(), terms)
    }

    /// What is sent to store the shard at `place`.
    pub(crate) fn store(
        &self,
        stripe: &SealedStripe,
        place: usize,
        pair: &PairRecord,
    ) -> (StoreShard, Body) {
        let descriptor: Signed<StripeDescriptor> =
            sign_statement(&self.key, &self.network, stripe.descriptor.clone());
        let shard = &stripe.shards[place];
        let head = ShardHead {
            descriptor,
            index: shard.index,
            share: *shard.share.bytes,
            watched: vec![],
        };
        let store = StoreShard {
            head: Arc::new(head),
            pair: pair.pair,
            epoch: pair.epoch,
            lease_ms: HOUR_MS,
        };
        (store, Body::whole(shard.bytes.clone()))
    }

    pub(crate) async fn put(
        &self,
        stripe: &SealedStripe,
        place: usize,
        pair: &PairRecord,
    ) -> Result<Response, Refusal> {
        let (store, body) = self.store(stripe, place, pair);
        let reply = self.send(pair.primary(), Request::StoreShard(store), body).await;
        reply.map(|reply| reply.response)
    }

    /// A version of a record on `pairs`.
    pub(crate) fn record(
        &self,
        file: u8,
        counter: u64,
        content: Content,
        pairs: &[PairId],
    ) -> Record {
        let (lock, file_random) = (self.lock(), [file; 32]);
        Record {
            key: RecordKey::manifest(file_id(lock.script(), &file_random), 0),
            counter,
            parents: vec![],
            set: RecordSet { pairs: pairs.to_vec(), version: 1 },
            lock,
            file_random,
            salt: [counter.to_le_bytes()[0]; 32],
            content,
        }
    }

    pub(crate) fn sign(&self, record: Record) -> Arc<SignedRecord> {
        Arc::new(sign_statement(&self.key, &self.network, record))
    }

    pub(crate) async fn write(
        &self,
        record: &Arc<SignedRecord>,
        pair: &PairRecord,
    ) -> Result<Response, Refusal> {
        let request = Request::WriteRecords {
            pair: pair.pair,
            epoch: pair.epoch,
            records: vec![Arc::clone(record)],
            forward: true,
        };
        self.ask(pair.primary(), request).await
    }
}

pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> Reason {
    answer.unwrap_err().reason
}

//! Nodes in pairs, and ports that reach them without a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use defs_client::{Client, ClientConfig, Ports};
use defs_core::body::Body;
use defs_core::ids::{Epoch, Locator, NodeId, PairId};
use defs_core::message::{PairView, Reason, Refusal, Request, Table};
use defs_core::mode::{Durability, Mode, Wish};
use defs_core::network::{
    Activity, Admission, Genesis, Labels, NodeCard, PairRecord, Reach, SignedCard, SignedPairRecord,
};
use defs_core::port::{CallError, Clock, Compute, Peers, Randomness, Reply, UnixMillis};
use defs_core::receipt::NodeSignature;
use defs_core::size::Size;
use defs_core::statement::Statement as _;
use defs_identity::SecretKey;

use crate::faults::Faults;
use crate::node::{Node, START};

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(crate) pairs: Vec<PairRecord>,
    genesis: Genesis,
    invite: SecretKey,
    began: tokio::time::Instant,
    /// Calls by kind, to count round trips.
    pub(crate) calls: Mutex<BTreeMap<&'static str, usize>>,
    /// Fails every call after so many stored shards.
    pub(crate) breaks_after_shards: Mutex<Option<usize>>,
    /// The network's table tells of so many pairs only.
    pub(crate) pairs_told: Mutex<usize>,
}

/// Bytes that clients read and write at a time here: an odd number, to show where it counts.
pub(crate) const BUFFER: usize = 77_777;

pub(crate) type TestClient = Client<TestPeers, TestClock, TestRandom, TestCompute>;

impl Cluster {
    pub(crate) fn new(pairs: u8) -> Arc<Self> {
        let invite = SecretKey::from_seed(&[0xff; 32]);
        let genesis = Genesis { random: [7; 32], invite_key: invite.public().to_bytes() };
        let nodes: Vec<_> = (1..=pairs * 2).map(|seed| Node::new(seed, genesis)).collect();
        let records = nodes
            .chunks(2)
            .enumerate()
            .map(|(place, members)| PairRecord {
                pair: PairId([u8::try_from(place).unwrap() + 1; 16]),
                epoch: Epoch(1),
                members: [members[0].id, members[1].id],
                witnesses: vec![],
                previous: None,
            })
            .collect();
        Arc::new(Self {
            nodes: nodes.into_iter().map(|node| (node.id, Arc::new(node))).collect(),
            pairs: records,
            genesis,
            invite,
            began: tokio::time::Instant::now(),
            calls: Mutex::default(),
            breaks_after_shards: Mutex::default(),
            pairs_told: Mutex::new(usize::MAX),
        })
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(START.0 + u64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    pub(crate) fn pair_of(&self, node: NodeId) -> PairRecord {
        let pair = self.pairs.iter().find(|pair| pair.members.contains(&node));
        pair.unwrap().clone()
    }

    /// The other member, if it lives.
    pub(crate) fn partner(&self, node: NodeId) -> Result<Arc<Node>, Refusal> {
        let partner = self.pair_of(node).partner_of(&node).unwrap();
        let partner = Arc::clone(&self.nodes[&partner]);
        if partner.faults.lock().unwrap().down {
            return Err(Refusal::new(Reason::Degraded, "one member only"));
        }
        Ok(partner)
    }

    pub(crate) fn table(&self) -> Table {
        let network = self.genesis.network();
        let card = |node: &Arc<Node>| {
            let admission = Admission { node: node.id }.statement(&network);
            let card = NodeCard {
                key: node.key.public().to_bytes(),
                sequence: 1,
                addresses: vec![],
                labels: Labels::default(),
                capacity: 1 << 40,
                used: 0,
                activity: Activity::default(),
                reach: Reach::default(),
                admission: self.invite.sign(&admission).0,
            };
            let signature = node.key.sign(&card.statement(&network)).0;
            SignedCard { card, signature }
        };
        let view = |record: &PairRecord| {
            let said = record.statement(&network);
            let sign = |node: &NodeId| {
                let key = &self.nodes[node].key;
                NodeSignature { key: key.public().to_bytes(), signature: key.sign(&said).0 }
            };
            let signatures = record.members.iter().map(sign).collect();
            let alive =
                record.members.map(|member| !self.nodes[&member].faults.lock().unwrap().down);
            PairView { record: SignedPairRecord { record: record.clone(), signatures }, alive }
        };
        Table {
            cards: self.nodes.values().map(card).collect(),
            pairs: self.pairs.iter().take(*self.pairs_told.lock().unwrap()).map(view).collect(),
            next: None,
        }
    }

    pub(crate) fn holders(&self, locator: &Locator) -> Vec<PairId> {
        let holds = |node: &NodeId| {
            let node = &self.nodes[node];
            !node.faults.lock().unwrap().down && node.holds_record(locator)
        };
        let held = self.pairs.iter().filter(|pair| pair.members.iter().any(holds));
        held.map(|pair| pair.pair).collect()
    }

    /// Member `member` of pair `pair`, both from 0.
    pub(crate) fn node(&self, pair: usize, member: usize) -> &Arc<Node> {
        &self.nodes[&self.pairs[pair].members[member]]
    }

    pub(crate) fn break_node(&self, pair: usize, member: usize, change: impl Fn(&mut Faults)) {
        change(&mut self.node(pair, member).faults.lock().unwrap());
    }

    pub(crate) fn break_pair(&self, pair: usize, change: impl Fn(&mut Faults)) {
        self.break_node(pair, 0, &change);
        self.break_node(pair, 1, &change);
    }

    pub(crate) fn break_all(&self, change: impl Fn(&mut Faults)) {
        (0..self.pairs.len()).for_each(|pair| self.break_pair(pair, &change));
    }

    pub(crate) fn received(&self) -> u64 {
        self.nodes.values().map(|node| *node.received.lock().unwrap()).sum()
    }

    pub(crate) fn calls_of(&self, kind: &str) -> usize {
        self.calls.lock().unwrap().get(kind).copied().unwrap_or(0)
    }

    pub(crate) async fn client(self: &Arc<Self>, home: &Path) -> TestClient {
        self.client_of(home, 0x11).await
    }

    pub(crate) async fn client_of(self: &Arc<Self>, home: &Path, identity: u8) -> TestClient {
        let memory_budget = Size::mib(256);
        self.client_with(home, identity, memory_budget).await
    }

    pub(crate) async fn client_with(
        self: &Arc<Self>,
        home: &Path,
        identity: u8,
        memory_budget: Size,
    ) -> TestClient {
        let ports = Ports {
            peers: TestPeers(Arc::clone(self)),
            clock: TestClock(Arc::clone(self)),
            random: TestRandom,
            compute: TestCompute,
        };
        let identity = SecretKey::from_seed(&[identity; 32]);
        let contacts = self.nodes.keys().copied().collect();
        let config = ClientConfig::new(home.to_owned(), identity, contacts);
        let buffer_size = Size(BUFFER as u64);
        let config = ClientConfig { memory_budget, buffer_size, ..config };
        Client::open(ports, config).await.unwrap()
    }
}

/// What people ask for when they ask for nothing, with small slices for tests.
pub(crate) fn wish(mode: Mode) -> Wish {
    Wish {
        mode,
        data: None,
        parity: None,
        parity_permille: 400,
        durability: Durability::ONE_PAIR,
        shard_size: Size::mib(32),
        slice_min: Size::kib(64),
        slice_max: Size::kib(256),
        unsafe_placement: false,
    }
}

/// Bytes that no compression or mistake makes equal.
pub(crate) fn content(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) struct TestPeers(Arc<Cluster>);

impl Peers for TestPeers {
    fn me(&self) -> NodeId {
        NodeId([0xcc; 32])
    }

    async fn call(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        let cluster = &self.0;
        let unreachable = |why: &str| CallError::Unreachable { to, why: why.to_owned() };
        let kind = kind_of(&request);
        let stored = {
            let mut calls = cluster.calls.lock().unwrap();
            *calls.entry(kind).or_default() += 1;
            calls.get("store").copied().unwrap_or(0)
        };
        if cluster.breaks_after_shards.lock().unwrap().is_some_and(|bound| stored > bound) {
            std::future::pending::<()>().await;
        }
        let node = cluster.nodes.get(&to).ok_or_else(|| unreachable("nobody there"))?;
        let faults = node.faults.lock().unwrap().clone();
        if faults.down {
            return Err(unreachable("down"));
        }
        if faults.silent || (faults.loses_writes && kind == "write records") {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        if !faults.delay.is_zero() {
            tokio::time::sleep(faults.delay).await;
        }
        let answer = node.serve(cluster, self.me(), request, body).await;
        if faults.mute_writes && kind == "write records" {
            std::future::pending::<()>().await;
        }
        answer.map_err(|refusal| CallError::Refused { to, refusal })
    }

    fn learn(&self, _node: NodeId, _addresses: &[String]) {}
}

fn kind_of(request: &Request) -> &'static str {
    match request {
        Request::StoreShard(_) => "store",
        Request::ReadShard(_) => "read shard",
        Request::ReadRecords { .. } => "read records",
        Request::WriteRecords { .. } => "write records",
        Request::OpenSession(_) => "session",
        Request::Table { .. } => "table",
        Request::Locate { .. } => "locate",
        Request::Renew { .. } => "renew",
        _ => "other",
    }
}

pub(crate) struct TestClock(Arc<Cluster>);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        self.0.now()
    }
    fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

pub(crate) struct TestRandom;

impl Randomness for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

pub(crate) struct TestCompute;

impl Compute for TestCompute {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }
}

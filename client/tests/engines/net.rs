//! A network of engines, and clients of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use defs_client::{Client, ClientConfig, Ports};
use defs_core::ids::{NodeId, PairId};
use defs_core::network::{Admission, Genesis, Labels};
use defs_core::port::{Clock, Compute, Disk as _, Randomness, UnixMillis};
use defs_core::settings::Pairing;
use defs_core::statement::Statement as _;
use defs_engine::{Engine, EngineConfig, Timings, World};
use defs_identity::SecretKey;
use defs_port_suite::{MemoryDisk, MemoryNetwork, MemoryPeers};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const CAPACITY: u64 = 4 << 30;

#[derive(Debug, Clone)]
pub(crate) struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_800_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

#[derive(Debug)]
pub(crate) struct TestRandom;

impl Randomness for TestRandom {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct TestCompute;

impl Compute for TestCompute {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }
}

pub(crate) struct Memory;

impl World for Memory {
    type Peers = MemoryPeers;
    type Disk = Arc<MemoryDisk>;
    type Clock = TestClock;
    type Random = TestRandom;
    type Compute = TestCompute;
}

pub(crate) type TestClient = Client<MemoryPeers, TestClock, TestRandom, TestCompute>;

pub(crate) struct Node {
    engine: Arc<Engine<Memory>>,
    disk: Arc<MemoryDisk>,
    stop: CancellationToken,
}

pub(crate) struct Net {
    pub(crate) net: MemoryNetwork,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    genesis: Genesis,
    clock: TestClock,
    tasks: TaskTracker,
}

impl Net {
    /// `count` nodes that have formed all pairs they can.
    pub(crate) async fn with(count: u8) -> Self {
        let invite = SecretKey::from_seed(&[0xfe; 32]);
        let genesis = Genesis { random: [9; 32], invite_key: invite.public().to_bytes() };
        let mut net = Self {
            net: MemoryNetwork::new(),
            nodes: BTreeMap::new(),
            genesis,
            clock: TestClock(tokio::time::Instant::now()),
            tasks: TaskTracker::new(),
        };
        for seed in 1..=count {
            net.start(seed, &invite).await;
        }
        let formed = |net: &Self| {
            net.nodes.values().all(|node| {
                let table = node.engine.table();
                table.pairs.len() == usize::from(count) / 2
                    && table.pairs.iter().all(|pair| pair.alive == [true; 2])
            })
        };
        net.until("all pairs are formed", formed).await;
        net
    }

    async fn start(&mut self, seed: u8, invite: &SecretKey) {
        let network = self.genesis.network();
        let key = SecretKey::from_seed(&[seed; 32]);
        let id = key.public().node_id();
        let config = EngineConfig {
            genesis: self.genesis,
            admission: invite.sign(&Admission { node: id }.statement(&network)).0,
            labels: Labels { host: format!("host-{seed}"), ..Labels::default() },
            timings: Timings {
                settle: Duration::from_millis(300),
                form: Duration::from_millis(100),
                ..Timings::default()
            },
            pairing: Pairing::Own,
            repair_rate: u64::MAX,
        };
        let disk = Arc::new(MemoryDisk::new(CAPACITY, network));
        let ports = (self.net.peers(id), Arc::clone(&disk));
        let engine =
            Engine::open(config, key, ports, (self.clock.clone(), TestRandom, TestCompute))
                .await
                .unwrap();
        self.net.serve(id, Arc::clone(&engine));
        let stop = CancellationToken::new();
        engine.start(&self.tasks, &stop);
        self.nodes.insert(id, Node { engine, disk, stop });
    }

    /// Switches both members of a pair off.
    pub(crate) fn kill(&mut self, pair: PairId) {
        let table = self.nodes.values().next().unwrap().engine.table();
        let found = table.pairs.into_iter().find(|one| one.record.record.pair == pair);
        for node in found.unwrap().record.record.members {
            self.net.stop(node);
            self.nodes.remove(&node).unwrap().stop.cancel();
        }
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waits = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waits).await.expect(what);
    }

    /// A caller of its own.
    pub(crate) fn spawn(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        self.tasks.spawn(work)
    }

    /// Shards and records that all disks hold.
    pub(crate) fn holdings(&self) -> (u64, u64) {
        self.nodes
            .values()
            .map(|node| node.disk.usage())
            .fold((0, 0), |(shards, records), one| (shards + one.shards, records + one.records))
    }

    pub(crate) async fn client(&self, home: &Path, peer: u8) -> TestClient {
        let me = SecretKey::from_seed(&[peer; 32]).public().node_id();
        let ports = Ports {
            peers: self.net.peers(me),
            clock: self.clock.clone(),
            random: TestRandom,
            compute: TestCompute,
        };
        let identity = SecretKey::from_seed(&[0x11; 32]);
        let contacts = self.nodes.keys().copied().collect();
        // The network is adopted from the first node that is met.
        let config = ClientConfig::new(home.to_owned(), identity, contacts);
        Client::open(ports, config).await.unwrap()
    }
}

//! A cluster: machines with their disks, the engines that run on them, and the network
//! between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::{NetworkId, NodeId, PairId};
use defs_core::message::ShardKey;
use defs_core::network::{Admission, Genesis, Labels, PairRecord};
use defs_core::port::StateKey;
use defs_core::settings::Pairing;
use defs_core::statement::Statement as _;
use defs_engine::{Engine, EngineConfig, OpenError, Timings};
use defs_identity::{CachedChecker, SecretKey};
use defs_port_suite::{
    FaultyDisk, FaultyNetwork, Host, HostClock, MemoryDisk, Nature as _, Weather,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chance::Chance;
use crate::ports::{Here, SharedChance, Simulated};
use crate::trace::Trace;
use crate::treason::{Traitor, Treason};

/// Sealed bytes that a node offers, if nothing else is said.
pub const CAPACITY: u64 = 64 << 20;

/// How long a durable write takes at most, and its acknowledgement.
pub const WRITE_MAX: Duration = Duration::from_millis(3);

/// Everything that a run has.
#[derive(Debug)]
pub struct Cluster {
    /// What everything is drawn from.
    pub seed: u64,
    /// What happened.
    pub trace: Arc<Trace>,
    /// Between the machines.
    pub network: FaultyNetwork,
    /// Every machine that ever was.
    pub machines: BTreeMap<NodeId, Machine>,
    /// When time began.
    pub began: Instant,
    /// Sealed bytes that each node offers which joins from now on.
    pub capacity: u64,
    genesis: Genesis,
    invite: [u8; 32],
    timings: Timings,
    tasks: TaskTracker,
    /// What the curve said; the same to all.
    pub checker: Arc<CachedChecker>,
    /// The newest record of each pair that anybody told.
    pairs: BTreeMap<PairId, PairRecord>,
    /// Copies of which a byte has changed on the disk.
    rotten: BTreeSet<(NodeId, ShardKey)>,
    /// Who became a member of a pair after it had formed.
    newcomers: BTreeSet<(PairId, NodeId)>,
    /// Who was a member of a pair and is none any more.
    former: BTreeMap<PairId, BTreeSet<NodeId>>,
}

/// A machine: what is on its disk outlives its lives.
#[derive(Debug)]
pub struct Machine {
    /// In the order in which they joined, from 1.
    pub number: u64,
    /// What is on its disk.
    pub disk: Arc<MemoryDisk>,
    /// How far its date is from the right one.
    pub ahead_ms: i64,
    /// Whether its disk is gone for ever.
    pub is_lost: bool,
    /// What its node does wrong.
    pub treason: Option<Treason>,
    /// What runs on it now.
    pub life: Option<Life>,
    /// How often it was switched on.
    pub lives: u64,
}

/// What runs on a machine.
#[derive(Debug)]
pub struct Life {
    /// The machine, until it is off.
    pub host: Arc<Host>,
    /// The way to its disk.
    pub disk: FaultyDisk<Arc<MemoryDisk>>,
    /// The node.
    pub engine: Arc<Engine<Simulated>>,
    stop: CancellationToken,
}

impl Machine {
    /// Whether its node still takes over what its partner has.
    #[must_use]
    pub fn is_syncing(&self) -> bool {
        // As the engine keeps its mark.
        self.disk.has_state(&StateKey(b"sync".to_vec()))
    }

    /// Whether something runs on it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.host.is_on())
    }
}

impl Cluster {
    /// Without machines.
    #[must_use]
    pub fn new(seed: u64, trace: Trace, timings: Timings, weather: Weather) -> Self {
        let chance = Chance::of(seed, "network");
        let invite = chance.bytes();
        let invite_key = SecretKey::from_seed(&invite).public().to_bytes();
        let trace = Arc::new(trace);
        let network = FaultyNetwork::new(Arc::<Trace>::clone(&trace));
        network.set_weather(weather);
        Self {
            seed,
            trace,
            network,
            machines: BTreeMap::new(),
            began: Instant::now(),
            capacity: CAPACITY,
            genesis: Genesis { random: chance.bytes(), invite_key },
            invite,
            timings,
            tasks: TaskTracker::new(),
            checker: Arc::default(),
            pairs: BTreeMap::new(),
            rotten: BTreeSet::new(),
            newcomers: BTreeSet::new(),
            former: BTreeMap::new(),
        }
    }

    /// Which network this is.
    #[must_use]
    pub fn id(&self) -> NetworkId {
        self.genesis.network()
    }

    /// Another machine, switched on.
    pub async fn add(&mut self) -> NodeId {
        let number = self.machines.len() as u64 + 1;
        let key = self.key(number);
        let node = key.public().node_id();
        let machine = Machine {
            number,
            disk: Arc::new(MemoryDisk::new(self.capacity, self.id())),
            ahead_ms: 0,
            is_lost: false,
            treason: None,
            life: None,
            lives: 0,
        };
        self.machines.insert(node, machine);
        self.trace.note(format_args!("{node} is machine {number}"));
        self.switch_on(node).await;
        node
    }

    fn key(&self, number: u64) -> SecretKey {
        SecretKey::from_seed(&Chance::of(self.seed, &format!("key {number}")).bytes())
    }

    /// Starts the node of a machine that is off and has its disk.
    pub async fn switch_on(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if machine.is_on() || machine.is_lost {
            return;
        }
        machine.lives += 1;
        let (number, lives, disk) = (machine.number, machine.lives, Arc::clone(&machine.disk));
        let host = Host::on(self.began, machine.ahead_ms);
        match self.open(number, lives, disk, &host).await {
            Ok(life) => {
                self.serve(node, &life);
                life.engine.start(&self.tasks, &life.stop);
                self.trace.note(format_args!("{node} is on"));
                if let Some(machine) = self.machines.get_mut(&node) {
                    machine.life = Some(life);
                }
            }
            Err(error) => self.trace.note(format_args!("{node} did not start: {error}")),
        }
    }

    /// From now on the node of a machine does this wrong.
    pub fn betray(&mut self, node: NodeId, treason: Treason) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.treason = Some(treason);
        self.trace.note(format_args!("{node} turns: {treason:?}"));
        if let Some(life) = self.life(node) {
            self.serve(node, life);
        }
    }

    fn serve(&self, node: NodeId, life: &Life) {
        let engine = Arc::clone(&life.engine);
        let Some(machine) = self.machines.get(&node) else { return };
        match machine.treason {
            None => self.network.serve(node, &life.host, engine),
            Some(treason) => {
                let (key, network) = (self.key(machine.number), self.id());
                let traitor = Traitor { treason, engine, key, network };
                self.network.serve(node, &life.host, Arc::new(traitor));
            }
        }
    }

    async fn open(
        &self,
        number: u64,
        lives: u64,
        disk: Arc<MemoryDisk>,
        host: &Arc<Host>,
    ) -> Result<Life, OpenError> {
        let key = self.key(number);
        let node = key.public().node_id();
        let admission = Admission { node }.statement(&self.id());
        let config = EngineConfig {
            genesis: self.genesis,
            admission: SecretKey::from_seed(&self.invite).sign(&admission).0,
            labels: Labels {
                host: format!("host-{number}"),
                zone: format!("zone-{}", number % 3),
                region: String::new(),
            },
            timings: self.timings,
            pairing: Pairing::Own,
            repair_rate: u64::MAX,
        };
        let trace = Arc::<Trace>::clone(&self.trace);
        let disk = FaultyDisk::new(disk, Arc::clone(host), trace);
        let label = format!("node {number} in life {lives}");
        let random = SharedChance(Arc::new(Chance::of(self.seed, &label)));
        let ports = (self.network.peers(node, Arc::clone(host)), disk.clone());
        let chance = (HostClock(Arc::clone(host)), random, Here);
        let checker = Arc::clone(&self.checker);
        let engine = Engine::open_sharing(config, key, ports, chance, checker).await?;
        disk.set(defs_port_suite::DiskFaults { write_max: WRITE_MAX, ..Default::default() });
        Ok(Life { host: Arc::clone(host), disk, engine, stop: CancellationToken::new() })
    }

    /// Switches a machine off, at once.
    pub fn switch_off(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if let Some(life) = machine.life.take() {
            machine.ahead_ms = life.host.ahead();
            life.host.switch_off();
            life.stop.cancel();
            self.trace.note(format_args!("{node} is off"));
        }
    }

    /// A machine and what is on its disk are gone for ever.
    pub fn lose(&mut self, node: NodeId) {
        self.switch_off(node);
        if let Some(machine) = self.machines.get_mut(&node) {
            machine.is_lost = true;
            machine.disk = Arc::new(MemoryDisk::new(0, self.genesis.network()));
            self.trace.note(format_args!("{node} is lost for ever"));
        }
    }

    /// A stored byte changes. Answers whether it is there.
    pub fn rot(&mut self, node: NodeId, key: ShardKey, at: usize) -> bool {
        let Some(machine) = self.machines.get(&node) else { return false };
        self.rotten.insert((node, key));
        machine.disk.rot(key, at)
    }

    /// Whether a byte of this copy has changed, now or earlier.
    #[must_use]
    pub fn has_rotted(&self, node: NodeId, key: ShardKey) -> bool {
        self.rotten.contains(&(node, key))
    }

    /// Copies on some disk now of which a byte has changed, now or earlier.
    #[must_use]
    pub fn rotten(&self) -> usize {
        let disk_of = |node: &NodeId| self.machines.get(node).map(|machine| &machine.disk);
        let copies = self.rotten.iter();
        copies.filter(|copy| disk_of(&copy.0).is_some_and(|disk| disk.has_shard(&copy.1))).count()
    }

    /// Nodes that run.
    pub fn running(&self) -> impl Iterator<Item = (NodeId, &Machine, &Life)> {
        self.machines.iter().filter_map(|(node, machine)| {
            let life = machine.life.as_ref().filter(|life| life.host.is_on())?;
            Some((*node, machine, life))
        })
    }

    /// Nodes that run.
    #[must_use]
    pub fn on(&self) -> Vec<NodeId> {
        self.running().map(|(node, ..)| node).collect()
    }

    /// Machines that were switched off, or ended by themselves, and have their disk.
    #[must_use]
    pub fn off(&self) -> Vec<NodeId> {
        let is_off = |machine: &Machine| !machine.is_on() && !machine.is_lost;
        self.machines.iter().filter(|(_, one)| is_off(one)).map(|(node, _)| *node).collect()
    }

    /// What runs on `node`.
    #[must_use]
    pub fn life(&self, node: NodeId) -> Option<&Life> {
        self.machines.get(&node)?.life.as_ref().filter(|life| life.host.is_on())
    }

    /// The pairs, as far as anybody told when that was last asked.
    #[must_use]
    pub fn known_pairs(&self) -> &BTreeMap<PairId, PairRecord> {
        &self.pairs
    }

    /// The pairs, as far as anybody told.
    pub fn pairs(&mut self) -> &BTreeMap<PairId, PairRecord> {
        let tables: Vec<_> = self.running().map(|(_, _, life)| life.engine.table()).collect();
        for view in tables.into_iter().flat_map(|table| table.pairs) {
            self.see(view.record.record);
        }
        &self.pairs
    }

    fn see(&mut self, told: PairRecord) {
        let known = self.pairs.get(&told.pair);
        if known.is_some_and(|known| known.epoch >= told.epoch) {
            return;
        }
        let before = known.map_or(told.members, |known| known.members);
        let (pair, members) = (told.pair, told.members);
        let came = members.into_iter().filter(|member| !before.contains(member));
        self.newcomers.extend(came.map(|member| (pair, member)));
        let left = before.into_iter().filter(|member| !members.contains(member));
        self.former.entry(pair).or_default().extend(left);
        self.pairs.insert(pair, told);
    }

    /// Whether `node` became a member of `pair` after it had formed.
    #[must_use]
    pub fn is_newcomer(&self, pair: PairId, node: NodeId) -> bool {
        self.newcomers.contains(&(pair, node))
    }

    /// Who was a member of `pair` and is none any more.
    pub fn former(&self, pair: &PairId) -> impl Iterator<Item = &Machine> {
        let nodes = self.former.get(pair).into_iter().flatten();
        nodes.filter_map(|node| self.machines.get(node))
    }

    /// Waits until `count` pairs are there and every node sees both members of each alive.
    /// Whether that came to be within `patience`.
    pub async fn pairs_form(&mut self, count: usize, patience: Duration) -> bool {
        let over = Instant::now() + patience;
        while Instant::now() < over {
            let formed = |life: &Life| {
                let pairs = life.engine.table().pairs;
                pairs.len() == count && pairs.iter().all(|pair| pair.alive == [true; 2])
            };
            if self.running().all(|(_, _, life)| formed(life)) {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

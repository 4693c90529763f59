//! The ports on which the simulated engines and clients run.

use std::sync::Arc;

use defs_client::Client;
use defs_core::port::{Compute, Randomness};
use defs_engine::World;
use defs_port_suite::{FaultyDisk, FaultyPeers, HostClock, MemoryDisk};

use crate::chance::Chance;

/// What an engine runs on.
#[derive(Debug)]
pub struct Simulated;

impl World for Simulated {
    type Peers = FaultyPeers;
    type Disk = FaultyDisk<Arc<MemoryDisk>>;
    type Clock = HostClock;
    type Random = SharedChance;
    type Compute = Here;
}

/// A client that runs on them too.
pub type SimClient = Client<FaultyPeers, HostClock, SharedChance, Here>;

/// Randomness that one machine draws.
#[derive(Debug, Clone)]
pub struct SharedChance(pub Arc<Chance>);

impl Randomness for SharedChance {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// Work is done where it is asked for: no thread decides what comes first.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Compute for Here {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
}

//! The network in memory keeps the laws of peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use defs_core::ids::NodeId;
use defs_port_suite::peers::{Echo, Net};
use defs_port_suite::{MemoryNetwork, MemoryPeers, peers_laws};

struct InMemory {
    network: MemoryNetwork,
    joined: AtomicU8,
}

impl Net for InMemory {
    type Peers = MemoryPeers;

    async fn join(&self, service: Arc<Echo>) -> MemoryPeers {
        let node = NodeId([100 + self.joined.fetch_add(1, Ordering::Relaxed); 32]);
        self.network.serve(node, service);
        self.network.peers(node)
    }

    async fn leave(&self, peer: NodeId) {
        self.network.stop(peer);
    }
}

fn in_memory() -> InMemory {
    InMemory { network: MemoryNetwork::new(), joined: AtomicU8::new(0) }
}

peers_laws!(in_memory);

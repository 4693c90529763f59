//! Swarms on the loopback interface.
#![expect(clippy::unwrap_used, reason = "a test that can't start fails")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::NodeId;
use defs_core::port::Peers;
use defs_port_suite::peers::{Echo, Net};
use defs_swarm::{Running, Swarm, SwarmConfig, SwarmHandle, Timeouts};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// A configuration with a key that depends on `seed` alone.
pub(crate) fn config(seed: u8) -> SwarmConfig {
    let mut secret = Zeroizing::new([0; 32]);
    secret[31] = seed + 1;
    SwarmConfig::new(secret, vec!["127.0.0.1:0".parse().unwrap()])
}

/// Waits so short that a test can wait for them.
pub(crate) fn impatient() -> Timeouts {
    Timeouts {
        dial: Duration::from_secs(2),
        progress: Duration::from_millis(400),
        response: Duration::from_millis(400),
        lane_idle: Duration::from_secs(5),
        shutdown: Duration::from_secs(1),
    }
}

/// Peers over TCP on this machine.
#[derive(Default)]
pub(crate) struct Loopback(Mutex<Joined>);

#[derive(Default)]
struct Joined {
    handles: Vec<SwarmHandle>,
    running: HashMap<NodeId, Running>,
}

impl Net for Loopback {
    type Peers = SwarmHandle;

    async fn join(&self, service: Arc<Echo>) -> SwarmHandle {
        let mut joined = self.0.lock().await;
        let seed = u8::try_from(joined.handles.len()).unwrap();
        let swarm = Swarm::start(config(seed)).await.unwrap();
        let handle = swarm.handle();
        for other in &joined.handles {
            other.learn(handle.me(), &handle.local_addresses());
            handle.learn(other.me(), &other.local_addresses());
        }
        joined.handles.push(handle.clone());
        joined.running.insert(handle.me(), swarm.serve(service));
        handle
    }

    async fn leave(&self, peer: NodeId) {
        let left = self.0.lock().await.running.remove(&peer);
        left.unwrap().shutdown().await;
    }
}

//! The real way to other peers: the one place that names the swarm.

use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::message::Request;
use defs_core::port::{CallError, Peers, Randomness, Reply};
use defs_core::settings::Settings;
use defs_identity::SecretKey;
use defs_swarm::{
    Discovery, Limits, Running, StartError, Swarm, SwarmConfig, SwarmHandle, Timeouts,
};
use thiserror::Error;
use zeroize::Zeroizing;

/// How often it is looked whether somebody has answered.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Frames that come in are held until their shard is whole: three slices of 16 MiB.
const FRAMES_KEPT: usize = 192;

/// Connections to peers. They close when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Connection {
    handle: SwarmHandle,
    /// Held for its drop, which closes the connections.
    _running: Arc<Running>,
}

/// Why nobody was reached.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The transports did not start.
    #[error("failed to start connecting")]
    Start(#[from] StartError),
    /// None of those that were named answered.
    #[error("none of {named} addresses answered within {within:?}")]
    NobodyAnswered {
        /// How many were tried.
        named: usize,
        /// For how long.
        within: Duration,
    },
}

/// Dials `bootstrap` (multiaddresses) as a client under a key of this moment, and returns
/// whom it reached first. The network learns nothing about the owner by that key.
pub async fn connect(
    settings: &Settings,
    random: &impl Randomness,
    bootstrap: Vec<String>,
    within: Duration,
) -> Result<(Connection, Vec<NodeId>), ConnectionError> {
    let named = bootstrap.len();
    let seed = Zeroizing::new(random.array::<32>());
    let config = SwarmConfig {
        secret: SecretKey::from_seed(&seed).to_bytes(),
        listen: Vec::new(),
        external: Vec::new(),
        discovery: Discovery { bootstrap, mdns: settings.mdns, relay: false },
        limits: Limits {
            connections: settings.max_connections,
            frames_kept: FRAMES_KEPT,
            ..Limits::default()
        },
        timeouts: Timeouts { dial: settings.dial_timeout, ..Timeouts::default() },
    };
    let (handle, running) = Swarm::start_client(config)?;
    let reached = async {
        loop {
            let peers = handle.connected_peers();
            if !peers.is_empty() {
                return peers;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(within, reached).await {
        Ok(peers) => Ok((Connection { handle, _running: Arc::new(running) }, peers)),
        Err(_) => Err(ConnectionError::NobodyAnswered { named, within }),
    }
}

impl Connection {
    /// What the connections have carried so far.
    #[must_use]
    pub fn stats(&self) -> defs_swarm::SwarmStats {
        self.handle.stats()
    }
}

impl Peers for Connection {
    fn me(&self) -> NodeId {
        self.handle.me()
    }

    async fn call(&self, to: NodeId, request: Request, body: Body) -> Result<Reply, CallError> {
        self.handle.call(to, request, body).await
    }

    fn learn(&self, node: NodeId, addresses: &[String]) {
        self.handle.learn(node, addresses);
    }
}

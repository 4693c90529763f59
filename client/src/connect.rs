//! The real way to other peers: the one place that names the swarm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::{NetworkId, NodeId};
use defs_core::message::{Hello, Reason, Request, Response, WIRE_VERSION};
use defs_core::port::{CallError, Peers, Randomness, Reply};
use defs_core::settings::Settings;
use defs_identity::SecretKey;
use defs_swarm::{
    Discovery, Limits, Running, StartError, Swarm, SwarmConfig, SwarmHandle, Timeouts,
};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
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

/// Whom a client looks for.
#[derive(Debug)]
pub struct Sought {
    /// Whom to dial first, as multiaddresses; none where multicast is to find them.
    pub bootstrap: Vec<String>,
    /// Whose network it must be; any, if it is not known.
    pub network: Option<NetworkId>,
    /// How long it may take until one has answered.
    pub within: Duration,
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
    /// Those that answered are of other networks.
    #[error("{answered} answered, none of network {network}")]
    OtherNetworks {
        /// How many nodes answered.
        answered: usize,
        /// The network that was looked for.
        network: NetworkId,
    },
}

/// Dials as a client under a key of this moment, and returns whom it reached first of the
/// network that is sought. The network learns nothing about the owner by that key.
pub async fn connect(
    settings: &Settings,
    random: &impl Randomness,
    sought: Sought,
) -> Result<(Connection, Vec<NodeId>), ConnectionError> {
    let Sought { bootstrap, network, within } = sought;
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
    let mut others = 0;
    let meeting = async {
        match network {
            Some(network) => meet(&handle, network, named, &mut others).await,
            None => Some(reached(&handle, |_| true).await),
        }
    };
    let met = tokio::time::timeout(within, meeting).await;
    match (met.ok().flatten(), network) {
        (Some(peers), _) => Ok((Connection { handle, _running: Arc::new(running) }, peers)),
        (None, Some(network)) if others > 0 => {
            Err(ConnectionError::OtherNetworks { answered: others, network })
        }
        (None, _) => Err(ConnectionError::NobodyAnswered { named, within }),
    }
}

/// The peers of which `counts` holds, once one of them is connected.
async fn reached(handle: &SwarmHandle, counts: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
    loop {
        let mut peers = handle.connected_peers();
        peers.retain(|peer| counts(peer));
        if !peers.is_empty() {
            return peers;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The first peer that says it is of `network`. Nothing, as soon as all that were `named`
/// are of `others`.
async fn meet(
    handle: &SwarmHandle,
    network: NetworkId,
    named: usize,
    others: &mut usize,
) -> Option<Vec<NodeId>> {
    let mut asked = BTreeSet::new();
    let mut asking = FuturesUnordered::new();
    loop {
        tokio::select! {
            peers = reached(handle, |peer| !asked.contains(peer)) => {
                asking.extend(peers.iter().map(|peer| is_of(handle, *peer, network)));
                asked.extend(peers);
            }
            Some((peer, is_of)) = asking.next() => match is_of {
                Some(true) => return Some(vec![peer]),
                Some(false) => *others += 1,
                None => {}
            },
        }
        if named > 0 && *others >= named {
            return None;
        }
    }
}

/// Whether `peer` is of `network`; nothing if it doesn't say.
async fn is_of(handle: &SwarmHandle, peer: NodeId, network: NetworkId) -> (NodeId, Option<bool>) {
    let hello = Request::Hello(Hello { network, version: WIRE_VERSION });
    let is_of = match handle.call(peer, hello, Body::empty()).await {
        Ok(Reply { response: Response::Hello { genesis, .. }, .. }) => {
            Some(genesis.network() == network)
        }
        Err(error) => {
            let reason = error.refusal().map(|refusal| refusal.reason);
            (reason == Some(Reason::WrongNetwork)).then_some(false)
        }
        Ok(_) => None,
    };
    (peer, is_of)
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

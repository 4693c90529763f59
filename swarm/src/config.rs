//! What a swarm is started with, and why it may not start.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::identity::DecodingError;
use thiserror::Error;
use zeroize::Zeroizing;

/// What a swarm is started with.
#[derive(Debug)]
pub struct SwarmConfig {
    /// The node's P-256 key.
    pub secret: Zeroizing<[u8; 32]>,
    /// Where to listen, over TCP and QUIC each; port 0 takes any. Clients listen nowhere;
    /// a node that does is reached through its bootstrap peers, if they relay.
    pub listen: Vec<SocketAddr>,
    /// Where others reach this node, as multiaddresses, if not where it listens.
    pub external: Vec<String>,
    /// How others are found.
    pub discovery: Discovery,
    /// Bounds on what peers may take.
    pub limits: Limits,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
}

impl SwarmConfig {
    /// A swarm that listens at `listen` and knows nobody, with the usual bounds.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; 32]>, listen: Vec<SocketAddr>) -> Self {
        Self {
            secret,
            listen,
            external: Vec::new(),
            discovery: Discovery::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// How others are found and reached.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// Whom to dial first, as multiaddresses with or without `/p2p/…`.
    pub bootstrap: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to carry connections of peers that can't be dialled.
    pub relay: bool,
}

/// Bounds on what peers may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections in all.
    pub connections: u32,
    /// Lanes that all peers together may have open here.
    pub lanes: usize,
    /// Lanes that one peer may have open here: more than it may use by the two limits
    /// below, all families together.
    pub lanes_of_peer: usize,
    /// Lanes of one family that calls to one peer may use at once; further calls wait.
    pub lanes_to_peer: usize,
    /// The same for shards. A node needs more than a client: a pair's primary forwards
    /// what many clients send at once, and one slow client must not take every lane.
    pub shard_lanes_to_peer: usize,
    /// Rooms of 256 KiB for frames of bodies that are kept for the next ones: as many as a
    /// busy peer has under way. More may be in use at once.
    pub frames_kept: usize,
    /// Resident memory above which no new connection is made; else a node takes four
    /// fifths of the machine's, and a client has no limit.
    pub memory_bytes: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            lanes: 2048,
            lanes_of_peer: 128,
            lanes_to_peer: 16,
            shard_lanes_to_peer: 16,
            frames_kept: 64,
            memory_bytes: None,
        }
    }
}

/// Bounds on waiting. Each names one step, so a call is bounded by their sum.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until a connection stands and a lane on it is greeted.
    pub dial: Duration,
    /// Until the next bytes of a message or body move.
    pub progress: Duration,
    /// Until a lane is free, and from the request's last byte to the response's first.
    pub response: Duration,
    /// How long an unused lane stays open.
    pub lane_idle: Duration,
    /// How long running exchanges may take to end at shutdown.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(5),
            progress: Duration::from_secs(15),
            response: Duration::from_secs(30),
            lane_idle: Duration::from_secs(60),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Why a swarm did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The secret is not a P-256 key.
    #[error("the node's secret is not a P-256 key")]
    Secret(#[from] DecodingError),
    /// A text is not a multiaddress.
    #[error("`{text}` is not a multiaddress, such as /ip4/192.0.2.1/tcp/4100")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: libp2p::multiaddr::Error,
    },
    /// Somebody else listens there.
    #[error("port {port} is taken: another process listens at {address}")]
    PortTaken {
        /// The port.
        port: u16,
        /// Where this node was to listen.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("failed to listen at {address}")]
    Listen {
        /// Where this node was to listen.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
    /// A part of libp2p could not be made.
    #[error("failed to set up {part}")]
    SetUp {
        /// Which part.
        part: &'static str,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

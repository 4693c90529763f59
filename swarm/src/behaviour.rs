//! What libp2p does for us, in one behaviour.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use defs_wire::decode_gossip;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, autonat, dcutr, gossipsub, identify, kad, mdns,
    memory_connection_limits, ping, relay,
};

use crate::config::{Limits, SwarmConfig};
use crate::kad::{PAIRS_BYTES_MAX, TIMEOUT};
use crate::opening;
use crate::start::Role;

/// Told to every peer; peers of other programs are not ours.
const PROGRAM: &str = "/defs/1";

/// The largest gossiped message: the largest card or pair record many times over.
pub(crate) const GOSSIP_MAX: usize = 64 << 10;

/// Records of others that a node keeps for the distributed hash table: 16 MiB of them.
const KAD_RECORDS_MAX: usize = 65_536;

/// Connections to one peer: one each way, one relayed, and one to spare while another
/// closes.
const CONNECTIONS_OF_PEER_MAX: u32 = 4;

/// Handshakes at once, each way: they cost a signature each.
const HANDSHAKES_MAX: u32 = 128;

/// Of the machine's memory, what a node may use before it takes no new connection.
const MEMORY_SHARE: f64 = 0.8;

/// Nodes for which a relay keeps a place.
const RELAY_PLACES_MAX: usize = 256;

/// Connections that a relay carries: 16 KiB of buffers each.
const CIRCUITS_MAX: usize = 256;

/// Of those, what one peer may have part in, at either end.
const CIRCUITS_OF_PEER_MAX: usize = 64;

/// After so long a relayed connection is made anew: a day's worth ends with the day.
const CIRCUIT_TIME_MAX: Duration = Duration::from_hours(24);

/// The same for bytes: a thousand of the largest shards.
const CIRCUIT_BYTES_MAX: u64 = 64 << 30;

/// When a node first asks whether it can be dialled: its connections stand by then.
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// How often it asks until it is sure, and one peer at most.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// How often the routing table is refreshed.
const REFRESH: Duration = Duration::from_secs(60);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that what they deny reaches no other part.
    limits: connection_limits::Behaviour,
    memory: Toggle<memory_connection_limits::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) gossip: Toggle<gossipsub::Behaviour>,
    relay: Toggle<relay::Behaviour>,
    relayed: relay::client::Behaviour,
    hole_punching: dcutr::Behaviour,
    reachability: Toggle<autonat::Behaviour>,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) lanes: opening::Behaviour,
}

impl Behaviour {
    /// Whether this peer asks others if it can be dialled.
    pub(crate) fn asks_for_reach(&self) -> bool {
        self.reachability.is_enabled()
    }

    /// Whether this peer carries connections of others.
    pub(crate) fn is_relay(&self) -> bool {
        self.relay.is_enabled()
    }
}

type SetUpError = Box<dyn Error + Send + Sync>;

impl Behaviour {
    pub(crate) fn new(
        key: &Keypair,
        relayed: relay::client::Behaviour,
        config: &SwarmConfig,
        role: &Role,
    ) -> Result<Self, SetUpError> {
        let me = key.public().to_peer_id();
        let is_node = matches!(role, Role::Node(_));
        let discovery = &config.discovery;
        let mdns = || mdns::tokio::Behaviour::new(mdns::Config::default(), me);
        let identify = identify::Config::new(PROGRAM.to_owned(), key.public())
            .with_agent_version(format!("defs/{}", env!("CARGO_PKG_VERSION")))
            // The address book and the routing table know whom to dial where, TCP first.
            .with_cache_size(0)
            // Whoever gets a place at a relay is found there by those who know it already.
            .with_push_listen_addr_updates(true);
        Ok(Self {
            limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
            memory: memory_limit(&config.limits, is_node).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad: kademlia(me, is_node),
            gossip: is_node.then(gossipsub).transpose()?.into(),
            relay: discovery.relay.then(|| relay::Behaviour::new(me, relay_limits())).into(),
            relayed,
            hole_punching: dcutr::Behaviour::new(me),
            reachability: is_node.then(|| autonat::Behaviour::new(me, reachability())).into(),
            mdns: discovery.mdns.then(mdns).transpose()?.into(),
            lanes: opening::Behaviour::new(match role {
                Role::Node(acceptor) => Some(Arc::clone(acceptor)),
                Role::Client => None,
            }),
        })
    }
}

fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(limits.connections))
        .with_max_established_per_peer(Some(CONNECTIONS_OF_PEER_MAX))
        .with_max_pending_incoming(Some(HANDSHAKES_MAX))
        .with_max_pending_outgoing(Some(HANDSHAKES_MAX))
}

/// A client's memory is its program's; a node without a limit has its share of the machine.
fn memory_limit(limits: &Limits, is_node: bool) -> Option<memory_connection_limits::Behaviour> {
    let share = || memory_connection_limits::Behaviour::with_max_percentage(MEMORY_SHARE);
    let given = limits.memory_bytes.map(memory_connection_limits::Behaviour::with_max_bytes);
    given.or_else(|| is_node.then(share))
}

/// libp2p's own limits are for introductions: 128 KiB and two minutes, less than a shard.
/// Who may ask how often is libp2p's.
fn relay_limits() -> relay::Config {
    relay::Config {
        max_reservations: RELAY_PLACES_MAX,
        max_circuits: CIRCUITS_MAX,
        max_circuits_per_peer: CIRCUITS_OF_PEER_MAX,
        max_circuit_duration: CIRCUIT_TIME_MAX,
        max_circuit_bytes: CIRCUIT_BYTES_MAX,
        ..relay::Config::default()
    }
}

/// Sooner than libp2p's quarter of a minute and minute and a half: until its first answer
/// a node that nobody can dial is cut off.
fn reachability() -> autonat::Config {
    autonat::Config {
        boot_delay: PROBE_AFTER,
        retry_interval: PROBE_EVERY,
        throttle_server_period: PROBE_EVERY,
        ..autonat::Config::default()
    }
}

fn kademlia(me: PeerId, is_node: bool) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new("/defs/kad/1"));
    config
        .set_query_timeout(TIMEOUT)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_periodic_bootstrap_interval(Some(REFRESH));
    let store = MemoryStoreConfig {
        max_records: KAD_RECORDS_MAX,
        max_value_bytes: PAIRS_BYTES_MAX,
        // Who holds what is never told by peer id.
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut kad = kad::Behaviour::with_config(me, MemoryStore::with_config(me, store), config);
    kad.set_mode(Some(if is_node { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}

/// Anonymous: what is gossiped carries one signature of its own, made by whom it speaks
/// of; libp2p's would be verified at every copy.
fn gossipsub() -> Result<gossipsub::Behaviour, SetUpError> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .max_transmit_size(GOSSIP_MAX)
        .message_id_fn(message_id)
        .build()?;
    Ok(gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)?)
}

/// What is no message of ours is told apart by its bytes until it is judged.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let id = match decode_gossip(&message.data) {
        Ok(gossip) => gossip.id(),
        Err(_) => defs_core::digest("defs 2026 gossip unknown", &message.data),
    };
    gossipsub::MessageId::from(id.0.as_slice())
}

/// Streams that a connection may be negotiating at once: all lanes of all families.
pub(crate) const NEGOTIATING_MAX: usize = 128;
